"""Recordings named on a command line: audio files, folders of them, tables; and their features from threads.

A table is a Kaldi wav.scp (`<key> <file>`; commands are refused) or a .tsv with a header that has `utt` and `path`.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from pyasp.audio.folders import SUFFIXES, audio_below
from pyasp.audio.recording import read_sound
from pyasp.core.errors import InputError
from pyasp.core.text import c_sorted
from pyasp.kaldi import read_scp

if TYPE_CHECKING:  # it imports torch, for which --help need not wait
    from pyasp.bundle.speaker_model import Features, SpeakerModel

AHEAD = 4  # recordings read ahead by each thread


def _key(path: Path) -> str:
    return "-".join("_".join(part.split()) for part in path.with_suffix("").parts)


def _folder(path: Path) -> dict[str, str]:
    if (path / "wav.scp").is_file():
        if (path / "segments").is_file():
            raise InputError(path, "segments", "whole recordings", "Extract with run.sh, which cuts them out")
        return _scp(path / "wav.scp")
    return {_key(Path(file).relative_to(path)): file for file in audio_below(path)}


def _scp(path: Path) -> dict[str, str]:
    return {key: value.strip() for key, value in read_scp(path).items()}


def _tsv(path: Path) -> dict[str, str]:
    header, *rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines())
    if "utt" not in header or "path" not in header:
        raise InputError(path, f"columns {' '.join(header)}", "utt and path among them", "Name the columns")
    utt, audio = header.index("utt"), header.index("path")
    return {row[utt]: row[audio] if os.path.isabs(row[audio]) else str(path.parent / row[audio]) for row in rows}


TABLES = {".scp": _scp, ".tsv": _tsv}


def list_sounds(inputs: Iterable[str]) -> dict[str, str]:
    """{key: audio file}, C-sorted. Raises InputError for a key that comes twice, or when there is no recording."""
    found: dict[str, str] = {}
    for name in inputs:
        path = Path(name)
        if not path.exists():
            raise InputError(path, "no such file or directory", "audio, a folder, a wav.scp or a .tsv", "Check it")
        entries = (
            _folder(path)
            if path.is_dir()
            else TABLES[path.suffix](path)
            if path.suffix in TABLES
            else {_key(Path(path.name)): name}
        )
        for key, file in entries.items():
            if found.setdefault(key, file) != file:
                raise InputError(
                    path,
                    f"{found[key]} and {file}",
                    "one recording a key",
                    "Name them in a table: wav.scp or .tsv",
                    item=key,
                )
    if not found:
        raise InputError(" ".join(inputs), "no audio file", " ".join(sorted(SUFFIXES)), "Check the folder")
    return {key: found[key] for key in c_sorted(found)}


def features_of(
    model: SpeakerModel, sounds: dict[str, str], channel: int, threads: int, failed: dict[str, str]
) -> Iterator[tuple[str, Features]]:
    """(key, features) of every recording, in order, read and analysed by threads; failures go into {key: reason}."""

    def work(path: str) -> Features:
        return model.features(read_sound(path, channel))

    waiting: deque[tuple[str, Future]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        todo = iter(sounds.items())
        while True:
            while len(waiting) < AHEAD * threads and (item := next(todo, None)) is not None:
                waiting.append((item[0], pool.submit(work, item[1])))
            if not waiting:
                return
            key, result = waiting.popleft()
            try:
                yield key, result.result()
            except (InputError, OSError) as error:
                failed[key] = " ".join(str(error).split())
