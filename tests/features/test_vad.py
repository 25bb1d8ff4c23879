"""Energy VAD: against a loop over frames, and at the ties that decide compatibility with Kaldi."""

import numpy as np
import pytest

from pyasp.core.errors import InputError
from pyasp.features.vad import VadOptions, at_speed, decisions, energy_vad, recorded


def by_loop(energy, options):
    mean = energy.astype(np.float64).mean()
    threshold = np.float32(options.vad_energy_threshold + options.vad_energy_mean_scale * mean)
    proportion = np.float32(options.vad_proportion_threshold)
    decisions = []
    for t in range(len(energy)):
        window = energy[max(0, t - options.vad_frames_context) : t + options.vad_frames_context + 1]
        decisions.append(sum(window > threshold) >= np.float32(len(window)) * proportion)
    return np.array(decisions, dtype=bool)


@pytest.mark.parametrize("context", [0, 1, 2, 5, 40])
@pytest.mark.parametrize("proportion", [0.12, 0.5, 0.6, 0.7])
def test_equals_a_loop(context, proportion):
    rng = np.random.default_rng(context)
    for frames in (1, 2, 3, 30, 211):
        energy = rng.normal(10, 4, frames).astype(np.float32)
        options = VadOptions(5.5, 0.5, proportion, context)
        np.testing.assert_array_equal(energy_vad(energy, options), by_loop(energy, options))


def test_energy_must_exceed_the_threshold():
    options = VadOptions(vad_energy_threshold=7.0, vad_energy_mean_scale=0.0)
    assert energy_vad(np.array([6.0, 7.0, 7.5], np.float32), options).tolist() == [False, False, True]


@pytest.mark.parametrize("context, proportion", [(2, 0.6), (2, 0.2), (1, 1 / 3)])
def test_the_proportion_itself_is_enough(context, proportion):
    """3 of 5 at 0.6, 1 of 5 at 0.2, 1 of 3 at 1/3 are voiced; one frame fewer is not."""
    width = 2 * context + 1
    voiced = round(width * proportion)
    for count, expected in ((voiced, True), (voiced - 1, False)):
        energy = np.zeros(width, np.float32)
        energy[:count] = 9.0
        options = VadOptions(5.0, 0.0, proportion, context)
        assert energy_vad(energy, options)[context] == expected


def test_the_mean_raises_the_threshold():
    energy = np.array([10.0, 12.0, 14.0, 16.0], np.float32)  # mean 13, threshold 5 + 0.65 * 13 = 13.45
    assert energy_vad(energy, VadOptions(5.0, 0.65)).tolist() == [False, False, True, True]


def test_silence_and_nothing():
    assert not energy_vad(np.full(50, -15.942385, np.float32), VadOptions(5.5, 0.5, 0.12, 2)).any()
    assert energy_vad(np.zeros(0, np.float32), VadOptions()).shape == (0,)


@pytest.mark.parametrize(
    "wrong", [{"vad_frames_context": -1}, {"vad_proportion_threshold": 1.0}, {"vad_energy_mean_scale": -0.1}]
)
def test_options_out_of_range(wrong):
    with pytest.raises(InputError, match="vad options: --vad-.* found .*expected (at least 0|a number in .0, 1.)"):
        VadOptions(**wrong)


def test_decisions_at_another_speed_are_those_of_the_frames_middles():
    voiced = np.repeat([0.0, 1.0, 0.0], 10).astype(np.float32)
    assert np.array_equal(at_speed(voiced, 2.0, 15), np.repeat([0, 1, 0], 5))
    assert np.array_equal(at_speed(voiced, 0.5, 60), np.repeat([0, 1, 0], 20))
    assert np.array_equal(at_speed(voiced, 1.1, 28), voiced[((np.arange(28) + 0.5) * 1.1).astype(int).clip(max=29)])


ZERO = np.full(40, -15.942385, np.float32)  # log energy of digital zeros


@pytest.mark.parametrize("place", [0, 50, 100])
def test_digital_silence_changes_no_other_decision(place):
    energy = np.random.default_rng(place).normal(14, 3, 100).clip(4).astype(np.float32)
    options = VadOptions(5.5, 0.5, 0.12, 2)
    decided = decisions(np.insert(energy, place, ZERO), options)
    there = recorded(decided)
    np.testing.assert_array_equal(there, np.insert(np.ones(100, bool), place, ZERO > 0))
    np.testing.assert_array_equal(decided[there], energy_vad(energy, options))
    assert not (decided[~there] != 0).any()  # unvoiced for who asks in Kaldi's way
    assert (
        decided != energy_vad(np.insert(energy, place, ZERO), options)
    ).any()  # Kaldi's mean falls, and noise is voiced


def test_without_digital_silence_or_without_the_option_decisions_are_kaldis():
    energy = np.random.default_rng(3).normal(14, 3, 100).clip(4).astype(np.float32)
    for each, options in ((energy, VadOptions(5.5, 0.5)), (ZERO, VadOptions(5.5, 0.5, digital_silence=False))):
        decided = decisions(each, options)
        np.testing.assert_array_equal(decided > 0, energy_vad(each, options))
        assert recorded(decided).all()
    assert not decisions(ZERO, VadOptions()).any()
