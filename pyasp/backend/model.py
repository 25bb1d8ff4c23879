"""The trained back end: what happens to an embedding between extraction and the score.

Reference: Okabe et al. 2018, section 4.2 (mean subtraction, whitening, length normalisation, PLDA).

Symbols
  x  (D,)          embedding as extracted                 mean  (D,)   mean of the training embeddings
  A  (R, D) or (R, D + 1)   transform.mat, linear or affine (last column = offset): whitening or LDA
  processed vector = sqrt(R) A (x - mean) / |A (x - mean)|,  (R,)
Model of several recordings, `average`:
  normalised   the average of the processed vectors, length-normalised again
  raw          (Kaldi sre16) the average of the embeddings as extracted, then processed as one vector
Vectors are rows; arithmetic is double precision.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pyasp.backend import plda_em
from pyasp.backend.options import BackendTrainOptions
from pyasp.backend.plda import Plda
from pyasp.backend.transforms import apply_transform, average_rows, global_mean, lda, length_normalise, pca
from pyasp.core.errors import CannotBeMade, InputError

FEW_SPEAKERS = 50  # from so many on PLDA of i-vectors was always better than cosine (conf/folder/measurements.md)
MOST_LOST = 0.5  # share of the directions that may be left out without a warning


@dataclass(frozen=True)
class BackEnd:
    """mean (D,), transform (R, D) or (R, D + 1), PLDA of dimension R."""

    mean: np.ndarray
    transform: np.ndarray
    plda: Plda

    def process(self, vectors: np.ndarray) -> np.ndarray:
        """Mean, transform, length normalisation of each row of `vectors` (N, D): (N, R) float64."""
        if vectors.shape[1] != len(self.mean):
            cure = "Use the back end that was trained on embeddings of this system"
            raise InputError("embeddings", f"dimension {vectors.shape[1]}", f"{len(self.mean)}, the back end's", cure)
        return length_normalise(apply_transform(self.transform, vectors - self.mean))


def enroll(
    back_end: BackEnd, vectors: np.ndarray, members: list[np.ndarray], average: str = "normalised"
) -> np.ndarray:
    """Model vectors (M, R) from embeddings (N, D); members[i]: rows of model i's recordings; average: see above."""
    if average == "raw":
        return back_end.process(average_rows(vectors, members))
    return length_normalise(average_rows(back_end.process(vectors), members))


# ---------------------------------------------------------------- training


def check_speakers(labels: np.ndarray, where: object) -> None:
    """Prints the counts and raises InputError when two speakers, or a speaker with two recordings, are lacking."""
    counts = np.bincount(labels)
    single = int((counts == 1).sum())
    print(f"{where}: {len(labels)} recordings of {len(counts)} speakers, {single} speakers with one recording")
    if len(counts) < FEW_SPEAKERS:
        print(
            f"warning: {where}: {len(counts)} speakers are few for a back end: its scores are no calibrated "
            "ratios, and error rates may differ much from one set of speakers to another",
            file=sys.stderr,
        )
    if len(counts) < 2:
        raise InputError(where, f"{len(counts)} speaker", "at least 2", "Give the back end recordings of more speakers")
    if single == len(counts):
        cure = "Add recordings: without them the variation within a speaker cannot be estimated"
        raise InputError(where, "one recording for every speaker", "speakers with two recordings or more", cure)


def estimate_transform(centred: np.ndarray, labels: np.ndarray, options: BackendTrainOptions) -> np.ndarray:
    """Whitening (R, D), LDA (R, D + 1), or the identity, from mean-subtracted vectors (N, D).

    Directions in which the vectors do not vary (fewer vectors than dimensions) are left out, and said so.
    """
    dim = centred.shape[1]
    matrix = pca(centred, normalize_variance=options.whitening, eigenvalue_floor=options.eigenvalue_floor)
    if len(matrix) < MOST_LOST * dim:
        print(
            f"warning: the back end has {len(matrix)} of {dim} dimensions, there being so few training vectors "
            f"({len(centred)}): make the vectors smaller (--ivector-dim, --embedding-dim), or bring more recordings",
            file=sys.stderr,
        )
    if len(matrix) < dim:
        print(
            f"reduced dimension: {len(centred)} training vectors vary in {len(matrix)} of {dim} directions; "
            "the back end keeps these"
        )
    elif not options.whitening:
        matrix = np.eye(dim)
    if not options.lda_dim:
        return matrix
    most = min(len(matrix), int(labels.max()))
    if options.lda_dim > most:
        raise CannotBeMade("--lda-dim", str(options.lda_dim), f"at most {most} (dimensions, speakers - 1)", "Lower it")
    reduced = lda(apply_transform(matrix, centred), labels, options.lda_dim, options.lda_total_covariance_factor)
    return np.column_stack([reduced[:, :-1] @ matrix, reduced[:, -1]])


def train(
    vectors: np.ndarray, labels: np.ndarray, options: BackendTrainOptions, log: Callable[[str], None] = print
) -> BackEnd:
    """The back end from training embeddings (N, D) with speaker numbers labels (N,) in 0..K-1."""
    mean = global_mean(vectors)
    centred = np.asarray(vectors, np.float64) - mean
    if not centred.any():
        raise InputError("training embeddings", "identical vectors", "vectors that differ", "Check the extraction")
    # rounded as it is stored: PLDA is trained on what scoring will see
    transform = estimate_transform(centred, labels, options).astype(np.float32)
    ready = length_normalise(apply_transform(transform, centred))
    plda, _ = plda_em.train(plda_em.accumulate(ready, labels), options.plda_iters, log)
    return BackEnd(mean, transform, plda)


def adapt(back_end: BackEnd, vectors: np.ndarray, within: float, between: float) -> BackEnd:
    """The back end for another domain, from its unlabelled embeddings (N, D), as Kaldi's sre16 uses ivector-adapt-plda.

    Their mean replaces the training mean; PLDA's covariances take up the excess variance (shares `within`, `between`)
    of the vectors so processed. Whitening or LDA stay. Reference: Kaldi egs/sre16/v2; plda_em.adapt has the rule.
    """
    moved = BackEnd(global_mean(vectors), back_end.transform, back_end.plda)
    return BackEnd(moved.mean, moved.transform, plda_em.adapt(back_end.plda, moved.process(vectors), within, between))


FOLDS = 5  # parts of the speakers that a back end is adapted to


def draw_folds(count: int, seed: int) -> np.ndarray:
    """The part of each of `count` speakers, (S,) of 0..FOLDS - 1, drawn by seed. CannotBeMade for fewer than FOLDS."""
    if count < FOLDS:
        cure = "Adapt to recordings of more speakers (--adapt-to)"
        raise CannotBeMade("adaptation", f"{count} speakers", f"at least {FOLDS}", cure)
    return np.random.default_rng([seed, 7]).permutation(np.arange(count) % FOLDS)


def adapt_apart(
    back_end: BackEnd, vectors: np.ndarray, folds: np.ndarray, within: float, between: float
) -> dict[tuple[int, int], BackEnd]:
    """{(f, g), f <= g: the back end adapted to the vectors (N, D) of other parts}; folds (N,): each vector's part.

    A trial is scored by the back end that has seen neither of its speakers: adapted to them, PLDA takes what tells them
    apart for variation within speakers. EER of trials among 6, 10, 20 made-up speakers (30 dimensions, 6 recordings),
    adapted to themselves: 40, 19, 7.9 %; to as many others: 3.8, 4.6, 4.3 %; so: 5.7, 4.4, 4.1 %.
    """
    pairs = [(f, g) for f in range(FOLDS) for g in range(f, FOLDS)]
    return {pair: adapt(back_end, vectors[~np.isin(folds, pair)], within, between) for pair in pairs}
