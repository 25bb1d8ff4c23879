"""Arrays of other programs in words: torch checkpoints, NumPy, audio."""

import zlib
from collections.abc import Callable
from typing import Any
from zipfile import BadZipFile

import numpy as np

from pyasp.audio.headers import read_header
from pyasp.core.errors import InputError
from pyasp.inspect.description import Line, Lines, View, array_line, line, missing, shape_text, span, span_facts
from pyasp.inspect.texts import flat

Named = Callable[[str], dict[str, Any]]  # what a file holds: {name: array, tensor or plain value}


def load_checkpoint(path: str) -> dict[str, Any]:
    """{dotted name: tensor or plain value} of a torch checkpoint, weights only. InputError when it does not load."""
    import torch  # only here: the other files need no torch

    try:
        return dict(flat(torch.load(path, map_location="cpu", weights_only=True)))
    except Exception as problem:  # torch raises many kinds; none of them runs what the file holds
        found = f"a file that does not load with weights_only ({str(problem).splitlines()[0]})"
        raise InputError(path, found, "a torch checkpoint of tensors and plain values", "Make it again") from None


def load_numpy(path: str) -> Any:
    """The array of a .npy file, mapped, or {name: array} of a .npz file. InputError when it does not load."""
    try:
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        if isinstance(stored, np.ndarray):
            return stored
        with stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, EOFError, OSError, BadZipFile, zlib.error) as problem:
        found = f"arrays that do not load ({problem})"
        raise InputError(path, found, "numbers as NumPy saves them", "Make it again") from None


def _plain(value: Any) -> Any:
    """A tensor as an array, float32 where it holds no integers; anything else as it is."""
    if not hasattr(value, "detach"):
        return value
    return value.detach().float().numpy() if value.is_floating_point() else value.numpy()


def _leaf(name: str, value: Any) -> Line:
    """An entry on a line: an array with its range, where it holds numbers, or a plain value."""
    array = _plain(value)
    if not isinstance(array, np.ndarray):
        text, simple = repr(value), isinstance(value, (str, int, float, bool, type(None), list))
        shown = text if len(text) <= 100 else f"{text[:97]}..."
        return line(name, shown, key=name, value=value if simple else text)
    numbers, stored = array.dtype.kind in "biuf", str(value.dtype)
    cells = name, stored.removeprefix("torch."), shape_text(array) or "scalar", span(array) if numbers else ""
    return line(*cells, key=name, type=stored, shape=list(array.shape), **(span_facts(array) if numbers else {}))


def _named(kind: str, what: str, load: Named) -> View:
    """How to show a file of named arrays and plain values."""

    def describe(path: str) -> Lines:
        found = load(path)
        numbers = sum(each.size for each in map(_plain, found.values()) if isinstance(each, np.ndarray))
        head = f"{path}: {what}, {len(found)} entries, {numbers} numbers in arrays"
        yield line(head, kind=kind, count=len(found), numbers=numbers)
        yield from (_leaf(name, each) for name, each in found.items())

    def entry(path: str, key: str) -> Lines:
        found = {name: each for name, each in load(path).items() if name == key or name.startswith(f"{key}.")}
        if not found:
            raise missing(path, key)
        for name, each in found.items():
            yield _leaf(name, each)
            if name == key:
                yield line(f"{each}", **({"values": each.tolist()} if hasattr(each, "tolist") else {}))

    def array(path: str, key: str | None) -> np.ndarray:
        found = _plain(load(path).get(key or ""))
        if not isinstance(found, np.ndarray):
            raise InputError(path, "no KEY of an array", "one of its arrays", "List them by leaving KEY out", item=key)
        return found

    return View(describe, entry, None, array)


def _npy(path: str) -> Lines:
    array = load_numpy(path)
    yield array_line(f"{path}: NumPy array, {array.dtype}", str(array.dtype), array, kind="npy")


def _audio(path: str) -> Lines:
    found = read_header(path)
    facts = {"channels": found.channels, "rate": found.rate, "samples": found.samples}
    text = f"{found.encoding}, {found.channels} channels, {found.rate} Hz, {found.samples} samples"
    seconds = found.samples / found.rate
    yield line(f"{path}: audio, {text}, {seconds:.3f} s", kind="audio", **facts, seconds=seconds)


VIEWS: dict[str, View] = {
    "checkpoint": _named("checkpoint", "torch checkpoint", load_checkpoint),
    "npy": View(_npy, array=lambda path, key: load_numpy(path)),
    "npz": _named("npz", "NumPy arrays", load_numpy),
    "audio": View(_audio),
}
