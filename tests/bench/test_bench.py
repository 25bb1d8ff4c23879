"""The benchmark: its references give the same numbers as ours, its rows are complete, its command writes them."""

import json

import numpy as np
import pytest
import torch

from bench import __main__ as bench
from bench import measure, models
from bench.measure import PeakMemory, Row, Setting, in_turns
from bench.reference import CACHED, IvectorReference, PairReference, plda_trial
from pyasp.backend.options import ScoreOptions
from pyasp.backend.plda import Plda
from pyasp.backend.scoring import plda_scorer
from pyasp.core.packed import full_from_packed
from pyasp.gmm.em import FullStats
from pyasp.gmm.posteriors import Aligner
from pyasp.ivector.em import IvectorStats
from pyasp.ivector.model import Estimator

KEYS = {"name", "rate", "unit", "ratio", "fraction_of_peak", "peak_memory_bytes"}


@pytest.mark.parametrize("min_post", [0.0, 0.025])
def test_reference_of_pairs_gives_our_statistics(min_post):
    model = models.ubm(64, 6)
    x = models.frames(model, 200)
    ours = FullStats.zeros(64, 6)
    aligner = Aligner(model.to_diag(), model, 5, min_post, dtype=torch.float64)
    ours.accumulate(torch.from_numpy(x), aligner(torch.from_numpy(x)))
    reference, wide = PairReference(model.to_diag(), model, 5, min_post), x.astype(np.float64)
    chosen = reference.select(wide)
    reference.accumulate(wide, chosen, reference.posteriors(wide, chosen))
    sums = full_from_packed(torch.as_tensor(np.stack(reference.sums)))
    assert torch.allclose(sums[:, :6, :6], ours.second, atol=1e-3)
    assert torch.allclose(sums[:, 6, :6], ours.first, atol=1e-3)
    assert torch.allclose(sums[:, 6, 6], ours.count, atol=1e-4)
    assert reference.bytes_per_frame() == 5 * 28 * 8


def test_reference_of_ivectors_gives_our_estimates():
    model = models.extractor(12, 4, 7)
    count, first = models.statistics(model, CACHED + 3)
    estimator, stats = Estimator(model), IvectorStats.zeros(12, 4, 7)
    stats.accumulate(estimator, count, first)
    reference = IvectorReference(estimator).with_sums()
    means = estimator.means(count, first).numpy()
    for u in range(len(count)):
        reference.accumulate(count[u].numpy(), first[u].numpy())
        mean, _ = reference.extract(count[u].numpy(), first[u].numpy())
        np.testing.assert_allclose(mean - model.prior_offset * np.eye(1, 7)[0], means[u], atol=1e-8)
    assert reference.cached == 3
    reference.flush()
    np.testing.assert_allclose(reference.second, stats.quadratic, rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(reference.first.reshape(12, 4, 7), stats.linear, rtol=1e-8, atol=1e-8)


def test_single_precision_is_within_a_thousandth_of_double():
    model = models.extractor(40, 10, 30)
    count, first = models.statistics(model, 20)
    exact, single = (Estimator(model, dtype=dtype).means(count, first) for dtype in (torch.float64, torch.float32))
    distance = torch.linalg.vector_norm(single - exact, dim=1) / torch.linalg.vector_norm(exact, dim=1)
    assert float(distance.max()) < 1e-3
    sums = [IvectorStats.zeros(40, 10, 30) for _ in range(2)]
    for total, dtype in zip(sums, (torch.float64, torch.float32)):
        total.accumulate(Estimator(model, dtype=dtype), count, first)
    for name in ("linear", "quadratic", "vector_scatter"):
        exact, single = (getattr(total, name) for total in sums)
        assert single.dtype == torch.float64 and float((single - exact).norm() / exact.norm()) < 1e-4


def test_reference_of_plda_gives_our_score():
    rng = np.random.default_rng(8)
    plda = Plda(rng.standard_normal(5), np.eye(5), np.array([4.0, 2.0, 1.0, 0.5, 0.0]))
    models, tests = rng.standard_normal((3, 5)), rng.standard_normal((4, 5))
    scorer = plda_scorer(models, np.array([1, 2, 3]), tests, plda, ScoreOptions(normalize_length=False))
    for i in range(3):
        for j in range(4):
            expected = plda_trial(plda, plda.project(models[i]), i + 1, plda.project(tests[j]))
            assert scorer.pairs(np.array([i]), np.array([j]))[0] == pytest.approx(expected, abs=1e-10)


def test_every_row_is_complete(tmp_path, monkeypatch):
    """A fast row through the command: table on the screen, one object a row in the file."""
    rows = [Row("nothing", 2.0, "things/s", None, 0.5, 7)]
    monkeypatch.setitem(bench.ROWS, "nothing", lambda setting: iter(rows))
    monkeypatch.setattr(bench, "bandwidth", lambda vectors: 1e10)
    monkeypatch.setattr(bench, "sgemm_rate", lambda setting, threads: 1e11)
    assert bench.main(["--only=nothing", f"--json={tmp_path / 'rows.json'}"]) in (None, 0)
    (row,) = json.loads((tmp_path / "rows.json").read_text())
    assert KEYS <= set(row) and row["rate"] == 2.0 and row["ratio"] is None
    assert bench.main(["--only=other"]) == 1


@pytest.mark.parametrize("name", ["plda_cross_product", "ivector_estep_covariances"])
def test_rows_measure_something(name, tmp_path, monkeypatch):
    monkeypatch.setattr(measure, "bandwidth", lambda vectors: 1e10)
    monkeypatch.setattr(measure, "sgemm_rate", lambda setting, threads: 1e11)
    monkeypatch.setattr(bench.scoring, "REFERENCE_TRIALS", 10)
    monkeypatch.setattr(Setting, "size", lambda self, small, full: 70 if small > 70 else small)
    rows = list(bench.ROWS[name](Setting(False, torch.device("cpu"), (1,), tmp_path)))
    assert all(row.rate > 0 and row.peak_memory_bytes > 0 and row.fraction_of_peak > 0 for row in rows) and rows


def test_peak_memory_and_turns():
    memory = PeakMemory(torch.device("cpu"))
    before = memory.bytes()
    held = np.ones(1 << 25)
    assert memory.bytes() > before + held.nbytes // 2
    calls = []
    setting = Setting(False, torch.device("cpu"), (1,), None)
    found = in_turns(lambda: calls.append("o"), lambda: lambda: calls.append("r"), setting, 1, 3)
    assert calls == list("ororor") and found.own >= 0 and found.reference >= 0
    assert found.sgemm > 0 and found.stream > 0 and found.memory > 0
    assert in_turns(lambda: None, None, setting, 1, 1).reference is None
