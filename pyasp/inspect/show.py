"""Any file of the recipe in words: what it is, keys, shapes, types, ranges, NaNs, frame counts; and Kaldi's text form.

`describe(path, key)` yields lines (with the same facts for programs) while it reads, so the first lines of a huge
archive come at once. An scp is listed without reading the data, unless a key is given. Nothing found in a file is run
or unpickled.
"""

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
    path, _, view = _found(path, key, allow_commands)
    return view.describe(path) if key is None or view.entry is None else view.entry(path, key)


def as_text(path: str | os.PathLike, key: str | None = None, allow_commands: bool = False) -> Iterable[str]:
    """Pieces of Kaldi's text form of a file (or of one entry), line ends included."""
    path, kind, view = _found(path, None, allow_commands)
    if view.text is None:
        raise InputError(path, f"a file of kind {kind}", "one with a text form", "Leave --text out")
    return view.text(path, key)


def array_of(path: str | os.PathLike, key: str | None = None, allow_commands: bool = False) -> np.ndarray:
    """The array in a file, of one of its entries, or (N, D) of an archive's vectors of equal length.

    Raises InputError for files without arrays, and for entries that are no vectors of one length.
    """
    path, kind, view = _found(path, key, allow_commands)
    if view.array is None:
        raise InputError(path, f"a file of kind {kind}", "one that holds arrays", "Leave --npy and --frames out")
    return view.array(path, key)


def _found(path: str | os.PathLike, key: str | None, allow_commands: bool) -> tuple[str, str, View]:
    """A file, its kind and how to show it. Raises InputError for a key where it holds one object."""
    kind = kind_of(path)
    view = kaldi.scp_view(True) if kind == "scp" and allow_commands else VIEWS[kind]
    if key is not None and view.entry is None:
        raise InputError(path, f"the key {key!r}", "no key: this file holds one object", "Leave KEY out")
    return os.fspath(path), kind, view


def describe_array(name: str, array: np.ndarray) -> Lines:
    """One array with all of its rows."""
    yield array_line(f"{name}: {array.dtype}", str(array.dtype), array)
    rows = array if array.ndim == 2 else array[:, None]
    yield from (line(f"[{number}]", *(f"{value:.5g}" for value in row)) for number, row in enumerate(rows))
    yield line(f"{len(array)} rows", values=array.tolist())
