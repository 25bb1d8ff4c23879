"""Augmentation: rooms, noise levels, alignment of reverberated speech, draws that depend on the id alone."""

import lhotse
import numpy as np
import pytest
import soundfile
from scipy.signal import correlate

from pyasp.augment import Augmenter, AugmentOptions, generate, recordings
from pyasp.errors import InputError
from pyasp.rooms import NOISES, random_noise, random_response, sabine_reflection, shoebox_response

RATE = 8000


@pytest.fixture
def speech(tmp_path):
    """A cut of 2 s of modulated noise."""
    rng = np.random.default_rng(0)
    samples = 0.1 * rng.normal(size=2 * RATE) * (1 + np.sin(np.arange(2 * RATE) / 400))
    soundfile.write(tmp_path / "s1-u1.wav", samples, RATE)
    return lhotse.Recording.from_file(tmp_path / "s1-u1.wav").to_cut().with_id("s1-u1")


@pytest.fixture
def augmenter(tmp_path):
    def build(**options):
        settings = AugmentOptions(generated_noises=5, generated_responses=3, noise_seconds=1.5, **options)
        noises, responses = generate(tmp_path / "sources", settings, RATE, seed=1)
        return Augmenter(settings, recordings(noises, RATE), recordings(responses, RATE), seed=1)
    return build


def test_room_response_starts_with_the_direct_path_and_decays_as_told():
    size, t60 = np.array([5.0, 4.0, 3.0]), 0.4
    response = shoebox_response(size, np.array([1.0, 1, 1]), np.array([3.0, 2, 1.5]), t60, RATE)
    assert np.argmax(response) == 0 and response[0] == pytest.approx(1)
    energy = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] / np.sum(response ** 2))
    slope = np.polyfit(np.arange(800, 2000) / RATE, energy[800:2000], 1)[0]    # dB per second, 0.1 s to 0.25 s
    assert -60 / slope == pytest.approx(t60, rel=0.35)
    assert 0 < sabine_reflection(size, 0.8) - sabine_reflection(size, 0.2)


def test_first_reflection_arrives_when_geometry_says():
    """One wall close by, the others far: the first echo is the floor's."""
    response = shoebox_response(np.array([60.0, 60, 60]), np.array([30.0, 30, 1]), np.array([32.0, 30, 1]), 0.3, RATE)
    expected = round((np.hypot(2, 2) - 2) / 343 * RATE)
    assert np.flatnonzero(response)[1] == expected


@pytest.mark.parametrize("kind", NOISES)
def test_noises_are_finite_loud_and_reproducible(kind):
    one, two = (random_noise(np.random.default_rng(3), kind, 1.0, RATE) for _ in range(2))
    assert one.shape == (RATE,) and np.abs(one).max() == pytest.approx(0.5) and np.array_equal(one, two)


@pytest.mark.parametrize("snr", [8.0, 20.0])
def test_noise_is_added_at_the_wanted_level(speech, augmenter, snr):
    copy, kind = augmenter(kinds="noise", snrs=str(snr)).copy(speech, 1)
    clean, noisy = speech.load_audio()[0], copy.load_audio()[0]
    assert (kind, copy.id) == ("noise", "s1-u1-noise1") and len(noisy) == len(clean)
    assert 10 * np.log10(np.sum(clean ** 2) / np.sum((noisy - clean) ** 2)) == pytest.approx(snr, abs=0.1)


def test_reverberated_speech_stays_aligned(speech, augmenter):
    copy, _ = augmenter(kinds="reverb").copy(speech, 1)
    clean, wet = speech.load_audio()[0], copy.load_audio()[0]
    assert len(wet) == len(clean) and not np.allclose(wet, clean, atol=1e-3)
    assert np.argmax(correlate(wet, clean)) - (len(clean) - 1) == 0


def test_draws_depend_on_seed_and_id_alone(speech, augmenter):
    first = augmenter().copy(speech, 1)[0].to_dict()
    other = augmenter()
    other.copy(speech.with_id("another"), 1)
    assert other.copy(speech, 1)[0].to_dict() == first


def test_unknown_kind_is_named(augmenter):
    with pytest.raises(InputError, match="found 'echo'; expected noise or reverb"):
        augmenter(kinds="noise,echo")


def test_random_rooms_differ():
    rng = np.random.default_rng(0)
    assert not np.array_equal(random_response(rng, RATE)[:100], random_response(rng, RATE)[:100])
