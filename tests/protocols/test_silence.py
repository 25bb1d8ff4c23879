"""What the script makes of recordings, and how it counts errors."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

spec = importlib.util.spec_from_file_location("silence", Path(__file__).parent / "silence.py")
silence = importlib.util.module_from_spec(spec)
spec.loader.exec_module(silence)


@pytest.mark.parametrize("decibels, kept", [(20, 0.5 + 0.02), (40, 1.0)])
def test_a_gate_closes_a_block_after_the_level_falls(decibels, kept):
    """Half a second at 1, half a second 30 dB below."""
    wave = np.where(np.arange(16100) < 8000, 1.0, 10**-1.5)
    gated = silence.gate(wave, 16000, decibels)
    assert len(gated) == len(wave) and np.count_nonzero(gated[:16000]) == kept * 16000
    np.testing.assert_array_equal(gated[gated != 0], wave[gated != 0])


@pytest.mark.parametrize(
    "kind, seconds", [("1 s of zeros at both ends", 2.0), ("0.5 s in the middle", 0.5), ("clean", 0)]
)
def test_zeros_are_put_beside_the_samples(kind, seconds):
    wave = np.arange(1.0, 8001.0)
    changed = silence.KINDS[kind](wave, 16000)
    np.testing.assert_array_equal(changed[changed != 0], wave)
    assert len(changed) == len(wave) + seconds * 16000


def test_errors_are_counted_over_the_trials_whose_test_has_speech():
    class Products:
        def score(self, enrolled, tests):
            return tests @ enrolled.mean(0)

    vectors = {
        "a": np.array([1.0, 0.0]),
        "b": np.array([0.0, 1.0]),
        "c": np.array([0.9, 0.0]),
        "d": np.array([2.0, 0.0]),
    }
    trials = [
        ["m", "a", "target"],
        ["m", "d", "target"],
        ["m", "c", "nontarget"],
        ["m", "b", "nontarget"],
        ["m", "mute", "target"],
    ]
    assert silence.eer(Products(), trials, {"m": np.array([[1.0, 0.0]])}, vectors) == 0.0
    swapped = [[model, test, {"c": "target", "d": "nontarget"}.get(test, kind)] for model, test, kind in trials]
    assert silence.eer(Products(), swapped, {"m": np.array([[1.0, 0.0]])}, vectors) == 50.0
