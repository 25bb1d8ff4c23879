"""Log-likelihoods, Gaussian selection and pruned posteriors of many frames at once (torch, CPU or CUDA).

    log w_i N(x; m_i, S_i) = k_i + b_i^T x - 1/2 p_i^T x^2            diagonal: ONE product [x, x^2] [b; -p/2]
                           = k_i - 1/2 |L_i^T (x - m_i)|^2,  S_i^-1 = L_i L_i^T        full covariance

T frames x (T, D) of D dimensions, C Gaussians, n of them selected for each frame; a pair is one (frame, Gaussian).
Full covariances are evaluated for the selected pairs only: pairs are sorted by Gaussian, Gaussians of similar counts
form one padded batch, each batch is one batched product. No loop runs over frames or recordings.
Formulas and pruning: Kaldi's gmm-gselect, fgmm-global-gselect-to-post.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterator

import numpy as np
import torch

from pyasp.gmm import DiagGmm, FullGmm, full_factors

DTYPES = {"float32": torch.float32, "float64": torch.float64}
SCORE_BYTES = {"cpu": 32 << 20, "cuda": 1 << 30}  # of one block of dense scores: near the cache on a CPU
GROUP_PAIRS = {"cpu": 1 << 14, "cuda": 1 << 20}  # pairs in one batched product


@dataclass(frozen=True)
class Groups:
    """Pairs of a batch of Gaussians. gauss: (G,); pairs: (G, n) indices of pairs; valid: (G, n), false where padded."""

    gauss: torch.Tensor
    pairs: torch.Tensor
    valid: torch.Tensor


def grouped(gauss: torch.Tensor, num_gauss: int) -> Iterator[Groups]:
    """Pairs gathered by their Gaussian; each Gaussian that has pairs comes up exactly once.

    gauss: (P,) int64, the Gaussian of each pair. The order is a function of the input alone.
    """
    limit = GROUP_PAIRS[gauss.device.type]
    order = torch.argsort(gauss, stable=True)
    counts = torch.bincount(gauss, minlength=num_gauss)
    starts = counts.cumsum(0) - counts
    by_count = torch.argsort(counts, descending=True, stable=True)
    sizes = counts[by_count].tolist()
    begin, used = 0, sum(size > 0 for size in sizes)
    while begin < used:
        longest = sizes[begin]
        end = min(used, begin + max(1, limit // longest))
        chosen = by_count[begin:end]
        offsets = torch.arange(longest, device=gauss.device)
        valid = offsets < counts[chosen, None]
        positions = torch.where(valid, starts[chosen, None] + offsets, starts[chosen, None])
        yield Groups(chosen, order[positions], valid)
        begin = end


def frame_chunks(num_frames: int, columns: int, dtype: torch.dtype, device: torch.device) -> Iterator[slice]:
    """Slices of frames whose (frames, columns) scores stay within the memory set aside for them."""
    step = max(64, SCORE_BYTES[device.type] // (columns * dtype.itemsize))
    return (slice(start, min(start + step, num_frames)) for start in range(0, num_frames, step))


class DiagScorer:
    """A diagonal GMM on a device. dtype float32 is enough to select; float64 agrees with the model to round-off."""

    def __init__(self, model: DiagGmm, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32):
        self.device, self.dtype, self.num_gauss, self.dim = torch.device(device), dtype, model.num_gauss, model.dim
        p, b = model.inv_vars.astype(np.float64), model.means_invvars.astype(np.float64)
        self.constants = torch.as_tensor(model.gconsts).to(self.device, dtype)
        self.parameters = torch.as_tensor(np.concatenate([b, -0.5 * p], 1).T.copy()).to(self.device, dtype)

    def loglikes(self, x: torch.Tensor) -> torch.Tensor:
        """x: (T, D) on the scorer's device -> (T, C) log w_i N(x_t; m_i, S_i) in the scorer's dtype."""
        x = x.to(self.dtype)
        return torch.addmm(self.constants, torch.cat([x, x * x], 1), self.parameters)

    def select(self, x: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The `count` best Gaussians of each frame, best first (Kaldi's gmm-gselect).

        x: (T, D) -> log-likelihoods (T, n) and int64 indices (T, n), n = min(count, C).
        """
        count = min(count, self.num_gauss)
        parts = [torch.topk(self.loglikes(x[part]), count, dim=1)
                 for part in frame_chunks(len(x), self.num_gauss, self.dtype, self.device)]
        if not parts:
            none = torch.zeros((0, count), device=self.device)
            return none.to(self.dtype), none.long()
        return torch.cat([part.values for part in parts]), torch.cat([part.indices for part in parts])


class FullScorer:
    """A full-covariance GMM on a device; differences x - m_i are taken before the product, so float32 loses little."""

    def __init__(self, model: FullGmm, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32):
        self.device, self.dtype, self.num_gauss, self.dim = torch.device(device), dtype, model.num_gauss, model.dim
        roots, projected, _ = full_factors(model.weights, model.means_invcovars, model.inv_covars)
        constants = model.gconsts + 0.5 * (projected * projected).sum(1)  # Kaldi scores with the float32 constants
        self.roots, self.projected, self.constants = (
            torch.as_tensor(a).to(self.device, dtype) for a in (roots, projected, constants))

    def loglikes(self, x: torch.Tensor, selected: torch.Tensor) -> torch.Tensor:
        """x: (T, D), selected: (T, n) int64 -> (T, n) log w_i N(x_t; m_i, S_i) of the selected Gaussians."""
        x, result = x.to(self.dtype), torch.empty(selected.shape, dtype=self.dtype, device=self.device)
        for part in frame_chunks(len(x), selected.shape[1] * self.dim, self.dtype, self.device):
            result[part] = self._pairs(x[part], selected[part])
        return result

    def _pairs(self, x: torch.Tensor, selected: torch.Tensor) -> torch.Tensor:
        result = torch.empty(selected.numel(), dtype=self.dtype, device=self.device)
        width = selected.shape[1]
        for group in grouped(selected.reshape(-1), self.num_gauss):
            frames = x[group.pairs // width]  # (G, n, D)
            y = torch.baddbmm(self.projected[group.gauss, None], frames, self.roots[group.gauss], beta=-1)
            scores = self.constants[group.gauss, None] - 0.5 * y.square().sum(2)
            result[group.pairs[group.valid]] = scores[group.valid]
        return result.reshape(selected.shape)

    def all_loglikes(self, x: torch.Tensor) -> torch.Tensor:
        """x: (T, D) -> (T, C) for every Gaussian."""
        every = torch.arange(self.num_gauss, device=self.device).expand(len(x), -1)
        return self.loglikes(x, every)

    def select(self, x: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The `count` best Gaussians of each frame by the full covariances, best first (Kaldi's fgmm-gselect)."""
        best = torch.topk(self.all_loglikes(x), min(count, self.num_gauss), dim=1)
        return best.values, best.indices


def prune(posteriors: torch.Tensor, min_post: float) -> torch.Tensor:
    """Posteriors below `min_post` set to zero and the rest scaled to sum to one; the best is kept if none is left.

    posteriors: (T, n), rows that sum to one.
    """
    if min_post <= 0.0:
        return posteriors
    kept = torch.where(posteriors < min_post, 0.0, posteriors)
    total = kept.sum(1, keepdim=True)
    best = torch.zeros_like(kept).scatter_(1, posteriors.argmax(1, keepdim=True), 1.0)
    return torch.where(total > 0, kept / total, best)


@dataclass(frozen=True)
class Alignment:
    """Posteriors of frames as pairs. frame, gauss: (P,) int64, sorted by frame; weight: (P,) float64 in (0, 1];
    loglike: sum over frames of the log-likelihood over the selected Gaussians."""

    frame: torch.Tensor
    gauss: torch.Tensor
    weight: torch.Tensor
    loglike: float

    @classmethod
    def from_dense(cls, selected: torch.Tensor, posteriors: torch.Tensor, loglike: float = 0.0) -> Alignment:
        """selected: (T, n) int64; posteriors: (T, n), zeros are left out."""
        frame, column = torch.nonzero(posteriors, as_tuple=True)
        return cls(frame, selected[frame, column], posteriors[frame, column].double(), loglike)

    def scaled(self, scale: float) -> Alignment:
        """All weights times `scale` (Kaldi's scale-post)."""
        return Alignment(self.frame, self.gauss, self.weight * scale, self.loglike)


class Aligner:
    """Frames to posteriors: selection by a diagonal GMM, full covariances of the selected, pruning.

    num_gselect: Gaussians selected for each frame; min_post: smallest posterior that is kept; scale: posterior scale.
    The selection model must have the Gaussians of the full model.
    """

    def __init__(self, selector: DiagGmm, full: FullGmm, num_gselect: int, min_post: float = 0.0, scale: float = 1.0,
                 device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32):
        assert selector.num_gauss == full.num_gauss and selector.dim == full.dim
        self.selector, self.full = DiagScorer(selector, device, dtype), FullScorer(full, device, dtype)
        self.num_gselect, self.min_post, self.scale = num_gselect, min_post, scale
        self.device, self.num_gauss, self.dim = torch.device(device), full.num_gauss, full.dim

    def __call__(self, x: torch.Tensor) -> Alignment:
        """x: (T, D) on the device -> Alignment."""
        _, selected = self.selector.select(x, self.num_gselect)
        return align(self.full.loglikes(x, selected), selected, self.min_post).scaled(self.scale)


def align(loglikes: torch.Tensor, selected: torch.Tensor, min_post: float = 0.0) -> Alignment:
    """Softmax over the selected Gaussians, then pruning. loglikes, selected: (T, n).

    Posteriors are rounded to float32, as Kaldi's tables hold them: those below 1e-45 are zero and drop out.
    """
    total = torch.logsumexp(loglikes.double(), 1, keepdim=True)
    posteriors = prune(torch.exp(loglikes.double() - total), min_post).float()
    return Alignment.from_dense(selected, posteriors, float(total.sum()))
