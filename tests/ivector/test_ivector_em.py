"""EM of the extractor: objective, minimum divergence, solver, floors, statistics in tiles and in files."""

import dataclasses

import numpy as np
import pytest
import stored_models
import torch
from bench.measure import torch_threads
from ivector_models import F64, NO_LIMITS, C, D, R, draw, e_step, random_extractor, random_statistics
from kaldi_statistics import read_ivector_stats

from pyasp.core import threads
from pyasp.core.errors import InputError
from pyasp.core.packed import unpack
from pyasp.ivector.em import IvectorStats
from pyasp.ivector.model import Estimator
from pyasp.ivector.mstep import (
    EstimationOptions,
    apply_floor,
    average_quadratic,
    householder,
    prior_transform,
    solve_projections,
    update,
)
from pyasp.kaldi.items import copy_model


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_tiles_and_threads_leave_every_bit(monkeypatch, dtype):
    rng = np.random.default_rng(25)
    model = random_extractor(rng, num_gauss=C, ivector_dim=R)
    count, first = random_statistics(rng)
    whole = IvectorStats.zeros(C, D, R)
    whole.accumulate(Estimator(model, dtype=dtype), count, first)
    monkeypatch.setitem(threads.TILES, "cpu", 1)
    monkeypatch.setitem(threads.TILE, "cpu", 2 * D * R)  # some tiles of R's columns and of Y's Gaussians
    found = []
    for number in (1, 2, 3):
        with torch_threads(number):
            stats = IvectorStats.zeros(C, D, R)
            stats.accumulate(Estimator(model, dtype=dtype), count, first)
            found.append(stats)
    for name in ("linear", "quadratic", "vector_sum", "vector_scatter"):
        assert torch.allclose(getattr(found[0], name), getattr(whole, name), rtol=1e-5, atol=1e-3), name
        assert all(torch.equal(getattr(found[0], name), getattr(other, name)) for other in found[1:]), name


def test_objective_is_the_marginal_likelihood():
    rng = np.random.default_rng(4)
    model = random_extractor(rng, num_gauss=1)
    frames = 7
    count, first, total, _ = draw(model, 1, frames, rng)
    stats = e_step(model, count, first, total)
    # the frames of a recording are jointly Gaussian: a common M h and independent noise
    rng = np.random.default_rng(4)
    random_extractor(rng, num_gauss=1)
    h = rng.standard_normal((1, R)) + model.prior_offset * np.eye(1, R)
    rng.choice(1, frames, p=[1.0])
    sigma, m = np.linalg.inv(unpack(model.inv_covars))[0], model.projections[0]
    x = (m @ h[0]) + rng.standard_normal((frames, D)) @ np.linalg.cholesky(sigma).T
    joint = np.kron(np.ones((frames, frames)), m @ m.T) + np.kron(np.eye(frames), sigma)
    around = x.reshape(-1) - np.tile(model.prior_offset * m[:, 0], frames)
    distance, log_det = around @ np.linalg.solve(joint, around), np.linalg.slogdet(joint)[1]
    expected = -0.5 * (distance + log_det + frames * D * np.log(2 * np.pi))
    assert stats.objective == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("diagonalize", [True, False])
@pytest.mark.parametrize("variances", [True, False])
def test_objective_never_falls(diagonalize, variances):
    rng = np.random.default_rng(5)
    truth = random_extractor(rng)
    count, first, total, _ = draw(truth, 50, 40, rng)
    model = random_extractor(rng, offset=100.0)
    model.projections[:, :, 0] /= 30
    options = EstimationOptions(variances, 1.0, 1e-9, diagonalize)
    objectives = []
    for _ in range(12):
        stats = e_step(model, count, first, total)
        objectives.append(stats.objective / float(stats.count.sum()))
        model, _ = update(model, stats, options)
    assert (np.diff(objectives) > -1e-9).all() and objectives[-1] > objectives[0] + 0.5


def test_prior_is_standard_after_the_update():
    rng = np.random.default_rng(6)
    model = random_extractor(rng)
    stats = e_step(model, *draw(model, 40, 30, rng)[:3])
    transform, offset, floored = prior_transform(stats, model.weights, model.projections, model.inv_covars, True)
    mean = (stats.vector_sum / stats.recordings).numpy()
    covariance = (stats.vector_scatter / stats.recordings).numpy() - np.outer(mean, mean)
    assert floored == 0 and np.allclose(transform @ covariance @ transform.T, np.eye(R), atol=1e-9)
    assert np.allclose(transform @ mean, offset * np.eye(1, R)[0], atol=1e-9) and offset > 0
    assert np.allclose(np.linalg.det(transform) ** 2 * np.linalg.det(covariance), 1.0)


def test_average_precision_becomes_diagonal():
    # Kaldi rotates without the small coupling of the first coordinate to the others, which vanishes as EM converges
    rng = np.random.default_rng(21)
    model = random_extractor(rng)
    count, first, total, _ = draw(model, 60, 40, rng)
    for _ in range(40):
        model, _ = update(model, e_step(model, count, first, total), EstimationOptions(gaussian_min_count=1.0))
    average = average_quadratic(model.weights, model.projections, model.inv_covars)[1:, 1:]
    assert np.abs(average - np.diag(np.diag(average))).max() < 1e-3 * average.max()
    assert (np.diff(np.diag(average)) <= 1e-3 * average.max()).all()


def test_update_keeps_gaussians_without_data_and_its_inputs():
    rng = np.random.default_rng(7)
    model = random_extractor(rng)
    stats = e_step(model, *draw(model, 40, 30, rng)[:3])
    stats.count[2] = 0.0
    before = model.projections.copy(), model.inv_covars.copy(), stats.quadratic.clone()
    updated, report = update(model, stats, NO_LIMITS)
    assert report.low_count == 1 and np.array_equal(updated.inv_covars[2], model.inv_covars[2])
    assert np.array_equal(before[0], model.projections) and np.array_equal(before[1], model.inv_covars)
    assert torch.equal(before[2], stats.quadratic)
    # the kept Gaussian is the same function of the old coordinates: M_i V^-1
    change = np.linalg.lstsq(model.projections[2], updated.projections[2], rcond=None)[0]
    assert np.allclose(model.projections[2] @ change, updated.projections[2], atol=1e-9)
    regressing = dataclasses.replace(model, weight_projections=np.ones((C, R)))
    with pytest.raises(InputError, match="regressed weights"):
        update(regressing, stats, NO_LIMITS)
    stats.count.zero_()
    with pytest.raises(InputError, match="smaller --gaussian-min-count"):
        update(model, stats, NO_LIMITS)


def test_solver_routes_agree_and_floors_are_counted(monkeypatch):
    rng = np.random.default_rng(8)
    vectors = rng.standard_normal((3, 40, R))
    quadratic = torch.as_tensor(vectors.transpose(0, 2, 1) @ vectors)
    old, linear = (torch.as_tensor(rng.standard_normal((3, D, R))) for _ in range(2))
    precisions = torch.eye(D, dtype=F64).expand(3, D, D)
    fast, floored = solve_projections(old, linear, quadratic, precisions)
    assert torch.allclose(fast, linear @ torch.linalg.inv(quadratic), atol=1e-10) and not floored.any()
    monkeypatch.setattr(torch.linalg, "matrix_norm", lambda a: torch.full((len(a),), 1e9, dtype=F64))
    slow, floored = solve_projections(old, linear, quadratic, precisions)
    assert torch.allclose(fast, slow, atol=1e-10) and not floored.any()
    monkeypatch.undo()
    quadratic[1] = quadratic[1, :, :1] @ quadratic[1, :1, :]  # rank one
    new, floored = solve_projections(old, linear, quadratic, precisions)
    assert floored.tolist() == [0, R - 1, 0] and torch.isfinite(new).all()

    def auxiliary(m):
        return (linear * m).sum((1, 2)) - 0.5 * ((m @ quadratic) * m).sum((1, 2))

    assert (auxiliary(new) >= auxiliary(old) - 1e-9).all()


def test_covariance_floor_holds_in_every_direction():
    rng = np.random.default_rng(9)
    vectors = rng.standard_normal((4, D, 2))
    floor = torch.as_tensor(np.diag([0.5, 0.1, 0.2]))
    floored, number = apply_floor(torch.as_tensor(vectors @ vectors.transpose(0, 2, 1)), floor)
    assert number >= 4 and (torch.linalg.eigvalsh(floored - floor) > -1e-12).all()
    large = torch.eye(D, dtype=F64)[None] * 7
    kept, number = apply_floor(large, floor)
    assert number == 0 and torch.allclose(kept, large)


def test_householder_sends_a_vector_to_the_first_axis():
    vector = np.random.default_rng(10).standard_normal(R)
    reflection = householder(vector)
    assert np.allclose(reflection @ vector, np.linalg.norm(vector) * np.eye(1, R)[0])
    assert np.allclose(reflection @ reflection.T, np.eye(R))
    assert np.array_equal(householder(np.array([2.0, 0.0])), np.eye(2))


def test_statistics_add_up_and_are_stored(tmp_path):
    rng = np.random.default_rng(17)
    model = random_extractor(rng)
    count, first, total, _ = draw(model, 10, 20, rng)
    whole = e_step(model, count, first, total)
    parts = e_step(model, count[:4], first[:4], total)
    parts.accumulate(Estimator(model), count[4:], first[4:])
    stored_models.write(parts, tmp_path / "acc")
    for other, tolerance in ((parts, 1e-10), (read_ivector_stats(tmp_path / "acc"), 1e-6)):
        for name in ("count", "linear", "quadratic", "second", "vector_sum", "vector_scatter"):
            assert torch.allclose(getattr(other, name), getattr(whole, name), rtol=tolerance, atol=tolerance), name
        assert other.recordings == 10 and other.objective == pytest.approx(float(whole.objective))


@pytest.mark.parametrize("binary", [True, False])
def test_statistics_without_second_order_leave_the_covariances(tmp_path, binary):
    """As accumulated with --update-variances=false: read, written again, and of use for all the rest of an update."""
    rng = np.random.default_rng(23)
    model = random_extractor(rng)
    stats = e_step(model, *draw(model, 40, 60, rng)[:3])
    whole, _ = update(model, stats, dataclasses.replace(NO_LIMITS, update_variances=False))
    stats.second = stats.second[:0]
    stored_models.write(stats, tmp_path / "acc", binary)
    read = read_ivector_stats(tmp_path / "acc")
    stored_models.write(read, tmp_path / "again", binary)
    assert (tmp_path / "again").read_bytes() == (tmp_path / "acc").read_bytes() and len(read.second) == 0
    copy_model(tmp_path / "acc", tmp_path / "copy", binary)
    assert (tmp_path / "copy").read_bytes() == (tmp_path / "acc").read_bytes()
    updated, _ = update(model, stats, NO_LIMITS)
    assert np.array_equal(updated.inv_covars, model.inv_covars)
    np.testing.assert_array_equal(updated.projections, whole.projections)


def test_quadratic_statistics_in_float32():
    rng = np.random.default_rng(18)
    model = random_extractor(rng, offset=50.0)
    count, first, total, _ = draw(model, 30, 50, rng)
    exact, single = (e_step(model, count, first, total, dtype) for dtype in (F64, torch.float32))
    assert torch.allclose(single.quadratic, exact.quadratic, rtol=1e-4, atol=1e-2)
    assert torch.allclose(single.vector_scatter, exact.vector_scatter, rtol=1e-6, atol=1e-3)
    assert single.quadratic.dtype == F64
