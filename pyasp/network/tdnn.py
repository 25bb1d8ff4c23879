"""The paper's encoder: five TDNN layers over frames.

Okabe, Koshinaka, Shinoda, Interspeech 2018, section 3; Kaldi's egs/sre16/v2 x-vector network up to its pooling.

    x      (B, T, D)     B chunks or recordings of T frames of D coefficients, frames in rows (channels last)
    h      (B, T-14, C)  frame-level vectors; contexts {-2..2} {-2,0,2} {-3,0,3} {0} {0} see 15 frames
    layer  affine -> ReLU -> batch normalisation

A TDNN layer is ONE matrix product over all frames of the batch: the frames of its context are laid side by side (three
shifted slices of x), then multiplied; ReLU and batch normalisation run over rows that stay contiguous.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyasp.core.processes import part_of, world
from pyasp.network.contract import Encoder
from pyasp.network.pooling import BATCH_NORM_EPSILON, MaskedBatchNorm, length_mask

if TYPE_CHECKING:
    from pyasp.network.model import ArchitectureOptions

CONTEXTS = ((-2, -1, 0, 1, 2), (-2, 0, 2), (-3, 0, 3), (0,), (0,))
RECEPTIVE_FIELD = 1 + sum(context[-1] - context[0] for context in CONTEXTS)  # 15 frames


def splice(x: Tensor, context: tuple[int, ...]) -> Tensor:
    """Frames of a context side by side: x (B, T, D) -> (B, T - span, len(context) D); no padding at the ends."""
    if len(context) == 1:
        return x
    frames = x.shape[1] - (context[-1] - context[0])
    return torch.cat([x[:, offset - context[0] : offset - context[0] + frames] for offset in context], dim=2)


class Layer(nn.Module):
    """Affine -> ReLU -> batch normalisation (-> dropout) over the spliced frames of `context`."""

    def __init__(
        self,
        context: tuple[int, ...],
        in_dim: int,
        out_dim: int,
        dropout: float = 0.0,
        epsilon: float = BATCH_NORM_EPSILON,
    ):
        super().__init__()
        self.context, self.dropout = context, dropout
        self.affine = nn.Linear(in_dim * len(context), out_dim)
        self.norm = MaskedBatchNorm(out_dim, epsilon)
        nn.init.kaiming_normal_(self.affine.weight, nonlinearity="relu")
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, T, in_dim) -> (B, T - span, out_dim); mask (B, T - span) is that of the output."""
        return self.activate(self.affine(splice(x, self.context)), mask)

    def activate(self, affine: Tensor, mask: Tensor | None = None) -> Tensor:
        """What follows the affine output (B, T, out_dim)."""
        y = self.norm(functional.relu(affine), mask)
        return y * self.keep_mask(y) if self.dropout and self.training else y

    def keep_mask(self, x: Tensor) -> Tensor:
        """Dropout's factors (B, 1, out_dim) for a batch x of B chunks; drawn for all processes' chunks."""
        shape, exact = (x.shape[0] * world(), 1, self.affine.out_features), torch.promote_types(x.dtype, torch.float32)
        keep = torch.full(shape, 1 - self.dropout, dtype=exact, device=x.device)
        return (torch.bernoulli(keep) / (1 - self.dropout))[part_of(shape[0])].to(x.dtype)


class Tdnn(nn.ModuleList, Encoder):
    """The five layers, in order."""

    frames_lost = RECEPTIVE_FIELD - 1

    def __init__(self, options: ArchitectureOptions, in_dim: int):
        sizes = [in_dim] + [options.frame_dim] * (len(CONTEXTS) - 1) + [options.pooling_dim]
        super().__init__(
            Layer(context, n_in, n_out, options.dropout) for context, n_in, n_out in zip(CONTEXTS, sizes, sizes[1:])
        )
        self.output_dim = options.pooling_dim

    def layers(self) -> list[Layer]:
        """The five."""
        return [layer for layer in self if isinstance(layer, Layer)]

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x (B, T, D), T >= 15, lengths (B,) >= 15 or None -> h (B, T-14, C) and its mask (B, T-14) or None."""
        mask = None
        for layer in self.layers():
            span = layer.context[-1] - layer.context[0]
            if lengths is not None:
                lengths = lengths - span
                mask = length_mask(lengths, x.shape[1] - span)
            x = layer(x, mask)
        return x, mask
