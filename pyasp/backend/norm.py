"""Score normalisation with a cohort: Z-, T-, S- and adaptive S-norm.

References: Auckenthaler et al., "Score normalization for text-independent speaker verification systems" (2000) (Z, T);
Kenny, "Bayesian speaker verification with heavy-tailed priors" (2010) (S); Matějka et al., "Analysis of score
normalization in multilingual speaker recognition" (2017) (adaptive S).

Symbols
  s_ij       score of model i and test recording j
  z_i, d_i   mean and standard deviation of model i's scores against the cohort (as tests)
  t_j, e_j   mean and standard deviation of test j's scores against the cohort (as models)
  znorm (s - z_i) / d_i    tnorm (s - t_j) / e_j    snorm the mean of both
  asnorm  snorm where z, d (t, e) are taken over the K highest scores of model i (test j) alone
A cohort vector is one clean recording, or the length-normalised average of a speaker's, which as a model counts as many
recordings. Cohort members of model i's own speaker are left out of z_i, d_i, those of test j's of t_j, e_j: a cohort
stands for other speakers, as it will when it is used.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pyasp.backend.model import BackEnd, enroll
from pyasp.backend.options import BackendOptions
from pyasp.backend.scoring import SCORERS, Scorer
from pyasp.core.errors import CannotBeMade

AT_ONCE = 1 << 22  # scores against the cohort held at a time


def moments(scores: np.ndarray, top: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation (N,) of each row of scores (N, C); of its `top` highest alone when that is positive.

    CannotBeMade when a row has fewer than two scores, or its scores are all the same.
    """
    if scores.shape[1] < 2:
        found, expected = f"{scores.shape[1]} cohort members that are not the trial's own speaker", "at least 2"
        cure = "Raise --cohort-size, or take more speakers into the cohort"
        raise CannotBeMade("score normalisation", found, expected, cure)
    if 0 < top < scores.shape[1]:
        scores = np.partition(scores, scores.shape[1] - top, axis=1)[:, -top:]
    deviation = scores.std(axis=1)
    if not (deviation > 0).all():
        found = f"{int((~(deviation > 0)).sum())} models or tests whose scores against the cohort do not vary"
        expected, cure = "a cohort of different speakers", "Raise --cohort-size or --cohort-top"
        raise CannotBeMade("score normalisation", found, expected, cure)
    return scores.mean(axis=1), deviation


def model_scores(scorer: Scorer, models: np.ndarray) -> np.ndarray:
    """Scores (len(models), T) of some models with every test recording."""
    return scorer.left[models] @ scorer.right.T + scorer.model[models, None] + scorer.test[scorer.group[models]]


def test_scores(scorer: Scorer, tests: np.ndarray) -> np.ndarray:
    """Scores (len(tests), M) of some test recordings with every model."""
    return (scorer.left @ scorer.right[tests].T + scorer.model[:, None] + scorer.test[scorer.group][:, tests]).T


def cohort_moments(
    scorer: Scorer, rows: Callable[[Scorer, np.ndarray], np.ndarray], speakers: np.ndarray, cohort: np.ndarray, top: int
) -> tuple[np.ndarray, np.ndarray]:
    """`moments` of a row of scores for each of `speakers` (N,), those of its own speaker in `cohort` (C,) left out.

    Both hold names of speakers; rows: model_scores or test_scores, a block of them at a time.
    """
    mean, deviation = np.empty(len(speakers)), np.empty(len(speakers))
    own = np.where(np.isin(speakers, cohort), speakers, "")  # "": nobody of the cohort
    step = max(1, AT_ONCE // len(cohort))
    for name in np.unique(own):
        mine = np.flatnonzero(own == name)
        others = slice(None) if name == "" else cohort != name
        for start in range(0, len(mine), step):
            part = mine[start : start + step]
            mean[part], deviation[part] = moments(rows(scorer, part)[:, others], top)
    return mean, deviation


def standardised(scores: np.ndarray, mean: np.ndarray, deviation: np.ndarray) -> np.ndarray:
    """Scores (N,) by the moments (N,) of one of their sides."""
    return (scores - mean) / deviation


@dataclass(frozen=True)
class Norm:
    """Whether the model's scores against the cohort count, and the test's; of each the highest alone (--cohort-top);
    what scores become by the moments of one side. Of two sides the mean is taken."""

    model: bool = True
    test: bool = True
    top: bool = False
    formula: Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray] = standardised


FORMULAS = {"znorm": Norm(test=False), "tnorm": Norm(model=False), "snorm": Norm(), "asnorm": Norm(top=True)}


class Cohort:
    """Cohort vectors (C, R), processed and averaged by member; numbers of recordings and names of speakers (C,)."""

    def __init__(
        self,
        back_end: BackEnd,
        vectors: np.ndarray,
        members: list[np.ndarray],
        speakers: list[str],
        options: BackendOptions,
    ):
        self.back_end, self.options, self.speakers = back_end, options, np.array(speakers)
        self.vectors = enroll(back_end, vectors, members)
        self.num_utts = np.array([len(rows) for rows in members])

    def normalise(
        self,
        kind: str,
        scores: np.ndarray,
        models: tuple[np.ndarray, np.ndarray],
        tests: np.ndarray,
        pairs: tuple[np.ndarray, np.ndarray],
        speakers: tuple[np.ndarray, np.ndarray],
    ) -> np.ndarray:
        """Scores (N,) normalised. kind: one of FORMULAS; models: vectors (M, R) and their numbers of recordings; tests
        (T, R), processed; pairs: model and test number of each trial; speakers: names of those of the models (M,) and
        the tests (T,)."""
        norm, score, plda = FORMULAS[kind], SCORERS[self.options.scoring], self.back_end.plda
        top, found = self.options.cohort_top if norm.top else 0, []
        if norm.model:
            scorer = score(*models, self.vectors, plda, self.options)
            mean, deviation = cohort_moments(scorer, model_scores, speakers[0], self.speakers, top)
            found.append(norm.formula(scores, mean[pairs[0]], deviation[pairs[0]]))
        if norm.test:
            scorer = score(self.vectors, self.num_utts, tests, plda, self.options)
            mean, deviation = cohort_moments(scorer, test_scores, speakers[1], self.speakers, top)
            found.append(norm.formula(scores, mean[pairs[1]], deviation[pairs[1]]))
        return np.mean(found, axis=0)
