"""Gaussian mixture models, diagonal and full covariance, as Kaldi stores them (DiagGmm, FullGmm of src/gmm).

    p(x) = sum_i w_i N(x; m_i, S_i)                        C Gaussians, x of D dimensions
    weights  (C,)            w_i
    linear   (C, D)          S_i^-1 m_i
    inverse  (C, D)          diagonal of S_i^-1, of a diagonal model
             (C, D(D+1)/2)   lower triangle of S_i^-1, row by row, of a full one
    gconsts  (C,)            log w_i - 1/2 (D log 2 pi + log|S_i| + m_i^T S_i^-1 m_i)

All parameters are float32, the precision of the files: a model in memory and the one read back are the same bits.
Everything derived from them (means, covariances, constants) is computed in float64.
"""

import abc
import math
from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from pyasp.core.errors import InputError
from pyasp.core.packed import pack, unpack

LOG_2PI = math.log(2.0 * math.pi)
FULL = "full-covariance GMM"  # where an error is, unless a file is named


@dataclass(frozen=True)
class Gmm(abc.ABC):
    """What both kinds share; the fields are the float32 arrays of the module's legend."""

    weights: np.ndarray
    linear: np.ndarray
    inverse: np.ndarray
    gconsts: np.ndarray

    @property
    def num_gauss(self) -> int:
        """C."""
        return len(self.weights)

    @property
    def dim(self) -> int:
        """D."""
        return self.linear.shape[1]

    @property
    @abc.abstractmethod
    def means(self) -> np.ndarray:
        """(C, D) float64."""

    @property
    @abc.abstractmethod
    def covariances(self) -> np.ndarray:
        """float64: variances (C, D) of a diagonal model, (C, D, D) of a full one."""

    @classmethod
    @abc.abstractmethod
    def from_moments(cls, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> Self:
        """From weights (C,), means (C, D) and covariances as above."""

    @abc.abstractmethod
    def constants(self, where: object = FULL) -> np.ndarray:
        """gconsts in float64, -inf without weight. InputError, naming `where`, when some S_i^-1 cannot be one."""

    @classmethod
    def from_natural(cls, weights: np.ndarray, linear: np.ndarray, inverse: np.ndarray, where: object = FULL) -> Self:
        """From the stored parameters, rounded to float32; the constants are computed from the rounded values.

        Raises InputError when an inverse covariance is not positive definite.
        """
        weights, linear, inverse = (np.ascontiguousarray(a, np.float32) for a in (weights, linear, inverse))
        model = cls(weights, linear, inverse, weights)
        return replace(model, gconsts=model.constants(where).astype(np.float32))

    def keep(self, which: np.ndarray) -> Self:
        """The Gaussians of a boolean mask (C,) or of indices, weights scaled to sum to one."""
        weights = self.weights[which].astype(np.float64)
        return self.from_natural(weights / weights.sum(), self.linear[which], self.inverse[which])


class DiagGmm(Gmm):
    """Diagonal covariances."""

    @property
    def covariances(self) -> np.ndarray:
        """Variances (C, D) float64."""
        return 1.0 / self.inverse.astype(np.float64)

    @property
    def means(self) -> np.ndarray:
        """(C, D) float64."""
        return self.linear.astype(np.float64) * self.covariances

    @classmethod
    def from_moments(cls, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> Self:
        """From weights (C,), means (C, D) and variances (C, D)."""
        inverse = (1.0 / np.asarray(covariances, np.float64)).astype(np.float32)
        return cls.from_natural(weights, np.asarray(means, np.float64).astype(np.float32) * inverse, inverse)

    def constants(self, where: object = FULL) -> np.ndarray:
        """log w_i - 1/2 (D log 2 pi + log|S_i| + m_i^T S_i^-1 m_i), (C,) float64."""
        b, p = self.linear.astype(np.float64), self.inverse.astype(np.float64)
        with np.errstate(divide="ignore"):
            weights = np.log(self.weights.astype(np.float64))
        return weights - 0.5 * (self.dim * LOG_2PI - np.log(p).sum(1) + (b * b / p).sum(1))


class FullGmm(Gmm):
    """Full covariances."""

    @property
    def precisions(self) -> np.ndarray:
        """S_i^-1 (C, D, D) float64."""
        return unpack(self.inverse.astype(np.float64))

    @property
    def covariances(self) -> np.ndarray:
        """(C, D, D) float64."""
        return np.linalg.inv(self.precisions)

    @property
    def means(self) -> np.ndarray:
        """(C, D) float64."""
        return np.linalg.solve(self.precisions, self.linear.astype(np.float64)[..., None])[..., 0]

    @classmethod
    def from_moments(cls, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> Self:
        """From weights (C,), means (C, D) and covariances (C, D, D)."""
        inverse = pack(np.linalg.inv(np.asarray(covariances, np.float64))).astype(np.float32)
        linear = np.einsum("cij,cj->ci", unpack(inverse.astype(np.float64)), np.asarray(means, np.float64))
        return cls.from_natural(weights, linear, inverse)

    @classmethod
    def from_diag(cls, diag: DiagGmm) -> Self:
        """The same density with (diagonal) covariance matrices, as Kaldi's gmm-global-to-fgmm."""
        packed = np.zeros((diag.num_gauss, diag.dim * (diag.dim + 1) // 2), np.float32)
        packed[:, np.cumsum(np.arange(1, diag.dim + 1)) - 1] = diag.inverse
        return cls.from_natural(diag.weights, diag.linear, packed)

    def to_diag(self) -> DiagGmm:
        """Same means, only the diagonals of the covariances, as Kaldi's fgmm-global-to-gmm."""
        return DiagGmm.from_moments(self.weights, self.means, np.diagonal(self.covariances, axis1=1, axis2=2))

    def factors(self, where: object = FULL) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What scoring needs, float64: L_i (C, D, D) with S_i^-1 = L_i L_i^T, L_i^T m_i (C, D), and
        log w_i - 1/2 (D log 2 pi + log|S_i|) (C,). Raises InputError when some S_i^-1 is not positive definite."""
        root = cholesky(self.precisions, where)
        projected = np.linalg.solve(root, self.linear.astype(np.float64)[..., None])[..., 0]
        with np.errstate(divide="ignore"):
            constants = np.log(self.weights.astype(np.float64)) - 0.5 * self.dim * LOG_2PI
        return root, projected, constants + np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)

    def constants(self, where: object = FULL) -> np.ndarray:
        """As those of the diagonal model."""
        _, projected, constants = self.factors(where)
        return constants - 0.5 * (projected * projected).sum(1)


def cholesky(precisions: np.ndarray, where: object) -> np.ndarray:
    """Lower Cholesky factors of (C, D, D) float64. Raises InputError naming the first that is not positive definite."""
    try:
        return np.linalg.cholesky(precisions)
    except np.linalg.LinAlgError:
        lowest = np.linalg.eigvalsh(precisions)[:, 0]
        found, expected = f"an inverse covariance with eigenvalue {lowest.min():.3g}", "positive definite matrices"
        cure = "Train again with a larger variance floor"
        raise InputError(where, found, expected, cure, item=f"Gaussian {int(lowest.argmin())}") from None
