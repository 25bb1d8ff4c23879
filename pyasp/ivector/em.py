"""EM of the total variability model (Kenny et al. 2008; Kaldi's ivector-extractor-acc-stats and -est).

    h_u, V_u   posterior mean and covariance of recording u (h with its offset: h_u = z_u + p e_1)
    <hh^T>_u = V_u + h_u h_u^T
    N_i  = sum_u N_ui                    count      (C,)
    Y_i  = sum_u F_ui h_u^T              linear     (C, D, R)
    R_i  = sum_u N_ui <hh^T>_u           quadratic  (C, R(R+1)/2) packed: N^T by packed <hh^T>, one product
    S_i  = sum_t gamma_ti x_t x_t^T      second     (C, D, D)
    M-step:   M_i = Y_i R_i^-1,   Sigma_i = (S_i - Y_i M_i^T - M_i Y_i^T + M_i R_i M_i^T) / N_i, floored;
              then the prior becomes the i-vectors' own Gaussian, and h is transformed so that it is N(p e_1, I) again

The objective is the log-likelihood bound of the frames given their UBM posteriors, exact for fixed posteriors:
    sum_i N_i (log w_i + 1/2 log|Sigma_i^-1| - D/2 log 2 pi) - 1/2 sum_i tr(Sigma_i^-1 S_i around m_i)
    + 1/2 sum_u (z_u^T a_u - log|L_u|)
"""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from pyasp.core.packed import PACK, unpack
from pyasp.core.threads import for_tiles
from pyasp.gmm.em import FullStats
from pyasp.gmm.model import LOG_2PI
from pyasp.ivector.model import Estimator, IvectorExtractor, Terms


@dataclass
class IvectorStats:
    """Statistics of some recordings. Shapes in the module's legend, float64.

    vector_sum: sum_u h_u (R,); vector_scatter: sum_u <hh^T>_u (R, R); objective: () summed over frames, a tensor, so
    that no batch on a GPU waits for the host.
    """

    count: torch.Tensor
    linear: torch.Tensor
    quadratic: torch.Tensor
    second: torch.Tensor
    vector_sum: torch.Tensor
    vector_scatter: torch.Tensor
    recordings: float = 0.0
    objective: torch.Tensor = field(default_factory=lambda: torch.zeros((), dtype=torch.float64))

    @classmethod
    def zeros(cls, num_gauss: int, dim: int, ivector_dim: int, device: torch.device | str = "cpu") -> IvectorStats:
        """Empty statistics."""
        new = torch.zeros((), dtype=torch.float64, device=device).new_zeros
        packed = ivector_dim * (ivector_dim + 1) // 2
        return cls(
            new(num_gauss),
            new(num_gauss, dim, ivector_dim),
            new(num_gauss, packed),
            new(num_gauss, dim, dim),
            new(ivector_dim),
            new(ivector_dim, ivector_dim),
            objective=new(()),
        )

    def accumulate(self, estimator: Estimator, count: torch.Tensor, first: torch.Tensor) -> None:
        """E-step of B recordings. count: (B, C), first: (B, C, D) float64 on the device of these statistics."""
        terms = estimator.terms(count, first)

        def moments(part: slice) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
            """h, the sum of V, the objective; <hh^T> takes the place of the precisions in terms.packed."""
            result = estimator.solve(terms, part)
            h = result.mean.clone()
            h[:, 0] += estimator.prior_offset
            covariance = torch.cholesky_inverse(result.root)
            total = covariance.new_ones(len(h)) @ covariance.flatten(1)  # several times faster than covariance.sum(0)
            short = h.to(covariance.dtype)
            PACK[h.device.type](covariance.baddbmm_(short[:, :, None], short[:, None, :]), terms.packed[part])
            log_det = 2.0 * result.root.diagonal(dim1=1, dim2=2).double().log().sum()
            return h, total, 0.5 * ((result.mean * result.linear).sum() - log_det)

        parts = estimator.each(moments, len(count))
        h = torch.cat([each for each, _, _ in parts])
        self._add_products(estimator, terms, h)
        self.vector_sum += h.sum(0)
        self.vector_scatter.addmm_(h.T, h)
        for _, total, objective in parts:
            self.vector_scatter += total.view_as(self.vector_scatter)
            self.objective += objective
        self.recordings += len(count)

    def _add_products(self, estimator: Estimator, terms: Terms, h: torch.Tensor) -> None:
        """Y and R from a batch whose terms.packed holds <hh^T>, tile by tile: products in the estimator's precision,
        sums in float64. Y's large part, m_i sum_u N_ui h_u^T, is in float64 altogether."""
        count, short = terms.count.to(estimator.dtype).T, h.to(estimator.dtype)
        weighted, dim = terms.count.T @ h, estimator.dim

        def add_quadratic(columns: slice) -> None:
            """N^T (B -> C) times the packed E[h h^T], these columns of it."""
            self.quadratic[:, columns] += count @ terms.packed[:, columns]

        def add_linear(part: slice) -> None:
            """Y of these Gaussians: centred first-order statistics times h, and the part around the centres."""
            linear = terms.centred[:, part.start * dim : part.stop * dim].T @ short
            self.linear[part].view(-1, h.shape[1]).add_(linear)
            self.linear[part].baddbmm_(estimator.centres[part, :, None], weighted[part, None, :])

        for_tiles(add_quadratic, self.quadratic.shape[1], len(count), h.device)
        for_tiles(add_linear, len(count), dim * h.shape[1], h.device)

    def add_frames(self, frames: FullStats, extractor: IvectorExtractor) -> None:
        """Adds what does not depend on the recording: counts, second order, and their part of the objective."""
        self.count += frames.count
        self.second += frames.second
        self.objective += frame_objective(frames, extractor)


def frame_objective(frames: FullStats, extractor: IvectorExtractor) -> torch.Tensor:
    """The objective's sums over Gaussians, from the frames' statistics (count, first, second)."""
    precisions = torch.as_tensor(unpack(extractor.inv_covars)).to(frames.count.device)
    centres = torch.as_tensor(extractor.prior_offset * extractor.projections[:, :, 0]).to(frames.count.device)
    weights = torch.as_tensor(extractor.weights).to(frames.count.device)
    half_log_det = torch.linalg.cholesky(precisions).diagonal(dim1=1, dim2=2).log().sum(1)
    constants = weights.log() + half_log_det - 0.5 * extractor.dim * LOG_2PI
    around = frames.second - 2.0 * frames.first[:, :, None] * centres[:, None, :]
    around += frames.count[:, None, None] * centres[:, :, None] * centres[:, None, :]
    log_weight = torch.where(frames.count > 0, frames.count * constants, 0.0)  # 0 log 0 = 0
    return log_weight.sum() - 0.5 * (precisions * around).sum()
