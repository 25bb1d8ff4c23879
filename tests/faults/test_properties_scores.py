"""Laws of the models and of scores, by hypothesis: PLDA, i-vectors, calibration, normalisation, error rates."""

import numpy as np
import torch
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from laws import SEED, both
from scipy import stats as scipy_stats

from pyasp.backend import calibration, plda_em
from pyasp.backend.norm import moments
from pyasp.backend.options import ScoreOptions
from pyasp.backend.plda import Plda
from pyasp.backend.scoring import plda_scorer
from pyasp.backend.transforms import length_normalise
from pyasp.evaluation import metrics
from pyasp.gmm.model import FullGmm
from pyasp.ivector.model import Estimator, IvectorExtractor

# ---------------------------------------------------------------- PLDA


def model(rng, dim):
    within, between = (root @ root.T + 0.1 * np.eye(dim) for root in rng.normal(size=(2, dim, dim)))
    return rng.normal(size=dim), within, between


def scores(parameters, enrol, counts, tests):
    plda = Plda.from_covariances(*parameters)
    scorer = plda_scorer(enrol, counts, tests, plda, ScoreOptions(normalize_length=False))
    return np.concatenate([block for _, block in scorer.cross(np.float64)])


@both(seed=SEED, dim=st.integers(1, 5))
def verification_is_symmetric(seed, dim):
    """Of two recordings either may be the model."""
    rng = np.random.default_rng(seed)
    vectors, one = rng.normal(size=(4, dim)), np.ones(4, np.int64)
    table = scores(model(rng, dim), vectors, one, vectors)
    np.testing.assert_allclose(table, table.T, rtol=1e-7, atol=1e-7)


@both(seed=SEED, dim=st.integers(1, 4), count=st.integers(1, 4))
def scores_are_invariant_to_affine_maps_of_the_space(seed, dim, count):
    rng = np.random.default_rng(seed)
    mean, within, between = model(rng, dim)
    enrol, tests, counts = rng.normal(size=(3, dim)), rng.normal(size=(2, dim)), np.full(3, count)
    matrix = np.linalg.qr(rng.normal(size=(dim, dim)))[0] * rng.uniform(0.5, 2, dim)
    shift = rng.normal(size=dim)
    moved = matrix @ mean + shift, matrix @ within @ matrix.T, matrix @ between @ matrix.T
    np.testing.assert_allclose(
        scores(moved, enrol @ matrix.T + shift, counts, tests @ matrix.T + shift),
        scores((mean, within, between), enrol, counts, tests),
        rtol=1e-6,
        atol=1e-6,
    )


@both(seed=SEED, dim=st.integers(1, 3), count=st.integers(1, 4))
def scores_are_ratios_of_joint_gaussians(seed, dim, count):
    """log p(enrolment and test of one speaker) - log p(enrolment) - log p(test), several enrolment recordings too."""
    rng = np.random.default_rng(seed)
    mean, within, between = model(rng, dim)
    enrol, test = rng.normal(size=(count, dim)), rng.normal(size=(1, dim))

    def log_joint(vectors):
        n = len(vectors)
        covariance = np.kron(np.ones((n, n)), between) + np.kron(np.eye(n), within)
        return scipy_stats.multivariate_normal(np.tile(mean, n), covariance).logpdf(vectors.ravel())

    expected = log_joint(np.concatenate([enrol, test])) - log_joint(enrol) - log_joint(test)
    found = scores((mean, within, between), enrol.mean(0, keepdims=True), np.array([count]), test)
    np.testing.assert_allclose(found[0, 0], expected, rtol=1e-6, atol=1e-6)


@both(seed=SEED, dim=st.integers(1, 4), speakers=st.integers(2, 6), utts=st.integers(1, 4))
def training_never_lowers_the_likelihood(seed, dim, speakers, utts):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(speakers), utts + (np.arange(speakers) == 0))
    vectors = rng.normal(size=(speakers, dim))[labels] + 0.7 * rng.normal(size=(len(labels), dim))
    _, history = plda_em.train(plda_em.accumulate(vectors, labels), 4)
    assert np.isfinite(history).all() and (np.diff(history) > -1e-8).all()


# ---------------------------------------------------------------- i-vectors


@both(seed=SEED, gaussians=st.integers(1, 3), dim=st.integers(1, 3), factors=st.integers(1, 4))
def i_vectors_are_the_mean_of_the_dense_posterior(seed, gaussians, dim, factors):
    """h ~ N(p e_1, I), frames of Gaussian i ~ N(M_i h, Sigma_i): L = I + sum N_i M_i' S_i^-1 M_i, from (C D, R) matrices."""
    rng = np.random.default_rng(seed)
    ubm = FullGmm.from_moments(
        rng.dirichlet(np.ones(gaussians)),
        rng.normal(size=(gaussians, dim)),
        np.stack([np.eye(dim) * rng.uniform(0.5, 2) for _ in range(gaussians)]),
    )
    extractor = IvectorExtractor.from_ubm(ubm, factors, [seed])
    count, first = rng.uniform(0, 5, (1, gaussians)), rng.normal(size=(1, gaussians, dim))
    estimator = Estimator(extractor, torch.device("cpu"))
    result = estimator.solve(estimator.terms(torch.tensor(count), torch.tensor(first)), slice(0, 1))
    loading = extractor.projections.reshape(-1, factors)
    precision = np.zeros((gaussians * dim, gaussians * dim))
    for i in range(gaussians):
        triangle = np.zeros((dim, dim))
        triangle[np.tril_indices(dim)] = extractor.inv_covars[i]
        precision[i * dim : (i + 1) * dim, i * dim : (i + 1) * dim] = triangle + np.tril(triangle, -1).T
    weighted = np.kron(np.diag(count[0]), np.eye(dim)) @ precision
    start = np.zeros(factors)
    start[0] = extractor.prior_offset
    dense = np.linalg.solve(
        np.eye(factors) + loading.T @ weighted @ loading, loading.T @ precision @ first.ravel() + start
    )
    np.testing.assert_allclose(result.mean.numpy()[0], dense - start, rtol=1e-6, atol=1e-6)


# ---------------------------------------------------------------- scores


def drawn_scores(seed, n):
    rng = np.random.default_rng(seed)
    target = np.arange(n) % 3 == 0
    return rng.normal(size=n) + 1.5 * target, target


@both(seed=SEED, n=st.integers(12, 60), scale=st.floats(0.01, 100), offset=st.floats(-50, 50))
def calibration_keeps_the_order_and_does_not_see_affine_maps(seed, n, scale, offset):
    values, target = drawn_scores(seed, n)
    trained = calibration.train(values[:, None], target, ("s",))
    found = trained.apply(values[:, None])
    if trained.weights[0] > 0:
        np.testing.assert_array_equal(np.argsort(found, kind="stable"), np.argsort(values, kind="stable"))
    other = scale * values + offset
    np.testing.assert_allclose(
        calibration.train(other[:, None], target, ("s",)).apply(other[:, None]), found, rtol=1e-4, atol=1e-4
    )


@both(
    seed=SEED,
    rows=st.integers(1, 4),
    cohort=st.integers(3, 12),
    top=st.integers(0, 12),
    scale=st.floats(0.01, 100),
    offset=st.floats(-50, 50),
)
def score_normalisation_does_not_see_affine_maps(seed, rows, cohort, top, scale, offset):
    """(score - mean) / deviation: the same after any rising affine map of all scores."""
    rng = np.random.default_rng(seed)
    table, score = rng.normal(size=(rows, cohort)), rng.normal(size=rows)
    top = 0 if top == 1 else top
    mean, deviation = moments(table.copy(), top)
    moved, wider = moments(scale * table + offset, top)
    np.testing.assert_allclose(
        (scale * score + offset - moved) / wider, (score - mean) / deviation, rtol=1e-6, atol=1e-6
    )


@both(
    values=st.lists(st.sampled_from([-np.inf, -1.0, 0.0, 1.0, np.inf]), min_size=2, max_size=12),
    split=st.integers(1, 11),
)
def error_rates_stand_ties_and_infinities(values, split):
    """Shares between 0 and 1, the same in any order of the trials."""
    split = min(split, len(values) - 1)
    values, target = np.array(values), np.arange(len(values)) < split
    t, u = metrics.split(values, target)
    counts = metrics.error_counts(t, u)
    figures = metrics.eer_kaldi(t, u)[0], metrics.eer_rocch(counts), metrics.min_dcf(counts, 0.1)[0]
    assert all(0 <= figure <= 1 for figure in figures)
    t, u = metrics.split(values[::-1], target[::-1])
    assert metrics.eer_rocch(metrics.error_counts(t, u)) == figures[1]


@both(
    vectors=arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 5)), elements=st.floats(-1e3, 1e3)),
    scale=st.floats(1e-3, 1e3),
)
def length_normalisation_does_not_see_the_length(vectors, scale):
    found = length_normalise(vectors)
    large = np.linalg.norm(vectors, axis=1) > 1e-100
    np.testing.assert_allclose(np.linalg.norm(found[large], axis=1), np.sqrt(vectors.shape[1]))
    np.testing.assert_allclose(length_normalise(scale * vectors)[large], found[large], rtol=1e-9, atol=1e-9)
    assert np.isfinite(found).all()
