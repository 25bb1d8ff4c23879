"""Calibration and fusion: scores become natural-log likelihood ratios by affine logistic regression.

References: Brümmer and van Leeuwen, "On calibration of language recognition scores" (Odyssey 2006); Brümmer et al.,
"Fusion of heterogeneous speaker recognition systems in the STBU submission for the NIST SRE 2006" (2007).

Symbols
  x  (N, F)   one row a trial: the score of each system, then quality measures
  llr = w'x + b;   p  operating prior,  tau = log(p / (1 - p))
  J = p mean over targets of log(1 + exp(-llr - tau)) + (1 - p) mean over nontargets of log(1 + exp(llr + tau))
J is convex; it is minimised by Newton's method on standardised columns. At p = 1/2, J / log 2 is Cllr. A ridge of 1e-6
on the standardised weights keeps them finite where the classes can be separated without an error.

Decision: accept when llr >= log(C_fa (1 - p) / (C_miss p)), whatever the system.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from pyasp.core.errors import InputError

RIDGE = 1e-6
MOST_STEPS = 100


@dataclass(frozen=True)
class Calibration:
    """names: of the F inputs; weights (F,), offset: llr = weights . x + offset; prior it was trained for."""

    names: tuple[str, ...]
    weights: np.ndarray
    offset: float
    prior: float

    def apply(self, inputs: np.ndarray) -> np.ndarray:
        """Log-likelihood ratios (N,) float64 of inputs (N, F). InputError when F differs."""
        if inputs.shape[1] != len(self.weights):
            raise InputError(
                "calibration",
                f"{inputs.shape[1]} inputs",
                f"{len(self.weights)}: {', '.join(self.names)}",
                "Use the systems and quality measures it was trained with",
            )
        return inputs @ self.weights + self.offset

    def as_dict(self) -> dict[str, Any]:
        """For calibration.json."""
        return {"weights": dict(zip(self.names, self.weights.tolist())), "offset": self.offset, "prior": self.prior}

    @classmethod
    def from_dict(cls, stored: dict[str, Any]) -> Calibration:
        """What `as_dict` gave."""
        return cls(
            tuple(stored["weights"]), np.array(list(stored["weights"].values())), stored["offset"], stored["prior"]
        )


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
        raise InputError(
            "calibration",
            f"{int(target.sum())} target and {int((~target).sum())} nontarget trials",
            "some of each",
            "Train it on more speakers, or on another list",
        )
    for name, column in zip(names, inputs.T):
        if not np.isfinite(column).all():
            raise InputError(
                "calibration",
                f"{int((~np.isfinite(column)).sum())} values that are not finite",
                "finite inputs",
                "Check the scores and durations",
                item=name,
            )


def train(inputs: np.ndarray, target: np.ndarray, names: tuple[str, ...], prior: float = 0.5) -> Calibration:
    """The map that minimises J; inputs (N, F), target (N,) bool, prior between 0 and 1.

    A column that does not vary gets weight 0. InputError on inputs that are not finite, or one class alone.
    """
    _check(inputs, target, names, prior)
    centre, scale = inputs.mean(axis=0), inputs.std(axis=0)
    varies = scale > 1e-9 * np.maximum(1.0, np.abs(centre))
    x = np.column_stack([(inputs[:, varies] - centre[varies]) / scale[varies], np.ones(len(inputs))])
    solution = _newton(x, target, prior)
    weights = np.zeros(len(names))
    weights[varies] = solution[:-1] / scale[varies]
    return Calibration(names, weights, float(solution[-1] - weights @ centre), prior)


def _newton(x: np.ndarray, target: np.ndarray, prior: float) -> np.ndarray:
    """Minimum of J + ridge over the columns of x (N, F + 1), the last being ones; steps are halved until J falls."""
    tau = np.log(prior / (1 - prior))
    share = np.where(target, prior / target.sum(), (1 - prior) / (~target).sum())
    ridge = np.full(x.shape[1], RIDGE)
    ridge[-1] = 0.0

    def value(w: np.ndarray) -> float:
        return objective(x @ w, target, prior) + 0.5 * float(ridge @ w**2)

    w = np.zeros(x.shape[1])
    for _ in range(MOST_STEPS):
        posterior = _sigmoid(x @ w + tau)
        gradient = x.T @ (share * (posterior - target)) + ridge * w
        curvature = (x.T * (share * posterior * (1 - posterior))) @ x + np.diag(ridge)
        step, before = np.linalg.lstsq(curvature, gradient, rcond=None)[0], value(w)
        while value(w - step) > before and np.abs(step).max() > 1e-12:
            step = step / 2
        w = w - step
        if np.abs(step).max() < 1e-9 * (1 + np.abs(w).max()):
            break
    return w


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return np.exp(-np.logaddexp(0.0, -z))


def train_halves(
    inputs: np.ndarray, target: np.ndarray, half: tuple[np.ndarray, np.ndarray], names: tuple[str, ...], prior: float
) -> tuple[np.ndarray, list[Calibration]]:
    """Calibrated scores (N,) where neither side was seen in training, and the two models.

    half: of the enrolment and of the test speaker of each trial, each (N,) of 0 and 1. A trial within a half is
    calibrated by the model trained on the other half; one across the halves by the mean of both models.
    """
    models = [
        train(inputs[chosen], target[chosen], names, prior)
        for chosen in ((half[0] == k) & (half[1] == k) for k in (0, 1))
    ]
    by_model = np.stack([model.apply(inputs) for model in models])
    mixed = half[0] != half[1]
    return np.where(mixed, by_model.mean(axis=0), np.where(half[0] == 0, by_model[1], by_model[0])), models
