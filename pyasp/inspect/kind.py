"""What kind of file is this? Decided by its first bytes (and, among plain text tables, by the first line)."""

import contextlib
import json
import os
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from pyasp.core.errors import InputError
from pyasp.kaldi.items import MODELS
from pyasp.kaldi.names import Location
from pyasp.kaldi.posteriors import integer_lists, integers, posteriors, scalar
from pyasp.kaldi.source import FOREIGN, Source, open_location
from pyasp.kaldi.tables import read_entries

HEAD = 1 << 16  # bytes looked at
MAGIC = {b"PK\x03\x04": "checkpoint", b"\x93NUMPY": "npy", b"RIFF": "audio", b"fLaC": "audio", b"NIST_1A": "audio"}
NUMBER_TABLES = {"posteriors": posteriors, "gselect": integer_lists, "int vectors": integers, "scalars": scalar}
BINARY_ENTRY = re.compile(rb"[^\s\0]+ \0B(.)", re.DOTALL)
FOREIGN_ENTRY = re.compile(rb"[^\s\0]+ (" + b"|".join(FOREIGN) + rb")")
TEXT_POSTERIORS = re.compile(rb"\S+ (\[ (\d+ \S+ )*\] )+\r?\n?\Z")
LABELS = ("target", "nontarget")


def kind_of(path: str | os.PathLike) -> str:
    """One of the kinds that `show` has a view of. Raises InputError for an empty, missing or unknown file."""
    if os.fspath(path) == "-":
        raise InputError("standard input", "-", "a file: it is looked at before it is read", "Save it to a file first")
    if Path(path).is_dir():
        return "directory"
    with open_location(Location(os.fspath(path))) as source:
        head = source.peek(HEAD)
    if not head:
        raise InputError(path, "an empty file", "something to show", "Run the stage that makes it")
    for magic, kind in MAGIC.items():
        if head.startswith(magic):
            return "npz" if kind == "checkpoint" and _first_member(head).endswith(b".npy") else kind
    if head.startswith(b"\0B"):
        return "model" if head[2:3] == b"<" else "array"
    if found := BINARY_ENTRY.match(head):
        return _number_table(path) if found.group(1) == b"\4" else "archive"
    if FOREIGN_ENTRY.match(head):
        return "archive"
    if b"\0" in head:
        raise InputError(path, "unknown binary data", "a Kaldi, torch, NumPy or audio file", "Give another file")
    return _text_kind(Path(path), head)


def _first_member(head: bytes) -> bytes:
    """Name of the first file in a zip archive: torch and NumPy both write such."""
    return head[30 : 30 + int.from_bytes(head[26:28], "little")]


def _number_table(path: str | os.PathLike) -> str:
    """Which table of integers (and weights) parses, over its first two entries."""
    for kind, read in NUMBER_TABLES.items():
        with contextlib.closing(read_entries(f"ark:{os.fspath(path)}", read)) as entries:
            with contextlib.suppress(InputError):
                list(islice(entries, 2))
                return kind
    raise InputError(path, "a table of numbers that cannot be read", " or ".join(NUMBER_TABLES), "Make it again")


@dataclass(frozen=True)
class Text:
    """What the kind of a text is told from: its file's name, its beginning, its first line, the words of that."""

    name: str
    start: bytes
    line: bytes
    words: list[str]


def _parses(read: Callable, text: str | bytes) -> bool:
    try:
        read(text)
    except ValueError:
        return False
    return True


def _is_json(text: Text) -> bool:
    return text.start.startswith(b"{") or text.name.endswith(".json")


def _is_scp(text: Text) -> bool:
    located = len(text.words) == 2 and re.search(r":\d+(\[[^\]]*\])?$", text.words[1])
    return text.name.endswith((".scp", ".scp.gz")) or bool(located)


TEXT_KINDS: list[tuple[str, Callable[[Text], object]]] = [  # the first whose test holds
    ("jsonl", lambda t: _is_json(t) and _parses(json.loads, t.line) and t.start[len(t.line) :].strip()),
    ("json", _is_json),
    ("model", lambda t: t.start.startswith(b"<") and t.start.split(None, 1)[0].decode("latin-1") in MODELS),
    ("array", lambda t: re.match(rb"\[\s+[-+\d\]ni]", t.start)),
    ("conf", lambda t: t.start.startswith(b"--")),
    ("tsv", lambda t: t.name.endswith(".tsv")),
    ("posteriors", lambda t: TEXT_POSTERIORS.match(t.line)),
    ("archive", lambda t: re.match(rb"\S+[ \t]+\[", t.line)),
    ("gselect", lambda t: b" ; " in t.line or t.line.rstrip().endswith(b" ;")),
    ("scp", _is_scp),
    ("trials", lambda t: len(t.words) == 3 and t.words[2] in LABELS),
    ("labelled scores", lambda t: len(t.words) == 2 and t.words[1] in LABELS),
    ("scores", lambda t: len(t.words) == 3 and _parses(float, t.words[2])),
    ("table", lambda t: True),
]


def _text_kind(path: Path, head: bytes) -> str:
    start = head.lstrip()
    first = start.split(b"\n", 1)[0] + (b"\n" if b"\n" in start else b"")
    text = Text(path.name, start, first, first.decode("utf-8", "replace").split())
    return next(kind for kind, holds in TEXT_KINDS if holds(text))


def source_of(path: str | os.PathLike) -> AbstractContextManager[Source]:
    """Opens a file (gzip too) as a Source."""
    return open_location(Location(os.fspath(path)))
