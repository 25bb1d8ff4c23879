"""Generated models and statistics of any size for the benchmark: plausible numbers, made fast, always the same."""

from __future__ import annotations

import functools

import numpy as np
import torch

from pyasp.core.packed import pack
from pyasp.gmm.model import FullGmm
from pyasp.ivector.model import IvectorExtractor

FRAMES_PER_SECOND = 100


@functools.cache
def ubm(num_gauss: int, dim: int) -> FullGmm:
    """A full-covariance GMM whose Gaussians overlap as those of speech do."""
    rng = np.random.default_rng(1)
    roots = rng.standard_normal((num_gauss, dim, dim)) * 0.09
    covariances = roots @ roots.transpose(0, 2, 1) + 0.5 * np.eye(dim)
    return FullGmm.from_moments(
        np.full(num_gauss, 1.0 / num_gauss), 0.5 * rng.standard_normal((num_gauss, dim)), covariances
    )


def frames(model: FullGmm, count: int) -> np.ndarray:
    """(count, D) float32 near the model's means."""
    rng = np.random.default_rng(2)
    means = model.means[rng.integers(0, model.num_gauss, count)]
    return (means + 0.8 * rng.standard_normal(means.shape)).astype(np.float32)


def extractor(num_gauss: int, dim: int, ivector_dim: int) -> IvectorExtractor:
    """An extractor with unit covariances."""
    rng = np.random.default_rng(3)
    projections = np.empty((num_gauss, dim, ivector_dim))
    for part in projections:
        part[:] = 0.05 * rng.standard_normal(part.shape, dtype=np.float32)
    projections[:, :, 0] *= 0.1
    return IvectorExtractor(
        np.full(num_gauss, 1.0 / num_gauss),
        projections,
        np.tile(pack(np.eye(dim)), (num_gauss, 1)),
        100.0,
        np.zeros((0, 0)),
    )


def statistics(
    model: IvectorExtractor, recordings: int, seconds: float = 10.0, seed: int = 4
) -> tuple[torch.Tensor, torch.Tensor]:
    """N (B, C) and F (B, C, D) float64 of recordings of so many seconds: few Gaussians hold most of the frames."""
    rng = np.random.default_rng(seed)
    shares = rng.gamma(0.3, 1.0, (recordings, model.num_gauss))
    count = torch.from_numpy(shares / shares.sum(1, keepdims=True) * seconds * FRAMES_PER_SECOND)
    first = torch.from_numpy(rng.standard_normal((recordings, model.num_gauss, model.dim), dtype=np.float32)).double()
    first *= count.sqrt()[..., None]
    first += count[..., None] * torch.from_numpy(model.prior_offset * model.projections[:, :, 0])
    return count, first
