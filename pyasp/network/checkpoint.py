"""Checkpoints of network training: everything or nothing, and loadable without running code from the file.

last.pt   model, optimiser, schedule, sampler position, states of the random generators, epoch, step, best model so far
          with its metric, options: with them, k epochs straight equal j epochs, kill, resume, bit for bit on CPU
final.pt, init.pt   a network alone: model, options, input dimension, speakers, epoch, metric; what it started from
network.ark         of a bundle: the weights up to the embedding, a Kaldi archive

Checkpoints hold tensors, numbers, strings, lists and dicts only (torch.load with weights_only=True), and are renamed
into place when complete.
"""

import errno
import io
import json
import math
import os
import sys
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from torch import nn

from pyasp.core.errors import InputError, final_name, rerun
from pyasp.core.files import atomic_write
from pyasp.core.options import option_fields, picked
from pyasp.core.text import read_lines
from pyasp.kaldi import ArkWriter, read_ark
from pyasp.network.model import ONNX, ArchitectureOptions, Network
from pyasp.network.onnx import OnnxModel

T = TypeVar("T")
NETWORK = ("model", "options", "dim", "speakers")  # what init.pt and final.pt must hold
UNTRAINED = {"epoch": 0, "valid_loss": math.inf, "valid_accuracy": 0.0}
# Options that came later, with the values that records leave out: without them a network had these.
LATER = {
    "attention_heads": None,
    "loss": None,
    "encoder": "tdnn",
    "feature_type": "mfcc",
    "model": "",
    "normalize_samples": False,
    "init": "",
    "freeze_encoder_epochs": 0,
}


def save(path: str | Path, state: dict[str, Any]) -> None:
    """Writes a checkpoint atomically; the same state gives the same bytes.

    Raises InputError when the disk is full: what was under that name is still there, whole.
    """
    stream = io.BytesIO()  # in memory first: torch hides what the system says about a failed write
    torch.save(canonical(state), stream)  # a stream: torch would store the name of a file
    try:
        with atomic_write(path) as file:
            file.write(stream.getbuffer())
    except InputError as error:
        cause = error.__cause__
        if not isinstance(cause, OSError) or cause.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        kept = "The checkpoint of before is whole. " if Path(path).exists() else ""
        expected, cure = f"room for {stream.tell() / 1e6:.0f} MB", f"{kept}Make room and run the same command again"
        raise InputError(final_name(path), f"a full disk ({cause.strerror})", expected, cure) from error


def canonical(value: Any) -> Any:
    """The same value from plain containers, equal strings being one object: a pickle tells equal from identical, which
    a state that was loaded and one that never left memory have in different places."""
    if isinstance(value, str):
        return sys.intern(value)
    if isinstance(value, dict):
        return {canonical(key): canonical(item) for key, item in value.items()}
    return [canonical(item) for item in value] if isinstance(value, (list, tuple)) else value


def load(path: str | Path, *keys: str) -> dict[str, Any]:
    """A checkpoint with all tensors on the CPU. Raises InputError when it is no checkpoint or lacks one of `keys`."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise InputError(path, "no such file", "a network checkpoint", rerun("networks")) from None
    except Exception as error:  # on damaged bytes torch's unpickler raises whatever it runs into
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        found, expected, cure = f"an unreadable file ({reason})", "a network checkpoint", rerun("networks", "Delete it")
        raise InputError(path, found, expected, cure) from None
    missing = [key for key in keys if not isinstance(state, dict) or key not in state]
    if missing:
        found, expected = f"no {' or '.join(map(repr, missing))}", "a checkpoint of this recipe"
        raise InputError(path, found, expected, rerun("networks"))
    return state


def load_weights(net: nn.Module, weights: dict[str, torch.Tensor], path: str | Path) -> None:
    """Strict load: every parameter and buffer, none more. Raises InputError otherwise."""
    try:
        net.load_state_dict(weights, strict=True)
    except RuntimeError as error:
        found = "weights of another network (" + " ".join(str(error).split())[:200] + ")"
        expected, cure = "weights of this one", "Give the options it was trained with, or train again"
        raise InputError(path, found, expected, cure) from None


def rng_state() -> dict[str, Any]:
    """States of torch's generators (CPU, and every CUDA device)."""
    return {"cpu": torch.get_rng_state(), "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []}


def set_rng_state(state: dict[str, Any]) -> None:
    """Restores what `rng_state` gave; CUDA states only where those devices exist."""
    torch.set_rng_state(state["cpu"])
    if torch.cuda.is_available() and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])


def options_from(values: dict[str, Any], cls: type[T], path: str | Path) -> T:
    """An options object of class `cls` from the options stored in a checkpoint."""
    names = [field.name for field in option_fields(cls).values()]
    missing = [name for name in names if name not in values and name not in LATER]
    if missing:
        raise InputError(path, f"no option {missing[0]!r}", "the options of its training", "Train again")
    return picked(values, cls, path)


def network_state(
    dim: int,
    weights: dict[str, torch.Tensor],
    options: dict[str, Any],
    speakers: list[str],
    best: dict[str, Any] = UNTRAINED,
) -> dict[str, Any]:
    """What init.pt and final.pt hold; `best` brings epoch, valid_loss, valid_accuracy."""
    facts = {key: best[key] for key in UNTRAINED}
    return {"model": weights, "options": options, "dim": dim, "speakers": speakers, **facts}


def network_of(state: dict[str, Any], path: str | Path) -> Network | OnnxModel:
    """The network in what `load` gave of init.pt or final.pt, in evaluation mode."""
    options = options_from(state["options"], ArchitectureOptions, path)
    if options.encoder == ONNX:
        return OnnxModel(
            bytes(state["model"][ONNX].numpy()),
            f"{path} ({options.model})",
            options.normalize_samples and not state["options"]["cmn_window"],  # else the level is gone
            (state["dim"], options.embedding_dim),
        )
    net = Network(options, state["dim"], len(state["speakers"]))
    load_weights(net, state["model"], path)
    return net.eval()


def load_network(path: str | Path, device: torch.device) -> tuple[Network | OnnxModel, dict[str, Any]]:
    """The network of init.pt or final.pt in evaluation mode, and the options of its training."""
    state = load(path, *NETWORK)
    return network_of(state, path).to(device), state["options"]


def write_weights(net: Network | OnnxModel, path: Path) -> dict[str, list[int]]:
    """network.ark of a network; returns the shapes that an archive of vectors and matrices does not keep."""
    shapes = {}
    assert isinstance(net, Network)
    with ArkWriter(path) as writer:
        for name, value in net.embedding_weights().items():
            if value.ndim not in (1, 2):
                shapes[name] = list(value.shape)
                value = value.flatten(1) if value.ndim else value.reshape(1)
            writer.write(name, value.numpy())
    return shapes


def read_weights(path: Path, shapes: dict[str, list[int]]) -> dict[str, torch.Tensor]:
    """{name: float32} of network.ark, in the shapes that bundle.json gives. InputError when they do not fit."""
    try:
        found = {name: np.reshape(array, shapes.get(name, array.shape)).copy() for name, array in read_ark(path)}
    except (ValueError, TypeError, AttributeError) as error:
        raise InputError(path, f"{error}", "arrays of the shapes in bundle.json", "Make the bundle again") from None
    return {name: torch.from_numpy(array) for name, array in found.items()}


def append_record(path: str | Path, record: dict[str, Any]) -> None:
    """One more JSON line, on the disk before the checkpoint that follows it."""
    with open(path, "a", encoding="utf-8") as stream:
        stream.write(json.dumps(record) + "\n")
        stream.flush()
        os.fsync(stream.fileno())


def truncate_records(path: str | Path, epochs: int) -> None:
    """Keeps the lines of epochs 1 to `epochs`: what was logged after the checkpoint will be logged again.

    Raises InputError when one of them is missing or another epoch's.
    """
    lines = read_lines(path) if Path(path).is_file() else []
    kept = (lines + [""] * epochs)[:epochs]
    for number, line in enumerate(kept, 1):
        try:
            complete = json.loads(line)["epoch"] == number
        except (ValueError, KeyError, TypeError, RecursionError):
            complete = False
        if not complete:
            found, cure = repr(line[:60]), rerun("networks", "Delete last.pt beside it: training starts anew")
            raise InputError(path, found, f"the JSON line of epoch {number}", cure, item=f"line {number}")
    with atomic_write(path, "w") as stream:
        stream.writelines(line + "\n" for line in kept)
