"""Small trees of the real corpora for the tests of their preparation; audio from the toy synthesiser."""

import functools
import struct
import zlib
from pathlib import Path

import lhotse
import numpy as np
import sphere

from local import toy_speech
from local.toy_trees import write_sound
from pyasp.audio.cuts import read_samples
from pyasp.data.datadir import DataDir

SPEAKERS = [f"spk{index}" for index in range(6)]


@functools.cache
def speech(rate=16000, seconds=1.0):
    """(rate * seconds,) int16 of one toy speaker."""
    rng = toy_speech.stream(1, "tests")
    clean = toy_speech.speak(toy_speech.draw_speaker(rng, "m"), toy_speech.Manner(), seconds, rate, rng)
    return np.rint(clean / np.abs(clean).max() * 20000).astype(np.int16)


def wav(path, start=0, samples=1600, rate=16000):
    """A short wav file, different for different starts; returns its path."""
    write_sound(str(path), np.roll(speech(rate), -rate // 4 - 17 * start)[:samples], rate)
    return Path(path)


def tables(directory):
    """{name: content} of every file of a data directory."""
    return {path.name: path.read_bytes() for path in Path(directory).iterdir()}


def check_data_dir(directory, utterances, speakers):
    """What contracts.md promises of any data directory; returns it. Counts as given."""
    data = DataDir(directory)
    assert len(data.utt2spk) == utterances and len(data.spk2utt) == speakers
    assert list(data.utt2spk) == sorted(data.utt2spk, key=str.encode) and all(
        u.startswith(s) for u, s in data.utt2spk.items()
    )
    assert {spk: utts.split() for spk, utts in data.read("spk2utt").items()} == data.spk2utt
    cuts = lhotse.CutSet.from_file(data / "cuts.jsonl.gz")
    assert [cut.id for cut in cuts] == list(data.utt2spk)
    for cut in cuts:
        assert cut.supervisions[0].speaker == data.utt2spk[cut.id]
        assert len(read_samples(cut.to_dict(), cut.sampling_rate)) == cut.num_samples
        assert float(data.read("utt2dur")[cut.id]) == np.float64(f"{cut.duration:.4f}")
    return data


def trial_lines(data, name):
    """Lines of one trial list, split."""
    return [line.split() for line in (Path(data) / "trials" / name).read_text().splitlines()]


def refused(capsys, *texts):
    """The one error line holds all texts."""
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert len(errors) == 1 and all(text in errors[0] for text in texts), errors


def make_tree(root, sessions=2, takes=2):
    """<root>/<speaker>/<session>/<n>.wav, or <root>/<speaker>/<n>.wav without sessions."""
    for index, speaker in enumerate(SPEAKERS):
        for session in range(max(sessions, 1)):
            for take in range(takes):
                place = root / speaker / (f"s{session}" if sessions else "") / f"{take}.wav"
                wav(place, 100 * index + 10 * session + take)
    return root


def sph(path, seconds=0.2, channels=2):
    """A mu-law file, of its own by its name; side b is silent but for clicks."""
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.zeros((round(8000 * seconds), channels), np.int16)
    samples[:1600, 0] = speech(8000)[:1600]
    samples[100, -1] = 12000
    samples[200:232, -1] = [8000 * int(bit) for bit in f"{zlib.crc32(path.name.encode()):032b}"]
    sphere.write(path, samples, 8000)


def put(path, *lines):
    """A text file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _box(kind, *contents):
    """A box of an MP4 file."""
    body = b"".join(contents)
    return struct.pack(">I4s", 8 + len(body), kind) + body


def m4a(path, frames, priming=1024, rate=16000, channels=1):
    """The header of an AAC file as ffmpeg writes it, in front of silent data that no decoder would take."""
    sound = struct.pack(">6xH8xHHII", 1, 2, 16, 0, rate << 16)
    config = struct.pack(">H", 2 << 11 | 8 << 7 | channels << 3)
    esds = b"\x03\x19\0\x01\0\x04\x80\x11\x40" + bytes(12) + b"\x05\x02" + config
    stsd = _box(b"stsd", struct.pack(">II", 0, 1), _box(b"mp4a", sound, _box(b"esds", bytes(4), esds)))
    stts = _box(b"stts", struct.pack(">IIII", 0, 1, frames, 1024))
    mdhd = _box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, rate, 1024 * frames, 0, 0))
    edts = _box(b"edts", _box(b"elst", struct.pack(">IIIiI", 0, 1, 1000, priming, 65536))) if priming else b""
    media = _box(b"mdia", mdhd, _box(b"minf", _box(b"stbl", stsd, stts)))
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    moov = _box(b"moov", _box(b"trak", edts, media))
    Path(path).write_bytes(_box(b"ftyp", b"M4A ") + _box(b"mdat", bytes(100)) + moov)
    return Path(path)


def program(directory, monkeypatch, name, script):
    """A program of this name first on PATH, a shell script."""
    directory.mkdir(parents=True, exist_ok=True)
    (directory / name).write_text(f"#!/bin/sh\n{script}\n")
    (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
