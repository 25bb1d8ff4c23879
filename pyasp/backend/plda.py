"""Two-covariance PLDA: the model, and its scores as linear algebra.

References: Ioffe, "Probabilistic linear discriminant analysis" (ECCV 2006); Kaldi plda.h (same model).

  y ~ N(m, B)          speaker
  x | y ~ N(y, W)      recording
  T W T' = I, T B T' = diag(psi)                 stored form: m, T, psi (descending, >= 0)

Symbols
  D          dimension of the vectors
  m    (D,)  mean           T    (D, D)  transform        psi  (D,)  between-speaker variances in the space of T
  u    (D,)  T (mean of n enrolment vectors - m)          v    (D,)  T (test vector - m)
Score = log N(v; n psi/(n psi + 1) u, 1 + psi/(n psi + 1)) - log N(v; 0, 1 + psi), summed over dimensions.
All arithmetic is double precision.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pyasp.core.errors import InputError

EIGENVALUE_FLOOR = 1e-12  # of the largest: below it a within-speaker variance is round-off


def normalising_transform(covariance: np.ndarray, floor: float = EIGENVALUE_FLOOR) -> tuple[np.ndarray, int]:
    """A (D, D) with A C A' = I, and the number of eigenvalues raised to `floor` times the largest one."""
    if not np.isfinite(covariance).all() or not covariance.any():
        found = "values that are not finite" if covariance.any() else "no variation at all"
        cure = "Look for identical recordings, and vectors that are not finite"
        raise InputError("within-class covariance", found, "vectors that vary within a class", cure)
    values, vectors = np.linalg.eigh(covariance)
    low = values < floor * values[-1]
    return (vectors / np.sqrt(np.where(low, floor * values[-1], values))).T, int(low.sum())


def diagonalise(
    within: np.ndarray, between: np.ndarray, floor: float = EIGENVALUE_FLOOR
) -> tuple[np.ndarray, np.ndarray, int]:
    """T (D, D) and psi (D,) with T W T' = I and T B T' = diag(psi), psi descending and floored at 0.

    The third value counts the eigenvalues of `within` that had to be floored. Rows of T are determined up to sign.
    """
    whiten, floored = normalising_transform(within, floor)
    psi, vectors = np.linalg.eigh(whiten @ between @ whiten.T)
    return vectors[:, ::-1].T @ whiten, np.maximum(psi[::-1], 0.0), floored


@dataclass(frozen=True)
class Plda:
    """mean (D,), transform (D, D), psi (D,), all float64."""

    mean: np.ndarray
    transform: np.ndarray
    psi: np.ndarray

    def __post_init__(self) -> None:
        dim = self.mean.shape[0]
        if self.transform.shape != (dim, dim) or self.psi.shape != (dim,):
            found = f"mean {self.mean.shape}, transform {self.transform.shape}, psi {self.psi.shape}"
            raise InputError("PLDA", found, "(D,), (D, D) and (D,)", "Train the back end again")

    @property
    def dim(self) -> int:
        """Dimension D."""
        return self.mean.shape[0]

    @classmethod
    def from_covariances(cls, mean: np.ndarray, within: np.ndarray, between: np.ndarray) -> Plda:
        """The model with these parameters: mean (D,), within and between (D, D)."""
        transform, psi, _ = diagonalise(within, between)
        return cls(np.asarray(mean, np.float64), transform, psi)

    def covariances(self) -> tuple[np.ndarray, np.ndarray]:
        """Within and between covariances (D, D) that the stored form stands for."""
        inverse = np.linalg.inv(self.transform)
        return inverse @ inverse.T, (inverse * self.psi) @ inverse.T

    def smooth(self, factor: float) -> Plda:
        """Adds `factor` times the between-speaker covariance to the within-speaker one, then rescales the space so that
        the latter is unit again (ivector-copy-plda --smoothing)."""
        within = 1.0 + factor * self.psi
        return Plda(self.mean, self.transform / np.sqrt(within)[:, None], self.psi / within)

    def projected(self, matrix: np.ndarray) -> Plda:
        """The model of A x for A (D', D): its mean and covariances follow, then they are diagonalised again."""
        within, between = self.covariances()
        return Plda.from_covariances(matrix @ self.mean, matrix @ within @ matrix.T, matrix @ between @ matrix.T)

    def project(self, vectors: np.ndarray) -> np.ndarray:
        """T (x - m) for each row of `vectors` (N, D): (N, D) float64."""
        return (np.asarray(vectors, np.float64) - self.mean) @ self.transform.T

    def length_factors(self, projected: np.ndarray, num_utts: np.ndarray, simple: bool = False) -> np.ndarray:
        """Factors (N,) that bring projected vectors (N, D) to their expected length; num_utts (N,) recordings averaged.

        sqrt(D / sum_i u_i^2 / (psi_i + 1/n)); `simple` ignores the model: sqrt(D) / |u|. A zero vector keeps factor 1.
        """
        expected = 1.0 if simple else self.psi + 1.0 / np.asarray(num_utts, np.float64)[:, None]
        energy = (projected**2 / expected).sum(axis=1)
        return np.where(energy > 0, np.sqrt(self.dim / np.where(energy > 0, energy, 1.0)), 1.0)

    def score_terms(self, num_utts: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """The score of a model of n recordings as constant + sum_i (cross_i u_i v_i + model_i u_i^2 + test_i v_i^2):
        cross, model, test (G, D) and constant (G,) of some numbers n (G,)."""
        n = num_utts[:, None]
        shrink = n * self.psi / (n * self.psi + 1.0)
        given, alone = 1.0 + self.psi / (n * self.psi + 1.0), 1.0 + self.psi
        constant = 0.5 * np.log(alone / given).sum(axis=1)
        return shrink / given, -0.5 * shrink**2 / given, 0.5 * (1.0 / alone - 1.0 / given), constant
