"""EM of Gaussian mixtures: statistics that add up, and M-steps as pure functions (Kaldi's mle-diag-gmm, mle-full-gmm).

    gamma_ti   posterior of Gaussian i at frame t                       C Gaussians, x_t of D dimensions
    N_i  = sum_t gamma_ti              count   (C,)
    F_i  = sum_t gamma_ti x_t          first   (C, D)
    S_i  = sum_t gamma_ti x_t x_t^T    second  (C, D, D), or its diagonal (C, D)
    M-step:  w_i = N_i / N,   m_i = F_i / N_i,   Sigma_i = S_i / N_i - m_i m_i^T, floored

Statistics are float64; scores and dense products run in the scorer's precision over one block of frames at a time.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar, Self, TypeVar

import numpy as np
import torch

from pyasp.core.errors import InputError
from pyasp.gmm.model import FullGmm, Gmm
from pyasp.gmm.pairs import SUMS, augmented
from pyasp.gmm.posteriors import Alignment, DiagScorer, frame_chunks

Model = TypeVar("Model", bound=Gmm)
LARGEST = 1e35  # of any sum: its inverse must be a float32


@dataclass
class Stats:
    """Sums over frames, float64: count (C,), first (C, D), second; loglike (), of all frames."""

    count: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor
    loglike: torch.Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))
    frames: int = 0
    order: ClassVar[int]  # dimensions of the second moment of a Gaussian

    @classmethod
    def zeros(cls, num_gauss: int, dim: int, device: torch.device | str = "cpu") -> Self:
        """Empty statistics."""
        new = torch.zeros((), dtype=torch.float64, device=device).new_zeros
        return cls(new(num_gauss), new(num_gauss, dim), new(num_gauss, *cls.order * (dim,)), new(()))


class DiagStats(Stats):
    """Statistics of a diagonal GMM: second (C, D)."""

    order = 1

    def accumulate(
        self, x: torch.Tensor, scorer: DiagScorer, selector: DiagScorer | None = None, num_gselect: int = 0
    ) -> None:
        """E-step of one block. x: (T, D) on the device; all Gaussians, or those that `selector` finds best.

        The log-likelihood is over the Gaussians used, as Kaldi's gmm-global-acc-stats counts it.
        """
        for part in frame_chunks(len(x), scorer.num_gauss, scorer.dtype, scorer.device):
            block = x[part].to(scorer.dtype)
            scores = scorer.loglikes(block)
            if selector is not None and num_gselect < scorer.num_gauss:
                selected = selector.select(block, num_gselect)[1]
                kept = torch.full_like(scores, -torch.inf)
                scores = kept.scatter_(1, selected, scores.gather(1, selected))
            total = torch.logsumexp(scores, 1, keepdim=True)
            posteriors = torch.exp(scores - total).T
            self.count += posteriors.sum(1, dtype=torch.float64)
            self.first += posteriors @ block
            self.second += posteriors @ (block * block)
            self.loglike += total.sum(dtype=torch.float64)
        self.frames += len(x)


class FullStats(Stats):
    """Statistics of a full-covariance GMM: second (C, D, D)."""

    order = 2

    def accumulate(self, x: torch.Tensor, alignment: Alignment, dtype: torch.dtype = torch.float64) -> None:
        """One block. x: (T, D) on the device; alignment: its posteriors; dtype: of products, which are summed up in
        float64."""
        SUMS[x.device.type](augmented(x, dtype), alignment.frame, alignment.gauss, alignment.weight, self)
        self.loglike += alignment.loglike
        self.frames += len(x)


@dataclass(frozen=True)
class UpdateOptions:
    """Limits of an M-step, Kaldi's names and (for diagonal models) defaults.

    update_flags: what is updated, letters of m (means), v (variances), w (weights).
    """

    min_gaussian_weight: float = 1e-5
    min_gaussian_occupancy: float = 10.0
    variance_floor: float = 0.001
    max_condition: float = 1e4  # full covariances only
    remove_low_count: bool = True
    update_flags: str = "mvw"


@dataclass(frozen=True)
class UpdateReport:
    """What an M-step did. objf_change: per frame; low_count: too little data; removed: of these; floored: values."""

    objf_change: float
    low_count: int
    removed: int
    floored: int
    floored_gaussians: int


def objective(model: Gmm, stats: Stats) -> float:
    """Auxiliary function sum_i N_i k_i + F_i^T S_i^-1 m_i - 1/2 tr(S_i^-1 S): its growth bounds the likelihood's."""
    count, first, second = _arrays(stats)
    constants = model.constants()
    weighted = np.where(count > 0, constants * np.where(count > 0, count, 1.0), 0.0).sum()  # 0 log 0 = 0
    if isinstance(model, FullGmm):
        quadratic = np.vdot(second, model.precisions)
    else:
        quadratic = (second * model.inverse).sum()
    return float(weighted + (first * model.linear).sum() - 0.5 * quadratic)


def update(model: Model, stats: Stats, options: UpdateOptions) -> tuple[Model, UpdateReport]:
    """M-step of a GMM (Kaldi's gmm-global-est, fgmm-global-est). Raises InputError when there are no frames."""
    count, first, second = _arrays(stats)
    weights, enough = _weights(count, model, options)
    n = count[enough]
    centre = first[enough] / n[:, None]
    means = centre if "m" in options.update_flags else model.means[enough]
    scatter = second[enough] / n.reshape(-1, *(1,) * stats.order)
    covariances, low = floored(scatter - _square(centre, stats.order) + _square(means - centre, stats.order), options)
    if "v" not in options.update_flags:
        covariances = model.covariances[enough]
    estimated = model.from_moments(weights[enough], means, covariances)
    linear, inverse = model.linear.copy(), model.inverse.copy()
    linear[enough], inverse[enough] = estimated.linear, estimated.inverse
    updated = model.from_natural(weights, linear, inverse)
    change = (objective(updated, stats) - objective(model, stats)) / count.sum()
    short = np.flatnonzero(~enough)
    removed = short[: len(enough) - 1] if options.remove_low_count else short[:0]  # one always stays, as in Kaldi
    report = UpdateReport(float(change), len(short), len(removed), int(low.sum()), int(low.any(1).sum()))
    return updated.keep(np.delete(np.arange(len(enough)), removed)) if len(removed) else updated, report


def floored(covariances: np.ndarray, options: UpdateOptions) -> tuple[np.ndarray, np.ndarray]:
    """Variances (C, D) of at least variance_floor; or covariances (C, D, D) with eigenvalues of at least
    max(variance_floor, largest / max_condition); and which values were lower (C, D) bool."""
    if covariances.ndim == 2:
        return np.maximum(covariances, options.variance_floor), covariances < options.variance_floor
    values, vectors = np.linalg.eigh(covariances)
    floors = np.maximum(options.variance_floor, np.abs(values).max(1, initial=0.0) / options.max_condition)[:, None]
    return (vectors * np.maximum(values, floors)[:, None, :]) @ vectors.transpose(0, 2, 1), values < floors


def _square(x: np.ndarray, order: int) -> np.ndarray:
    """x_i * x_i (C, D), or x_i x_i^T (C, D, D), of x (C, D)."""
    return x * x if order == 1 else x[:, :, None] * x[:, None, :]


def _arrays(stats: Stats) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Count, first, second as arrays. Raises InputError unless they are finite, and small enough for float32 models."""
    count, first, second = stats.count.cpu().numpy(), stats.first.cpu().numpy(), stats.second.cpu().numpy()
    largest = float(np.max([np.abs(part).max(initial=0.0) for part in (count, first, second)]))  # NaN stays NaN
    if not largest < LARGEST:
        cure = "Look for features that are not finite, or huge: pyasp show DATA/feats.scp"
        raise InputError("GMM statistics", f"sums up to {largest:g}", f"finite sums below {LARGEST:g}", cure)
    return count, first, second


def _weights(count: np.ndarray, model: Gmm, options: UpdateOptions) -> tuple[np.ndarray, np.ndarray]:
    """New weights (C,), and the mask of Gaussians with enough data to estimate the rest."""
    total = count.sum()
    if not np.isfinite(total) or total <= 0.0:
        found, cure = f"a total count of {total}", "Check that the training recordings have voiced frames"
        raise InputError("GMM statistics", found, "at least one frame", cure)
    share = count / total
    enough = (count > options.min_gaussian_occupancy) & (share > options.min_gaussian_weight)
    if "w" not in options.update_flags:
        return model.weights, enough
    return np.where(enough, share, np.maximum(share, options.min_gaussian_weight)), enough
