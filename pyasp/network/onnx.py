"""The network of a bundle as an ONNX graph: frames in, embedding out, pooling included, any batch and any lengths.

features   (batch, frames, D) float32    voiced, normalised frames, padded at the end to the longest recording
lengths    (batch,) int64                frames of each recording, at least 1
embedding  (batch, E) float32            recordings of fewer than min_frames are repeated up to it

So it is what pyasp.network.embed gives. Recordings of more than max_frames (both in the metadata) are cut by the
caller, and the pieces' embeddings averaged by length.
"""

from __future__ import annotations

import importlib
import io
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write
from pyasp.network.embed import Embedder, EmbedOptions
from pyasp.network.model import Network

OPSET = 17  # of 2022: read by every onnxruntime since 1.12
FRAMES, REPEATS = (5, 300, 1000), 5  # of the recordings that the two programs are compared on; timed runs


def require(package: str) -> Any:
    """An optional package, imported. Raises InputError that says how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError:
        raise InputError(
            "pyasp export",
            f"no package {package}",
            "onnx (and onnxruntime to compare)",
            "Install the extra: pip install 'pyasp[onnx]', or pip install onnx onnxruntime",
        ) from None


class Embedding(nn.Module):
    """A network whose forward pass is its embedding, of recordings repeated up to the least number of frames."""

    def __init__(self, net: Network, least: int):
        super().__init__()
        self.net, self.least = net, least

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """features (B, T, D), lengths (B,) -> (B, E)."""
        count = torch._shape_as_tensor(features)[1].clamp(min=self.least)  # a number of the graph, not of the example
        place = torch.arange(count)[None] % lengths[:, None]  # of no matter behind a longer recording's end
        repeated = features.gather(1, place[..., None].expand(-1, -1, features.shape[2]))
        return self.net.embed(repeated, lengths.clamp(min=self.least))


def to_onnx(net: Network, facts: dict[str, str], least: int) -> Any:
    """The ONNX model of a network up to its embedding; `facts` become its metadata. Checked by onnx itself.

    least: frames up to which shorter recordings are repeated.
    """
    onnx, stream = require("onnx"), io.BytesIO()
    frames = 2 * least
    example = torch.zeros(2, frames, net.in_dim), torch.tensor([frames, frames - 1])
    with warnings.catch_warnings():  # of the tracer: the lengths of the example are checked, not the graph's
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Embedding(net.eval(), least),
            example,
            stream,
            dynamo=False,  # the other exporter needs a package more
            opset_version=OPSET,
            input_names=["features", "lengths"],
            output_names=["embedding"],
            dynamic_axes={"features": {0: "batch", 1: "frames"}, "lengths": {0: "batch"}, "embedding": {0: "batch"}},
        )
    model = onnx.load_model_from_string(stream.getvalue())
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    return model


def save(model: Any, path: str | Path) -> None:
    """Writes an ONNX model, atomically."""
    with atomic_write(path) as stream:
        stream.write(model.SerializeToString(deterministic=True))


def seconds_of(run: Callable[[], object]) -> float:
    """The shortest of a few runs, after one that warms up."""
    run()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def compare(net: Network, path: str, least: int) -> str:
    """Largest difference of the embeddings of recordings in torch and onnxruntime, one of them short, and the speed of
    both."""
    session = require("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    lengths = np.array(FRAMES, np.int64)
    features = np.random.default_rng(0).standard_normal((len(FRAMES), max(FRAMES), net.in_dim), np.float32)
    inputs = {"features": features, "lengths": lengths}
    embedder = Embedder(net, EmbedOptions(extract_min_frames=least), torch.device("cpu"))
    recordings = [(str(length), row[:length]) for row, length in zip(features, lengths)]
    expected = np.stack([vector for _, vector in embedder.stream(recordings)])
    ours = seconds_of(lambda: list(embedder.stream(recordings)))
    theirs = seconds_of(lambda: session.run(None, inputs))
    difference = np.abs(session.run(None, inputs)[0] - expected).max()
    rate = sum(FRAMES)
    return (
        f"embeddings differ by at most {difference:.2g} (of {np.abs(expected).max():.3g}); frames a second: "
        f"onnxruntime {rate / theirs:.3g}, torch {rate / ours:.3g}"
    )
