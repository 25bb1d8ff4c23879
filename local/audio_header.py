"""Lengths, rates and channels of audio files, read from their headers alone (a hundred thousand in minutes)."""

from __future__ import annotations

import os
import struct
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import soundfile
from tqdm import tqdm

from pyasp.audio import mp4, sphere
from pyasp.audio.checks import SAMPLED, check_header
from pyasp.audio.decoders import AAC_SUFFIXES, require_program
from pyasp.audio.folders import audio_below
from pyasp.audio.resample import HIGHEST_RATE
from pyasp.core.errors import InputError

AUDIO_SUFFIXES = (".wav", ".flac", ".sph", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".w64", ".m4a")
FOREIGN = {"shorten": "shorten-compressed SPHERE", "m4a": "AAC in MP4"}  # kind -> what needs a decoding program
THREADS = 16  # header reads wait for the disk


@dataclass(frozen=True, slots=True)
class Audio:
    """rate in Hz; samples per channel; channels; kind: "sphere", "shorten", "m4a" or libsndfile's format."""

    rate: int
    samples: int
    channels: int
    kind: str


def probe(path: str) -> Audio:
    """The header of one audio file. Raises InputError or OSError when it is missing, empty, truncated or unknown."""
    with open(path, "rb") as stream:
        start = stream.read(4096)
        size = os.fstat(stream.fileno()).st_size
    if start.startswith(sphere.MAGIC):
        header = sphere.read_header(path)
        return Audio(header.rate, header.samples, header.channels, "shorten" if header.compressed else "sphere")
    if path.lower().endswith(AAC_SUFFIXES):
        aac = mp4.read_header(path)
        return Audio(aac.rate, aac.samples, aac.channels, "m4a")
    return _riff(path, start, size) or _libsndfile(path)


def _riff(path: str, start: bytes, size: int) -> Audio | None:
    """The header of a plain wav file from its first bytes, several times as fast as libsndfile; None for any other
    file.

    Raises InputError when the file is shorter than its header says (libsndfile reads such a file without a word).
    """
    if start[:4] != b"RIFF" or start[8:12] != b"WAVE":
        return None
    place, form = 12, None
    while place + 8 <= len(start):
        name, length = struct.unpack_from("<4sI", start, place)
        if name == b"fmt " and place + 24 <= len(start):
            form = struct.unpack_from("<HHIIHH", start, place + 8)
        if name == b"data":
            break
        place += 8 + length + length % 2
    else:
        return None
    if form is None or form[0] not in SAMPLED or length in (0, 0xFFFFFFFF):
        return None  # written to a pipe, or compressed: libsndfile knows
    if place + 8 + length > size:
        raise InputError(
            path,
            f"{size} bytes where the header says {place + 8 + length} (truncated)",
            "a complete wav file",
            "Copy or convert it again",
        )
    if not 0 < form[2] <= HIGHEST_RATE or not form[4] or form[4] != form[1] * -(-form[5] // 8) or length < form[4]:
        return None  # a header that contradicts itself: what libsndfile makes of it is what will be read
    return Audio(form[2], length // form[4], form[1], "WAV")


def _libsndfile(path: str) -> Audio:
    """The header as libsndfile reads it, after the checks of what it lets pass."""
    check_header(path)
    try:
        info = soundfile.info(path)
    except soundfile.LibsndfileError as error:
        raise InputError(
            path,
            f"a file that libsndfile cannot read ({error.error_string})",
            "audio",
            "Convert it to wav or flac, or leave it out",
        ) from None
    if info.frames <= 0:
        raise InputError(path, "no samples", "audio", "Delete the empty file")
    return Audio(info.samplerate, info.frames, info.channels, info.format)


def _try_probe(path: str) -> Audio | str:
    try:
        return probe(path)
    except (InputError, OSError) as error:
        return str(error)


def probe_all(
    paths: Iterable[str], max_bad: float = 0.0, failed: MutableMapping[str, str] | None = None
) -> dict[str, Audio]:
    """{path: header} of the readable files. Prints how many failed, and puts {path: reason} of these into `failed`.

    InputError when more than the fraction max_bad did.
    """
    wanted = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(THREADS) as pool:
        results = pool.map(_try_probe, wanted, chunksize=256)
        found = dict(zip(wanted, tqdm(results, total=len(wanted), desc="audio headers", unit="file", disable=None)))
    failures = {path: result for path, result in found.items() if isinstance(result, str)}
    told = f"done {len(wanted) - len(failures)} of {len(wanted)} audio headers, {len(failures)} failed"
    if failures:
        first, reason = next(iter(failures.items()))
        told += f" (first: {first}: {reason})"
        if len(failures) > max_bad * len(wanted):
            raise InputError(
                Path(first).parent,
                told,
                f"at most {max_bad:g} of the files unreadable",
                "Repair or delete them, or allow a fraction with --max-bad",
            )
    print(told, file=sys.stderr)
    if failed is not None:
        failed.update(failures)
    audio = {path: result for path, result in found.items() if not isinstance(result, str)}
    need_decoders(audio)
    return audio


def need_decoders(audio: Mapping[str, Audio]) -> None:
    """Raises InputError, naming the first file, when a program that some files need is not on PATH."""
    first = {header.kind: path for path, header in reversed(audio.items()) if header.kind in FOREIGN}
    for kind, path in first.items():
        require_program(FOREIGN[kind], path)


def find_audio(root: str | Path, suffixes: tuple[str, ...] = AUDIO_SUFFIXES) -> list[str]:
    """Every audio file under root, sorted; hidden files and directories are passed over, links followed."""
    return audio_below(root, suffixes)
