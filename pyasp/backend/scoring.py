"""Scoring as linear algebra: every score is a row of one matrix times a row of another, plus two terms.

  score(i, j) = left_i . right_j + model_i + test_{g(i), j}

Symbols
  i, j       model, test recording          g(i)   the group of model i: models of equally many recordings
  left (M, R), right (T, R)                 model (M,), test (G, T)
PLDA (plda.py) expands into this form with u_i, v_j the projected vectors: left = cross_n * u, right = v; the
coefficients depend on the number of recordings n only, hence the groups. A block of trials that is dense in models and
tests is one matrix product; a sparse one takes the products of the listed pairs alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from pyasp.backend.options import ScoreOptions
from pyasp.backend.plda import Plda
from pyasp.backend.transforms import length_normalise

TRIALS_PER_BLOCK = 1 << 20
PAIRS_PER_PRODUCT = 1 << 22  # scores of one matrix product: 32 MB
DENSE_ENOUGH = 20  # a matrix product does so many pairs in the time of one that is gathered
ROWS_AT_ONCE = 128  # test vectors copied side by side: 410 kB at R = 400


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
        rows, row = _numbered(models, len(self.left))
        columns, column = _numbered(tests, len(self.right))
        if rows.size * columns.size <= DENSE_ENOUGH * models.size:
            cross = self._dense(rows, row, columns, column)
        else:
            cross = self._gathered(models, tests)
        return cross + self.model[models] + self.test[self.group[models], tests]

    def cross(self, dtype: type[np.floating] = np.float32) -> Iterator[tuple[int, np.ndarray]]:
        """(first model, scores (m, T)) of all models with all tests, some models at a time, in the precision `dtype`.

        One matrix product each: the terms of models and tests are further columns of left and right.
        """
        member = np.zeros((len(self.left), len(self.test)))
        member[np.arange(len(self.left)), self.group] = 1.0
        left = np.hstack([self.left, self.model[:, None], member]).astype(dtype)
        right = np.hstack([self.right, np.ones((len(self.right), 1)), self.test.T]).astype(dtype)
        yield from _products(left, right)

    def _dense(self, rows: np.ndarray, row: np.ndarray, columns: np.ndarray, column: np.ndarray) -> np.ndarray:
        """Matrix products over ranges of models, from which the listed pairs are picked."""
        order = np.argsort(row, kind="stable")
        cross = np.empty(row.size)
        for start, block in _products(self.left[rows], self.right[columns]):
            first, end = np.searchsorted(row[order], [start, start + len(block)])
            chosen = order[first:end]
            cross[chosen] = block[row[chosen] - start, column[chosen]]
        return cross

    def _gathered(self, models: np.ndarray, tests: np.ndarray) -> np.ndarray:
        """Of each model the tests it is listed with, copied side by side in the cache, times its vector."""
        order = np.argsort(models, kind="stable")
        model, test = models[order], tests[order]
        scores, sorted_scores = np.empty(model.size), np.empty(model.size)
        starts = np.flatnonzero(np.diff(model, prepend=-1)).tolist()
        copied = np.empty((ROWS_AT_ONCE, self.right.shape[1]), self.right.dtype)
        for first, end in zip(starts, [*starts[1:], model.size]):
            for k in range(first, end, ROWS_AT_ONCE):
                stop = min(k + ROWS_AT_ONCE, end)
                chosen = np.take(self.right, test[k:stop], axis=0, out=copied[: stop - k], mode="clip")
                np.vecdot(chosen, self.left[model[k]], out=sorted_scores[k:stop])
        scores[order] = sorted_scores
        return scores


def _numbered(ids: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct ids (k,), rising, and which of them each is (N,): as np.unique; ids are below `size`."""
    used = np.zeros(size, bool)
    used[ids] = True
    return np.flatnonzero(used), (np.cumsum(used) - 1)[ids]


def _products(left: np.ndarray, right: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """(first row, left (m, R) times right (T, R) transposed) for ranges of left's rows; the array is used again."""
    height, common = max(1, PAIRS_PER_PRODUCT // len(right)), np.result_type(left, right)
    left, right = left.astype(common, copy=False), right.astype(common, copy=False)
    out = np.empty((min(height, len(left)), len(right)), common)
    for start in range(0, len(left), height):
        size = min(height, len(left) - start)
        yield start, np.matmul(left[start : start + size], right.T, out=out[:size])


def plda_scorer(
    models: np.ndarray, num_utts: np.ndarray, tests: np.ndarray, plda: Plda, options: ScoreOptions
) -> Scorer:
    """PLDA log-likelihood ratios (ivector-plda-scoring), natural logarithm.

    models (M, D) averaged enrolment vectors, num_utts (M,) their numbers of recordings, tests (T, D).
    """
    plda = plda.smooth(options.smoothing) if options.smoothing else plda
    num_utts = np.asarray(num_utts) if options.num_utts else np.ones(len(models), np.int64)
    u, v = _projected(plda, models, num_utts, options), _projected(plda, tests, np.ones(len(tests)), options)
    values, group = np.unique(num_utts, return_inverse=True)
    cross, own, other, constant = plda.score_terms(values)
    model = (u**2 * own[group]).sum(axis=1) + constant[group]
    return Scorer(u * cross[group], v, model, other @ (v**2).T, group)


def _projected(plda: Plda, vectors: np.ndarray, num_utts: np.ndarray, options: ScoreOptions) -> np.ndarray:
    """Vectors (N, D) in the space of T, scaled as the options say."""
    projected = plda.project(vectors)
    if not options.normalize_length:
        return projected
    return projected * plda.length_factors(projected, num_utts, options.simple_length_normalization)[:, None]


def cosine_scorer(
    models: np.ndarray, num_utts: np.ndarray, tests: np.ndarray, plda: Plda, options: ScoreOptions
) -> Scorer:
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


def score_blocks(
    scorer: Scorer, models: np.ndarray, tests: np.ndarray, block: int = TRIALS_PER_BLOCK
) -> Iterator[np.ndarray]:
    """Scores of a list of trials (models, tests (N,) integers) in its order, float32, at most `block` at a time."""
    for start in range(0, len(models), block):
        yield scorer.pairs(models[start : start + block], tests[start : start + block]).astype(np.float32)


def recording_pca(vectors: np.ndarray, target_energy: float) -> np.ndarray | None:
    """Principal axes (d, D) of one recording's vectors (N, D), as ivector-plda-scoring-dense keeps them.

    One more than the fewest whose variances exceed `target_energy` of the total; None (no PCA) when that is 1.
    """
    if np.isclose(target_energy, 1.0):
        return None
    values, axes = np.linalg.eigh(np.cov(np.asarray(vectors, np.float64).T, bias=True))
    energy = np.cumsum(values[::-1]) / values.sum()
    needed = int((energy > target_energy).argmax()) + 1
    return axes[:, ::-1][:, : needed + 1].T


def dense_scores(
    plda: Plda, vectors: np.ndarray, target_energy: float, options: ScoreOptions = ScoreOptions()
) -> np.ndarray:
    """PLDA scores (N, N) of all pairs of one recording's vectors (N, D); row = enrolment (ivector-plda-scoring-dense).

    With target_energy < 1 vectors and model are first projected on the recording's own principal axes.
    """
    axes = recording_pca(vectors, target_energy)
    if axes is not None:
        vectors, plda = vectors @ axes.T, plda.projected(axes)
    scorer = plda_scorer(vectors, np.ones(len(vectors), np.int64), vectors, plda, options)
    return scorer.left @ scorer.right.T + scorer.model[:, None] + scorer.test[scorer.group]
