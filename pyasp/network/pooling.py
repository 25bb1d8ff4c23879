"""Pooling of frame-level vectors into one vector a recording: average, attention, statistics, attentive statistics.

Okabe, Koshinaka, Shinoda, "Attentive Statistics Pooling for Deep Speaker Embedding", Interspeech 2018, eq. 1 to 6.

    h_t        (C,)      frame-level vector of frame t;  t = 1..T, T frames of the recording
    mu, sigma  (C,)      mean and standard deviation over time (eq. 1, 2)
    W, b       (A, C), (A,)   attention hidden layer of A nodes;  v (A,), k: its scalar output (eq. 3)
    f          ReLU followed by batch normalisation
    e_t        scalar score of frame t;  alpha_t: its softmax over time (eq. 4)
    mu~, sigma~  (C,)    mean and standard deviation weighted with alpha_t (eq. 5, 6); the same alpha_t for both

    average = mu    attention = mu~    statistics = [mu; sigma]    attentive_statistics = [mu~; sigma~]

Beyond the paper, of the networks that came after it:

    channel_attentive_statistics = BN([mu~; sigma~])   ECAPA-TDNN's (Desplanques et al., Interspeech 2020, eq. 3 to 5):
                                  a score for every channel, from tanh f(W [h_t; mu; sigma] + b)
    sample_statistics             [mu; sigma sqrt(T / (T - 1))], the r-vector's in WeSpeaker

With H > 1 heads (beyond the paper) v, k and e_t have H rows, and head i weighs the i-th of H equal groups of channels;
H = C weighs every channel on its own.

Every function takes batches (B, T, C) and an optional mask (B, T), true on real frames: padding has weight zero, takes
no part in batch normalisation, and a padded recording gives what it gives alone.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyasp.core.options import check_values
from pyasp.core.processes import SumOver, joined
from pyasp.network.contract import Pooling

if TYPE_CHECKING:
    from pyasp.network.model import ArchitectureOptions

SMALL_FLOOR = 1e-12  # of the poolings of others, who have nearly none
VARIANCE_FLOOR = 1e-6  # under the root of sigma; features are batch-normalised, so of variance near 1
BATCH_NORM_EPSILON = 1e-3  # Kaldi's BatchNormComponent


class MaskedBatchNorm(nn.BatchNorm1d):
    """Batch normalisation of the last axis over the real frames of the batch.

    What comes out for padded frames is of no use to anyone: no later layer mixes them with real ones, and pooling
    replaces them. In evaluation every frame is scaled alone, so the mask is not needed. In a training of several
    processes `synchronised` says whether the batch is that of all of them.
    """

    synchronised = True
    running_mean: Tensor  # (C,), kept by every one of these
    running_var: Tensor
    num_batches_tracked: Tensor
    momentum: float

    def __init__(self, dim: int, epsilon: float = BATCH_NORM_EPSILON):
        super().__init__(dim, eps=epsilon)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """x (..., C) float, mask (...) bool or None -> (..., C)."""
        if mask is None or not self.training:
            return self.rows(x.reshape(-1, x.shape[-1])).view(x.shape)
        out = torch.zeros_like(x)
        out[mask] = self.rows(x[mask])
        return out

    def rows(self, x: Tensor) -> Tensor:
        """x (N, C) -> (N, C)."""
        if not (self.training and self.synchronised and joined()):
            return super().forward(x)
        wide = x.float()
        mean, count = SumOver.apply(torch.stack([wide.sum(0), torch.full_like(wide[0], len(x))]))
        mean = mean / count
        variance = SumOver.apply((wide - mean).square().sum(0)) / count
        self.follow(mean, variance, count)
        return ((wide - mean) * (self.weight * (variance + self.eps).rsqrt()) + self.bias).to(x.dtype)

    @torch.no_grad()
    def follow(self, mean: Tensor, variance: Tensor, count: Tensor | float) -> None:
        """Moves the running statistics towards mean and variance (C,) of a batch of `count` vectors."""
        self.num_batches_tracked += 1
        self.running_mean.lerp_(mean.float(), self.momentum)
        self.running_var.lerp_((variance * count / (count - 1)).float(), self.momentum)


def length_mask(lengths: Tensor, frames: int) -> Tensor:
    """Mask (B, T) bool, true at t < lengths; lengths (B,) integers, T = `frames`."""
    return torch.arange(frames, device=lengths.device) < lengths[:, None]


def uniform_weights(h: Tensor, mask: Tensor | None) -> Tensor:
    """Weights (B, T) of 1/T on real frames of h (B, T, C), zero on padding (eq. 1, 2)."""
    if mask is None:
        return h.new_full(h.shape[:2], 1.0 / h.shape[1])
    weights = mask.to(h.dtype)
    return weights / weights.sum(dim=1, keepdim=True)


def weighted_mean(h: Tensor, weights: Tensor) -> Tensor:
    """mu~ = sum_t alpha_t h_t (eq. 5; eq. 1 with uniform weights). h (B, T, C), weights (B, T[, H]) -> (B, C)."""
    if weights.ndim == 2:
        return torch.bmm(weights.unsqueeze(1), h).squeeze(1)
    return torch.einsum("bth,bthc->bhc", weights, h.unflatten(2, (weights.shape[2], -1))).flatten(1)


def weighted_deviation(h: Tensor, weights: Tensor, mean: Tensor, floor: float = VARIANCE_FLOOR) -> Tensor:
    """sigma~ = sqrt(sum_t alpha_t h_t*h_t - mu~*mu~) (eq. 6; eq. 2 with uniform weights). (B, T, C) -> (B, C).

    Computed as sum_t alpha_t (h_t - mu~)*(h_t - mu~): the same, without cancellation in single precision. Floored
    before the root: a constant input gives sqrt(floor) and a zero gradient instead of an infinite one.
    """
    variance = weighted_mean((h - mean.unsqueeze(1)).square(), weights)
    return variance.clamp(min=floor).sqrt()


def statistics(h: Tensor, weights: Tensor, floor: float = SMALL_FLOOR, deviation: bool = True) -> Tensor:
    """[mu~; sigma~] (B, 2 C), or mu~ alone without `deviation`, of h (B, T, C) under weights (B, T[, H])."""
    with torch.autocast(h.device.type, enabled=False):  # sums over time: in single precision at least
        wide = torch.promote_types(h.dtype, torch.float32)
        h, weights = h.to(wide), weights.to(wide)
        mean = weighted_mean(h, weights)
        return torch.cat([mean, weighted_deviation(h, weights, mean, floor)], dim=1) if deviation else mean


def softmax_over_time(scores: Tensor, mask: Tensor | None) -> Tensor:
    """alpha_t of the scores e_t (B, T, H), zero on padding (eq. 4)."""
    return (scores if mask is None else scores.masked_fill(~mask.unsqueeze(-1), -torch.inf)).softmax(dim=1)


def without_padding(h: Tensor, mask: Tensor | None) -> Tensor:
    """h (B, T, C) with zeros for whatever is in the padding, even NaN."""
    return h if mask is None else h.masked_fill(~mask.unsqueeze(-1), 0.0)


class Attention(nn.Module):
    """Scalar attention: e_t = v^T f(W h_t + b) + k (eq. 3), alpha_t = softmax over time (eq. 4); one head or more."""

    def __init__(self, dim: int, hidden_dim: int = 64, heads: int = 1):
        super().__init__()
        self.hidden = nn.Linear(dim, hidden_dim)  # W, b
        self.norm = MaskedBatchNorm(hidden_dim)  # f is ReLU, then this
        self.score = nn.Linear(hidden_dim, heads)  # v, k
        nn.init.kaiming_normal_(self.hidden.weight, nonlinearity="relu")
        nn.init.zeros_(self.hidden.bias)

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """Weights alpha (B, T), or (B, T, H) of several heads, of h (B, T, C): they sum to one over time, zero on
        padding."""
        return self.from_hidden(self.hidden(h), mask)

    def from_hidden(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Weights alpha of W h_t + b (B, T, A)."""
        e = self.score(self.norm(functional.relu(hidden), mask))
        alpha = softmax_over_time(e, mask)
        return alpha.squeeze(-1) if alpha.shape[2] == 1 else alpha


class StatisticsPooling(Pooling):
    """The paper's four: mean, and perhaps standard deviation, under uniform weights or an attention's."""

    def __init__(self, dim: int, options: ArchitectureOptions, attention: bool, deviation: bool):
        super().__init__()
        uneven = attention and dim % options.attention_heads != 0
        check_values(options, "network options", f"a divisor of the encoder's {dim} channels", attention_heads=uneven)
        self.attends, self.deviation = attention, deviation
        self.attention = Attention(dim, options.attention_dim, options.attention_heads) if attention else None
        self.output_dim = dim * (2 if deviation else 1)

    def weights(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """alpha_t or 1/T: (B, T), or (B, T, H) of several heads, of h (B, T, C)."""
        return uniform_weights(h, mask) if self.attention is None else self.attention(h, mask)

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """h (B, T, C) -> (B, output_dim); every recording of the batch needs at least one real frame."""
        h = without_padding(h, mask)
        return statistics(h, self.weights(h, mask), VARIANCE_FLOOR, self.deviation)


class SampleStatistics(Pooling):
    """Mean and deviation of the frames as of a sample: over T - 1."""

    def __init__(self, dim: int, options: ArchitectureOptions):
        super().__init__()
        self.output_dim = 2 * dim

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """h (B, T, C) -> (B, 2 C); of a single frame the deviation is nearly zero."""
        h = without_padding(h, mask)
        weights = uniform_weights(h, mask)
        mean, deviation = statistics(h, weights).chunk(2, dim=1)
        share = weights.amax(dim=1, keepdim=True).to(mean.dtype).clamp(max=0.5)  # 1 / T, of a frame alone 1 / 2
        return torch.cat([mean, deviation * (1 - share).rsqrt()], dim=1)


class ChannelAttentiveStatistics(Pooling):
    """ECAPA-TDNN's: attention for every channel alone, which knows mean and deviation of the whole recording."""

    attends = True

    def __init__(self, dim: int, options: ArchitectureOptions):
        super().__init__()
        self.hidden, self.context = (nn.Linear(n * dim, options.attention_dim, n == 1) for n in (1, 2))  # W, in parts
        self.norm = MaskedBatchNorm(options.attention_dim, 1e-5)
        self.score = nn.Linear(options.attention_dim, dim)
        self.output_dim = 2 * dim
        self.pooled_norm = MaskedBatchNorm(self.output_dim, 1e-5)

    def weights(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """alpha (B, T, C) of h (B, T, C)."""
        hidden = self.hidden(h) + self.context(statistics(h, uniform_weights(h, mask))).unsqueeze(1)
        return softmax_over_time(self.score(self.norm(functional.relu(hidden), mask).tanh()), mask)

    def forward(self, h: Tensor, mask: Tensor | None = None) -> Tensor:
        """h (B, T, C) -> (B, 2 C)."""
        h = without_padding(h, mask)
        return self.pooled_norm(statistics(h, self.weights(h, mask)))


POOLINGS: dict[str, Callable[[int, ArchitectureOptions], Pooling]] = {
    "average": partial(StatisticsPooling, attention=False, deviation=False),
    "attention": partial(StatisticsPooling, attention=True, deviation=False),
    "statistics": partial(StatisticsPooling, attention=False, deviation=True),
    "attentive_statistics": partial(StatisticsPooling, attention=True, deviation=True),
    "sample_statistics": SampleStatistics,
    "channel_attentive_statistics": ChannelAttentiveStatistics,
}
