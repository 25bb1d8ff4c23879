"""The network of a bundle as an ONNX graph: frames in, embedding out, pooling included, any batch and any lengths.

    features   (batch, frames, D) float32    voiced, normalised frames, padded at the end to the longest recording
    lengths    (batch,) int64                frames of each recording, at least 15
    embedding  (batch, E) float32

The graph is written node by node instead of traced: a TDNN layer is a convolution with its context as dilation, the
mask is built from the lengths, and nothing depends on an example's shape. Channels come second inside (B, C, T).
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write
from pyasp.network.pooling import VARIANCE_FLOOR, MaskedBatchNorm, Pooling
from pyasp.network.tdnn import RECEPTIVE_FIELD, Layer, Tdnn

OPSET, IR_VERSION = 17, 8  # of 2022: read by every onnxruntime since 1.12


def require(package: str) -> Any:
    """An optional package, imported. Raises InputError that says how to install it."""
    import importlib

    try:
        return importlib.import_module(package)
    except ImportError:
        raise InputError(
            "pyasp export",
            f"no package {package}",
            "onnx (and onnxruntime to compare)",
            "Install the extra: pip install 'pyasp[onnx]', or pip install onnx onnxruntime",
        ) from None


class Graph:
    """Nodes and constants in the order of the computation; every method returns the name of its result."""

    def __init__(self) -> None:
        self.helper, self.numpy_helper = require("onnx").helper, require("onnx").numpy_helper
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self._names = itertools.count()

    def constant(self, value: Any, dtype: type = np.float32) -> str:
        """An initialiser."""
        name = f"c{next(self._names)}"
        self.constants.append(self.numpy_helper.from_array(np.asarray(value, dtype), name))
        return name

    def node(self, kind: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """One operator."""
        name = output or f"{kind.lower()}{next(self._names)}"
        self.nodes.append(self.helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def batch_norm(self, x: str, norm: MaskedBatchNorm) -> str:
        """Batch normalisation with its running moments; x (B, C, T)."""
        values = (norm.weight, norm.bias, norm.running_mean, norm.running_var)
        return self.node(
            "BatchNormalization", x, *(self.constant(value.detach().numpy()) for value in values), epsilon=norm.eps
        )

    def convolution(self, x: str, weight: np.ndarray, bias: np.ndarray, dilation: int = 1) -> str:
        """x (B, C, T), weight (out, C, k) -> (B, out, T - dilation (k - 1))."""
        return self.node(
            "Conv", x, self.constant(weight), self.constant(bias), dilations=[dilation], kernel_shape=[weight.shape[2]]
        )

    def layer(self, x: str, layer: Layer) -> str:
        """Affine over the context, ReLU, batch normalisation."""
        context = layer.context
        steps = set(np.diff(context)) or {1}
        assert len(steps) == 1, f"a context of uneven steps: {context}"
        weight = layer.affine.weight.detach().numpy()
        weight = weight.reshape(len(weight), len(context), -1).transpose(0, 2, 1)
        affine = self.convolution(x, weight, layer.affine.bias.detach().numpy(), int(steps.pop()))
        return self.batch_norm(self.node("Relu", affine), layer.norm)

    def mask(self, h: str, lengths: str) -> str:
        """(B, T) bool, true on the frames that come from real ones; lengths (B,) before the contexts took theirs."""
        one = self.constant(1, np.int64)
        frames = self.node("Gather", self.node("Shape", h), self.constant(2, np.int64))
        times = self.node("Range", self.constant(0, np.int64), frames, one)
        left = self.node("Sub", lengths, self.constant(RECEPTIVE_FIELD - 1, np.int64))
        return self.node("Less", times, self.node("Unsqueeze", left, self.constant([1], np.int64)))

    def weights(self, h: str, mask: str, pooling: Pooling) -> str:
        """alpha_t, or 1/T on real frames: (B, T)."""
        if pooling.attention is None:
            real = self.node("Cast", mask, to=1)
            return self.node("Div", real, self.node("ReduceSum", real, self.constant([1], np.int64), keepdims=1))
        attention = pooling.attention
        hidden = self.convolution(
            h, attention.hidden.weight.detach().numpy()[:, :, None], attention.hidden.bias.detach().numpy()
        )
        f = self.batch_norm(self.node("Relu", hidden), attention.norm)
        scores = self.convolution(
            f, attention.score.weight.detach().numpy()[:, :, None], attention.score.bias.detach().numpy()
        )
        scores = self.node("Squeeze", scores, self.constant([1], np.int64))
        return self.node("Softmax", self.node("Where", mask, scores, self.constant(-np.inf)), axis=-1)

    def pool(self, h: str, mask: str, pooling: Pooling) -> str:
        """h (B, C, T) -> (B, C) or (B, 2 C)."""
        axis, channel = self.constant([2], np.int64), self.constant([1], np.int64)
        h = self.node("Where", self.node("Unsqueeze", mask, channel), h, self.constant(0.0))
        weights = self.node("Unsqueeze", self.weights(h, mask, pooling), channel)
        mean = self.node("ReduceSum", self.node("Mul", h, weights), axis, keepdims=1)
        if not pooling.parts.deviation:
            return self.node("Squeeze", mean, axis)
        centred = self.node("Sub", h, mean)
        squares = self.node("Mul", self.node("Mul", centred, centred), weights)
        variance = self.node("ReduceSum", squares, axis, keepdims=1)
        deviation = self.node("Sqrt", self.node("Max", variance, self.constant(VARIANCE_FLOOR)))
        return self.node("Squeeze", self.node("Concat", mean, deviation, axis=1), axis)


def to_onnx(net: Tdnn, facts: dict[str, str]) -> Any:
    """The ONNX model of a network up to its embedding; `facts` become its metadata. Checked by onnx itself."""
    onnx, graph = require("onnx"), Graph()
    real = graph.node(
        "Less",
        graph.node(
            "Range",
            graph.constant(0, np.int64),
            graph.node("Gather", graph.node("Shape", "features"), graph.constant(1, np.int64)),
            graph.constant(1, np.int64),
        ),
        graph.node("Unsqueeze", "lengths", graph.constant([1], np.int64)),
    )
    real = graph.node("Unsqueeze", real, graph.constant([2], np.int64))
    x = graph.node("Where", real, "features", graph.constant(0.0))
    x = graph.node("Transpose", x, perm=[0, 2, 1])
    for layer in net.frames:
        x = graph.layer(x, layer)
    pooled = graph.pool(x, graph.mask(x, "lengths"), net.pooling)
    affine = net.embedding.affine
    graph.node(
        "Gemm",
        pooled,
        graph.constant(affine.weight.detach().numpy()),
        graph.constant(affine.bias.detach().numpy()),
        transB=1,
        output="embedding",
    )
    tensor, single, long = graph.helper.make_tensor_value_info, onnx.TensorProto.FLOAT, onnx.TensorProto.INT64
    made = graph.helper.make_graph(
        graph.nodes,
        "speaker-embedding",
        [tensor("features", single, ["batch", "frames", net.in_dim]), tensor("lengths", long, ["batch"])],
        [tensor("embedding", single, ["batch", affine.out_features])],
        graph.constants,
    )
    model = graph.helper.make_model(
        made, opset_imports=[graph.helper.make_opsetid("", OPSET)], ir_version=IR_VERSION, producer_name="pyasp"
    )
    graph.helper.set_model_props(model, facts)
    onnx.checker.check_model(model, full_check=True)
    return model


def save(model: Any, path: str | Path) -> None:
    """Writes an ONNX model, atomically."""
    with atomic_write(path) as stream:
        stream.write(model.SerializeToString(deterministic=True))
