"""The best few of many scores in each row: which Gaussians a frame selects (Kaldi's gmm-gselect).

On a CPU nearly all scores are ruled out without sorting: a row is folded into FOLD strips, the columns' largest values
are the peaks, and the n-th largest peak is a lower bound of the n-th largest score. What reaches it, a few more than n
of 2048, is compared exactly.
"""

from __future__ import annotations

from typing import Callable

import numpy as np
import torch

FOLD = 16       # strips of a row: one peak for so many scores

Best = tuple[torch.Tensor, torch.Tensor]


def best_by_topk(scores: torch.Tensor, count: int) -> Best:
    """The `count` largest of each row of scores (T, C), falling: values (T, count), int64 columns (T, count)."""
    best = torch.topk(scores, count, dim=1)
    return best.values, best.indices


def best_by_peaks(scores: torch.Tensor, count: int) -> Best:
    """The same, on a CPU; several times faster where C is much larger than `count`."""
    frames, size = scores.shape
    width = size // FOLD
    if width < count or not frames:
        return best_by_topk(scores, count)
    peaks = scores[:, :width * FOLD].unflatten(1, (FOLD, width)).amax(1).numpy()
    bound = np.partition(peaks, width - count, axis=1)[:, width - count]
    values = scores.numpy()
    reached = np.flatnonzero(values >= bound[:, None])
    starts = np.searchsorted(reached, np.arange(frames + 1) * size)
    lengths, rows = np.diff(starts), np.arange(frames)
    longest = int(lengths.max())
    places = np.arange(len(reached)) + np.repeat(rows * longest - starts[:-1], lengths)
    table, columns = np.full(frames * longest, -np.inf, values.dtype), np.zeros(frames * longest, np.int64)
    table[places], columns[places] = values.reshape(-1)[reached], reached - np.repeat(rows * size, lengths)
    kept = best_by_topk(torch.from_numpy(table).view(frames, longest), count)
    return kept[0], torch.from_numpy(columns).view(frames, longest).gather(1, kept[1])


BEST: dict[str, Callable[[torch.Tensor, int], Best]] = {"cpu": best_by_peaks, "cuda": best_by_topk}
