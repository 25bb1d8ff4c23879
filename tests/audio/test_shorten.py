"""Shorten-compressed SPHERE files that others made, through sph2pipe, against plain files and published checksums.

Runs where SPH2PIPE_TESTS names the test directory of sph2pipe 2.5 (https://github.com/burrmill/sph2pipe: 123_*.sph and
outfile-md5.list.macosx) and sph2pipe is on PATH.
"""

import base64
import hashlib
import os
import shutil
from pathlib import Path

import lhotse
import numpy as np
import pytest
import sphere

from local import prep_folder
from pyasp.audio import decoders
from pyasp.audio.cuts import read_samples, use_libsndfile
from pyasp.audio.headers import Header, read_header
from pyasp.bin import make_mfcc
from pyasp.core.errors import InputError
from pyasp.kaldi import ScpReader

FILES = Path(os.environ.get("SPH2PIPE_TESTS") or os.devnull)
NEEDED = {"SPH2PIPE_TESTS": FILES.is_dir(), "sph2pipe": shutil.which("sph2pipe")}
MISSING = [name for name, there in NEEDED.items() if not there]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not there: {' and '.join(MISSING)}")
RATE, SAMPLES = 20000, 37120
# name: (its coding, byte order, the numbers in the list of checksums of the whole, side A and side B as raw pcm)
SHORTEN = {
    "123_1pcle_shn": ("pcm", "01", ("0487",)),
    "123_2pcle_shn": ("pcm", "01", ("0488", "0542", "0596")),
    "123_1pcbe_shn": ("pcm", "10", ("0489",)),
    "123_2pcbe_shn": ("pcm", "10", ("0490", "0544", "0598")),
    "123_1ulaw_shn": ("ulaw", "01", ("0491",)),
    "123_2ulaw_shn": ("ulaw", "01", ("0492", "0546", "0600")),
}
EVERY = {**SHORTEN, "123_2alaw": ("alaw", "01", ("0500", "0554", "0608"))}  # A-law is never compressed
SIDES = [(name, side) for name, (*_, numbers) in SHORTEN.items() for side in range(max(len(numbers) - 1, 1))]
CONF = ["--sample-frequency=20000", "--num-ceps=20", "--snip-edges=false", "--dither=0", "--compress=false"]


@pytest.fixture(autouse=True)
def reader():
    use_libsndfile()
    decoders._decode.cache_clear()


def samples_of(path, side=0):
    """(T,) int16 of one side, through a cut as the preparation makes them."""
    header = read_header(path)
    source = lhotse.AudioSource("file", list(range(header.channels)), str(path))
    recording = lhotse.Recording(path.stem, [source], header.rate, header.samples, header.samples / header.rate)
    cut = lhotse.MonoCut("u", 0, recording.duration, side, recording=recording)
    found = read_samples(cut.to_dict(), RATE)
    assert np.array_equal(found, found.astype(np.int16))
    return found.astype(np.int16)


def published():
    """{number: (MD5 in base64, name of the file it was made from)} of sph2pipe's own test."""
    rows = [line.split() for line in (FILES / "outfile-md5.list.macosx").read_text().splitlines()]
    return {number.split(".")[0]: (digest, source.split(".")[0]) for digest, number, _, source in rows}


@pytest.mark.parametrize("name", EVERY)
def test_samples_have_the_published_checksums(name):
    """Raw 16-bit samples of the whole file and of each side, big endian as on the machine of the list."""
    numbers, sums = EVERY[name][2], published()
    sides = [samples_of(FILES / f"{name}.sph", side) for side in range(max(len(numbers) - 1, 1))]
    for number, samples in zip(numbers, [np.stack(sides, axis=1), *sides]):
        digest = base64.b64encode(hashlib.md5(samples.astype(">i2").tobytes()).digest()).decode().rstrip("=")
        assert sums[number] == (digest, name)


@pytest.mark.parametrize("name", SHORTEN)
def test_headers_are_those_of_the_uncompressed_recording(name):
    channels = max(len(SHORTEN[name][2]) - 1, 1)
    assert read_header(FILES / f"{name}.sph") == Header(RATE, SAMPLES, channels, "shorten")


def plain(name, directory):
    """A plain file of the same content, coding and byte order, by our own writer; libsndfile reads it back."""
    coding, order, numbers = SHORTEN[name]
    sides = [samples_of(FILES / f"{name}.sph", side) for side in range(max(len(numbers) - 1, 1))]
    directory.mkdir(exist_ok=True)
    sphere.write(directory / f"{name}.sph", np.stack(sides, axis=1), RATE, coding, order=order)
    return directory / f"{name}.sph"


@pytest.mark.parametrize("name, side", SIDES)
def test_plain_files_of_the_same_content_have_equal_samples(tmp_path, name, side):
    path = plain(name, tmp_path)
    assert read_header(path) == Header(RATE, SAMPLES, max(len(SHORTEN[name][2]) - 1, 1), "sphere")
    assert np.array_equal(samples_of(path, side), samples_of(FILES / f"{name}.sph", side))


def features(files, directory):
    """{utterance: (frames, 20)} after the preparation of a Kaldi directory of every side, and make_mfcc."""
    kaldi, data = directory / "kaldi", directory / "data"
    kaldi.mkdir(parents=True)
    utts = [(f"s{n % 3}", f"s{n % 3}-{name}-{'ab'[side]}", name, side) for n, (name, side) in enumerate(SIDES)]
    (kaldi / "utt2spk").write_text("".join(f"{utt} {speaker}\n" for speaker, utt, _, _ in utts))
    entries = (f"{utt} sph2pipe -f wav -p -c {side + 1} {files}/{name}.sph |\n" for _, utt, name, side in utts)
    (kaldi / "wav.scp").write_text("".join(entries))
    assert prep_folder.main(["--data", str(data), "--kaldi-data", str(kaldi), "--eval-fraction=0.4"]) == 0
    found = {}
    for part in ("train", "test"):
        assert make_mfcc.main([*CONF, str(data / part), str(data / part / "raw")]) == 0
        for scp in (data / part).glob("raw.*.scp"):
            found.update(ScpReader(scp).items())
    return found


def test_preparation_and_features_of_compressed_and_plain_files_are_equal(tmp_path):
    for name in SHORTEN:
        plain(name, tmp_path / "plain")
    compressed, uncompressed = features(FILES, tmp_path / "a"), features(tmp_path / "plain", tmp_path / "b")
    assert len(compressed) == len(SIDES) and compressed.keys() == uncompressed.keys()
    for utt, matrix in compressed.items():
        assert matrix.shape == (186, 20) and np.array_equal(matrix, uncompressed[utt])


@pytest.mark.parametrize("lost", [1, 28, 200, 3000, 12000])
@pytest.mark.parametrize("name", SHORTEN)
def test_a_truncated_compressed_file_is_named_not_padded(tmp_path, name, lost):
    """Of the last block sph2pipe makes up the lost samples, and ends with exit code 0."""
    (tmp_path / "cut.sph").write_bytes((FILES / f"{name}.sph").read_bytes()[:-lost])
    with pytest.raises(InputError, match="cut.sph: found sph2pipe exit code.*Copy the recording again"):
        samples_of(tmp_path / "cut.sph")
