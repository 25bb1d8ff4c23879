"""Arrays of other programs in words: torch checkpoints, NumPy, audio."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any
from zipfile import BadZipFile

import numpy as np

from pyasp.audio.headers import read_header
from pyasp.core.errors import InputError
from pyasp.inspect.description import Line, Lines, View, array_line, line, missing, shape_text, span, span_facts
from pyasp.inspect.texts import flat

if TYPE_CHECKING:
    import torch


def load_checkpoint(path: str) -> Any:
    """What a torch checkpoint holds, weights only. InputError when it does not load."""
    import torch  # only here: the other files need no torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as problem:  # torch raises many kinds; none of them runs what the file holds
        raise InputError(
            path,
            f"a file that does not load with weights_only ({str(problem).splitlines()[0]})",
            "a torch checkpoint of tensors and plain values",
            "Give a checkpoint that train_tdnn wrote",
        ) from None


def _plain(tensor: torch.Tensor) -> np.ndarray:
    """Its values, float32 where they are no integers."""
    return tensor.detach().float().numpy() if tensor.is_floating_point() else tensor.numpy()


def _array_line(name: str, array: np.ndarray, stored: str) -> Line:
    """An entry that is an array, on a line; of what are no numbers without a range."""
    facts = span_facts(array) if (numbers := array.dtype.kind in "biuf") else {}
    cells = name, stored.removeprefix("torch."), shape_text(array) or "scalar", span(array) if numbers else ""
    return line(*cells, key=name, type=stored, shape=list(array.shape), **facts)


def _leaf(name: str, value: Any) -> Line:
    """An entry of a checkpoint on a line."""
    if hasattr(value, "detach"):
        return _array_line(name, _plain(value), str(value.dtype))
    text = repr(value)
    return line(name, text if len(text) <= 100 else f"{text[:97]}...", key=name, value=_simple(value))


def _simple(value: Any) -> Any:
    return value if isinstance(value, (str, int, float, bool, type(None), list)) else repr(value)


def _checkpoint(path: str) -> Lines:
    leaves = list(flat(load_checkpoint(path)))
    numbers = sum(leaf.numel() for _, leaf in leaves if hasattr(leaf, "numel"))
    yield line(
        f"{path}: torch checkpoint, {len(leaves)} entries, {numbers} numbers in tensors",
        kind="checkpoint",
        numbers=numbers,
    )
    yield from (_leaf(name, leaf) for name, leaf in leaves)


def _checkpoint_entry(path: str, key: str, allow_commands: bool) -> Lines:
    found = [(name, leaf) for name, leaf in flat(load_checkpoint(path)) if name == key or name.startswith(f"{key}.")]
    if not found:
        raise missing(path, key)
    for name, leaf in found:
        yield _leaf(name, leaf)
        if name == key:
            yield line(f"{leaf}", **({"values": leaf.tolist()} if hasattr(leaf, "tolist") else {}))


def _checkpoint_array(path: str, key: str | None, allow_commands: bool) -> np.ndarray:
    found = dict(flat(load_checkpoint(path))).get(key) if key else None
    if found is None or not hasattr(found, "detach"):
        raise InputError(path, "no KEY of a tensor", "one of its tensors", "List them by leaving KEY out", item=key)
    return _plain(found)


def load_npy(path: str) -> np.ndarray:
    """The array of a .npy file, mapped, of any shape and type. InputError when it does not load."""
    try:
        return np.load(path, mmap_mode="r", allow_pickle=False)
    except (ValueError, EOFError, OSError) as problem:
        raise InputError(
            path, f"an array that does not load ({problem})", "numbers in .npy form", "Make it again"
        ) from None


def _npy(path: str) -> Lines:
    array = load_npy(path)
    yield array_line(f"{path}: NumPy array, {array.dtype}", str(array.dtype), array, kind="npy")


def load_npz(path: str) -> dict[str, np.ndarray]:
    """The named arrays of a .npz file. InputError when they do not load."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, EOFError, OSError, BadZipFile, zlib.error) as problem:
        raise InputError(
            path, f"arrays that do not load ({problem})", "numbers in .npz form", "Make it again"
        ) from None


def _npz(path: str) -> Lines:
    arrays = load_npz(path)
    yield line(f"{path}: NumPy arrays, {len(arrays)} names", kind="npz", count=len(arrays))
    yield from (_array_line(name, array, str(array.dtype)) for name, array in arrays.items())


def _npz_array(path: str, key: str | None, allow_commands: bool) -> np.ndarray:
    arrays = load_npz(path)
    if key is None:
        raise InputError(path, "several arrays", "one of them", "Give its name as KEY; they are listed without --npy")
    if key not in arrays:
        raise missing(path, key)
    return arrays[key]


def _npz_entry(path: str, key: str, allow_commands: bool) -> Lines:
    array = _npz_array(path, key, allow_commands)
    yield _array_line(key, array, str(array.dtype))
    yield line(f"{array}", values=array.tolist())


def _audio(path: str) -> Lines:
    found = read_header(path)
    seconds = found.samples / found.rate
    yield line(
        f"{path}: audio, {found.encoding}, {found.channels} channels, {found.rate} Hz, {found.samples} samples, "
        f"{seconds:.3f} s",
        kind="audio",
        channels=found.channels,
        rate=found.rate,
        samples=found.samples,
        seconds=seconds,
    )


VIEWS: dict[str, View] = {
    "checkpoint": View(_checkpoint, _checkpoint_entry, None, _checkpoint_array),
    "npy": View(_npy, array=lambda path, key, allow_commands: load_npy(path)),
    "npz": View(_npz, _npz_entry, None, _npz_array),
    "audio": View(_audio),
}
