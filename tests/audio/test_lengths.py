"""A length is what can be decoded: preparation, checking and reading say the same of every file, whole or not.

CASES holds files as programs write them and what they hold, or why they are refused. `cases/` holds what is awkward to
make: MP3 without a count of its frames, of variable bit rate, cut out of a stream; GSM; FLAC whose samples look like
frames.
"""

import json
import os
import re
import shutil
import struct
import subprocess
from pathlib import Path

import lhotse
import numpy as np
import pytest
import soundfile
import sphere
from prep_trees import m4a, program, put, speech

from local import prep_folder
from pyasp.audio import headers
from pyasp.audio.cut_files import audio_fault
from pyasp.audio.cuts import read_samples, use_libsndfile
from pyasp.audio.headers import Header, read_header
from pyasp.audio.recording import read_file, read_sound
from pyasp.bin import check
from pyasp.bin.data import main as data_verb
from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir, read_reasons

HERE = Path(__file__).with_name("cases")
RATE = 16000
VOICE = speech(RATE, 1.0)  # 16 000 samples
ART = b"\xff\xfb\x90\x64ID3TAGOggS" * 4000  # a picture full of what other formats begin with


@pytest.fixture(autouse=True)
def reader():
    use_libsndfile()


def case(name, before=b"", after=b""):
    return lambda path: path.write_bytes(before + (HERE / name).read_bytes() + after)


def id3(content, footer=b""):
    size = bytes(len(content) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\4\0" + (b"\x10" if footer else b"\0") + size + content + footer


def plain(form, subtype="PCM_16", rate=RATE, **more):
    samples = VOICE / 32768 if subtype == "FLOAT" else VOICE  # of integers libsndfile makes floats of up to 32768
    return lambda path: soundfile.write(path, samples, rate, format=form, subtype=subtype, **more)


def sized(length, riff=None, after=b""):
    """A wav file of 16 000 samples with another length of its data, as programs write it to a pipe."""

    def write(path):
        soundfile.write(path, VOICE, RATE, format="WAV")
        data = bytearray(path.read_bytes())
        struct.pack_into("<I", data, 4, (length + 36 & 0xFFFFFFFF) if riff is None else riff)
        struct.pack_into("<I", data, 40, length)
        path.write_bytes(data + after)

    return write


def huge(path):
    """Over 4 GiB (a hole in the disk), the length of the data wrapped to two seconds."""
    soundfile.write(path, VOICE, RATE, format="WAV")
    data = bytearray(path.read_bytes())
    struct.pack_into("<I", data, 40, 2 * 2 * RATE)
    path.write_bytes(data)
    os.truncate(path, 44 + (1 << 32) + 4 * RATE)


def rf64(path):
    """Over 4 GiB, whole: 64-bit lengths."""
    soundfile.write(path, VOICE, RATE, format="RF64")
    data, size = bytearray(path.read_bytes()), (1 << 32) + 4 * RATE
    place = data.index(b"data") + 8
    struct.pack_into("<QQQ", data, data.index(b"ds64") + 8, place + size - 8, size, size // 2)
    path.write_bytes(data[:place])
    os.truncate(path, place + size)


def cut(write, share):
    """The first part of a file: a share of its bytes, or all but so many."""

    def written(path):
        write(path)
        size = path.stat().st_size
        os.truncate(path, int(size * share) if 0 < share < 1 else size * (share < 0) + int(share))

    return written


def behind(write):
    """More sound than the header says: the program that wrote it ended before it noted the length."""

    def written(path):
        write(path)
        path.write_bytes(path.read_bytes() + VOICE.tobytes())

    return written


def joined(write, times=2):
    def written(path):
        write(path)
        path.write_bytes(path.read_bytes() * times)

    return written


def edited(write, place, form, *values):
    def written(path):
        write(path)
        data = bytearray(path.read_bytes())
        struct.pack_into(form, data, place, *values)
        path.write_bytes(data)

    return written


def flac(samples=16000, rate=RATE, channels=1, digest=None):
    """A FLAC file of 16 000 samples with other numbers, or another MD5 sum, in STREAMINFO."""
    packed = (rate << 44 | channels - 1 << 41 | 15 << 36 | samples).to_bytes(8, "big")
    numbers = edited(plain("FLAC"), 18, "8s", packed)
    return numbers if digest is None else edited(numbers, 26, "16s", digest)


def adts(path, frames=10, size=200, channels=1):
    """AAC frames of 1024 samples at 16 kHz, with bytes that no decoder would take."""
    head = bytes([0xFF, 0xF1, 1 << 6 | 8 << 2 | channels >> 2, (channels & 3) << 6 | size >> 11])
    path.write_bytes(frames * (head + bytes([size >> 3 & 255, (size & 7) << 5 | 0x1F, 0xFC])).ljust(size, b"\1"))


def small_tag(path):
    """A tag in a frame that is too small for mpg123 to look for one in it."""
    frame = (b"\xff\xf3\x18\xc4" + bytes(9) + b"Info" + struct.pack(">II", 1, 114)).ljust(36, b"\0")
    case("cbr.mp3", frame)(path)


def fragments(path):
    path.write_bytes(m4a(path, 3).read_bytes() + struct.pack(">I4s", 8, b"moof"))


def floats(scale, subtype="FLOAT", form="WAV"):
    return lambda path: soundfile.write(path, VOICE / 32768 * scale, RATE, format=form, subtype=subtype)


WHOLE = {  # name: (suffix, what writes it, samples a channel, rate)
    "cbr": ("mp3", case("cbr.mp3"), 65664, RATE),  # no count: 114 frames of 576
    "loud_start": ("mp3", case("loud_start.mp3"), 129600, RATE),  # variable rate, no count
    "quiet_start": ("mp3", case("quiet_start.mp3"), 161280, RATE),
    "xing": ("mp3", case("xing.mp3"), 64000, RATE),  # a count, and what LAME says to leave out
    "artwork": ("mp3", case("cbr.mp3", id3(ART)), 65664, RATE),
    "artwork_xing": ("mp3", case("xing.mp3", id3(ART)), 64000, RATE),
    "two_tags": ("mp3", case("cbr.mp3", id3(ART) + id3(b"x" * 300, b"3DI" + bytes(7))), 65664, RATE),
    "tags_behind": (
        "mp3",
        case("cbr.mp3", b"", b"APETAGEX" + struct.pack("<IIII8x", 2000, 40, 1, 1 << 31 | 1 << 29)
             + bytes(8) + b"APETAGEX" + struct.pack("<IIII8x", 2000, 40, 1, 1 << 31) + b"TAG".ljust(128)),
        65664,
        RATE,
    ),
    "zeros_behind": ("mp3", case("cbr.mp3", b"", bytes(2000)), 65664, RATE),
    "tag_in_sound": ("mp3", edited(case("cbr.mp3"), 13, "8s", b"Xing\0\0\0\1"), 65664, RATE),  # not behind silence: no tag
    "small_tag": ("mp3", small_tag, 65664, RATE),
    "lame": ("mp3", plain("MP3", "MPEG_LAYER_III"), 16000, RATE),
    "gsm": ("wav", case("gsm.wav"), 16000, 8000),
    "wav": ("wav", plain("WAV"), 16000, RATE),
    "alaw": ("wav", plain("WAV", "ALAW"), 16000, RATE),
    "float": ("wav", plain("WAV", "FLOAT"), 16000, RATE),
    "loud_float": ("wav", floats(4.0), 16000, RATE),
    "ms_adpcm": ("wav", plain("WAV", "MS_ADPCM"), 16192, RATE),
    "g721": ("wav", plain("WAV", "G721_32", 8000), 16080, 8000),
    "nms": ("wav", plain("WAV", "NMS_ADPCM_32", 8000), 16000, 8000),
    "wavex": ("wav", plain("WAVEX"), 16000, RATE),
    "rifx": ("wav", plain("WAV", endian="BIG"), 16000, RATE),
    "rf64": ("wav", plain("RF64"), 16000, RATE),
    "w64": ("w64", plain("W64"), 16000, RATE),
    "w64_gsm": ("w64", plain("W64", "GSM610", 8000), 16000, 8000),
    "aiff": ("aiff", plain("AIFF"), 16000, RATE),
    "aiff_gsm": ("aiff", plain("AIFF", "GSM610", 8000), 16000, 8000),
    "au": ("au", plain("AU"), 16000, RATE),
    "au_g721": ("au", plain("AU", "G721_32", 8000), 16080, 8000),
    "au_pipe": ("au", edited(plain("AU"), 8, ">I", 0xFFFFFFFF), 16000, RATE),
    "caf": ("caf", plain("CAF"), 16000, RATE),
    "alac": ("caf", plain("CAF", "ALAC_16"), 16000, RATE),
    "vorbis": ("ogg", plain("OGG", "VORBIS"), 16000, RATE),
    "opus": ("opus", plain("OGG", "OPUS", 48000), 16000, 48000),
    "flac": ("flac", plain("FLAC"), 16000, RATE),
    "flac24": ("flac", plain("FLAC", "PCM_24"), 16000, RATE),
    "valid": ("flac", case("valid.flac"), 32768, RATE),
    "tagged_flac": ("flac", case("valid.flac", id3(ART)), 32768, RATE),
    "unsummed": ("flac", flac(digest=bytes(16)), 16000, RATE),  # its encoder made no MD5 sum
    "sphere": ("sph", lambda path: sphere.write(path, VOICE, RATE), 16000, RATE),
    **{f"pipe_{length:x}": ("wav", sized(length), 16000, RATE)  # sox, int32, arecord, uint32 - 36, ffmpeg
       for length in (0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFDB, 0xFFFFFFFF)},
    "pipe_0": ("wav", sized(0, 0), 16000, RATE),
    "chunk_behind": ("wav", sized(32000, after=b"bext" + struct.pack("<I", 5000) + bytes(range(250)) * 20), 16000, RATE),
    "tag_behind": ("wav", sized(32000, after=b"TAG".ljust(128, b"\1")), 16000, RATE),
    "padded": ("wav", sized(32000, after=bytes(3000)), 16000, RATE),
}  # fmt: skip
REFUSED = {  # name: (suffix, what writes it, the reason)
    **{
        f"cut_{name}_{share}": (*WHOLE[name][:1], cut(WHOLE[name][1], share), "truncated|ends within|libsndfile cannot")
        for name in (
            *("cbr", "xing", "gsm", "wav", "float", "ms_adpcm", "g721", "nms", "wavex", "rf64", "w64", "w64_gsm"),
            *("aiff", "aiff_gsm", "au", "au_g721", "caf", "alac", "vorbis", "opus", "flac", "valid", "sphere"),
        )
        for share in (0.47, 0.9, -2)
    },
    "float_pipe_0": ("wav", edited(floats(1.0), 76, "<I", 0), "64000 bytes of samples; expected 0 as its header says"),
    "rifx_pipe_0": ("wav", edited(plain("WAV", endian="BIG"), 40, "<I", 0), "32000 bytes of samples; expected 0"),
    **{f"early_{name}": (*WHOLE[name][:1], behind(WHOLE[name][1]), r"\d+ bytes of samples; expected \d+ as its header says")
       for name in ("wav", "float", "wavex", "rifx", "aiff", "au", "caf", "w64")},
    "two_data": ("wav", sized(32000, after=b"data" + struct.pack("<I", 6000) + b"\1" * 6000), "38008 bytes.*expected 32000"),
    "kHz": ("wav", edited(plain("WAV"), 24, "<I", 16), "audio at 16 Hz, 1 channels; expected 1000 to 768000 Hz"),
    "no_data": ("wav", cut(sized(0), 44), "no samples"),
    "truncated_2g": ("wav", sized(0x80000002), "32000 bytes of samples .truncated.; expected 2147483650"),
    "wrapped": ("wav", huge, "4295031296 bytes of samples; expected 64000 as its header says, in 32 bits"),
    "joined_mp3": ("mp3", joined(case("xing.mp3")), "bytes that are no frame"),
    "miscounted": ("mp3", edited(case("xing.mp3"), 65, ">I", 100), "114 frames of MP3 .more than one.*count says 100"),
    "fewer_frames": ("mp3", edited(case("xing.mp3"), 65, ">I", 500), "114 frames of MP3 .truncated.*count says 500"),
    "a_frame_less": ("mp3", cut(case("xing.mp3"), -36), "113 frames of MP3 .truncated.*count says 114"),
    "no_mp3": ("mp3", lambda path: path.write_bytes(id3(ART) + b"<html>"), "no frame of MP3"),
    **{f"joined_{name}": (*WHOLE[name][:1], joined(WHOLE[name][1]), "bytes of samples; expected|a second FLAC file|wrong count")
       for name in ("wav", "float", "wavex", "rf64", "rifx", "w64", "aiff", "au", "caf", "flac", "flac24", "unsummed", "valid", "sphere")},
    "joined_ogg": ("ogg", joined(plain("OGG", "VORBIS")), "libsndfile|several streams|samples"),
    "riff_of_another_kind": ("wav", edited(plain("WAV"), 8, "4s", b"AVI "), "RIFF of 'AVI '"),
    "short_ds64": ("wav", cut(plain("RF64"), 30), "no samples in a wav file"),
    "junk_ogg": ("ogg", lambda path: (plain("OGG", "VORBIS")(path), path.open("ab").write(b"junk"))[0], "no page of Ogg"),
    "short_flac": ("flac", flac(samples=5000), "more than 5000 samples; expected 5000"),
    "one_less_flac": ("flac", flac(samples=15999), "more than 15999 samples; expected 15999"),
    "one_more_flac": ("flac", flac(samples=16001), "16000 samples .truncated.; expected 16001"),
    "flac_rate": ("flac", flac(rate=8000), "frames of 16000 Hz, 1 channels where STREAMINFO has 8000 Hz, 1 channels"),
    "flac_channels": ("flac", flac(channels=2), "frames of 16000 Hz, 1 channels where STREAMINFO has 16000 Hz, 2"),
    "int16_floats": ("wav", floats(32768), "floats of up to 20000 times full scale.*volume=1/32768"),
    "int16_doubles": ("aiff", floats(32768, "DOUBLE", "AIFF"), "floats of up to 20000 times full scale"),
    "layer_3_in_wav": ("wav", edited(plain("WAV"), 20, "<H", 0x55), "MPEG audio in a wav file.*Convert it"),
    "voc": ("wav", plain("VOC"), "the container VOC; expected one that tells whether it is whole. Convert it"),
    "fragments": ("mp4", fragments, "fragments that each have a length of their own.*ffmpeg -i FILE NEW.flac"),
    "alac_mp4": ("m4a", lambda path: path.write_bytes(m4a(path, 3).read_bytes().replace(b"mp4a", b"alac")), "0 tracks of mp4a"),
    "empty": ("wav", lambda path: path.write_bytes(b""), "an empty file"),
    "text": ("mp3", lambda path: path.write_text("Größe, honestly\n" * 40), r"text \('Größe, honestly"),
    "utf16": ("mp3", lambda path: path.write_text("Größe" * 99, encoding="utf-16"), r"text \('Größe.*Fetch the recording"),
    "cut_letter": ("flac", lambda path: path.write_text("x" + "ß" * 200), r"text \('xßß"),
    "noise": ("mp3", lambda path: path.write_bytes(bytes(range(7, 256)) * 40), "libsndfile cannot read .Format not rec"),
}  # fmt: skip
DAMAGED = {  # only what reads the samples can know
    "md5": ("flac", flac(digest=b"0123456789abcdef"), "another MD5 sum"),
    "late_floats": ("wav", lambda path: soundfile.write(path, np.r_[np.zeros(70000), VOICE], RATE, subtype="FLOAT"),
                    "floats of up to 20000 times full scale"),
}  # fmt: skip


def made(tmp_path, table, name):
    path = tmp_path / f"{name}.{table[name][0]}"
    table[name][1](path)
    return path


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_have_the_length_that_is_decoded(tmp_path, name):
    _, _, samples, rate = WHOLE[name]
    path = made(tmp_path, WHOLE, name)
    header = read_header(path)
    assert (header.samples, header.rate, header.channels) == (samples, rate, 1)
    whole, found = read_file(path)
    assert whole.shape == (1, samples) and found == rate
    stretch, _ = read_file(path, 0.1, 0.2)
    np.testing.assert_allclose(stretch, whole[:, rate // 10 : 3 * rate // 10], rtol=0, atol=1e-7)


@pytest.mark.parametrize("name", ("wav", "wavex", "sphere", "rf64", "pipe_7ffff000", "tagged_flac"))
def test_headers_of_the_usual_files_are_read_without_libsndfile(tmp_path, name, monkeypatch):
    """Which takes many times as long: a hundred thousand of them are read in seconds."""
    path = made(tmp_path, WHOLE, name)
    monkeypatch.setattr(headers, "_asked", None)
    assert headers.read_header(path, to_the_end=False).samples == WHOLE[name][2]


@pytest.mark.parametrize("name", REFUSED)
def test_others_are_refused_by_header_and_reading_alike(tmp_path, name):
    path = made(tmp_path, REFUSED, name)
    for read in (read_header, read_file, read_sound):
        with pytest.raises(InputError, match=REFUSED[name][2]) as refused:
            read(path)
    assert not re.search("delete|remove", str(refused.value), re.IGNORECASE)


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_that_only_the_samples_show_is_found_on_reading_a_whole_file(tmp_path, name):
    path = made(tmp_path, DAMAGED, name)
    recording = lhotse.Recording.from_file(path)
    for read in (read_file, read_sound, lambda path: read_samples(recording.to_cut().to_dict(), RATE)):
        with pytest.raises(InputError, match=DAMAGED[name][2]):
            read(path)


def test_a_whole_rf64_file_of_over_4_gib(tmp_path):
    rf64(tmp_path / "long.wav")
    assert read_header(tmp_path / "long.wav").samples == (1 << 31) + 2 * RATE
    assert read_file(tmp_path / "long.wav", 134217.0, 0.5)[0].shape == (1, RATE // 2)


def test_cover_art_and_tags_change_no_sample(tmp_path):
    case("cbr.mp3", id3(ART), b"TAG".ljust(128))(tmp_path / "a.mp3")
    np.testing.assert_array_equal(read_file(tmp_path / "a.mp3")[0], read_file(HERE / "cbr.mp3")[0])


def test_what_libsndfile_makes_of_mp3_without_a_count_is_kept_sample_for_sample():
    with soundfile.SoundFile(HERE / "cbr.mp3") as stream:  # its length is guessed right here
        own = stream.read(stream.frames, dtype="float32")
    np.testing.assert_allclose(read_file(HERE / "cbr.mp3")[0][0], own, rtol=0, atol=1e-7)


def drawn(rng, samples, channels, rate):
    """Noise, tones, a saw, clicks at full scale or silence."""
    seconds = np.arange(samples)[:, None] / rate
    sounds = (
        lambda: rng.normal(0, 0.1, (samples, channels)),
        lambda: 0.5 * np.sin(2 * np.pi * rng.uniform(50, rate / 2, channels) * seconds),
        lambda: np.cumsum(rng.normal(0, 0.01, (samples, channels)), 0) % 1 - 0.5,
        lambda: rng.choice([-1, 0, 0.99], (samples, channels)),
        lambda: np.zeros((samples, channels)),
    )
    return sounds[rng.integers(len(sounds))]()


KINDS = {  # container: (subtypes, rates)
    "FLAC": (("PCM_16", "PCM_24", "PCM_S8"), (8000, 11025, 12345, 16000, 44100, 48000, 96000)),
    "MP3": (("MPEG_LAYER_III",), (8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000)),
    "OGG": (("VORBIS",), (8000, 16000, 44100)),
}


@pytest.mark.parametrize("count", [40, pytest.param(20000, marks=pytest.mark.reliability)])
@pytest.mark.parametrize("kind", KINDS)
def test_encoded_files_of_any_kind_are_as_long_as_what_is_decoded_and_their_parts_refused(tmp_path, kind, count):
    rng, (subtypes, rates) = np.random.default_rng(1), KINDS[kind]
    path, part = tmp_path / "whole", tmp_path / "part"
    for _ in range(count):
        samples, rate, channels = int(rng.integers(1, 40000)), int(rng.choice(rates)), int(rng.integers(1, 3))
        modes = {"bitrate_mode": str(rng.choice(["CONSTANT", "AVERAGE", "VARIABLE"]))} if kind == "MP3" else {}
        sound, subtype = drawn(rng, samples, channels, rate), str(rng.choice(subtypes))
        level = float(0.99 * rng.uniform())  # libsndfile refuses MP3 a hair below 1
        soundfile.write(path, sound, rate, subtype, format=kind, compression_level=level, **modes)
        header, (found, _) = read_header(path), read_file(path)
        assert (header.samples, header.rate, header.channels) == (found.shape[1], rate, channels)
        extra = found.shape[1] - samples  # LAME has no room for a tag in frames of few bits: whole frames are left
        assert extra == 0 or (kind == "MP3" and found.shape[1] % 576 == 0 and 0 < extra < 3 * 1152)
        content = path.read_bytes()
        part.write_bytes(content[: int(rng.integers(1, len(content)))])
        if not extra:  # without a count a part that ends between two frames is whole
            with pytest.raises(InputError):
                read_header(part)


@pytest.mark.parametrize("left", [0, 1, 100])
def test_a_frame_of_aac_is_1024_samples(tmp_path, left):
    adts(tmp_path / "a.aac")
    if not left:
        assert read_header(tmp_path / "a.aac") == Header(RATE, 10240, 1, "aac")
        return
    os.truncate(tmp_path / "a.aac", 1800 + left)
    with pytest.raises(InputError, match="9216 samples of AAC, then .* bytes that are no frame .truncated"):
        read_header(tmp_path / "a.aac")


def test_aac_is_read_through_ffmpeg(tmp_path, monkeypatch):
    adts(tmp_path / "a.aac")
    soundfile.write(tmp_path / "decoded.wav", VOICE[:10240], RATE)
    program(tmp_path / "bin", monkeypatch, "ffmpeg", f'for last; do :; done; cp "{tmp_path}/decoded.wav" "$last"')
    assert read_file(tmp_path / "a.aac")[0].shape == (1, 10240)
    soundfile.write(tmp_path / "decoded.wav", VOICE[:9000], RATE)
    adts(tmp_path / "b.aac")
    with pytest.raises(InputError, match="9000 samples, 16000 Hz, 1 channels; expected 10240 samples"):
        read_file(tmp_path / "b.aac")


@pytest.mark.parametrize("order", [1, -1])
def test_the_sound_of_a_film_is_found_beside_its_pictures(tmp_path, order):
    content = m4a(tmp_path / "a.mp4", 3).read_bytes()
    place = content.index(b"trak") - 4
    tracks = (content[place:], content[place:].replace(b"mp4a", b"avc1"))[::order]
    moov = struct.pack(">I4s", 8 + sum(map(len, tracks)), b"moov") + b"".join(tracks)
    (tmp_path / "a.mp4").write_bytes(content[: place - 8] + moov)
    assert read_header(tmp_path / "a.mp4") == Header(RATE, 2048, 1, "m4a", 1024)


@pytest.mark.skipif(not shutil.which("ffmpeg"), reason="no ffmpeg")
@pytest.mark.parametrize("channels, rate", [(1, 16000), (2, 44100)])
def test_real_aac_is_as_long_as_its_frames(tmp_path, channels, rate):
    soundfile.write(tmp_path / "a.wav", np.stack([VOICE] * channels, 1), rate)
    subprocess.run(["ffmpeg", "-v", "error", "-i", tmp_path / "a.wav", "-c:a", "aac", tmp_path / "a.aac"], check=True)
    header = read_header(tmp_path / "a.aac")
    assert header == Header(rate, 1024 * (header.samples // 1024), channels, "aac") and header.samples >= 16000
    assert read_file(tmp_path / "a.aac")[0].shape == (channels, header.samples)


def test_no_advice_of_the_tools_that_read_audio_is_to_delete_it():
    root = Path(__file__).parents[2]
    for path in [path for place in ("pyasp/audio", "pyasp/features", "local") for path in (root / place).glob("*.py")]:
        assert not re.search(r"\b(remove|delete) (it|them|the (file|recording)|those)", path.read_text(), re.I), path


# ---------------------------------------------------------------- preparation, checking and reading


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """Every case as a recording of its own, through preparation and check."""
    root, rows = tmp_path_factory.mktemp("lengths"), []
    for number, (name, entry) in enumerate({**WHOLE, **REFUSED}.items()):
        path = root / "audio" / f"{name}.{entry[0]}"
        path.parent.mkdir(exist_ok=True)
        entry[1](path)
        rows.append((f"a-{name}", "a", path))
    for speaker in "cd":
        soundfile.write(root / "audio" / f"{speaker}.wav", np.roll(VOICE, ord(speaker)), RATE)
        rows.append((f"{speaker}-0", speaker, root / "audio" / f"{speaker}.wav"))
    put(root / "train.tsv", "utt\tspeaker\tpath", *("\t".join(map(str, row)) for row in rows if row[1] == "a"))
    put(root / "test.tsv", "utt\tspeaker\tpath", *("\t".join(map(str, row)) for row in rows if row[1] != "a"))
    put(
        root / "enroll.tsv",
        "model\tutt\tspeaker\tpath",
        *(f"m{row[1]}\t" + "\t".join(map(str, row)) for row in rows[-2:]),
    )
    put(root / "trials", "mc c-0 target", "mc d-0 nontarget")
    data = root / "data"
    assert prep_folder.main(["--tables", str(root), "--data", str(data), "--max-bad=0.9"]) == 0
    dropped = read_reasons(data / "train" / "dropped.tsv")
    assert check.main(["data", str(data)]) == 0
    return data, dropped


def test_preparation_checking_and_reading_agree_on_every_file(prepared):
    data, dropped = prepared
    assert dropped == read_reasons(data / "train" / "dropped.tsv")  # the check found nothing more
    assert set(dropped) == {f"a-{name}" for name in REFUSED}
    for name in REFUSED:
        assert re.search(REFUSED[name][2], dropped[f"a-{name}"]), name
    cuts = {cut.id: cut for cut in lhotse.CutSet.from_file(data / "train" / "cuts.jsonl.gz")}
    assert set(cuts) == {f"a-{name}" for name in WHOLE}
    for name, (_, _, samples, rate) in WHOLE.items():
        found = cuts[f"a-{name}"]
        assert (found.num_samples, found.sampling_rate) == (samples, rate), name
        assert len(read_samples(found.to_dict(), rate)) == samples, name


@pytest.mark.parametrize("change", ["shorter", "truncated", "int16_floats"])
def test_the_check_finds_what_has_changed_since_the_preparation(tmp_path, capsys, change):
    for speaker in "abcd":
        for number in range(2):
            path = tmp_path / "own" / speaker / f"{number}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, np.roll(VOICE, 100 * number + ord(speaker)), RATE)
    data = tmp_path / "data"
    assert prep_folder.main(["--root", str(tmp_path / "own"), "--data", str(data), "--eval-fraction=0.5"]) == 0
    utt, speaker = next(iter(DataDir(data / "train").utt2spk.items()))
    path = tmp_path / "own" / speaker / f"{utt[-1]}.wav"
    writers = {
        "shorter": lambda path: soundfile.write(path, VOICE[:900], RATE),
        "truncated": lambda path: os.truncate(path, 1000),
        "int16_floats": floats(32768),
    }
    writers[change](path)
    told = {
        "shorter": "found 900 samples, 16000 Hz, 1 channels; expected 16000 samples, 16000 Hz, 1 channels as its cut",
        "truncated": "956 bytes of samples (truncated)",
        "int16_floats": "floats of up to 20000 times full scale",
    }[change]
    assert data_verb(["validate", str(data / "train")]) == 1 and told in capsys.readouterr().out
    assert check.main(["data", "--max-dropped-fraction=0.5", str(data)]) == 0
    assert told in read_reasons(data / "train" / "dropped.tsv")[utt]


# ---------------------------------------------------------------- stretches


def kaldi_dir(tmp_path, segments):
    """A Kaldi directory of four speakers with a recording of 16 000 samples each."""
    kaldi = tmp_path / "kaldi"
    for speaker in "abcd":
        path = tmp_path / f"{speaker}.wav"
        soundfile.write(path, np.roll(VOICE, ord(speaker)), RATE)
    put(kaldi / "wav.scp", *(f"{speaker}-r {tmp_path}/{speaker}.wav" for speaker in "abcd"))
    rows = [f"{speaker}-{number} {speaker}-r {times}" for speaker in "abcd" for number, times in enumerate(segments)]
    put(kaldi / "segments", *rows)
    put(kaldi / "utt2spk", *(f"{row.split()[0]} {row[0]}" for row in rows))
    put(kaldi / "spk2utt", *(f"{spk} {' '.join(row.split()[0] for row in rows if row[0] == spk)}" for spk in "abcd"))
    put(tmp_path / "list", "a-0 a-3 target", "a-0 b-0 nontarget")  # stretches that overlap are never drawn
    return kaldi


def test_stretches_a_little_too_long_end_with_their_recording(tmp_path, capsys):
    """Kaldi writes times in hundredths; extract-segments cuts up to half a second."""
    kaldi = kaldi_dir(tmp_path, ["0.0 1.005", "0.25 1.4", "0.5 -1", "0.25 0.75"])
    data = tmp_path / "data"
    assert prep_folder.main([f"--kaldi-data={kaldi}", f"--data={data}", f"--trials={tmp_path}/list"]) == 0
    told = capsys.readouterr().out
    assert sum(map(int, re.findall(r"(\d+) utterances that ended behind their recordings are shortened", told))) == 8
    found = 0
    for name in ("train", "test"):
        for cut in lhotse.CutSet.from_file(data / name / "cuts.jsonl.gz"):
            expected = {"0": 16000, "1": 12000, "2": 8000, "3": 8000}[cut.id[-1]]
            assert len(read_samples(cut.to_dict(), RATE)) == expected == cut.num_samples
            found += 1
    assert found == 16


def test_stretches_behind_their_recording_are_named_by_the_preparation(tmp_path, capsys):
    kaldi = kaldi_dir(tmp_path, ["0.25 0.75", "0.25 1.6", "1.0 1.2", "0.5 0.9"])
    words = ["--kaldi-data", str(kaldi), "--data", str(tmp_path / "data"), f"--trials={tmp_path}/list"]
    assert prep_folder.main(words) == 1
    assert (
        "a-1: found 8 utterances outside of their recordings" in (told := capsys.readouterr().err)
        and "--max-bad" in told
    )
    assert prep_folder.main([*words, "--max-bad=0.7"]) == 0
    dropped = read_reasons(tmp_path / "data" / "train" / "dropped.tsv")
    assert {utt[-1] for utt in dropped} == {"1", "2"}
    assert all("0.250 s to 1.600 s of a recording of 1.000 s" in dropped[utt] for utt in dropped if utt[-1] == "1")


def test_a_stretch_that_rounds_up_at_both_ends_is_not_one_sample_too_long(tmp_path):
    """0.01 s at 22 050 Hz are 220.5 samples, rounded up at the start and at the end."""
    soundfile.write(tmp_path / "a.wav", VOICE, 22050)
    recording = lhotse.Recording.from_file(tmp_path / "a.wav")
    from pyasp.audio.recording import seconds_within

    seconds = seconds_within(0.01, None, 22050, 16000)
    item = lhotse.MonoCut("u", 0.01, seconds, 0, recording=recording).to_dict()
    assert len(read_samples(item, 22050)) == 16000 - 221


def test_to_lhotse_writes_what_its_validator_accepts(tmp_path, capsys):
    kaldi = kaldi_dir(tmp_path, ["0.0 1.005", "0.25 -1"])
    assert data_verb(["to-lhotse", str(kaldi), str(tmp_path / "manifests")]) == 0
    recordings = lhotse.RecordingSet.from_file(tmp_path / "manifests" / "recordings.jsonl.gz")
    supervisions = lhotse.SupervisionSet.from_file(tmp_path / "manifests" / "supervisions.jsonl.gz")
    lhotse.qa.validate_recordings_and_supervisions(recordings, supervisions, read_data=True)
    assert {each.id[-1]: each.duration for each in supervisions} == {"0": 1.0, "1": 0.75}
    put(kaldi / "segments", *(f"{spk}-{n} {spk}-r 0.5 {1.2 + n}" for spk in "abcd" for n in range(2)))
    assert data_verb(["to-lhotse", str(kaldi), str(tmp_path / "again")]) == 1
    assert "a-1: found 0.500 s to 2.200 s of a recording of 1.000 s" in capsys.readouterr().err


def test_to_lhotse_ends_the_cuts_of_others_with_their_recordings(tmp_path):
    soundfile.write(tmp_path / "a.wav", VOICE, RATE)
    recording = lhotse.Recording.from_file(tmp_path / "a.wav", recording_id="a-r")
    supervision = lhotse.SupervisionSegment("a-0", "a-r", 0.0, 0.755, speaker="a")
    data = DataDir(tmp_path / "data")
    data.path.mkdir()
    lhotse.CutSet.from_cuts([lhotse.MonoCut("a-0", 0.25, 0.755, 0, [supervision], recording=recording)]).to_file(
        data / "cuts.jsonl.gz"
    )
    data.write_speakers({"a-0": "a"})
    assert data_verb(["to-lhotse", str(data.path), str(tmp_path / "manifests")]) == 0
    (found,) = lhotse.SupervisionSet.from_file(tmp_path / "manifests" / "supervisions.jsonl.gz")
    assert (found.start, found.duration) == (0.25, 0.75)


def test_the_check_names_cuts_that_end_behind_their_recordings(tmp_path):
    soundfile.write(tmp_path / "a.wav", VOICE, RATE)
    recording = lhotse.Recording.from_file(tmp_path / "a.wav", recording_id="a-r")
    headers = {str(tmp_path / "a.wav"): read_header(tmp_path / "a.wav")}
    within, behind = (lhotse.MonoCut("a", 0.25, end - 0.25, 0, recording=recording).to_dict() for end in (1.0, 1.005))
    assert audio_fault(within, headers) is None
    assert "found 16000 samples, 16000 Hz, 1 channels; expected a cut of 0.7550 s at 0.2500 s" in audio_fault(
        behind, headers
    )
    within["recording"]["sources"][0]["channels"] = 0.5
    assert "without rate, number of samples or channels" in audio_fault(within, headers)


def test_the_length_of_a_file_counts_not_its_manifests(tmp_path, capsys):
    """A manifest may be rounded, or older than the file."""
    recordings, supervisions = [], []
    for speaker in "abcd":
        soundfile.write(tmp_path / f"{speaker}.wav", np.roll(VOICE, ord(speaker)), RATE)
        each = lhotse.Recording.from_file(tmp_path / f"{speaker}.wav", recording_id=f"{speaker}-r").to_dict()
        recordings.append({**each, "num_samples": 16080, "duration": 1.005})
        supervisions += [
            {"id": f"{speaker}-{n}", "recording_id": f"{speaker}-r", "start": 0.5 * n, "duration": 1.005 - 0.5 * n,
             "channel": 0, "speaker": speaker} for n in range(2)
        ]  # fmt: skip
    for name, rows in (("recordings", recordings), ("supervisions", supervisions)):
        put(tmp_path / f"{name}.jsonl", *map(json.dumps, rows))
    words = [f"--{name}={tmp_path}/{name}.jsonl" for name in ("recordings", "supervisions")]
    put(tmp_path / "list", "a-0 a-1 target", "a-0 b-0 nontarget")
    assert prep_folder.main([*words, "--data", str(tmp_path / "data"), f"--trials={tmp_path}/list"]) == 0
    told = capsys.readouterr().out
    assert "4 of 4 files are not what the manifest says (first: " in told
    assert "found 16000 samples, 16000 Hz, 1 channels; expected 16080 samples" in told
    for cut in lhotse.CutSet.from_file(tmp_path / "data" / "train" / "cuts.jsonl.gz"):
        assert len(read_samples(cut.to_dict(), RATE)) == (16000 if cut.id[-1] == "0" else 8000)
