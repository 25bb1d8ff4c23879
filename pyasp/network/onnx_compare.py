"""A network in torch beside its ONNX file under onnxruntime: how far the embeddings differ, and the speed of both."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
import torch

from pyasp.network.onnx import require
from pyasp.network.tdnn import Tdnn

FRAMES, REPEATS = (300, 1000), 5  # of the recordings that the two programs are compared on; timed runs


def seconds_of(run: Callable[[], object]) -> float:
    """The shortest of a few runs, after one that warms up."""
    run()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def compare(net: Tdnn, path: str) -> str:
    """Largest difference of the embeddings of a padded batch in torch and onnxruntime, and the speed of both."""
    session = require("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    lengths = np.array(FRAMES, np.int64)
    features = np.random.default_rng(0).standard_normal((len(FRAMES), max(FRAMES), net.in_dim), np.float32)
    inputs = {"features": features, "lengths": lengths}
    with torch.inference_mode():
        ours = seconds_of(lambda: net.embed(torch.from_numpy(features), torch.from_numpy(lengths)))
        expected = net.embed(torch.from_numpy(features), torch.from_numpy(lengths)).numpy()
    theirs = seconds_of(lambda: session.run(None, inputs))
    difference = np.abs(session.run(None, inputs)[0] - expected).max()
    rate = features.shape[0] * features.shape[1]
    return (
        f"embeddings differ by at most {difference:.2g} (of {np.abs(expected).max():.3g}); frames a second: "
        f"onnxruntime {rate / theirs:.3g}, torch {rate / ours:.3g}"
    )
