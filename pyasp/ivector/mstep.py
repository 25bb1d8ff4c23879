"""M-step of the total variability model: projections, covariances, minimum divergence (Kaldi's ivector-extractor-est).

Symbols as in pyasp.ivector.em. Gaussians are handled in chunks: nothing of the size of the statistics is copied.
"""

from dataclasses import dataclass

import numpy as np
import torch

from pyasp.core.errors import InputError
from pyasp.core.packed import full_from_packed, pack, unpack
from pyasp.ivector.em import IvectorStats
from pyasp.ivector.model import IvectorExtractor, gaussian_chunks

MAX_CONDITION = 1e4  # of R_i after diagonal preconditioning, and of the covariance floor
COVARIANCE_FLOOR = 1e-7  # of the eigenvalues of the i-vectors' covariance


@dataclass(frozen=True)
class EstimationOptions:
    """Options of ivector-extractor-est, its names and defaults."""

    update_variances: bool = True
    gaussian_min_count: float = 100.0
    variance_floor_factor: float = 0.1
    diagonalize: bool = True


@dataclass(frozen=True)
class EstimationReport:
    """What an M-step did. low_count: Gaussians left as they were; the rest counts floored eigenvalues.

    floored_quadratic: of R_i; floored: of covariances; floored_floor: of their floor; floored_prior: of the i-vectors'
    covariance.
    """

    low_count: int
    floored_quadratic: int
    floored: int
    floored_floor: int
    floored_prior: int
    prior_offset: float


def update(
    extractor: IvectorExtractor, stats: IvectorStats, options: EstimationOptions = EstimationOptions()
) -> tuple[IvectorExtractor, EstimationReport]:
    """New extractor from statistics: M_i, then Sigma_i with the new M_i (where the statistics hold the second order),
    then the prior. The inputs do not change.

    Raises InputError without recordings, when every Gaussian has too small a count, and for an extractor that regresses
    the weights (extraction with one is offered, training is not).
    """
    if extractor.weight_projections.size:
        found, cure = "regressed weights", "Train with Kaldi, or start from an extractor made without --use-weights"
        raise InputError("i-vector extractor", found, "constant weights", cure)
    enough = stats.count >= options.gaussian_min_count
    if stats.recordings <= 0 or not bool(enough.any()):
        found = f"{int(stats.recordings)} recordings and a largest count of {float(stats.count.max()):.1f}"
        expected = f"a Gaussian with at least {options.gaussian_min_count} frames"
        cure = "Use more training data, fewer Gaussians, or a smaller --gaussian-min-count"
        raise InputError("i-vector statistics", found, expected, cure)
    projections, scatters, floored_quadratic = _projections(extractor, stats, enough)
    inv_covars, floored, floored_floor = extractor.inv_covars, 0, 0
    if options.update_variances and len(stats.second):
        inv_covars, floored, floored_floor = _covariances(extractor, stats.count, scatters, enough, options)
    del scatters
    transform, offset, floored_prior = prior_transform(
        stats, extractor.weights, projections, inv_covars, options.diagonalize
    )
    inverse = np.linalg.inv(transform)
    for part in gaussian_chunks(len(projections), extractor.ivector_dim, torch.device("cpu")):
        projections[part] = projections[part] @ inverse
    report = EstimationReport(int((~enough).sum()), floored_quadratic, floored, floored_floor, floored_prior, offset)
    return IvectorExtractor(extractor.weights, projections, inv_covars, offset, extractor.weight_projections), report


def _projections(
    extractor: IvectorExtractor, stats: IvectorStats, enough: torch.Tensor
) -> tuple[np.ndarray, torch.Tensor, int]:
    """New M (C, D, R), the scatters S - Y M^T - M Y^T + M R M^T (C, D, D) they leave, and floored eigenvalues."""
    projections, scatters, floored = extractor.projections.copy(), torch.zeros_like(stats.second), 0
    device = stats.count.device
    for part in gaussian_chunks(extractor.num_gauss, extractor.ivector_dim, device):
        quadratic, linear = full_from_packed(stats.quadratic[part]), stats.linear[part]
        old = torch.as_tensor(extractor.projections[part]).to(device)
        precisions = torch.as_tensor(unpack(extractor.inv_covars[part])).to(device)
        new, part_floored = solve_projections(old, linear, quadratic, precisions)
        new = torch.where(enough[part, None, None], new, old)
        floored += int(part_floored[enough[part]].sum())
        cross = linear @ new.mT
        if len(scatters):
            scatters[part] = stats.second[part] - cross - cross.mT + new @ quadratic @ new.mT
        projections[part] = new.cpu().numpy()
    return projections, scatters, floored


def solve_projections(
    old: torch.Tensor, linear: torch.Tensor, quadratic: torch.Tensor, precisions: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """M that maximises tr(M^T P Y) - 1/2 tr(P M R M^T), moving from `old` along well-determined directions only.

    old, linear: M, Y (G, D, R); quadratic: R (G, R, R); precisions: P (G, D, D). R is scaled to unit diagonal and its
    eigenvalues are floored at largest / 1e4 (Kaldi's SolveQuadraticMatrixProblem). Where norms prove that no eigenvalue
    reaches the floor, Cholesky factors give the same solution without the eigenvalues.
    Returns M and the number of floored eigenvalues (G,). Where the solution would be worse than `old`, `old` stays.
    """
    scale = quadratic.diagonal(dim1=1, dim2=2).clamp_min(1e3 * torch.finfo(torch.float64).tiny).rsqrt()
    scaled = quadratic * scale[:, :, None] * scale[:, None, :]
    right = (linear - old @ quadratic) * scale[:, None, :]
    inverse, floored = _well_conditioned_inverse(scaled)
    new = old + (right @ inverse) * scale[:, None, :]
    better = _auxiliary(new, linear, quadratic, precisions) >= _auxiliary(old, linear, quadratic, precisions)
    return torch.where(better[:, None, None], new, old), floored


def _well_conditioned_inverse(matrices: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Inverses of (G, R, R) with eigenvalues floored at largest / MAX_CONDITION, and how many were floored (G,)."""
    root, failed = torch.linalg.cholesky_ex(matrices)
    root[failed != 0] = torch.eye(root.shape[1], dtype=root.dtype, device=root.device)
    inverse = torch.cholesky_inverse(root)
    # ||A||_F bounds the largest eigenvalue, 1 / ||A^-1||_F the smallest from below
    condition = torch.linalg.matrix_norm(matrices) * torch.linalg.matrix_norm(inverse)
    doubtful = (failed != 0) | ~(condition < MAX_CONDITION)
    floored = torch.zeros_like(failed, dtype=torch.int64)
    if bool(doubtful.any()):
        values, vectors = torch.linalg.eigh(matrices[doubtful])
        floors = values[:, -1:].clamp_min(1e-40) / MAX_CONDITION
        inverse[doubtful] = (vectors / torch.maximum(values, floors)[:, None, :]) @ vectors.mT
        floored[doubtful] = (values < floors).sum(1)
    return inverse, floored


def _auxiliary(
    projections: torch.Tensor, linear: torch.Tensor, quadratic: torch.Tensor, precisions: torch.Tensor
) -> torch.Tensor:
    """tr(M^T P Y) - 1/2 tr(P M R M^T) of each Gaussian, (G,)."""
    weighted = precisions @ projections
    return (weighted * linear).sum((1, 2)) - 0.5 * (weighted * (projections @ quadratic)).sum((1, 2))


def _covariances(
    extractor: IvectorExtractor,
    count: torch.Tensor,
    scatters: torch.Tensor,
    enough: torch.Tensor,
    options: EstimationOptions,
) -> tuple[np.ndarray, int, int]:
    """New inverse covariances (C, D(D+1)/2), floored eigenvalues, and those of the floor.

    The floor is variance_floor_factor times the average covariance, itself floored at its largest eigenvalue / 1e4.
    """
    chosen = enough.nonzero()[:, 0]
    scatters, count = scatters[chosen], count[chosen]
    average = scatters.sum(0) * (options.variance_floor_factor / count.sum())
    values, vectors = torch.linalg.eigh(average)
    lowest = values.abs().max() / MAX_CONDITION
    floor = (vectors * values.clamp_min(lowest)) @ vectors.T
    covariances, floored = apply_floor(scatters / count[:, None, None], floor)
    inv_covars = extractor.inv_covars.copy()
    inv_covars[chosen.cpu().numpy()] = pack(torch.linalg.inv(covariances).cpu().numpy())
    return inv_covars, floored, int((values < lowest).sum())


def apply_floor(covariances: torch.Tensor, floor: torch.Tensor) -> tuple[torch.Tensor, int]:
    """Covariances (G, D, D) made at least `floor` (D, D) in every direction, and the number of raised eigenvalues.

    In the coordinates in which the floor is the unit matrix, eigenvalues below one become one.
    """
    root = torch.linalg.cholesky(floor)
    half = torch.linalg.solve_triangular(root, covariances, upper=False)
    white = torch.linalg.solve_triangular(root, half.mT, upper=False)
    values, vectors = torch.linalg.eigh(0.5 * (white + white.mT))
    floored = (vectors * values.clamp_min(1.0)[:, None, :]) @ vectors.mT
    return root @ floored @ root.T, int((values < 1.0).sum())


def prior_transform(
    stats: IvectorStats, weights: np.ndarray, projections: np.ndarray, inv_covars: np.ndarray, diagonalize: bool
) -> tuple[np.ndarray, float, int]:
    """Minimum divergence: V (R, R) with V h ~ N(p e_1, I) over the training i-vectors; p; floored eigenvalues.

    V whitens their covariance, a Householder reflection puts their mean on e_1; with `diagonalize` the others are
    rotated so that the weighted average of M_i^T Sigma_i^-1 M_i is diagonal, falling.
    """
    mean = (stats.vector_sum / stats.recordings).cpu().numpy()
    covariance = (stats.vector_scatter / stats.recordings).cpu().numpy() - np.outer(mean, mean)
    values, vectors = np.linalg.eigh(covariance)
    floored = int((values < COVARIANCE_FLOOR).sum())
    transform = vectors.T / np.sqrt(np.maximum(values, COVARIANCE_FLOOR))[:, None]
    transform = householder(transform @ mean) @ transform
    if diagonalize and len(mean) > 1:
        average = average_quadratic(weights, projections, inv_covars)
        inverse = np.linalg.inv(transform[1:, 1:])
        _, rotation = np.linalg.eigh(inverse.T @ average[1:, 1:] @ inverse)
        transform[1:] = rotation[:, ::-1].T @ transform[1:]
    return transform, float((transform @ mean)[0]), floored


def householder(vector: np.ndarray) -> np.ndarray:
    """The reflection (R, R) that sends `vector` to a positive multiple of e_1."""
    a = vector / np.linalg.norm(vector)
    a[0] -= 1.0
    length = a @ a
    identity = np.eye(len(a))
    return identity if length < 1e-30 else identity - (2.0 / length) * np.outer(a, a)


def average_quadratic(weights: np.ndarray, projections: np.ndarray, inv_covars: np.ndarray) -> np.ndarray:
    """sum_i w_i M_i^T Sigma_i^-1 M_i (R, R)."""
    total = np.zeros((projections.shape[2],) * 2)
    for part in gaussian_chunks(len(projections), projections.shape[2], torch.device("cpu")):
        weighted = (unpack(inv_covars[part]) @ projections[part]) * weights[part, None, None]
        total += projections[part].reshape(-1, len(total)).T @ weighted.reshape(-1, len(total))
    return total
