"""Costs of log-likelihood ratios against brute force: Cllr, min Cllr (adjacent violators), actual DCF, C_primary."""

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyasp.core.errors import InputError
from pyasp.evaluation import llr, metrics

few_values = st.lists(st.integers(-4, 4), min_size=1, max_size=20)  # small integers: many ties


def counts_of(t, u):
    return metrics.error_counts(np.sort(np.array(t, float)), np.sort(np.array(u, float)))


def brute_cllr(t, u):
    return 0.5 * (
        sum(math.log2(1 + math.exp(-x)) for x in t) / len(t) + sum(math.log2(1 + math.exp(x)) for x in u) / len(u)
    )


def brute_pav(t, u):
    """(targets, nontargets) of the blocks of pool-adjacent-violators, one trial group of equal score at a time."""
    blocks = []
    for x in sorted(set(t) | set(u)):
        blocks.append((t.count(x), u.count(x)))
        while len(blocks) > 1 and blocks[-2][0] * sum(blocks[-1]) >= blocks[-1][0] * sum(blocks[-2]):
            last = blocks.pop()
            blocks[-1] = (blocks[-1][0] + last[0], blocks[-1][1] + last[1])
    return blocks


def brute_min_cllr(t, u):
    total = 0.0
    for a, b in brute_pav(list(t), list(u)):
        a, b = a / len(t), b / len(u)
        total += (a * math.log2(1 + b / a) if a else 0) + (b * math.log2(1 + a / b) if b else 0)
    return total / 2


def brute_dcf(t, u, x, p, c_miss=1.0, c_fa=1.0):
    miss, fa = sum(s < x for s in t) / len(t), sum(s >= x for s in u) / len(u)
    return (c_miss * p * miss + c_fa * (1 - p) * fa) / min(c_miss * p, c_fa * (1 - p))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(few_values, few_values, st.sampled_from([0.5, 0.1, 0.01]), st.sampled_from([1.0, 10.0]))
def test_against_brute_force(t, u, p, c_miss):
    ts, us, counts = np.sort(np.array(t, np.float32)), np.sort(np.array(u, np.float32)), counts_of(t, u)
    assert llr.cllr(ts, us) == pytest.approx(brute_cllr(t, u), abs=1e-12)
    assert llr.min_cllr(counts) == pytest.approx(brute_min_cllr(t, u), abs=1e-12)
    x = math.log((1 - p) / (c_miss * p))
    assert llr.bayes_threshold(p, c_miss) == pytest.approx(x)
    assert llr.actual_dcf(ts, us, p, c_miss) == pytest.approx(
        brute_dcf(t, u, llr.bayes_threshold(p, c_miss), p, c_miss)
    )
    assert llr.min_cllr(counts) <= min(1.0, llr.cllr(ts, us)) + 1e-12
    assert metrics.min_dcf(counts, p, c_miss)[0] <= llr.actual_dcf(ts, us, p, c_miss) + 1e-12


@settings(max_examples=100, deadline=None, derandomize=True)
@given(few_values, few_values, few_values, st.sampled_from([0.0, 0.5, 1.0]))
def test_c_primary_against_brute_force(t, known, unknown, p_known):
    def cost(x, p):
        false = p_known * sum(s >= x for s in known) / len(known) + (1 - p_known) * sum(s >= x for s in unknown) / len(
            unknown
        )
        return sum(s < x for s in t) / len(t) + (1 - p) / p * false

    every = sorted({*t, *known, *unknown}) + [math.inf]
    found = llr.c_primary(*(np.sort(np.array(each, float)) for each in (t, known, unknown)), p_known)
    assert found["minimum"] == pytest.approx(np.mean([min(cost(x, p) for x in every) for p in (0.01, 0.001)]))
    assert found["actual"] == pytest.approx(np.mean([cost(math.log((1 - p) / p), p) for p in (0.01, 0.001)]))


def test_a_hand_made_c_primary():
    """One miss in four; of the known nontargets half pass ln 99 = 4.60 and none ln 999 = 6.91, of the unknown none."""
    t, known, unknown = np.array([1.0, 8, 8, 8]), np.array([0.0, 5.0]), np.array([-1.0, 0.0])
    assert llr.c_primary(t, known, unknown)["actual"] == pytest.approx((0.25 + 99 * 0.25 + 0.25) / 2)
    assert llr.c_primary(t, known, unknown)["minimum"] == pytest.approx(0.25)


def test_hull_of_a_large_set_is_convex_and_below_every_point():
    generator = np.random.default_rng(1)
    counts = counts_of(generator.normal(1, 1, 30_000), generator.normal(0, 1.5, 50_000))
    x, y = counts.hull
    assert (x[0], y[0]) == (50_000, 0) and (x[-1], y[-1]) == (0, 30_000) and len(x) < 2000
    slopes = np.diff(y) / np.diff(x)  # negative, steeper towards reject-all: x falls along the chain
    assert np.all(np.diff(slopes) < 0)
    line = np.interp(counts.false_alarms, x[::-1], y[::-1])
    assert np.all(counts.misses >= line - 1e-6)
    corners = {tuple(point) for point in zip(x[1:-1], y[1:-1])}
    assert corners <= set(zip(counts.false_alarms, counts.misses))


def test_gaussian_log_likelihood_ratios_are_calibrated():
    """Scores that are log-likelihood ratios by construction: Cllr is nearly min Cllr, actual DCF nearly the minimum."""
    generator = np.random.default_rng(2)
    d = 2.0  # llr of N(d, 1) against N(0, 1) is d x - d^2 / 2
    t, u = (np.sort(d * generator.normal(mean, 1, 200_000) - d * d / 2) for mean in (d, 0))
    counts = metrics.error_counts(t, u)
    assert llr.cllr(t, u) == pytest.approx(llr.min_cllr(counts), abs=2e-3)
    for p in (0.5, 0.1):
        assert llr.actual_dcf(t, u, p) == pytest.approx(metrics.min_dcf(counts, p)[0], abs=5e-3)
    assert llr.cllr(t + 3, u + 3) > 1.5 * llr.min_cllr(counts)


@pytest.mark.parametrize(
    "t, u, cllr, least",
    [
        ([0.0], [0.0], 1.0, 1.0),
        ([np.inf], [-np.inf], 0.0, 0.0),
        ([-np.inf, 1], [0.0], None, None),
        ([1.0], [2.0], None, 1.0),
    ],
)
def test_degenerate_sets(t, u, cllr, least):
    entry, _ = llr.summarise(np.array(t + u), np.arange(len(t + u)) < len(t))
    found = entry["calibration"]
    json.dumps(entry, allow_nan=False)  # what is infinite is stored as null
    assert cllr is None or found["cllr"] == pytest.approx(cllr)
    assert least is None or found["min_cllr"] == pytest.approx(least)
    if t == [-np.inf, 1]:
        assert found["cllr"] is None


def test_error_counts_of_the_entry():
    scores, target = np.array([3.0, 1.0, 2.0, -1.0, -2.0]), np.array([True, True, False, False, False])
    entry, _ = llr.summarise(scores, target, (0.5,))
    assert entry["calibration"]["act_errors"]["0.5"] == {"threshold": 0.0, "misses": 0, "false_alarms": 1}
    assert entry["errors"]["min_dcf"]["0.5"] == {"threshold": 1.0, "misses": 0, "false_alarms": 1}
    assert llr.counts_only(target, (0.5,)).keys() == entry.keys()


def test_c_primary_only_where_both_kinds_are():
    scores, target = np.array([3.0, 1.0, 0.0]), np.array([True, False, False])
    assert "c_primary" in llr.summarise(scores, target, known=np.array([True, True, False]))[0]
    assert "c_primary" not in llr.summarise(scores, target, known=np.array([False, True, True]))[0]
    with pytest.raises(InputError, match="0 known"):
        llr.c_primary(scores[:1], scores[:0], scores[1:])


@pytest.mark.parametrize(
    "t, u, expected",
    [
        ([0.0], np.arange(1, 100), "0.00* (50.00)"),  # one target below all nontargets: Kaldi's rule says 0 %
        (np.ones(4), np.ones(4), "75.00* (50.00)"),  # ties alone
        (np.repeat([0.0, 1, 2, 3], 100), np.repeat([0.5, 1.5], 200), "50.00* (33.33)"),  # many errors, many ties
        (np.arange(400), np.arange(400) - 320, "10.00"),  # 40 misses, 40 false alarms
        (np.arange(400), np.arange(400) - 360, "5.00* (5.00)"),  # 20 of each
    ],
)
def test_figures_that_hang_on_few_errors_or_on_ties_are_marked(t, u, expected):
    t, u = np.asarray(t, float), np.asarray(u, float)
    entry = llr.summarise(np.concatenate([t, u]), np.arange(t.size + u.size) < t.size)[0]
    assert llr.eer_text(entry) == expected and llr.unsure(entry) == ("*" in expected)


@pytest.mark.parametrize(
    "t, u, expected",
    [
        ([0.0, 1.0], [-1.0, 0.5], "0.500*"),  # one miss
        (np.repeat([0, 1], [100, 1000]), np.repeat([0, 1], [100000, 40]), "0.130"),  # 100 misses, 40 false alarms
        (np.repeat([0, 1], [100, 1000]), np.repeat([0, 1], [100000, 20]), "0.111*"),  # 20 false alarms
        (np.repeat([0, 1], [100, 1000]), np.repeat([0, 1], [1000, 1000]), "1.000*"),  # rejecting all: no false alarm
    ],
)
def test_a_min_dcf_of_few_errors_is_marked_as_an_eer_is(t, u, expected):
    t, u = np.asarray(t, float), np.asarray(u, float)
    entry = llr.summarise(np.concatenate([t, u]), np.arange(t.size + u.size) < t.size)[0]
    assert llr.min_dcf_text(entry, "0.01") == expected
    assert llr.marked(entry) or "*" not in expected
    assert llr.min_dcf_text(llr.counts_only(np.ones(3, bool)), "0.01") == "-"


def test_an_entry_is_marked_for_a_min_dcf_alone():
    t, u = np.repeat([0.0, 1.0], [100, 1000]), np.repeat([0.0, 1.0], [10000, 1000])
    entry = llr.summarise(np.concatenate([t, u]), np.arange(t.size + u.size) < t.size, p_targets=(0.5,))[0]
    assert llr.min_dcf_text(entry, "0.5") == "0.182" and not llr.unsure(entry) and not llr.marked(entry)
    entry["errors"]["min_dcf"]["0.5"]["false_alarms"] = 29
    assert llr.min_dcf_text(entry, "0.5") == "0.182*" and not llr.unsure(entry) and llr.marked(entry)


def test_continuous_scores_with_errors_enough_are_not_marked():
    for seed in range(50):
        generator = np.random.default_rng(seed)
        scores, target = generator.normal(size=3300), np.arange(3300) < 300
        entry = llr.summarise(scores + 2.2 * target, target)[0]
        assert not llr.unsure(entry) or entry["errors"]["eer"]["misses"] < 30
    assert llr.eer_text(llr.counts_only(np.ones(3, bool))) == "-"
