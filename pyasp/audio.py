"""Samples of a lhotse cut on the int16 scale, at the configured rate; faults are found, not padded over.

lhotse reads the audio, always through libsndfile (which knows pcm, mu-law and A-law SPHERE; lhotse's own choice for .sph is a
sph2pipe process per file). Its samples in [-1, 1] times 32768 are int16 values exactly. lhotse would pad or cut a recording
whose length differs a little from its header; here that is an error. Resampling is `scipy.signal.resample_poly`, rounded and
clipped to 16 bit.
"""

from __future__ import annotations

import json
import math
import re
import shutil
import subprocess
import warnings
from pathlib import Path
from typing import Any, Iterable, Iterator

import numpy as np
from lhotse.audio import AudioSource
from lhotse.audio.backend import LibsndfileBackend, set_current_audio_backend
from lhotse.audio.utils import set_audio_duration_mismatch_tolerance
from lhotse.cut import Cut, MixedCut
from lhotse.serialization import deserialize_item
from scipy.signal import resample_poly

from pyasp.errors import InputError
from pyasp.validate import audio_sources, read_cut_lines

INT16 = np.float32(32768.0)
ONE_SAMPLE = 1.5 / 8000   # seconds by which a mixed cut may differ from its header (rounding of offsets and rates)
CUT_ID = re.compile(r'^\{"id": "([^"\\]+)"')


def use_libsndfile() -> None:
    """Sets lhotse's reader and its tolerance for this process."""
    set_current_audio_backend(LibsndfileBackend())
    with warnings.catch_warnings():     # lhotse warns that half a second would hide more faults
        warnings.filterwarnings("ignore", message="The audio duration mismatch tolerance", category=UserWarning)
        set_audio_duration_mismatch_tolerance(ONE_SAMPLE)


class CutStream:
    """The cuts of a `cuts.jsonl.gz`, C-sorted, read forward once: a job's shards ask for theirs in order."""

    def __init__(self, path: str | Path):
        self.path = path
        self._lines = read_cut_lines(path)

    def take(self, utts: Iterable[str]) -> Iterator[tuple[str, dict[str, Any]]]:
        """(utterance, JSON object) of the wanted cuts, in file order. Raises InputError when one is missing."""
        wanted = set(utts)
        while wanted:
            line = next(self._lines, None)
            if line is None:
                raise InputError(self.path, f"no cut of {min(wanted)} ({len(wanted)} missing)", "a cut of every utterance, C-sorted",
                                 "Run stages 0 and 1 again")
            found = CUT_ID.match(line)
            utt = found.group(1) if found else json.loads(line)["id"]
            if utt in wanted:
                wanted.remove(utt)
                yield utt, json.loads(line)


def read_samples(item: dict[str, Any], rate: int, channel: int = -1, allow_downsample: bool = True,
                 allow_upsample: bool = False, allow_commands: bool = False) -> np.ndarray:
    """(n,) float32 on the int16 scale at `rate` Hz, of a cut's JSON object; mixed and reverberated cuts are not rounded.

    channel: of a cut with several; -1: the cut's own. Raises InputError for audio that cannot be read, is empty, not finite, of
    another length than its header says, of a rate that may not be converted, or that comes from a command unless allowed.
    """
    name, utt = _source(item), item["id"]
    _check_sources(item, allow_commands)
    cut = deserialize_item(item)
    try:
        _decode_shorten(cut, utt)
        samples = cut.load_audio()
    except InputError:
        raise
    except Exception as error:      # lhotse raises many kinds; all mean that this recording cannot be used
        raise InputError(name, _first_line(error), "readable audio of the length its header says",
                         "Copy or convert the recording again, or remove it", item=utt) from None
    mono = _one_channel(samples, channel, name, utt)
    if len(mono) == 0 or not np.isfinite(mono).all():
        raise InputError(name, "no samples" if len(mono) == 0 else "samples that are not finite", "audio",
                         "Replace or remove the recording", item=utt)
    return resample(mono * INT16, int(cut.sampling_rate), rate, allow_downsample, allow_upsample, utt)


def resample(samples: np.ndarray, source: int, target: int, allow_downsample: bool, allow_upsample: bool, utt: str) -> np.ndarray:
    """Samples (n,) on the int16 scale brought from `source` to `target` Hz, rounded and clipped to 16 bit."""
    if source == target:
        return samples
    allowed, name = (allow_downsample, "--allow-downsample") if source > target else (allow_upsample, "--allow-upsample")
    if not allowed:
        raise InputError(utt, f"{source} Hz", f"{target} Hz", f"Use a conf of that rate, or {name}=true in mfcc.conf")
    divisor = math.gcd(source, target)
    converted = resample_poly(samples, target // divisor, source // divisor)
    return np.clip(np.rint(converted), -32768, 32767).astype(np.float32)


def _one_channel(samples: np.ndarray, channel: int, name: str, utt: str) -> np.ndarray:
    if samples.shape[0] == 1 and channel <= 0:
        return samples[0]
    if not 0 <= channel < samples.shape[0]:
        raise InputError(name, f"{samples.shape[0]} channels", "one, or --channel to choose",
                         "Give each side its own utterance, or set --channel", item=utt)
    return samples[channel]


def _check_sources(item: dict[str, Any], allow_commands: bool) -> None:
    """Files are read; a command runs only when the user admitted commands; nothing is fetched from an address."""
    for source in audio_sources(item):
        if source["type"] == "command" and not allow_commands:
            raise InputError(source["source"], "a command", "a file", "If you trust these data, run with --allow-commands", item=item["id"])
        if source["type"] not in ("file", "memory", "command"):
            raise InputError(source["source"], f"a source of type {source['type']!r}", "a file", "Fetch the audio first", item=item["id"])


def _source(item: dict[str, Any]) -> str:
    recording = item["recording"] if "recording" in item else item["tracks"][0]["cut"]["recording"]
    return str(recording["sources"][0]["source"])


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:200] if lines else ''}"


def _decode_shorten(cut: Cut, utt: str) -> None:
    """Puts sph2pipe's output in place of shorten-compressed SPHERE, which libsndfile cannot read."""
    recording = cut.tracks[0].cut.recording if isinstance(cut, MixedCut) else cut.recording
    source = recording.sources[0]
    if source.type != "file" or not _is_shorten(source.source):
        return
    if shutil.which("sph2pipe") is None:
        raise InputError(source.source, "shorten-compressed SPHERE", "pcm, mu-law or A-law",
                         "Install sph2pipe so that it is on PATH, or convert the file first", item=utt)
    finished = subprocess.run(["sph2pipe", "-p", "-f", "wav", source.source], capture_output=True, check=False)
    if finished.returncode != 0:
        raise InputError(source.source, f"sph2pipe exit code {finished.returncode}", "a file that it can decode",
                         "Copy the file again from its disc", item=utt)
    recording.sources[0] = AudioSource(type="memory", channels=source.channels, source=finished.stdout)


def _is_shorten(path: str) -> bool:
    with open(path, "rb") as stream:
        head = stream.read(1024)
    return head.startswith(b"NIST_1A") and b"embedded-shorten" in head
