"""Calibration and fusion: scores become natural-log likelihood ratios by affine logistic regression.

References: Brümmer and van Leeuwen, "On calibration of language recognition scores" (Odyssey 2006); Brümmer et al.,
"Fusion of heterogeneous speaker recognition systems in the STBU submission for the NIST SRE 2006" (2007).

Symbols
  x  (N, F)   one row a trial: the score of each system, then quality measures
  llr = w'x + b;   p  operating prior,  tau = log(p / (1 - p))
  J = p mean over targets of log(1 + exp(-llr - tau)) + (1 - p) mean over nontargets of log(1 + exp(llr + tau))
J is convex; it is minimised by Newton's method on standardised columns. At p = 1/2, J / log 2 is Cllr. A ridge of
2 min(p, 1 - p) RIDGE / (trials of the rarer class) on the standardised weights keeps them moderate where trials are few
or the classes can be separated without an error, and vanishes as trials grow. Over 30 draws of two Gaussians (d' = 3;
the best possible Cllr is 0.24) the mean Cllr on other trials is, with it and without: 3 target trials 0.32, 2.12; 10:
0.26, 0.32; 30: 0.246, 0.246.

Decision: accept when llr >= log(C_fa (1 - p) / (C_miss p)), whatever the system.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from pyasp.core.errors import CannotBeMade, InputError
from pyasp.core.text import grouped

RIDGE = 0.1  # of 0, 0.1 and 1 the best at 1 to 100 target trials and d' of 2, 3 and 5
MOST_STEPS = 100
FEW_TRIALS = 30  # of a class: fewer say little (Doddington's rule)
FEW_SPEAKERS = 10


@dataclass(frozen=True)
class Trained:
    """What a calibration was trained on: trials of each class, speakers (0: unknown), whether its scores separate the
    classes without an error."""

    n_target: int
    n_nontarget: int
    speakers: int = 0
    separable: bool = False

    def doubts(self) -> list[str]:
        """Why the ratios are worth less than those of a calibration should be; nothing when they are sound."""
        found = [
            f"{count} {name} trials, fewer than {FEW_TRIALS}"
            for name, count in (("target", self.n_target), ("nontarget", self.n_nontarget))
            if count < FEW_TRIALS
        ]
        if 0 < self.speakers < FEW_SPEAKERS:
            found.append(f"{self.speakers} speakers, fewer than {FEW_SPEAKERS}")
        if self.separable:
            found.append("trials that the scores separate without an error, so that no slope follows from them")
        return found

    def told(self) -> str:
        """'212 target and 3 000 nontarget trials of 40 speakers; nothing is known of ratios beyond -5.4 to +8.0'."""
        of = f" of {self.speakers} speakers" if self.speakers else ""
        low, high = -np.log(max(self.n_target, 1)), np.log(max(self.n_nontarget, 1))
        return (
            f"{grouped(self.n_target)} target and {grouped(self.n_nontarget)} nontarget trials{of}; "
            f"a ratio below {low:+.1f} or above {high:+.1f} is beyond what they can show"
        )


@dataclass(frozen=True)
class Calibration:
    """names: of the F inputs; weights (F,), offset: llr = weights . x + offset; prior it was trained for, and on what
    (None in a calibration.json of before it was noted)."""

    names: tuple[str, ...]
    weights: np.ndarray
    offset: float
    prior: float
    trained: Trained | None = None

    def apply(self, inputs: np.ndarray) -> np.ndarray:
        """Log-likelihood ratios (N,) float64 of inputs (N, F). InputError when F differs."""
        if inputs.shape[1] != len(self.weights):
            found, cure = f"{inputs.shape[1]} inputs", "Use the systems and quality measures it was trained with"
            raise InputError("calibration", found, f"{len(self.weights)}: {', '.join(self.names)}", cure)
        return inputs @ self.weights + self.offset

    def as_dict(self) -> dict[str, Any]:
        """For calibration.json."""
        known = {"weights": dict(zip(self.names, self.weights.tolist())), "offset": self.offset, "prior": self.prior}
        return {**known, **asdict(self.trained), "doubts": self.trained.doubts()} if self.trained else known

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Calibration:
        """What `as_dict` gave."""
        weights = stored["weights"]
        values = np.array(list(weights.values()))
        return cls(tuple(weights), values, stored["offset"], stored["prior"], trained_on(stored))


def trained_on(stored: dict[str, Any]) -> Trained | None:
    """What a model of a calibration.json was trained on; None where it is not noted."""
    known = {each.name: stored[each.name] for each in fields(Trained) if each.name in stored}
    return Trained(**known) if "n_target" in known else None


def doubts_of(models: Sequence[dict[str, Any]]) -> list[str]:
    """What is to be said against models of a calibration.json; that of one half of the speakers says so."""
    half = ", in one of the halves" if len(models) > 1 else ""
    each = (trained.doubts() if (trained := trained_on(model)) else model.get("doubts", ()) for model in models)
    return [doubt + half for doubt in dict.fromkeys(itertools.chain.from_iterable(each))]


def pooled(models: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """What models of a calibration.json were trained on together, such as those of two halves, with its doubts: the
    same entries as in each of them; nothing where one does not say."""
    found = [trained_on(model) for model in models]
    parts = [each for each in found if each]
    if not parts or len(parts) < len(found):
        return {}
    counts = {name: sum(getattr(each, name) for each in parts) for name in ("n_target", "n_nontarget", "speakers")}
    trained = Trained(**counts, separable=any(each.separable for each in parts))
    return {**asdict(trained), "doubts": doubts_of(models)}


def objective(llr: np.ndarray, target: np.ndarray, prior: float) -> float:
    """J of log-likelihood ratios (N,) with labels (N,) bool."""
    tau = np.log(prior / (1 - prior))
    return float(
        prior * np.logaddexp(0, -llr[target] - tau).mean() + (1 - prior) * np.logaddexp(0, llr[~target] + tau).mean()
    )


def _check(inputs: np.ndarray, target: np.ndarray, names: tuple[str, ...], prior: float) -> None:
    if not 0 < prior < 1:
        raise InputError("--calibration-prior", str(prior), "between 0 and 1", "Correct backend.conf")
    if target.all() or not target.any():
        found, expected = f"{int(target.sum())} target and {int((~target).sum())} nontarget trials", "some of each"
        raise CannotBeMade("calibration", found, expected, "Train it on more speakers, or on another list")
    for name, column in zip(names, inputs.T):
        if not np.isfinite(column).all():
            found, expected = f"{int((~np.isfinite(column)).sum())} values that are not finite", "finite inputs"
            raise InputError("calibration", found, expected, "Check the scores and durations", item=name)


Sides = tuple[np.ndarray, np.ndarray]  # numbers of the enrolment and of the test speaker of each trial, (N,) each


def train(
    inputs: np.ndarray, target: np.ndarray, names: tuple[str, ...], prior: float = 0.5, sides: Sides | None = None
) -> Calibration:
    """The map that minimises J; inputs (N, F), target (N,) bool, prior between 0 and 1; sides: to count speakers.

    A column that does not vary gets weight 0. InputError on inputs that are not finite, CannotBeMade on one class
    alone.
    """
    _check(inputs, target, names, prior)
    centre, scale = inputs.mean(axis=0), inputs.std(axis=0)
    varies = scale > 1e-9 * np.abs(centre)
    x = np.column_stack([(inputs[:, varies] - centre[varies]) / scale[varies], np.ones(len(inputs))])
    solution = _newton(x, target, prior)
    weights = np.zeros(len(names))
    weights[varies] = solution[:-1] / scale[varies]
    llr, speakers = x @ solution, np.unique(np.concatenate(sides)).size if sides else 0
    trained = Trained(int(target.sum()), int((~target).sum()), speakers, bool(llr[target].min() > llr[~target].max()))
    return Calibration(names, weights, float(solution[-1] - weights @ centre), prior, trained)


def _newton(x: np.ndarray, target: np.ndarray, prior: float) -> np.ndarray:
    """Minimum of J + ridge over the columns of x (N, F + 1), the last being ones; steps are halved until J falls."""
    tau = np.log(prior / (1 - prior))
    share = np.where(target, prior / target.sum(), (1 - prior) / (~target).sum())
    ridge = np.full(x.shape[1], 2 * min(prior, 1 - prior) * RIDGE / min(target.sum(), (~target).sum()))
    ridge[-1] = 0.0

    def value(w: np.ndarray) -> float:
        """What is minimised over the weights and the offset w (K + 1,)."""
        return objective(x @ w, target, prior) + 0.5 * float(ridge @ w**2)

    w = np.zeros(x.shape[1])
    for _ in range(MOST_STEPS):
        posterior = np.exp(-np.logaddexp(0.0, -(x @ w + tau)))
        gradient = x.T @ (share * (posterior - target)) + ridge * w
        curvature = (x.T * (share * posterior * (1 - posterior))) @ x + np.diag(ridge)
        step, before = np.linalg.lstsq(curvature, gradient, rcond=None)[0], value(w)
        while value(w - step) > before and np.abs(step).max() > 1e-12:
            step = step / 2
        w = w - step
        if np.abs(step).max() < 1e-9 * (1 + np.abs(w).max()):
            break
    return w


def lacking_in_halves(target: np.ndarray, half: Sides) -> list[str]:
    """What stands against a calibration by halves: each half's trials where one class is missing; target (N,) bool."""
    inside = [target[(half[0] == k) & (half[1] == k)] for k in (0, 1)]
    return [
        f"{int(mine.sum())} target and {int((~mine).sum())} nontarget trials within half {number} of the speakers"
        for number, mine in enumerate(inside, 1)
        if mine.all() or not mine.any()
    ]


def train_halves(
    inputs: np.ndarray,
    target: np.ndarray,
    half: Sides,
    names: tuple[str, ...],
    prior: float,
    sides: Sides | None = None,
) -> tuple[np.ndarray, list[Calibration]]:
    """Calibrated scores (N,) where neither side was seen in training, and the two models.

    half: of the enrolment and of the test speaker of each trial, each (N,) of 0 and 1. A trial within a half is
    calibrated by the model trained on the other half; one across the halves by the mean of both models.
    """
    lacking = lacking_in_halves(target, half)
    if lacking:
        cure = "It takes trials of at least four speakers: calibrate on dev speakers or on another list"
        raise CannotBeMade("calibration by halves of the speakers", lacking[0], "some of each", cure)
    models = []
    for mine in ((half[0] == k) & (half[1] == k) for k in (0, 1)):
        own = (sides[0][mine], sides[1][mine]) if sides else None
        models.append(train(inputs[mine], target[mine], names, prior, own))
    by_model = np.stack([model.apply(inputs) for model in models])
    mixed = half[0] != half[1]
    return np.where(mixed, by_model.mean(axis=0), np.where(half[0] == 0, by_model[1], by_model[0])), models
