"""Reading audio: exact integers, faults that must not pass, commands that must not run, resampling, cuts."""

import json
import struct

import numpy as np
import pytest
import soundfile
import sphere
from lhotse import MonoCut, MultiCut, Recording
from prep_trees import m4a, program
from scipy.signal import resample_poly

from pyasp.audio import decoders
from pyasp.audio.cuts import read_samples, use_libsndfile
from pyasp.audio.resample import resample
from pyasp.core.errors import InputError


@pytest.fixture(autouse=True)
def reader():
    use_libsndfile()


def speech(samples, seed=0, scale=3000):
    return np.clip(np.random.default_rng(seed).normal(0, scale, samples), -32768, 32767).round().astype(np.int16)


def wav(path, samples, rate=8000, subtype="PCM_16"):
    soundfile.write(path, samples, rate, subtype=subtype)
    return path


def cut(path, utt="utt", channel=0, start=0.0, duration=None):
    recording = Recording.from_file(path)
    return MonoCut(utt, start, duration or recording.duration - start, channel, recording=recording).to_dict()


@pytest.mark.parametrize("name", ["a.wav", "a.flac"])
def test_int16_comes_back_exactly(tmp_path, name):
    samples = np.concatenate([[-32768, 32767, 0, 1, -1], speech(4000)]).astype(np.int16)
    result = read_samples(cut(wav(tmp_path / name, samples)), 8000)
    assert result.dtype == np.float32
    np.testing.assert_array_equal(result, samples)


def test_cuts_without_audio_are_refused(tmp_path):
    item = cut(wav(tmp_path / "a.wav", speech(800)))
    without = {key: value for key, value in item.items() if key != "recording"}
    for each in (without, {**item, "recording": {**item["recording"], "sources": 1.5}}):
        with pytest.raises(InputError):
            read_samples(each, 8000)


@pytest.mark.parametrize("coding", ["pcm", "ulaw"])
def test_sides_of_a_sphere_file(tmp_path, coding):
    samples = np.stack([speech(4000, 1), speech(4000, 2)], axis=1)
    sphere.write(tmp_path / "a.sph", samples, 8000, coding)
    reference, _ = soundfile.read(tmp_path / "a.sph", dtype="int16")
    for side in (0, 1):
        np.testing.assert_array_equal(read_samples(cut(tmp_path / "a.sph", channel=side), 8000), reference[:, side])
    assert (coding == "ulaw") or np.array_equal(reference, samples)


def test_channel_option_chooses_among_the_cuts_channels(tmp_path):
    samples = np.stack([speech(800, 1), speech(800, 2)], axis=1)
    recording = Recording.from_file(wav(tmp_path / "a.wav", samples))
    both = MultiCut("utt", 0, recording.duration, [0, 1], recording=recording).to_dict()
    np.testing.assert_array_equal(read_samples(both, 8000, channel=1), samples[:, 1])
    for item, channel in ((both, -1), (both, 2), (cut(tmp_path / "a.wav", channel=0), 1)):
        with pytest.raises(InputError, match="channel"):
            read_samples(item, 8000, channel)


def test_a_segment_is_read_from_its_place(tmp_path):
    samples = speech(8000)
    item = cut(wav(tmp_path / "a.flac", samples), start=0.25, duration=0.125)
    np.testing.assert_array_equal(read_samples(item, 8000), samples[2000:3000])


def test_item_is_left_as_it_was(tmp_path):
    item = cut(wav(tmp_path / "a.wav", speech(800)))
    before = json.dumps(item)
    read_samples(item, 8000)
    assert json.dumps(item) == before


def damaged(path, keep, item):
    path.write_bytes(path.read_bytes()[:keep])
    return item


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.sph"])
def test_truncated_files(tmp_path, name):
    path = tmp_path / name
    sphere.write(path, speech(40000), 8000, "pcm") if name == "a.sph" else wav(path, speech(40000))
    item = damaged(path, 30000, cut(path))
    with pytest.raises(InputError, match=name):
        read_samples(item, 8000)


@pytest.mark.parametrize("name", ["a.wav", "a.sph"])
def test_truncated_before_the_manifest_was_made(tmp_path, name):
    """libsndfile gives the shorter length as if nothing had happened, so the manifest agrees with the damaged file."""
    path = tmp_path / name
    sphere.write(path, speech(4000), 8000, "pcm") if name == "a.sph" else wav(path, speech(4000))
    item = cut(path)
    item["recording"].update(num_samples=2000, duration=0.25)
    item["duration"] = 0.25
    path.write_bytes(path.read_bytes()[: path.stat().st_size - 4000])
    with pytest.raises(InputError, match="as its header says"):
        read_samples(item, 8000)


def test_sphere_header_that_counts_less_than_there_is(tmp_path):
    path = tmp_path / "a.sph"
    sphere.write(path, speech(4000), 8000, "ulaw")
    item = cut(path)
    path.write_bytes(path.read_bytes().replace(b"sample_count -i 4000", b"sample_count -i 3000"))
    with pytest.raises(InputError, match="found 4000 samples a channel .a wrong count.; expected 3000 as its header"):
        read_samples(item, 8000)


def test_wav_written_to_a_pipe_has_no_length_and_is_read_to_its_end(tmp_path):
    path = wav(tmp_path / "a.wav", speech(4000))
    item, content = cut(path), path.read_bytes()
    place = content.index(b"data") + 4
    path.write_bytes(content[:place] + struct.pack("<I", 0xFFFFFFFF) + content[place + 4 :])
    np.testing.assert_array_equal(read_samples(item, 8000), speech(4000))


@pytest.mark.parametrize("samples, rate", [(4001, 8000), (3999, 8000), (4000, 16000)])
def test_a_file_that_is_not_what_the_manifest_saw(tmp_path, samples, rate):
    item = cut(wav(tmp_path / "a.wav", speech(4000)))
    wav(tmp_path / "a.wav", speech(samples), rate)
    with pytest.raises(InputError, match="as its cut says"):
        read_samples(item, 8000)


def test_empty_missing_and_foreign_files(tmp_path):
    item = cut(wav(tmp_path / "a.wav", speech(4000)))
    for content, message in (
        (b"", "an empty file"),
        (b"<html>not audio</html>", "text .'<html>not audio"),
        (None, "No such file"),
    ):
        (tmp_path / "a.wav").unlink() if content is None else (tmp_path / "a.wav").write_bytes(content)
        with pytest.raises(InputError, match=message):
            read_samples(item, 8000)


def test_no_samples(tmp_path):
    item = cut(wav(tmp_path / "a.wav", speech(4000)))
    wav(tmp_path / "a.wav", speech(0))
    item["recording"].update(num_samples=0, duration=0.0)
    item["duration"] = 0.0
    with pytest.raises(InputError):
        read_samples(item, 8000)


def test_samples_that_are_not_finite(tmp_path):
    samples = speech(4000) / 32768
    samples[77] = np.nan
    with pytest.raises(InputError, match="not finite"):
        read_samples(cut(wav(tmp_path / "a.wav", samples, subtype="FLOAT")), 8000)


def test_resampling_is_resample_poly_rounded_and_clipped(tmp_path):
    samples = speech(16001, scale=15000)
    expected = np.clip(np.round(resample_poly(samples, 1, 2)), -32768, 32767)
    assert (np.abs(resample_poly(samples, 1, 2)) > 32768).any()
    np.testing.assert_array_equal(read_samples(cut(wav(tmp_path / "a.wav", samples, 16000)), 8000), expected)


@pytest.mark.parametrize("source, target", [(16000, 8000), (44100, 16000), (8000, 16000), (11025, 8000)])
def test_resampling_in_blocks_changes_nothing(monkeypatch, source, target):
    samples = speech(7001).astype(np.float32)
    whole = resample(samples, source, target, rounded=False)
    divisor = np.gcd(source, target)
    expected = resample_poly(samples.astype(float), target // divisor, source // divisor)
    np.testing.assert_array_equal(whole, expected.astype(np.float32))
    monkeypatch.setattr("pyasp.audio.resample.RESAMPLE_BLOCK", 500)
    np.testing.assert_array_equal(resample(samples, source, target, rounded=False), whole)


def test_upsampling_needs_permission(tmp_path):
    item = cut(wav(tmp_path / "a.wav", speech(800)))
    with pytest.raises(InputError, match="--allow-upsample=true"):
        read_samples(item, 16000)
    assert len(read_samples(item, 16000, allow_upsample=True)) == 1600
    with pytest.raises(InputError, match="--allow-downsample=true"):
        read_samples(item, 4000, allow_downsample=False)


def mono(item):
    return MonoCut.from_dict({key: value for key, value in item.items() if key != "type"})


def test_a_noisy_copy_is_mixed_by_lhotse_and_not_rounded(tmp_path):
    clean = mono(cut(wav(tmp_path / "a.wav", speech(8000, 1))))
    noise = mono(cut(wav(tmp_path / "n.wav", speech(8000, 2, 500)), "n"))
    item = json.loads(json.dumps(clean.mix(noise, snr=10).to_dict()))
    added = read_samples(item, 8000) - speech(8000, 1)
    assert abs(10 * np.log10(np.mean(speech(8000, 1).astype(float) ** 2) / np.mean(added**2)) - 10) < 0.01
    assert np.abs(added - np.rint(added)).max() > 0.1


def test_a_damaged_noise_is_named(tmp_path):
    clean = mono(cut(wav(tmp_path / "a.wav", speech(8000, 1))))
    noise = mono(cut(wav(tmp_path / "noise.wav", speech(8000, 2)), "n"))
    item = json.loads(json.dumps(clean.mix(noise, snr=10).to_dict()))
    (tmp_path / "noise.wav").write_bytes((tmp_path / "noise.wav").read_bytes()[:9000])
    with pytest.raises(InputError, match="noise.wav.*as its header says"):
        read_samples(item, 8000)


def command_of(item, command):
    item["recording"]["sources"][0].update(type="command", source=command)
    return item


def test_commands_run_only_when_allowed(tmp_path):
    path = wav(tmp_path / "a.wav", speech(800))
    item = command_of(cut(path), f"touch {tmp_path}/ran; cat {path}")
    with pytest.raises(InputError, match="--allow-commands"):
        read_samples(item, 8000)
    assert not (tmp_path / "ran").exists()
    np.testing.assert_array_equal(read_samples(item, 8000, allow_commands=True), speech(800))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("length", [0, 0x7FFFF000, 0xFFFFFFFF])
def test_a_command_that_knows_no_length_is_read_to_its_end_and_one_that_stops_short_is_found(tmp_path, length):
    content = bytearray(wav(tmp_path / "a.wav", speech(800)).read_bytes())
    item = command_of(cut(tmp_path / "a.wav"), f"cat {tmp_path}/a.wav")
    struct.pack_into("<I", content, 40, length)
    (tmp_path / "a.wav").write_bytes(content)
    np.testing.assert_array_equal(read_samples(item, 8000, allow_commands=True), speech(800))
    item["recording"]["sources"][0]["source"] = f"head -c 1000 {wav(tmp_path / 'b.wav', speech(800))}"
    item["recording"].update(num_samples=478, duration=478 / 8000)  # as libsndfile has it, without a word
    item["duration"] = 478 / 8000
    with pytest.raises(InputError, match="audio of a command: found 956 bytes of samples .truncated.; expected 1600"):
        read_samples(item, 8000, allow_commands=True)


def test_commands_in_the_depths_of_a_cut(tmp_path):
    recording = Recording.from_file(wav(tmp_path / "a.wav", speech(800)))
    response = Recording.from_file(wav(tmp_path / "r.wav", speech(80)))
    item = json.loads(json.dumps(recording.to_cut().reverb_rir(rir_recording=response).to_dict()))
    assert len(read_samples(item, 8000)) == 800
    text = json.dumps(item).replace(
        f'"type": "file", "channels": [0], "source": "{tmp_path}/r.wav"',
        f'"type": "command", "channels": [0], "source": "touch {tmp_path}/ran"',
    )
    assert "touch" in text
    with pytest.raises(InputError, match="a command as audio source"):
        read_samples(json.loads(text), 8000)
    assert not (tmp_path / "ran").exists()


def test_addresses_are_never_fetched(tmp_path):
    item = cut(wav(tmp_path / "a.wav", speech(800)))
    item["recording"]["sources"][0].update(type="url", source="http://localhost/a.wav")
    with pytest.raises(InputError, match="Download the file first"):
        read_samples(item, 8000, allow_commands=True)


def shortened(tmp_path, before=b""):
    """A cut of a file whose header says shorten, and the wav that its decoder would give.

    before: lines in front of the one that says it.
    """
    size = 1024 if not before else 4096
    sphere.write(tmp_path / "a b.sph", speech(800), 8000, "pcm", header_size=size)
    item = cut(tmp_path / "a b.sph")
    content, coding = (tmp_path / "a b.sph").read_bytes(), b"sample_coding -s26 pcm,embedded-shorten-v2.00"
    head = content[:size].replace(b"sample_coding -s3 pcm", before + coding)[:size]
    (tmp_path / "a b.sph").write_bytes(head + b"ajkg" + bytes(100))
    wav(tmp_path / "decoded.wav", speech(800))
    decoders._decode.cache_clear()
    return item


def test_shorten_without_its_decoder(tmp_path, monkeypatch):
    item = shortened(tmp_path)
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InputError, match="a b.sph: found shorten.*Install sph2pipe"):
        read_samples(item, 8000)


@pytest.mark.parametrize("before", [b"", b"filler -s9 123456789\n" * 100], ids=["plain header", "long header"])
def test_shorten_through_sph2pipe(tmp_path, monkeypatch, before):
    item = shortened(tmp_path, before)
    script = f'[ "$4" = "{tmp_path}/a b.sph" ] && cp "{tmp_path}/decoded.wav" "$5"'
    program(tmp_path / "bin", monkeypatch, "sph2pipe", script)
    np.testing.assert_array_equal(read_samples(item, 8000), speech(800))


def test_a_decoder_that_fails(tmp_path, monkeypatch):
    item = shortened(tmp_path)
    program(tmp_path / "bin", monkeypatch, "sph2pipe", "echo checksum error >&2; exit 3")
    with pytest.raises(InputError, match="sph2pipe exit code 3 .checksum error"):
        read_samples(item, 8000)


def test_samples_that_sph2pipe_made_up_are_refused(tmp_path, monkeypatch):
    """Version 2.5 fills the last block of a truncated file, says so, and ends with exit code 0."""
    item = shortened(tmp_path)
    script = f'cp "{tmp_path}/decoded.wav" "$5"; echo "premature EOF on compressed stream in $4" >&2'
    program(tmp_path / "bin", monkeypatch, "sph2pipe", script)
    with pytest.raises(InputError, match="a b.sph: found sph2pipe exit code 0 .premature EOF"):
        read_samples(item, 8000)


def test_aac_through_ffmpeg(tmp_path, monkeypatch):
    wav(tmp_path / "decoded.wav", speech(800))
    m4a(tmp_path / "a.m4a", 2, priming=1248, rate=8000)
    program(tmp_path / "bin", monkeypatch, "ffmpeg", f'for last; do :; done; cp "{tmp_path}/decoded.wav" "$last"')
    np.testing.assert_array_equal(read_samples(cut(tmp_path / "a.m4a"), 8000), speech(800))
