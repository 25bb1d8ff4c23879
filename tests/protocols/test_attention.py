"""How the script counts a recording's errors, and how equal weights are."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from pyasp.data.trials import read_trials

spec = importlib.util.spec_from_file_location("attention", Path(__file__).parent / "attention.py")
attention = importlib.util.module_from_spec(spec)
spec.loader.exec_module(attention)


def test_a_recording_s_share_of_wrong_decisions(tmp_path):
    """Two targets and four nontargets: the threshold of Kaldi's rule is 2 (one miss of two, one false alarm of four); a
    target weighs a half, a nontarget a quarter."""
    lines = ["m x target", "m y target", "n x nontarget", "n y nontarget", "o x nontarget", "o y nontarget"]
    (tmp_path / "list").write_text("\n".join(lines) + "\n")
    trials = read_trials(tmp_path / "list")
    found = dict(zip(trials.tests, attention.shares(np.array([2.0, 0.5, 3.0, 0.1, 0.2, 0.3]), trials)))
    assert found == {"x": pytest.approx(0.25), "y": pytest.approx(0.5)}


def test_flatness_is_the_share_of_frames_that_count():
    row = np.array([np.nan, 1, 1, 1, 1], np.float32)
    assert attention.flatness(row) == pytest.approx(1)
    assert attention.flatness(np.array([np.nan, 2, 2, 1e-9, 1e-9], np.float32)) == pytest.approx(0.5)
