"""Gaussian mixture models, diagonal and full covariance, as Kaldi stores them (DiagGmm, FullGmm of src/gmm).

    p(x) = sum_i w_i N(x; m_i, S_i)                        C Gaussians, x of D dimensions
    weights          (C,)            w_i
    means_invvars    (C, D)          S_i^-1 m_i            diagonal model
    inv_vars         (C, D)          diagonal of S_i^-1
    means_invcovars  (C, D)          S_i^-1 m_i            full model
    inv_covars       (C, D(D+1)/2)   lower triangle of S_i^-1, row by row
    gconsts          (C,)            log w_i - 1/2 (D log 2 pi + log|S_i| + m_i^T S_i^-1 m_i)

All parameters are float32, the precision of the files: a model in memory and the one read back are the same bits.
Everything derived from them (means, covariances, constants) is computed in float64.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from pyasp.core.errors import InputError
from pyasp.core.packed import pack, unpack

LOG_2PI = math.log(2.0 * math.pi)


@dataclass(frozen=True)
class DiagGmm:
    """Diagonal-covariance GMM; the fields are the float32 arrays of the module's legend."""

    weights: np.ndarray
    means_invvars: np.ndarray
    inv_vars: np.ndarray
    gconsts: np.ndarray

    @property
    def num_gauss(self) -> int:
        """C."""
        return len(self.weights)

    @property
    def dim(self) -> int:
        """D."""
        return self.inv_vars.shape[1]

    @property
    def variances(self) -> np.ndarray:
        """(C, D) float64."""
        return 1.0 / self.inv_vars.astype(np.float64)

    @property
    def means(self) -> np.ndarray:
        """(C, D) float64."""
        return self.means_invvars.astype(np.float64) * self.variances

    @classmethod
    def from_natural(cls, weights: np.ndarray, means_invvars: np.ndarray, inv_vars: np.ndarray) -> DiagGmm:
        """From the stored parameters, rounded to float32; the constants are computed from the rounded values."""
        weights, linear, inverse = (np.ascontiguousarray(a, np.float32) for a in (weights, means_invvars, inv_vars))
        return cls(weights, linear, inverse, diag_constants(weights, linear, inverse).astype(np.float32))

    @classmethod
    def from_moments(cls, weights: np.ndarray, means: np.ndarray, variances: np.ndarray) -> DiagGmm:
        """From weights (C,), means (C, D) and variances (C, D)."""
        inverse = (1.0 / np.asarray(variances, np.float64)).astype(np.float32)
        return cls.from_natural(weights, np.asarray(means, np.float64).astype(np.float32) * inverse, inverse)

    def keep(self, which: np.ndarray) -> DiagGmm:
        """The Gaussians of a boolean mask (C,) or of indices, weights scaled to sum to one."""
        weights = self.weights[which].astype(np.float64)
        return self.from_natural(weights / weights.sum(), self.means_invvars[which], self.inv_vars[which])


@dataclass(frozen=True)
class FullGmm:
    """Full-covariance GMM; the fields are the float32 arrays of the module's legend."""

    weights: np.ndarray
    means_invcovars: np.ndarray
    inv_covars: np.ndarray
    gconsts: np.ndarray

    @property
    def num_gauss(self) -> int:
        """C."""
        return len(self.weights)

    @property
    def dim(self) -> int:
        """D."""
        return self.means_invcovars.shape[1]

    @property
    def covariances(self) -> np.ndarray:
        """(C, D, D) float64."""
        return np.linalg.inv(unpack(self.inv_covars.astype(np.float64)))

    @property
    def means(self) -> np.ndarray:
        """(C, D) float64."""
        return np.linalg.solve(
            unpack(self.inv_covars.astype(np.float64)), self.means_invcovars.astype(np.float64)[..., None]
        )[..., 0]

    @classmethod
    def from_natural(
        cls,
        weights: np.ndarray,
        means_invcovars: np.ndarray,
        inv_covars: np.ndarray,
        where: object = "full-covariance GMM",
    ) -> FullGmm:
        """From the stored parameters, rounded to float32; the constants are computed from the rounded values.

        Raises InputError when an inverse covariance is not positive definite.
        """
        weights, linear, packed = (np.ascontiguousarray(a, np.float32) for a in (weights, means_invcovars, inv_covars))
        _, projected, constants = full_factors(weights, linear, packed, where)
        return cls(weights, linear, packed, (constants - 0.5 * (projected * projected).sum(1)).astype(np.float32))

    @classmethod
    def from_moments(cls, weights: np.ndarray, means: np.ndarray, covariances: np.ndarray) -> FullGmm:
        """From weights (C,), means (C, D) and covariances (C, D, D)."""
        inverse = pack(np.linalg.inv(np.asarray(covariances, np.float64))).astype(np.float32)
        linear = np.einsum("cij,cj->ci", unpack(inverse.astype(np.float64)), np.asarray(means, np.float64))
        return cls.from_natural(weights, linear, inverse)

    @classmethod
    def from_diag(cls, diag: DiagGmm) -> FullGmm:
        """The same density with (diagonal) covariance matrices, as Kaldi's gmm-global-to-fgmm."""
        packed = np.zeros((diag.num_gauss, diag.dim * (diag.dim + 1) // 2), np.float32)
        packed[:, np.cumsum(np.arange(1, diag.dim + 1)) - 1] = diag.inv_vars
        return cls.from_natural(diag.weights, diag.means_invvars, packed)

    def to_diag(self) -> DiagGmm:
        """Same means, only the diagonals of the covariances, as Kaldi's fgmm-global-to-gmm."""
        return DiagGmm.from_moments(self.weights, self.means, np.diagonal(self.covariances, axis1=1, axis2=2))

    def keep(self, which: np.ndarray) -> FullGmm:
        """The Gaussians of a boolean mask (C,) or of indices, weights scaled to sum to one."""
        weights = self.weights[which].astype(np.float64)
        return self.from_natural(weights / weights.sum(), self.means_invcovars[which], self.inv_covars[which])


def diag_constants(weights: np.ndarray, means_invvars: np.ndarray, inv_vars: np.ndarray) -> np.ndarray:
    """(C,) float64 log w_i - 1/2 (D log 2 pi + log|S_i| + m_i^T S_i^-1 m_i); -inf for a Gaussian without weight."""
    b, p = means_invvars.astype(np.float64), inv_vars.astype(np.float64)
    with np.errstate(divide="ignore"):
        return np.log(weights.astype(np.float64)) - 0.5 * (p.shape[1] * LOG_2PI - np.log(p).sum(1) + (b * b / p).sum(1))


def full_factors(
    weights: np.ndarray, means_invcovars: np.ndarray, inv_covars: np.ndarray, where: object = "full-covariance GMM"
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What scoring needs, float64: L_i (C, D, D) with S_i^-1 = L_i L_i^T, L_i^T m_i (C, D), and
    log w_i - 1/2 (D log 2 pi + log|S_i|) (C,). Raises InputError when some S_i^-1 is not positive definite."""
    root = cholesky(unpack(inv_covars.astype(np.float64)), where)
    projected = np.linalg.solve(root, means_invcovars.astype(np.float64)[..., None])[..., 0]
    with np.errstate(divide="ignore"):
        constants = np.log(weights.astype(np.float64)) - 0.5 * means_invcovars.shape[1] * LOG_2PI
    return root, projected, constants + np.log(np.diagonal(root, axis1=1, axis2=2)).sum(1)


def cholesky(precisions: np.ndarray, where: object) -> np.ndarray:
    """Lower Cholesky factors of (C, D, D) float64. Raises InputError naming the first that is not positive definite."""
    try:
        return np.linalg.cholesky(precisions)
    except np.linalg.LinAlgError:
        lowest = np.linalg.eigvalsh(precisions)[:, 0]
        raise InputError(
            where,
            f"an inverse covariance with eigenvalue {lowest.min():.3g}",
            "positive definite matrices",
            "Train again with a larger variance floor",
            item=f"Gaussian {int(lowest.argmin())}",
        ) from None
