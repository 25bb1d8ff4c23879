"""i-vectors: two routes, batches, recovery of the latent, precision, statistics, formats, failure paths."""

import dataclasses
import io

import numpy as np
import pytest
import stored_models
import torch
from ivector_models import F64, C, D, R, direct_posterior, draw, random_extractor, random_statistics

from pyasp.core import packed as packed_module
from pyasp.core import threads
from pyasp.core.errors import InputError
from pyasp.core.packed import unpack
from pyasp.features.stored import blocks
from pyasp.gmm.em import FullStats
from pyasp.gmm.model import FullGmm
from pyasp.gmm.posteriors import Aligner
from pyasp.ivector import model as ivector
from pyasp.ivector import statistics
from pyasp.ivector.files import read_extractor
from pyasp.ivector.model import Estimator, IvectorExtractor
from pyasp.ivector.statistics import extract, recording_stats, scale_stats, weighted_sums_cpu, weighted_sums_cuda


def test_two_routes_and_batches_agree():
    rng = np.random.default_rng(0)
    model = random_extractor(rng)
    count, first = random_statistics(rng)
    estimator = Estimator(model)
    batch = estimator.solve(estimator.terms(count, first))
    for u in range(len(count)):
        mean, covariance = direct_posterior(model, count[u].numpy(), first[u].numpy())
        mean[0] -= model.prior_offset
        assert np.allclose(batch.mean[u], mean, atol=1e-10)
        assert np.allclose(torch.cholesky_inverse(batch.root[u]), covariance, atol=1e-10)
        assert torch.allclose(estimator.means(count[u : u + 1], first[u : u + 1])[0], batch.mean[u], atol=1e-12)


def test_float32_products_keep_ivectors():
    rng = np.random.default_rng(1)
    model = random_extractor(rng, offset=100.0)
    count, first, _, _ = draw(model, 30, 2000, rng)
    exact = Estimator(model).means(count, first)
    single = Estimator(model, dtype=torch.float32).means(count, first)
    assert float((single - exact).abs().max() / exact.abs().max()) < 1e-3


def test_float32_too_coarse_for_the_prior_is_factorised_in_float64():
    """At 2^30 frames 1 + N is N in float32, and the second pivot zero."""
    model = IvectorExtractor(np.ones(1), np.ones((1, 1, 2)), np.ones((1, 1)), 0.0, np.zeros((0, 0)))
    count, first = torch.tensor([[2.0**30], [10.0]], dtype=F64), torch.tensor([[[3 * 2.0**30]], [[30.0]]], dtype=F64)
    exact, single = (Estimator(model, dtype=dtype).means(count, first) for dtype in (F64, torch.float32))
    assert torch.allclose(exact, torch.tensor([[3 * 2.0**30 / (2.0**31 + 1)] * 2, [30.0 / 21.0] * 2], dtype=F64))
    assert torch.allclose(single, exact, rtol=1e-6)


def test_counts_that_drown_the_prior_are_named():
    model = IvectorExtractor(np.ones(1), np.array([[[1.0, 1 / 3]]]), np.ones((1, 1)), 0.0, np.zeros((0, 0)))
    count = torch.tensor([[2.0**40]], dtype=F64)
    with pytest.raises(InputError, match="prior's precision 1.*--max-count"):
        Estimator(model, dtype=torch.float32).means(count, count[..., None])
    assert torch.isfinite(Estimator(model).means(count, count[..., None])).all()


def test_product_in_tiles_is_the_product(monkeypatch):
    rng = np.random.default_rng(26)
    a, b = (torch.as_tensor(rng.standard_normal(shape)) for shape in ((3, 4), (4, 11)))
    for largest, least in (
        (1 << 20, 1),
        (20, 1),
        (1 << 20, 3),
    ):  # eleven columns; five, five and one; four, four and three
        monkeypatch.setitem(threads.TILE, "cpu", largest)
        monkeypatch.setitem(threads.TILES, "cpu", least)
        assert torch.allclose(threads.product(a, b), a @ b, rtol=1e-14)


def test_no_frames_give_the_prior():
    model = random_extractor(np.random.default_rng(2))
    estimator = Estimator(model)
    result = estimator.solve(estimator.terms(torch.zeros(1, C, dtype=F64), torch.zeros(1, C, D, dtype=F64)))
    assert torch.equal(result.mean, torch.zeros(1, R, dtype=F64))
    assert torch.equal(result.root[0], torch.eye(R, dtype=F64))


def test_latent_is_recovered_better_with_more_frames():
    rng = np.random.default_rng(3)
    model = random_extractor(rng)
    found = []
    for frames in (3, 30, 3000):
        count, first, _, latent = draw(model, 60, frames, rng)
        means = Estimator(model).means(count, first).numpy()
        found.append(min(np.corrcoef(means[:, r], latent[:, r])[0, 1] for r in range(R)))
    assert found[0] < found[1] < found[2] and found[2] > 0.98


def test_weights_that_do_not_depend_on_h_change_nothing():
    rng = np.random.default_rng(11)
    model = random_extractor(rng)
    count, first = random_statistics(rng)
    regressing = dataclasses.replace(model, weights=np.zeros(0), weight_projections=np.zeros((C, R)))
    found, expected = (Estimator(m).means(count, first) for m in (regressing, model))
    assert torch.allclose(found, expected)


def test_regressed_weights_reach_the_mode(monkeypatch):
    monkeypatch.setattr(ivector, "WEIGHT_ITERATIONS", 200)
    monkeypatch.setattr(ivector, "WEIGHT_CHANGE", 1e-13)
    rng = np.random.default_rng(12)
    model = random_extractor(rng)
    w = rng.standard_normal((C, R)) * 0.3
    regressing = IvectorExtractor(np.zeros(0), model.projections, model.inv_covars, model.prior_offset, w)
    count, first = random_statistics(rng)
    z = Estimator(regressing).means(count, first).requires_grad_()
    estimator = Estimator(model)
    plain = estimator.solve(estimator.terms(count, first))
    h = z + model.prior_offset * torch.eye(1, R, dtype=F64)
    precision = plain.root @ plain.root.mT
    log_posterior = (
        (z * plain.linear).sum()
        - 0.5 * torch.einsum("bi,bij,bj->", z, precision, z)
        + (count * torch.log_softmax(h @ torch.as_tensor(w).T, 1)).sum()
    )
    log_posterior.backward()
    assert z.grad.abs().max() < 1e-6


def test_recording_statistics_equal_brute_force(monkeypatch):
    rng = np.random.default_rng(13)
    lengths, ubm = [5, 1, 9], FullGmm.from_moments([0.3, 0.7], rng.standard_normal((2, D)), np.stack([np.eye(D)] * 2))
    recordings = [(f"u{i}", rng.standard_normal((n, D)).astype(np.float32)) for i, n in enumerate(lengths)]
    aligner = Aligner(ubm.to_diag(), ubm, 2, 0.1, dtype=F64)
    for frames in (1 << 16, 4):  # alignment in pieces that cut recordings
        monkeypatch.setitem(statistics.BLOCK_FRAMES, "cpu", frames)
        (block,) = blocks(recordings, 100)
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


def test_statistics_are_scaled_and_bounded():
    count, first = torch.full((2, C), 10.0, dtype=F64), torch.ones(2, C, D, dtype=F64)
    count[1] = 1.0
    scaled, moved = scale_stats(count, first, 0.5, 8.0)
    assert scaled.sum(1).tolist() == [8.0, 2.0] and moved[0, 0, 0] == pytest.approx(8 / 40) and moved[1, 0, 0] == 0.5
    assert torch.equal(scale_stats(count, first)[0], count)


def test_extraction_in_any_blocks(monkeypatch):
    rng = np.random.default_rng(16)
    model = random_extractor(rng)
    ubm = FullGmm.from_moments(
        model.weights, model.prior_offset * model.projections[:, :, 0], np.linalg.inv(unpack(model.inv_covars))
    )
    recordings = [(f"u{i}", rng.standard_normal((10 + i, D)).astype(np.float32)) for i in range(9)]
    aligner, estimator = Aligner(ubm.to_diag(), ubm, 3, 0.025, dtype=F64), Estimator(model)
    whole = dict(extract(recordings, aligner, estimator))
    monkeypatch.setattr(statistics, "MAX_RECORDINGS", 2)
    parts = dict(extract(recordings, aligner, estimator))
    assert list(whole) == list(parts) == [name for name, _ in recordings]
    assert all(np.allclose(whole[name], parts[name], atol=1e-5) and whole[name].dtype == np.float32 for name in whole)
    with pytest.raises(InputError, match="wide: found 4 dimensions"):
        list(extract([("wide", np.zeros((5, 4), np.float32))], aligner, estimator))


@pytest.mark.parametrize("binary", [True, False])
def test_extractor_write_read_write_the_same_bytes(tmp_path, binary):
    ubm = FullGmm.from_moments([0.4, 0.6], np.ones((2, D)), np.stack([np.eye(D)] * 2))
    model = IvectorExtractor.from_ubm(ubm, R, [1, 2])
    assert np.allclose(model.projections[:, :, 0] * model.prior_offset, 1.0)
    stored_models.write(model, tmp_path / "0.ie", binary)
    again, stream = read_extractor(tmp_path / "0.ie"), io.BytesIO()
    stored_models.write(again, stream, binary)
    assert stream.getvalue() == (tmp_path / "0.ie").read_bytes()
    if binary:
        assert np.array_equal(again.projections, model.projections)
        assert np.array_equal(again.projections, IvectorExtractor.from_ubm(ubm, R, [1, 2]).projections)


def test_damaged_extractors_are_refused(tmp_path):
    model = random_extractor(np.random.default_rng(19))
    broken = IvectorExtractor(model.weights[1:], model.projections, model.inv_covars, 1.0, np.zeros((0, 0)))
    stored_models.write(broken, tmp_path / "short")
    with pytest.raises(InputError, match="damaged"):
        read_extractor(tmp_path / "short")
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
