"""The best few of many scores in each row: which Gaussians a frame selects (Kaldi's gmm-gselect).

On a CPU nearly all scores are ruled out without sorting: a row is folded into strips, the columns' largest values are
the peaks, and the n-th largest peak is a lower bound of the n-th largest score. What reaches it, a few more than n of
2048, is sorted: all rows at once, as one list of integers that hold row, score and column.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

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
