"""Simulated rooms, generated noises, and the folders that sounds are taken from."""

import shlex
from pathlib import Path

import numpy as np
import pytest
import soundfile

from pyasp.audio.folders import find_audio, musan_noises, responses_of
from pyasp.audio.rooms import NOISES, random_noise, random_response, sabine_reflection, shoebox_response
from pyasp.bin import check
from pyasp.core.errors import InputError

RATE = 8000
ROOT = Path(__file__).resolve().parents[2]


def test_room_response_starts_with_the_direct_path_and_decays_as_told():
    size, t60 = np.array([5.0, 4.0, 3.0]), 0.4
    response = shoebox_response(size, np.array([1.0, 1, 1]), np.array([3.0, 2, 1.5]), t60, RATE)
    assert np.argmax(response) == 0 and response[0] == pytest.approx(1)
    energy = 10 * np.log10(np.cumsum(response[::-1] ** 2)[::-1] / np.sum(response**2))
    slope = np.polyfit(np.arange(800, 2000) / RATE, energy[800:2000], 1)[0]  # dB per second, 0.1 s to 0.25 s
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


def test_random_rooms_differ():
    rng = np.random.default_rng(0)
    assert not np.array_equal(random_response(rng, RATE)[:100], random_response(rng, RATE)[:100])


def test_noises_of_rirs_noises_are_no_responses_and_speech_of_musan_is_no_noise(tmp_path):
    for name in (
        "RIRS_NOISES/simulated_rirs/smallroom/Room001/Room001-00001.wav",
        "RIRS_NOISES/real_rirs_isotropic_noises/RVB2014_type1_rir_largeroom1_far_angla.wav",
        "RIRS_NOISES/real_rirs_isotropic_noises/RVB2014_type1_noise_largeroom1_1.wav",
        "RIRS_NOISES/pointsource_noises/noise-free-sound-0000.wav",
        "musan/music/fma/m.wav",
        "musan/noise/free-sound/n.wav",
        "musan/speech/us-gov/s.wav",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        soundfile.write(tmp_path / name, np.ones(10), RATE)
    for root in (tmp_path, tmp_path / "RIRS_NOISES"):
        assert [path.name for path in responses_of(root)] == [
            "Room001-00001.wav",
            "RVB2014_type1_rir_largeroom1_far_angla.wav",
        ]
    assert [path.name for path in musan_noises(tmp_path / "musan")] == ["n.wav", "m.wav"]
    assert len(responses_of(tmp_path / "musan")) == 3  # any folder of responses
    with pytest.raises(InputError, match="no audio file"):
        find_audio(tmp_path / "RIRS_NOISES/none")


def test_folders_without_sounds_are_told_before_any_work(tmp_path, capsys):
    for name in ("empty", "packed", "zipped"):
        (tmp_path / name).mkdir()
    (tmp_path / "packed/musan.tar.gz").write_bytes(b"")
    (tmp_path / "zipped/rirs_noises.zip").write_bytes(b"PK")
    cures = {
        "empty": "Give the unpacked corpus' folder",
        "packed": f"tar -xzf {tmp_path}/packed/musan.tar.gz -C {tmp_path}/packed",
        "zipped": f"unzip -q {tmp_path}/zipped/rirs_noises.zip -d {tmp_path}/zipped",
        "nowhere": "Give the unpacked corpus' folder",
    }
    for option in ("--musan", "--rirs"):
        for name, cure in cures.items():
            assert check.main(["augment", f"{option}={tmp_path / name}"]) == 1
            said = capsys.readouterr().err
            assert "no audio file" in said and cure in said
    soundfile.write(tmp_path / "empty/n.wav", np.ones(10), RATE)
    assert check.main(["augment", f"--musan={tmp_path}/empty", f"--rirs={tmp_path}/empty"]) == 0
    assert capsys.readouterr().err.count("1 sounds for the augmented copies") == 2
    assert check.main(["augment", "--copies=0", f"--musan={tmp_path}/nowhere"]) == 0


@pytest.mark.parametrize("name", ["my rirs.zip", "x; touch ran;.zip", "$(touch ran).tar.gz", "a' | sh #.zip"])
def test_the_command_that_unpacks_is_one_whatever_the_names(tmp_path, name):
    """It is there to be pasted, and names come from whoever made the archive."""
    folder = tmp_path / "of others"
    folder.mkdir()
    (folder / name).write_bytes(b"PK")
    with pytest.raises(InputError) as told:
        find_audio(folder)
    words = shlex.split(str(told.value).partition("Unpack it: ")[2].removesuffix("."))
    assert words[-1] == str(folder) and str(folder / name) in words and len(words) == 5


def test_silent_sounds_are_told_before_any_work_all_of_them(tmp_path, capsys):
    """Of several channels the first is taken."""
    tone, zeros = np.full(RATE, 0.1), np.zeros(RATE)
    left, right = np.stack([tone, zeros], 1), np.stack([zeros, tone], 1)
    click = np.zeros(RATE)
    click[7654] = 0.5
    sounds = {"tone": tone, "click": click, "left": left, "short": tone[:3], "zeros": zeros, "right": right}
    for name, samples in {**sounds, "empty": tone[:0]}.items():
        soundfile.write(tmp_path / f"{name}.wav", samples, RATE)
    (tmp_path / "no_sound.wav").write_bytes(b"RIFF")  # is told where it is read
    words = ["--kinds=noise", f"--musan={tmp_path}", str(ROOT / "conf/folder"), str(tmp_path / "data")]
    for again in range(2):
        assert check.main(["settings", "--systems=ivector", *words, str(tmp_path / "exp")]) == 1
        said = capsys.readouterr().err
        told = ", ".join(f"{tmp_path}/{name}.wav" for name in ("empty", "right", "zeros"))
        assert f"error: {tmp_path}: found 3 silent sounds of 8 ({told}); expected sounds that can be heard" in said
        assert "the first. Repair these files, or take them out of the folder." in said
    for name in ("empty", "right", "zeros"):
        (tmp_path / f"{name}.wav").unlink()
    assert check.main(["settings", "--systems=ivector", *words, str(tmp_path / "exp")]) == 0
