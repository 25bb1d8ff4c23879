"""Any file of the recipe in words: what it is, keys, shapes, types, ranges, NaNs, frame counts; and Kaldi's text form.

`describe(path, key)` yields lines (with the same facts for programs) while it reads, so the first lines of a huge
archive come at once. An scp is listed without reading the data, unless a key is given. Nothing found in a file is run
or unpickled.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from pyasp.core.errors import InputError
from pyasp.inspect import directory, model, other, table
from pyasp.inspect.kind import kind_of, source_of
from pyasp.inspect.line import BLOCK, Line, Lines, array_facts, block, line, row_lines, shape_text, span
from pyasp.inspect.table import missing, whole
from pyasp.kaldi.archives import serialise
from pyasp.kaldi.names import is_command, parse_location
from pyasp.kaldi.source import Source
from pyasp.kaldi.tables import load, read_array, read_entries, read_scp
from pyasp.kaldi.writer import BINARY

NAMES = {
    "FV": "float32 vector",
    "DV": "float64 vector",
    "FM": "float32 matrix",
    "DM": "float64 matrix",
    "CM": "compressed matrix (CM, 8 bit by column)",
    "CM2": "compressed matrix (CM2, 16 bit)",
    "CM3": "compressed matrix (CM3, 8 bit)",
}


@dataclass(frozen=True)
class View:
    """How to show one kind of file: all of it, one entry, as text, and as an array (None: it has no such form)."""

    describe: Callable[[str], Lines]
    entry: Callable[[str, str, bool], Lines]
    text: Callable[[str, str | None, bool], Iterable[str]] | None = None
    array: Callable[[str, str | None, bool], np.ndarray] | None = None


def describe(path: str | os.PathLike, key: str | None = None, allow_commands: bool = False) -> Lines:
    """Lines that describe a file, or one entry of it. Raises InputError for damaged or unknown files and keys."""
    path = os.fspath(path)
    view = VIEWS[kind_of(path)]
    return view.describe(path) if key is None else view.entry(path, key, allow_commands)


def as_text(path: str | os.PathLike, key: str | None = None, allow_commands: bool = False) -> Iterable[str]:
    """Pieces of Kaldi's text form of a file (or of one entry), line ends included."""
    path = os.fspath(path)
    kind = kind_of(path)
    if VIEWS[kind].text is None:
        raise InputError(path, f"a file of kind {kind}", "one with a text form", "Leave --text out")
    return VIEWS[kind].text(path, key, allow_commands)


def array_of(path: str | os.PathLike, key: str | None = None, allow_commands: bool = False) -> np.ndarray:
    """The array in a file, of one of its entries, or (N, D) of an archive's vectors of equal length.

    Raises InputError for files without arrays, and for entries that are no vectors of one length.
    """
    path = os.fspath(path)
    kind = kind_of(path)
    if VIEWS[kind].array is None:
        raise InputError(path, f"a file of kind {kind}", "one that holds arrays", "Leave --npy and --frames out")
    return VIEWS[kind].array(path, key, allow_commands)


def describe_array(name: str, array: np.ndarray) -> Lines:
    """One array with all of its rows."""
    yield line(f"{name}: {array.dtype} {shape_text(array)}  {span(array)}", **array_facts(str(array.dtype), array))
    rows = array if array.ndim == 2 else array[:, None]
    yield from (line(f"[{number}]", *(f"{value:.5g}" for value in row)) for number, row in enumerate(rows))
    yield line(f"{len(array)} rows", values=array.tolist())


def _name(kind: str, array: np.ndarray) -> str:
    return NAMES.get(kind) or f"{kind} {'matrix' if array.ndim == 2 else 'vector'}"


def _array_line(kind: str, array: np.ndarray, where: str, **facts: Any) -> Line:
    """A file or entry on one line."""
    return line(
        f"{where}: {_name(kind, array)} {shape_text(array)}  {span(array)}", **facts, **array_facts(kind, array)
    )


def _typed(source: Source) -> tuple[str, np.ndarray]:
    """(stored type, array) at the source."""
    ahead = source.peek(8)
    kind = ahead[2:].split(b" ")[0].decode("latin-1") if ahead.startswith(BINARY) else "text"
    return kind, read_array(source)


# one vector or matrix


def _array(path: str) -> Lines:
    with source_of(path) as source:
        kind, array = _typed(source)
    yield line(
        f"{path}: Kaldi object, {_name(kind, array)} {shape_text(array)}  {span(array)}",
        kind="array",
        **array_facts(kind, array),
    )
    yield from row_lines(array)


def _array_text(path: str, key: str | None, allow_commands: bool) -> Iterable[str]:
    return [serialise(load(path), binary=False).decode("ascii")]


# archives and script files


def _archive(path: str) -> Lines:
    yield line(f"{path}: Kaldi archive of vectors or matrices", kind="archive")
    entries = frames = elements = bad = 0
    shapes: Counter[str] = Counter()
    for key, (kind, array) in read_entries(f"ark:{path}", _typed):
        yield line(key, _name(kind, array), shape_text(array), span(array), key=key, **array_facts(kind, array))
        entries, bad = entries + 1, bad + int(np.size(array) - np.isfinite(array).sum())
        frames, elements = (frames + len(array), elements) if array.ndim == 2 else (frames, elements + len(array))
        shapes[f"{kind} with {array.shape[-1]} columns" if array.ndim == 2 else kind] += 1
    summary = ", ".join(f"{count} {name}" for name, count in shapes.most_common(5))
    hours = f" ({frames / 360000:.2f} h at 10 ms)" if frames else ""
    yield line(
        f"{entries} entries ({summary}), {frames} frames (rows of matrices){hours}, {elements} elements of "
        f"vectors, {bad} NaN or infinite values",
        count=entries,
        frames=frames,
        elements=elements,
        bad=bad,
    )


def _archive_entry(path: str, key: str, allow_commands: bool) -> Lines:
    for found, (kind, array) in read_entries(f"ark:{path}", _typed):
        if found == key:
            yield _array_line(kind, array, f"{path}: {key}", name=key)
            yield from row_lines(array)
            yield line("", values=array.tolist())
            return
    raise missing(path, key)


def _archive_array(path: str, key: str | None, allow_commands: bool) -> np.ndarray:
    return _stacked(path, key, read_entries(f"ark:{path}", read_array))


def _stacked(path: str, key: str | None, entries: Iterable[tuple[str, np.ndarray]]) -> np.ndarray:
    """One entry, or all vectors as rows."""
    rows: list[np.ndarray] = []
    for found, array in entries:
        if found == key:
            return array
        if key is None:
            rows.append(array)
    shapes = {row.shape for row in rows}
    if key is not None:
        raise missing(path, key)
    if len(shapes) != 1 or rows[0].ndim != 1:
        raise InputError(
            path,
            f"{len(rows)} arrays of {len(shapes)} shapes",
            "vectors of one length, or a KEY",
            "Give the KEY of one entry",
        )
    return np.stack(rows)


def _archive_text(path: str, key: str | None, allow_commands: bool) -> Iterable[str]:
    for found, array in read_entries(f"ark:{path}", read_array):
        if key in (None, found):
            yield f"{found} {serialise(array, binary=False).decode('ascii')}"
        if key == found:
            return
    if key is not None:
        raise missing(path, key)


def _scp(path: str) -> Lines:
    entries = read_scp(path, allow_commands=True)
    commands = sum(map(is_command, entries.values()))
    yield line(
        f"{path}: script file, {len(entries)} entries, data not read (give a KEY to see one)",
        kind="scp",
        count=len(entries),
        commands=commands,
    )
    if commands:
        yield line(f"{commands} entries are commands; they were not run")
    files = Counter(value.rsplit("[", 1)[0].rsplit(":", 1)[0] for value in entries.values() if not is_command(value))
    yield line(f"{len(files)} files", files=len(files))
    yield from (line(f"  {name} ({count} entries)") for name, count in files.most_common(5))
    keys = list(entries)
    in_order = keys == sorted(keys)
    yield line(f"keys {'sorted' if in_order else 'NOT sorted in C order'}", sorted=in_order)
    rows = iter(entries.items())
    while some := list(islice(rows, BLOCK)):
        yield block(some, "location")


def _scp_entry(path: str, key: str, allow_commands: bool) -> Lines:
    array = _scp_array(path, key, allow_commands)
    yield line(
        f"{path}: {key}: {array.dtype} {shape_text(array)}  {span(array)}",
        name=key,
        **array_facts(str(array.dtype), array),
    )
    yield from row_lines(array)
    yield line("", values=array.tolist())


def _scp_arrays(path: str, key: str | None, allow_commands: bool) -> np.ndarray:
    if key is not None:
        return _scp_array(path, key, allow_commands)
    return _stacked(path, None, ((found, _scp_array(path, found, allow_commands)) for found in read_scp(path, True)))


def _scp_array(path: str, key: str, allow_commands: bool) -> np.ndarray:
    entries = read_scp(path, allow_commands=True)
    if key not in entries:
        raise missing(path, key)
    parse_location(entries[key], allow_commands, path, key)
    return load(entries[key], allow_commands, path, key)


def _scp_text(path: str, key: str | None, allow_commands: bool) -> Iterable[str]:
    for found in read_scp(path, allow_commands=True) if key is None else [key]:
        yield f"{found} {serialise(_scp_array(path, found, allow_commands), binary=False).decode('ascii')}"


VIEWS: dict[str, View] = {
    "array": View(_array, whole, _array_text, lambda path, key, _: load(path) if key is None else whole(path, key, _)),
    "archive": View(_archive, _archive_entry, _archive_text, _archive_array),
    "scp": View(_scp, _scp_entry, _scp_text, _scp_arrays),
    **{
        kind: View(*functions)
        for kind, functions in {**model.VIEWS, **other.VIEWS, **table.VIEWS, **directory.VIEWS}.items()
    },
}
