"""MFCC: against a slow double-precision frame, frame counts, mirroring, and the special cases of Kaldi's options."""

import dataclasses

import numpy as np
import pytest

from pyasp.core.errors import InputError
from pyasp.features import mfcc as module
from pyasp.features.mfcc import WINDOWS, Mfcc, MfccOptions, cepstral_transform, mel, mel_banks, mirrored, num_frames

SMALL = MfccOptions(sample_frequency=8000, dither=0, num_ceps=13, high_freq=3700, snip_edges=False)
SILENCE = -15.942385  # log of the single-precision epsilon


def noise(samples, seed=0, scale=1000):
    return np.random.default_rng(seed).normal(0, scale, samples).round().astype(np.float32)


def mirror_by_loop(samples, start, end):
    out = []
    for s in range(start, end):
        while not 0 <= s < len(samples):
            s = -s - 1 if s < 0 else 2 * len(samples) - 1 - s
        out.append(samples[s])
    return np.array(out)


def frame_by_hand(samples, t, o):
    """One frame in double precision, by the definitions, with an explicit Fourier sum."""
    start = t * o.shift if o.snip_edges else t * o.shift + o.shift // 2 - o.length // 2
    s = mirror_by_loop(samples, start, start + o.length).astype(np.float64)
    s -= s.mean() if o.remove_dc_offset else 0
    energy = s @ s
    z = s - o.preemphasis_coefficient * np.concatenate([s[:1], s[:-1]])
    z *= WINDOWS[o.window_type](2 * np.pi * np.arange(o.length) / (o.length - 1), o.blackman_coeff)
    energy = energy if o.raw_energy else z @ z
    k = np.arange(o.padded_length // 2)[:, None]
    power = np.abs(np.exp(-2j * np.pi * k * np.arange(o.length) / o.padded_length) @ z) ** 2
    ceps = np.log(np.maximum(power @ mel_banks(o), 1.1920929e-7)) @ cepstral_transform(o)
    if o.use_energy:
        ceps[0] = np.log(max(energy, o.energy_floor, 1.1920929e-7))
    return ceps


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"snip_edges": True},
        {"use_energy": False},
        {"raw_energy": False},
        {"remove_dc_offset": False},
        {"round_to_power_of_two": False},
        {"cepstral_lifter": 0.0},
        {"energy_floor": 1e12},
        {"frame_shift": 12.5, "frame_length": 20.0},
        {"high_freq": -200.0},
        *({"window_type": name} for name in WINDOWS),
    ],
)
def test_equals_the_definition(change):
    options = dataclasses.replace(SMALL, **change)
    samples = noise(3000) + 300
    result = Mfcc(options).compute(samples)
    for t in (0, 1, 7, len(result) - 1):
        np.testing.assert_allclose(result[t], frame_by_hand(samples, t, options), atol=2e-3)


@pytest.mark.parametrize("shift, length", [(10.0, 25.0), (12.5, 20.0), (7.0, 30.0)])
def test_frame_counts(shift, length):
    snip = dataclasses.replace(SMALL, frame_shift=shift, frame_length=length, snip_edges=True)
    centred = dataclasses.replace(snip, snip_edges=False)
    for n in [*range(1, 700, 7), 8000, 8039, 8040, 8041]:
        inside = len([1 for start in range(0, n, snip.shift) if start + snip.length <= n])
        middles = len([1 for t in range(n) if t * snip.shift + snip.shift - snip.shift // 2 <= n])
        assert num_frames(n, snip) == inside and num_frames(n, centred) == middles
        for options in (snip, centred):
            count = num_frames(n, options)
            assert Mfcc(options).compute(noise(n)).shape == ((count, 13) if count else (0, 0))


def test_mirroring_repeats_for_clips_shorter_than_a_frame():
    for n in (1, 2, 5, 50):
        samples = noise(n)
        np.testing.assert_array_equal(mirrored(samples, -130, 170), mirror_by_loop(samples, -130, 170))


@pytest.mark.parametrize("dither", [0.0, 1.0])
def test_blocks_do_not_show(monkeypatch, dither):
    options = dataclasses.replace(SMALL, dither=dither)
    whole = Mfcc(options).compute(noise(9000), "utt")
    monkeypatch.setattr(module, "BLOCK_BYTES", 1)
    pieces = Mfcc(options)
    assert pieces.block < len(whole)
    np.testing.assert_allclose(pieces.compute(noise(9000), "utt"), whole, atol=1e-4)


def test_int16_scale_and_digital_silence():
    result = Mfcc(SMALL).compute(np.zeros(800))
    np.testing.assert_allclose(result[:, 0], SILENCE, atol=1e-5)
    assert np.isfinite(result).all()
    loud, quiet = (Mfcc(SMALL).compute(noise(800) * scale) for scale in (1, 0.5))
    np.testing.assert_allclose(loud[:, 0] - quiet[:, 0], 2 * np.log(2), atol=1e-4)
    np.testing.assert_allclose(loud[:, 1:], quiet[:, 1:], atol=2e-3)


@pytest.mark.parametrize("level", [1, -7, 1234, 32767])
def test_a_constant_recording_is_silence(level):
    """A converter's offset leaves nothing behind, in the energy and in the mel bins, low_freq = 0 included."""
    options = dataclasses.replace(SMALL, low_freq=0.0)
    result = Mfcc(options).compute(np.full(4000, level, np.float32))
    silence = Mfcc(options).compute(np.zeros(4000, np.float32))
    np.testing.assert_allclose(result, silence, atol=1e-4)


def test_silence_after_loud_speech_is_still_silence():
    samples = np.concatenate([noise(4000, scale=9000), np.zeros(4000)])
    np.testing.assert_allclose(Mfcc(SMALL).compute(samples)[-40:, 0], SILENCE, atol=1e-5)


def test_dither_is_drawn_from_the_samples():
    """The same recording has the same features under any name, as another system's copy of it must."""
    extractor = Mfcc(dataclasses.replace(SMALL, dither=1.0, remove_dc_offset=False))
    first, again = (extractor.compute(np.zeros(80000), utt) for utt in ("a", "b"))
    other = extractor.compute(np.eye(1, 80000, 79999)[0], "a")
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    assert abs(np.exp(first[:, 0]).mean() / SMALL.length - 1.0) < 0.02  # unit variance per sample


def test_htk_order():
    samples = noise(2000)
    for energy, factor in ((True, 1.0), (False, np.sqrt(2))):
        options = dataclasses.replace(SMALL, use_energy=energy)
        plain = Mfcc(options).compute(samples)
        moved = Mfcc(dataclasses.replace(options, htk_compat=True)).compute(samples)
        np.testing.assert_allclose(moved, np.column_stack([plain[:, 1:], plain[:, :1] * factor]), rtol=1e-6)


def test_subtract_mean():
    result = Mfcc(dataclasses.replace(SMALL, subtract_mean=True)).compute(noise(4000))
    np.testing.assert_allclose(result.mean(axis=0), 0, atol=1e-5)


def test_mel_triangles_add_up_to_one_between_the_outer_centres():
    banks = mel_banks(SMALL)
    bins = mel(np.arange(len(banks)) * SMALL.sample_frequency / SMALL.padded_length)
    edges = np.linspace(mel(20.0), mel(3700.0), SMALL.num_mel_bins + 2)
    inner = (bins >= edges[1]) & (bins <= edges[-2])
    np.testing.assert_allclose(banks[inner].sum(axis=1), 1.0, atol=1e-12)
    assert not banks[(bins <= edges[0]) | (bins >= edges[-1])].any()


def test_a_tone_peaks_in_its_mel_bin():
    edges = np.linspace(mel(20.0), mel(3700.0), SMALL.num_mel_bins + 2)
    options = dataclasses.replace(SMALL, num_ceps=SMALL.num_mel_bins, cepstral_lifter=0.0, use_energy=False)
    for band in (5, 12, 20):
        hertz = 700 * np.expm1(edges[band + 1] / 1127)
        tone = 5000 * np.sin(2 * np.pi * hertz * np.arange(4000) / 8000)
        log_mel = Mfcc(options).compute(tone) @ cepstral_transform(options).T  # orthonormal: this inverts it
        assert np.argmax(log_mel[10]) == band


def test_dct_is_orthonormal():
    square = cepstral_transform(dataclasses.replace(SMALL, num_ceps=SMALL.num_mel_bins, cepstral_lifter=0.0))
    np.testing.assert_allclose(square.T @ square, np.eye(SMALL.num_mel_bins), atol=1e-12)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_samples_must_be_finite(bad):
    samples = noise(2000)
    samples[1000] = bad
    with pytest.raises(InputError, match="not finite"):
        Mfcc(SMALL).compute(samples, "utt")


@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"num_ceps": 24}, "--num-ceps=24"),
        ({"high_freq": 4100.0}, "--high-freq"),
        ({"low_freq": 3800.0}, "--low-freq"),
        ({"vtln_warp": 1.1}, "warping is not supported"),
        ({"window_type": "kaiser"}, "--window-type=kaiser"),
        ({"num_mel_bins": 2}, "--num-mel-bins"),
        ({"dither": -1.0}, "--dither"),
        ({"frame_shift": 0.0}, "--frame-shift"),
        ({"frame_length": 25.125, "round_to_power_of_two": False}, "even FFT length"),
    ],
)
def test_options_out_of_range(wrong, message):
    with pytest.raises(InputError, match=message):
        dataclasses.replace(SMALL, **wrong)


def test_mel_bins_narrower_than_the_fft():
    with pytest.raises(InputError, match="no FFT bin in mel bin"):
        Mfcc(dataclasses.replace(SMALL, num_mel_bins=120))
