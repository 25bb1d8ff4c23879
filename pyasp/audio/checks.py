"""Whether an audio file holds what its header says: libsndfile quietly takes the shorter of the two. No lhotse here."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from pyasp.audio import flac_header, sphere
from pyasp.audio.decoders import head_of
from pyasp.audio.resample import HIGHEST_RATE
from pyasp.audio.sphere import AGAIN
from pyasp.core.errors import InputError

MOST_VALUES = 1 << 24  # read at a time: a header may promise more than there is
SAMPLED = (1, 3, 6, 7, 0xFFFE)  # format tags of wav files that store each sample: pcm, float, A-law, mu-law, extensible
UNKNOWN_LENGTH = 0x7FFFF000  # from here on the length in a wav header means "written to a pipe, read to the end"


def _check_sphere(path: str | Path, head: bytes, stream: BinaryIO, size: int) -> None:
    """The header's sample_count against the bytes that follow it."""
    sphere.read_header(path)


def _check_riff(path: str | Path, head: bytes, stream: BinaryIO, size: int) -> None:
    """The length of the data chunk against what is left of the file (libsndfile quietly takes the shorter one)."""
    place = 12
    while place + 8 <= size:
        stream.seek(place)
        name, length = struct.unpack("<4sI", stream.read(8))
        if name == b"fmt " and length >= 16 and place + 24 <= size:
            _check_format(path, stream.read(16))
        if name == b"data":
            if length < UNKNOWN_LENGTH and place + 8 + length > size:
                raise InputError(path, f"{size - place - 8} bytes of samples", f"{length} as its header says", AGAIN)
            return
        place += 8 + length + length % 2
    raise InputError(path, "no samples in a wav file", "a data chunk", AGAIN)


def _check_format(path: str | Path, form: bytes) -> None:
    """The bytes of a frame against its channels and bits: where they differ libsndfile takes other samples for audio."""
    coding, channels, rate, _, align, bits = struct.unpack("<HHIIHH", form)
    if coding in SAMPLED and (
        not channels or not 0 < rate <= HIGHEST_RATE or align % channels or align < channels * -(-bits // 8)
    ):
        raise InputError(
            path,
            f"{channels} channels of {bits} bits in {align} bytes at {rate} Hz",
            "a wav header that adds up",
            AGAIN,
        )


def read_frames(stream: Any, frames: int, dtype: str) -> np.ndarray:
    """(n, channels) of the next `frames` frames of a soundfile.SoundFile, n fewer where it ends before.

    What a header promises is allocated only as far as it arrives. Raises InputError for a file that cannot be sought in,
    which libsndfile makes of some damaged headers.
    """
    if not stream.seekable():
        raise InputError(stream.name, "audio of unknown length", "a header that says how long it is", AGAIN)
    step = max(1, MOST_VALUES // stream.channels)
    if frames <= step:
        return stream.read(frames, dtype=dtype, always_2d=True)
    parts = []
    while frames > 0:
        parts.append(stream.read(min(frames, step), dtype=dtype, always_2d=True))
        frames -= step
        if len(parts[-1]) < step:
            break
    return np.concatenate(parts)


def _check_flac(path: str | Path, head: bytes, stream: BinaryIO, size: int) -> None:
    flac_header.check(path, stream, size)


CHECKS = {b"NIST_1A": _check_sphere, b"RIFF": _check_riff, flac_header.MAGIC: _check_flac}  # by the first bytes


def check_header(path: str | Path) -> None:
    """Raises InputError when a file is missing, empty, or its SPHERE or wav header does not agree with its length."""
    head = head_of(path)
    for magic, check in CHECKS.items():
        if head.startswith(magic):
            with open(path, "rb") as stream:
                check(path, head, stream, os.fstat(stream.fileno()).st_size)
