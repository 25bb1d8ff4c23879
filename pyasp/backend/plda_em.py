"""Training of two-covariance PLDA: statistics, EM as pure functions, and unsupervised adaptation.

References: Kaldi plda.cc (same statistics, same order of updates), kaldi-facts; Brümmer and de Villiers, "The speaker
partitioning problem" (Odyssey 2010).

Symbols (K classes = speakers, N vectors, D dimensions)
  n_k        vectors of class k            z_k  (D,)  mean of class k minus the unweighted mean m of the class means
  S   (D, D) within-class scatter, sum over vectors of (x - class mean)(x - class mean)'
  W, B       within- and between-class covariance; T, psi diagonalise both: T W T' = I, T B T' = diag(psi)
E: posterior of class k in the space of T: covariance c = psi / (1 + n psi), mean w = n c T z
M: B = sum_k (c + w w') / K;  W = (S + sum_k n_k (c + (w - z)(w - z)')) / N
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from pyasp.backend.plda import Plda, diagonalise

BLOCK = 16384  # vectors taken to double precision at a time
NO_SCATTER = 1e-12  # share of the vectors' variance within classes that is rounding alone


@dataclass(frozen=True)
class ClassStats:
    """counts (K,) int64, means (K, D) float64, scatter (D, D) float64."""

    counts: np.ndarray
    means: np.ndarray
    scatter: np.ndarray

    @property
    def mean(self) -> np.ndarray:
        """Unweighted mean of the class means, (D,): the mean that Kaldi's PLDA stores."""
        return self.means.mean(axis=0)

    @property
    def num_vectors(self) -> int:
        """Number of vectors N."""
        return int(self.counts.sum())


def accumulate(vectors: np.ndarray, labels: np.ndarray) -> ClassStats:
    """Statistics of vectors (N, D) with class numbers labels (N,) in 0..K-1, each class seen at least once.

    Class means first, then the scatter about them: no cancellation between large sums.
    """
    from scipy import sparse  # here, so that scoring two recordings does not wait for its import

    counts = np.bincount(labels)
    assert counts.all(), "class numbers without a vector"
    means = np.zeros((counts.size, vectors.shape[1]))
    for start in range(0, len(labels), BLOCK):
        part = labels[start : start + BLOCK]
        member = sparse.csr_matrix((np.ones(part.size), (part, np.arange(part.size))), shape=(counts.size, part.size))
        means += member @ np.asarray(vectors[start : start + BLOCK], np.float64)
    means /= counts[:, None]
    scatter = np.zeros((vectors.shape[1],) * 2)
    for start in range(0, len(labels), BLOCK):
        centred = vectors[start : start + BLOCK] - means[labels[start : start + BLOCK]]
        scatter += centred.T @ centred
    return ClassStats(counts, means, scatter)


def em_step(stats: ClassStats, within: np.ndarray, between: np.ndarray) -> tuple[np.ndarray, np.ndarray, int]:
    """One EM iteration: new within and between (D, D), and how many eigenvalues of the old `within` were floored."""
    transform, psi, floored = diagonalise(within, between)
    inverse, n = np.linalg.inv(transform), stats.counts[:, None]
    z = (stats.means - stats.mean) @ transform.T
    posterior = psi / (1.0 + n * psi)  # c, (K, D): diagonals
    w = n * posterior * z
    between_new = (np.diag(posterior.sum(axis=0)) + w.T @ w) / len(stats.counts)
    within_new = np.diag((n * posterior).sum(axis=0)) + (w - z).T @ (n * (w - z))
    within_new = (within_new + transform @ stats.scatter @ transform.T) / stats.num_vectors
    return _symmetric(inverse @ within_new @ inverse.T), _symmetric(inverse @ between_new @ inverse.T), floored


def _symmetric(matrix: np.ndarray) -> np.ndarray:
    return 0.5 * (matrix + matrix.T)


def log_likelihood(stats: ClassStats, within: np.ndarray, between: np.ndarray) -> float:
    """Log-likelihood per vector of the data behind `stats`, speakers integrated out, mean m fixed.

    sqrt(n) z_k ~ N(0, W + n B); the other n_k - 1 contrasts of a class ~ N(0, W).
    """
    transform, psi, _ = diagonalise(within, between)
    n, dim = stats.counts[:, None], len(psi)
    z = (stats.means - stats.mean) @ transform.T
    log_det_within = -2.0 * np.linalg.slogdet(transform)[1]
    quadratic = (n * z**2 / (1.0 + n * psi)).sum() + ((transform @ stats.scatter) * transform).sum()
    determinant = np.log1p(n * psi).sum() + stats.num_vectors * (log_det_within + dim * np.log(2.0 * np.pi))
    return float(-0.5 * (quadratic + determinant) / stats.num_vectors)


def train(
    stats: ClassStats, iterations: int = 10, log: Callable[[str], None] = lambda line: None
) -> tuple[Plda, list[float]]:
    """PLDA by EM from W = B = I, as ivector-compute-plda; also the log-likelihood per vector before each iteration
    and after the last (it never falls). `log` receives one line an iteration."""
    within, between = np.eye(stats.scatter.shape[0]), np.eye(stats.scatter.shape[0])
    spread = (stats.counts[:, None] * (stats.means - stats.mean) ** 2).sum()
    if np.trace(stats.scatter) <= NO_SCATTER * spread:
        log("no variation within the speakers: the within-speaker covariance is what the iterations leave of its start")
    history = [log_likelihood(stats, within, between)]
    for iteration in range(1, iterations + 1):
        within, between, floored = em_step(stats, within, between)
        history.append(log_likelihood(stats, within, between))
        note = f", {floored} eigenvalues of the within-speaker covariance floored" if floored else ""
        log(f"PLDA iteration {iteration} of {iterations}: log-likelihood {history[-1]:.6f} per vector{note}")
    return Plda.from_covariances(stats.mean, within, between), history


def adapt(
    plda: Plda, vectors: np.ndarray, within_scale: float = 0.3, between_scale: float = 0.7, mean_diff_scale: float = 1.0
) -> Plda:
    """Unsupervised adaptation to unlabelled vectors (N, D) of another domain (ivector-adapt-plda).

    Where the new total variance exceeds the model's, in the basis that diagonalises the one when the other is unit,
    the excess is shared out between W and B. The mean becomes that of `vectors`.
    """
    vectors = np.asarray(vectors, np.float64)
    mean = vectors.mean(axis=0)
    shift = mean - plda.mean
    variance = (vectors - mean).T @ (vectors - mean) / len(vectors) + mean_diff_scale * np.outer(shift, shift)
    to_unit_total = plda.transform / np.sqrt(1.0 + plda.psi)[:, None]
    values, basis = np.linalg.eigh(to_unit_total @ variance @ to_unit_total.T)
    excess = np.diag(np.maximum(values - 1.0, 0.0))
    within = (basis.T / (1.0 + plda.psi)) @ basis + within_scale * excess
    between = (basis.T * (plda.psi / (1.0 + plda.psi))) @ basis + between_scale * excess
    back = np.linalg.inv(basis.T @ to_unit_total)
    return Plda.from_covariances(mean, back @ within @ back.T, back @ between @ back.T)
