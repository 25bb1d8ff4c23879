"""Kaldi's files in words: vectors and matrices, archives, script files, models, posteriors, selections, numbers."""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any, TypeVar

import numpy as np

from pyasp.core.errors import InputError
from pyasp.inspect.description import Lines, View, array_facts, array_line, line, missing, row_lines, shape_text, span
from pyasp.inspect.kind import NUMBER_TABLES, source_of
from pyasp.kaldi.archives import serialise
from pyasp.kaldi.items import MODELS, Array, Item, Number, read_items, write_items
from pyasp.kaldi.names import is_command
from pyasp.kaldi.posteriors import print_integers, print_lists, print_posteriors
from pyasp.kaldi.source import Source
from pyasp.kaldi.tables import load, read_array, read_entries, read_scp
from pyasp.kaldi.writer import BINARY, Writer

T = TypeVar("T")
Typed = Iterator[tuple[str, tuple[str, str, np.ndarray]]]  # (key, (type in words, stored type, array))
NAMES = {
    "FV": "float32 vector",
    "DV": "float64 vector",
    "FM": "float32 matrix",
    "DM": "float64 matrix",
    "CM": "compressed matrix (CM, 8 bit by column)",
    "CM2": "compressed matrix (CM2, 16 bit)",
    "CM3": "compressed matrix (CM3, 8 bit)",
}
SIZES = {
    "<MEANS_INVVARS>": " of {0} Gaussians in {2} dimensions",
    "<MEANS_INVCOVARS>": " of {0} Gaussians in {2} dimensions",
    "<M>": " of {0} Gaussians in {1} dimensions, i-vectors of {2}",
    "<Plda>": " in {1} dimensions",
}


def _name(kind: str, array: np.ndarray) -> str:
    return NAMES.get(kind) or f"{kind} {'matrix' if array.ndim == 2 else 'vector'}"


def _typed(source: Source) -> tuple[str, np.ndarray]:
    """(stored type, array) at the source."""
    ahead = source.peek(8)
    kind = ahead[2:].split(b" ")[0].decode("latin-1") if ahead.startswith(BINARY) else "text"
    return kind, read_array(source)


# vectors and matrices: one, archives, script files


def _array(path: str) -> Lines:
    with source_of(path) as source:
        kind, array = _typed(source)
    yield array_line(f"{path}: Kaldi object, {_name(kind, array)}", kind, array, kind="array")
    yield from row_lines(array)


def _array_text(path: str, key: str | None) -> Iterable[str]:
    return [serialise(load(path), binary=False).decode("ascii")]


def _only(path: str, key: str | None, entries: Iterable[tuple[str, T]]) -> Iterator[tuple[str, T]]:
    """The entry of `key`, or all of them. Raises InputError where there is none."""
    for found in entries:
        if key in (None, found[0]):
            yield found
        if key == found[0]:
            return
    if key is not None:
        raise missing(path, key)


def _from_archive(path: str, key: str | None) -> Typed:
    return _only(path, key, ((name, (_name(*found), *found)) for name, found in read_entries(f"ark:{path}", _typed)))


def scp_view(allow_commands: bool) -> View:
    """How to show a script file; allow_commands: run the command that stands under a key."""

    def entries(path: str, key: str | None) -> Typed:
        for name, location in _only(path, key, read_scp(path, allow_commands=True).items()):
            array = load(location, allow_commands, path, name)
            yield name, (str(array.dtype), str(array.dtype), array)

    return _table(_scp, entries)


def _table(describe: Callable[[str], Lines], entries: Callable[[str, str | None], Typed]) -> View:
    """How to show an archive or a script file. entries: of each (key, (type in words, stored type, array))."""

    def entry(path: str, key: str) -> Lines:
        for _, (name, kind, array) in entries(path, key):
            yield array_line(f"{path}: {key}: {name}", kind, array, name=key)
            yield from row_lines(array)
            yield line("", values=array.tolist())

    def text(path: str, key: str | None) -> Iterator[str]:
        for found, (*_, array) in entries(path, key):
            yield f"{found} {serialise(array, binary=False).decode('ascii')}"

    def stacked(path: str, key: str | None) -> np.ndarray:
        """One entry, or all vectors as rows."""
        rows = [array for _, (*_, array) in entries(path, key)]
        shapes = {row.shape for row in rows}
        if key is not None:
            return rows[0]
        if len(shapes) != 1 or rows[0].ndim != 1:
            found, cure = f"{len(rows)} arrays of {len(shapes)} shapes", "Give the KEY of one entry"
            raise InputError(path, found, "vectors of one length, or a KEY", cure)
        return np.stack(rows)

    return View(describe, entry, text, stacked)


def _archive(path: str) -> Lines:
    yield line(f"{path}: Kaldi archive of vectors or matrices", kind="archive")
    facts = {"count": 0, "frames": 0, "elements": 0, "bad": 0}
    shapes: Counter[str] = Counter()
    for key, (kind, array) in read_entries(f"ark:{path}", _typed):
        yield line(key, _name(kind, array), shape_text(array), span(array), key=key, **array_facts(kind, array))
        facts["count"] += 1
        facts["frames" if array.ndim == 2 else "elements"] += len(array)
        facts["bad"] += int(np.size(array) - np.isfinite(array).sum())
        shapes[f"{kind} with {array.shape[-1]} columns" if array.ndim == 2 else kind] += 1
    summary = ", ".join(f"{count} {name}" for name, count in shapes.most_common(5))
    hours = f" ({facts['frames'] / 360000:.2f} h at 10 ms)" if facts["frames"] else ""
    told = f"{facts['frames']} frames (rows of matrices){hours}, {facts['elements']} elements of vectors"
    yield line(f"{facts['count']} entries ({summary}), {told}, {facts['bad']} NaN or infinite values", **facts)


def _scp(path: str) -> Lines:
    entries = read_scp(path, allow_commands=True)
    commands, keys = sum(map(is_command, entries.values())), list(entries)
    text = f"script file, {len(keys)} entries, data not read (give a KEY to see one)"
    yield line(f"{path}: {text}", kind="scp", count=len(keys), commands=commands)
    if commands:
        yield line(f"{commands} entries are commands; they were not run")
    files = Counter(value.rsplit("[", 1)[0].rsplit(":", 1)[0] for value in entries.values() if not is_command(value))
    yield line(f"{len(files)} files", files=len(files))
    yield from (line(f"  {name} ({count} entries)") for name, count in files.most_common(5))
    in_order = keys == sorted(keys)
    yield line(f"keys {'sorted' if in_order else 'NOT sorted in C order'}", sorted=in_order)
    yield from (line(key, location, key=key, location=location) for key, location in entries.items())


# models


def _model(path: str) -> Lines:
    binary, items = read_items(path)
    name, form = MODELS[items[0].name], "binary" if binary else "text"
    yield line(f"{path}: {name}{_sizes(items)}, {form}", kind="model", model=name)
    for token, group in groupby(_values(items), key=lambda item: item.name):
        yield from _item_lines(token, group)


def _values(items: list[Item]) -> list[Number | Array]:
    return [item for item in items if isinstance(item, (Number, Array))]


def _chosen(path: str, key: str | None) -> list[Item]:
    """The items after one token, or all of them. Raises InputError where there is none."""
    found = [item for item in read_items(path)[1] if key is None or item.name == f"<{key.strip('<>')}>"]
    if not found:
        raise missing(path, key or "")
    return found


def _sizes(items: list[Item]) -> str:
    """Numbers of Gaussians and dimensions, where the model has matrices of means."""
    shapes = {item.name: item.value.shape for item in items if isinstance(item, Array) and item.value.ndim == 2}
    gaussians = sum(item.kind == "packed" for item in items)
    for name, text in SIZES.items():
        if name in shapes:
            return text.format(gaussians or shapes[name][0], *shapes[name])
    return ""


def _item_lines(name: str, items: Iterable[Number | Array]) -> Lines:
    """One line for each run of equal shapes among the items after one token."""
    for (kind, shape), group in groupby(items, key=lambda item: (item.kind, np.shape(item.value))):
        if kind in ("int", "float"):
            yield from (line(f"  {name} {kind} {item.value:.7g}", key=name, value=item.value) for item in group)
            continue
        values = np.stack([item.value for item in group])
        size = int((2 * shape[0] + 0.25) ** 0.5)
        what = f"symmetric {size} x {size}" if kind == "packed" else " x ".join(map(str, shape))
        count = f"{len(values)} of " if len(values) > 1 else ""
        facts = {"count": len(values), **array_facts(str(values.dtype), values)}
        yield line(f"  {name} {count}{values.dtype} {what}  {span(values)}", key=name, **facts)


def _model_entry(path: str, key: str) -> Lines:
    for item in _values(_chosen(path, key)):
        yield from _item_lines(item.name, [item])
        if isinstance(item, Array) and item.kind == "array":
            yield from row_lines(item.value)


def _model_array(path: str, key: str | None) -> np.ndarray:
    found = [item.value for item in _chosen(path, key) if isinstance(item, Array)]
    if key is None or len({array.shape for array in found}) != 1:
        raise InputError(path, "many arrays, or none", "a KEY of one", "Name one of its tokens")
    return found[0] if len(found) == 1 else np.stack(found)


def _model_text(path: str, key: str | None) -> Iterable[str]:
    file = io.BytesIO()
    write_items(Writer(file, binary=False), _chosen(path, key))
    return [file.getvalue().decode("ascii")]


# posteriors, selections, integers, numbers


def _joined(frames: list) -> np.ndarray:
    return np.concatenate(frames) if frames else np.zeros(0)


def _posterior_line(frames: list) -> str:
    gauss, weight = (_joined([frame[part] for frame in frames]) for part in (0, 1))
    return f"{len(frames)} frames, {len(gauss)} pairs, Gaussians {span(gauss)}, weights {span(weight)}"


def _selection_line(frames: list) -> str:
    sizes = np.array([len(frame) for frame in frames])
    return f"{len(frames)} frames, Gaussians a frame {span(sizes)}, Gaussians {span(_joined(frames))}"


NUMBER_VIEWS: dict[str, tuple[Callable[[Any], str], Callable[[Any], str]]] = {  # one line; text form
    "posteriors": (_posterior_line, print_posteriors),
    "gselect": (_selection_line, print_lists),
    "int vectors": (lambda vector: f"{len(vector)} integers  {span(vector)}", print_integers),
    "scalars": (lambda value: f"{value:.7g}", lambda value: f"{value:.7g} "),
}


def _number_view(kind: str) -> View:
    said, text = NUMBER_VIEWS[kind]

    def entries(path: str, key: str | None) -> Iterator[tuple[str, Any]]:
        return _only(path, key, read_entries(f"ark:{path}", NUMBER_TABLES[kind]))

    def describe_all(path: str) -> Lines:
        yield line(f"{path}: table of {kind}", kind=kind)
        count = 0
        for count, (name, value) in enumerate(entries(path, None), 1):
            yield line(name, said(value), key=name, value=said(value))
        yield line(f"{count} entries", count=count)

    def describe_one(path: str, key: str) -> Lines:
        for name, value in entries(path, key):
            yield line(f"{path}: {name}: {said(value)}", name=name, value=said(value))

    def as_text(path: str, key: str | None) -> Iterator[str]:
        return (f"{name} {text(value)}\n" for name, value in entries(path, key))

    return View(describe_all, describe_one, as_text)


VIEWS: dict[str, View] = {
    "array": View(_array, None, _array_text, lambda path, key: load(path)),
    "archive": _table(_archive, _from_archive),
    "scp": scp_view(allow_commands=False),
    "model": View(_model, _model_entry, _model_text, _model_array),
    **{kind: _number_view(kind) for kind in NUMBER_VIEWS},
}
