"""GMM: formats, scores against scipy, selection, statistics against brute force, EM, initialisation, failure paths."""

import io
import threading

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from pyasp import gmm_pairs, gmm_score
from pyasp.errors import InputError
from pyasp.gmm import DiagGmm, FullGmm
from pyasp.gmm_data import Recordings, blocks
from pyasp.prefetch import prefetched
from pyasp.gmm_em import DiagStats, FullStats, UpdateOptions, diag_objective, full_objective, update_diag, update_full
from pyasp.gmm_init import InitOptions, initialise, random_start, sample_frames, split
from pyasp.gmm_score import Aligner, Alignment, DiagScorer, FullScorer, align, prune
from pyasp.triangles import pack, unpack

F64 = torch.float64
NO_LIMITS = UpdateOptions(1e-8, 1.0, 1e-8, 1e12, False)


def random_full(rng, num_gauss=5, dim=3, spread=2.0):
    roots = rng.standard_normal((num_gauss, dim, dim)) * 0.3 + np.eye(dim)
    weights = rng.uniform(0.5, 1.5, num_gauss)
    return FullGmm.from_moments(weights / weights.sum(), spread * rng.standard_normal((num_gauss, dim)),
                                roots @ roots.transpose(0, 2, 1))


def draw(model, count, rng):
    weights = model.weights.astype(np.float64)
    chosen = rng.choice(model.num_gauss, count, p=weights / weights.sum())
    roots = np.linalg.cholesky(model.covariances)
    return model.means[chosen] + np.einsum("tij,tj->ti", roots[chosen], rng.standard_normal((count, model.dim)))


def scipy_loglikes(model, x):
    covariances = model.covariances if isinstance(model, FullGmm) else [np.diag(v) for v in model.variances]
    return np.stack([np.log(w) + multivariate_normal(m, c).logpdf(x)
                     for w, m, c in zip(model.weights.astype(np.float64), model.means, covariances)], 1)


def file_bytes(model, binary):
    stream = io.BytesIO()
    model.write(stream, binary)
    return stream.getvalue()


def tensor(x):
    return torch.as_tensor(np.asarray(x))


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("full", [True, False])
def test_models_write_read_write_the_same_bytes(tmp_path, full, binary):
    model = random_full(np.random.default_rng(0))
    model = model if full else model.to_diag()
    path = tmp_path / "model"
    path.write_bytes(file_bytes(model, binary))
    again = type(model).read(path)
    assert file_bytes(again, binary) == path.read_bytes()
    assert np.allclose(again.means, model.means, rtol=1e-5, atol=1e-5)
    if binary:
        assert all(np.array_equal(getattr(again, n), getattr(model, n)) for n in model.__dataclass_fields__)


def test_packing_is_row_by_row_lower_triangle():
    matrix = np.array([[1.0, 2.0, 4.0], [2.0, 3.0, 5.0], [4.0, 5.0, 6.0]])
    assert pack(matrix).tolist() == [1, 2, 3, 4, 5, 6]
    assert np.array_equal(unpack(pack(matrix)), matrix)


def test_full_and_diagonal_forms():
    diag = random_full(np.random.default_rng(1)).to_diag()
    full = FullGmm.from_diag(diag)
    assert np.allclose(full.gconsts, diag.gconsts, atol=1e-5)
    back = full.to_diag()
    assert np.allclose(back.inv_vars, diag.inv_vars, rtol=1e-6) and np.allclose(back.means, diag.means, atol=1e-6)


def test_constants_of_a_file_that_are_wrong_are_computed_again(tmp_path):
    model = random_full(np.random.default_rng(2)).to_diag()
    wrong = DiagGmm(model.weights, model.means_invvars, model.inv_vars, model.gconsts + 3)
    wrong.write(tmp_path / "m")
    assert np.array_equal(DiagGmm.read(tmp_path / "m").gconsts, model.gconsts)


def test_damaged_models_are_refused(tmp_path):
    model = random_full(np.random.default_rng(3))
    bad = model.inv_covars.copy()
    bad[2, 0] = -1.0
    with pytest.raises(InputError, match="Gaussian 2: found an inverse covariance with eigenvalue"):
        FullGmm.from_natural(model.weights, model.means_invcovars, bad)
    diag = model.to_diag()
    inverse = diag.inv_vars.copy()
    inverse[0, 0] = np.nan
    DiagGmm(diag.weights, diag.means_invvars, inverse, diag.gconsts).write(tmp_path / "nan")
    with pytest.raises(InputError, match="not finite"):
        DiagGmm.read(tmp_path / "nan")
    DiagGmm(diag.weights, diag.means_invvars, -diag.inv_vars, diag.gconsts).write(tmp_path / "negative")
    with pytest.raises(InputError, match="positive variances"):
        DiagGmm.read(tmp_path / "negative")
    DiagGmm(diag.weights[1:], diag.means_invvars, diag.inv_vars, diag.gconsts).write(tmp_path / "short")
    with pytest.raises(InputError, match="shape"):
        DiagGmm.read(tmp_path / "short")
    with pytest.raises(InputError, match="<FullGMM>"):
        FullGmm.read(tmp_path / "short")


@pytest.mark.parametrize("small_groups", [False, True])
def test_scores_equal_scipy(monkeypatch, small_groups):
    if small_groups:  # many chunks and many padded batches give the same
        monkeypatch.setitem(gmm_score.SCORE_BYTES, "cpu", 1)
        monkeypatch.setitem(gmm_score.PAIR_BYTES, "cpu", 5000)
        monkeypatch.setattr(gmm_pairs, "RUN_PAIRS", 7)
        monkeypatch.setattr(gmm_pairs, "PART_PAIRS", 50)
    rng = np.random.default_rng(4)
    model = random_full(rng)
    x = draw(model, 150, rng)
    expected = scipy_loglikes(model, x)
    assert np.allclose(FullScorer(model, dtype=F64).all_loglikes(tensor(x)), expected, atol=1e-4)
    assert np.allclose(FullScorer(model).all_loglikes(tensor(x)), expected, atol=1e-3)
    diag = model.to_diag()
    assert np.allclose(DiagScorer(diag, dtype=F64).loglikes(tensor(x)), scipy_loglikes(diag, x), atol=1e-4)
    values, indices = DiagScorer(diag, dtype=F64).select(tensor(x), 2)
    order = np.argsort(-scipy_loglikes(diag, x), 1)[:, :2]
    assert np.array_equal(indices, order) and (values[:, 0] >= values[:, 1]).all()


def test_selection_of_all_gives_exact_posteriors():
    rng = np.random.default_rng(5)
    model = random_full(rng)
    x = tensor(draw(model, 80, rng))
    result = Aligner(model.to_diag(), model, 100, dtype=F64)(x)
    dense = np.zeros((80, 5))
    dense[result.frame, result.gauss] = result.weight
    scores = scipy_loglikes(model, x.numpy())
    total = np.logaddexp.reduce(scores, 1)
    assert np.allclose(dense, np.exp(scores - total[:, None]), atol=1e-5)
    assert result.loglike == pytest.approx(total.sum(), abs=1e-2)


def test_pruning_drops_small_posteriors_and_keeps_the_best():
    posteriors = torch.tensor([[0.6, 0.39, 0.01], [0.24, 0.38, 0.38], [0.2, 0.5, 0.3]], dtype=F64)
    kept = prune(posteriors, 0.39)
    assert torch.allclose(kept, torch.tensor([[0.6 / 0.99, 0.39 / 0.99, 0.0], [0, 1.0, 0], [0, 1, 0]], dtype=F64))
    assert prune(posteriors, 0.0) is posteriors
    result = align(posteriors.log(), torch.tensor([[7, 8, 9]] * 3), 0.39).scaled(0.5)
    assert result.gauss.tolist() == [7, 8, 8, 8] and result.frame.tolist() == [0, 0, 1, 2]
    assert result.weight.sum() == pytest.approx(1.5)


def test_statistics_equal_brute_force_and_add_up():
    rng = np.random.default_rng(6)
    model = random_full(rng)
    x = draw(model, 90, rng)
    aligner = Aligner(model.to_diag(), model, 3, 0.05, dtype=F64)
    whole, parts = FullStats.zeros(5, 3), FullStats.zeros(5, 3)
    whole.accumulate(tensor(x), aligner(tensor(x)))
    for part in (x[:40], x[40:]):
        stats = FullStats.zeros(5, 3)
        stats.accumulate(tensor(part), aligner(tensor(part)))
        parts.add(stats)
    alignment = aligner(tensor(x))
    dense = np.zeros((90, 5))
    dense[alignment.frame, alignment.gauss] = alignment.weight
    for stats in (whole, parts):
        assert np.allclose(stats.count, dense.sum(0)) and np.allclose(stats.first, dense.T @ x)
        assert np.allclose(stats.second, np.einsum("tc,ti,tj->cij", dense, x, x))
        assert stats.frames == 90 and stats.loglike == pytest.approx(alignment.loglike)


def test_diagonal_statistics_over_selected_gaussians():
    rng = np.random.default_rng(7)
    model = random_full(rng).to_diag()
    x = rng.standard_normal((60, 3)) * 2
    scorer, stats = DiagScorer(model, dtype=F64), DiagStats.zeros(5, 3)
    stats.accumulate(tensor(x), scorer, scorer, 2)
    scores = scipy_loglikes(model, x)
    scores[np.argsort(np.argsort(-scores, 1), 1) >= 2] = -np.inf
    total = np.logaddexp.reduce(scores, 1)
    dense = np.exp(scores - total[:, None])
    assert np.allclose(stats.count, dense.sum(0), atol=1e-4) and np.allclose(stats.second, dense.T @ x**2, atol=1e-3)
    assert stats.loglike == pytest.approx(total.sum(), abs=1e-2)


@pytest.mark.parametrize("kind", [DiagStats, FullStats])
def test_statistics_are_stored_as_kaldi_stores_them(tmp_path, kind):
    rng = np.random.default_rng(8)
    x = tensor(rng.standard_normal((200, 3)))
    stats = kind.zeros(4, 3)
    alignment = Alignment(torch.arange(200), torch.arange(200) % 3, torch.ones(200, dtype=F64), 0.0)
    if kind is FullStats:
        stats.accumulate(x, alignment)
    else:
        stats.accumulate(x, DiagScorer(random_full(rng, 4).to_diag(), dtype=F64))
    stats.write(tmp_path / "acc")
    again = kind.read(tmp_path / "acc")
    for name in ("count", "first", "second"):
        assert torch.allclose(getattr(again, name), getattr(stats, name), rtol=1e-5, atol=1e-4)


def em(model, x, iterations, options):
    """Full or diagonal EM over all Gaussians; log-likelihoods per frame before each update."""
    likelihoods = []
    for _ in range(iterations):
        if isinstance(model, FullGmm):
            stats = FullStats.zeros(model.num_gauss, model.dim)
            stats.accumulate(x, Aligner(model.to_diag(), model, model.num_gauss, dtype=F64)(x))
            model, report = update_full(model, stats, options)
        else:
            stats = DiagStats.zeros(model.num_gauss, model.dim)
            stats.accumulate(x, DiagScorer(model, dtype=F64))
            model, report = update_diag(model, stats, options)
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
        errors.append(max(abs(model.means - truth.means).max(), abs(model.covariances - truth.covariances).max(),
                          abs(model.weights - truth.weights).max()))
    assert errors[1] < 0.08 and errors[1] < errors[0] / 3


def test_objective_is_the_likelihood_at_the_model():
    rng = np.random.default_rng(11)
    model = random_full(rng, 1)
    x = tensor(draw(model, 50, rng))
    stats = FullStats.zeros(1, 3)
    stats.accumulate(x, Aligner(model.to_diag(), model, 1, dtype=F64)(x))
    assert full_objective(model, stats) == pytest.approx(stats.loglike, abs=1e-3)  # one Gaussian: no entropy term
    diag, stats = model.to_diag(), DiagStats.zeros(1, 3)
    stats.accumulate(x, DiagScorer(diag, dtype=F64))
    assert diag_objective(diag, stats) == pytest.approx(stats.loglike, abs=1e-3)


def test_singular_covariance_is_floored_and_counted():
    rng = np.random.default_rng(12)
    x = rng.standard_normal((500, 2)) * 3
    x = tensor(np.concatenate([x, x[:, :1]], 1))  # third dimension repeats the first
    model = FullGmm.from_moments([1.0], np.zeros((1, 3)), np.eye(3)[None])
    stats = FullStats.zeros(1, 3)
    stats.accumulate(x, Aligner(model.to_diag(), model, 1)(x))
    updated, report = update_full(model, stats, UpdateOptions(variance_floor=1e-6, max_condition=1e4))
    values = np.linalg.eigvalsh(updated.covariances[0])
    assert report.floored == 1 and report.floored_gaussians == 1
    assert values[0] == pytest.approx(values[-1] / 1e4, rel=1e-2)
    constant, stats = DiagGmm.from_moments([1.0], np.zeros((1, 2)), np.ones((1, 2))), DiagStats.zeros(1, 2)
    stats.accumulate(torch.ones(50, 2), DiagScorer(constant, dtype=F64))
    updated, report = update_diag(constant, stats, UpdateOptions(variance_floor=0.001))
    assert report.floored == 2 and np.allclose(updated.variances, 0.001)


@pytest.mark.parametrize("flags", ["m", "v", "w", "mv", "mvw"])
@pytest.mark.parametrize("full", [True, False])
def test_update_flags_choose_what_changes(full, flags):
    """Every choice changes its parts alone and gains by them; variances are taken around the means that are kept."""
    rng = np.random.default_rng(19)
    model, x = random_full(rng, 2), tensor(draw(random_full(rng, 2), 400, rng))
    model = model if full else model.to_diag()
    stats, update = (FullStats, update_full) if full else (DiagStats, update_diag)
    stats = stats.zeros(2, 3)
    alignment = Aligner(model.to_diag(), model, 2, dtype=F64)(x) if full else DiagScorer(model, dtype=F64)
    stats.accumulate(x, alignment)
    updated, report = update(model, stats, UpdateOptions(remove_low_count=False, update_flags=flags))
    spread = "covariances" if full else "variances"
    for flag, name in (("m", "means"), ("v", spread), ("w", "weights")):
        same = np.allclose(getattr(updated, name), getattr(model, name), rtol=1e-5, atol=1e-5)
        assert same == (flag not in flags), name
    assert report.objf_change > 0
    if flags == "v":
        count, first = (getattr(stats, name).numpy() for name in ("count", "first"))
        square = (stats.second.diagonal(dim1=1, dim2=2) if full else stats.second).numpy()
        around = (square - 2 * model.means * first) / count[:, None] + model.means**2
        found = updated.covariances.diagonal(axis1=1, axis2=2) if full else updated.variances
        np.testing.assert_allclose(found, around, rtol=1e-4)


@pytest.mark.parametrize("full", [True, False])
def test_gaussians_without_data_stay_or_go(full):
    model = random_full(np.random.default_rng(13), 3)
    kind, update = (FullStats, update_full) if full else (DiagStats, update_diag)
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
    assert file_bytes(model, True) == file_bytes(again, True)
    assert model.weights.sum() == pytest.approx(1.0, abs=1e-5)


def test_split_keeps_weights_and_moves_means_apart():
    model = random_full(np.random.default_rng(15), 3).to_diag()
    heaviest = int(model.weights.argmax())
    larger = split(model, 4, np.random.default_rng(0))
    assert larger.weights.sum() == pytest.approx(1.0) and larger.weights[3] == larger.weights[heaviest]
    assert np.allclose((larger.means[3] + larger.means[heaviest]) / 2, model.means[heaviest], atol=1e-5)
    assert np.array_equal(larger.inv_vars[3], model.inv_vars[heaviest])
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
    monkeypatch.setattr("pyasp.gmm_init.READ_FRAMES", 30)
    recordings = [(f"u{i}", np.arange(20 * i, 20 * (i + 1), dtype=np.float32)[:, None]) for i in range(50)]
    means = [sample_frames(recordings, 70, np.random.default_rng(seed)).mean() for seed in range(40)]
    assert np.mean(means) == pytest.approx(499.5, abs=4 * 288.7 / np.sqrt(40 * 70))


def test_blocks_are_whole_recordings_within_bounds():
    recordings = [(f"u{i}", np.full((n, 2), i, np.float32)) for i, n in enumerate([4, 4, 4, 30, 1, 1, 1, 1])]
    found = list(blocks(recordings, 10, 3))
    assert [block.names for block in found] == [["u0", "u1"], ["u2"], ["u3"], ["u4", "u5", "u6"], ["u7"]]
    assert [block.lengths for block in found][0] == [4, 4] and found[0].x.shape == (8, 2)
    with pytest.raises(InputError, match="u1: found 3 dimensions after the front end; expected the model's 2"):
        list(blocks([("u0", np.zeros((5, 2))), ("u1", np.zeros((5, 3)))], 10))
    with pytest.raises(InputError, match="not finite"):
        list(blocks([("u0", np.full((5, 2), np.inf))], 10))


def test_prefetching_keeps_order_and_passes_exceptions_on():
    assert list(prefetched(iter(range(100)), 3)) == list(range(100))

    def broken():
        yield 1
        raise InputError("here", "x", "y", "Repair it")

    stream = prefetched(broken())
    assert next(stream) == 1
    with pytest.raises(InputError, match="here"):
        next(stream)
    before = threading.active_count()
    stopped = prefetched(iter(range(1000)), 2)
    next(stopped)
    stopped.close()
    assert threading.active_count() == before


def test_recordings_need_features_and_vad(tmp_path):
    from pyasp.datadir import DataDir
    from pyasp.frontend import FrontendOptions
    DataDir(tmp_path).write("utt2spk", {"u": "s"})
    with pytest.raises(InputError, match="stage 2"):
        Recordings(DataDir(tmp_path), FrontendOptions())
