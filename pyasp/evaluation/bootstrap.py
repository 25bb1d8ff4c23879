"""How sure an error rate is: bootstrap over speakers, and tests between two systems on the same trials.

References: Efron and Tibshirani, "An introduction to the bootstrap" (1993), percentile intervals; Poh and Bengio,
"Performance generalization in biometric authentication using joint user-specific and sample bootstraps" (2007).

Trials of one speaker are not independent, so speakers are drawn, with replacement. In a replicate
  w_s     how often speaker s was drawn
  weight  of a trial: w_a w_b for enrolment speaker a and test speaker b, w_a when they are the same one
and every figure is that of the list in which a trial stands `weight` times: exactly, ties included, by counting in the
intervals between the K distinct target scores (as metrics.py does). Lists with more distinct target scores than
MOST_THRESHOLDS are counted in as many quantiles.
"""

from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from pyasp.evaluation import metrics
from pyasp.evaluation.llr import DECISION_PRIORS, bayes_threshold

MOST_THRESHOLDS = 1 << 17
WORK = 2_000_000_000  # trials x replicates at most: fewer replicates for huge lists
MOST_TRIALS = 20_000_000  # above it there is no bootstrap: its arrays would take more memory than the list
LEVEL = 95  # percent
Priors = tuple[float, ...]
DET_GRID = np.geomspace(1e-4, 0.9, 60)  # false-alarm rates at which the band of the DET curve is taken


@dataclass(frozen=True)
class Speakers:
    """Speaker numbers 0..count-1 of both sides of each trial: enroll (N,), test (N,) integers."""

    enroll: np.ndarray
    test: np.ndarray
    count: int


def draw(count: int, generator: np.random.Generator) -> np.ndarray:
    """How often each of `count` speakers is drawn in one replicate, (count,) int64."""
    return np.bincount(generator.integers(count, size=count), minlength=count)


def trial_weights(drawn: np.ndarray, speakers: Speakers) -> np.ndarray:
    """Weight of each trial in a replicate, (N,) int64."""
    weight = drawn[speakers.enroll]
    return np.where(speakers.enroll == speakers.test, weight, weight * drawn[speakers.test])


class Resampler:
    """Figures of replicates of one scored list, from what is prepared once: for targets and for nontargets (in this
    order) speakers, intervals, and a row for each trial of its Cllr and of its errors at the Bayes thresholds."""

    def __init__(self, scores: np.ndarray, target: np.ndarray, speakers: Speakers, p_targets: tuple[float, ...]):
        thresholds = np.unique(scores[target])
        if thresholds.size > MOST_THRESHOLDS:
            thresholds = np.unique(thresholds[np.linspace(0, thresholds.size - 1, MOST_THRESHOLDS).astype(np.int64)])
        self.size, self.p_targets = thresholds.size + 1, p_targets
        self.priors = sorted({*DECISION_PRIORS, *p_targets})
        self.speakers, self.interval, self.rows = [], [], []
        for chosen, sign in ((target, -1.0), (~target, 1.0)):
            own = scores[chosen]
            errors = ((own >= bayes_threshold(p)) == (sign > 0) for p in self.priors)
            self.speakers.append(Speakers(speakers.enroll[chosen], speakers.test[chosen], speakers.count))
            self.interval.append(np.searchsorted(thresholds, own, "right"))  # thresholds <= score
            self.rows.append(np.stack([np.logaddexp(0.0, sign * own) / np.log(2.0), *errors]))

    def replicate(self, drawn: np.ndarray) -> tuple[dict[str, float], metrics.ErrorCounts] | None:
        """{eer (percent), min_dcf/p, act_dcf/p, cllr} and the errors at the thresholds, or None without a class.

        drawn (S,): how often each speaker was drawn.
        """
        weights = [trial_weights(drawn, each) for each in self.speakers]
        counted = (np.bincount(place, weight, self.size) for place, weight in zip(self.interval, weights))
        sums = [each.astype(np.int64).cumsum() for each in counted]
        n, m = int(sums[0][-1]), int(sums[1][-1])
        if not (n and m):
            return None
        counts = metrics.ErrorCounts(np.arange(self.size, dtype=np.float64), sums[0], m - sums[1], n, m)
        shares = zip(self.rows, weights, (n, m))
        miss, false = (rows @ weight.astype(np.float64) / total for rows, weight, total in shares)
        found = {"eer": 100 * eer_kaldi(counts)}
        found |= {f"min_dcf/{p:g}": metrics.min_dcf(counts, p)[0] for p in self.p_targets}
        for k, p in enumerate(self.priors, 1):
            found[f"act_dcf/{p:g}"] = float((p * miss[k] + (1 - p) * false[k]) / min(p, 1 - p))
        return {**found, "cllr": float(miss[0] + false[0]) / 2}, counts


def eer_kaldi(counts: metrics.ErrorCounts) -> float:
    """EER (a share) by the rule of compute-eer, from weighted counts at the distinct target scores and reject-all.

    Target k of n (ascending) is the crossing when floor(m k / n) >= the false alarms at its score, hence the first k of
    each run of equal scores that can be: max(first of the run, ceil(n false_alarms / m)).
    """
    n, m = counts.n_target, counts.n_nontarget
    first = np.maximum(counts.misses[:-1], -(-counts.false_alarms[:-1] * n // m))
    crossed = first < counts.misses[1:]
    return min(int(first[crossed.argmax()]), n - 1) / n if crossed.any() else (n - 1) / n


def miss_rates(counts: metrics.ErrorCounts, p_fa: np.ndarray) -> np.ndarray:
    """P_miss at the lowest threshold whose P_fa is at most each of `p_fa` (ascending shares)."""
    rising = counts.false_alarms[::-1] / counts.n_nontarget
    last = np.searchsorted(rising, p_fa, "right") - 1  # reject-all has P_fa 0: always one
    return counts.misses[::-1][last] / counts.n_target


def how_many(trials: int, wanted: int) -> int:
    """Replicates that are affordable for a list of so many trials; none above MOST_TRIALS."""
    return min(wanted, WORK // trials) if trials <= MOST_TRIALS else 0


def replicates(
    scores: np.ndarray, target: np.ndarray, speakers: Speakers, count: int, seed: int, p_targets: Priors = metrics.COSTS
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """{figure: (R,) float64} of R replicates and P_miss (R, 60) at DET_GRID; NaN where a replicate lacks a class.

    scores (N,) float, target (N,) bool. Two systems with the same list, seed and count have the same draws.
    """
    resampler, generator = Resampler(scores, target, speakers, p_targets), np.random.default_rng([seed, 3])
    rows: list[dict[str, float]] = []
    curves = np.full((count, DET_GRID.size), np.nan)
    for number in range(count):
        found = resampler.replicate(draw(speakers.count, generator))
        rows.append(found[0] if found else {})
        if found:
            curves[number] = miss_rates(found[1], DET_GRID)
    names = max((list(row) for row in rows), key=len)
    return {name: np.array([row.get(name, np.nan) for row in rows]) for name in names}, curves


def interval(values: np.ndarray, level: float = LEVEL) -> list[float] | None:
    """Percentile interval of replicates (R,); None when more than a twentieth of them lack a class."""
    known = values[np.isfinite(values)]
    if not known.size or known.size < 0.95 * values.size:
        return None
    return [float(x) for x in np.percentile(known, [50 - level / 2, 50 + level / 2])]


class Paired(TypedDict):
    """What a system has over another: a - b, its interval and p, both None where too many draws lack a class."""

    difference: float
    ci: list[float] | None
    p: float | None


def paired(a: np.ndarray, b: np.ndarray, difference: float) -> Paired:
    """Two systems on the same draws: a, b (R,) replicates of one figure, `difference` a - b on the list itself.

    p: two-sided, (1 + replicates on the rarer side of zero) / (R + 1), doubled; ties count on both sides. None, as the
    interval is, when more than a twentieth of the replicates lack a class.
    """
    gap, ci = (a - b)[np.isfinite(a - b)], interval(a - b)
    rarer = min(int((gap <= 0).sum()), int((gap >= 0).sum()))
    return {"difference": difference, "ci": ci, "p": min(1.0, 2 * (1 + rarer) / (gap.size + 1)) if ci else None}


def over_runs(values: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Replicates (R,) of the mean over S runs that differ in their seed, from those of each run on the same draws of
    speakers, values (S, R): in each replicate S runs are drawn too, with replacement.

    Few runs are drawn too much alike: their part of the variance comes out (S - 1) / S as large as it is.
    """
    which = generator.integers(len(values), size=values.shape)
    return np.take_along_axis(values, which, axis=0).mean(axis=0)
