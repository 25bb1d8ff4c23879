"""The files that are neither Kaldi's nor text tables, in words: checkpoints, NumPy, audio, JSON."""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any
from zipfile import BadZipFile

import numpy as np

from pyasp.audio.headers import read_header
from pyasp.core.errors import InputError
from pyasp.inspect.line import Line, Lines, array_facts, line, shape_text, span, span_facts
from pyasp.inspect.table import lines_of, missing, text_lines, whole

# torch, NumPy, audio


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, leaf) of nested dictionaries, lists of them included."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(inner, (dict, list, tuple)) for inner in value):
        for number, inner in enumerate(value):
            yield from flat(inner, f"{name}.{number}")
    else:
        yield name, value


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


def _leaf(name: str, value: Any) -> Line:
    """An entry of a checkpoint on a line."""
    if hasattr(value, "detach"):
        array = value.detach().float().numpy() if value.is_floating_point() else value.numpy()
        shape = shape_text(value) or "scalar"
        return line(
            name,
            str(value.dtype).removeprefix("torch."),
            shape,
            span(array),
            key=name,
            **{**array_facts(str(value.dtype), array), "shape": list(value.shape)},
        )
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
    if not hasattr(found, "detach"):
        raise InputError(path, "no KEY of a tensor", "one of its tensors", "List them by leaving KEY out", item=key)
    return found.detach().float().numpy() if found.is_floating_point() else found.numpy()


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
    yield line(
        f"{path}: NumPy array, {array.dtype} {shape_text(array)}  {span(array)}",
        kind="npy",
        **array_facts(str(array.dtype), array),
    )


def load_npz(path: str) -> dict[str, np.ndarray]:
    """The named arrays of a .npz file. InputError when they do not load."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (ValueError, EOFError, OSError, BadZipFile, zlib.error) as problem:
        raise InputError(
            path, f"arrays that do not load ({problem})", "numbers in .npz form", "Make it again"
        ) from None


def _npz_line(name: str, array: np.ndarray) -> Line:
    numbers = array.dtype.kind in "biuf"
    return line(
        name,
        str(array.dtype),
        shape_text(array) or "scalar",
        span(array) if numbers else "",
        key=name,
        type=str(array.dtype),
        shape=list(array.shape),
        **(span_facts(array) if numbers else {}),
    )


def _npz(path: str) -> Lines:
    arrays = load_npz(path)
    yield line(f"{path}: NumPy arrays, {len(arrays)} names", kind="npz", count=len(arrays))
    yield from (_npz_line(name, array) for name, array in arrays.items())


def _npz_array(path: str, key: str | None, allow_commands: bool) -> np.ndarray:
    arrays = load_npz(path)
    if key not in arrays:
        raise (
            missing(path, key)
            if key
            else InputError(
                path, "several arrays", "one of them", "Give its name as KEY; they are listed without --npy"
            )
        )
    return arrays[key]


def _npz_entry(path: str, key: str, allow_commands: bool) -> Lines:
    array = _npz_array(path, key, allow_commands)
    yield _npz_line(key, array)
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


# JSON


def _json_text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        what = "keys" if isinstance(value, dict) else "elements"
        return f"{type(value).__name__} of {len(value)} {what}" + (
            f": {' '.join(list(value)[:8])}" if isinstance(value, dict) else ""
        )
    return json.dumps(value)


def load_json(path: str) -> Any:
    """What a JSON file holds. InputError when it is broken."""
    try:
        return json.loads("\n".join(lines_of(path)))
    except ValueError as problem:
        raise InputError(path, f"broken JSON ({problem})", "JSON", "Make the file again") from None


def _json(path: str) -> Lines:
    value = load_json(path)
    yield line(f"{path}: JSON, {_json_text(value)}", kind="json")
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield line(f"  {key}", _json_text(inner), key=str(key), value=inner)


def _json_entry(path: str, key: str, allow_commands: bool) -> Lines:
    """`a.b.c` walks into the value; keys with dots are tried whole first."""
    value, rest = load_json(path), key
    while rest:
        if isinstance(value, list) and rest.split(".")[0].isdigit():
            value = dict(zip(map(str, range(len(value))), value))
        inside = value if isinstance(value, dict) else {}
        names = [name for name in inside if rest == name or rest.startswith(f"{name}.")]
        if not names:
            raise missing(path, key)
        name = max(names, key=len)
        value, rest = value[name], rest[len(name) + 1 :]
    yield line(json.dumps(value, indent=1), name=key, value=value)


def _objects(path: str) -> Iterator[Any]:
    """The value on each line. Raises InputError for a line that is not JSON."""
    for number, text in enumerate(lines_of(path), 1):
        try:
            yield json.loads(text)
        except ValueError:
            raise InputError(
                path, "broken JSON", "one JSON object a line", "Make the file again", f"line {number}"
            ) from None


def _jsonl(path: str) -> Lines:
    count, keys, last = 0, Counter(), None
    for count, last in enumerate(_objects(path), 1):
        keys.update(last if isinstance(last, dict) else [])
    yield line(f"{path}: JSON lines, {count} objects", kind="jsonl", count=count)
    yield from (line(f"  {key} in {times}", key=key, objects=times) for key, times in keys.items())
    yield line(f"last: {json.dumps(last)[:300]}", last=last)


def _jsonl_entry(path: str, key: str, allow_commands: bool) -> Lines:
    """The object whose `id` is `key`, or the key-th line (from 1)."""
    for number, value in enumerate(_objects(path), 1):
        if str(number) == key or isinstance(value, dict) and value.get("id") == key:
            yield line(json.dumps(value, indent=1), name=key, value=value)
            return
    raise missing(path, key)


VIEWS: dict[str, tuple[Callable, ...]] = {  # kind: all of it, one entry, its text, its array
    "checkpoint": (_checkpoint, _checkpoint_entry, None, _checkpoint_array),
    "npy": (_npy, whole, None, lambda path, key, _: load_npy(path) if key is None else whole(path, key, _)),
    "npz": (_npz, _npz_entry, None, _npz_array),
    "audio": (_audio, whole),
    "json": (_json, _json_entry, text_lines),
    "jsonl": (_jsonl, _jsonl_entry, text_lines),
}
