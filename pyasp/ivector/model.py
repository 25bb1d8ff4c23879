"""Total variability model and i-vectors (Dehak et al. 2011; Kaldi's ivector-extractor, with the UBM's posteriors).

    x_t ~ sum_i w_i N(M_i h, Sigma_i),  h ~ N(p e_1, I)          C Gaussians, x_t of D dimensions, h of R
    N_i = sum_t gamma_ti  (C,)        F_i = sum_t gamma_ti x_t  (C, D)      of one recording
    U_i = M_i^T Sigma_i^-1 M_i        stored as packed lower triangles, U (C, R(R+1)/2)
    L   = I + sum_i N_i U_i           posterior precision of h (R, R)
    a   = sum_i M_i^T Sigma_i^-1 (F_i - N_i m_i),   m_i = p M_i e_1
    z   = L^-1 a                      posterior mean of h minus the prior's mean p e_1: the i-vector

For B recordings the precisions are ONE product N (B, C) by U, the linear terms another. Statistics are centred at m_i
in float64 first, which takes the large offset p out of the sums: float32 products and factors then keep i-vectors to
about 1e-5. Factorisations run a few recordings at a time in each thread.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from pyasp.core.errors import InputError
from pyasp.core.packed import lower_from_packed, packed_from_full, unpack
from pyasp.core.threads import in_threads, product
from pyasp.gmm.model import FullGmm, cholesky

T = TypeVar("T")

PRIOR_OFFSET = 100.0  # of a new extractor, as Kaldi's ivector-extractor-init
CHUNK_BYTES = {"cpu": 64 << 20, "cuda": 1 << 30}  # of (R, R) matrices handled at a time
SOLVE_BYTES = {"cpu": 16 << 20, "cuda": 1 << 30}  # of (R, R) matrices that one thread factorises at a time
WEIGHT_ITERATIONS, WEIGHT_CHANGE = 4, 0.1  # Kaldi's, for extractors that regress the weights


@dataclass(frozen=True)
class IvectorExtractor:
    """The model, float64 as in Kaldi's files.

    weights: (C,); projections: M (C, D, R); inv_covars: lower triangles of Sigma_i^-1 (C, D(D+1)/2); prior_offset: p;
    weight_projections: (C, R) where log-weights depend on h (then weights is empty), else (0, 0).
    """

    weights: np.ndarray
    projections: np.ndarray
    inv_covars: np.ndarray
    prior_offset: float
    weight_projections: np.ndarray

    @property
    def num_gauss(self) -> int:
        """C."""
        return self.projections.shape[0]

    @property
    def dim(self) -> int:
        """D."""
        return self.projections.shape[1]

    @property
    def ivector_dim(self) -> int:
        """R."""
        return self.projections.shape[2]

    @classmethod
    def from_ubm(cls, ubm: FullGmm, ivector_dim: int, seed: list[int]) -> IvectorExtractor:
        """A new extractor: first column of M_i the mean / p, the others drawn from N(0, 1) (ivector-extractor-init)."""
        shape = (ubm.num_gauss, ubm.dim, ivector_dim)
        projections = np.random.default_rng(seed).standard_normal(shape)
        projections[:, :, 0] = ubm.means / PRIOR_OFFSET
        return cls(
            ubm.weights.astype(np.float64), projections, ubm.inverse.astype(np.float64), PRIOR_OFFSET, np.zeros((0, 0))
        )


def gaussian_chunks(num_gauss: int, matrix_size: int, device: torch.device) -> Iterator[slice]:
    """Slices of Gaussians whose (matrix_size, matrix_size) float64 matrices stay within CHUNK_BYTES."""
    step = max(1, CHUNK_BYTES[device.type] // (8 * matrix_size * matrix_size))
    return (slice(start, min(start + step, num_gauss)) for start in range(0, num_gauss, step))


@dataclass(frozen=True)
class Posterior:
    """Posteriors of h of B recordings. mean: z (B, R) float64, the prior's mean removed; root: lower Cholesky factor of
    the precision L (B, R, R), in the estimator's dtype; linear: a (B, R) float64."""

    mean: torch.Tensor
    root: torch.Tensor
    linear: torch.Tensor


@dataclass(frozen=True)
class Terms:
    """Of a batch. count: N (B, C) float64; centred: F_i - N_i m_i (B, C D); linear: a (B, R) float64; packed: the lower
    triangles of sum_i N_i U_i (B, R(R+1)/2)."""

    count: torch.Tensor
    centred: torch.Tensor
    linear: torch.Tensor
    packed: torch.Tensor


class Estimator:
    """An extractor on a device, ready for batches: products and factors in `dtype` (float32: half the memory, twice the
    speed on a CPU; float64: agrees with Kaldi to round-off).

    Raises InputError when some Sigma_i^-1 is not positive definite.
    """

    def __init__(
        self, extractor: IvectorExtractor, device: torch.device | str = "cpu", dtype: torch.dtype = torch.float64
    ):
        self.device, self.dtype, self.prior_offset = torch.device(device), dtype, extractor.prior_offset
        self.num_gauss, self.dim, self.ivector_dim = extractor.projections.shape
        self.centres = torch.as_tensor(extractor.prior_offset * extractor.projections[:, :, 0]).to(self.device)
        cholesky(unpack(extractor.inv_covars), "i-vector extractor")
        length = self.ivector_dim * (self.ivector_dim + 1) // 2
        self.quadratic = torch.empty((self.num_gauss, length), dtype=dtype, device=self.device)  # U
        self.linear = torch.empty((self.num_gauss, self.dim, self.ivector_dim), dtype=dtype, device=self.device)
        for part in gaussian_chunks(self.num_gauss, self.ivector_dim, self.device):
            projections = torch.as_tensor(extractor.projections[part]).to(self.device)
            weighted = torch.as_tensor(unpack(extractor.inv_covars[part])).to(self.device) @ projections
            self.linear[part] = weighted.to(dtype)
            self.quadratic[part] = packed_from_full(projections.mT @ weighted).to(dtype)
        self.weight_projections = torch.as_tensor(extractor.weight_projections).to(self.device)

    def terms(self, count: torch.Tensor, first: torch.Tensor) -> Terms:
        """What a batch's posteriors are made of, as matrix products. count: N (B, C), first: F (B, C, D), float64."""
        size = len(count)
        centred = torch.empty((size, self.num_gauss * self.dim), dtype=self.dtype, device=self.device)

        def centre(part: slice) -> None:
            """F - N m of these recordings, (B, C D), in the working precision."""
            around = torch.addcmul(first[part], count[part, :, None], self.centres, value=-1.0)
            centred[part] = around.reshape(len(around), -1)

        self.each(centre, size)
        linear = (centred @ self.linear.reshape(-1, self.ivector_dim)).double()
        return Terms(count, centred, linear, product(count.to(self.dtype), self.quadratic))

    def each(self, work: Callable[[slice], T], size: int) -> list[T]:
        """work(part) for slices of `size` recordings, in threads on a CPU; a slice's matrices fit SOLVE_BYTES."""
        step = max(1, SOLVE_BYTES[self.device.type] // (8 * self.ivector_dim**2))
        parts = [slice(start, min(start + step, size)) for start in range(0, size, step)]
        return in_threads(work, parts) if self.device.type == "cpu" else [work(part) for part in parts]

    def solve(self, terms: Terms, part: slice = slice(None)) -> Posterior:
        """Posteriors of some of a batch's recordings. Raises InputError when a precision cannot be factorised."""
        count, linear, packed = terms.count[part], terms.linear[part], terms.packed[part]
        if self.weight_projections.numel():
            return self._with_weights(count, linear, precisions(packed.double()))
        return factorised(linear, packed)

    def means(self, count: torch.Tensor, first: torch.Tensor) -> torch.Tensor:
        """i-vectors (B, R) float64 of B recordings; count: N (B, C), first: F (B, C, D), float64 on the device."""
        terms = self.terms(count, first)
        return torch.cat(self.each(lambda part: self.solve(terms, part).mean, len(count)))

    def _with_weights(self, count: torch.Tensor, linear: torch.Tensor, precision: torch.Tensor) -> Posterior:
        """Adds the weights' part of the likelihood, expanded to second order around the last estimate, until a
        recording's i-vector moves by less than WEIGHT_CHANGE (Povey et al. 2011, eq. 58; Kaldi's iteration count)."""
        result = solve(linear.clone(), precision)  # its fields are overwritten below
        active = torch.arange(len(count), device=self.device)
        for _ in range(WEIGHT_ITERATIONS):
            if not len(active):
                break
            extra, curvature = self._weight_terms(count[active], result.mean[active])
            better = solve(linear[active] + extra, precision[active] + curvature)
            moved = torch.linalg.vector_norm(better.mean - result.mean[active], dim=1) >= WEIGHT_CHANGE
            for old, new in ((result.mean, better.mean), (result.root, better.root), (result.linear, better.linear)):
                old[active] = new
            active = active[moved]
        return result

    def _weight_terms(self, count: torch.Tensor, mean: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Linear (B, R) and quadratic (B, R, R) terms of sum_i N_i log w_i(h) around h = mean + p e_1,
        as a function of h - p e_1."""
        w = self.weight_projections
        logits = mean @ w.T + self.prior_offset * w[:, 0]
        expected = count.sum(1, keepdim=True) * torch.softmax(logits, 1)
        curvature = torch.maximum(count, expected)
        quadratic = torch.einsum("bc,cr,cs->brs", curvature, w, w)
        slope = count - expected + curvature * (logits - self.prior_offset * w[:, 0])
        return slope @ w, quadratic


def precisions(packed: torch.Tensor) -> torch.Tensor:
    """Lower triangles of sum_i N_i U_i (B, R(R+1)/2) -> L (B, R, R), of which the lower triangle counts, same dtype."""
    lower = lower_from_packed(packed)
    lower.diagonal(dim1=1, dim2=2).add_(1.0)
    return lower


def factorised(linear: torch.Tensor, packed: torch.Tensor) -> Posterior:
    """linear: (B, R) float64, packed: (B, R(R+1)/2) -> Posterior, from factors in the dtype of `packed`, in float64
    where float32 is too coarse for the prior's 1. Raises InputError where float64 does not help."""
    try:
        return solve(linear, precisions(packed))
    except torch.linalg.LinAlgError:
        return factorised(linear, packed.double())


def solve(linear: torch.Tensor, precision: torch.Tensor) -> Posterior:
    """linear: (B, R) float64, precision: lower triangles of (B, R, R), eigenvalues at least 1 -> Posterior whose root
    has the precision's dtype. Raises, when one is not positive definite, LinAlgError in float32, InputError in float64.
    """
    try:
        root = torch.linalg.cholesky(precision)
    except torch.linalg.LinAlgError:
        if precision.dtype != torch.float64:
            raise
        found = "counts beside which the prior's precision 1 is lost in round-off"
        cure = "Bound the counts with --max-count, or compute with --precision float64"
        raise InputError("i-vectors", found, "precisions that are positive definite", cure) from None
    half = torch.linalg.solve_triangular(root, linear.to(root.dtype)[..., None], upper=False)
    mean = torch.linalg.solve_triangular(root.mT, half, upper=True)[..., 0]  # twice: faster than cholesky_solve
    return Posterior(mean.double(), root, linear)
