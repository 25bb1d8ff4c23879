"""Back end: what happens to an embedding between extraction and the score.

References: Okabe et al. 2018, section 4.2 (mean subtraction, whitening, length normalisation, PLDA); Garcia-Romero and
Espy-Wilson, "Analysis of i-vector length normalization" (2011); Kaldi est-pca, ivector-compute-lda,
ivector-normalize-length, transform-vec.

Symbols
  x  (D,)          embedding as extracted                 mean  (D,)   mean of the training embeddings
  A  (R, D) or (R, D + 1)   transform.mat, linear or affine (last column = offset): whitening or LDA
  processed vector = sqrt(R) A (x - mean) / |A (x - mean)|,  (R,)
Model of several recordings, `average`:
  normalised   the average of the processed vectors, length-normalised again
  raw          (Kaldi sre16) the average of the embeddings as extracted, then processed as one vector
Vectors are rows; arithmetic is double precision.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyasp import kaldi
from pyasp.backend import plda_em
from pyasp.backend.plda import Plda, normalising_transform
from pyasp.backend.variants import DevOptions, VariantOptions
from pyasp.core.errors import InputError
from pyasp.core.options import option
from pyasp.core.records import making

FILES = MEAN, TRANSFORM, PLDA = "mean.vec", "transform.mat", "plda"


@dataclass(frozen=True)
class TrainOptions:
    """How the back end is trained."""

    whitening: bool = option(True, "whiten the mean-subtracted training vectors (est-pca --normalize-variance)")
    lda_dim: int = option(0, "project to this many dimensions by LDA; 0 = no LDA, as in the paper")
    lda_total_covariance_factor: float = option(0.0, "share of the total covariance in what LDA normalises")
    train_copies: bool = option(True, "train on augmented copies too; false: on the clean recordings alone")
    plda_iters: int = option(10, "EM iterations of PLDA")
    eigenvalue_floor: float = option(1e-9, "directions with less than this share of the largest variance are dropped")
    max_missing: float = option(0.0, "share of the training utterances that may lack an embedding")


@dataclass(frozen=True)
class ScoreOptions:
    """How trials are scored."""

    scoring: str = option("plda", "how two vectors are compared", choices=("plda", "cosine"))
    average: str = option(
        "normalised", "average of processed vectors, or of raw embeddings (Kaldi sre16)", choices=("normalised", "raw")
    )
    num_utts: bool = option(True, "tell PLDA how many recordings a model averages")
    normalize_length: bool = option(True, "PLDA scales projected vectors to their expected length")
    simple_length_normalization: bool = option(False, "... to length sqrt(dimension) instead")
    max_missing_trials: float = option(0.0, "share of the trials that may lack an embedding; they get the lowest score")
    smoothing: float = option(0.0, "add this share of PLDA's between-speaker covariance to the within-speaker one")


@dataclass(frozen=True)
class BackendOptions(TrainOptions, ScoreOptions, VariantOptions, DevOptions):
    """Everything in a backend.conf: training, scoring and the variants read the same file."""


# ---------------------------------------------------------------- transforms


def global_mean(vectors: np.ndarray) -> np.ndarray:
    """Mean (D,) float64 of the rows of `vectors` (N, D) (ivector-mean)."""
    return vectors.mean(axis=0, dtype=np.float64)


def length_normalise(vectors: np.ndarray, scaleup: bool = True) -> np.ndarray:
    """Rows of `vectors` (N, R) scaled to length sqrt(R), or 1 without `scaleup` (ivector-normalize-length).

    Zero rows stay zero, as in Kaldi.
    """
    vectors = np.asarray(vectors, np.float64)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return vectors * ((np.sqrt(vectors.shape[1]) if scaleup else 1.0) / np.where(lengths > 0, lengths, 1.0))


def apply_transform(matrix: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """A x for each row x of `vectors` (N, D): (N, R) float64. A is linear (R, D) or affine (R, D + 1).

    Raises InputError when neither fits.
    """
    matrix, dim = np.asarray(matrix, np.float64), vectors.shape[1]
    if matrix.shape[1] not in (dim, dim + 1):
        raise InputError(
            "transform",
            f"{matrix.shape[0]} x {matrix.shape[1]} for vectors of dimension {dim}",
            f"{dim} columns (linear) or {dim + 1} (affine)",
            "Use the back end that was trained on these embeddings",
        )
    result = vectors @ matrix[:, :dim].T
    return result + matrix[:, dim] if matrix.shape[1] > dim else result


def pca(
    vectors: np.ndarray,
    dim: int = 0,
    normalize_mean: bool = False,
    normalize_variance: bool = False,
    eigenvalue_floor: float = 0.0,
) -> np.ndarray:
    """Principal axes as rows, by falling variance: (R, D), or affine (R, D + 1) with `normalize_mean` (est-pca).

    The covariance is about the mean in either case, divided by N. `normalize_variance` gives every axis unit variance.
    Axes with less than `eigenvalue_floor` times the largest variance are left out (0: none), so R may be less than
    `dim` (0 = D).
    """
    vectors = np.asarray(vectors, np.float64)
    mean = vectors.mean(axis=0)
    centred = vectors - mean
    values, axes = (array[..., ::-1] for array in np.linalg.eigh(centred.T @ centred / len(vectors)))
    kept = int((values >= eigenvalue_floor * values[0]).sum()) if eigenvalue_floor else len(values)
    kept = min(dim or kept, kept)
    matrix = axes[:, :kept].T
    if normalize_variance:
        matrix = matrix / np.sqrt(np.maximum(values[:kept], 1e-15))[:, None]
    return np.column_stack([matrix, -matrix @ mean]) if normalize_mean else matrix


def lda(
    vectors: np.ndarray,
    labels: np.ndarray,
    dim: int,
    total_covariance_factor: float = 0.0,
    covariance_floor: float = 1e-6,
) -> np.ndarray:
    """Affine LDA (dim, D + 1): within-class covariance unit, the offset removes the mean (ivector-compute-lda).

    `vectors` (N, D), class numbers `labels` (N,). What is normalised is (1 - f) within + f total, f the factor; its
    eigenvalues are floored at `covariance_floor` times the largest.
    """
    mean = global_mean(vectors)
    stats = plda_em.accumulate(vectors - mean, labels)
    within = stats.scatter / len(labels)
    between = (stats.means.T * stats.counts) @ stats.means / len(labels)
    whiten, _ = normalising_transform(within + total_covariance_factor * between, covariance_floor)
    _, axes = np.linalg.eigh(whiten @ between @ whiten.T)
    matrix = axes[:, ::-1][:, :dim].T @ whiten
    return np.column_stack([matrix, -matrix @ mean])


# ---------------------------------------------------------------- the trained back end


@dataclass(frozen=True)
class BackEnd:
    """mean (D,), transform (R, D) or (R, D + 1), PLDA of dimension R."""

    mean: np.ndarray
    transform: np.ndarray
    plda: Plda

    @classmethod
    def read(cls, directory: str | Path) -> BackEnd:
        """Reads mean.vec (float or double), transform.mat and plda, ours or Kaldi's; checks that they fit together."""
        for name in FILES:
            if not (Path(directory) / name).is_file():
                raise InputError(
                    Path(directory) / name, "no such file", "a trained back end", "Run stage 9 (train_backend) first"
                )
        return cls.read_files(*(Path(directory) / name for name in FILES))

    @classmethod
    def read_files(cls, mean_path: Path, transform_path: Path, plda_path: Path) -> BackEnd:
        """As `read`, from three files wherever they lie."""
        mean, transform = (np.asarray(kaldi.load(path), np.float64) for path in (mean_path, transform_path))
        for path, array in ((mean_path, mean), (transform_path, transform)):
            if not np.isfinite(array).all():
                raise InputError(path, "values that are not finite", "finite numbers", "Train the back end again")
        plda = Plda.read(plda_path)
        fits = mean.ndim == 1 and transform.ndim == 2 and transform.shape[1] - len(mean) in (0, 1)
        if not fits or transform.shape[0] != plda.dim:
            raise InputError(
                plda_path.parent,
                f"mean {mean.shape}, transform {transform.shape}, PLDA of {plda.dim}",
                "(D,), (R, D) or (R, D + 1), and R",
                "Train it again: its files do not belong together",
            )
        return cls(mean, transform, plda)

    def write(self, directory: str | Path, made: dict[str, Any]) -> None:
        """Writes the three files with the record `made`, plda last: it tells that all are there."""
        directory = Path(directory)
        with making(directory / MEAN, made) as path:
            kaldi.save(path, self.mean)
        with making(directory / TRANSFORM, made) as path:
            kaldi.save(path, np.asarray(self.transform, np.float32))
        with making(directory / PLDA, made) as path:
            self.plda.write(path)

    def process(self, vectors: np.ndarray) -> np.ndarray:
        """Mean, transform, length normalisation of each row of `vectors` (N, D): (N, R) float64."""
        if vectors.shape[1] != len(self.mean):
            raise InputError(
                "embeddings",
                f"dimension {vectors.shape[1]}",
                f"{len(self.mean)}, the back end's",
                "Use the back end that was trained on embeddings of this system",
            )
        return length_normalise(apply_transform(self.transform, vectors - self.mean))


def average_rows(vectors: np.ndarray, members: list[np.ndarray]) -> np.ndarray:
    """Mean of the rows of `vectors` (N, R) listed in each of `members` (M index arrays): (M, R) float64."""
    if len(members) == 1:
        return np.asarray(vectors, np.float64)[members[0]].mean(axis=0, keepdims=True)
    from scipy import sparse  # here, so that scoring two recordings does not wait for its import

    counts = np.array([len(rows) for rows in members])
    owner, rows = np.repeat(np.arange(len(members)), counts), np.concatenate(members)
    member = sparse.csr_matrix((1.0 / counts[owner], (owner, rows)), shape=(len(members), len(vectors)))
    return np.asarray(member @ np.asarray(vectors, np.float64))


def _enroll_normalised(back_end: BackEnd, vectors: np.ndarray, members: list[np.ndarray]) -> np.ndarray:
    return length_normalise(average_rows(back_end.process(vectors), members))


def _enroll_raw(back_end: BackEnd, vectors: np.ndarray, members: list[np.ndarray]) -> np.ndarray:
    return back_end.process(average_rows(vectors, members))


AVERAGES: dict[str, Callable[[BackEnd, np.ndarray, list[np.ndarray]], np.ndarray]] = {
    "normalised": _enroll_normalised,
    "raw": _enroll_raw,
}


def enroll(back_end: BackEnd, vectors: np.ndarray, members: list[np.ndarray], average: str) -> np.ndarray:
    """Model vectors (M, R) from embeddings (N, D); members[i]: rows of model i's recordings; `average`: AVERAGES."""
    return AVERAGES[average](back_end, vectors, members)


# ---------------------------------------------------------------- training


def check_speakers(labels: np.ndarray, where: object) -> None:
    """Prints the counts and raises InputError when two speakers, or a speaker with two recordings, are lacking."""
    counts = np.bincount(labels)
    single = int((counts == 1).sum())
    print(f"{where}: {len(labels)} recordings of {len(counts)} speakers, {single} speakers with one recording")
    if len(counts) < 2:
        raise InputError(where, f"{len(counts)} speaker", "at least 2", "Give the back end recordings of more speakers")
    if single == len(counts):
        raise InputError(
            where,
            "one recording for every speaker",
            "speakers with two recordings or more",
            "Add recordings: without them the variation within a speaker cannot be estimated",
        )


def estimate_transform(centred: np.ndarray, labels: np.ndarray, options: TrainOptions) -> np.ndarray:
    """Whitening (R, D), LDA (R, D + 1), or the identity, from mean-subtracted vectors (N, D).

    Directions in which the vectors do not vary (fewer vectors than dimensions) are left out, and said so.
    """
    dim = centred.shape[1]
    matrix = pca(centred, normalize_variance=options.whitening, eigenvalue_floor=options.eigenvalue_floor)
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
        raise InputError("--lda-dim", str(options.lda_dim), f"at most {most} (dimensions, speakers - 1)", "Lower it")
    reduced = lda(apply_transform(matrix, centred), labels, options.lda_dim, options.lda_total_covariance_factor)
    return np.column_stack([reduced[:, :-1] @ matrix, reduced[:, -1]])


def train(
    vectors: np.ndarray, labels: np.ndarray, options: TrainOptions, log: Callable[[str], None] = print
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
