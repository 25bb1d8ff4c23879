"""SPHERE headers as NIST writes them, mu-law as G.711 has it, and damage that must not go through."""

import numpy as np
import pytest
import soundfile
import sphere
from prep_trees import program, speech

from local.audio_header import probe_all
from local.toy_trees import write_sound
from pyasp.audio.headers import Header, read_header
from pyasp.core.errors import InputError


@pytest.mark.parametrize(
    "coding, order, share", [("ulaw", "01", 1 / 32), ("alaw", "01", 1 / 32), ("pcm", "01", 0), ("pcm", "10", 0)]
)
@pytest.mark.parametrize("rate", [8000, 16000])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("header_size", [1024, 4096])
def test_what_is_written_is_read_back_by_libsndfile(tmp_path, coding, order, share, rate, channels, header_size):
    samples = np.stack([np.roll(speech(8000), 31 * side) for side in range(channels)], axis=1)
    sphere.write(tmp_path / "x.sph", samples, rate, coding, header_size, order)
    read, found = soundfile.read(tmp_path / "x.sph", dtype="int16", always_2d=True)
    assert found == rate and read.shape == samples.shape
    magnitude = np.abs(samples.astype(int)) + 132  # the bias of mu-law: half a step is at most 1/32 of this
    least = 8 if coding == "alaw" else 0  # half of the smallest step of A-law
    assert np.all(np.abs(read - samples.astype(int)) <= np.maximum(share * magnitude, least))
    assert read_header(tmp_path / "x.sph") == Header(rate, len(samples), channels, "sphere")


def test_mu_law_code_words_are_g711s(tmp_path):
    """Table 2a of ITU-T G.711 in 16-bit numbers: the ends of the segments, and code words without a sign for zero."""
    ends = {0: 0xFF, 32635: 0x80, -32635: 0x00, 8158 * 4: 0x80, 4063 * 4: 0x8F, 2015 * 4: 0x9F, 31 * 4: 0xEF, -4: 0x7E}
    values = np.concatenate([list(ends), np.arange(0, 32768)]).astype(np.int16)
    write_sound(str(tmp_path / "x.sph"), values, 8000, "NIST", "ULAW")
    coded = np.frombuffer((tmp_path / "x.sph").read_bytes()[1024:], np.uint8).astype(int)
    assert dict(zip(ends, coded.tolist())) == ends
    assert np.all(np.diff(coded[len(ends) :]) <= 0)


def written(path, **fields):
    """A mu-law file of 100 samples whose header says otherwise; None takes a line out."""
    sphere.write(path, np.zeros(100, np.int16), 8000)
    content = path.read_bytes()
    head, body = content[:1024].decode(), content[1024:]
    for name, value in fields.items():
        line = next(line for line in head.splitlines() if line.startswith(name))
        head = head.replace(line + "\n", "" if value is None else f"{line.rsplit(' ', 1)[0]} {value}\n")
    path.write_bytes(head.rstrip().encode().ljust(1024) + body)
    return path


DAMAGE = {
    "too few samples": ({"sample_count": 101}, "truncated"),
    "no samples": ({"sample_count": 0}, "0 samples"),
    "no rate": ({"sample_rate": None}, "sample_rate"),
    "no number": ({"channel_count": "two"}, "usable"),
    "two channels said": ({"channel_count": 2}, "50 samples a channel .truncated.; expected 100 as its header says"),
    "too many samples": ({"sample_count": 99}, "100 samples a channel .a wrong count.; expected 99"),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_false_headers_are_refused(tmp_path, case):
    fields, message = DAMAGE[case]
    with pytest.raises(InputError, match=message):
        read_header(written(tmp_path / "x.sph", **fields))


def test_another_file_is_not_taken_for_sphere(tmp_path):
    (tmp_path / "x.sph").write_bytes(b"RIFF....")
    with pytest.raises(InputError, match="wav file"):
        read_header(tmp_path / "x.sph")


def test_a_compressed_file_may_be_shorter_than_its_samples(tmp_path):
    path = written(tmp_path / "x.sph", sample_count=8000, sample_coding="ulaw,embedded-shorten-v2.00")
    assert read_header(path) == Header(8000, 8000, 1, "shorten")


def test_shorten_without_sph2pipe_is_told_when_the_headers_are_read(tmp_path, monkeypatch):
    path = written(tmp_path / "x.sph", sample_count=8000, sample_coding="ulaw,embedded-shorten-v2.00")
    program(tmp_path / "bin", monkeypatch, "sph2pipe", "exit 1")
    assert probe_all([str(path)]) == ({str(path): Header(8000, 8000, 1, "shorten")}, {})
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(
        InputError, match="x.sph: found shorten-compressed SPHERE, and no sph2pipe on PATH.*Install sph2pipe"
    ):
        probe_all([str(path)])
