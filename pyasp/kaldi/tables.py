"""Reading Kaldi tables: script files, archives, and single vectors and matrices.

Whole float vectors and matrices are decoded by kaldiio, once this module has looked at them: commands (`... |`, which
kaldiio would run), pickles (`PKL`, which it would load), `NPY` and `AUDIO` entries are refused, and sizes are checked
against the file. Compressed matrices, text and ranges are read here (kaldiio decodes compressed ones with other
rounding, and cuts ranges without Kaldi's rules).
"""

import os
import re
from collections.abc import Callable, Generator, Iterator
from typing import TypeVar

import numpy as np
from kaldiio.matio import read_matrix_or_vector

from pyasp.core.errors import InputError
from pyasp.kaldi.names import Location, extent, is_command, parse_location, refuse_command
from pyasp.kaldi.reader import LONGEST_HEAD, PLAIN, Reader, head_ahead
from pyasp.kaldi.source import Source, open_location
from pyasp.kaldi.writer import BINARY

SPECIFIER = re.compile(r"(ark|scp)((?:,[a-z]+)*):(.*)", re.DOTALL)
OPTIONS = {"o", "no", "s", "ns", "cs", "ncs", "bg", "b", "t", "np"}  # order and speed promises: nothing to do here
KEY_END = re.compile(rb"[ \t]")
TRAILING_SPACE = re.compile(rb"[ \t\r](?:\n|\Z)")
LONGEST_KEY = 10000  # bytes
Value = TypeVar("Value")
PathLike = str | os.PathLike


# script files


def read_scp(path: PathLike, allow_commands: bool = False) -> dict[str, str]:
    """Reads a script file: {key: rxfilename}, in the order of the file. No data are read.

    Raises InputError for a line without a value, a key that comes twice, text that is not UTF-8, and a command
    (`... |`) unless `allow_commands`.
    """
    with open_location(Location(os.fspath(path))) as source:
        data = source.rest()
    lines = _lines(path, data)
    try:
        entries = dict(line.split(None, 1) for line in lines)  # no list of pairs: a million would wake the collector
    except ValueError:
        raise _malformed(path, lines) from None
    if len(entries) != len(lines):
        raise _duplicate(path, lines)
    if TRAILING_SPACE.search(data):
        entries = {key: value.rstrip() for key, value in entries.items()}
    if b"|" in data or b" -" in data or b"\t-" in data:
        for number, value in enumerate(entries.values(), 1):
            name = value.split("[")[0]
            if name.strip() == "-":  # it would wait for what nobody types
                raise InputError(path, "standard input (-)", "<key> <file>", "Name a file", f"line {number}")
            if is_command(value) or is_command(name):
                refuse_command(value, allow_commands, path, f"line {number}")
    return entries


def _lines(path: PathLike, data: bytes) -> list[str]:
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as problem:
        cure = "Is this an archive? Give its scp"
        raise InputError(path, "bytes that are not UTF-8", "UTF-8 text", cure, f"byte {problem.start}") from None
    return lines if lines[-1] else lines[:-1]


def _malformed(path: PathLike, lines: list[str]) -> InputError:
    """The error for the first line that is not `<key> <file>`."""
    number, words = next(
        (number, len(line.split(None, 1))) for number, line in enumerate(lines, 1) if len(line.split(None, 1)) != 2
    )
    return InputError(path, f"{words} fields", "<key> <file>", "Repair or remove the line", f"line {number}")


def _duplicate(path: PathLike, lines: list[str]) -> InputError:
    """The error for the first key that was there before."""
    keys = [line.split(None, 1)[0] for line in lines]
    first: dict[str, int] = {}
    number = next(number for number, key in enumerate(keys) if first.setdefault(key, number) != number)
    found = f"the key {keys[number]} a second time"
    return InputError(path, found, "each key once", "Remove one of its lines", f"line {number + 1}")


# tables


def read_entries(
    rspecifier: PathLike, read: Callable[[Source], Value], allow_commands: bool = False
) -> Generator[tuple[str, Value]]:
    """(key, read(source)) of every entry of a table; `read` consumes one object from the source.

    rspecifier: `x.ark`, `x.scp`, `ark:x`, `scp:x`, also `-` for standard input, gzip, and with `allow_commands`
    `ark:command |`. A range in an scp entry is left to read_array; for other objects it is an InputError.
    """
    kind, path = parse_rspecifier(rspecifier, allow_commands)
    if kind == "ark":
        yield from _archive_entries(path, read, allow_commands)
        return
    for key, value in read_scp(path, allow_commands).items():
        location = parse_location(value, allow_commands, path, key)
        if location.rows or location.columns:
            raise InputError(path, f"a range in {value!r}", "an entry without a range", "Ranges are for matrices", key)
        with open_location(location) as source:
            source.key = key
            yield key, read(source)


def parse_rspecifier(rspecifier: PathLike, allow_commands: bool = False) -> tuple[str, str]:
    """('ark' or 'scp', file or command) of a Kaldi rspecifier; a bare name is an scp when it ends in .scp."""
    text = os.fspath(rspecifier).strip()
    found = SPECIFIER.fullmatch(text)
    if not found:
        kind, path = ("scp" if text.endswith((".scp", ".scp.gz")) else "ark"), text
    else:
        kind, path = found.group(1), found.group(3).strip()
        unknown = set(found.group(2).split(",")[1:]) - OPTIONS
        if unknown:
            cure = "Leave it out; p (permissive) is not offered because it hides failures"
            raise InputError(text, f"the table option {sorted(unknown)[0]!r}", f"one of {sorted(OPTIONS)}", cure)
    if is_command(path):
        refuse_command(path, allow_commands, text)
    return kind, path


def _archive_entries(path: str, read: Callable[[Source], Value], allow_commands: bool) -> Iterator[tuple[str, Value]]:
    location = parse_location(path, allow_commands) if is_command(path) else Location(path)
    with open_location(location) as source:
        while (key := read_key(source)) is not None:
            source.key = key
            yield key, read(source)
            source.key = None


def read_key(source: Source) -> str | None:
    """The next key of an archive with the one space after it; None at the end of the archive."""
    source.skip_space()
    if source.at_end():
        return None
    text = source.until(KEY_END, "key", LONGEST_KEY)
    if not text or b"\0" in text or b"\n" in text:
        raise source.error("no key", "<key> <object>")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        raise source.error("a key that is not UTF-8", "UTF-8 text") from None


# arrays


def read_array(source: Source, dtype: np.dtype | type | None = None) -> np.ndarray:
    """The vector or matrix at the source: (n,) or (rows, columns), float32 or float64 as stored (text: float32)."""
    source.refuse_foreign()
    ahead = source.peek(LONGEST_HEAD)
    if ahead.startswith(BINARY) and ahead[2:4].decode("latin-1") in PLAIN and ahead[4:5] == b" ":
        head_ahead(ahead, source.name, source.tell(), source.size, source.key)
        result = read_matrix_or_vector(source)
        return result if dtype is None else result.astype(dtype, copy=False)
    return Reader(source).array(dtype)


def read_ark(rspecifier: PathLike, allow_commands: bool = False) -> Iterator[tuple[str, np.ndarray]]:
    """(key, array) of every entry of a table of vectors or matrices, in order.

    rspecifier: as read_entries. Raises InputError naming file, key and byte offset for anything damaged or refused.
    """
    kind, path = parse_rspecifier(rspecifier, allow_commands)
    if kind == "ark":
        yield from _archive_entries(path, read_array, allow_commands)
        return
    for key, value in read_scp(path, allow_commands).items():
        yield key, load(value, allow_commands, path, key)


def load(
    rxfilename: PathLike,
    allow_commands: bool = False,
    where: object = "rxfilename",
    item: str | None = None,
    dtype: np.dtype | type | None = None,
) -> np.ndarray:
    """One vector or matrix: `mean.vec`, `x.ark:12`, `x.ark:12[0:9]`, `x.ark:12[:,0:3]`, `x.mat.gz`, `-`.

    Returns (n,) or (rows, columns) in float32 or float64 as stored (text: float32), or in `dtype`. Ranges include
    both ends; the last row may exceed the matrix by 3. `where` and `item` name the table and key in errors.
    """
    location = parse_location(rxfilename, allow_commands, where, item)
    with open_location(location) as source:
        source.key = item
        array = read_array(source, dtype)
    return array[extent(location, array.shape, where, item if item is not None else os.fspath(rxfilename))]
