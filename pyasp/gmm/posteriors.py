"""Log-likelihoods, Gaussian selection and pruned posteriors of many frames at once (torch, CPU or CUDA).

    log w_i N(x; m_i, S_i) = k_i + b_i^T x - 1/2 p_i^T x^2            diagonal: ONE product [1, x, x^2] [k; b; -p/2]
                           = k_i - 1/2 |L_i^T (x - m_i)|^2,  S_i^-1 = L_i L_i^T        full covariance

T frames x (T, D) of D dimensions, C Gaussians, n of them selected for each frame; a pair is one (frame, Gaussian).
Full covariances are evaluated for the selected pairs only, gathered by Gaussian: each one's are one product
[x, 1] [L_i; -m_i^T L_i] (`pairs`). No loop runs over frames or recordings.

The best few of many scores: on a CPU nearly all are ruled out without sorting. A row is folded into strips, the
columns' largest values are the peaks, and the n-th largest peak is a lower bound of the n-th largest score. What
reaches it, a few more than n of 2048, is sorted: all rows at once, as one list of integers that hold row, score and
column.
Formulas and pruning: Kaldi's gmm-gselect, fgmm-global-gselect-to-post.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import torch

from pyasp.core.threads import in_threads
from pyasp.gmm.model import DiagGmm, FullGmm
from pyasp.gmm.pairs import DISTANCES, augmented, padded

DTYPES = {"float32": torch.float32, "float64": torch.float64}
SCORE_BYTES = {"cpu": 2 << 20, "cuda": 1 << 30}  # of one block of dense scores: stays in the cache on a CPU
PAIR_BYTES = {"cpu": 1 << 30, "cuda": 4 << 30}  # of the pairs of a block of frames
FOLDS = (32, 16, 8, 4)  # strips of a row, at most: one peak for so many scores
PEAKS = 3  # at least so many peaks for one that is wanted: fewer give a bound that many scores reach
LARGEST = (1 << 31) - 1  # of the bits of a float32 without its sign

Best = tuple[torch.Tensor, torch.Tensor]


def best_by_topk(scores: torch.Tensor, count: int) -> Best:
    """The `count` largest of each row of scores (T, C), falling: values (T, count), int64 columns (T, count)."""
    best = torch.topk(scores, count, dim=1)
    return best.values, best.indices


def best_by_peaks(scores: torch.Tensor, count: int) -> Best:
    """The same, for float32 on a CPU several times faster where C is much larger than `count`; of equal scores the
    first column comes first."""
    frames, size = scores.shape
    fold = next((fold for fold in FOLDS if size // fold >= PEAKS * count), 0)
    if not fold or not frames or scores.dtype != torch.float32:
        return best_by_topk(scores, count)
    width = size // fold
    peaks = scores[:, : width * fold].unflatten(1, (fold, width)).amax(1).numpy()
    bound = np.partition(peaks, width - count, axis=1)[:, width - count]
    values = scores.numpy()
    reached = np.flatnonzero(values >= bound[:, None])
    starts = np.searchsorted(reached, np.arange(frames + 1) * size)
    row, bits = np.repeat(np.arange(frames), np.diff(starts)), (size - 1).bit_length()
    keys = (row << (32 + bits)) + (_falling(values.reshape(-1)[reached]) << bits) + (reached - row * size)
    keys.sort()
    columns = torch.from_numpy(keys[starts[:-1, None] + np.arange(count)] & ((1 << bits) - 1))
    return scores.gather(1, columns), columns


def _falling(values: np.ndarray) -> np.ndarray:
    """int64 from 0 to 2^32 - 1 that fall where the float32 values rise."""
    bits = values.view(np.int32).astype(np.int64)
    return np.where(bits < 0, bits + (1 << 32), LARGEST - bits)


BEST: dict[str, Callable[[torch.Tensor, int], Best]] = {"cpu": best_by_peaks, "cuda": best_by_topk}


def frame_chunks(num_frames: int, columns: int, dtype: torch.dtype, device: torch.device) -> Iterator[slice]:
    """Slices of frames whose (frames, columns) scores stay within the memory set aside for them."""
    step = max(64, SCORE_BYTES[device.type] // (columns * dtype.itemsize))
    return (slice(start, min(start + step, num_frames)) for start in range(0, num_frames, step))


class DiagScorer:
    """A diagonal GMM on a device. dtype float32 is enough to select; float64 agrees with the model to round-off."""

    def __init__(self, model: DiagGmm, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32):
        self.device, self.dtype, self.num_gauss, self.dim = torch.device(device), dtype, model.num_gauss, model.dim
        p, b = model.inverse.astype(np.float64), model.linear.astype(np.float64)
        rows = np.concatenate([model.gconsts[:, None].astype(np.float64), b, -0.5 * p], 1)
        self.parameters = torch.as_tensor(rows.T.copy()).to(self.device, dtype)  # (1 + 2 D, C)

    def loglikes(self, x: torch.Tensor) -> torch.Tensor:
        """x: (T, D) on the scorer's device -> (T, C) log w_i N(x_t; m_i, S_i) in the scorer's dtype."""
        terms = torch.ones((len(x), len(self.parameters)), dtype=self.dtype, device=self.device)
        terms[:, 1 : 1 + self.dim] = x
        torch.square(terms[:, 1 : 1 + self.dim], out=terms[:, 1 + self.dim :])
        return terms @ self.parameters

    def select(self, x: torch.Tensor, count: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The `count` best Gaussians of each frame, best first (Kaldi's gmm-gselect).

        x: (T, D) -> log-likelihoods (T, n) and int64 indices (T, n), n = min(count, C).
        """
        count, best = min(count, self.num_gauss), BEST[self.device.type]
        parts = in_threads(
            lambda part: best(self.loglikes(x[part]), count),
            frame_chunks(len(x), self.num_gauss, self.dtype, self.device),
        )
        return torch.cat([values for values, _ in parts]), torch.cat([columns for _, columns in parts])


class FullScorer:
    """A full-covariance GMM on a device: matrices (C, W, W) as in `pairs`, [L_i; -m_i^T L_i] padded with zeros."""

    def __init__(self, model: FullGmm, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float32):
        self.device, self.dtype, self.num_gauss, self.dim = torch.device(device), dtype, model.num_gauss, model.dim
        roots, projected, _ = model.factors()
        constants = model.gconsts + 0.5 * (projected * projected).sum(1)  # Kaldi scores with the float32 constants
        self.constants = torch.as_tensor(constants).to(self.device, dtype)
        wide = padded(self.dim)
        self.matrices = torch.zeros((self.num_gauss, wide, wide), dtype=dtype, device=self.device)
        self.matrices[:, : self.dim, : self.dim] = torch.as_tensor(roots).to(self.device, dtype)
        self.matrices[:, self.dim, : self.dim] = torch.as_tensor(-projected).to(self.device, dtype)

    def loglikes(self, x: torch.Tensor, selected: torch.Tensor) -> torch.Tensor:
        """x: (T, D), selected: (T, n) int64 -> (T, n) log w_i N(x_t; m_i, S_i) of the selected Gaussians."""
        result = torch.empty(selected.shape, dtype=self.dtype, device=self.device)
        step = max(1, PAIR_BYTES[self.device.type] // (64 * selected.shape[1]))
        for start in range(0, len(x), step):
            part = slice(start, start + step)
            result[part] = self._pairs(augmented(x[part], self.dtype), selected[part])
        return result

    def _pairs(self, x: torch.Tensor, selected: torch.Tensor) -> torch.Tensor:
        frame = torch.arange(len(x), device=self.device).repeat_interleave(selected.shape[1])
        flat = selected.reshape(-1)
        distances = DISTANCES[self.device.type](x, self.matrices, frame, flat)
        return (self.constants[flat] - 0.5 * distances).reshape(selected.shape)


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
    loglike: () float64, sum over frames of the log-likelihood over the selected Gaussians."""

    frame: torch.Tensor
    gauss: torch.Tensor
    weight: torch.Tensor
    loglike: torch.Tensor


class Aligner:
    """Frames to posteriors: selection by a diagonal GMM, full covariances of the selected, pruning.

    num_gselect: Gaussians selected for each frame; min_post: smallest posterior that is kept; scale: posterior scale.
    The selection model must have the Gaussians of the full model.
    """

    def __init__(
        self,
        selector: DiagGmm,
        full: FullGmm,
        num_gselect: int,
        min_post: float = 0.0,
        scale: float = 1.0,
        device: torch.device | str = "cpu",
        dtype: torch.dtype = torch.float32,
    ):
        assert selector.num_gauss == full.num_gauss and selector.dim == full.dim
        self.selector, self.full = DiagScorer(selector, device, dtype), FullScorer(full, device, dtype)
        self.num_gselect, self.min_post, self.scale = num_gselect, min_post, scale
        self.device, self.num_gauss, self.dim = torch.device(device), full.num_gauss, full.dim

    def __call__(self, x: torch.Tensor) -> Alignment:
        """x: (T, D) on the device -> Alignment."""
        _, selected = self.selector.select(x, self.num_gselect)
        found = align(self.full.loglikes(x, selected), selected, self.min_post)
        return replace(found, weight=found.weight * self.scale)  # Kaldi's scale-post


def align(loglikes: torch.Tensor, selected: torch.Tensor, min_post: float = 0.0) -> Alignment:
    """Softmax over the selected Gaussians, then pruning. loglikes, selected: (T, n).

    Posteriors are rounded to float32, as Kaldi's tables hold them: those below 1e-45 are zero and drop out.
    """
    total = torch.logsumexp(loglikes.double(), 1, keepdim=True)
    posteriors = prune(torch.exp(loglikes.double() - total), min_post).float()
    frame, column = torch.nonzero(posteriors, as_tuple=True)
    return Alignment(frame, selected[frame, column], posteriors[frame, column].double(), total.sum())
