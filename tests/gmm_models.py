"""Small mixture models and frames drawn from them."""

import numpy as np
import torch

from pyasp.gmm.em import UpdateOptions
from pyasp.gmm.model import FullGmm

F64 = torch.float64
NO_LIMITS = UpdateOptions(1e-8, 1.0, 1e-8, 1e12, False)


def random_full(rng, num_gauss=5, dim=3, spread=2.0):
    roots = rng.standard_normal((num_gauss, dim, dim)) * 0.3 + np.eye(dim)
    weights = rng.uniform(0.5, 1.5, num_gauss)
    return FullGmm.from_moments(
        weights / weights.sum(), spread * rng.standard_normal((num_gauss, dim)), roots @ roots.transpose(0, 2, 1)
    )


def draw(model, count, rng):
    weights = model.weights.astype(np.float64)
    chosen = rng.choice(model.num_gauss, count, p=weights / weights.sum())
    roots = np.linalg.cholesky(model.covariances)
    return model.means[chosen] + np.einsum("tij,tj->ti", roots[chosen], rng.standard_normal((count, model.dim)))


def tensor(x):
    return torch.as_tensor(np.asarray(x))
