"""Whether a FLAC file holds what its header says: STREAMINFO against the file's last frame.

libsndfile believes STREAMINFO: a smaller count of samples cuts the recording without a word. A frame's header (RFC 9639,
section 9.1) holds its place in the stream, its length, rate and channels, and a checksum of its own, so that it can be
found from the end of the file without decoding.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import BinaryIO

from pyasp.core.errors import InputError

MAGIC = b"fLaC"
STREAMINFO = 8, 34  # place after the magic and the block's own header; bytes
TAILS = 1 << 15, 1 << 20  # bytes looked through from the end: most frames are shorter than the first
BLOCK_SIZES = {
    1: 192,
    **{code: 576 << code - 2 for code in range(2, 6)},
    **{code: 256 << code - 8 for code in range(8, 16)},
}
RATES = {
    1: 88200,
    2: 176400,
    3: 192000,
    4: 8000,
    5: 16000,
    6: 22050,
    7: 24000,
    8: 32000,
    9: 44100,
    10: 48000,
    11: 96000,
}
AGAIN = "Copy the recording again from its source, or remove it"


@dataclass(frozen=True)
class Frame:
    """samples: of the stream up to this frame's end; rate in Hz (0: as STREAMINFO says); channels."""

    samples: int
    rate: int
    channels: int


def crc8(data: bytes) -> int:
    """The checksum of frame headers: x^8 + x^2 + x + 1, starting at 0."""
    value = 0
    for byte in data:
        value ^= byte
        for _ in range(8):
            value = (value << 1 ^ 0x107) if value & 0x80 else value << 1
    return value


def _number(data: bytes, place: int) -> tuple[int, int]:
    """The number at `place`, coded as in UTF-8 with up to 36 bits, and the place behind it. ValueError for none."""
    first = data[place]
    extra = next((k for k in range(8) if not first << k & 0x80), 8) - 1
    if extra == 0 or extra > 6:
        raise ValueError("no coded number")
    if extra < 0:
        return first, place + 1
    value = first & (1 << 6 - extra) - 1 if extra < 6 else 0
    for byte in data[place + 1 : place + 1 + extra]:
        if byte & 0xC0 != 0x80:
            raise ValueError("no coded number")
        value = value << 6 | byte & 0x3F
    return value, place + 1 + extra


def parse_frame(data: bytes, block: int) -> Frame:
    """The frame header that `data` starts with; block: samples of a whole frame (fixed block size).

    Raises ValueError or IndexError when it is none.
    """
    size_code, rate_code, channels = data[2] >> 4, data[2] & 0xF, data[3] >> 4
    if data[0] != 0xFF or data[1] & 0xFE != 0xF8 or not size_code or rate_code == 15 or channels > 10 or data[3] & 1:
        raise ValueError("no frame")
    number, place = _number(data, 4)
    size = BLOCK_SIZES.get(size_code)
    if size is None:
        width = size_code - 5  # code 6: one byte, 7: two
        size, place = int.from_bytes(data[place : place + width], "big") + 1, place + width
    rate, width = RATES.get(rate_code, 0), {12: 1, 13: 2, 14: 2}.get(rate_code, 0)
    if width:
        rate, place = (
            int.from_bytes(data[place : place + width], "big") * {12: 1000, 13: 1, 14: 10}[rate_code],
            place + width,
        )
    if data[place] != crc8(data[:place]):
        raise ValueError("another checksum")
    start = number if data[1] & 1 else number * block
    return Frame(start + size, rate, channels + 1 if channels < 8 else 2)


def last_frame(tail: bytes, block: int) -> Frame | None:
    """The last frame header in the end of a file; None when there is none."""
    place = len(tail)
    while (place := tail.rfind(b"\xff", 0, place)) >= 0:
        if tail[place + 1 : place + 2] in (b"\xf8", b"\xf9"):
            try:
                return parse_frame(tail[place : place + 20], block)
            except (ValueError, IndexError):
                continue
    return None


def check(path: object, stream: BinaryIO, size: int) -> None:
    """Raises InputError unless samples, rate and channels of STREAMINFO are those of the last frame."""
    stream.seek(0)
    head = stream.read(sum(STREAMINFO))
    info = head[STREAMINFO[0] :]
    if len(info) < STREAMINFO[1] or head[4] & 0x7F != 0:
        raise InputError(path, "no STREAMINFO in a FLAC file", "a whole FLAC file", AGAIN)
    packed = int.from_bytes(info[10:18], "big")  # 20 bits rate, 3 channels - 1, 5 bits a sample - 1, 36 samples
    rate, channels, samples = packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1
    frame = None
    for tail in TAILS:
        if frame is None:
            stream.seek(max(STREAMINFO[0], size - tail), os.SEEK_SET)
            frame = last_frame(stream.read(tail), int.from_bytes(info[2:4], "big"))
    if frame is None:
        raise InputError(path, "no samples in a FLAC file", "audio", AGAIN)
    if not samples:  # written to a pipe: libsndfile makes 2^63 of it
        raise InputError(
            path,
            "a FLAC file without a count of its samples",
            "a count in STREAMINFO",
            "Convert it to a file: flac -d -c FILE | flac - -o NEW, or to wav",
        )
    found = frame.samples, frame.rate or rate, frame.channels
    if found != (samples, rate, channels):
        told = f"{samples} samples, {rate} Hz, {channels} channels as its header says"
        raise InputError(
            path,
            f"{frame.samples} samples, {frame.rate or rate} Hz, {frame.channels} channels"
            + (" (truncated)" if frame.samples < samples else ""),
            told,
            AGAIN,
        )
