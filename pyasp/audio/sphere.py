"""The header of NIST SPHERE files.

`NIST_1A`, the header's size in bytes (1024 or more), then `name -type value` lines up to `end_head`. sample_coding:
`pcm`, `ulaw`, `alaw`, or one of them with `,embedded-shorten-v2.00`. Side A of a call is channel 1, side B channel 2.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from pyasp.core.errors import InputError

MAGIC = b"NIST_1A"
CODING_BYTES = {"pcm": 2, "ulaw": 1, "mu-law": 1, "alaw": 1}
LARGEST = 1 << 20  # bytes of a header; NIST's have 1024
AGAIN = "Copy the recording again from its source, or remove it"


@dataclass(frozen=True)
class Header:
    """size: bytes before the samples; rate in Hz; samples per channel; width: bytes a sample; coding as written
    there."""

    size: int
    rate: int
    samples: int
    channels: int
    width: int
    coding: str

    @property
    def compressed(self) -> bool:
        """True for shorten and the like: the length of the data says nothing about the samples."""
        return "embedded" in self.coding


def _fields(text: str) -> dict[str, str]:
    fields = {}
    for line in text.splitlines()[2:]:
        if line.strip() == "end_head":
            break
        name, _, rest = line.strip().partition(" ")
        fields[name] = rest.partition(" ")[2].strip()
    return fields


def _parse(content: bytes, size: int) -> Header:
    fields = _fields(content.decode("latin-1"))
    coding = fields.get("sample_coding", "pcm")
    width = int(fields.get("sample_n_bytes", CODING_BYTES.get(coding.split(",")[0], 0)))
    counts = (int(fields[name]) for name in ("sample_rate", "sample_count", "channel_count"))
    return Header(size, *counts, width, coding)


def read_header(path: str | Path) -> Header:
    """The header of a SPHERE file.

    Raises InputError when it is not one, lacks a field, or counts other samples than follow.
    """
    with open(path, "rb") as stream:
        start = stream.read(16)
        if not start.startswith(MAGIC):
            raise InputError(
                path, f"{start[:8]!r} at its start", "a NIST SPHERE file", "Name the file by its real type"
            )
        try:
            size = int(start[7:].split()[0])
            if not len(start) <= size <= LARGEST:
                raise ValueError(f"size ({size} bytes)")
            stream.seek(0)
            header = _parse(stream.read(size), size)
        except (KeyError, ValueError, IndexError) as error:
            raise InputError(
                path,
                f"a SPHERE header without a usable {error}",
                "sample_count, channel_count, sample_rate, sample_n_bytes",
                AGAIN,
            ) from None
        _check_length(path, header, os.fstat(stream.fileno()).st_size - size)
    return header


def _check_length(path: str | Path, header: Header, stored: int) -> None:
    frame = header.channels * header.width
    if header.samples <= 0 or frame <= 0 or header.rate <= 0:
        raise InputError(
            path,
            f"{header.samples} samples, {header.channels} channels of {header.width} bytes, {header.rate} Hz",
            "positive numbers in the SPHERE header",
            AGAIN,
        )
    if not header.compressed and stored != header.samples * frame:
        fault = "truncated" if stored < header.samples * frame else "a wrong count"
        raise InputError(
            path, f"{stored / frame:.10g} samples a channel ({fault})", f"{header.samples} as its header says", AGAIN
        )
