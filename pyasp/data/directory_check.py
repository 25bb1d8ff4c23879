"""What is wrong with a data directory, without changing it: Kaldi's validate_data_dir.sh, with the cuts.

The rules: utt2spk with at least one entry, every speaker a prefix of his utterances, spk2utt its inverse, tables sorted
in C locale and over the utterances (or speakers, or recordings) of utt2spk, audio that is there, models of known
recordings. `fix` is pyasp.data.checks's Checker for directories with cuts, and the same rules by dropping for others.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from pyasp.audio.cut_files import audio_fault, audio_files, read_cuts
from pyasp.audio.headers import read_headers
from pyasp.core.errors import InputError
from pyasp.data.checks import Checker
from pyasp.data.datadir import DataDir, c_sorted, invert
from pyasp.data.parts import CUTS, MODELS, keys_of, tables_of, write_part

COVERING = ("wav.scp", "segments", "feats.scp", "vad.scp", "utt2dur", "utt2num_frames")  # every utterance is in them


def problems(data: DataDir) -> Iterator[str]:
    """Each thing that is wrong, in a line. Raises InputError where a table cannot be read at all."""
    data.require("utt2spk")
    if not data.utt2spk:
        yield "utt2spk: empty"
        return
    yield from _speakers(data)
    for name in ["utt2spk", *tables_of(data)]:
        yield from _table(data, name)
    yield from _audio(data)
    if data.has(MODELS):
        strangers = {utt for utts in data.model2utts.values() for utt in utts} - set(data.utt2spk)
        if strangers:
            yield f"{MODELS}: {len(strangers)} unknown recordings (first: {min(strangers)})"


def _speakers(data: DataDir) -> Iterator[str]:
    wrong = [
        utt for utt, speaker in data.utt2spk.items() if not speaker or " " in speaker or not utt.startswith(speaker)
    ]
    if wrong:
        yield f"utt2spk: {len(wrong)} utterances whose speaker is not their prefix (first: {wrong[0]})"
    if data.has("spk2utt"):
        if {speaker: utts.split() for speaker, utts in data.read("spk2utt").items()} != invert(data.utt2spk):
            yield "spk2utt: not the inverse of utt2spk"


def _table(data: DataDir, name: str) -> Iterator[str]:
    table = data.read(name)
    if list(table) != c_sorted(table):
        yield f"{name}: not sorted in C locale"
    known = keys_of(data, data.utt2spk, name)
    strangers = [key for key in table if key not in known]
    if strangers:
        yield f"{name}: {len(strangers)} unknown keys (first: {strangers[0]})"
    if name in COVERING:
        wanted = known if name == "wav.scp" and data.has("segments") else set(data.utt2spk)
        missing = [key for key in c_sorted(wanted) if key not in table]
        if missing:
            yield f"{name}: no entry for {len(missing)} of {len(wanted)} (first: {missing[0]})"


def _audio(data: DataDir) -> Iterator[str]:
    """Files that are not there, or do not hold what they and their cuts say; commands are not run."""
    if data.has(CUTS):
        cuts = dict(read_cuts(data / CUTS))
        known = set(data.utt2spk)
        for name, lacking in (("no cut", known - set(cuts)), ("cuts of unknown", set(cuts) - known)):
            if lacking:
                yield f"{CUTS}: {name}: {len(lacking)} utterances (first: {min(lacking)})"
        lines = list(cuts.values())
        files = [path for line in lines for path in audio_files(json.loads(line))]
    elif data.has("wav.scp"):
        lines, files = [], [value for value in data.read("wav.scp").values() if not value.endswith("|")]
    else:
        return
    headers = read_headers(files)
    gone = dict.fromkeys(path for path in headers if not Path(path).is_file())
    there = {path: found for path, found in headers.items() if path not in gone}
    faults = [audio_fault(cut, there) for cut in map(json.loads, lines) if there.keys() >= set(audio_files(cut))]
    faults = [fault for fault in (faults if lines else there.values()) if isinstance(fault, str)]
    if faults:
        yield f"audio: {len(faults)} recordings cannot be read as they are (first: {faults[0]})"
    if gone:
        yield f"audio: {len(gone)} files are not there (first: {next(iter(gone))})"


def fix(directory: Path) -> str:
    """Sorts tables, drops entries without audio or utterance, derives spk2utt; returns what was done, in a line.

    Raises InputError when nothing would be left.
    """
    data = DataDir(directory)
    data.require("utt2spk")
    if data.has(CUTS):
        checker = Checker(directory)
        checker.check()
        checker.fix()
        return f"kept {len(data.utt2spk) - len(checker.dropped)} of {len(data.utt2spk)} utterances"
    tables = {name: data.read(name) for name in COVERING if data.has(name)}
    kept = [utt for utt in data.utt2spk if _usable(tables, utt)]
    if not kept:
        raise InputError(directory, "no usable utterance", "at least one", "Check wav.scp and segments")
    write_part(data, kept, directory)
    return f"kept {len(kept)} of {len(data.utt2spk)} utterances"


def _usable(tables: dict[str, dict[str, str]], utt: str) -> bool:
    """True when the utterance has an entry in every table that must cover it, and its audio file is there."""
    if any(utt not in table for name, table in tables.items() if name != "wav.scp"):
        return False
    recording = tables["segments"][utt].split(" ")[0] if "segments" in tables else utt
    audio = tables.get("wav.scp", {recording: "|"}).get(recording)
    return audio is not None and (audio.endswith("|") or Path(audio).is_file())
