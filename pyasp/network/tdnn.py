"""The paper's network: five TDNN layers over frames, pooling over time, two fully connected layers, speakers.

Okabe, Koshinaka, Shinoda, Interspeech 2018, section 3; the frame-level part is Kaldi's egs/sre16/v2 x-vector network.

    x      (B, T, D)     B chunks or recordings of T frames of D coefficients, frames in rows (channels last)
    h      (B, T-14, C)  frame-level vectors; contexts {-2..2} {-2,0,2} {-3,0,3} {0} {0} see 15 frames
    layer  affine -> ReLU -> batch normalisation
    a      (B, E)        affine output of the first fully connected layer: the embedding

A TDNN layer is ONE matrix product over all frames of the batch: the frames of its context are laid side by side (three
shifted slices of x), then multiplied; ReLU and batch normalisation run over rows that stay contiguous. Training on a
CPU in single precision takes pyasp.training.one_pass_network instead of the layers and the pooling: the same values and gradients
up to rounding, with fewer passes over memory.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyasp.core.errors import InputError
from pyasp.core.options import option
from pyasp.core.processes import part_of, world
from pyasp.network.loss import LOSSES, CosineOutput
from pyasp.network.pooling import POOLINGS, VARIANCE_FLOOR, MaskedBatchNorm, Pooling, length_mask
from pyasp.training.one_pass import Workspace
from pyasp.training.one_pass_network import frame_network

CONTEXTS = ((-2, -1, 0, 1, 2), (-2, 0, 2), (-3, 0, 3), (0,), (0,))
RECEPTIVE_FIELD = 1 + sum(context[-1] - context[0] for context in CONTEXTS)  # 15 frames

# Narrower layers than this spend the folded path's gain on calls for small blocks: with 128 and 384 nodes, two threads and
# chunks of 60-120 frames it trained at 21 000 frames/s, the plain layers at 57 000.
FOLD_WIDTH = 256


@dataclass(frozen=True)
class TdnnOptions:
    """Sizes of the network; the defaults are the paper's."""

    pooling: str = option("attentive_statistics", "how frames become one vector", choices=POOLINGS)
    frame_dim: int = option(512, "nodes of each of the first four TDNN layers")
    pooling_dim: int = option(1500, "nodes of the fifth TDNN layer, which is pooled")
    attention_dim: int = option(64, "hidden nodes of the attention network")
    embedding_dim: int = option(512, "nodes of the first fully connected layer: the size of the embedding")
    segment_dim: int = option(512, "nodes of the second fully connected layer")
    dropout: float = option(0.0, "dropout after each layer (over whole chunks: one mask for all frames); 0 = none")
    attention_heads: int = option(
        1, "attentions side by side, each for its share of the pooled channels; as many as --pooling-dim: one a channel"
    )
    loss: str = option("softmax", "softmax; am, aam: additive (angular) margin on cosines", choices=LOSSES)

    def __post_init__(self) -> None:
        sizes = {"frame_dim", "pooling_dim", "attention_dim", "embedding_dim", "segment_dim", "attention_heads"}
        wrong = [name for name, value in vars(self).items() if name in sizes and value < 1]
        wrong += [] if 0 <= self.dropout < 1 else ["dropout"]
        wrong += [] if self.attention_heads < 1 or self.pooling_dim % self.attention_heads == 0 else ["attention_heads"]
        for name in wrong:
            raise InputError(
                "network options",
                str(vars(self)[name]),
                "sizes of at least 1, 0 <= dropout < 1, heads that divide --pooling-dim",
                "Correct tdnn.conf",
                item=f"--{name.replace('_', '-')}",
            )


def splice(x: Tensor, context: tuple[int, ...]) -> Tensor:
    """Frames of a context side by side: x (B, T, D) -> (B, T - span, len(context) D); no padding at the ends."""
    if len(context) == 1:
        return x
    frames = x.shape[1] - (context[-1] - context[0])
    return torch.cat([x[:, offset - context[0] : offset - context[0] + frames] for offset in context], dim=2)


def foldable(x: Tensor, width: int) -> bool:
    """True where pyasp.training.one_pass_network trains, and faster: single precision on a CPU, no compiler, layers wide enough."""
    plain = torch.compiler.is_compiling() or torch.is_autocast_enabled("cpu") or width < FOLD_WIDTH
    return x.device.type == "cpu" and x.dtype == torch.float32 and not plain


class Layer(nn.Module):
    """Affine -> ReLU -> batch normalisation (-> dropout) over the spliced frames of `context`."""

    def __init__(self, context: tuple[int, ...], in_dim: int, out_dim: int, dropout: float = 0.0):
        super().__init__()
        self.context, self.dropout = context, dropout
        self.affine = nn.Linear(in_dim * len(context), out_dim)
        self.norm = MaskedBatchNorm(out_dim)
        nn.init.kaiming_normal_(self.affine.weight, nonlinearity="relu")
        nn.init.zeros_(self.affine.bias)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (B, T, in_dim) -> (B, T - span, out_dim); mask (B, T - span) is that of the output."""
        return self.activate(self.affine(splice(x, self.context)), mask)

    def activate(self, affine: Tensor, mask: Tensor | None = None) -> Tensor:
        """What follows the affine output (B, T, out_dim)."""
        y = self.norm(functional.relu(affine), mask)
        keep = self.keep_mask(y)
        return y if keep is None else y * keep

    def keep_mask(self, x: Tensor) -> Tensor | None:
        """Dropout's factors (B, 1, out_dim) for a batch x of B chunks, or None; drawn for all processes' chunks."""
        if not (self.dropout and self.training):
            return None
        shape, exact = (x.shape[0] * world(), 1, self.affine.out_features), torch.promote_types(x.dtype, torch.float32)
        keep = torch.full(shape, 1 - self.dropout, dtype=exact, device=x.device)
        return (torch.bernoulli(keep) / (1 - self.dropout))[part_of(shape[0])].to(x.dtype)


def linear_output(dim: int, speakers: int) -> nn.Linear:
    """Zero, as in Kaldi: the first loss is log(speakers)."""
    layer = nn.Linear(dim, speakers)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class Tdnn(nn.Module):
    """Features of chunks -> embeddings (`embed`) and speaker logits (`forward`).

    Lengths of padded batches are given per recording; masks follow the frames that the contexts leave.
    """

    def __init__(self, options: TdnnOptions, in_dim: int, num_speakers: int):
        super().__init__()
        self.in_dim = in_dim
        sizes = [in_dim] + [options.frame_dim] * (len(CONTEXTS) - 1) + [options.pooling_dim]
        self.frames = nn.ModuleList(
            Layer(context, n_in, n_out, options.dropout) for context, n_in, n_out in zip(CONTEXTS, sizes, sizes[1:])
        )
        self.pooling = Pooling(options.pooling, options.pooling_dim, options.attention_dim, options.attention_heads)
        self.embedding = Layer((0,), self.pooling.output_dim, options.embedding_dim, options.dropout)
        self.segment = Layer((0,), options.embedding_dim, options.segment_dim, options.dropout)
        make_output = linear_output if LOSSES[options.loss] is None else CosineOutput
        self.output = make_output(options.segment_dim, num_speakers)
        self.heads, self.work = options.attention_heads, Workspace()

    def pooled(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """x (B, T, D), lengths (B,) or None -> the pooled vector (B, pooling.output_dim)."""
        one_pass = self.training and torch.is_grad_enabled() and lengths is None and self.heads == 1
        if not (one_pass and foldable(x, self.frames[0].affine.out_features)):
            return self.pooling(*self.frame_level(x, lengths))
        keeps, parts = [layer.keep_mask(x) for layer in self.frames], self.pooling.parts
        mean, variance, scale, shift = frame_network(
            list(self.frames), self.pooling.attention, parts.deviation, splice(x, CONTEXTS[0]), keeps, self.work
        )
        keep = 1.0 if keeps[-1] is None else keeps[-1].squeeze(1)
        mean = (mean * scale + shift) * keep
        if not parts.deviation:
            return mean
        return torch.cat([mean, (variance * (scale * keep) ** 2).clamp(min=VARIANCE_FLOOR).sqrt()], dim=1)

    def frame_level(self, x: Tensor, lengths: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x (B, T, D), T >= 15, lengths (B,) >= 15 or None -> h (B, T-14, C) and its mask (B, T-14) or None."""
        assert x.shape[1] >= RECEPTIVE_FIELD, f"{x.shape[1]} frames, fewer than {RECEPTIVE_FIELD}: pad before"
        mask = None
        if lengths is not None:
            x = x.masked_fill(~length_mask(lengths, x.shape[1]).unsqueeze(-1), 0.0)
        for layer in self.frames:
            if lengths is not None:
                lengths = lengths - (layer.context[-1] - layer.context[0])
                mask = length_mask(lengths, x.shape[1] - (layer.context[-1] - layer.context[0]))
            x = layer(x, mask)
        return x, mask

    def embed(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Embeddings (B, E): affine output of the first fully connected layer. x (B, T, D), lengths (B,) or None."""
        return self.embedding.affine(self.pooled(x, lengths))

    def forward(self, x: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Output (B, speakers) of x (B, T, D): logits of --loss softmax, cosines of the others (pyasp.network.loss)."""
        a = self.embedding.activate(self.embed(x, lengths).unsqueeze(1))
        return self.output(self.segment(a).squeeze(1))


def multiply_adds(net: Tdnn, frames: int) -> int:
    """Multiply-adds of the matrix products of one forward pass over a chunk of `frames` frames."""
    total, left = 0, frames
    for layer in net.frames:
        left -= layer.context[-1] - layer.context[0]
        total += left * layer.affine.weight.numel()
    if net.pooling.attention is not None:
        total += left * (net.pooling.attention.hidden.weight.numel() + net.pooling.attention.score.weight.numel())
    return total + sum(layer.weight.numel() for layer in (net.embedding.affine, net.segment.affine, net.output))


def training_flop(net: Tdnn, frames: int) -> float:
    """Floating point operations per input frame of a training step: forward, and twice that backward."""
    return 3 * 2 * multiply_adds(net, frames) / frames
