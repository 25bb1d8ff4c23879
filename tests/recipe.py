"""Runs run.sh on the tiny corpus, and compares what two runs left."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import torch

from pyasp.kaldi import read_ark

ROOT = Path(__file__).resolve().parent.parent
CONF = "tests/conf_tiny"
SYSTEMS = ("ivector", "average", "attention", "statistics", "attentive_statistics")


def command(where: Path, *options: str) -> list[str]:
    """The command line of a run whose data and models lie under `where`."""
    return [
        str(ROOT / "run.sh"),
        "--data",
        str(where / "data"),
        "--exp",
        str(where / "exp"),
        "--conf",
        CONF,
        "--nj",
        "1",
        *options,
    ]


def run(where: Path, *options: str, **variables: str) -> subprocess.CompletedProcess:
    """A finished run, with these further environment variables."""
    environment = {**os.environ, **variables}
    return subprocess.run(command(where, *options), text=True, capture_output=True, timeout=3600, env=environment)


def results(where: Path) -> dict:
    """results.json of a run."""
    return json.loads((where / "exp" / "results.json").read_text())


def artefacts(where: Path) -> dict[str, object]:
    """What a run made, by name: arrays of arks, tensors of networks, bytes of models, scores and results."""
    found: dict[str, object] = {}
    for path in sorted(where.rglob("*")):
        name = str(path.relative_to(where))
        if path.suffix == ".ark":
            found[name] = {key: array.tobytes() for key, array in read_ark(path)}
        elif path.suffix == ".pt":
            found[name] = tensors(torch.load(path, weights_only=True))
        elif (
            path.suffix in (".dubm", ".ubm", ".ie", ".vec", ".mat")
            or path.parent.name == "scores"
            and path.suffix == ""
        ):
            found[name] = path.read_bytes()
        elif path.name == "plda":
            found[name] = path.read_bytes()
        elif path.name == "results.json":
            found[name] = json.loads(path.read_text())
    return found


def tensors(value: object) -> object:
    """Tensors as bytes, so that two checkpoints can be compared with ==; NaN equals NaN."""
    if isinstance(value, torch.Tensor):
        return np.asarray(value).tobytes()
    if isinstance(value, dict):
        return {str(key): tensors(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [tensors(item) for item in value]
    return repr(value)
