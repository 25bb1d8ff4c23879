"""Training of the frame-level layers and the pooling on a CPU: one pass over memory a layer, no pass for batch norm.

    r_l     (B, T_l, C_l)   output of the ReLU of layer l = 0..4;  u_l = r_l * m_l, m_l (B, C_l): dropout mask or ones
    s, t    (C_l,)          batch norm as scale and shift: s = gamma / sqrt(v + eps), t = beta - mu s, where mu and v
                            are mean and variance of r_l over the N frames of the batch
    z_{l+1} = sum_k W_k (s r_l + t) m_l + b        at the frames t + o_k of the context, o_k = 0 being its first
            = sum_k (W_k diag s) u_l + [b + sum_k W_k (t m_l)]

So batch norm costs nothing forward: it is folded into the next product. Backward, with dW' and g those of the folded
matrices and of the bracket (summed over the frames of a chunk), everything that batch norm needs is as small as they:

    dW_k = dW'_k diag s + g (t m)^T    ds = sum_k,o dW'_k * W_k    dt = sum m (sum_k W_k^T g)
    dr   = m (dz W') + c1 + c2 r,  c2 = 2 dv / N,  c1 = dmu / N - c2 mu          (dmu, dv: through s and t)
    dz   = dr where r > 0                                                        (ReLU)

The batch is gone through in blocks of a few hundred frames, which stay in the cache from the product through ReLU, sums
and gradient; dz_l takes the place of r_l, and the buffers are kept between steps (fresh memory costs page faults). The
same values come out of the plain layers (pyasp.network.tdnn), up to rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from pyasp.core.processes import sum_over
from pyasp.network.pooling import MaskedBatchNorm

BLOCK_FRAMES = 512


class Workspace:
    """Buffers that live from step to step; one forward and its backward at a time."""

    def __init__(self) -> None:
        self.buffers: dict[str, Tensor] = {}
        self.serial = 0  # of the last forward: its backward must come before the next

    def __deepcopy__(self, memo: dict) -> Workspace:
        return Workspace()

    def get(self, name: str, *shape: int) -> Tensor:
        """An uninitialised float32 tensor of that shape; the memory of the name is used again."""
        count = torch.Size(shape).numel()
        if name not in self.buffers or self.buffers[name].numel() < count:
            self.buffers[name] = torch.empty(count)
        return self.buffers[name][:count].view(shape)


@dataclass
class Norm:
    """Batch norm of one layer as scale and shift, and what its gradient needs. (C,) float64 but where said."""

    mean: Tensor
    deviation: Tensor  # 1 / sqrt(v + eps)
    gamma: Tensor
    frames: float  # N, of all processes when they are synchronised
    gather: Callable[[Tensor], Tensor]  # sum over the processes, or nothing
    scale: Tensor  # s, float32
    shift: Tensor  # t, float32

    def gradients(self, d_scale: Tensor, d_shift: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """d gamma, d beta of this process; c1, c2 of the whole batch. All (C,) float32."""
        own = torch.stack([(d_scale - self.mean * d_shift) * self.deviation, d_shift])
        every = self.gather(own.clone())
        d_variance = -0.5 * every[0] * self.gamma * self.deviation**2
        c2 = 2 * d_variance / self.frames
        c1 = -self.gamma * self.deviation * every[1] / self.frames - c2 * self.mean
        return own[0].float(), own[1].float(), c1.float(), c2.float()


def norm_of(sums: Tensor, frames: int, module: MaskedBatchNorm) -> Norm:
    """From sums (2, C) float64 of r and r*r over `frames` frames of this process; updates the running statistics."""
    gather = sum_over if module.synchronised else _alone
    every = gather(torch.cat([sums.flatten(), sums.new_tensor([frames])]))
    count = float(every[-1])
    mean, square = every[:-1].view(2, -1) / count
    variance = (square - mean * mean).clamp(min=0)
    with torch.no_grad():
        module.num_batches_tracked += 1
        module.running_mean.lerp_(mean.float(), module.momentum)
        module.running_var.lerp_((variance * count / (count - 1)).float(), module.momentum)
    gamma, deviation = module.weight.detach().double(), (variance + module.eps).rsqrt()
    scale = gamma * deviation
    shift = module.bias.detach().double() - mean * scale
    return Norm(mean, deviation, gamma, count, gather, scale.float(), shift.float())


def _alone(values: Tensor) -> Tensor:
    return values


@dataclass
class Stage:
    """One layer in one forward pass: z = sum_k u_{l-1}[o_k ...] folded_k^T + bias of the chunk."""

    taps: tuple[int, ...]  # o_k
    weight: Tensor  # (K, O, C) as the optimiser sees it
    folded: Tensor  # (K, O, C) times the scale below
    bias: Tensor  # (B, 1, O)
    below: Tensor  # u_{l-1}'s r (B, T_{l-1}, C)
    keep: Tensor | None  # m_{l-1} (B, 1, C)
    out: Tensor  # r_l (B, T_l, O), later dz_l
    norm: Norm | None = None  # of r_l


def blocks(out: Tensor) -> Iterator[slice]:
    """Slices over the chunks of (B, T, C): a few hundred frames each."""
    size = max(1, BLOCK_FRAMES // out.shape[1])
    for start in range(0, out.shape[0], size):
        yield slice(start, min(start + size, out.shape[0]))


def operand(stage: Stage, part: slice) -> Tensor:
    """u_{l-1} of a block (g, T, C)."""
    return stage.below[part] if stage.keep is None else stage.below[part] * stage.keep[part]


def run_stage(stage: Stage, work: Workspace) -> Tensor:
    """Products and ReLU of a layer, into stage.out. Returns the sums (2, O) float64 of r and r*r."""
    frames, width = stage.out.shape[1:]
    sums = torch.zeros(2, width, dtype=torch.float64)
    for part in blocks(stage.out):
        u, out = operand(stage, part), stage.out[part]
        count = len(out)
        first = stage.bias[part].expand(count, frames, width)
        for tap, matrix in zip(stage.taps, stage.folded):
            turned = matrix.t().expand(count, *matrix.t().shape)
            torch.baddbmm(first, u[:, tap : tap + frames], turned, out=out)
            first = out
        flat = out.view(-1, width).relu_()
        square = torch.mul(flat, flat, out=work.get("square", *flat.shape))
        sums += torch.stack([flat.sum(0), square.sum(0)])
    return sums


def gradient_below(stage: Stage, part: slice, start: Tensor, work: Workspace) -> Tensor:
    """start (C,) + m (dz W') of a block (g, T_{l-1}, C), in a buffer."""
    grad = work.get("grad", *stage.below[part].shape)
    masked = stage.keep is not None
    grad.copy_(torch.zeros_like(start) if masked else start)
    frames = stage.out.shape[1]
    for tap, matrix in zip(stage.taps, stage.folded):
        grad[:, tap : tap + frames].baddbmm_(stage.out[part], matrix.expand(len(grad), *matrix.shape))
    return grad.mul_(stage.keep[part]).add_(start) if masked else grad


def finish_block(stage: Stage, part: slice, grad: Tensor, totals: Tensor, chunks: Tensor) -> None:
    """dr of a block -> dz in place of r; adds dW' to totals (K, O, C), puts the sums over frames into chunks (B, O)."""
    r = stage.out[part]
    torch.ops.aten.threshold_backward.grad_input(grad, r, 0, grad_input=r)
    torch.sum(r, 1, out=chunks[part])
    u, frames = operand(stage, part), r.shape[1]
    for dz, row in zip(r, u):
        for total, tap in zip(totals, stage.taps):
            total.addmm_(dz.t(), row[tap : tap + frames])


def layer_gradients(stage: Stage, below: Norm | None, totals: Tensor, chunks: Tensor) -> tuple[Tensor, ...]:
    """dW (O, K C), db (O,), and ds, dt (C,) float64 of the layer below (None for the first)."""
    taps, out, dim = totals.shape
    bias = chunks.sum(0)
    if below is None:
        return totals.permute(1, 0, 2).reshape(out, -1), bias, None, None
    shift = below.shift if stage.keep is None else stage.keep.squeeze(1) * below.shift  # t m
    constant = chunks.t() @ shift.expand(len(chunks), dim)
    weight = (totals * below.scale + constant).permute(1, 0, 2).reshape(out, -1)
    d_scale = (totals.double() * stage.weight).sum((0, 1))
    d_shift = chunks @ stage.weight.sum(0)
    d_shift = (d_shift if stage.keep is None else d_shift * stage.keep.squeeze(1)).double().sum(0)
    return weight, bias, d_scale, d_shift
