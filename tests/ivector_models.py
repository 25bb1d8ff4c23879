"""Small extractors, statistics drawn from them, and their posterior by the textbook sums."""

import numpy as np
import torch

from pyasp.core.packed import pack, unpack
from pyasp.gmm.em import FullStats
from pyasp.gmm.posteriors import Alignment
from pyasp.ivector.em import IvectorStats
from pyasp.ivector.model import Estimator, IvectorExtractor
from pyasp.ivector.mstep import EstimationOptions
from pyasp.ivector.statistics import add_recording_stats

F64 = torch.float64
C, D, R = 4, 3, 5
NO_LIMITS = EstimationOptions(gaussian_min_count=1.0, variance_floor_factor=1e-9)


def random_extractor(rng, offset=3.0, num_gauss=C, dim=D, ivector_dim=R):
    roots = rng.standard_normal((num_gauss, dim, dim)) * 0.3 + np.eye(dim)
    weights = rng.uniform(0.5, 1.5, num_gauss)
    projections = rng.standard_normal((num_gauss, dim, ivector_dim)) * 0.6
    return IvectorExtractor(
        weights / weights.sum(),
        projections,
        pack(np.linalg.inv(roots @ roots.transpose(0, 2, 1))),
        offset,
        np.zeros((0, 0)),
    )


def random_statistics(rng, recordings=6):
    count = rng.uniform(0.0, 20.0, (recordings, C))
    return torch.as_tensor(count), torch.as_tensor(rng.standard_normal((recordings, C, D)) * count[..., None])


def draw(model, recordings, frames, rng):
    """Statistics of frames from the model with known Gaussians: count, first, FullStats, latents minus the offset."""
    latent = rng.standard_normal((recordings, model.ivector_dim))
    h = latent + model.prior_offset * np.eye(1, model.ivector_dim)
    roots = np.linalg.cholesky(np.linalg.inv(unpack(model.inv_covars)))
    count, total = torch.zeros(recordings, model.num_gauss, dtype=F64), FullStats.zeros(model.num_gauss, model.dim)
    first = torch.zeros(recordings, model.num_gauss, model.dim, dtype=F64)
    for u in range(recordings):
        gauss = rng.choice(model.num_gauss, frames, p=model.weights)
        x = np.einsum("tdr,r->td", model.projections[gauss], h[u])
        x = torch.as_tensor(x + np.einsum("tij,tj->ti", roots[gauss], rng.standard_normal((frames, model.dim))))
        alignment = Alignment(torch.arange(frames), torch.as_tensor(gauss), torch.ones(frames, dtype=F64), 0.0)
        add_recording_stats(count[u : u + 1], first[u : u + 1], x, torch.zeros(frames, dtype=torch.int64), alignment)
        total.accumulate(x, alignment)
    return count, first, total, latent


def e_step(model, count, first, total, dtype=F64):
    stats = IvectorStats.zeros(model.num_gauss, model.dim, model.ivector_dim)
    stats.accumulate(Estimator(model, dtype=dtype), count, first)
    stats.add_frames(total, model)
    return stats


def direct_posterior(model, count, first):
    """Mean and covariance of h of one recording by the textbook sums, without centring, packing or batches."""
    precision, linear = np.eye(model.ivector_dim), model.prior_offset * np.eye(1, model.ivector_dim)[0]
    for n, f, m, p in zip(count, first, model.projections, unpack(model.inv_covars)):
        precision, linear = precision + n * m.T @ p @ m, linear + m.T @ p @ f
    return np.linalg.solve(precision, linear), np.linalg.inv(precision)
