"""FLAC: `fLaC`, metadata blocks of which the first is STREAMINFO, then frames (RFC 9639).

The first frame's header is held against STREAMINFO; the count of STREAMINFO against where libsndfile ends, and its MD5
sum against what is decoded (`recording`).
"""

import io
from bisect import bisect_left
from pathlib import Path
from typing import Any, BinaryIO

from pyasp.audio.frames import id3_length

RATES = (0, 88200, 176400, 192000, 8000, 16000, 22050, 24000, 32000, 44100, 48000, 96000)
BLOCK = 1 << 16  # samples decoded at a time
NEAR = 1 << 16  # bytes: libFLAC reads 8 KiB at a time


def stream_info(stream: BinaryIO) -> tuple[int, int, int]:
    """(rate in Hz, samples a channel, channels) of a FLAC file from `fLaC` on.

    STREAMINFO: 20 bits rate, 3 channels - 1, 5 bits a sample - 1, 36 samples.
    """
    head, last = stream.read(42), 0
    if len(head) < 42 or head[4] & 0x7F != 0:
        raise ValueError("no STREAMINFO in a FLAC file")
    packed = int.from_bytes(head[18:26], "big")
    rate, channels = packed >> 44, (packed >> 41 & 7) + 1
    block = head[4:8]
    stream.seek(-34, io.SEEK_CUR)
    while True:
        stream.seek(int.from_bytes(block[1:], "big"), io.SEEK_CUR)
        if last or block[0] & 0x80:
            break
        block = stream.read(4)
        if len(block) < 4:
            raise ValueError("no end of the metadata of a FLAC file")
    _check_first_frame(stream.read(16), rate, channels)
    return rate, packed & (1 << 36) - 1, channels


def _check_first_frame(head: bytes, rate: int, channels: int) -> None:
    """The rate and the channels of a frame's header against STREAMINFO's.

    14 bits sync, reserved, strategy; 4 block size, 4 rate; 4 channels, 3 bits, reserved; the frame's number, block size
    and rate where their codes say so.
    """
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xFE != 0xF8:
        raise ValueError("no frame behind the metadata of a FLAC file")
    head = head.ljust(16, b"\0")  # a whole frame may be shorter
    size_code, code, layout = head[2] >> 4, head[2] & 15, head[3] >> 4
    number = max(8 - (head[4] ^ 0xFF).bit_length(), 1)  # bytes of the frame's number, coded as UTF-8 is
    place = 4 + number + {6: 1, 7: 2}.get(size_code, 0)
    coded = {12: head[place] * 1000, 13: int.from_bytes(head[place : place + 2], "big")}
    coded[14] = 10 * coded[13]
    found = (coded.get(code) or (RATES[code] if code < 12 else 0) or rate, layout + 1 if layout < 8 else 2)
    if found != (rate, channels):
        raise ValueError(
            f"frames of {found[0]} Hz, {found[1]} channels where STREAMINFO has {rate} Hz, {channels} channels"
        )


def md5_sum(stream: BinaryIO) -> bytes:
    """The MD5 sum in STREAMINFO, of all samples of 16 bits; zeros where the encoder made none, or of other samples."""
    stream.seek(id3_length(stream))
    head = stream.read(42)
    bits = (int.from_bytes(head[18:26], "big") >> 36 & 31) + 1
    return head[26:] if bits == 16 else bytes(16)


class _Recounted:
    """A FLAC file, open for reading from `fLaC` on, with another count in STREAMINFO."""

    def __init__(self, stream: BinaryIO, samples: int):
        self.stream, self.start = stream, id3_length(stream)
        stream.seek(self.start)
        head = bytearray(stream.read(26))
        head[18:26] = (int.from_bytes(head[18:26], "big") >> 36 << 36 | samples).to_bytes(8, "big")
        self.head = bytes(head)
        self.seek(0)

    def seek(self, place: int, whence: int = io.SEEK_SET) -> int:
        """The place, from `fLaC` on."""
        return self.stream.seek(place + (self.start if whence == io.SEEK_SET else 0), whence) - self.start

    def tell(self) -> int:
        """The place, from `fLaC` on."""
        return self.stream.tell() - self.start

    def read(self, count: int = -1) -> bytes:
        """The bytes that follow, of the changed head where they begin in it."""
        place = self.tell()
        content = self.stream.read(count)
        return self.head[place : place + len(content)] + content[max(len(self.head) - place, 0) :]


def fault_of_end(path: str | Path, samples: int) -> str:
    """What there is instead of so many samples; "" where libsndfile reaches the last of them, and none behind it.

    Where it cannot seek to the last the file is decoded: what then comes is the answer.
    """
    with open(path, "rb") as stream:
        if _reaches(_Recounted(stream, samples + 1), samples):
            return f"more than {samples} samples"
    if _reaches(str(path), samples - 1) or _decodes(path, samples):
        return f"a second FLAC file behind {samples} samples" if is_joined(path, samples) else ""
    found = bisect_left(range(samples), 1, key=lambda place: not _reaches(str(path), place))
    return f"{found} samples (truncated)"


def is_joined(path: str | Path, samples: int) -> bool:
    """True where another FLAC file begins near the place up to which libsndfile has read to decode the last sample.

    64 bits are no chance: `fLaC`, and STREAMINFO's kind and length.
    """
    with open(path, "rb") as stream:
        if not _reaches(_Recounted(stream, samples), samples - 1):
            return False
        stream.seek(max(stream.tell() - NEAR, id3_length(stream) + 1))
        tail = stream.read(2 * NEAR)
    return any(b"fLaC" + kind + b"\0\0\x22" in tail for kind in (b"\0", b"\x80"))


def _reaches(source: Any, place: int) -> bool:
    """True when libsndfile finds the sample at a place, for which it decodes the frame around it."""
    import soundfile  # a twentieth of a second that most files need not spend

    try:
        with soundfile.SoundFile(source) as stream:
            return stream.seek(place) == place
    except RuntimeError:  # libsndfile's answer to a place behind the end
        return False


def _decodes(path: object, samples: int) -> bool:
    """True when libsndfile gets so many samples a channel from a file, read block by block."""
    import soundfile

    try:
        with soundfile.SoundFile(str(path)) as stream:
            return sum(map(len, stream.blocks(BLOCK, dtype="int16"))) == samples
    except RuntimeError:
        return False
