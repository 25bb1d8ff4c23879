"""PLDA: recovered parameters, likelihood that never falls, and scores that are exact likelihood ratios of Gaussians."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from pyasp.backend import plda_em
from pyasp.backend.files import read_plda, write_plda
from pyasp.backend.options import ScoreOptions
from pyasp.backend.plda import Plda, diagonalise
from pyasp.backend.scoring import plda_scorer
from pyasp.core.errors import InputError

PLAIN = ScoreOptions(normalize_length=False)


def covariance(generator, dim, scale=1.0):
    factor = generator.normal(size=(dim, dim))
    return scale * (factor @ factor.T / dim + 0.3 * np.eye(dim))


def model(generator, dim=4):
    return generator.normal(size=dim), covariance(generator, dim), covariance(generator, dim, 2.0)


def draw(generator, mean, within, between, counts):
    """Vectors (N, D) and class numbers of a two-covariance model."""
    labels = np.repeat(np.arange(len(counts)), counts)
    speakers = generator.multivariate_normal(mean, between, len(counts))
    return speakers[labels] + generator.multivariate_normal(np.zeros(len(mean)), within, len(labels)), labels


def joint_log_density(vectors, mean, within, between):
    """log N of several vectors of one speaker, stacked: covariance W on the diagonal blocks, B everywhere."""
    n = len(vectors)
    joint = np.kron(np.eye(n), within) + np.kron(np.ones((n, n)), between)
    return multivariate_normal(np.tile(mean, n), joint).logpdf(np.ravel(vectors))


def test_parameters_are_recovered_the_better_the_more_speakers():
    mean, within, between = model(np.random.default_rng(0))
    errors = []
    for speakers in (100, 1000, 10000):
        generator = np.random.default_rng(speakers)
        data = draw(generator, mean, within, between, generator.integers(1, 8, speakers))
        found, _ = plda_em.train(plda_em.accumulate(*data), 40)
        parts = zip((found.mean, *found.covariances()), (mean, within, between))
        errors.append(max(np.linalg.norm(a - b) / np.linalg.norm(b) for a, b in parts))
    assert errors[1] < 0.5 * errors[0] and errors[2] < 0.5 * errors[1] and errors[2] < 0.06


def test_likelihood_never_falls_and_is_the_joint_gaussian():
    generator = np.random.default_rng(1)
    data, labels = draw(generator, *model(generator, 3), [1, 1, 2, 3, 5, 4])
    stats = plda_em.accumulate(data, labels)
    found, history = plda_em.train(stats, 25)
    assert np.all(np.diff(history) >= -1e-12) and history[-1] > history[0] + 0.1
    within, between = found.covariances()
    brute = sum(joint_log_density(data[labels == k], stats.mean, within, between) for k in range(6))
    assert history[-1] == pytest.approx(brute / len(data), abs=1e-9)


def test_one_em_step_is_the_textbook_one():
    """Posterior of each speaker by dense inverses, as plda.cc writes it."""
    generator = np.random.default_rng(2)
    mean, within, between = model(generator)
    data, labels = draw(generator, mean, within, between, [2, 1, 4, 3])
    stats = plda_em.accumulate(data, labels)
    sum_w, sum_b = stats.scatter.copy(), np.zeros_like(between)
    for k, n in enumerate([2, 1, 4, 3]):
        z = data[labels == k].mean(axis=0) - stats.mean
        posterior = np.linalg.inv(np.linalg.inv(between) + n * np.linalg.inv(within))
        w = posterior @ (n * np.linalg.inv(within) @ z)
        sum_b += posterior + np.outer(w, w)
        sum_w += n * (posterior + np.outer(w - z, w - z))
    new_within, new_between, floored = plda_em.em_step(stats, within, between)
    np.testing.assert_allclose(new_within, sum_w / 10, rtol=1e-10)
    np.testing.assert_allclose(new_between, sum_b / 4, rtol=1e-10)
    assert floored == 0


def test_blocks_and_order_of_vectors_change_no_statistics(monkeypatch):
    generator = np.random.default_rng(3)
    data, labels = draw(generator, *model(generator), [3, 2, 4, 1])
    whole = plda_em.accumulate(data, labels)
    monkeypatch.setattr(plda_em, "BLOCK", 3)
    parts = plda_em.accumulate(data, labels)
    for name in ("counts", "means", "scatter"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), rtol=1e-12)
    shuffled = generator.permutation(len(labels))
    np.testing.assert_allclose(plda_em.accumulate(data[shuffled], labels[shuffled]).scatter, whole.scatter, rtol=1e-12)


def test_scatter_survives_a_large_offset():
    generator = np.random.default_rng(4)
    data, labels = draw(generator, *model(generator), [5] * 20)
    near, far = (plda_em.accumulate(data + offset, labels).scatter for offset in (0.0, 1e6))
    np.testing.assert_allclose(far, near, rtol=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5])
def test_score_is_the_exact_likelihood_ratio(n):
    """With normalisation off the score of n recordings against one is the ratio of joint Gaussian densities."""
    generator = np.random.default_rng(5)
    mean, within, between = model(generator)
    plda = Plda.from_covariances(mean, within, between)
    enroll, tests = draw(generator, mean, within, between, [n])[0], draw(generator, mean, within, between, [1] * 6)[0]
    scorer = plda_scorer(enroll.mean(axis=0)[None], np.array([n]), tests, plda, PLAIN)
    apart = joint_log_density(enroll, mean, within, between)
    exact = [
        joint_log_density([*enroll, test], mean, within, between)
        - apart
        - joint_log_density([test], mean, within, between)
        for test in tests
    ]
    np.testing.assert_allclose(scorer.pairs(np.zeros(6, int), np.arange(6)), exact, rtol=1e-9, atol=1e-9)


def test_score_by_the_formula_of_the_transformed_space():
    generator = np.random.default_rng(6)
    plda = Plda.from_covariances(*model(generator))
    x, y, n = generator.normal(size=4), generator.normal(size=4), 3
    u, v, shrink = plda.project(x[None])[0], plda.project(y[None])[0], n * plda.psi / (n * plda.psi + 1)
    given = multivariate_normal(shrink * u, np.diag(1 + plda.psi / (n * plda.psi + 1))).logpdf(v)
    alone = multivariate_normal(np.zeros(4), np.diag(1 + plda.psi)).logpdf(v)
    score = plda_scorer(x[None], np.array([n]), y[None], plda, PLAIN).pairs(np.array([0]), np.array([0]))
    assert score[0] == pytest.approx(given - alone, abs=1e-10)


@pytest.mark.parametrize("options", [PLAIN, ScoreOptions(), ScoreOptions(simple_length_normalization=True)])
def test_score_of_single_recordings_is_symmetric(options):
    generator = np.random.default_rng(7)
    plda, vectors = Plda.from_covariances(*model(generator)), generator.normal(size=(5, 4))
    i, j = np.triu_indices(5)
    scorer = plda_scorer(vectors, np.ones(5, int), vectors, plda, options)
    np.testing.assert_allclose(scorer.pairs(i, j), scorer.pairs(j, i), rtol=1e-10, atol=1e-12)


def test_score_is_invariant_to_invertible_maps():
    generator = np.random.default_rng(8)
    mean, within, between = model(generator)
    a, b = generator.normal(size=(4, 4)), generator.normal(size=4)
    vectors = generator.normal(size=(6, 4))
    mapped = Plda.from_covariances(a @ mean + b, a @ within @ a.T, a @ between @ a.T)
    scores = [
        plda_scorer(x, np.array([1, 2, 3, 1, 2, 3]), x, plda, PLAIN).pairs(*np.indices((6, 6)).reshape(2, -1))
        for x, plda in ((vectors, Plda.from_covariances(mean, within, between)), (vectors @ a.T + b, mapped))
    ]
    np.testing.assert_allclose(scores[0], scores[1], rtol=1e-8, atol=1e-8)


def test_training_is_invariant_to_rotations():
    generator = np.random.default_rng(9)
    data, labels = draw(generator, *model(generator), [4] * 30)
    rotation = np.linalg.qr(generator.normal(size=(4, 4)))[0]
    plain, turned = (plda_em.train(plda_em.accumulate(x, labels), 5)[0] for x in (data, data @ rotation.T))
    np.testing.assert_allclose(turned.psi, plain.psi, rtol=1e-9)
    np.testing.assert_allclose(turned.covariances()[0], rotation @ plain.covariances()[0] @ rotation.T, atol=1e-10)


def test_stored_form():
    generator = np.random.default_rng(10)
    mean, within, between = model(generator)
    plda = Plda.from_covariances(mean, within, between)
    assert np.all(np.diff(plda.psi) <= 0) and plda.psi.min() >= 0
    for found, true in zip(plda.covariances(), (within, between)):
        np.testing.assert_allclose(found, true, rtol=1e-10)
    _, psi, floored = diagonalise(np.diag([1.0, 0.0]), np.diag([1.0, 0.0]))
    assert floored == 1 and psi.tolist() == [1.0, 0.0]


def test_smoothing_moves_a_share_of_between_into_within():
    """A W A' + s A B A' of the transformed space becomes the new unit; the ratio of the two is psi / (1 + s psi)."""
    plda = Plda.from_covariances(*model(np.random.default_rng(11)))
    within, between = plda.covariances()
    smooth_within, smooth_between = plda.smooth(0.2).covariances()
    np.testing.assert_allclose(smooth_within, within + 0.2 * between, rtol=1e-10)
    np.testing.assert_allclose(smooth_between, between, rtol=1e-10)


def test_projection_keeps_the_covariances():
    generator = np.random.default_rng(12)
    mean, within, between = model(generator)
    axes = generator.normal(size=(2, 4))
    reduced = Plda.from_covariances(mean, within, between).projected(axes)
    np.testing.assert_allclose(reduced.covariances()[1], axes @ between @ axes.T, rtol=1e-9)
    np.testing.assert_allclose(reduced.mean, axes @ mean)


def test_adaptation_explains_the_new_domain():
    """In-domain data leave the covariances alone; with all excess given away the total variance becomes the new one."""
    generator = np.random.default_rng(13)
    mean, within, between = model(generator)
    plda = Plda.from_covariances(mean, within, between)
    factor = np.linalg.cholesky(within + between)
    grid = np.concatenate([np.eye(4), -np.eye(4)]) * 2.0  # covariance I, mean 0, exactly
    for same, found in zip((within, between), plda_em.adapt(plda, mean + grid @ factor.T).covariances()):
        np.testing.assert_allclose(found, same, rtol=1e-8)
    adapted = plda_em.adapt(plda, mean + 3 + 2 * grid @ factor.T, 0.4, 0.6, 0.0)
    total = sum(adapted.covariances())
    np.testing.assert_allclose(total, 4 * (within + between), rtol=1e-8)
    np.testing.assert_allclose(adapted.mean, mean + 3)


@pytest.mark.parametrize("binary", [True, False])
def test_write_read_write(tmp_path, binary):
    plda = Plda.from_covariances(*model(np.random.default_rng(14)))
    write_plda(tmp_path / "a", plda, binary)
    write_plda(tmp_path / "b", read_plda(tmp_path / "a"), binary)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    if binary:
        again = read_plda(tmp_path / "a")
        assert all(np.array_equal(getattr(plda, part), getattr(again, part)) for part in ("mean", "transform", "psi"))


def test_shapes_that_do_not_fit():
    with pytest.raises(InputError, match=r"transform \(2, 3\)"):
        Plda(np.zeros(2), np.zeros((2, 3)), np.zeros(2))


def test_a_file_of_another_kind(tmp_path):
    (tmp_path / "x").write_bytes(b"\0B<DiagGMM> ")
    with pytest.raises(InputError, match="<Plda>"):
        read_plda(tmp_path / "x")
