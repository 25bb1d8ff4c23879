"""Recordings named on a command line: audio files, folders of them, tables; and their features from threads.

A table is a Kaldi wav.scp (`<key> <file>`; a command that only decodes a file stands for the file, others are refused)
or a .tsv with a header that has `utt` and `path`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pyasp.audio.decoders import decoded_file
from pyasp.audio.folders import SUFFIXES, audio_below, check_text, some
from pyasp.audio.recording import read_sound
from pyasp.core.errors import InputError
from pyasp.core.text import c_sorted
from pyasp.data.datadir import check_id, read_rows
from pyasp.kaldi import read_scp
from pyasp.kaldi.names import is_command

if TYPE_CHECKING:  # it imports torch, for which --help need not wait
    from pyasp.bundle.speaker_model import Features, SpeakerModel

Place = tuple[str, int | None]  # an audio file and its channel; None: whatever --channel says
Entries = list[tuple[str, Place]]  # (key, place)
AHEAD = 4  # recordings read ahead by each thread


def _key(path: str | Path) -> str:
    return "-".join("_".join(part.split()) for part in Path(path).with_suffix("").parts)


def _scp(path: Path) -> Entries:
    return [(key, _place(value.strip(), key, path)) for key, value in read_scp(path, allow_commands=True).items()]


def _place(value: str, key: str, path: Path) -> Place:
    """Where an entry of a wav.scp leads. Nothing is run: InputError for a command that does more than decode a file."""
    if not is_command(value):
        return value, None
    if found := decoded_file(value.removesuffix("|")):
        return found
    expected, cure = "a file, or a command that only decodes one", "Run it, and name the file that it makes"
    raise InputError(path, f"the command {value!r}", expected, cure, item=key)


def _tsv(path: Path) -> Entries:
    rows = read_rows(path, ("utt", "path"), key="utt")
    return [(check_id(row["utt"], "recording", path), (os.path.join(path.parent, row["path"]), None)) for row in rows]


TABLES = {".scp": _scp, ".tsv": _tsv}


def _entries(name: str) -> Entries:
    path = Path(name)
    if not path.exists():
        raise InputError(path, "no such file or directory", "audio, a folder, a wav.scp or a .tsv", "Check it")
    if (path / "segments").is_file():
        raise InputError(path, "segments", "whole recordings", "Extract with run.sh, which cuts them out")
    if (path / "wav.scp").is_file():
        return _scp(path / "wav.scp")
    if path.is_dir():
        return [(_key(os.path.relpath(file, path)), (file, None)) for file in audio_below(path)]
    return TABLES[path.suffix](path) if path.suffix in TABLES else [(_key(path.name), (name, None))]


def list_sounds(inputs: Iterable[str]) -> dict[str, Place]:
    """{key: (audio file, channel)}, C-sorted. Raises InputError for keys of two recordings, or when there is no
    recording."""
    inputs, found, twice = list(inputs), dict[str, Place](), []
    for key, place in (entry for name in inputs for entry in _entries(name)):
        other = found.setdefault(key, place)
        if other != place and (os.path.realpath(other[0]), other[1]) != (os.path.realpath(place[0]), place[1]):
            twice.append(f"{key} is {other[0]} and {place[0]}")
    check_text("command line", (file for file, _ in found.values()))
    if twice:
        told, cure = f"{len(twice)} keys of several recordings ({some(twice)})", "Name them in a .tsv with utt and path"
        raise InputError(some(inputs), told, "one recording a key", cure)
    if not found:
        raise InputError(some(inputs), "no audio file", " ".join(sorted(SUFFIXES)), "Check the folder")
    return {key: found[key] for key in c_sorted(found)}


def features_of(
    model: SpeakerModel, sounds: dict[str, Place], channel: int, threads: int, failed: dict[str, str]
) -> Iterator[tuple[str, Features]]:
    """(key, features) of every recording, in order, read and analysed by threads; failures go into {key: reason}."""

    def work(place: Place) -> Features:
        path, own = place
        return model.features(read_sound(path, channel if own is None else own))

    with ThreadPoolExecutor(threads) as pool:
        todo, waiting = iter(sounds.items()), deque[tuple[str, Future]]()
        while True:
            ahead = islice(todo, AHEAD * threads - len(waiting))
            waiting.extend((key, pool.submit(work, place)) for key, place in ahead)
            if not waiting:
                return
            key, result = waiting.popleft()
            try:
                yield key, result.result()
            except (InputError, OSError) as error:
                failed[key] = " ".join(str(error).split())
