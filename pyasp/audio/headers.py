"""What a recording's container says of it, without decoding: one reader for preparation, reading and checking alike.

READERS finds the reader by a file's first bytes; what none of them knows is asked of libsndfile. A header that does not
agree with its file's length is an error: libsndfile quietly takes the shorter of the two.

SPHERE: `NIST_1A`, the header's size in bytes (1024 or more), then `name -type value` lines up to `end_head`.
sample_coding: `pcm`, `ulaw`, `alaw`, or one of them with `,embedded-shorten-v2.00`. Side A of a call is channel 1.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from pyasp.audio import mp4
from pyasp.audio.resample import HIGHEST_RATE
from pyasp.core.errors import InputError, rerun

AGAIN = "Copy the recording again from its source, or remove it"
CODING_BYTES = {"pcm": 2, "ulaw": 1, "mu-law": 1, "alaw": 1}
LARGEST = 1 << 20  # bytes of a SPHERE header; NIST's have 1024
SAMPLED = (1, 3, 6, 7, 0xFFFE)  # format tags of wav files that store each sample: pcm, float, A-law, mu-law, extensible
UNKNOWN_LENGTH = 0x7FFFF000  # from here on the length in a wav header means "written to a pipe, read to the end"


@dataclass(frozen=True, slots=True)
class Header:
    """rate in Hz; samples per channel; channels; encoding: "sphere", "shorten", "m4a" or libsndfile's format.

    priming: samples that a decoder gives before the sound (m4a).
    """

    rate: int
    samples: int
    channels: int
    encoding: str
    priming: int = 0


def _sphere(path: object, stream: BinaryIO, size: int) -> Header:
    """The fields of a SPHERE header, its count against the bytes that follow."""
    try:
        first = int(stream.read(16)[7:].split()[0])
        if not 16 <= first <= LARGEST:
            raise ValueError(f"size ({first} bytes)")
        stream.seek(0)
        lines = stream.read(first).decode("latin-1").split("end_head")[0].splitlines()[2:]
        fields = {words[0]: words[2] for words in (line.split(None, 2) for line in lines) if len(words) > 2}
        coding = fields.get("sample_coding", "pcm").strip()
        width = int(fields.get("sample_n_bytes", CODING_BYTES.get(coding.split(",")[0], 0)))
        rate, samples, channels = (int(fields[name]) for name in ("sample_rate", "sample_count", "channel_count"))
    except (KeyError, ValueError, IndexError) as error:
        needed = "sample_count, channel_count, sample_rate, sample_n_bytes"
        raise InputError(path, f"a SPHERE header without a usable {error}", needed, AGAIN) from None
    if min(samples, channels, width, rate) <= 0:
        told = f"{samples} samples, {channels} channels of {width} bytes, {rate} Hz"
        raise InputError(path, told, "positive numbers in the SPHERE header", AGAIN)
    if "embedded" in coding:  # compressed: the length of the data says nothing
        return Header(rate, samples, channels, "shorten")
    stored, frame = size - first, channels * width
    if stored != samples * frame:
        fault = "truncated" if stored < samples * frame else "a wrong count"
        told = f"{stored / frame:.10g} samples a channel ({fault})"
        raise InputError(path, told, f"{samples} as its header says", AGAIN)
    return Header(rate, samples, channels, "sphere")


def _riff(path: object, stream: BinaryIO, size: int) -> Header | None:
    """A wav file's data chunk against what is left of the file; None where only libsndfile knows the number of
    samples."""
    place, form = 12, None
    while place + 8 <= size:
        stream.seek(place)
        name, length = struct.unpack("<4sI", stream.read(8))
        left = size - place - 8
        if name == b"fmt " and length >= 16 and left >= 16:
            form = _wav_format(path, stream.read(16))
        if name == b"data" and left < length < UNKNOWN_LENGTH:
            raise InputError(path, f"{left} bytes of samples (truncated)", f"{length} as its header says", AGAIN)
        if name == b"data":
            whole = form is not None and form[2] <= length < UNKNOWN_LENGTH
            return Header(form[0], length // form[2], form[1], "WAV") if whole else None
        place += 8 + length + length % 2
    raise InputError(path, "no samples in a wav file", "a data chunk", AGAIN)


def _wav_format(path: object, form: bytes) -> tuple[int, int, int] | None:
    """(rate, channels, bytes of a frame); None when samples are compressed, or padded to more bytes than they need.

    Where a frame's bytes do not suffice for its channels and bits libsndfile takes other samples for audio: an error.
    """
    coding, channels, rate, _, align, bits = struct.unpack("<HHIIHH", form)
    least = channels * -(-bits // 8)
    if coding not in SAMPLED:
        return None
    if not channels or not 0 < rate <= HIGHEST_RATE or align % channels or align < least:
        told = f"{channels} channels of {bits} bits in {align} bytes at {rate} Hz"
        raise InputError(path, told, "a wav header that adds up", AGAIN)
    return (rate, channels, align) if align == least > 0 else None


def _flac(path: object, stream: BinaryIO, size: int) -> Header:
    """STREAMINFO, the block behind the magic: 20 bits rate, 3 channels - 1, 5 bits a sample - 1, 36 samples."""
    head = stream.read(42)
    if len(head) < 42 or head[4] & 0x7F != 0:
        raise InputError(path, "no STREAMINFO in a FLAC file", "a whole FLAC file", AGAIN)
    packed = int.from_bytes(head[18:26], "big")
    rate, channels, samples = packed >> 44, (packed >> 41 & 7) + 1, packed & (1 << 36) - 1
    if not samples:  # written to a pipe: libsndfile makes 2^63 of it
        told, cure = "a FLAC file without a count of its samples", "flac -d -c FILE | flac - -o NEW, or to wav"
        raise InputError(path, told, "a count in STREAMINFO", f"Convert it to a file: {cure}")
    return Header(rate, samples, channels, "FLAC")


def _mp4(path: object, stream: BinaryIO, size: int) -> Header:
    try:
        rate, samples, channels, priming = mp4.sound_track(stream, size)
    except (KeyError, ValueError, struct.error, IndexError) as error:
        raise InputError(path, f"no usable {error}", "AAC in MP4 (.m4a)", AGAIN) from None
    return Header(rate, samples, channels, "m4a", priming)


def _libsndfile(path: object) -> Header:
    import soundfile  # a twentieth of a second that most files need not spend

    try:
        info = soundfile.info(str(path))
    except soundfile.LibsndfileError as error:
        told = f"a file that libsndfile cannot read ({error.error_string})"
        raise InputError(path, told, "audio", "Convert it to wav or flac, or leave it out") from None
    return Header(info.samplerate, info.frames, info.channels, info.format)


Reader = Callable[[object, BinaryIO, int], "Header | None"]
READERS: tuple[tuple[int, bytes, Reader], ...] = (  # place and bytes that a container is known by
    (0, b"NIST_1A", _sphere),
    (0, b"RIFF", _riff),
    (0, b"fLaC", _flac),
    (4, b"ftyp", _mp4),
)


def read_header(path: str | Path) -> Header:
    """The header of any recording. Raises InputError for a file that is missing, empty, truncated, or no audio."""
    try:
        with open(path, "rb") as stream:
            head, size = stream.read(16), os.fstat(stream.fileno()).st_size
            stream.seek(0)
            reader = next((read for place, magic, read in READERS if head.startswith(magic, place)), None)
            found = reader(path, stream, size) if reader else None
    except OSError as error:
        cure = rerun("prepare", "Check the path in cuts.jsonl.gz")
        raise InputError(path, error.strerror or str(error), "an audio file", cure) from None
    if not head:
        raise InputError(path, "an empty file", "audio", AGAIN)
    found = found or _libsndfile(path)
    if found.samples <= 0:
        raise InputError(path, "no samples", "audio", AGAIN)
    if found.rate <= 0 or found.channels <= 0:
        raise InputError(path, f"{found.channels} channels, {found.rate} Hz", "audio", AGAIN)
    return found
