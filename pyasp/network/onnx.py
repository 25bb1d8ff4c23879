"""Networks as ONNX graphs: ours written to a file, and one of a file in place of ours.

Frames in, embedding out, pooling included, any batch and any lengths:

features   (batch, frames, D) float32    voiced, normalised frames, padded at the end to the longest recording
lengths    (batch,) int64                frames of each recording, at least 1
embedding  (batch, E) float32            recordings of fewer than min_frames are repeated up to it

So it is what pyasp.network.embed gives. Recordings of more than max_frames (both in the metadata) are cut by the
caller, and the pieces' embeddings averaged by length.

Files of others (WeSpeaker, 3D-Speaker, sherpa-onnx) have no lengths: recordings of one length go in together. Of their
metadata these keys are known (sherpa-onnx's):

sample_rate              samples a second of the audio that the features are made of
output_dim               E
normalize_samples        1: trained on samples in [-1, 1]; 0: on the int16 scale
feature_normalize_type   global-mean: without the recording's mean
framework                nemo's have axes and features of their own, and are refused
"""

import importlib
import math
import tempfile
import timeit
import warnings
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write
from pyasp.features.mfcc import FLOOR
from pyasp.network.embed import Embedder, EmbedOptions
from pyasp.network.model import Network

FLOATS, INTEGERS = "tensor(float)", "tensor(int64)"
LOWERED = 2 * math.log(32768)  # of the log energies of samples in [-1, 1]
KNOWN: dict[str, dict[str, dict[str, Any]]] = {  # settings that a file's metadata stand for; "": those of tdnn.conf
    "normalize_samples": {"": {}, "0": {"normalize_samples": False}, "1": {"normalize_samples": True}},
    "feature_normalize_type": {"": {}, "global-mean": {"cmn_window": 10**7, "center": True, "norm_vars": False}},
}
SHOWN = ("framework", "sample_rate", "output_dim", *KNOWN)
OPSET = 17  # of 2022: read by every onnxruntime since 1.12
FRAMES, REPEATS = (5, 300, 1000), 6  # of the recordings that the two programs are compared on; timed runs


def require(package: str) -> Any:
    """An optional package, imported. Raises InputError that says how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError:
        cure = "Install the extra: pip install '.[onnx]' in the clone, or pip install onnx onnxruntime"
        raise InputError("ONNX", f"no package {package}", "onnx to write, onnxruntime to run a network", cure) from None


class Embedding(nn.Module):
    """A network whose forward pass is its embedding, of recordings repeated up to the least number of frames."""

    def __init__(self, net: Network, least: int):
        super().__init__()
        self.net, self.least = net, least

    def forward(self, features: Tensor, lengths: Tensor) -> Tensor:
        """features (B, T, D), lengths (B,) -> (B, E)."""
        count = torch._shape_as_tensor(features)[1].clamp(min=self.least)  # a number of the graph, not of the example
        place = torch.arange(cast(int, count))[None] % lengths[:, None]  # of no matter behind a longer recording's end
        repeated = features.gather(1, place[..., None].expand(-1, -1, features.shape[2]))
        return self.net.embed(repeated, lengths.clamp(min=self.least))


class OnnxModel(nn.Module):
    """A network of a file, in place of ours (pyasp.network.contract.Embeds); on the CPU."""

    attends, shortest = False, 1

    def __init__(self, content: bytes, where: str, lowered: bool = False, sizes: tuple[int, int] = (0, 0)):
        """content: of the file `where`; lowered: its log mel energies are those of samples in [-1, 1];
        sizes: D and E, which `settings` finds out.

        Raises InputError when it is no model of frames (batch, frames, D) to one vector a recording.
        """
        super().__init__()
        self.where, self.lowered, runtime = where, lowered, require("onnxruntime")
        try:
            options = runtime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            self.session = runtime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # of the runtime's many
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise InputError(where, f"no usable ONNX model ({reason})", "an ONNX model", "Download it again") from None
        self.facts = dict(self.session.get_modelmeta().custom_metadata_map)
        features, *lengths = self._inputs()
        self.features, self.lengths = features.name, lengths[0].name if lengths else ""
        self.in_dim = sizes[0] or (features.shape[2] if isinstance(features.shape[2], int) else 0)  # 0: any
        self.one_by_one = isinstance(features.shape[0], int)
        self.embedding_dim = sizes[1]

    def _wrong(self, found: str) -> InputError:
        expected = "features (batch, frames, bins) float32, perhaps lengths (batch,) int64; embedding (batch, size)"
        cure = "Take a model of filter banks, as WeSpeaker and 3D-Speaker publish them, or export it with these"
        return InputError(self.where, found, expected, cure)

    def _inputs(self) -> list[Any]:
        """Features, and perhaps lengths. Raises InputError for other inputs."""
        inputs = self.session.get_inputs()
        told = ", ".join(f"{each.name} {each.type} {each.shape}" for each in inputs)
        kinds = [(each.type, len(each.shape)) for each in inputs]
        if kinds not in ([(FLOATS, 3)], [(FLOATS, 3), (INTEGERS, 1)]):
            raise self._wrong(f"inputs {told}")
        axes = inputs[0].shape
        if self.facts.get("framework") == "nemo" or isinstance(axes[1], int) and not isinstance(axes[2], int):
            raise self._wrong(f"input {told}, bins before frames")
        return inputs

    def settings(self, dim: int, rate: int | None) -> dict[str, Any]:
        """{option: value} that the file's metadata decide, for features of `dim` columns at `rate` (None: not known).

        Raises InputError when the features are not the model's, or its output is not what it says.
        """
        if self.in_dim not in (0, dim):
            cure = f"Set --num-mel-bins={self.in_dim} in fbank.conf, or take another --feature-type"
            raise InputError(self.where, f"a model of {self.in_dim} coefficients", f"{dim}, as the features have", cure)
        wanted = self.facts.get("sample_rate", "")
        if wanted and rate and wanted != str(rate):
            cure = "Take a model of that rate, or a conf directory whose features have the model's"
            raise InputError(self.where, f"a model of audio at {wanted} Hz", f"{rate} Hz, as the features' audio", cure)
        self.in_dim = dim
        self.embedding_dim = size = self.embed(torch.zeros(1, 200, dim)).shape[1]
        if self.facts.get("output_dim", str(size)) != str(size):
            cure = "Download it again"
            raise InputError(self.where, f"{size} outputs", f"{self.facts['output_dim']}, as its metadata say", cure)
        found: dict[str, Any] = {}
        for key, values in KNOWN.items():
            value, expected = self.facts.get(key, ""), " or ".join(filter(None, values))
            if value not in values:
                told = f"{key} {value!r} in its metadata"
                raise InputError(self.where, told, expected, "Take another model", item=key)
            found |= values[value]
        return found

    @property
    def description(self) -> str:
        """What it is, for people."""
        said = ", ".join(f"{key} {self.facts[key]}" for key in SHOWN if self.facts.get(key)) or "no metadata"
        return f"{self.in_dim} coefficients to {self.embedding_dim}, {said}"

    def embed(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeddings (B, E) of x (B, T, D) with lengths (B,), None: all T."""
        counts = [x.shape[1]] * len(x) if lengths is None else lengths.tolist()
        frames = x.cpu().float()
        if self.lowered:
            frames = (frames - LOWERED).clamp(min=float(np.log(FLOOR)))
        if self.lengths:
            found = self._run(frames.numpy(), np.array(counts, np.int64))
        elif self.one_by_one or len(set(counts)) > 1:
            found = np.concatenate([self._run(row[None, :count].numpy()) for row, count in zip(frames, counts)])
        else:
            found = self._run(frames.numpy())
        return torch.from_numpy(found)

    def _run(self, frames: np.ndarray, lengths: np.ndarray | None = None) -> np.ndarray:
        inputs = {self.features: frames} | ({} if lengths is None else {self.lengths: lengths})
        try:
            found = self.session.run(None, inputs)[0]
        except Exception as error:  # of the runtime's many
            reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
            raise self._wrong(f"a model that fails on frames {frames.shape} ({reason})") from None
        if found.ndim != 2 or len(found) != len(frames):
            raise self._wrong(f"an output of shape {found.shape} for {len(frames)} recordings")
        return found


def to_onnx(net: Network, facts: dict[str, str], least: int) -> Any:
    """The ONNX model of a network up to its embedding; `facts` become its metadata. Checked by onnx itself.

    least: frames up to which shorter recordings are repeated.
    """
    onnx, frames = require("onnx"), 2 * least
    example = torch.zeros(2, frames, net.in_dim), torch.tensor([frames, frames - 1])
    with warnings.catch_warnings(), tempfile.NamedTemporaryFile(suffix=".onnx") as file:
        warnings.simplefilter("ignore")  # of the tracer: the lengths of the example are checked, not the graph's
        torch.onnx.export(
            Embedding(net, least).eval(),  # the exporter gives back the mode that it found
            example,
            file.name,
            dynamo=False,  # the other exporter needs a package more
            opset_version=OPSET,
            input_names=["features", "lengths"],
            output_names=["embedding"],
            dynamic_axes={"features": {0: "batch", 1: "frames"}, "lengths": {0: "batch"}, "embedding": {0: "batch"}},
        )
        model = onnx.load(file.name)
    onnx.helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    return model


def save(model: Any, path: str | Path) -> None:
    """Writes an ONNX model, atomically."""
    with atomic_write(path) as stream:
        stream.write(model.SerializeToString(deterministic=True))


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
    ours = min(timeit.repeat(lambda: list(embedder.stream(recordings)), number=1, repeat=REPEATS))
    theirs = min(timeit.repeat(lambda: session.run(None, inputs), number=1, repeat=REPEATS))
    difference = np.abs(session.run(None, inputs)[0] - expected).max()
    rate = sum(FRAMES)
    return (
        f"embeddings differ by at most {difference:.2g} (of {np.abs(expected).max():.3g}); frames a second: "
        f"onnxruntime {rate / theirs:.3g}, torch {rate / ours:.3g}"
    )
