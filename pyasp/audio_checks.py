"""Whether an audio file holds what its header says: libsndfile quietly takes the shorter of the two. No lhotse here."""

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import BinaryIO

from pyasp import sphere_header
from pyasp.decoders import head_of
from pyasp.errors import InputError
from pyasp.sphere_header import AGAIN

UNKNOWN_LENGTH = 0x7FFFF000     # from here on the length in a wav header means "written to a pipe, read to the end"


def _check_sphere(path: str | Path, head: bytes, stream: BinaryIO, size: int) -> None:
    """The header's sample_count against the bytes that follow it."""
    sphere_header.read_header(path)


def _check_riff(path: str | Path, head: bytes, stream: BinaryIO, size: int) -> None:
    """The length of the data chunk against what is left of the file (libsndfile quietly takes the shorter one)."""
    place = 12
    while place + 8 <= size:
        stream.seek(place)
        name, length = struct.unpack("<4sI", stream.read(8))
        if name == b"data":
            if length < UNKNOWN_LENGTH and place + 8 + length > size:
                raise InputError(path, f"{size - place - 8} bytes of samples", f"{length} as its header says", AGAIN)
            return
        place += 8 + length + length % 2
    raise InputError(path, "no samples in a wav file", "a data chunk", AGAIN)


CHECKS = {b"NIST_1A": _check_sphere, b"RIFF": _check_riff}      # by the first bytes; FLAC: by counting what is read


def check_header(path: str | Path) -> None:
    """Raises InputError when a file is missing, empty, or its SPHERE or wav header does not agree with its length."""
    head = head_of(path)
    for magic, check in CHECKS.items():
        if head.startswith(magic):
            with open(path, "rb") as stream:
                check(path, head, stream, os.fstat(stream.fileno()).st_size)
