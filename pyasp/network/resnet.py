"""ResNet34 over filter banks seen as an image: the encoder of the r-vector.

He, Zhang, Ren, Sun, CVPR 2016, with basic blocks; Zeinali et al., "BUT System Description to VoxCeleb Speaker
Recognition Challenge 2019" (r-vector), at WeSpeaker's sizes.

    x       (B, T, D)           recordings; as images (B, 1, D, T)
    stage i (B, M_i, D_i, T_i)  3, 4, 6, 3 blocks, M_i = 1, 2, 4, 8 times --frame-dim; each stage but the first halves
                                frequency and time, rounded up
    h       (B, T_4, M_4 D_4)   T_4 about T / 8, D_4 about D / 8: channels of one frame side by side, frequencies inside

    block   relu(BN(conv(relu(BN(conv(x))))) + x): 3 x 3 convolutions with zeros beyond the edges; where a stage starts
            with other sizes, BN(1 x 1 convolution of x) in place of x

Images lie in memory with their channels last, so that a batch norm sees rows of channels. Its own pooling is
sample_statistics (pyasp.network.pooling). --pooling-dim says nothing here, and there is no dropout.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from torch import Tensor, channels_last, nn
from torch.nn import functional

from pyasp.core.options import check_values
from pyasp.network.contract import Encoder
from pyasp.network.pooling import MaskedBatchNorm, length_mask

if TYPE_CHECKING:
    from pyasp.network.model import ArchitectureOptions

BLOCKS = (3, 4, 6, 3)
EPSILON = 1e-5  # of the batch norms, PyTorch's


Size = TypeVar("Size", int, Tensor)


def halved(size: Size, times: int = 1) -> Size:
    """A size, or a tensor of sizes, after strides of two: halves rounded up."""
    for _ in range(times):
        size = (size + 1) // 2
    return size


class Convolution(nn.Module):
    """A convolution of images, then batch normalisation; zeros in the padding of what comes out.

    A convolution of one pixel steps over the others before it, not in it: on a CPU, channels last, the gradient of
    PyTorch 2.13's own (1, stride 2, few channels) writes beyond its memory.
    """

    def __init__(self, in_dim: int, out_dim: int, size: int, stride: int = 1):
        super().__init__()
        self.step, stride = (stride, 1) if size == 1 else (1, stride)
        self.filters = nn.Conv2d(in_dim, out_dim, size, stride, size // 2, bias=False)
        self.norm = MaskedBatchNorm(out_dim, EPSILON)

    def forward(self, x: Tensor, mask: Tensor | None, more: Tensor | None = None, relu: bool = True) -> Tensor:
        """x (B, C, F, T) -> (B, M, F', T'), plus `more`, cut at zero with `relu`; mask (B, T') of what comes out."""
        seen = x if self.step == 1 else x[:, :, :: self.step, :: self.step]
        rows = self.filters(seen).permute(0, 2, 3, 1).contiguous()
        y = self.norm(rows, None if mask is None else mask[:, None].expand(rows.shape[:3])).permute(0, 3, 1, 2)
        y = y if more is None else y + more
        y = functional.relu(y) if relu else y
        return y if mask is None else y.masked_fill(~mask[:, None, None], 0.0)


class ResidualBlock(nn.Module):
    """A basic block."""

    def __init__(self, in_dim: int, out_dim: int, stride: int):
        super().__init__()
        self.first, self.second = Convolution(in_dim, out_dim, 3, stride), Convolution(out_dim, out_dim, 3)
        same = stride == 1 and in_dim == out_dim
        self.shortcut = None if same else Convolution(in_dim, out_dim, 1, stride)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """x (B, C, F, T) -> (B, M, F', T'); mask (B, T') of what comes out."""
        past = x if self.shortcut is None else self.shortcut(x, mask, relu=False)
        return self.second(self.first(x, mask), mask, past)


class Resnet34(Encoder):
    """The first convolution and the four stages."""

    def __init__(self, options: ArchitectureOptions, in_dim: int):
        super().__init__()
        check_values(options, "network options", "0: resnet34 has no dropout", dropout=options.dropout > 0)
        widths = [options.frame_dim << stage for stage in range(len(BLOCKS))]
        self.first = Convolution(1, widths[0], 3)
        self.stages = nn.ModuleList(
            nn.ModuleList(
                ResidualBlock(width if block else before, width, 1 if block or not stage else 2)
                for block in range(count)
            )
            for stage, (before, width, count) in enumerate(zip([widths[0], *widths], widths, BLOCKS))
        )
        self.output_dim = widths[-1] * halved(in_dim, len(BLOCKS) - 1)

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x (B, T, D), lengths (B,) or None -> h (B, T', C) and its mask (B, T') or None; T' about T / 8."""
        y = x.transpose(1, 2).unsqueeze(1).contiguous(memory_format=channels_last)
        mask = None if lengths is None else length_mask(lengths, x.shape[1])
        y = self.first(y, mask)
        for number, stage in enumerate(self.stages):
            if number and lengths is not None:
                lengths = halved(lengths)
                mask = length_mask(lengths, halved(y.shape[3]))
            for block in stage:  # type: ignore[attr-defined]  # a list of blocks
                y = block(y, mask)
        return y.permute(0, 3, 1, 2).flatten(2), mask
