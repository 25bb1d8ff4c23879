"""Filter banks: figures of kaldi-native-fbank (Kaldi's compute-fbank-feats), stored in fbank.npz."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from pyasp.core.errors import InputError
from pyasp.features.fbank import Fbank, FbankOptions
from pyasp.features.mfcc import Mfcc, MfccOptions, cepstral_transform

STORED = Path(__file__).with_name("fbank.npz")
SMALL = FbankOptions(sample_frequency=8000, dither=0, snip_edges=False)
CASES = {
    "plain": {},
    "wide": {"sample_frequency": 16000.0, "num_mel_bins": 80},
    "edges": {"snip_edges": True},
    "energy": {"use_energy": True},
    "windowed_energy": {"use_energy": True, "raw_energy": False},
    "floored_energy": {"use_energy": True, "energy_floor": 1e9},
    "energy_last": {"use_energy": True, "htk_compat": True},
    "linear": {"use_log_fbank": False},
    "magnitude": {"use_power": False},
    "band": {"low_freq": 100.0, "high_freq": -300.0, "num_mel_bins": 20},
    "window": {"window_type": "hamming", "remove_dc_offset": False, "preemphasis_coefficient": 0.9},
    "exact_length": {"round_to_power_of_two": False},
    "shift": {"frame_shift": 12.5, "frame_length": 20.0},
}
NAMES = {  # of ours in kaldi-native-fbank's two groups; the rest are the filter banks' own
    "frame_opts": {
        "sample_frequency": "samp_freq",
        "frame_length": "frame_length_ms",
        "frame_shift": "frame_shift_ms",
        "dither": "dither",
        "preemphasis_coefficient": "preemph_coeff",
        "remove_dc_offset": "remove_dc_offset",
        "window_type": "window_type",
        "round_to_power_of_two": "round_to_power_of_two",
        "snip_edges": "snip_edges",
    },
    "mel_opts": {"num_mel_bins": "num_bins", "low_freq": "low_freq", "high_freq": "high_freq"},
}
OWN = ("use_energy", "energy_floor", "raw_energy", "htk_compat", "use_log_fbank", "use_power")


def samples(rate):
    """A quarter of a second on the int16 scale: two tones and noise, then silence; an offset under all of it."""
    t = np.arange(rate // 4) / rate
    wave = 6000 * np.sin(2 * np.pi * 440 * t) + 1500 * np.sin(2 * np.pi * 2900 * t + 1)
    wave += np.random.default_rng(5).integers(-200, 200, len(t))
    return (np.where(t < 0.2, wave, 0) + 37).round().astype(np.float32)


def kaldi(options):
    knf = pytest.importorskip("kaldi_native_fbank")
    theirs = knf.FbankOptions()
    for group, names in NAMES.items():
        for ours, name in names.items():
            setattr(getattr(theirs, group), name, getattr(options, ours))
    for name in OWN:
        setattr(theirs, name, getattr(options, name))
    computer = knf.OnlineFbank(theirs)
    computer.accept_waveform(options.sample_frequency, samples(int(options.sample_frequency)).tolist())
    computer.input_finished()
    return np.array([computer.get_frame(t) for t in range(computer.num_frames_ready)])


@pytest.mark.parametrize("name", CASES)
def test_figures_of_kaldi(name):
    options, stored = dataclasses.replace(SMALL, **CASES[name]), np.load(STORED)[name]
    ours = Fbank(options).compute(samples(int(options.sample_frequency)))
    assert ours.shape == stored.shape
    if options.use_log_fbank:
        np.testing.assert_allclose(ours, stored, atol=2e-3)
    else:
        np.testing.assert_allclose(ours, stored, rtol=2e-4, atol=1e-6 * stored.max())


@pytest.mark.parametrize("name", CASES)
def test_the_stored_figures_are_kaldi_s(name):
    np.testing.assert_allclose(np.load(STORED)[name], kaldi(dataclasses.replace(SMALL, **CASES[name])), rtol=1e-5)


def test_cepstra_are_their_transform():
    wave = samples(8000)
    cepstra = MfccOptions(sample_frequency=8000, dither=0, snip_edges=False, use_energy=False)
    product = Fbank(SMALL).compute(wave) @ cepstral_transform(cepstra).astype(np.float32)
    np.testing.assert_allclose(Mfcc(cepstra).compute(wave), product, atol=1e-4)


def test_dither_and_the_mean_are_those_of_mfcc():
    dithered = dataclasses.replace(SMALL, dither=1.0)
    first, again, other = (
        Fbank(dithered).compute(np.zeros(count), utt) for count, utt in ((8000, "a"), (8000, "b"), (7990, "a"))
    )
    np.testing.assert_array_equal(first, again)  # by the samples, wherever they lie
    assert np.abs(first[: len(other)] - other[: len(first)]).max() > 0.1
    centred = Fbank(dataclasses.replace(SMALL, subtract_mean=True)).compute(samples(8000))
    np.testing.assert_allclose(centred.mean(axis=0), 0, atol=1e-5)


def test_a_wrong_option_names_the_conf_file():
    with pytest.raises(InputError, match="fbank options.*--high-freq=4100.*fbank.conf"):
        dataclasses.replace(SMALL, high_freq=4100.0)


if __name__ == "__main__":
    np.savez_compressed(STORED, **{name: kaldi(dataclasses.replace(SMALL, **change)) for name, change in CASES.items()})
