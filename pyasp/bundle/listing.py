"""Recordings named on a command line: audio files, folders of them, tables; and their features from threads.

A table is a Kaldi wav.scp (`<key> <file>`; commands are refused) or a .tsv with a header that has `utt` and `path`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from pyasp.audio.folders import SUFFIXES, audio_below, check_text, some
from pyasp.audio.recording import read_sound
from pyasp.core.errors import InputError
from pyasp.core.text import c_sorted
from pyasp.data.datadir import check_id, read_rows
from pyasp.kaldi import read_scp

if TYPE_CHECKING:  # it imports torch, for which --help need not wait
    from pyasp.bundle.speaker_model import Features, SpeakerModel

Entries = list[tuple[str, str]]  # (key, audio file)
AHEAD = 4  # recordings read ahead by each thread


def _key(path: str | Path) -> str:
    return "-".join("_".join(part.split()) for part in Path(path).with_suffix("").parts)


def _scp(path: Path) -> Entries:
    return [(key, value.strip()) for key, value in read_scp(path).items()]


def _tsv(path: Path) -> Entries:
    rows = read_rows(path, ("utt", "path"), key="utt")
    return [(check_id(row["utt"], "recording", path), os.path.join(path.parent, row["path"])) for row in rows]


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
        return [(_key(os.path.relpath(file, path)), file) for file in audio_below(path)]
    return TABLES[path.suffix](path) if path.suffix in TABLES else [(_key(path.name), name)]


def list_sounds(inputs: Iterable[str]) -> dict[str, str]:
    """{key: audio file}, C-sorted. Raises InputError for keys of two recordings, or when there is no recording."""
    inputs, found, twice = list(inputs), dict[str, str](), []
    for key, file in (entry for name in inputs for entry in _entries(name)):
        other = found.setdefault(key, file)
        if other != file and os.path.realpath(other) != os.path.realpath(file):
            twice.append(f"{key} is {other} and {file}")
    check_text("command line", found.values())
    if twice:
        told, cure = f"{len(twice)} keys of several recordings ({some(twice)})", "Name them in a .tsv with utt and path"
        raise InputError(some(inputs), told, "one recording a key", cure)
    if not found:
        raise InputError(some(inputs), "no audio file", " ".join(sorted(SUFFIXES)), "Check the folder")
    return {key: found[key] for key in c_sorted(found)}


def features_of(
    model: SpeakerModel, sounds: dict[str, str], channel: int, threads: int, failed: dict[str, str]
) -> Iterator[tuple[str, Features]]:
    """(key, features) of every recording, in order, read and analysed by threads; failures go into {key: reason}."""

    def work(path: str) -> Features:
        return model.features(read_sound(path, channel))

    with ThreadPoolExecutor(threads) as pool:
        todo, waiting = iter(sounds.items()), deque[tuple[str, Future]]()
        while True:
            ahead = islice(todo, AHEAD * threads - len(waiting))
            waiting.extend((key, pool.submit(work, path)) for key, path in ahead)
            if not waiting:
                return
            key, result = waiting.popleft()
            try:
                yield key, result.result()
            except (InputError, OSError) as error:
                failed[key] = " ".join(str(error).split())
