"""What ours is measured against: the algorithms of Kaldi's programs, one recording, frame or trial at a time, in double
precision with BLAS and LAPACK on one thread. Packed matrices are streamed from memory once for each use, as there.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.linalg import blas, lapack

from pyasp.backend.plda import Plda
from pyasp.gmm.model import LOG_2PI, DiagGmm, FullGmm
from pyasp.ivector.model import Estimator

LINE = 8  # doubles of a cache line
CACHED = 100  # rows of <hh^T> that ivector-extractor-acc-stats gathers before one product


def _aligned_rows(matrix: np.ndarray) -> list[np.ndarray]:
    """The rows of a copy of a matrix, each from the beginning of a cache line on: read a tenth faster. np.empty asks
    the system for large pages, torch does not: another twentieth."""
    width = -(-matrix.shape[1] // LINE) * LINE
    room = np.empty(len(matrix) * width + LINE)
    start = -room.ctypes.data // room.itemsize % LINE
    wide = room[start : start + len(matrix) * width].reshape(len(matrix), width)
    wide[:, : matrix.shape[1]] = matrix
    return [row[: matrix.shape[1]] for row in wide]


class PairReference:
    """Gaussian selection, pruned posteriors and full-covariance statistics, frame by frame (gmm-gselect,
    fgmm-global-gselect-to-post, fgmm-global-acc-stats).

    With w = [x, 1], log w_i N(x; m_i, S_i) = w' Q_i w, Q_i = [-S_i^-1 / 2, b_i / 2; b_i' / 2, k_i], so that a pair
    (frame, Gaussian) is one dot product of packed triangles; its statistics are the packed w w' times its posterior.
    """

    def __init__(self, selector: DiagGmm, full: FullGmm, num_gselect: int, min_post: float):
        rows = [selector.gconsts[:, None], selector.linear, -0.5 * selector.inverse]
        self.diagonal = np.asfortranarray(np.concatenate(rows, 1).astype(np.float64).T)
        self.num_gselect, self.min_post, self.wide = num_gselect, min_post, full.dim + 1
        _, projected, constants = full.factors()
        packed = -full.inverse.astype(np.float64)
        packed[:, np.cumsum(np.arange(1, full.dim + 1)) - 1] *= 0.5  # the others stand for two elements each
        constants = constants - 0.5 * (projected * projected).sum(1)
        packed = np.concatenate([packed, full.linear, constants[:, None]], 1)
        self.forms, self.sums = _aligned_rows(packed), _aligned_rows(np.zeros_like(packed))

    def select(self, x: np.ndarray) -> np.ndarray:
        """(T, n) Gaussians of the frames x (T, D) float64 of a recording: one product, then a partial sort a frame."""
        terms = np.concatenate([np.ones((len(x), 1)), x, x * x], 1)
        return np.argpartition(terms @ self.diagonal, -self.num_gselect, axis=1)[:, -self.num_gselect :]

    def squares(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """The packed triangle of w w' of each frame, in one buffer."""
        packed, dspr, size = _aligned_rows(self.forms[0][None])[0], blas.dspr, self.wide
        for row in list(np.concatenate([x, np.ones((len(x), 1))], 1)):
            packed.fill(0.0)
            yield dspr(size, 1.0, row, packed, overwrite_ap=1)

    def posteriors(self, x: np.ndarray, selected: np.ndarray) -> np.ndarray:
        """(T, n) of the frames x (T, D) and their Gaussians (T, n)."""
        forms, ddot = self.forms, blas.ddot
        scores = np.array(
            [ddot(forms[i], square) for square, chosen in zip(self.squares(x), selected.tolist()) for i in chosen]
        ).reshape(selected.shape)
        weights = np.exp(scores - scores.max(1, keepdims=True))
        weights /= weights.sum(1, keepdims=True)
        weights[weights < self.min_post] = 0.0
        return weights / weights.sum(1, keepdims=True)

    def accumulate(self, x: np.ndarray, selected: np.ndarray, weights: np.ndarray) -> None:
        """Statistics of each pair: second order, first order and count in one daxpy."""
        sums, daxpy, size = self.sums, blas.daxpy, len(self.forms[0])
        for square, chosen, given in zip(self.squares(x), selected.tolist(), weights.tolist()):
            for i, weight in zip(chosen, given):
                daxpy(square, sums[i], size, weight)

    def bytes_per_frame(self) -> int:
        """Packed matrices that a frame's posteriors read."""
        return self.num_gselect * self.forms[0].nbytes


class IvectorReference:
    """Extraction and E-step one recording at a time (ivector-extract, ivector-extractor-acc-stats): U and Sigma^-1 M as
    double-precision matrices that dgemv streams, LAPACK's Cholesky factors and inverse, dger for Y, and for R one
    product for CACHED recordings."""

    def __init__(self, estimator: Estimator):
        self.size, self.offset = estimator.ivector_dim, estimator.prior_offset
        self.quadratic = estimator.quadratic.double().cpu().numpy()
        self.linear = estimator.linear.double().cpu().numpy().reshape(-1, self.size)

    def with_sums(self) -> IvectorReference:
        """Room for the E-step's statistics, which are as large as the model."""
        self.second, self.first = np.zeros_like(self.quadratic), np.zeros_like(self.linear)
        self.counts = np.zeros((CACHED, len(self.quadratic)))
        self.scatters, self.cached = np.zeros((CACHED, self.quadratic.shape[1])), 0
        self.lower = np.tril_indices(self.size)
        return self

    def extract(self, count: np.ndarray, first: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """count (C,), first (C, D) -> mean of h with its offset (R,), Cholesky factor (R, R)."""
        packed = blas.dgemv(1.0, self.quadratic.T, count)
        linear = blas.dgemv(1.0, self.linear.T, first.reshape(-1))
        linear[0] += self.offset
        precision = lapack.dtpttr(self.size, packed, uplo="U")[0]
        precision[np.diag_indices(self.size)] += 1.0
        root = lapack.dpotrf(precision, lower=0, overwrite_a=1)[0]
        return lapack.dpotrs(root, linear, lower=0)[0], root

    def accumulate(self, count: np.ndarray, first: np.ndarray) -> None:
        """The E-step of one recording."""
        mean, root = self.extract(count, first)
        scatter = lapack.dpotri(root, lower=0, overwrite_c=1)[0].T
        blas.dger(1.0, mean, first.reshape(-1), a=self.first.T, overwrite_a=1)
        self.counts[self.cached], self.cached = count, self.cached + 1
        self.scatters[self.cached - 1] = (scatter + np.outer(mean, mean))[self.lower]
        if self.cached == CACHED:
            self.flush()

    def flush(self) -> None:
        """R from the gathered recordings."""
        used = slice(0, self.cached)
        blas.dgemm(1.0, self.scatters[used].T, self.counts[used], beta=1.0, c=self.second.T, overwrite_c=1)
        self.cached = 0

    def bytes_per_recording(self) -> int:
        """What extraction streams."""
        return self.quadratic.nbytes + self.linear.nbytes


def plda_trial(plda: Plda, u: np.ndarray, n: int, v: np.ndarray) -> float:
    """Score of one trial of vectors in PLDA's space, vectorised over dimensions (ivector-plda-scoring)."""
    scale = n * plda.psi / (n * plda.psi + 1.0)
    given, alone = 1.0 + plda.psi / (n * plda.psi + 1.0), 1.0 + plda.psi
    away = v - scale * u
    same = -0.5 * (np.log(given).sum() + len(v) * LOG_2PI + blas.ddot(away * away, 1.0 / given))
    return same + 0.5 * (np.log(alone).sum() + len(v) * LOG_2PI + blas.ddot(v * v, 1.0 / alone))
