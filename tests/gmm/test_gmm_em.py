"""Training of mixture models: EM, floors, flags, initialisation, sampling."""

import numpy as np
import pytest
import torch
from gmm_models import F64, NO_LIMITS, draw, random_full, tensor

from pyasp.core.errors import InputError
from pyasp.data.fit import Facts, gaussians
from pyasp.gmm.em import DiagStats, FullStats, UpdateOptions, objective, update
from pyasp.gmm.init import InitOptions, initialise, random_start, sample_frames, split
from pyasp.gmm.model import DiagGmm, FullGmm
from pyasp.gmm.posteriors import Aligner, DiagScorer
from pyasp.gmm.train import UbmOptions, complaints


def em(model, x, iterations, options):
    """Full or diagonal EM over all Gaussians; log-likelihoods per frame before each update."""
    likelihoods = []
    for _ in range(iterations):
        if isinstance(model, FullGmm):
            stats = FullStats.zeros(model.num_gauss, model.dim)
            stats.accumulate(x, Aligner(model.to_diag(), model, model.num_gauss, dtype=F64)(x))
        else:
            stats = DiagStats.zeros(model.num_gauss, model.dim)
            stats.accumulate(x, DiagScorer(model, dtype=F64))
        model, report = update(model, stats, options)
        likelihoods.append(stats.loglike / stats.frames)
        assert report.objf_change > -1e-6
    return model, likelihoods


@pytest.mark.parametrize("full", [True, False])
def test_likelihood_never_falls(full):
    rng = np.random.default_rng(9)
    x = draw(random_full(rng), 600, rng)
    start = random_start(x.astype(np.float32), 4, rng, 1e-3)
    _, likelihoods = em(FullGmm.from_diag(start) if full else start, tensor(x), 15, NO_LIMITS)
    assert (np.diff(likelihoods) > -1e-5).all() and likelihoods[-1] > likelihoods[0] + 0.05


def test_known_model_is_recovered_better_with_more_data():
    rng = np.random.default_rng(10)
    truth = random_full(rng, 3, 2, spread=6.0)
    errors = []
    for count in (200, 20000):
        model, _ = em(truth, tensor(draw(truth, count, rng)), 8, NO_LIMITS)
        errors.append(
            max(
                abs(model.means - truth.means).max(),
                abs(model.covariances - truth.covariances).max(),
                abs(model.weights - truth.weights).max(),
            )
        )
    assert errors[1] < 0.08 and errors[1] < errors[0] / 3


def test_objective_is_the_likelihood_at_the_model():
    rng = np.random.default_rng(11)
    model = random_full(rng, 1)
    x = tensor(draw(model, 50, rng))
    stats = FullStats.zeros(1, 3)
    stats.accumulate(x, Aligner(model.to_diag(), model, 1, dtype=F64)(x))
    assert objective(model, stats) == pytest.approx(float(stats.loglike), abs=1e-3)  # one Gaussian: no entropy term
    diag, stats = model.to_diag(), DiagStats.zeros(1, 3)
    stats.accumulate(x, DiagScorer(diag, dtype=F64))
    assert objective(diag, stats) == pytest.approx(float(stats.loglike), abs=1e-3)


def test_singular_covariance_is_floored_and_counted():
    rng = np.random.default_rng(12)
    x = rng.standard_normal((500, 2)) * 3
    x = tensor(np.concatenate([x, x[:, :1]], 1))  # third dimension repeats the first
    model = FullGmm.from_moments([1.0], np.zeros((1, 3)), np.eye(3)[None])
    stats = FullStats.zeros(1, 3)
    stats.accumulate(x, Aligner(model.to_diag(), model, 1)(x))
    updated, report = update(model, stats, UpdateOptions(variance_floor=1e-6, max_condition=1e4))
    values = np.linalg.eigvalsh(updated.covariances[0])
    assert report.floored == 1 and report.floored_gaussians == 1
    assert values[0] == pytest.approx(values[-1] / 1e4, rel=1e-2)
    constant, stats = DiagGmm.from_moments([1.0], np.zeros((1, 2)), np.ones((1, 2))), DiagStats.zeros(1, 2)
    stats.accumulate(torch.ones(50, 2), DiagScorer(constant, dtype=F64))
    updated, report = update(constant, stats, UpdateOptions(variance_floor=0.001))
    assert report.floored == 2 and np.allclose(updated.covariances, 0.001)


@pytest.mark.parametrize("flags", ["m", "v", "w", "mv", "mvw"])
@pytest.mark.parametrize("full", [True, False])
def test_update_flags_choose_what_changes(full, flags):
    """Every choice changes its parts alone and gains by them; variances are taken around the means that are kept."""
    rng = np.random.default_rng(19)
    model, x = random_full(rng, 2), tensor(draw(random_full(rng, 2), 400, rng))
    model = model if full else model.to_diag()
    stats = (FullStats if full else DiagStats).zeros(2, 3)
    alignment = Aligner(model.to_diag(), model, 2, dtype=F64)(x) if full else DiagScorer(model, dtype=F64)
    stats.accumulate(x, alignment)
    updated, report = update(model, stats, UpdateOptions(remove_low_count=False, update_flags=flags))
    for flag, name in (("m", "means"), ("v", "covariances"), ("w", "weights")):
        same = np.allclose(getattr(updated, name), getattr(model, name), rtol=1e-5, atol=1e-5)
        assert same == (flag not in flags), name
    assert report.objf_change > 0
    if flags == "v":
        count, first = (getattr(stats, name).numpy() for name in ("count", "first"))
        square = (stats.second.diagonal(dim1=1, dim2=2) if full else stats.second).numpy()
        around = (square - 2 * model.means * first) / count[:, None] + model.means**2
        found = updated.covariances.diagonal(axis1=1, axis2=2) if full else updated.covariances
        np.testing.assert_allclose(found, around, rtol=1e-4)


@pytest.mark.parametrize("full", [True, False])
def test_gaussians_without_data_stay_or_go(full):
    model = random_full(np.random.default_rng(13), 3)
    kind = FullStats if full else DiagStats
    model = model if full else model.to_diag()
    stats = kind.zeros(3, 3)
    stats.count += torch.tensor([500.0, 0.0, 300.0])
    stats.second += torch.eye(3)[None] * 700 if full else 700.0
    kept, report = update(model, stats, UpdateOptions(min_gaussian_weight=0.01, remove_low_count=False))
    assert (report.low_count, report.removed, kept.num_gauss) == (1, 0, 3)
    assert kept.weights[1] == np.float32(0.01) and np.array_equal(kept.means[1], model.means[1])
    gone, report = update(model, stats, UpdateOptions(min_gaussian_weight=0.01))
    assert (report.low_count, report.removed, gone.num_gauss) == (1, 1, 2)
    assert gone.weights == pytest.approx([5 / 8, 3 / 8])
    last, report = update(model, stats, UpdateOptions(min_gaussian_occupancy=1e9))
    assert (report.removed, last.num_gauss) == (2, 1)
    with pytest.raises(InputError, match="at least one frame"):
        update(model, kind.zeros(3, 3), UpdateOptions())


def test_start_reaches_the_wanted_size_and_improves():
    rng = np.random.default_rng(14)
    x = draw(random_full(rng, 6), 3000, rng).astype(np.float32)
    options = InitOptions(9, 4, 6, UpdateOptions(1e-4, 10.0))
    model, history = initialise(x, options, np.random.default_rng([1, 1]), torch.device("cpu"), F64)
    again, _ = initialise(x, options, np.random.default_rng([1, 1]), torch.device("cpu"), F64)
    assert model.num_gauss == 9 and history[-1]["loglike"] > history[0]["loglike"]
    assert all(np.array_equal(getattr(model, n), getattr(again, n)) for n in model.__dataclass_fields__)
    assert model.weights.sum() == pytest.approx(1.0, abs=1e-5)


def test_split_keeps_weights_and_moves_means_apart():
    model = random_full(np.random.default_rng(15), 3).to_diag()
    heaviest = int(model.weights.argmax())
    larger = split(model, 4, np.random.default_rng(0))
    assert larger.weights.sum() == pytest.approx(1.0) and larger.weights[3] == larger.weights[heaviest]
    assert np.allclose((larger.means[3] + larger.means[heaviest]) / 2, model.means[heaviest], atol=1e-5)
    assert np.array_equal(larger.inverse[3], model.inverse[heaviest])
    assert (abs(larger.means[3] - larger.means[heaviest]) > 0).all()


def test_too_little_data_to_start():
    rng = np.random.default_rng(16)
    with pytest.raises(InputError, match="39 frames for 4 Gaussians"):
        random_start(rng.standard_normal((39, 2)).astype(np.float32), 4, rng, 1e-3)
    with pytest.raises(InputError, match="all equal"):
        random_start(np.ones((50, 2), np.float32), 4, rng, 1e-3)
    with pytest.raises(InputError, match="no frames"):
        sample_frames([], 10, rng)


def test_sampled_frames_are_all_or_uniform():
    recordings = [(f"u{i}", np.arange(100 * i, 100 * (i + 1), dtype=np.float32)[:, None]) for i in range(10)]
    everything = sample_frames(recordings, 5000, np.random.default_rng(0))
    assert np.array_equal(everything[:, 0], np.arange(1000))
    means = [sample_frames(recordings, 50, np.random.default_rng(seed)).mean() for seed in range(40)]
    assert np.mean(means) == pytest.approx(499.5, abs=4 * 288.7 / np.sqrt(40 * 50))
    assert len(np.unique(sample_frames(recordings, 50, np.random.default_rng(1)))) == 50


def test_sampling_over_many_blocks(monkeypatch):
    monkeypatch.setattr("pyasp.gmm.init.READ_FRAMES", 30)
    recordings = [(f"u{i}", np.arange(20 * i, 20 * (i + 1), dtype=np.float32)[:, None]) for i in range(50)]
    means = [sample_frames(recordings, 70, np.random.default_rng(seed)).mean() for seed in range(40)]
    assert np.mean(means) == pytest.approx(499.5, abs=4 * 288.7 / np.sqrt(40 * 70))


def test_a_ubm_that_is_too_large_for_its_data_is_complained_of():
    """gaussians: those that the update left."""
    last = {"loglike": -1.0, "frames": 20000, "gaussians": 3, "removed": 253, "floored": 9}
    before = {"0.dubm": {}, "4.dubm": last | {"gaussians": 256, "removed": 0}, "0.ubm": {}}
    (text,) = complaints(before | {"2.ubm": last, "1.ubm": last | {"gaussians": 256}}, UbmOptions(256, subsample=2))
    assert text.startswith("3 of 256 Gaussians are left, too few frames (40000) for more; about one Gaussian to 2600")
    last |= {"gaussians": 240, "removed": 16}
    (text,) = complaints({"1.ubm": last | {"floored": 2816}}, UbmOptions(256, subsample=2))
    assert text.startswith("2816 eigenvalues of 240 covariances were floored, too few frames (40000)")
    assert not complaints(before | {"1.ubm": last}, UbmOptions(256))


def test_no_fewer_gaussians_are_advised_than_the_rule_gives():
    """As `auto` chooses 8 for 17575 frames, and never fewer than 4."""
    last = {"loglike": -1.0, "frames": 17575, "gaussians": 8, "removed": 0, "floored": 118}
    (text,) = complaints({"1.ubm": last}, UbmOptions(gaussians(Facts(9, 90, 17575, 200, 50)), subsample=1))
    assert "17575 frames are enough for 8 as a rule" in text and "lower rate" in text and "num-gauss" not in text
    (text,) = complaints({"1.ubm": last | {"gaussians": 16, "floored": 170}}, UbmOptions(16, subsample=1))
    assert "too few frames (17575) for them" in text and "lower --num-gauss" in text
    (text,) = complaints({"1.ubm": last | {"frames": 900, "gaussians": 4}}, UbmOptions(4, subsample=1))
    assert text.endswith("fits: bring more speech")


def test_a_ubm_of_no_iteration_is_not_complained_of():
    assert not complaints({"0.dubm": {}}, UbmOptions(256))
