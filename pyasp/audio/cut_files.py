"""The index of audio, `cuts.jsonl.gz`: one lhotse cut a line, read and written as JSON. lhotse is not imported here."""

import gzip
import hashlib
import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from pyasp.audio.headers import Header
from pyasp.audio.recording import count_in
from pyasp.core.errors import InputError, rerun
from pyasp.core.files import atomic_write
from pyasp.core.text import open_text, parse_json

Json = dict[str, Any]
MAX_SECONDS = 1e7  # four months: longer than any recording
MADE_AGAIN = "Make the directory again with what made it: pyasp data from-lhotse, or a run"
CUT_ID = re.compile(r'^\{"id": "([^"\\]+)"')


def read_cut_lines(path: str | Path) -> Iterator[str]:
    """JSON lines of a lhotse `cuts.jsonl.gz`, in file order. Raises InputError on a damaged file; OSError."""
    with open_text(path, rerun("prepare")) as stream:
        yield from stream


def read_cuts(path: str | Path) -> Iterator[tuple[str, str]]:
    """(cut id, JSON line) of a lhotse `cuts.jsonl.gz`, in file order. Raises InputError on a damaged file."""
    for number, line in enumerate(read_cut_lines(path), 1):
        yield parse_cut(line, path, f"line {number}")["id"], line


def parse_cut(line: str, path: object, item: object) -> Json:
    """The cut in one line of a `cuts.jsonl.gz`. Raises InputError unless it has what the recipe reads of it."""
    cut = parse_json(line, path, item, "a lhotse cut as JSON", rerun("prepare", MADE_AGAIN))
    fault = _fault(cut)
    if fault:
        raise InputError(path, fault, "a lhotse cut as JSON", rerun("prepare", MADE_AGAIN), item=item)
    return cut


def _fault(cut: Json) -> str | None:
    """What a cut's JSON object lacks: id, times, and sources with a type and a name (memory: contents)."""
    if not isinstance(cut.get("id"), str) or not cut["id"]:
        return "no id"
    tracks = cut.get("tracks")
    tracks = tracks if isinstance(tracks, list) and tracks else [tracks]
    parts = [cut] if tracks == [None] else [each.get("cut") if isinstance(each, dict) else None for each in tracks]
    for part in parts:
        if not isinstance(part, dict) or not isinstance(part.get("recording", {}), dict):
            return f"no cut in {cut['id']}"
        times = [part.get(name, 0.0) for name in ("start", "duration")]
        if not all(isinstance(time, (int, float)) and 0 <= time < MAX_SECONDS for time in times):
            return f"start and duration {times} of {cut['id']}"
        sources = part.get("recording", {}).get("sources", [])
        if not isinstance(sources, list) or not all(_names_audio(source) for source in sources):
            return f"no usable audio source in {cut['id']}"
    return None


def _names_audio(source: Any) -> bool:
    return isinstance(source, dict) and isinstance(source.get("type"), str) and isinstance(source.get("source"), str)


def described(name: str, entry: str, rate: int, samples: int, channels: int) -> Json:
    """A lhotse Recording of a file, or of a command that ends in `|`, as lhotse itself would store it."""
    kind, source = ("command", entry.rstrip("|").strip()) if entry.endswith("|") else ("file", entry)
    return {
        "id": name,
        "sampling_rate": rate,
        "num_samples": samples,
        "duration": samples / rate,
        "channel_ids": list(range(channels)),
        "sources": [{"type": kind, "channels": list(range(channels)), "source": source}],
    }


def cut_of(recording: Json, supervision: Json) -> Json:
    """The lhotse MonoCut of one supervision, as the recipe's preparations write it."""
    return {
        "id": supervision["id"],
        "start": supervision["start"],
        "duration": supervision["duration"],
        "channel": supervision["channel"],
        "supervisions": [{**supervision, "start": 0.0}],
        "recording": recording,
        "type": "MonoCut",
    }


def write_cuts(path: str | Path, lines: Iterable[str]) -> None:
    """Writes JSON lines as a gzip file with no time stamp in it (same content, same bytes), atomically."""
    with atomic_write(path) as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as stream:
        for line in lines:
            stream.write(line.rstrip("\n").encode() + b"\n")


def audio_files(cut: Json) -> list[str]:
    """Paths of the audio files that a cut's JSON object reads, those of its tracks included."""
    tracks = [track["cut"] for track in cut["tracks"]] if "tracks" in cut else [cut]
    sources = (source for track in tracks for source in track.get("recording", {}).get("sources", []))
    return [source["source"] for source in sources if source["type"] == "file"]


def sources_of(item: Any) -> Iterator[Json]:
    """Every audio source in a cut's JSON object: of its recording, its tracks and its impulse responses."""
    if isinstance(item, dict) and isinstance(item.get("sources"), list):
        yield from (source for source in item["sources"] if isinstance(source, dict) and "type" in source)
    for value in item.values() if isinstance(item, dict) else item if isinstance(item, list) else ():
        if isinstance(value, (dict, list)):
            yield from sources_of(value)


def is_plain(cut: Json) -> bool:
    """True of the JSON object of a stretch of one audio file: no mixing, no augmentation, no command."""
    recording = cut.get("recording") or {}
    mixed, sources = "tracks" in cut or recording.get("transforms"), recording.get("sources")
    return not mixed and isinstance(sources, list) and [source["type"] for source in sources] == ["file"]


def cut_mark(cut: Json, settings: Any) -> str:
    """Digest of all that decides what `settings` (JSON) make of a cut's JSON object: both of them, and size and time of
    each audio file; "" where that is not known, of a command or a file that is not there."""
    files: list[tuple[int, int]] = []
    for source in sources_of(cut):
        try:
            status = os.stat(source["source"]) if source["type"] == "file" else None
        except OSError:
            return ""
        if status is None and source["type"] != "memory":
            return ""
        files += [(status.st_size, status.st_mtime_ns)] if status else []
    text = json.dumps([settings, cut, files], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def audio_fault(cut: Json, headers: Mapping[str, Header | str]) -> str | None:
    """Why a cut's JSON object cannot be read as it is, or None; headers: of its audio_files, or why they have none.

    A recording of one file is as long, of the rate and with the channels that the cut says.
    """
    for path in audio_files(cut):
        if not os.path.isfile(path):
            return f"audio file missing: {path}"
        if isinstance(reason := headers[path], str):
            return reason
    if not is_plain(cut):
        return None
    recording, (source,) = cut["recording"], cut["recording"]["sources"]
    found = headers[source["source"]]
    channels = source.get("channels")
    counts = [recording.get("sampling_rate"), recording.get("num_samples")]
    counts += channels if isinstance(channels, list) and channels else [None]
    if not all(type(count) is int for count in counts):
        return f"{source['source']}: a cut without rate, number of samples or channels. {MADE_AGAIN}"
    told = Header(counts[0], counts[1], max(counts[2:]) + 1, "")
    assert isinstance(found, Header)  # those without one are told above
    if (found.samples, found.rate) != (told.samples, told.rate) or told.channels > found.channels:
        return f"{source['source']}: found {found}; expected {told} as its cut says. {MADE_AGAIN}"
    start, seconds = cut.get("start", 0.0), cut.get("duration", 0.0)
    if count_in(start, found.rate) + count_in(seconds, found.rate) > found.samples:
        told_end = f"a cut of {seconds:.4f} s at {start:.4f} s"
        return f"{source['source']}: found {found}; expected {told_end} within it. {MADE_AGAIN}"
    return None


class CutStream:
    """The cuts of a `cuts.jsonl.gz`, C-sorted, read forward once: a job's shards ask for theirs in order.

    Lines of other jobs' utterances are passed over by their id, without parsing them.
    """

    def __init__(self, path: str | Path):
        self.path = path
        self._lines = read_cut_lines(path)
        self._last = ""

    def take(self, utts: Iterable[str]) -> Iterator[tuple[str, Json]]:
        """(utterance, JSON object of its cut) of C-sorted utterances. Raises InputError when one is missing."""
        for utt in utts:
            for line in self._lines:
                key = self._key(line)
                if key.encode() >= utt.encode():
                    break
            else:
                key = None
            if key != utt:
                raise InputError(self.path, "no cut", "a cut of every utterance of utt2spk", rerun("prepare"), item=utt)
            yield utt, parse_cut(line, self.path, utt)

    def _key(self, line: str) -> str:
        found = CUT_ID.match(line)
        key = found.group(1) if found else parse_cut(line, self.path, f"after {self._last!r}")["id"]
        if key.encode() <= self._last.encode():
            told = f"{key!r} after {self._last!r}"
            raise InputError(self.path, told, "cuts with unique ids in C-locale order", rerun("check"), item=key)
        self._last = key
        return key
