"""Training of the frame-level layers and the pooling on a CPU: one pass over memory a layer, no pass for batch norm.

    r_l     (B, T_l, C_l)   output of the ReLU of layer l = 0..4
    s, t    (C_l,)          batch norm as scale and shift: s = gamma / sqrt(v + eps), t = beta - mu s, where mu and v
                            are mean and variance of r_l over the N frames of the batch
    z_{l+1} = sum_k W_k (s r_l + t) + b            at the frames t + o_k of the context, o_k = 0 being its first
            = sum_k (W_k diag s) r_l + [b + sum_k W_k t]

So batch norm costs nothing forward: it scales the next product. Backward, with dW' and g those of the scaled
matrices and of the bracket (summed over the frames of a chunk), everything that batch norm needs is as small as they:

    dW_k = dW'_k diag s + g t^T    ds = sum_k,o dW'_k * W_k    dt = sum_k W_k^T g
    dr   = dz W' + c1 + c2 r,  c2 = 2 dv / N,  c1 = dmu / N - c2 mu              (dmu, dv: through s and t)
    dz   = dr where r > 0                                                        (ReLU)

The batch is gone through in blocks of a few hundred frames, which stay in the cache from the product through ReLU, sums
and gradient; dz_l takes the place of r_l, and the buffers are kept between steps (fresh memory costs page faults). The
same values come out of the plain layers (pyasp.network.tdnn), up to rounding. Layers with dropout train there.

The pooling comes out of the last layer's r, with s and t of its batch norm and h = s r + t:

    alpha  (B, T)     weights over time: 1/T, or the attention of pyasp.network.pooling on h
    mean, variance (B, C)   of r under alpha: those of h are s mean + t and s^2 variance

    d alpha_t = d mean . r_t + d variance . (r_t - mean)^2
    d r_t     = alpha_t (d mean + 2 d variance (r_t - mean)) + (W_h diag s)^T d hidden_t + c1 + c2 r_t

The attention network is small; its gradient is left to autograd, from its hidden layer on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from pyasp.core.processes import sum_over
from pyasp.network.model import Network
from pyasp.network.pooling import VARIANCE_FLOOR, Attention, MaskedBatchNorm, StatisticsPooling
from pyasp.network.tdnn import Layer, Tdnn, splice

BLOCK_FRAMES = 512

# Narrower layers than this spend the gain on calls for small blocks: with 128 and 384 nodes, two threads and chunks of
# 60-120 frames one pass trained at 21 000 frames/s, the plain layers at 57 000.
LEAST_WIDTH = 256


class Workspace:
    """Buffers that live from step to step; one forward and its backward at a time."""

    def __init__(self) -> None:
        self.buffers: dict[str, Tensor] = {}
        self.serial = 0  # of the last forward: its backward must come before the next

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
    gather = sum_over if module.synchronised else lambda values: values
    every = gather(torch.cat([sums.flatten(), sums.new_tensor([frames])]))
    count = float(every[-1])
    mean, square = every[:-1].view(2, -1) / count
    variance = (square - mean * mean).clamp(min=0)
    module.follow(mean, variance, count)
    gamma, deviation = module.weight.detach().double(), (variance + module.eps).rsqrt()
    scale = gamma * deviation
    shift = module.bias.detach().double() - mean * scale
    return Norm(mean, deviation, gamma, count, gather, scale.float(), shift.float())


@dataclass
class Stage:
    """One layer in one forward pass: z = sum_k r_{l-1}[o_k ...] scaled_k^T + bias."""

    taps: tuple[int, ...]  # o_k
    weight: Tensor  # (K, O, C) as the optimiser sees it
    scaled: Tensor  # (K, O, C) times the scale below
    bias: Tensor  # (..., O)
    below: Tensor  # r_{l-1} (B, T_{l-1}, C)
    out: Tensor  # r_l (B, T_l, O), later dz_l
    norm: Norm = field(init=False)  # of r_l, once they are there


def blocks(out: Tensor) -> Iterator[slice]:
    """Slices over the chunks of (B, T, C): a few hundred frames each."""
    size = max(1, BLOCK_FRAMES // out.shape[1])
    for start in range(0, out.shape[0], size):
        yield slice(start, min(start + size, out.shape[0]))


def run_stage(stage: Stage, work: Workspace) -> Tensor:
    """Products and ReLU of a layer, into stage.out. Returns the sums (2, O) float64 of r and r*r."""
    frames, width = stage.out.shape[1:]
    sums = torch.zeros(2, width, dtype=torch.float64)
    for part in blocks(stage.out):
        below, out = stage.below[part], stage.out[part]
        count = len(out)
        first = stage.bias.expand(count, frames, width)
        for tap, matrix in zip(stage.taps, stage.scaled):
            turned = matrix.t().expand(count, *matrix.t().shape)
            torch.baddbmm(first, below[:, tap : tap + frames], turned, out=out)
            first = out
        flat = out.view(-1, width).relu_()
        square = torch.mul(flat, flat, out=work.get("square", *flat.shape))
        sums += torch.stack([flat.sum(0), square.sum(0)])
    return sums


def gradient_below(stage: Stage, part: slice, start: Tensor, work: Workspace) -> Tensor:
    """start (C,) + dz W' of a block (g, T_{l-1}, C), in a buffer."""
    grad = work.get("grad", *stage.below[part].shape)
    grad.copy_(start)
    frames = stage.out.shape[1]
    for tap, matrix in zip(stage.taps, stage.scaled):
        grad[:, tap : tap + frames].baddbmm_(stage.out[part], matrix.expand(len(grad), *matrix.shape))
    return grad


def finish_block(stage: Stage, part: slice, grad: Tensor, totals: Tensor, chunks: Tensor) -> None:
    """dr of a block -> dz in place of r; adds dW' to totals (K, O, C), puts the sums over frames into chunks (B, O)."""
    r = stage.out[part]
    torch.ops.aten.threshold_backward.grad_input(grad, r, 0, grad_input=r)
    torch.sum(r, 1, out=chunks[part])
    for dz, row in zip(r, stage.below[part]):
        for total, tap in zip(totals, stage.taps):
            total.addmm_(dz.t(), row[tap : tap + r.shape[1]])


def layer_gradients(
    stage: Stage, below: Norm | None, totals: Tensor, chunks: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """dW (O, K C), db (O,), and ds, dt (C,) float64 of the layer below (of the first: empty)."""
    taps, out, dim = totals.shape
    bias = chunks.sum(0)
    if below is None:
        return totals.permute(1, 0, 2).reshape(out, -1), bias, bias[:0], bias[:0]
    constant = chunks.t() @ below.shift.expand(len(chunks), dim)
    weight = (totals * below.scale + constant).permute(1, 0, 2).reshape(out, -1)
    d_scale = (totals.double() * stage.weight).sum((0, 1))
    return weight, bias, d_scale, (chunks @ stage.weight.sum(0)).double().sum(0)


@dataclass
class Weighing:
    """The attention in one forward pass."""

    scaled: Tensor  # (A, C): W_h diag s
    hidden: Tensor  # (B, T, A), a leaf of the small graph
    alpha: Tensor  # (B, T), of that graph


def run_layers(layers: list[Layer], x: Tensor, work: Workspace) -> list[Stage]:
    """All layers over spliced frames x (B, T, 5 D); the last stage's out is r."""
    stages: list[Stage] = []
    below, norm = x, None
    for number, layer in enumerate(layers):
        taps = tuple(offset - layer.context[0] for offset in layer.context) if number else (0,)
        weight = layer.affine.weight.detach()
        weight = weight.view(len(weight), len(taps), -1).permute(1, 0, 2).contiguous()
        scaled, bias = weight, layer.affine.bias.detach()
        if norm is not None:
            scaled, bias = weight * norm.scale, norm.shift.expand(1, 1, -1) @ weight.sum(0).t() + bias
        out = work.get(f"r{number}", len(x), below.shape[1] - taps[-1], weight.shape[1])
        stage = Stage(taps, weight, scaled, bias, below, out)
        stage.norm = norm_of(run_stage(stage, work), out.shape[0] * out.shape[1], layer.norm)
        stages.append(stage)
        below, norm = out, stage.norm
    return stages


def weigh(attention: Attention | None, last: Stage) -> Weighing | None:
    """The attention over the last stage's frames; None for uniform weights."""
    if attention is None:
        return None
    r, weight = last.out, attention.hidden.weight.detach()
    scaled, bias = weight * last.norm.scale, last.norm.shift @ weight.t() + attention.hidden.bias.detach()
    hidden = r.new_empty(*r.shape[:2], len(weight))
    for part in blocks(r):
        torch.baddbmm(bias, r[part], scaled.t().expand(len(r[part]), *weight.t().shape), out=hidden[part])
    with torch.enable_grad():
        hidden.requires_grad_()
        return Weighing(scaled, hidden, attention.from_hidden(hidden, None))


def pool(r: Tensor, alpha: Tensor, deviation: bool, work: Workspace) -> tuple[Tensor, Tensor]:
    """Mean and variance (B, C) of r (B, T, C) under alpha (B, T); an empty variance where it is not wanted."""
    mean = torch.bmm(alpha.unsqueeze(1), r)
    variance = torch.empty_like(mean) if deviation else mean[:0]
    for part in blocks(r) if deviation else ():
        away = torch.sub(r[part], mean[part], out=work.get("grad", *r[part].shape))
        torch.bmm(alpha[part].unsqueeze(1), away.mul_(away), out=variance[part])
    return mean.squeeze(1), variance.squeeze(1)


def weights_gradient(r: Tensor, mean: Tensor, d_mean: Tensor, d_variance: Tensor, work: Workspace) -> Tensor:
    """d alpha (B, T)."""
    grad = torch.bmm(r, d_mean.unsqueeze(2))
    for part in blocks(r) if len(d_variance) else ():
        away = torch.sub(r[part], mean[part].unsqueeze(1), out=work.get("grad", *r[part].shape))
        grad[part].baddbmm_(away.mul_(away), d_variance[part].unsqueeze(2))
    return grad.squeeze(2)


def attention_gradient(
    module: Attention, weighing: Weighing, last: Stage, d_alpha: Tensor
) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    """d hidden (B, T, A); gradients of the attention's parameters; ds, dt (C,) float64 of the last layer's norm."""
    r, norm, weight = last.out, last.norm, module.hidden.weight.detach()
    small = [*module.norm.parameters(), *module.score.parameters()]
    d_hidden, *rest = torch.autograd.grad(weighing.alpha, [weighing.hidden, *small], d_alpha)
    chunks, product = d_hidden.sum(1), torch.zeros_like(weight)  # (B, A), (A, C)
    for part in blocks(r):
        product += torch.bmm(d_hidden[part].transpose(1, 2), r[part]).sum(0)
    d_weight = product * norm.scale + chunks.t() @ norm.shift.expand(len(chunks), -1)
    of_norm = (product.double() * weight).sum(0), (chunks @ weight).double().sum(0)
    return d_hidden, [d_weight, chunks.sum(0), *rest], *of_norm


@dataclass
class PooledGradient:
    """d r of the last layer, block by block."""

    r: Tensor
    alpha: Tensor
    mean: Tensor
    d_mean: Tensor
    d_variance: Tensor
    attention: tuple[Tensor, Tensor] | None  # d hidden (B, T, A) and W_h diag s (A, C)
    work: Workspace

    def block(self, part: slice, c1: Tensor, c2: Tensor) -> Tensor:
        """d r of a block (g, T, C) in a buffer, with c1 + c2 r."""
        r, alpha = self.r[part], self.alpha[part].unsqueeze(2)
        grad, factor = self.work.get("grad", *r.shape), c2
        plain = self.d_mean[part].unsqueeze(1)
        if len(self.d_variance):
            slope = 2 * self.d_variance[part].unsqueeze(1)
            plain = plain - slope * self.mean[part].unsqueeze(1)
            factor = torch.baddbmm(c2, alpha, slope, out=self.work.get("square", *r.shape))
        if self.attention is not None:  # both products in one
            d_hidden, scaled = self.attention
            alpha = torch.cat([alpha, d_hidden[part]], 2)
            plain = torch.cat([plain, scaled.expand(len(r), *scaled.shape)], 1)
        return torch.baddbmm(c1, alpha, plain, out=grad).addcmul_(r, factor)


class FrameNetwork(torch.autograd.Function):
    """(spliced frames, OnePass, parameters) -> mean and variance of r (B, C), s and t (C,) of the last layer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, one: OnePass, *parameters: Tensor) -> tuple[Tensor, ...]:
        """x (B, T, 5 D). `parameters` are those of the layers and the attention, named for autograd alone."""
        one.work.serial += 1
        stages = run_layers(one.layers, x, one.work)
        last, weighing = stages[-1], weigh(one.pooling.attention, stages[-1])
        uniform = x.new_full(last.out.shape[:2], 1 / last.out.shape[1])
        alpha = uniform if weighing is None else weighing.alpha.detach()
        mean, variance = pool(last.out, alpha, one.pooling.deviation, one.work)
        ctx.kept = one, stages, weighing, alpha, mean, one.work.serial
        return mean.clone(), variance, last.norm.scale.clone(), last.norm.shift.clone()

    @staticmethod
    def backward(ctx: Any, d_mean: Tensor, d_variance: Tensor, d_scale: Tensor, d_shift: Tensor) -> tuple:
        """Gradients of the parameters, from the last layer to the first."""
        one, stages, weighing, alpha, mean, serial = ctx.kept
        assert serial == one.work.serial, "a second forward pass came before this backward pass"
        last, ds, dt = stages[-1], d_scale.double(), d_shift.double()
        attention, of_attention = None, list[Tensor]()
        if weighing is not None:
            d_alpha = weights_gradient(last.out, mean, d_mean, d_variance, one.work)
            found = attention_gradient(one.pooling.attention, weighing, last, d_alpha)
            d_hidden, of_attention, more_s, more_t = found
            ds, dt, attention = ds + more_s, dt + more_t, (d_hidden, weighing.scaled)
        pooled = PooledGradient(last.out, alpha, mean, d_mean, d_variance, attention, one.work)
        return None, None, *layers_backward(stages, pooled, ds, dt, one.work), *of_attention


def layers_backward(
    stages: list[Stage], pooled: PooledGradient, ds: Tensor, dt: Tensor, work: Workspace
) -> list[Tensor]:
    """Gradients (weight, bias, gamma, beta of the first layer, of the second, ...)."""
    found: list[Tensor] = []
    for number in reversed(range(len(stages))):
        stage, below = stages[number], stages[number - 1].norm if number else None
        d_gamma, d_beta, c1, c2 = stage.norm.gradients(ds, dt)
        totals, chunks = torch.zeros_like(stage.weight), stage.out.new_empty(stage.out.shape[0], stage.out.shape[2])
        for part in blocks(stage.out):
            if number == len(stages) - 1:
                grad = pooled.block(part, c1, c2)
            else:
                grad = gradient_below(stages[number + 1], part, c1, work).addcmul_(stage.out[part], c2)
            finish_block(stage, part, grad, totals, chunks)
        weight, bias, ds, dt = layer_gradients(stage, below, totals, chunks)
        found = [weight, bias, d_gamma, d_beta, *found]
    return found


class OnePass(nn.Module):
    """A network whose training steps go through one pass; everything else through its own layers."""

    def __init__(self, net: Network):
        super().__init__()
        assert isinstance(net.frames, Tdnn), "see covers"
        self.net, self.work, self.layers = net, Workspace(), net.frames.layers()

    @property
    def pooling(self) -> StatisticsPooling:
        """That of the network."""
        assert isinstance(self.net.pooling, StatisticsPooling), "see covers"
        return self.net.pooling

    def forward(self, x: Tensor) -> Tensor:
        """What net(x) is."""
        plain = torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu") or x.dtype != torch.float32
        if plain or not (self.net.frames.training and torch.is_grad_enabled()):
            return self.net(x)
        return self.net.classify(self.net.embed_pooled(self.pooled(x)))

    def pooled(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> the pooled vector (B, P)."""
        parameters = [p for layer in self.layers for p in (*layer.affine.parameters(), *layer.norm.parameters())]
        if self.pooling.attention is not None:
            parameters += self.pooling.attention.parameters()
        spliced = splice(x, self.layers[0].context)
        mean, variance, scale, shift = FrameNetwork.apply(spliced, self, *parameters)
        mean = mean * scale + shift
        if not self.pooling.deviation:
            return mean
        return torch.cat([mean, (variance * scale**2).clamp(min=VARIANCE_FLOOR).sqrt()], dim=1)


def covers(net: Network) -> bool:
    """True for the networks that OnePass knows, with layers wide enough for it to be faster."""
    if type(net.frames) is not Tdnn or type(net.pooling) is not StatisticsPooling:
        return False
    first, attention = net.frames.layers()[0], net.pooling.attention
    plain = bool(first.dropout) or first.affine.out_features < LEAST_WIDTH
    return not plain and (attention is None or attention.score.out_features == 1)
