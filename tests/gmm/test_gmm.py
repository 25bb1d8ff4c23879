"""GMM: formats, scores against scipy, selection, statistics against brute force, EM, initialisation, failure paths."""

import gc
import io
import sys
import threading

import numpy as np
import pytest
import stored_models
import torch
from gmm_models import F64, draw, random_full, tensor
from golden_models import all_loglikes
from scipy.stats import multivariate_normal

from pyasp.core.errors import InputError
from pyasp.core.packed import pack, unpack
from pyasp.core.threads import prefetched
from pyasp.features.stored import Recordings, blocks
from pyasp.gmm import pairs
from pyasp.gmm import posteriors as gmm_score
from pyasp.gmm.em import DiagStats, FullStats
from pyasp.gmm.files import read_diag, read_full
from pyasp.gmm.model import DiagGmm, FullGmm
from pyasp.gmm.posteriors import Aligner, Alignment, DiagScorer, align, prune


def scipy_loglikes(model, x):
    covariances = model.covariances if isinstance(model, FullGmm) else [np.diag(v) for v in model.covariances]
    return np.stack(
        [
            np.log(w) + multivariate_normal(m, c).logpdf(x)
            for w, m, c in zip(model.weights.astype(np.float64), model.means, covariances)
        ],
        1,
    )


def file_bytes(model, binary):
    stream = io.BytesIO()
    stored_models.write(model, stream, binary)
    return stream.getvalue()


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("full", [True, False])
def test_models_write_read_write_the_same_bytes(tmp_path, full, binary):
    model = random_full(np.random.default_rng(0))
    model = model if full else model.to_diag()
    path = tmp_path / "model"
    path.write_bytes(file_bytes(model, binary))
    again = stored_models.read(type(model), path)
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
    assert np.allclose(back.inverse, diag.inverse, rtol=1e-6) and np.allclose(back.means, diag.means, atol=1e-6)


def test_constants_of_a_file_that_are_wrong_are_computed_again(tmp_path):
    model = random_full(np.random.default_rng(2)).to_diag()
    wrong = DiagGmm(model.weights, model.linear, model.inverse, model.gconsts + 3)
    stored_models.write(wrong, tmp_path / "m")
    assert np.array_equal(read_diag(tmp_path / "m").gconsts, model.gconsts)


def test_damaged_models_are_refused(tmp_path):
    model = random_full(np.random.default_rng(3))
    bad = model.inverse.copy()
    bad[2, 0] = -1.0
    with pytest.raises(InputError, match="Gaussian 2: found an inverse covariance with eigenvalue"):
        FullGmm.from_natural(model.weights, model.linear, bad)
    diag = model.to_diag()
    inverse = diag.inverse.copy()
    inverse[0, 0] = np.nan
    stored_models.write(DiagGmm(diag.weights, diag.linear, inverse, diag.gconsts), tmp_path / "nan")
    with pytest.raises(InputError, match="not finite"):
        read_diag(tmp_path / "nan")
    stored_models.write(DiagGmm(diag.weights, diag.linear, -diag.inverse, diag.gconsts), tmp_path / "negative")
    with pytest.raises(InputError, match="positive variances"):
        read_diag(tmp_path / "negative")
    stored_models.write(DiagGmm(diag.weights[1:], diag.linear, diag.inverse, diag.gconsts), tmp_path / "short")
    with pytest.raises(InputError, match="shape"):
        read_diag(tmp_path / "short")
    with pytest.raises(InputError, match="<FullGMM>"):
        read_full(tmp_path / "short")


@pytest.mark.parametrize("small_groups", [False, True])
def test_scores_equal_scipy(monkeypatch, small_groups):
    if small_groups:  # many chunks and many padded batches give the same
        monkeypatch.setitem(gmm_score.SCORE_BYTES, "cpu", 1)
        monkeypatch.setitem(gmm_score.PAIR_BYTES, "cpu", 5000)
        monkeypatch.setattr(pairs, "RUN_PAIRS", 7)
        monkeypatch.setattr(pairs, "PART_PAIRS", 50)
    rng = np.random.default_rng(4)
    model = random_full(rng)
    x = draw(model, 150, rng)
    expected = scipy_loglikes(model, x)
    assert np.allclose(all_loglikes(model, tensor(x)), expected, atol=1e-4)
    assert np.allclose(all_loglikes(model, tensor(x), torch.float32), expected, atol=1e-3)
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
    result = align(posteriors.log(), torch.tensor([[7, 8, 9]] * 3), 0.39)
    assert result.gauss.tolist() == [7, 8, 8, 8] and result.frame.tolist() == [0, 0, 1, 2]
    assert result.weight.sum() == pytest.approx(3.0)


def test_posteriors_are_scaled():
    model = random_full(np.random.default_rng(7))
    x = tensor(draw(model, 20, np.random.default_rng(8))).float()
    plain, half = (Aligner(model.to_diag(), model, 3, scale=scale)(x).weight for scale in (1.0, 0.5))
    assert torch.equal(half, 0.5 * plain) and len(plain)


def test_statistics_equal_brute_force_and_add_up():
    rng = np.random.default_rng(6)
    model = random_full(rng)
    x = draw(model, 90, rng)
    aligner = Aligner(model.to_diag(), model, 3, 0.05, dtype=F64)
    whole, parts = FullStats.zeros(5, 3), FullStats.zeros(5, 3)
    whole.accumulate(tensor(x), aligner(tensor(x)))
    for part in (x[:40], x[40:]):
        parts.accumulate(tensor(part), aligner(tensor(part)))
    alignment = aligner(tensor(x))
    dense = np.zeros((90, 5))
    dense[alignment.frame, alignment.gauss] = alignment.weight
    for stats in (whole, parts):
        assert np.allclose(stats.count, dense.sum(0)) and np.allclose(stats.first, dense.T @ x)
        assert np.allclose(stats.second, np.einsum("tc,ti,tj->cij", dense, x, x))
        assert stats.frames == 90 and stats.loglike == pytest.approx(float(alignment.loglike))


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
    stored_models.write(stats, tmp_path / "acc")
    again = stored_models.read(kind, tmp_path / "acc")
    for name in ("count", "first", "second"):
        assert torch.allclose(getattr(again, name), getattr(stats, name), rtol=1e-5, atol=1e-4)


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


def test_reading_ahead_that_is_collected_in_its_own_thread_ends(monkeypatch):
    """The garbage collector works in whichever thread has made much: here in the one that makes the items."""
    found, dropped, makers = [], threading.Event(), []
    monkeypatch.setattr(sys, "unraisablehook", found.append)

    def items():
        makers.append(threading.current_thread())
        yield 1
        dropped.wait(60)
        gc.collect()
        yield 2

    stream = prefetched(items())
    gc.disable()
    try:
        next(stream)
        cycle = [stream]
        cycle.append(cycle)
        del cycle, stream
        dropped.set()
        makers[0].join(60)
    finally:
        gc.enable()
    assert not makers[0].is_alive() and found == []


def test_recordings_need_features_and_vad(tmp_path):
    from pyasp.data.datadir import DataDir
    from pyasp.features.frontend import FrontendOptions

    DataDir(tmp_path).write("utt2spk", {"u": "s"})
    with pytest.raises(InputError, match="stage features"):
        Recordings(DataDir(tmp_path), FrontendOptions())
