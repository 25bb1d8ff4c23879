"""Frame-level layers and pooling as one differentiable function, out of the stages of pyasp.training.one_pass.

    r      (B, T, C)  output of the ReLU of the last layer;  s, t (C,) its batch norm;  h = (s r + t) m
    alpha  (B, T)     weights over time: 1/T, or the attention of pyasp.network.pooling on h
    mean, variance (B, C)   of r under alpha: those of h are s mean + t and s^2 variance, times m and m^2

    d alpha_t = d mean . r_t + d variance . (r_t - mean)^2
    d r_t     = alpha_t (d mean + 2 d variance (r_t - mean)) + (W_h diag(s m))^T d hidden_t + c1 + c2 r_t

The attention network is small; its gradient is left to autograd, from its hidden layer on.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pyasp.network.pooling import Attention
from pyasp.training.one_pass import (
    Stage,
    Workspace,
    blocks,
    finish_block,
    gradient_below,
    layer_gradients,
    norm_of,
    run_stage,
)


@dataclass
class Weighing:
    """The attention in one forward pass."""

    module: Attention
    folded: Tensor  # (B or 1, A, C): W_h diag(s m)
    hidden: Tensor  # (B, T, A), a leaf of the small graph
    alpha: Tensor  # (B, T), of that graph


@dataclass
class Frames:
    """What is computed for one batch."""

    layers: list[nn.Module]  # pyasp.network.tdnn.Layer
    attention: Attention | None
    deviation: bool  # the variance too
    keeps: list[Tensor | None]  # m of each layer (B, 1, C)
    work: Workspace


def run_layers(frames: Frames, x: Tensor) -> list[Stage]:
    """All layers over spliced frames x (B, T, 5 D); the last stage's out is r."""
    stages: list[Stage] = []
    below, norm, keep, work = x, None, None, frames.work
    for number, (layer, kept) in enumerate(zip(frames.layers, frames.keeps)):
        taps = tuple(offset - layer.context[0] for offset in layer.context) if number else (0,)
        weight = layer.affine.weight.detach()
        weight = weight.view(len(weight), len(taps), -1).permute(1, 0, 2).contiguous()
        folded, bias = weight, layer.affine.bias.detach().expand(len(x), 1, -1)
        if norm is not None:
            folded = weight * norm.scale
            shift = norm.shift.expand(1, 1, -1) if keep is None else norm.shift * keep
            bias = (shift @ weight.sum(0).t() + layer.affine.bias.detach()).expand(len(x), 1, -1)
        out = work.get(f"r{number}", len(x), below.shape[1] - taps[-1], weight.shape[1])
        stage = Stage(taps, weight, folded, bias, below, keep, out)
        stage.norm = norm_of(run_stage(stage, work), out.shape[0] * out.shape[1], layer.norm)
        stages.append(stage)
        below, norm, keep = out, stage.norm, kept
    return stages


def weigh(frames: Frames, last: Stage) -> Weighing | None:
    """The attention over the last stage's frames; None for uniform weights."""
    if frames.attention is None:
        return None
    keep, r, weight = frames.keeps[-1], last.out, frames.attention.hidden.weight.detach()
    shift = last.norm.shift if keep is None else last.norm.shift * keep
    folded = (weight * last.norm.scale).unsqueeze(0) if keep is None else weight * last.norm.scale * keep
    bias = (shift @ weight.t() + frames.attention.hidden.bias.detach()).expand(len(r), 1, -1)
    hidden = r.new_empty(*r.shape[:2], weight.shape[0])
    for part in blocks(r):
        matrix = folded.expand(len(r), *weight.shape)[part].transpose(1, 2)
        torch.baddbmm(bias[part], r[part], matrix, out=hidden[part])
    with torch.enable_grad():
        hidden.requires_grad_()
        return Weighing(frames.attention, folded, hidden, frames.attention.from_hidden(hidden, None))


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
    weighing: Weighing, keep: Tensor | None, last: Stage, d_alpha: Tensor
) -> tuple[Tensor, list[Tensor], Tensor, Tensor]:
    """d hidden (B, T, A); gradients of the attention's parameters; ds, dt (C,) float64 of the last layer's norm."""
    module, r, norm = weighing.module, last.out, last.norm
    small = [*module.norm.parameters(), *module.score.parameters()]
    d_hidden, *rest = torch.autograd.grad(weighing.alpha, [weighing.hidden, *small], d_alpha)
    chunks, weight = d_hidden.sum(1), module.hidden.weight.detach()  # (B, A)
    product = torch.zeros_like(weight)
    for part in blocks(r):
        of_chunks = torch.bmm(d_hidden[part].transpose(1, 2), r[part])
        product += (of_chunks if keep is None else of_chunks * keep[part]).sum(0)
    shift = norm.shift if keep is None else norm.shift * keep.squeeze(1)
    d_weight = product * norm.scale + chunks.t() @ shift.expand(len(chunks), -1)
    d_shift = chunks @ weight
    d_shift = d_shift if keep is None else d_shift * keep.squeeze(1)
    return d_hidden, [d_weight, chunks.sum(0), *rest], (product.double() * weight).sum(0), d_shift.double().sum(0)


@dataclass
class PooledGradient:
    """d r of the last layer, block by block; d_hidden is None for uniform weights."""

    r: Tensor
    alpha: Tensor
    mean: Tensor
    d_mean: Tensor
    d_variance: Tensor
    d_hidden: Tensor | None
    folded: Tensor | None
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
        if self.d_hidden is not None:  # both products in one
            alpha = torch.cat([alpha, self.d_hidden[part]], 2)
            plain = torch.cat([plain, self.folded.expand(len(self.r), *self.folded.shape[1:])[part]], 1)
        return torch.baddbmm(c1, alpha, plain, out=grad).addcmul_(r, factor)


class FrameNetwork(torch.autograd.Function):
    """(spliced frames, Frames, parameters) -> mean and variance of r (B, C), s and t (C,) of the last layer."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, frames: Frames, *parameters: Tensor) -> tuple[Tensor, ...]:
        """x (B, T, 5 D). `parameters` are those of `frames`, named for autograd alone."""
        frames.work.serial += 1
        stages = run_layers(frames, x)
        last, weighing = stages[-1], weigh(frames, stages[-1])
        uniform = x.new_full(last.out.shape[:2], 1 / last.out.shape[1])
        alpha = uniform if weighing is None else weighing.alpha.detach()
        mean, variance = pool(last.out, alpha, frames.deviation, frames.work)
        ctx.kept = frames, stages, weighing, alpha, mean, frames.work.serial
        return mean.clone(), variance, last.norm.scale.clone(), last.norm.shift.clone()

    @staticmethod
    def backward(ctx: Any, d_mean: Tensor, d_variance: Tensor, d_scale: Tensor, d_shift: Tensor) -> tuple:
        """Gradients of the parameters, from the last layer to the first."""
        frames, stages, weighing, alpha, mean, serial = ctx.kept
        assert serial == frames.work.serial, "a second forward pass came before this backward pass"
        last, ds, dt = stages[-1], d_scale.double(), d_shift.double()
        d_hidden, of_attention, folded = None, [], None
        if weighing is not None:
            d_alpha = weights_gradient(last.out, mean, d_mean, d_variance, frames.work)
            d_hidden, of_attention, more_s, more_t = attention_gradient(weighing, frames.keeps[-1], last, d_alpha)
            ds, dt, folded = ds + more_s, dt + more_t, weighing.folded
        pooled = PooledGradient(last.out, alpha, mean, d_mean, d_variance, d_hidden, folded, frames.work)
        found = layers_backward(stages, pooled, ds, dt, frames.work)
        return None, None, *found, *of_attention


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


def frame_network(
    layers: list[nn.Module],
    attention: Attention | None,
    deviation: bool,
    x: Tensor,
    keeps: list[Tensor | None],
    work: Workspace,
) -> tuple[Tensor, ...]:
    """Mean and variance (B, C) of r, scale and shift (C,) of its norm, of spliced frames x (B, T, 5 D) on a CPU."""
    parameters = [p for layer in layers for p in (*layer.affine.parameters(), *layer.norm.parameters())]
    if attention is not None:
        parameters += [*attention.hidden.parameters(), *attention.norm.parameters(), *attention.score.parameters()]
    return FrameNetwork.apply(x, Frames(layers, attention, deviation, keeps, work), *parameters)
