"""What is done to a vector before PLDA: mean, principal axes (whitening), LDA, length normalisation, averages.

References: Garcia-Romero and Espy-Wilson, "Analysis of i-vector length normalization" (2011); Kaldi est-pca,
ivector-compute-lda, ivector-normalize-length, transform-vec.

Vectors are rows; arithmetic is double precision.
"""

import numpy as np

from pyasp.backend import plda_em
from pyasp.backend.plda import normalising_transform
from pyasp.core.errors import InputError


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
        found = f"{matrix.shape[0]} x {matrix.shape[1]} for vectors of dimension {dim}"
        cure = "Use the back end that was trained on these embeddings"
        raise InputError("transform", found, f"{dim} columns (linear) or {dim + 1} (affine)", cure)
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


def average_rows(vectors: np.ndarray, members: list[np.ndarray]) -> np.ndarray:
    """Mean of the rows of `vectors` (N, R) listed in each of `members` (M index arrays): (M, R) float64."""
    if len(members) == 1:
        return np.asarray(vectors, np.float64)[members[0]].mean(axis=0, keepdims=True)
    from scipy import sparse  # here, so that scoring two recordings does not wait for its import

    counts = np.array([len(rows) for rows in members])
    owner, rows = np.repeat(np.arange(len(members)), counts), np.concatenate(members)
    member = sparse.csr_matrix((1.0 / counts[owner], (owner, rows)), shape=(len(members), len(vectors)))
    return np.asarray(member @ np.asarray(vectors, np.float64))
