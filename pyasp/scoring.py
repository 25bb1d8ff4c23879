"""Scoring as linear algebra: every score is a row of one matrix times a row of another, plus two terms.

  score(i, j) = left_i . right_j + model_i + test_{g(i), j}

Symbols
  i, j       model, test recording          g(i)   the group of model i: models of equally many recordings
  left (M, R), right (T, R)                 model (M,), test (G, T)
PLDA (plda.py) expands into this form with u_i, v_j the projected vectors: left = cross_n * u, right = v; the
coefficients depend on the number of recordings n only, hence the groups. A block of trials that is dense in models and
tests is one matrix product; a sparse one takes the products of the listed pairs alone.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable, Iterator

import numpy as np

from pyasp.backend import ScoreOptions, length_normalise
from pyasp.plda import Plda

TRIALS_PER_BLOCK = 1 << 20
PAIRS_PER_PRODUCT = 1 << 22    # scores of one matrix product: 32 MB
DENSE_ENOUGH = 30              # a matrix product does so many pairs in the time of one gathered pair


@dataclass(frozen=True)
class Scorer:
    """left (M, R), right (T, R), model (M,), test (G, T), group (M,) int: see the module's head. All float64."""

    left: np.ndarray
    right: np.ndarray
    model: np.ndarray
    test: np.ndarray
    group: np.ndarray

    def pairs(self, models: np.ndarray, tests: np.ndarray) -> np.ndarray:
        """Scores (N,) of the trials models[k], tests[k] (both (N,) integers)."""
        rows, row = np.unique(models, return_inverse=True)
        columns, column = np.unique(tests, return_inverse=True)
        if rows.size * columns.size <= DENSE_ENOUGH * models.size:
            cross = self._dense(rows, row, columns, column)
        else:
            cross = self._gathered(models, tests)
        return cross + self.model[models] + self.test[self.group[models], tests]

    def _dense(self, rows: np.ndarray, row: np.ndarray, columns: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Matrix products over ranges of models, from which the listed pairs are picked."""
        order, height = np.argsort(row, kind="stable"), max(1, PAIRS_PER_PRODUCT // columns.size)
        bounds = np.searchsorted(row[order], np.arange(0, rows.size + height, height))
        right, cross = self.right[columns].T, np.empty(row.size)
        for number, (start, end) in enumerate(zip(bounds, bounds[1:])):
            chosen = order[start:end]
            block = self.left[rows[number * height:(number + 1) * height]] @ right
            cross[chosen] = block[row[chosen] - number * height, column[chosen]]
        return cross

    def _gathered(self, models: np.ndarray, tests: np.ndarray) -> np.ndarray:
        step = max(1, PAIRS_PER_PRODUCT // self.left.shape[1])
        return np.concatenate([np.einsum("ij,ij->i", self.left[models[k:k + step]], self.right[tests[k:k + step]])
                               for k in range(0, models.size, step)])


def plda_scorer(models: np.ndarray, num_utts: np.ndarray, tests: np.ndarray, plda: Plda,
                options: ScoreOptions) -> Scorer:
    """PLDA log-likelihood ratios (ivector-plda-scoring), natural logarithm.

    models (M, D) averaged enrolment vectors, num_utts (M,) their numbers of recordings, tests (T, D).
    """
    plda = plda.smooth(options.smoothing) if options.smoothing else plda
    num_utts = np.asarray(num_utts) if options.num_utts else np.ones(len(models), np.int64)
    u, v = _projected(plda, models, num_utts, options), _projected(plda, tests, np.ones(len(tests)), options)
    values, group = np.unique(num_utts, return_inverse=True)
    terms = [plda.score_terms(int(n)) for n in values]
    cross, own, other = (np.array(rows) for rows in zip(*((t.cross, t.model, t.test) for t in terms)))
    model = (u ** 2 * own[group]).sum(axis=1) + np.array([t.constant for t in terms])[group]
    return Scorer(u * cross[group], v, model, other @ (v ** 2).T, group)


def _projected(plda: Plda, vectors: np.ndarray, num_utts: np.ndarray, options: ScoreOptions) -> np.ndarray:
    """Vectors (N, D) in the space of T, scaled as the options say."""
    projected = plda.project(vectors)
    if not options.normalize_length:
        return projected
    return projected * plda.length_factors(projected, num_utts, options.simple_length_normalization)[:, None]


def cosine_scorer(models: np.ndarray, num_utts: np.ndarray, tests: np.ndarray, plda: Plda,
                  options: ScoreOptions) -> Scorer:
    """Cosines of models (M, D) and tests (T, D); the number of recordings, PLDA and the other options play no part."""
    left, right = length_normalise(models, scaleup=False), length_normalise(tests, scaleup=False)
    return dot_scorer(left, right)


def dot_scorer(left: np.ndarray, right: np.ndarray) -> Scorer:
    """Dot products of left (M, R) and right (T, R) as they are (ivector-compute-dot-products)."""
    return Scorer(left, right, np.zeros(len(left)), np.zeros((1, len(right))), np.zeros(len(left), np.int64))


SCORERS: dict[str, Callable[[np.ndarray, np.ndarray, np.ndarray, Plda, ScoreOptions], Scorer]] = {
    "plda": plda_scorer,
    "cosine": cosine_scorer,
}


def score_blocks(scorer: Scorer, models: np.ndarray, tests: np.ndarray,
                 block: int = TRIALS_PER_BLOCK) -> Iterator[np.ndarray]:
    """Scores of a list of trials (models, tests (N,) integers) in its order, float32, at most `block` at a time."""
    for start in range(0, len(models), block):
        yield scorer.pairs(models[start:start + block], tests[start:start + block]).astype(np.float32)


def recording_pca(vectors: np.ndarray, target_energy: float) -> np.ndarray | None:
    """Principal axes (d, D) of one recording's vectors (N, D), as ivector-plda-scoring-dense keeps them.

    One more than the fewest whose variances exceed `target_energy` of the total; None (no PCA) when that is 1.
    """
    if np.isclose(target_energy, 1.0):
        return None
    values, axes = np.linalg.eigh(np.cov(np.asarray(vectors, np.float64).T, bias=True))
    energy = np.cumsum(values[::-1]) / values.sum()
    needed = int((energy > target_energy).argmax()) + 1
    return axes[:, ::-1][:, :needed + 1].T


def dense_scores(plda: Plda, vectors: np.ndarray, target_energy: float,
                 options: ScoreOptions = ScoreOptions()) -> np.ndarray:
    """PLDA scores (N, N) of all pairs of one recording's vectors (N, D); row = enrolment (ivector-plda-scoring-dense).

    With target_energy < 1 vectors and model are first projected on the recording's own principal axes.
    """
    axes = recording_pca(vectors, target_energy)
    if axes is not None:
        vectors, plda = vectors @ axes.T, plda.projected(axes)
    scorer = plda_scorer(vectors, np.ones(len(vectors), np.int64), vectors, plda, options)
    return scorer.left @ scorer.right.T + scorer.model[:, None] + scorer.test[scorer.group]
