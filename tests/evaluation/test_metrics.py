"""Error rates against brute force, ties and degenerate sets included, and against Gaussians of known EER."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import norm

from pyasp.core.errors import InputError
from pyasp.evaluation import llr, metrics

few_values = st.lists(st.integers(-4, 4), min_size=1, max_size=25)  # small integers: many ties


def brute_points(t, u):
    """(P_miss, P_fa) at every distinct score and at reject-all, by counting."""
    thresholds = sorted(set(t) | set(u)) + [np.inf]
    return [(sum(x < h for x in t) / len(t), sum(x >= h for x in u) / len(u)) for h in thresholds]


def brute_eer_kaldi(t, u):
    """The rule of compute-eer as a loop."""
    t, u = sorted(t), sorted(u)
    for k in range(len(t) - 1):
        if u[len(u) - 1 - (len(u) * k) // len(t)] < t[k]:
            return k / len(t)
    return (len(t) - 1) / len(t)


def brute_eer_hull(points):
    """Least crossing of the diagonal over every segment between two points of the ROC (its hull is made of these)."""
    points, best = points + [(0.0, 1.0)], 1.0
    for miss0, fa0 in points:
        for miss1, fa1 in points:
            d0, d1 = miss0 - fa0, miss1 - fa1
            if d0 <= 0 <= d1:
                best = min(best, miss0 if d1 == d0 else miss0 - d0 / (d1 - d0) * (miss1 - miss0))
    return best


@settings(max_examples=200, deadline=None, derandomize=True)
@given(few_values, few_values, st.sampled_from([0.5, 0.05, 0.01, 0.001]), st.sampled_from([1.0, 10.0]))
def test_against_brute_force(t, u, p, c_miss):
    scores, target = np.array(t + u, np.float32), np.array([True] * len(t) + [False] * len(u))
    ts, us = metrics.split(scores, target)
    counts, points = metrics.error_counts(ts, us), brute_points(t, u)
    dcf = min(c_miss * p * miss + (1 - p) * fa for miss, fa in points) / min(c_miss * p, 1 - p)
    assert metrics.min_dcf(counts, p, c_miss, 1.0)[0] == pytest.approx(dcf, abs=1e-12)
    effective = c_miss * p / (c_miss * p + 1 - p)  # what --p-target says of other costs
    assert metrics.min_dcf(counts, effective)[0] == pytest.approx(dcf, abs=1e-12)
    assert metrics.eer_kaldi(ts, us)[0] == brute_eer_kaldi(t, u)
    assert metrics.eer_rocch(counts) == pytest.approx(brute_eer_hull(points), abs=1e-12)
    assert set(zip(counts.p_miss, counts.p_fa)) <= set(points)


@settings(max_examples=50, deadline=None, derandomize=True)
@given(few_values, few_values, st.randoms())
def test_order_of_trials_and_monotone_maps_do_not_matter(t, u, random):
    pairs = [(x, True) for x in t] + [(x, False) for x in u]
    before = llr.summarise(np.array([x for x, _ in pairs], float), np.array([y for _, y in pairs]))[0]
    random.shuffle(pairs)
    after = llr.summarise(np.array([x**3 + 7.0 for x, _ in pairs]), np.array([y for _, y in pairs]))[0]
    ranked = ("eer", "eer_rocch", "min_dcf", "n_target", "n_nontarget")
    assert [before[key] for key in ranked] == [after[key] for key in ranked]
    assert before["calibration"]["min_cllr"] == after["calibration"]["min_cllr"]


@pytest.mark.parametrize("distance", [1.0, 3.0])
def test_eer_of_gaussians(distance):
    generator = np.random.default_rng(1)
    scores = np.concatenate([generator.normal(distance, 1, 100_000), generator.normal(0, 1, 300_000)])
    entry, _ = llr.summarise(scores, np.arange(400_000) < 100_000)
    expected = 100 * norm.cdf(-distance / 2)
    assert entry["eer"] == pytest.approx(expected, abs=0.3)
    assert entry["eer_rocch"] == pytest.approx(expected, abs=0.3)


def test_work_in_blocks_changes_nothing(monkeypatch):
    generator = np.random.default_rng(4)
    t, u = np.sort(generator.normal(1, 1, 700).round(1)), np.sort(generator.normal(0, 1, 900).round(1))
    counts = metrics.error_counts(t, u)

    def figures():
        return (
            metrics.eer_kaldi(t, u),
            metrics.eer_rocch(counts),
            metrics.min_dcf(counts, 0.05),
            llr.min_cllr(counts),
            llr.cllr(t, u),
        )

    whole = figures()
    monkeypatch.setattr(metrics, "BLOCK", 7)
    assert figures()[:4] == whole[:4] and figures()[4] == pytest.approx(whole[4], rel=1e-12)


def test_min_dcf_threshold_attains_the_cost():
    generator = np.random.default_rng(2)
    scores, target = generator.normal(size=500).round(1), generator.random(500) < 0.3
    scores[target] += 1.5
    counts = metrics.error_counts(*metrics.split(scores, target))
    value, threshold = metrics.min_dcf(counts, 0.05)
    accepted = scores >= threshold
    assert value == pytest.approx(np.mean(~accepted[target]) + 19 * np.mean(accepted[~target]), abs=1e-12)


@pytest.mark.parametrize(
    "t, u, eer, rocch, dcf",
    [
        ([2, 3], [0, 1], 0.0, 0.0, 0.0),
        ([0, 1], [2, 3], 50.0, 50.0, 1.0),
        ([1], [1], 0.0, 50.0, 1.0),
        ([1, 1], [1], 50.0, 50.0, 1.0),
        ([5], [1], 0.0, 0.0, 0.0),
        ([-np.inf, 1], [0, -np.inf], 50.0, 100 / 3, 0.5),
    ],
)
def test_degenerate_sets(t, u, eer, rocch, dcf):
    entry, _ = llr.summarise(np.array(t + u, float), np.array([True] * len(t) + [False] * len(u)))
    assert (entry["eer"], entry["min_dcf"]["0.01"]) == (eer, dcf)
    assert entry["eer_rocch"] == pytest.approx(rocch, abs=1e-12)


@pytest.mark.parametrize(
    "scores, target, message",
    [
        ([1.0, 2.0], [True, True], "0 nontarget"),
        ([1.0], [False], "0 target"),
        ([], [], "0 target"),
        ([1.0, np.nan], [True, False], "not a number"),
        ([1.0], [True, False], "1 scores; expected 2"),
    ],
)
def test_bad_scores(scores, target, message):
    with pytest.raises(InputError, match=message):
        llr.summarise(np.array(scores), np.array(target, bool))


@pytest.mark.parametrize("p, c_miss, c_fa", [(0.0, 1, 1), (1.0, 1, 1), (0.01, 0, 1), (0.01, 1, -1)])
def test_bad_operating_point(p, c_miss, c_fa):
    counts = metrics.error_counts(np.array([1.0]), np.array([0.0]))
    with pytest.raises(InputError, match="operating point"):
        metrics.min_dcf(counts, p, c_miss, c_fa)


def test_det_curve_keeps_both_ends_and_falls():
    generator = np.random.default_rng(3)
    counts = metrics.error_counts(np.sort(generator.normal(1, 1, 5000)), np.sort(generator.normal(0, 1, 9000)))
    curve = metrics.det_points(counts)
    assert curve["p_miss"][0] == 0 and curve["p_miss"][-1] == 1 and curve["p_fa"][-1] == 0
    assert np.all(np.diff(curve["p_miss"]) > 0) and np.all(np.diff(curve["p_fa"]) <= 0)
    assert 100 < len(curve["p_fa"]) <= 300
