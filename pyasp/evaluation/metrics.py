"""Error rates of a detector: equal error rate and normalised minimum detection cost, exact under ties.

References: Kaldi compute-eer (its EER rule); Brümmer and de Villiers, "The BOSARIS toolkit" (2011) (ROC convex hull);
NIST SRE evaluation plans (detection cost).

Symbols
  t  (n,)  target scores, ascending        u  (m,)  nontarget scores, ascending
  A trial is accepted when score >= threshold.
  misses(x) = #{t < x}, false_alarms(x) = #{u >= x}; P_miss = misses / n, P_fa = false_alarms / m

Between one target score and the next a rising threshold only removes false alarms, so every minimum over all distinct
thresholds is attained at a target score or at reject-all: these n + 1 points are all that is kept (any number of
nontargets costs one sort). Everything is O((n + m) log (n + m)), and work arrays are BLOCK long: what grows with the
number of trials is the scores themselves and, for each target, one ErrorCounts entry of 24 bytes.
"""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from pyasp.core.errors import InputError

COSTS = (0.01, 0.001)  # target priors of the paper's two operating points (C_miss = C_fa = 1)
BLOCK = 1 << 20  # points worked on at a time
POINTS = 300  # of a DET curve, at most about
SEQUENTIAL = 4096  # so few points are left to the sequential hull


@dataclass(frozen=True)
class ErrorCounts:
    """Errors at ascending thresholds, the last one +inf (reject all).

    thresholds (K,) float64; misses, false_alarms (K,) int64; n_target, n_nontarget: numbers of trials.
    """

    thresholds: np.ndarray
    misses: np.ndarray
    false_alarms: np.ndarray
    n_target: int
    n_nontarget: int

    @property
    def p_miss(self) -> np.ndarray:
        """Shares of targets rejected, (K,)."""
        return self.misses / self.n_target

    @property
    def p_fa(self) -> np.ndarray:
        """Shares of nontargets accepted, (K,)."""
        return self.false_alarms / self.n_nontarget

    @functools.cached_property
    def hull(self) -> tuple[np.ndarray, np.ndarray]:
        """Corners of the ROC's convex hull: false alarms, misses, (H,) int64, from accept-all to reject-all. Exact."""
        return _hull(self.false_alarms, self.misses, self.n_nontarget)


def split(scores: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sorted target and nontarget scores, ascending, in the dtype of `scores`.

    scores (N,) float; target (N,) bool. Raises InputError on lengths that differ, scores that are not numbers, or one
    class without a trial.
    """
    if scores.shape != target.shape:
        raise InputError("scores", f"{scores.size} scores", f"{target.size}, one per trial", "Score this list again")
    if np.isnan(scores).any():
        bad, first = np.isnan(scores), int(np.isnan(scores).argmax()) + 1
        found = f"{int(bad.sum())} of {scores.size} that are not a number"
        raise InputError("scores", found, "numbers", "Look for bad embeddings and score again", item=f"trial {first}")
    target_scores, nontarget_scores = np.sort(scores[target]), np.sort(scores[~target])
    if not target_scores.size or not nontarget_scores.size:
        found = f"{target_scores.size} target and {nontarget_scores.size} nontarget trials"
        raise InputError("trials", found, "at least one of each", "Check the labels of the trial list")
    return target_scores, nontarget_scores


def error_counts(t: np.ndarray, u: np.ndarray) -> ErrorCounts:
    """Errors at the distinct target scores and at reject-all.

    t (n,), u (m,): sorted scores, as `split` returns them.
    """
    thresholds = np.unique(t)
    misses = np.append(np.searchsorted(t, thresholds, "left"), t.size).astype(np.int64)
    false_alarms = np.append(u.size - np.searchsorted(u, thresholds, "left"), 0).astype(np.int64)
    return ErrorCounts(np.append(thresholds.astype(np.float64), np.inf), misses, false_alarms, t.size, u.size)


def eer_kaldi(t: np.ndarray, u: np.ndarray) -> tuple[float, float]:
    """EER (a share) and threshold by the rule of Kaldi's compute-eer: nothing is interpolated, EER = k / n.

    The first k with u[m - 1 - floor(m k / n)] < t[k]; the last target is taken untested. t, u: sorted scores.
    """
    n, m = t.size, u.size
    for part in blocks(n - 1):
        k = np.arange(part.start, part.stop, dtype=np.int64)
        crossed = u[m - 1 - m * k // n] < t[part]
        if crossed.any():
            first = part.start + int(crossed.argmax())
            return first / n, float(t[first])
    return (n - 1) / n, float(t[-1])


def blocks(size: int) -> Iterator[slice]:
    """0..size cut into slices of at most BLOCK."""
    return (slice(start, min(start + BLOCK, size)) for start in range(0, size, BLOCK))


def lowest(size: int, cost: Callable[[slice], np.ndarray]) -> tuple[int, float]:
    """Index and value of the first least of `size` costs, which `cost` gives for one slice at a time."""
    best, least = 0, np.inf
    for part in blocks(size):
        values = cost(part)
        place = int(values.argmin())
        if values[place] < least:
            best, least = part.start + place, values[place]
    return best, least


def eer_rocch(counts: ErrorCounts) -> float:
    """EER (a share) on the convex hull of the ROC: where the hull crosses P_miss = P_fa."""
    n, m, (false_alarms, misses) = counts.n_target, counts.n_nontarget, counts.hull
    after = int((misses * m >= false_alarms * n).argmax())  # the first corner on or above the diagonal, never the first
    left, right = ((int(false_alarms[k]), int(misses[k])) for k in (after, after - 1))
    above, below = left[1] / n - left[0] / m, right[0] / m - right[1] / n  # both >= 0, not both 0
    return left[1] / n + above / (above + below) * (right[1] - left[1]) / n


def _corners(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mask of the points that lie below the line through their neighbours (the two ends stay).

    A point on or above a line between two other points is no corner of the hull, whatever else is removed with it.
    """
    keep = np.ones(x.size, bool)
    keep[1:-1] = (x[1:-1] - x[:-2]) * (y[2:] - y[1:-1]) < (y[1:-1] - y[:-2]) * (x[2:] - x[1:-1])
    return keep


def _thin(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Drops points that are no corners, all at once, as long as that removes many."""
    while x.size > SEQUENTIAL:
        keep = _corners(x, y)
        few = np.count_nonzero(keep) > 0.95 * x.size
        x, y = x[keep], y[keep]
        if few:
            break
    return x, y


def _hull(false_alarms: np.ndarray, misses: np.ndarray, n_nontarget: int) -> tuple[np.ndarray, np.ndarray]:
    """Corners (false alarms, misses) of the hull of a curve (K,) that ends in reject-all, and of accept-all."""
    thinned = [_thin(false_alarms[part], misses[part]) for part in blocks(misses.size)]
    first = [np.array([n_nontarget])], [np.array([0])]
    x, y = _thin(*(np.concatenate([*start, *parts]) for start, parts in zip(first, zip(*thinned))))
    chain: list[tuple[int, int]] = []
    for point in zip(x.tolist(), y.tolist()):
        while len(chain) > 1 and _turns_up(chain[-2], chain[-1], point):
            chain.pop()
        if not chain or chain[-1] != point:
            chain.append(point)
    corners = np.array(chain, np.int64)
    return corners[:, 0], corners[:, 1]


def _turns_up(a: tuple[int, int], b: tuple[int, int], c: tuple[int, int]) -> bool:
    """True when b is not below the line from a to c (c further to reject-all than b, b than a)."""
    return (b[0] - a[0]) * (c[1] - b[1]) >= (b[1] - a[1]) * (c[0] - b[0])


def check_point(p_target: float, c_miss: float, c_fa: float) -> None:
    """InputError unless 0 < p_target < 1 and both costs are positive."""
    if not (0 < p_target < 1 and c_miss > 0 and c_fa > 0):
        found, cure = f"p_target {p_target}, c_miss {c_miss}, c_fa {c_fa}", "Correct the operating point"
        raise InputError("detection cost", found, "a prior between 0 and 1 and positive costs", cure)


def min_dcf(counts: ErrorCounts, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> tuple[float, float]:
    """Normalised minimum detection cost and its threshold, over all distinct thresholds and reject-all.

    min over x of (c_miss p P_miss(x) + c_fa (1 - p) P_fa(x)) / min(c_miss p, c_fa (1 - p)). Raises InputError unless
    0 < p_target < 1 and both costs are positive.
    """
    check_point(p_target, c_miss, c_fa)
    miss_cost, fa_cost = c_miss * p_target, c_fa * (1 - p_target)

    def costs(part: slice) -> np.ndarray:
        misses, false_alarms = counts.misses[part] / counts.n_target, counts.false_alarms[part] / counts.n_nontarget
        return miss_cost * misses + fa_cost * false_alarms

    best, cost = lowest(counts.misses.size, costs)
    return float(cost / min(miss_cost, fa_cost)), float(counts.thresholds[best])


class Errors(TypedDict):
    """Counts at a threshold; one beyond every score (reject all) is stored as None: JSON has no infinity."""

    threshold: float | None
    misses: int
    false_alarms: int


def errors_at(t: np.ndarray, u: np.ndarray, threshold: float) -> Errors:
    """Misses and false alarms when scores >= threshold are accepted; t, u: sorted scores."""
    return {
        "threshold": threshold if np.isfinite(threshold) else None,
        "misses": int(np.searchsorted(t, threshold, "left")),
        "false_alarms": int(u.size - np.searchsorted(u, threshold, "left")),
    }


def det_points(counts: ErrorCounts) -> dict[str, list[float]]:
    """P_fa and P_miss (shares) along the curve, at most about POINTS, denser towards few false alarms or misses."""
    size = counts.thresholds.size
    spread = np.geomspace(1, size, POINTS // 2).astype(np.int64) - 1
    keep = np.unique(np.concatenate([spread, size - 1 - spread]))
    return {"p_fa": counts.p_fa[keep].tolist(), "p_miss": counts.p_miss[keep].tolist()}
