"""i-vectors: two routes, batches, recovery of the latent, EM, minimum divergence, solver, formats, failure paths."""

import dataclasses
import io

import numpy as np
import pytest
import torch

from pyasp import ivector, ivector_stats, tiles
from pyasp.bench_measure import torch_threads
from pyasp.errors import InputError
from pyasp.gmm import FullGmm
from pyasp.gmm_data import blocks
from pyasp.gmm_em import FullStats
from pyasp.gmm_score import Aligner, Alignment
from pyasp import packed as packed_module
from pyasp.ivector import Estimator, IvectorExtractor
from pyasp.ivector_em import IvectorStats
from pyasp.ivector_mstep import (EstimationOptions, apply_floor, average_quadratic, householder, prior_transform,
                                 solve_projections, update)
from pyasp.ivector_stats import (add_recording_stats, extract, pool_stats, recording_stats, scale_stats,
                                 weighted_sums_cpu, weighted_sums_cuda)
from pyasp.kaldi_model import copy_model
from pyasp.triangles import pack, unpack

F64 = torch.float64
C, D, R = 4, 3, 5
NO_LIMITS = EstimationOptions(gaussian_min_count=1.0, variance_floor_factor=1e-9)


def random_extractor(rng, offset=3.0, num_gauss=C, dim=D, ivector_dim=R):
    roots = rng.standard_normal((num_gauss, dim, dim)) * 0.3 + np.eye(dim)
    weights = rng.uniform(0.5, 1.5, num_gauss)
    projections = rng.standard_normal((num_gauss, dim, ivector_dim)) * 0.6
    return IvectorExtractor(weights / weights.sum(), projections, pack(np.linalg.inv(roots @ roots.transpose(0, 2, 1))),
                            offset, np.zeros((0, 0)))


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
        add_recording_stats(count[u:u + 1], first[u:u + 1], x, torch.zeros(frames, dtype=torch.int64), alignment)
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


def test_two_routes_and_batches_agree():
    rng = np.random.default_rng(0)
    model = random_extractor(rng)
    count, first = random_statistics(rng)
    estimator = Estimator(model)
    batch = estimator.posterior(count, first)
    for u in range(len(count)):
        mean, covariance = direct_posterior(model, count[u].numpy(), first[u].numpy())
        mean[0] -= model.prior_offset
        assert np.allclose(batch.mean[u], mean, atol=1e-10)
        assert np.allclose(torch.cholesky_inverse(batch.root[u]), covariance, atol=1e-10)
        assert torch.allclose(estimator.posterior(count[u:u + 1], first[u:u + 1]).mean[0], batch.mean[u], atol=1e-12)


def test_float32_products_keep_ivectors():
    rng = np.random.default_rng(1)
    model = random_extractor(rng, offset=100.0)
    count, first, _, _ = draw(model, 30, 2000, rng)
    exact = Estimator(model).posterior(count, first).mean
    single = Estimator(model, dtype=torch.float32).posterior(count, first).mean
    assert float((single - exact).abs().max() / exact.abs().max()) < 1e-3


def test_float32_too_coarse_for_the_prior_is_factorised_in_float64():
    """At 2^30 frames 1 + N is N in float32, and the second pivot zero."""
    model = IvectorExtractor(np.ones(1), np.ones((1, 1, 2)), np.ones((1, 1)), 0.0, np.zeros((0, 0)))
    count, first = torch.tensor([[2.0**30], [10.0]], dtype=F64), torch.tensor([[[3 * 2.0**30]], [[30.0]]], dtype=F64)
    exact, single = (Estimator(model, dtype=dtype).posterior(count, first).mean for dtype in (F64, torch.float32))
    assert torch.allclose(exact, torch.tensor([[3 * 2.0**30 / (2.0**31 + 1)] * 2, [30.0 / 21.0] * 2], dtype=F64))
    assert torch.allclose(single, exact, rtol=1e-6)


def test_counts_that_drown_the_prior_are_named():
    model = IvectorExtractor(np.ones(1), np.array([[[1.0, 1 / 3]]]), np.ones((1, 1)), 0.0, np.zeros((0, 0)))
    count = torch.tensor([[2.0**40]], dtype=F64)
    with pytest.raises(InputError, match="prior's precision 1.*--max-count"):
        Estimator(model, dtype=torch.float32).means(count, count[..., None])
    assert torch.isfinite(Estimator(model).means(count, count[..., None])).all()


@pytest.mark.parametrize("dtype", [F64, torch.float32])
def test_tiles_and_threads_leave_every_bit(monkeypatch, dtype):
    rng = np.random.default_rng(25)
    model = random_extractor(rng, num_gauss=C, ivector_dim=R)
    count, first = random_statistics(rng)
    whole = IvectorStats.zeros(C, D, R)
    whole.accumulate(Estimator(model, dtype=dtype), count, first)
    monkeypatch.setitem(tiles.TILE, "cpu", 2 * D * R)       # some tiles of R's columns and of Y's Gaussians
    found = []
    for threads in (1, 2, 3):
        with torch_threads(threads):
            stats = IvectorStats.zeros(C, D, R)
            stats.accumulate(Estimator(model, dtype=dtype), count, first)
            found.append(stats)
    for name in ("linear", "quadratic", "vector_sum", "vector_scatter"):
        assert torch.allclose(getattr(found[0], name), getattr(whole, name), rtol=1e-5, atol=1e-3), name
        assert all(torch.equal(getattr(found[0], name), getattr(other, name)) for other in found[1:]), name


def test_product_in_tiles_is_the_product(monkeypatch):
    rng = np.random.default_rng(26)
    a, b = (torch.as_tensor(rng.standard_normal(shape)) for shape in ((3, 4), (4, 11)))
    monkeypatch.setitem(tiles.TILE, "cpu", 20)              # five columns, then one
    assert torch.allclose(tiles.product(a, b), a @ b, rtol=1e-14)


def test_no_frames_give_the_prior():
    model = random_extractor(np.random.default_rng(2))
    result = Estimator(model).posterior(torch.zeros(1, C, dtype=F64), torch.zeros(1, C, D, dtype=F64))
    assert torch.equal(result.mean, torch.zeros(1, R, dtype=F64))
    assert torch.equal(result.root[0], torch.eye(R, dtype=F64))


def test_latent_is_recovered_better_with_more_frames():
    rng = np.random.default_rng(3)
    model = random_extractor(rng)
    found = []
    for frames in (3, 30, 3000):
        count, first, _, latent = draw(model, 60, frames, rng)
        means = Estimator(model).posterior(count, first).mean.numpy()
        found.append(min(np.corrcoef(means[:, r], latent[:, r])[0, 1] for r in range(R)))
    assert found[0] < found[1] < found[2] and found[2] > 0.98


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


def test_weights_that_do_not_depend_on_h_change_nothing():
    rng = np.random.default_rng(11)
    model = random_extractor(rng)
    count, first = random_statistics(rng)
    regressing = dataclasses.replace(model, weights=np.zeros(0), weight_projections=np.zeros((C, R)))
    found, expected = (Estimator(m).posterior(count, first).mean for m in (regressing, model))
    assert torch.allclose(found, expected)


def test_regressed_weights_reach_the_mode(monkeypatch):
    monkeypatch.setattr(ivector, "WEIGHT_ITERATIONS", 200)
    monkeypatch.setattr(ivector, "WEIGHT_CHANGE", 1e-13)
    rng = np.random.default_rng(12)
    model = random_extractor(rng)
    w = rng.standard_normal((C, R)) * 0.3
    regressing = IvectorExtractor(np.zeros(0), model.projections, model.inv_covars, model.prior_offset, w)
    count, first = random_statistics(rng)
    z = Estimator(regressing).posterior(count, first).mean.requires_grad_()
    plain = Estimator(model).posterior(count, first)
    h = z + model.prior_offset * torch.eye(1, R, dtype=F64)
    precision = plain.root @ plain.root.mT
    log_posterior = (z * plain.linear).sum() - 0.5 * torch.einsum("bi,bij,bj->", z, precision, z) \
        + (count * torch.log_softmax(h @ torch.as_tensor(w).T, 1)).sum()
    log_posterior.backward()
    assert z.grad.abs().max() < 1e-6


def test_recording_statistics_equal_brute_force(monkeypatch):
    rng = np.random.default_rng(13)
    lengths, ubm = [5, 1, 9], FullGmm.from_moments([0.3, 0.7], rng.standard_normal((2, D)), np.stack([np.eye(D)] * 2))
    recordings = [(f"u{i}", rng.standard_normal((n, D)).astype(np.float32)) for i, n in enumerate(lengths)]
    aligner = Aligner(ubm.to_diag(), ubm, 2, 0.1, dtype=F64)
    for frames in (1 << 16, 4):  # alignment in pieces that cut recordings
        monkeypatch.setitem(ivector_stats.BLOCK_FRAMES, "cpu", frames)
        block, = blocks(recordings, 100)
        seen = FullStats.zeros(2, D)
        count, first = recording_stats(block, aligner, seen.accumulate)
        for u, (_, x) in enumerate(recordings):
            alignment = aligner(torch.as_tensor(x))
            dense = np.zeros((len(x), 2))
            dense[alignment.frame, alignment.gauss] = alignment.weight
            assert np.allclose(count[u], dense.sum(0)) and np.allclose(first[u], dense.T @ x)
        assert torch.allclose(seen.count, count.sum(0)) and torch.allclose(seen.first, first.sum(0))


def test_weighted_sums_agree():
    rng = np.random.default_rng(14)
    rows, weight = torch.as_tensor(rng.standard_normal((50, 3))), torch.as_tensor(rng.uniform(0, 1, 200))
    frame, keys = (torch.as_tensor(np.sort(rng.integers(0, n, 200))) for n in (50, 17))
    direct = torch.zeros((20, 3), dtype=F64).index_add_(0, keys, rows[frame] * weight[:, None])
    for sums in (weighted_sums_cpu, weighted_sums_cuda):
        assert torch.allclose(sums(rows, frame, weight, keys, 20), direct, atol=1e-12)


def test_pooled_statistics_are_those_of_one_long_recording():
    rng = np.random.default_rng(15)
    count, first = random_statistics(rng)
    pooled = pool_stats(count, first, torch.tensor([0, 1, 0, 0, 1, 1]), 2)
    assert torch.allclose(pooled[0][0], count[[0, 2, 3]].sum(0))
    assert torch.allclose(pooled[1][1], first[[1, 4, 5]].sum(0))


def test_statistics_are_scaled_and_bounded():
    count, first = torch.full((2, C), 10.0, dtype=F64), torch.ones(2, C, D, dtype=F64)
    count[1] = 1.0
    scaled, moved = scale_stats(count, first, 0.5, 8.0)
    assert scaled.sum(1).tolist() == [8.0, 2.0] and moved[0, 0, 0] == pytest.approx(8 / 40) and moved[1, 0, 0] == 0.5
    assert torch.equal(scale_stats(count, first)[0], count)


def test_extraction_in_any_blocks(monkeypatch):
    rng = np.random.default_rng(16)
    model = random_extractor(rng)
    ubm = FullGmm.from_moments(model.weights, model.prior_offset * model.projections[:, :, 0],
                               np.linalg.inv(unpack(model.inv_covars)))
    recordings = [(f"u{i}", rng.standard_normal((10 + i, D)).astype(np.float32)) for i in range(9)]
    aligner, estimator = Aligner(ubm.to_diag(), ubm, 3, 0.025, dtype=F64), Estimator(model)
    whole = dict(extract(recordings, aligner, estimator))
    monkeypatch.setattr(ivector_stats, "MAX_RECORDINGS", 2)
    parts = dict(extract(recordings, aligner, estimator))
    assert list(whole) == list(parts) == [name for name, _ in recordings]
    assert all(np.allclose(whole[name], parts[name], atol=1e-5) and whole[name].dtype == np.float32 for name in whole)
    with pytest.raises(InputError, match="wide: found 4 dimensions"):
        list(extract([("wide", np.zeros((5, 4), np.float32))], aligner, estimator))


def test_statistics_add_up_and_are_stored(tmp_path):
    rng = np.random.default_rng(17)
    model = random_extractor(rng)
    count, first, total, _ = draw(model, 10, 20, rng)
    whole = e_step(model, count, first, total)
    parts = e_step(model, count[:4], first[:4], total)
    rest = IvectorStats.zeros(C, D, R)
    rest.accumulate(Estimator(model), count[4:], first[4:])
    parts.add(rest)
    parts.write(tmp_path / "acc")
    for other, tolerance in ((parts, 1e-10), (IvectorStats.read(tmp_path / "acc"), 1e-6)):
        for name in ("count", "linear", "quadratic", "second", "vector_sum", "vector_scatter"):
            assert torch.allclose(getattr(other, name), getattr(whole, name), rtol=tolerance, atol=tolerance), name
        assert other.recordings == 10 and other.objective == pytest.approx(whole.objective)


@pytest.mark.parametrize("binary", [True, False])
def test_statistics_without_second_order_leave_the_covariances(tmp_path, binary):
    """As accumulated with --update-variances=false: read, written again, and of use for all the rest of an update."""
    rng = np.random.default_rng(23)
    model = random_extractor(rng)
    stats = e_step(model, *draw(model, 40, 60, rng)[:3])
    whole, _ = update(model, stats, dataclasses.replace(NO_LIMITS, update_variances=False))
    stats.second = stats.second[:0]
    stats.write(tmp_path / "acc", binary)
    read = IvectorStats.read(tmp_path / "acc")
    read.write(tmp_path / "again", binary)
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


@pytest.mark.parametrize("binary", [True, False])
def test_extractor_write_read_write_the_same_bytes(tmp_path, binary):
    ubm = FullGmm.from_moments([0.4, 0.6], np.ones((2, D)), np.stack([np.eye(D)] * 2))
    model = IvectorExtractor.from_ubm(ubm, R, [1, 2])
    assert np.allclose(model.projections[:, :, 0] * model.prior_offset, 1.0)
    model.write(tmp_path / "0.ie", binary)
    again, stream = IvectorExtractor.read(tmp_path / "0.ie"), io.BytesIO()
    again.write(stream, binary)
    assert stream.getvalue() == (tmp_path / "0.ie").read_bytes()
    if binary:
        assert np.array_equal(again.projections, model.projections)
        assert np.array_equal(again.projections, IvectorExtractor.from_ubm(ubm, R, [1, 2]).projections)


def test_damaged_extractors_are_refused(tmp_path):
    model = random_extractor(np.random.default_rng(19))
    broken = IvectorExtractor(model.weights[1:], model.projections, model.inv_covars, 1.0, np.zeros((0, 0)))
    broken.write(tmp_path / "short")
    with pytest.raises(InputError, match="damaged"):
        IvectorExtractor.read(tmp_path / "short")
    model.inv_covars[1] *= -1
    with pytest.raises(InputError, match="Gaussian 1"):
        Estimator(model)


def test_packed_and_full_matrices():
    packed = torch.as_tensor(np.random.default_rng(20).standard_normal((2, 15)))
    full = packed_module.full_from_packed(packed)
    assert np.array_equal(full, unpack(packed.numpy()))
    assert torch.equal(packed_module.packed_from_full(full), packed)
    for device in ("cpu", "cuda"):
        assert torch.equal(packed_module.LOWER[device](packed.float()).tril(), full.float().double().tril())
        target = torch.empty((2, 15))
        packed_module.PACK[device](full, target)
        assert torch.equal(target, packed.float())
