"""The front end: deltas, sliding normalisation and selection against loops; chunks against whole recordings."""

import numpy as np
import pytest
from kaldi_steps import PLAIN, add_deltas, select_voiced, sliding_cmn

from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir
from pyasp.features import frontend as module
from pyasp.features.frontend import (
    BRIDGE,
    FrontendOptions,
    NetworkFrontendOptions,
    frontend,
    frontend_chunk,
    output_dim,
)
from pyasp.features.stored import iterate
from pyasp.kaldi import ArkWriter


def features(frames, dim=4, seed=0):
    return np.random.default_rng(seed).normal(3, 5, (frames, dim)).astype(np.float32)


def cmn_by_loop(feats, options):
    """Straight from the definition: one window at a time."""
    frames, width, out = len(feats), options.cmn_window, []
    for t in range(frames):
        if options.center:
            start, end = t - width // 2, t - width // 2 + width
        else:
            start, end = t - width, max(t + 1, options.min_cmn_window)
        if start < 0:
            start, end = 0, end - start if options.center else end
        if end > frames:
            start, end = max(0, start - (end - frames)), frames
        window = feats[start:end].astype(np.float64)
        row = feats[t] - window.mean(axis=0)
        if options.norm_vars:
            row = row / np.sqrt(np.maximum(window.var(axis=0), 1e-10)) if len(window) > 1 else 0 * row
        out.append(row)
    return np.array(out)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("norm_vars", [True, False])
@pytest.mark.parametrize("width, least", [(10, 4), (11, 11), (30, 1), (1, 1)])
def test_sliding_cmn_equals_a_loop(center, norm_vars, width, least):
    options = FrontendOptions(cmn_window=width, min_cmn_window=least, center=center, norm_vars=norm_vars)
    for frames in (1, 2, 3, 9, 10, 11, 12, 29, 30, 31, 64):
        feats = features(frames, seed=frames)
        np.testing.assert_allclose(sliding_cmn(feats, options), cmn_by_loop(feats, options), atol=3e-5, rtol=1e-5)


def test_cmn_of_a_constant_is_zero_even_far_into_a_loud_file():
    feats = np.full((4000, 2), 1234.567, np.float32)
    feats[:1000, 0] = 1e4
    out = sliding_cmn(feats, FrontendOptions(cmn_window=100, norm_vars=True))
    assert np.abs(out[1200:]).max() < 1e-3


def test_cmn_in_groups_of_columns(monkeypatch):
    feats = features(500, 7)
    whole = sliding_cmn(feats, FrontendOptions())
    monkeypatch.setattr(module, "GROUP_ELEMENTS", 1000)
    np.testing.assert_array_equal(sliding_cmn(feats, FrontendOptions()), whole)


def test_deltas_of_a_ramp_and_a_parabola():
    t = np.arange(40, dtype=np.float32)
    out = add_deltas(np.stack([2 * t, t * t], axis=1), window=3, order=2)[6:-6]
    np.testing.assert_allclose(out[:, 2], 2.0, atol=1e-5)
    np.testing.assert_allclose(out[:, 3], 2 * t[6:-6], atol=1e-4)
    np.testing.assert_allclose(out[:, 4:], np.broadcast_to([0.0, 2.0], (28, 2)), atol=1e-4)


@pytest.mark.parametrize("window, order", [(1, 1), (3, 2), (2, 3), (3, 0)])
def test_deltas_at_the_ends_use_composed_filters_over_replicated_frames(window, order):
    slope = np.arange(-window, window + 1) / (2 * sum(j * j for j in range(1, window + 1)))
    for frames in (1, 2, 5, 13):
        feats = features(frames, 2)
        filters, expected = np.ones(1), []
        for _ in range(order + 1):
            reach = len(filters) // 2
            index = np.clip(np.arange(frames)[:, None] + np.arange(-reach, reach + 1), 0, frames - 1)
            expected.append(np.einsum("tjd,j->td", feats[index], filters))
            filters = np.convolve(filters, slope)
        np.testing.assert_allclose(add_deltas(feats, window, order), np.concatenate(expected, axis=1), atol=2e-5)


def test_frontend_is_deltas_then_cmn_then_selection():
    feats, voiced = features(400, 6), np.random.default_rng(1).random(400) > 0.4
    options = FrontendOptions(num_ceps=5, cmn_window=120)
    expected = select_voiced(sliding_cmn(add_deltas(feats[:, :5], 3, 2), options), voiced)
    result = frontend(feats, voiced, options)
    assert result.shape == (voiced.sum(), output_dim(6, options)) and result.dtype == np.float32
    np.testing.assert_allclose(result, expected, atol=1e-5)


def test_first_coefficients_and_no_processing():
    feats = features(30, 6)
    everything = np.ones(30, bool)
    np.testing.assert_array_equal(frontend(feats, everything, PLAIN), feats)
    np.testing.assert_array_equal(frontend(feats, everything, FrontendOptions(2, 0, cmn_window=0)), feats[:, :2])


OPTIONS = [
    FrontendOptions(delta_order=0),
    FrontendOptions(cmn_window=100),
    PLAIN,
    FrontendOptions(cmn_window=100, min_cmn_window=60, center=False, norm_vars=True),
]


@pytest.mark.parametrize("options", OPTIONS)
def test_digital_silence_is_as_if_the_file_held_a_little_of_its_background(options):
    """Runs of 90, 12 and 120 frames of zeros: at most 30 of each, as the mean of the quietest 35 of 700 frames."""
    feats, voiced = features(700, 3), np.random.default_rng(2).random(700) > 0.5
    quiet = feats[np.argsort(feats[:, 0])[:35]].mean(0)

    def with_runs(matrix, lengths):
        places = np.repeat([0, 350, 700], lengths)
        decided = np.insert(voiced.astype(np.float32), places, np.float32(-0.0))
        return np.insert(feats, places, matrix, axis=0), decided

    padded, decided = with_runs(np.float32(-15.9), [90, 12, 120])
    expected, unvoiced = with_runs(quiet, [BRIDGE, 12, BRIDGE])
    whole = frontend(expected, unvoiced > 0, options)
    np.testing.assert_allclose(frontend(padded, decided, options), whole, atol=2e-5)
    part = frontend_chunk(lambda start, end: padded[start:end], decided, options, 100, 180)
    np.testing.assert_allclose(part, whole[100:180], atol=2e-5)


def test_the_background_of_filter_banks_is_where_all_of_them_are_low():
    feats = np.random.default_rng(5).normal(5, 1, (100, 4)).astype(np.float32)
    feats[20:25] -= 9  # the quietest twentieth
    decided = np.insert(np.ones(100, np.float32), [50] * 10, np.float32(-0.0))
    padded = np.insert(feats, [50] * 10, np.float32(-15.9), axis=0)
    options = NetworkFrontendOptions(cmn_window=300, feature_type="fbank")
    mean = (feats.sum(0) + 10 * feats[20:25].mean(0)) / 110
    np.testing.assert_allclose(frontend(padded, decided, options), feats - mean, atol=1e-4)


@pytest.mark.parametrize("options", OPTIONS)
def test_chunks_read_only_what_they_need(options):
    feats, voiced = features(1500, 3), np.random.default_rng(2).random(1500) > 0.5
    whole = frontend(feats, voiced, options)
    asked = []

    def rows(start, end):
        asked.append(end - start)
        return feats[start:end]

    for start, end in ((0, 50), (300, 420), (len(whole) - 30, len(whole)), (0, None)):
        np.testing.assert_allclose(frontend_chunk(rows, voiced, options, start, end), whole[start:end], atol=2e-5)
    assert max(asked[:3]) < 700 and asked[3] <= 1500


def test_what_cannot_be_used_is_an_error():
    feats = features(10)
    for voiced, options, message in (
        (np.zeros(10, bool), PLAIN, "no voiced frame"),
        (np.ones(9, bool), PLAIN, "9 voicing decisions"),
        (np.ones(10, bool), FrontendOptions(num_ceps=5), "at least --num-ceps=5"),
    ):
        with pytest.raises(InputError, match=message):
            frontend(feats, voiced, options)


@pytest.mark.parametrize("wrong", [{"cmn_window": 50}, {"delta_window": 0}, {"num_ceps": -1}, {"min_cmn_window": 0}])
def test_options_out_of_range(wrong):
    with pytest.raises(InputError, match="front end options"):
        FrontendOptions(**wrong)


@pytest.fixture
def data(tmp_path):
    """Three utterances; `b` has no voiced frame."""
    with (
        ArkWriter(tmp_path / "f.ark", tmp_path / "feats.scp") as feats,
        ArkWriter(tmp_path / "v.ark", tmp_path / "vad.scp") as vad,
    ):
        for number, utt in enumerate("abc"):
            feats.write(utt, features(120, seed=number))
            vad.write(utt, np.full(120, utt != "b", np.float32))
    return DataDir(tmp_path)


def test_iterate_counts_what_it_leaves_out(data):
    failed = {}
    done = dict(iterate(data, FrontendOptions(), failed=failed))
    assert list(done) == ["a", "c"] and list(failed) == ["b"] and "no voiced frame" in failed["b"]
    np.testing.assert_array_equal(done["c"], frontend(features(120, seed=2), np.ones(120, bool), FrontendOptions()))


def test_iterate_stops_at_the_first_fault_when_nobody_counts(data):
    with pytest.raises(InputError, match="b: found .*no voiced frame"):
        list(iterate(data, FrontendOptions()))


def test_iterate_over_chosen_utterances(data):
    assert [utt for utt, _ in iterate(data, PLAIN, ["c", "a"])] == ["c", "a"]
    with pytest.raises(InputError, match="no entry"):
        list(iterate(data, PLAIN, ["missing"]))


def test_iterate_names_the_stage_that_is_missing(tmp_path):
    with pytest.raises(InputError, match="Run stage features"):
        list(iterate(DataDir(tmp_path), PLAIN))
