"""Any file of the recipe in words: what it is, keys, shapes, types, ranges, NaNs, frame counts; and Kaldi's text form.

`describe(path, key)` yields lines while it reads, so the first lines of a huge archive come at once. An scp is listed
without reading the data, unless a key is given. Nothing found in a file is run or unpickled.
"""

from __future__ import annotations

import io
import os
from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Callable, Iterable, Iterator

import numpy as np

from pyasp import inspect_other, inspect_table
from pyasp.errors import InputError
from pyasp.inspect_kind import NUMBER_TABLES, kind_of, source_of
from pyasp.inspect_table import Lines, missing, span, whole
from pyasp.kaldi_ark import serialise
from pyasp.kaldi_location import is_command, parse_location
from pyasp.kaldi_model import MODELS, Item, read_items, write_items
from pyasp.kaldi_post import print_integers, print_lists, print_posteriors
from pyasp.kaldi_source import Source
from pyasp.kaldi_table import load, read_array, read_entries, read_scp
from pyasp.kaldi_writer import BINARY, Writer

NAMES = {"FV": "float32 vector", "DV": "float64 vector", "FM": "float32 matrix", "DM": "float64 matrix",
         "CM": "compressed matrix (CM, 8 bit by column)", "CM2": "compressed matrix (CM2, 16 bit)",
         "CM3": "compressed matrix (CM3, 8 bit)"}

SIZES = {"<MEANS_INVVARS>": " of {0} Gaussians in {2} dimensions",
         "<MEANS_INVCOVARS>": " of {0} Gaussians in {2} dimensions",
         "<M>": " of {0} Gaussians in {1} dimensions, i-vectors of {2}", "<Plda>": " in {1} dimensions"}


@dataclass(frozen=True)
class View:
    """How to show one kind of file: all of it, one entry, and as text (None: it has no text form)."""

    describe: Callable[[str], Lines]
    entry: Callable[[str, str, bool], Lines]
    text: Callable[[str, str | None, bool], Iterable[str]] | None = None


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


def shape_text(array: np.ndarray) -> str:
    """`260 x 20` or `50`."""
    return " x ".join(str(size) for size in array.shape)


def _array_line(kind: str, array: np.ndarray) -> str:
    name = NAMES.get(kind) or f"{kind} {'matrix' if array.ndim == 2 else 'vector'}"
    return f"{name} {shape_text(array)}  {span(array)}"


def _typed(source: Source) -> tuple[str, np.ndarray]:
    """(stored type, array) at the source."""
    ahead = source.peek(8)
    kind = ahead[2:].split(b" ")[0].decode("latin-1") if ahead.startswith(BINARY) else "text"
    return kind, read_array(source)


# one vector or matrix


def _array(path: str) -> Lines:
    with source_of(path) as source:
        kind, array = _typed(source)
    yield f"{path}: Kaldi object, {_array_line(kind, array)}"
    yield from _rows(array)


def _rows(array: np.ndarray) -> Lines:
    """Every row of a small array, the ends of a large one."""
    rows = array if array.ndim == 2 else array[None]
    for number in [i for i in range(len(rows)) if i < 5 or i >= len(rows) - 2]:
        values = " ".join(f"{value:.5g}" for value in rows[number][:8])
        yield f"  [{number}] {values}{' ...' if rows.shape[1] > 8 else ''}"


def _array_text(path: str, key: str | None, allow_commands: bool) -> Iterable[str]:
    return [serialise(load(path), binary=False).decode("ascii")]


# archives and script files


def _archive(path: str) -> Lines:
    yield f"{path}: Kaldi archive of vectors or matrices"
    entries = frames = elements = bad = 0
    shapes: Counter[str] = Counter()
    for key, (kind, array) in read_entries(f"ark:{path}", _typed):
        yield f"{key}  {_array_line(kind, array)}"
        entries, bad = entries + 1, bad + int(np.size(array) - np.isfinite(array).sum())
        frames, elements = (frames + len(array), elements) if array.ndim == 2 else (frames, elements + len(array))
        shapes[f"{kind} with {array.shape[-1]} columns" if array.ndim == 2 else kind] += 1
    summary = ", ".join(f"{count} {name}" for name, count in shapes.most_common(5))
    yield (f"{entries} entries ({summary}), {frames} frames (rows of matrices), {elements} elements of vectors, "
           f"{bad} NaN or infinite values")


def _archive_entry(path: str, key: str, allow_commands: bool) -> Lines:
    for found, (kind, array) in read_entries(f"ark:{path}", _typed):
        if found == key:
            yield f"{path}: {key}: {_array_line(kind, array)}"
            yield from _rows(array)
            return
    raise missing(path, key)


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
    yield f"{path}: script file, {len(entries)} entries, data not read (give a KEY to see one)"
    if commands:
        yield f"{commands} entries are commands; they were not run"
    files = Counter(value.rsplit("[", 1)[0].rsplit(":", 1)[0] for value in entries.values() if not is_command(value))
    yield f"{len(files)} files" + "".join(f"\n  {name} ({count} entries)" for name, count in files.most_common(5))
    keys = list(entries)
    yield f"keys {'sorted' if keys == sorted(keys) else 'NOT sorted in C order'}"
    for key, value in entries.items():
        yield f"{key}  {value}"


def _scp_entry(path: str, key: str, allow_commands: bool) -> Lines:
    array = _scp_array(path, key, allow_commands)
    yield f"{path}: {key}: {array.dtype} {shape_text(array)}  {span(array)}"
    yield from _rows(array)


def _scp_array(path: str, key: str, allow_commands: bool) -> np.ndarray:
    entries = read_scp(path, allow_commands=True)
    if key not in entries:
        raise missing(path, key)
    parse_location(entries[key], allow_commands, path, key)
    return load(entries[key], allow_commands, path, key)


def _scp_text(path: str, key: str | None, allow_commands: bool) -> Iterable[str]:
    for found in read_scp(path, allow_commands=True) if key is None else [key]:
        yield f"{found} {serialise(_scp_array(path, found, allow_commands), binary=False).decode('ascii')}"


# models


def _model(path: str) -> Lines:
    binary, items = read_items(path)
    yield f"{path}: {MODELS[items[0].value]}{_sizes(items)}, {'binary' if binary else 'text'}"
    for name, group in groupby((item for item in items if item.kind != "token"), key=lambda item: item.name):
        yield from _item_lines(name, list(group))


def _sizes(items: list[Item]) -> str:
    """Numbers of Gaussians and dimensions, where the model has matrices of means."""
    shapes = {item.name: item.value.shape for item in items if item.kind == "array" and item.value.ndim == 2}
    gaussians = sum(item.kind == "packed" for item in items)
    for name, text in SIZES.items():
        if name in shapes:
            return text.format(gaussians or shapes[name][0], *shapes[name])
    return ""


def _item_lines(name: str, items: list[Item]) -> Lines:
    """One line for each run of equal shapes among the items after one token."""
    for (kind, shape), group in groupby(items, key=lambda item: (item.kind, np.shape(item.value))):
        values = [item.value for item in group]
        if kind in ("int", "float"):
            yield from (f"  {name} {kind} {value:.7g}" for value in values)
            continue
        size = int((2 * shape[0] + 0.25) ** 0.5)
        what = f"symmetric {size} x {size}" if kind == "packed" else " x ".join(map(str, shape))
        count = f"{len(values)} of " if len(values) > 1 else ""
        yield f"  {name} {count}{values[0].dtype} {what}  {span(np.stack(values))}"


def _model_entry(path: str, key: str, allow_commands: bool) -> Lines:
    name = f"<{key.strip('<>')}>"
    found = [item for item in read_items(path)[1] if item.name == name and item.kind != "token"]
    if not found:
        raise missing(path, key)
    for item in found:
        yield from _item_lines(name, [item])
        if item.kind == "array":
            yield from _rows(item.value)


def _model_text(path: str, key: str | None, allow_commands: bool) -> Iterable[str]:
    name, file = key and f"<{key.strip('<>')}>", io.BytesIO()
    items = [item for item in read_items(path)[1] if name in (None, item.name)]
    if not items:
        raise missing(path, key)
    write_items(Writer(file, binary=False), items)
    return [file.getvalue().decode("ascii")]


# posteriors, selections, integers, numbers


def _posterior_line(frames: list) -> str:
    gauss = np.concatenate([g for g, _ in frames]) if frames else np.zeros(0, np.int32)
    weight = np.concatenate([w for _, w in frames]) if frames else np.zeros(0, np.float32)
    return f"{len(frames)} frames, {len(gauss)} pairs, Gaussians {span(gauss)}, weights {span(weight)}"


def _selection_line(frames: list) -> str:
    sizes = np.array([len(frame) for frame in frames])
    gauss = np.concatenate(frames) if frames else np.zeros(0, np.int32)
    return f"{len(frames)} frames, Gaussians a frame {span(sizes)}, Gaussians {span(gauss)}"


NUMBER_VIEWS: dict[str, tuple[Callable[[Any], str], Callable[[Any], str]]] = {  # one line; text form
    "posteriors": (_posterior_line, print_posteriors),
    "gselect": (_selection_line, print_lists),
    "int vectors": (lambda vector: f"{len(vector)} integers  {span(vector)}", print_integers),
    "scalars": (lambda value: f"{value:.7g}", lambda value: f"{value:.7g} "),
}


def _number_view(kind: str) -> View:
    line, text = NUMBER_VIEWS[kind]

    def entries(path: str, key: str | None) -> Iterator[tuple[str, Any]]:
        found = False
        for name, value in read_entries(f"ark:{path}", NUMBER_TABLES[kind]):
            if key in (None, name):
                found = True
                yield name, value
        if key is not None and not found:
            raise missing(path, key)

    def describe_all(path: str) -> Lines:
        yield f"{path}: table of {kind}"
        count = 0
        for count, (name, value) in enumerate(entries(path, None), 1):
            yield f"{name}  {line(value)}"
        yield f"{count} entries"

    return View(describe_all, lambda path, key, _: (f"{path}: {k}: {line(v)}" for k, v in entries(path, key)),
                lambda path, key, _: (f"{k} {text(v)}\n" for k, v in entries(path, key)))


VIEWS: dict[str, View] = {
    "array": View(_array, whole, _array_text),
    "archive": View(_archive, _archive_entry, _archive_text),
    "scp": View(_scp, _scp_entry, _scp_text),
    "model": View(_model, _model_entry, _model_text),
    **{kind: _number_view(kind) for kind in NUMBER_VIEWS},
    **{kind: View(*functions) for kind, functions in {**inspect_other.VIEWS, **inspect_table.VIEWS}.items()},
}
