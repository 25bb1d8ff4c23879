"""Valid files of every kind, from which fuzzing starts."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile
import sphere
import stored_models

from pyasp import kaldi
from pyasp.backend.plda import Plda
from pyasp.gmm.model import DiagGmm, FullGmm
from pyasp.ivector.model import IvectorExtractor

RNG = np.random.default_rng(11)


def _bytes(write: Callable[[io.BytesIO], object]) -> bytes:
    stream = io.BytesIO()
    write(stream)
    return stream.getvalue()


def contents(write: Callable[[Path], object], name: str = "x") -> bytes:
    """What `write` puts into a file."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder) / name)
        return (Path(folder) / name).read_bytes()


def put(name: str, data: bytes) -> Callable[[Path], None]:
    """A preparation that writes one neighbouring file."""
    return lambda folder: _write(folder / name, data)


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


# ---------------------------------------------------------------- Kaldi tables


def archive(binary: bool, method: int = 0, dtype: type = np.float32) -> bytes:
    arrays = {"spk1-a": RNG.normal(size=(9, 3)), "spk1-b": RNG.normal(size=4), "spk2-c": RNG.normal(size=(1, 2))}
    return b"".join(
        f"{key} ".encode() + kaldi.serialise(array.astype(dtype), binary, method) for key, array in arrays.items()
    )


def posteriors() -> list[bytes]:
    frames = [
        (np.array([0, 3], np.int32), np.array([0.7, 0.3], np.float32)),
        (np.array([1], np.int32), np.ones(1, np.float32)),
    ]
    return [
        contents(lambda path: kaldi.write_posteriors(path, [("a", frames), ("b", [])], binary))
        for binary in (True, False)
    ]


def selections() -> list[bytes]:
    frames = [np.array([0, 3], np.int32), np.array([], np.int32)]
    return [contents(lambda path: kaldi.write_gselect(path, [("a", frames)], binary)) for binary in (True, False)]


def integers() -> list[bytes]:
    return [
        contents(lambda path: kaldi.write_int_vectors(path, [("a", np.arange(5, dtype=np.int32))], binary))
        for binary in (True, False)
    ]


def scalars() -> list[bytes]:
    return [
        contents(lambda path: kaldi.write_scalars(path, [("a", 1.5), ("b", -2.0)], binary)) for binary in (True, False)
    ]


SCP = b"spk1-a x.ark:7\nspk1-b x.ark:7[0:2]\nspk2-c x.ark:7[1:3,0:1]\n"
ARKS = [
    archive(True),
    archive(True, dtype=np.float64),
    archive(False),
    archive(True, 2),
    archive(True, 3),
    archive(True, 5),
]


# ---------------------------------------------------------------- Kaldi models


def diag() -> DiagGmm:
    return DiagGmm.from_moments(np.array([0.25, 0.75]), RNG.normal(size=(2, 3)), np.ones((2, 3)))


def extractor() -> IvectorExtractor:
    return IvectorExtractor.from_ubm(FullGmm.from_diag(diag()), 2, [1])


def plda() -> Plda:
    return Plda.from_covariances(np.zeros(3), np.eye(3), np.diag([3.0, 2.0, 1.0]))


def both(model: object) -> list[bytes]:
    return [_bytes(lambda stream: stored_models.write(model, stream, binary)) for binary in (True, False)]


# ---------------------------------------------------------------- audio


def sphere_file(channels: int, coding: str) -> bytes:
    return contents(
        lambda path: sphere.write(path, RNG.integers(-9000, 9000, (400, channels)).astype(np.int16), 8000), "x.sph"
    )


def sound_file(form: str, subtype: str, channels: int = 1) -> bytes:
    samples = RNG.uniform(-0.5, 0.5, (400, channels))
    return _bytes(lambda stream: soundfile.write(stream, samples, 16000, subtype, format=form))


WAVS = [
    sound_file("WAV", "PCM_16"),
    sound_file("WAV", "PCM_16", 2),
    sound_file("WAV", "FLOAT"),
    sound_file("WAV", "ULAW"),
    sound_file("WAV", "PCM_24"),
]
CHUNKS = [sound_file(form, "PCM_16") for form in ("RF64", "W64", "AIFF", "AU", "CAF")]
FRAMES = [sound_file("MP3", "MPEG_LAYER_III"), sound_file("OGG", "VORBIS")]
AAC = 5 * b"\xff\xf1\x60\x40\x05\x1f\xfc".ljust(40, b"\1")  # ADTS frames of 40 bytes
FLACS = [sound_file("FLAC", "PCM_16"), sound_file("FLAC", "PCM_16", 2)]
