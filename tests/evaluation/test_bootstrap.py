"""Bootstrap over speakers against lists written out trial by trial; coverage; paired tests."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyasp.evaluation import bootstrap, llr, metrics
from pyasp.evaluation.bootstrap import Resampler, Speakers


def scored(seed, speakers=8, each=4, shift=2.0, digits=1):
    """Every pair of recordings of some speakers; scores with ties and an effect of the speaker."""
    generator = np.random.default_rng(seed)
    speaker = np.repeat(np.arange(speakers), each)
    a, b = (index.ravel() for index in np.meshgrid(speaker, speaker))
    target, ease = a == b, generator.normal(0, 0.7, speakers)
    scores = (generator.normal(size=a.size) + np.where(target, shift + ease[a], ease[a] + ease[b])).round(digits)
    return scores, target, Speakers(a, b, speakers)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.integers(0, 1000), st.sampled_from([0.0, 1.0, 3.0]))
def test_a_replicate_is_the_list_written_out(seed, shift):
    scores, target, speakers = scored(seed % 7, shift=shift)
    drawn = bootstrap.draw(speakers.count, np.random.default_rng(seed))
    weights = bootstrap.trial_weights(drawn, speakers)
    found, _ = Resampler(scores, target, speakers, (0.01, 0.001)).replicate(drawn)
    whole = llr.summarise(np.repeat(scores, weights), np.repeat(target, weights))[0]
    assert found["eer"] == pytest.approx(whole["eer"], abs=1e-12)
    assert found["cllr"] == pytest.approx(whole["calibration"]["cllr"])
    for p in ("0.01", "0.001"):
        assert found[f"min_dcf/{p}"] == pytest.approx(whole["min_dcf"][p])
    for p in ("0.5", "0.1", "0.01"):
        assert found[f"act_dcf/{p}"] == pytest.approx(whole["calibration"]["act_dcf"][p])


def test_weights_by_hand():
    speakers = Speakers(np.array([0, 0, 1, 2]), np.array([0, 1, 2, 2]), 3)
    assert bootstrap.trial_weights(np.array([2, 1, 0]), speakers).tolist() == [2, 2, 0, 0]
    assert bootstrap.draw(3, np.random.default_rng(0)).sum() == 3


def test_every_speaker_once_gives_the_list_itself():
    scores, target, speakers = scored(3)
    _, ours = Resampler(scores, target, speakers, (0.01,)).replicate(np.ones(8, np.int64))
    whole = metrics.error_counts(*metrics.split(scores, target))
    assert np.array_equal(ours.misses, whole.misses) and np.array_equal(ours.false_alarms, whole.false_alarms)


def test_miss_rates_read_off_the_curve():
    counts = metrics.error_counts(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.0, 0.5, 2.5, 3.5]))
    assert bootstrap.miss_rates(counts, np.array([0.1, 0.3, 0.6])).tolist() == [0.75, 0.5, 0.0]


def test_the_spread_is_that_of_new_speakers():
    fresh = [llr.summarise(*scored(seed, 24)[:2])[0]["eer"] for seed in range(80)]
    spread = np.mean([bootstrap.replicates(*scored(seed, 24), count=40, seed=1)[0]["eer"].std() for seed in range(12)])
    assert 0.75 < spread / np.std(fresh) < 1.25


def test_replicates_are_seeded_and_shared_between_systems():
    scores, target, speakers = scored(5)
    one, curves = bootstrap.replicates(scores, target, speakers, 30, seed=1)
    two, _ = bootstrap.replicates(scores, target, speakers, 30, seed=1)
    other, _ = bootstrap.replicates(scores, target, speakers, 30, seed=2)
    assert all(np.array_equal(one[name], two[name]) for name in one) and not np.array_equal(one["eer"], other["eer"])
    assert curves.shape == (30, bootstrap.DET_GRID.size) and np.all(np.diff(curves) <= 0)


def test_many_thresholds_are_counted_in_quantiles(monkeypatch):
    scores, target, speakers = scored(6, 20, digits=9)
    exact = bootstrap.replicates(scores, target, speakers, 20, 1)[0]["eer"]
    monkeypatch.setattr(bootstrap, "MOST_THRESHOLDS", 100)
    assert np.allclose(bootstrap.replicates(scores, target, speakers, 20, 1)[0]["eer"], exact, atol=1.5)


def test_a_list_of_one_speaker_has_no_interval():
    scores, target = np.array([1.0, 0.0, 2.0, 0.5]), np.array([True, False, True, False])
    speakers = Speakers(np.array([0, 0, 1, 1]), np.array([0, 1, 1, 0]), 2)
    values, _ = bootstrap.replicates(scores, target, speakers, 50, 1)
    assert np.isnan(values["eer"]).any() and bootstrap.interval(values["eer"]) is None
    assert bootstrap.interval(np.arange(101.0), 90) == [5.0, 95.0]


def test_no_p_where_no_interval_can_be_had():
    """Of three speakers one draw in nine has one speaker alone, and no nontarget."""
    a = np.where(np.arange(900) % 9, 1.0, np.nan)
    assert bootstrap.paired(a, np.zeros(900), 1.0) == {"difference": 1.0, "ci": None, "p": None}
    assert bootstrap.paired(np.ones(900), np.zeros(900), 1.0)["p"] < 0.01


def test_paired_difference():
    scores, target, speakers = scored(7, 20)
    better = scores + 1.5 * target
    a, b = (bootstrap.replicates(each, target, speakers, 200, 1)[0]["eer"] for each in (scores, better))
    found = bootstrap.paired(a, b, 5.0)
    assert found["ci"][0] > 0 and found["p"] < 0.02 and found["difference"] == 5.0
    same = bootstrap.paired(a, a, 0.0)
    assert same["p"] == 1.0 and same["ci"] == [0.0, 0.0]
    noise = np.random.default_rng(1).normal(size=999)
    brute = 2 * min((noise <= 0).sum() + 1, (noise >= 0).sum() + 1) / 1000
    assert bootstrap.paired(noise, np.zeros(999), 0.0)["p"] == pytest.approx(min(1, brute))


def test_huge_lists_get_fewer_replicates():
    assert bootstrap.how_many(10_000, 1000) == 1000 and bootstrap.how_many(20_000_000, 1000) == 100
    assert bootstrap.how_many(10**9, 1000) == 0 and bootstrap.how_many(10**9, 0) == 0
