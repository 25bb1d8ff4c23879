"""Products over (frame, Gaussian) pairs, selection of the best, threads: against loops, on every device's code."""

import numpy as np
import pytest
import torch
from gmm_models import F64, draw, random_full, tensor

from pyasp.core.errors import InputError
from pyasp.core.threads import in_threads
from pyasp.gmm import pairs as gmm_pairs
from pyasp.gmm import posteriors
from pyasp.gmm.em import FullStats
from pyasp.gmm.pairs import grouped
from pyasp.gmm.posteriors import Aligner


@pytest.mark.parametrize("limit", [1, 5, 10000])
def test_grouping_visits_every_pair_once(limit):
    gauss = torch.tensor([3, 0, 3, 3, 5, 0, 9, 3])
    seen, gaussians = [], []
    for batch, pairs, valid in grouped(gauss, 12, limit):
        assert all((gauss[own[real]] == g).all() for g, own, real in zip(batch, pairs, valid))
        seen += pairs[valid].tolist()
        gaussians += batch.tolist()
    assert sorted(seen) == list(range(8)) and sorted(gaussians) == [0, 3, 5, 9]
    assert not list(grouped(gauss[:0], 12))


@pytest.mark.parametrize("dtype, tolerance", [(torch.float32, 1e-5), (F64, 1e-12)])
def test_products_over_pairs_equal_loops_on_every_device(monkeypatch, dtype, tolerance):
    monkeypatch.setattr(gmm_pairs, "RUN_PAIRS", 6)
    rng = np.random.default_rng(16)
    x, gauss, frame = rng.standard_normal((30, 5)), rng.integers(0, 8, 200), rng.integers(0, 30, 200)
    gauss[gauss == 3] = 4  # one Gaussian without pairs
    matrices, weight = rng.standard_normal((8, 16, 16)), rng.uniform(0, 1, 200)
    wide = gmm_pairs.augmented(tensor(x), dtype)
    assert wide.shape == (30, 16) and (wide[:, 5] == 1).all() and (wide[:, 6:] == 0).all()
    expected = [((x[t] @ matrices[i][:5] + matrices[i][5]) ** 2).sum() for t, i in zip(frame, gauss)]
    direct = FullStats.zeros(8, 5)
    for t, i, w in zip(frame, gauss, weight):
        direct.count[i] += w
        direct.first[i] += w * tensor(x[t])
        direct.second[i] += w * tensor(np.outer(x[t], x[t]))
    for device in ("cpu", "cuda"):
        pairs = tensor(frame), tensor(gauss)
        distances = gmm_pairs.DISTANCES[device](wide, tensor(matrices).to(dtype), *pairs)
        np.testing.assert_allclose(distances, expected, rtol=10 * tolerance)
        stats = FullStats.zeros(8, 5)
        gmm_pairs.SUMS[device](wide, *pairs, tensor(weight), stats)
        for name in ("count", "first", "second"):
            np.testing.assert_allclose(getattr(stats, name), getattr(direct, name), atol=10 * tolerance)


@pytest.mark.parametrize("size, count", [(64, 5), (67, 4), (2048, 20), (100, 100), (40, 3)])
def test_the_best_are_found_as_by_sorting(size, count):
    scores = torch.as_tensor(np.random.default_rng(17).standard_normal((33, size)).astype(np.float32))
    scores[3] = scores[3].sort().values  # the best are all in one strip
    scores[4, : size // 2] = -torch.inf
    values, columns = posteriors.best_by_peaks(scores, count)
    expected, where = posteriors.best_by_topk(scores, count)
    assert torch.equal(values, expected)
    assert torch.equal(columns[torch.isfinite(values)], where[torch.isfinite(values)])
    ties, columns = posteriors.best_by_peaks(torch.zeros((3, size)), count)
    assert (ties == 0).all() and all(len(set(row)) == count for row in columns.tolist())
    assert posteriors.best_by_peaks(scores[:0], count)[0].shape == (0, count)


def test_threads_change_no_bit():
    rng = np.random.default_rng(18)
    model = random_full(rng, 40, 6)
    x = tensor(draw(model, 3000, rng).astype(np.float32))
    results = []
    for threads in (1, 3):
        torch.set_num_threads(threads)
        try:
            alignment, stats = Aligner(model.to_diag(), model, 8)(x), FullStats.zeros(40, 6)
            stats.accumulate(x, alignment, torch.float32)
            assert torch.get_num_threads() == threads
        finally:
            torch.set_num_threads(1)
        results.append([alignment.frame, alignment.gauss, alignment.weight, stats.count, stats.second])
    assert all(torch.equal(a, b) for a, b in zip(*results))


def test_threads_pass_failures_on():
    def fail(part):
        raise InputError("here", str(part), "nothing", "Stop")

    torch.set_num_threads(2)
    try:
        with pytest.raises(InputError, match="found 1"):
            in_threads(fail, [1, 2, 3])
        assert torch.get_num_threads() == 2 and in_threads(str, range(5)) == list("01234")
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize("pairs", [0, 8])
def test_gaussians_without_pairs_behind_a_full_part(monkeypatch, pairs):
    """Eight pairs fill a part; of Gaussians 2 and 3 there are none, nor of any where there is no frame."""
    monkeypatch.setattr(gmm_pairs, "PART_PAIRS", 8)
    x = gmm_pairs.augmented(torch.arange(12.0, dtype=F64).reshape(4, 3), F64)
    frame, gauss = torch.arange(4).repeat(2)[:pairs], torch.tensor([0, 1]).repeat_interleave(4)[:pairs]
    found = gmm_pairs.distances_cpu(x, torch.eye(x.shape[1], dtype=F64).expand(4, -1, -1), frame, gauss)
    assert torch.equal(found, x[frame].square().sum(1))
    stats = FullStats.zeros(4, 3)
    gmm_pairs.sums_cpu(x, frame, gauss, torch.ones(pairs, dtype=F64), stats)
    assert stats.count.tolist() == [pairs / 2, pairs / 2, 0.0, 0.0]
