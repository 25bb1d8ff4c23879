"""ECAPA-TDNN: squeezed and excited Res2 blocks over frames, whose outputs are aggregated.

Desplanques, Thienpondt, Demuynck, "ECAPA-TDNN: Emphasized Channel Attention, Propagation and Aggregation in TDNN Based
Speaker Verification", Interspeech 2020; with the layer order of SpeechBrain's published models.

    x       (B, T, D)   recordings of T >= 5 frames
    h_0     (B, T, C)   layer over 5 frames: affine -> ReLU -> batch normalisation; C: --frame-dim
    h_1..3  (B, T, C)   SE-Res2 blocks of dilation 2, 3, 4, each on the one below
    h       (B, T, P)   layer over [h_1; h_2; h_3] (multi-layer aggregation); P: --pooling-dim

SE-Res2 block: layer, Res2 layer, layer, squeeze-excitation, plus its input. The Res2 layer cuts the channels into SCALE
groups: the first goes on as it is, each other one through a layer of its own that sees the sum of it and what came out
of the one before. Squeeze-excitation scales every channel with s = sigmoid(W_2 relu(W_1 mean_t h_t)).

Beyond both ends a recording is mirrored (x_{-1} = x_1), so that no frame is lost. Its own pooling is
channel_attentive_statistics (pyasp.network.pooling).
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyasp.core.options import check_values
from pyasp.network.contract import Encoder
from pyasp.network.pooling import length_mask, uniform_weights, weighted_mean
from pyasp.network.tdnn import Layer, splice

if TYPE_CHECKING:
    from pyasp.network.model import ArchitectureOptions

SCALE = 8  # groups of a Res2 layer; the paper's
BOTTLENECK = 128  # nodes of W_1; the paper's
DILATIONS = (2, 3, 4)
EPSILON = 1e-5  # of the batch norms, PyTorch's


def mirrored(x: Tensor, lengths: Tensor | None, span: int) -> Tensor:
    """x (B, T, C) with `span` more frames at both ends of each recording, mirrored at its first and last frame."""
    if not span:
        return x
    if lengths is None:
        return functional.pad(x.transpose(1, 2), (span, span), mode="reflect").transpose(1, 2)
    last = lengths[:, None] - 1
    times = torch.arange(-span, x.shape[1] + span, device=x.device).abs().expand(x.shape[0], -1)
    times = torch.where(times > last, 2 * last - times, times).clamp(min=0)  # below 0: padding of short recordings
    return x.gather(1, times.unsqueeze(-1).expand(-1, -1, x.shape[2]))


class Mirrored(Layer):
    """A layer that keeps the number of frames: mirrored frames stand in for the context beyond both ends."""

    def forward(self, x: Tensor, mask: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """x (B, T, in_dim) -> (B, T, out_dim)."""
        return self.activate(self.affine(splice(mirrored(x, lengths, self.context[-1]), self.context)), mask)


class SqueezeExcitation(nn.Module):
    """A factor for every channel, from the mean of all of them over time."""

    def __init__(self, dim: int):
        super().__init__()
        self.squeeze, self.excite = nn.Linear(dim, BOTTLENECK), nn.Linear(BOTTLENECK, dim)

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """h (B, T, C) -> (B, T, C)."""
        mean = weighted_mean(h, uniform_weights(h, mask))
        return h * self.excite(functional.relu(self.squeeze(mean))).sigmoid().unsqueeze(1)


class Res2Block(nn.Module):
    """An SE-Res2 block."""

    def __init__(self, dim: int, dilation: int, dropout: float):
        super().__init__()
        layer = partial(Mirrored, dropout=dropout, epsilon=EPSILON)
        self.before, self.after = layer((0,), dim, dim), layer((0,), dim, dim)
        context, width = (-dilation, 0, dilation), dim // SCALE
        self.groups = nn.ModuleList(layer(context, width, width) for _ in range(SCALE - 1))
        self.excitation = SqueezeExcitation(dim)

    def forward(self, x: Tensor, mask: Tensor | None = None, lengths: Tensor | None = None) -> Tensor:
        """x (B, T, C) -> (B, T, C)."""
        first, *rest = self.before(x, mask).chunk(SCALE, dim=2)
        parts = [first]
        for number, (layer, part) in enumerate(zip(self.groups, rest)):
            parts.append(layer(part + parts[-1] if number else part, mask, lengths))
        return x + self.excitation(self.after(torch.cat(parts, dim=2), mask), mask)


class Ecapa(Encoder):
    """The first layer, the blocks, and the layer that aggregates them."""

    shortest = max(DILATIONS) + 1  # frames that can be mirrored so far

    def __init__(self, options: ArchitectureOptions, in_dim: int):
        super().__init__()
        dim, self.output_dim = options.frame_dim, options.pooling_dim
        check_values(options, "network options", f"a multiple of {SCALE}, for ecapa", frame_dim=dim % SCALE != 0)
        layer = partial(Mirrored, dropout=options.dropout, epsilon=EPSILON)
        self.first = layer((-2, -1, 0, 1, 2), in_dim, dim)
        self.blocks = nn.ModuleList(Res2Block(dim, dilation, options.dropout) for dilation in DILATIONS)
        self.aggregation = layer((0,), dim * len(DILATIONS), self.output_dim)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x (B, T, D), T >= 5, lengths (B,) >= 5 or None -> h (B, T, P) and its mask (B, T) or None."""
        mask = None if lengths is None else length_mask(lengths, x.shape[1])
        x, outputs = self.first(x, mask, lengths), []
        for block in self.blocks:
            x = block(x, mask, lengths)
            outputs.append(x)
        return self.aggregation(torch.cat(outputs, dim=2), mask), mask
