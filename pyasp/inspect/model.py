"""Kaldi models, and Kaldi's tables of posteriors, selections, integers and numbers, in words."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any

import numpy as np

from pyasp.core.errors import InputError
from pyasp.inspect.kind import NUMBER_TABLES
from pyasp.inspect.line import Lines, array_facts, line, row_lines, span
from pyasp.inspect.table import missing
from pyasp.kaldi.items import MODELS, Array, Item, Number, read_items, write_items
from pyasp.kaldi.posteriors import print_integers, print_lists, print_posteriors
from pyasp.kaldi.tables import read_entries
from pyasp.kaldi.writer import Writer

SIZES = {
    "<MEANS_INVVARS>": " of {0} Gaussians in {2} dimensions",
    "<MEANS_INVCOVARS>": " of {0} Gaussians in {2} dimensions",
    "<M>": " of {0} Gaussians in {1} dimensions, i-vectors of {2}",
    "<Plda>": " in {1} dimensions",
}


def _model(path: str) -> Lines:
    binary, items = read_items(path)
    yield line(
        f"{path}: {MODELS[items[0].name]}{_sizes(items)}, {'binary' if binary else 'text'}",
        kind="model",
        model=MODELS[items[0].name],
    )
    for name, group in groupby(_values(items), key=lambda item: item.name):
        yield from _item_lines(name, list(group))


def _values(items: list[Item], name: str | None = None) -> Iterator[Number | Array]:
    """The numbers and arrays, or those after one token."""
    return (item for item in items if isinstance(item, (Number, Array)) and name in (None, item.name))


def _sizes(items: list[Item]) -> str:
    """Numbers of Gaussians and dimensions, where the model has matrices of means."""
    shapes = {item.name: item.value.shape for item in items if isinstance(item, Array) and item.value.ndim == 2}
    gaussians = sum(item.kind == "packed" for item in items)
    for name, text in SIZES.items():
        if name in shapes:
            return text.format(gaussians or shapes[name][0], *shapes[name])
    return ""


def _item_lines(name: str, items: list[Number | Array]) -> Lines:
    """One line for each run of equal shapes among the items after one token."""
    for (kind, shape), group in groupby(items, key=lambda item: (item.kind, np.shape(item.value))):
        if kind in ("int", "float"):
            yield from (line(f"  {name} {kind} {item.value:.7g}", key=name, value=item.value) for item in group)
            continue
        values = [np.asarray(item.value) for item in group]
        size = int((2 * shape[0] + 0.25) ** 0.5)
        what = f"symmetric {size} x {size}" if kind == "packed" else " x ".join(map(str, shape))
        count = f"{len(values)} of " if len(values) > 1 else ""
        yield line(
            f"  {name} {count}{values[0].dtype} {what}  {span(np.stack(values))}",
            key=name,
            count=len(values),
            **array_facts(str(values[0].dtype), np.stack(values)),
        )


def _model_entry(path: str, key: str, allow_commands: bool) -> Lines:
    name = f"<{key.strip('<>')}>"
    found = list(_values(read_items(path)[1], name))
    if not found:
        raise missing(path, key)
    for item in found:
        yield from _item_lines(name, [item])
        if isinstance(item, Array) and item.kind == "array":
            yield from row_lines(item.value)


def _model_array(path: str, key: str | None, allow_commands: bool) -> np.ndarray:
    name = f"<{key.strip('<>')}>" if key else None
    found = [item.value for item in read_items(path)[1] if item.name == name and isinstance(item, Array)]
    if not found or len({array.shape for array in found}) > 1:
        raise missing(path, key) if key else InputError(path, "many arrays", "a KEY", "Name one of its tokens")
    return found[0] if len(found) == 1 else np.stack(found)


def _model_text(path: str, key: str | None, allow_commands: bool) -> Iterable[str]:
    name, file = key and f"<{key.strip('<>')}>", io.BytesIO()
    items = [item for item in read_items(path)[1] if name in (None, item.name)]
    if key and not items:
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


def _number_view(kind: str) -> tuple[Callable, ...]:
    said, text = NUMBER_VIEWS[kind]

    def entries(path: str, key: str | None) -> Iterator[tuple[str, Any]]:
        found = False
        for name, value in read_entries(f"ark:{path}", NUMBER_TABLES[kind]):
            if key in (None, name):
                found = True
                yield name, value
        if key is not None and not found:
            raise missing(path, key)

    def describe_all(path: str) -> Lines:
        yield line(f"{path}: table of {kind}", kind=kind)
        count = 0
        for count, (name, value) in enumerate(entries(path, None), 1):
            yield line(name, said(value), key=name, value=said(value))
        yield line(f"{count} entries", count=count)

    def describe_one(path: str, key: str, allow_commands: bool) -> Lines:
        for name, value in entries(path, key):
            yield line(f"{path}: {name}: {said(value)}", name=name, value=said(value))

    def as_text(path: str, key: str | None, allow_commands: bool) -> Iterator[str]:
        return (f"{name} {text(value)}\n" for name, value in entries(path, key))

    return describe_all, describe_one, as_text


VIEWS: dict[str, tuple[Callable, ...]] = {  # kind: all of it, one entry, its text, its array
    "model": (_model, _model_entry, _model_text, _model_array),
    **{kind: _number_view(kind) for kind in NUMBER_VIEWS},
}
