"""Kaldi tables of matrices and vectors: script files (scp), archives (ark), binary and text, plain and compressed.

Every table of the recipe goes through here. Nothing found in a table is ever run, unpickled or decoded as audio: commands
need `allow_commands`, and pickles, NumPy and audio entries are refused by their first bytes. kaldiio 2.18 opens the same
files (the tests compare the two) but would run a command or unpickle an entry unasked, and stops silently at a bad one.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Iterator

import numpy as np

from pyasp import kaldi_compress
from pyasp.artefact import sync, temporary_name
from pyasp.errors import InputError
from pyasp.kaldi_location import Location, is_command, parse_location, refuse_command, resolve_range
from pyasp.kaldi_source import SPACE, Source, open_location
from pyasp.kaldi_stream import Reader, Writer, write_object

LONGEST_KEY = 1 << 12  # bytes; a longer "key" is another kind of file


def read_scp(path: str | os.PathLike, allow_commands: bool = False) -> dict[str, str]:
    """{key: rxfilename} of a script file (also gzip, `-`), in file order; no data is read.

    Raises InputError for a missing or malformed file, a duplicate key, and a command unless `allow_commands`.
    """
    with open_location(parse_location(path)) as source:
        name, raw = source.name, source.rest()
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise InputError(name, f"bytes that are not text (at {error.start})", "`key file:offset` lines", "Give the scp, not the ark") from None
    table: dict[str, str] = {}
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split(None, 1)
        if len(words) != 2:
            if not words and number > text.count("\n"):
                continue
            raise InputError(name, repr(line[:60]), "`key file:offset`", "Make the scp again", item=f"line {number}")
        if words[0] in table:
            raise InputError(name, f"key {words[0]!r} a second time", "unique keys", "Make the scp again", item=f"line {number}")
        table[words[0]] = words[1].rstrip()
    if "|" in text:
        for key, value in table.items():
            if is_command(value):
                refuse_command(value, allow_commands, name, key)
    return table


def _in_range(array: np.ndarray, location: Location, source: Source) -> np.ndarray:
    """Applies the inclusive `[rows,columns]` of a location."""
    if location.rows is None and location.columns is None:
        return array
    rows = resolve_range(location.rows, array.shape[0], 3, "row", source.name, source.key)
    if array.ndim == 1 or location.columns is None:
        return array[rows]
    return array[rows, resolve_range(location.columns, array.shape[1], 0, "column", source.name, source.key)]


def load(rxfilename: str | os.PathLike, allow_commands: bool = False, where: object = "rxfilename", key: str | None = None) -> np.ndarray:
    """One vector (n,) or matrix (rows, columns), float32 or float64 as stored; compressed ones come as float32.

    rxfilename: `mean.vec`, `x.ark:12`, `x.ark:12[0:9,3:5]` (both ends included), `-`, or a command if admitted.
    """
    location = parse_location(rxfilename, allow_commands, where, key)
    with open_location(location) as source:
        source.key = key
        return _in_range(Reader(source).array(), location, source)


class ScpReader(Mapping):
    """The arrays of a script file by key, read when asked for; ranges in the scp are applied."""

    def __init__(self, path: str | os.PathLike, allow_commands: bool = False):
        self.path, self.allow_commands = path, allow_commands
        self.table = read_scp(path, allow_commands)
        self._maps: dict[str, mmap.mmap] = {}

    def __len__(self) -> int:
        return len(self.table)

    def __iter__(self) -> Iterator[str]:
        return iter(self.table)

    def __contains__(self, key: object) -> bool:
        return key in self.table

    def _where(self, key: str) -> str:
        if key not in self.table:
            raise InputError(self.path, "no such key", f"one of its {len(self.table)} keys", "Make this table over the same utterances", item=key)
        return self.table[key]

    def __getitem__(self, key: str) -> np.ndarray:
        return load(self._where(key), self.allow_commands, self.path, key)

    def rows(self, key: str, start: int, end: int) -> np.ndarray:
        """Rows start..end (half open, clipped) of a matrix; of a plain, CM2 or CM3 one only they are read and decoded."""
        location = parse_location(self._where(key), self.allow_commands, self.path, key)
        if location.command or location.path == "-" or location.rows or location.columns:
            return self[key][start:end]
        with open_location(location) as source:
            source.key = key
            reader = Reader(source)
            if not reader.binary or source.size is None:
                return reader.array()[start:end]
            head = reader.head()
            begin, needed = source.tell(), head.body_bytes
            if needed > source.size - begin:
                source.take(needed, "matrix")       # raises the error that names the place
        body = memoryview(self._map(location.path))[begin:begin + needed]
        return np.array(head.decode(body, max(start, 0), end))

    def _map(self, path: str) -> mmap.mmap:
        if path not in self._maps:
            with open(path, "rb") as stream:
                self._maps[path] = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
        return self._maps[path]


def keys_of(source: Source) -> Iterator[str]:
    """The keys of an archive; after each the caller reads the object, which starts at the source's place."""
    while True:
        source.key = None
        source.skip_space()
        if source.at_end():
            return
        start, key = source.tell(), source.until(SPACE, "key", LONGEST_KEY)
        if not key or not key.isascii() and not _is_utf8(key) or b"\0" in key:
            raise source.error("no key", "`key` and a space before the object", offset=start)
        source.key = key.decode("utf-8")
        yield source.key


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def parse_rspecifier(rspecifier: str | os.PathLike) -> tuple[str, str]:
    """("ark" or "scp", rxfilename) of `ark:x`, `ark,t:x`, `scp:x` or a bare path (scp by its ending)."""
    text = os.fspath(rspecifier)
    kind, colon, rest = text.partition(":")
    words = kind.split(",")
    if colon and words[0] in ("ark", "scp") and set(words[1:]) <= {"t", "b", "o", "s", "cs", "no", "ns", "ncs"}:
        return words[0], rest
    return ("scp" if text.endswith((".scp", ".scp.gz")) else "ark"), text


def read_ark(rspecifier: str | os.PathLike, allow_commands: bool = False) -> Iterator[tuple[str, np.ndarray]]:
    """(key, array) of every entry of an archive (binary, text, gzip, `-`) or of a script file, in order.

    Raises InputError at the first bad entry, naming file, key and byte: nothing is skipped.
    """
    kind, rxfilename = parse_rspecifier(rspecifier)
    if kind == "scp":
        yield from ScpReader(rxfilename, allow_commands).items()
        return
    with open_location(parse_location(rxfilename, allow_commands)) as source:
        for key in keys_of(source):
            yield key, Reader(source).array()


def save(path: str | os.PathLike, array: np.ndarray, binary: bool = True) -> None:
    """Writes one vector or matrix (float32 or float64) under its final name, atomically."""
    with write_object(path, binary) as writer:
        writer.array(array)


class ArkWriter:
    """Writes an archive and, if wanted, its script file; both appear under their names when the block ends well.

    compression_method: 0 none, 1 to 7 as Kaldi's --compression-method (matrices only); text: Kaldi's text form.
    """

    def __init__(self, ark_path: str | os.PathLike, scp_path: str | os.PathLike | None = None, compression_method: int = 0, text: bool = False):
        self.ark_path, self.scp_path = os.fspath(ark_path), os.fspath(scp_path) if scp_path else None
        self.method, self.binary = compression_method, not text
        self._lines: list[str] = []
        self._keys: set[str] = set()

    def __enter__(self) -> ArkWriter:
        if self.ark_path == "-":
            self._file: IO[bytes] = sys.stdout.buffer
        else:
            Path(self.ark_path).parent.mkdir(parents=True, exist_ok=True)
            self._file = open(temporary_name(self.ark_path), "wb")
        self._place = 0
        return self

    def write(self, key: str, array: np.ndarray) -> None:
        """Appends one entry. Raises InputError for a key that is empty, repeated or holds white space."""
        if not key or key.split() != [key] or key in self._keys:
            raise InputError(self.ark_path, f"key {key!r}", "a new key without white space", "Correct the ids", item=key)
        self._keys.add(key)
        head = key.encode("utf-8") + b" "
        self._file.write(head)
        if self.scp_path:
            self._lines.append(f"{key} {self.ark_path}:{self._tell(len(head))}\n")
        if self.method and self.binary and np.ndim(array) == 2:
            self._file.write(b"\0B")
            kaldi_compress.write(self._file, array, self.method)
        else:
            Writer(self._file, self.binary).array(array)

    def _tell(self, head: int) -> int:
        """Offset of the object; standard output has none to name."""
        if self.ark_path == "-":
            raise InputError("standard output", "an scp wanted", "an archive in a file", "Name the archive")
        return self._file.tell()

    def __exit__(self, kind, value, trace) -> None:
        if self.ark_path == "-":
            self._file.flush()
            return
        self._file.close()
        ark = temporary_name(self.ark_path)
        if kind is not None:
            ark.unlink(missing_ok=True)
            return
        sync(ark)
        os.replace(ark, self.ark_path)
        if self.scp_path:
            self._write_scp()

    def _write_scp(self) -> None:
        scp = temporary_name(self.scp_path)
        with contextlib.ExitStack() as cleanup:
            cleanup.callback(scp.unlink, missing_ok=True)
            scp.write_text("".join(self._lines), encoding="utf-8")
            sync(scp)
            os.replace(scp, self.scp_path)
            cleanup.pop_all()
