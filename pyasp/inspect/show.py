"""Any file of the recipe in words: what it is, keys, shapes, types, ranges, NaNs, frame counts; and Kaldi's text form.

`describe(path, key)` yields lines (with the same facts for programs) while it reads, so the first lines of a huge
archive come at once. An scp is listed without reading the data, unless a key is given. Nothing found in a file is run
or unpickled.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

import numpy as np

from pyasp.core.errors import InputError
from pyasp.inspect import arrays, directory, kaldi, texts
from pyasp.inspect.description import Lines, View, array_line, line
from pyasp.inspect.kind import kind_of

VIEWS: dict[str, View] = {**kaldi.VIEWS, **arrays.VIEWS, **texts.VIEWS, **directory.VIEWS}


def describe(path: str | os.PathLike, key: str | None = None, allow_commands: bool = False) -> Lines:
    """Lines that describe a file, or one entry of it. Raises InputError for damaged or unknown files and keys."""
    path = os.fspath(path)
    view = VIEWS[kind_of(path)]
    if key is None:
        return view.describe(path)
    if view.entry is None:
        raise _one_object(path, key)
    return view.entry(path, key, allow_commands)


def as_text(path: str | os.PathLike, key: str | None = None, allow_commands: bool = False) -> Iterable[str]:
    """Pieces of Kaldi's text form of a file (or of one entry), line ends included."""
    path = os.fspath(path)
    kind = kind_of(path)
    text = VIEWS[kind].text
    if text is None:
        raise InputError(path, f"a file of kind {kind}", "one with a text form", "Leave --text out")
    return text(path, key, allow_commands)


def array_of(path: str | os.PathLike, key: str | None = None, allow_commands: bool = False) -> np.ndarray:
    """The array in a file, of one of its entries, or (N, D) of an archive's vectors of equal length.

    Raises InputError for files without arrays, and for entries that are no vectors of one length.
    """
    path = os.fspath(path)
    kind = kind_of(path)
    view = VIEWS[kind]
    if view.array is None:
        raise InputError(path, f"a file of kind {kind}", "one that holds arrays", "Leave --npy and --frames out")
    if key is not None and view.entry is None:
        raise _one_object(path, key)
    return view.array(path, key, allow_commands)


def _one_object(path: str, key: str) -> InputError:
    return InputError(path, f"the key {key!r}", "no key: this file holds one object", "Leave KEY out")


def describe_array(name: str, array: np.ndarray) -> Lines:
    """One array with all of its rows."""
    yield array_line(f"{name}: {array.dtype}", str(array.dtype), array)
    rows = array if array.ndim == 2 else array[:, None]
    yield from (line(f"[{number}]", *(f"{value:.5g}" for value in row)) for number, row in enumerate(rows))
    yield line(f"{len(array)} rows", values=array.tolist())
