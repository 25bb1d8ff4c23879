"""What is wrong with a data directory, and mending it: Kaldi's validate_data_dir.sh and fix_data_dir.sh, with the cuts.

The rules: utt2spk with at least one entry, every speaker a prefix of his utterances, spk2utt its inverse, tables sorted
in C locale and over the utterances (or speakers, or recordings) of utt2spk, audio that is there, models of known
recordings. `problems` changes nothing. `Checker` drops what tables do not agree on, lists it in `dropped.tsv` with its
reason and keeps the old tables in `.backup`. Audio that is not there now is no reason: its disk may come back.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from pyasp.audio.cut_files import audio_fault, audio_files, read_cuts, write_cuts
from pyasp.audio.folders import some
from pyasp.audio.headers import Header, read_headers
from pyasp.core.errors import InputError, rerun
from pyasp.core.files import link_or_copy
from pyasp.core.text import read_lines
from pyasp.data.datadir import INFO, DataDir, c_sorted, invert, utt_of, write_rows
from pyasp.data.parts import CUTS, DROPPED, MODELS, keys_of, tables_of

MIN_DURATION = 0.025  # seconds; shorter than one analysis window
COVERING = ("wav.scp", "segments", "feats.scp", "vad.scp", "utt2dur", "utt2num_frames")  # every utterance is in them
BACKUP = ".backup"
LEAVE_OUT = rerun(  # the way out of a recording of the evaluation that cannot be used
    "prepare",
    "Put a usable recording in its place, or take it out of the data and of trial lists that name it",
    force=True,
)


def too_short(seconds: float) -> str:
    """Why so much audio cannot be used; "" where it can."""
    return f"{seconds:.3f} s is shorter than one analysis window" if seconds < MIN_DURATION else ""


def read_dropped(path: str | Path) -> dict[str, str]:
    """{utterance: reason} of a dropped.tsv; empty when there is none."""
    rows = read_lines(path)[1:] if Path(path).is_file() else []
    return {utt: reason or "no reason given" for utt, _, reason in (row.partition("\t") for row in rows)}


def write_dropped(path: str | Path, reasons: Mapping[str, str]) -> None:
    """Writes a dropped.tsv: header, then utterance and reason, C-sorted, atomically."""
    write_rows(path, ("utt", "reason"), ((utt, reasons[utt]) for utt in c_sorted(reasons)))


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


def keep_old(path: Path) -> None:
    """Keeps a file that is to be replaced as .backup/NAME beside it; what was there before as NAME.1, NAME.2 ..."""
    kept = path.parent / BACKUP / path.name
    kept.parent.mkdir(exist_ok=True)
    if kept.exists():
        number = next(n for n in range(1, sys.maxsize) if not kept.with_name(f"{path.name}.{n}").exists())
        kept.rename(kept.with_name(f"{path.name}.{number}"))
    link_or_copy(path, kept)


class Checker:
    """Finds the utterances of one data directory that cannot be used, and the tables that disagree.

    dropped: {utterance: reason}; gone: audio files that are not there now; repaired: names of tables that were changed.
    """

    def __init__(self, path: str | Path):
        self.data = DataDir(path)
        self.data.require("utt2spk")
        self.dropped: dict[str, str] = {}
        self.gone: list[str] = []
        self.repaired: list[str] = []
        self.cuts: dict[str, str] = {}

    def check(self) -> None:
        """Fills `dropped` and `gone`; raises InputError where nothing sensible can be done."""
        if self.data.has(CUTS):
            self._check_names()
            self._read_cuts()
        headers = read_headers(path for line in self.cuts.values() for path in audio_files(json.loads(line)))
        covering = {name: self.data.read(name) for name in COVERING if not self.data.has(CUTS) and self.data.has(name)}
        for utt in self.data.utt2spk:
            reason = self._cut_problem(utt, headers) if self.data.has(CUTS) else self._entry_problem(utt, covering)
            if reason:
                self.dropped[utt] = reason
        self.gone = list(dict.fromkeys(self.gone))
        if len(self.dropped) == len(self.data.utt2spk):
            raise InputError(
                self.data.path,
                "no usable utterance",
                "at least one",
                f"See the reasons, e.g. {next(iter(self.dropped.items()), 'an empty utt2spk')}",
            )

    def _check_names(self) -> None:
        for utt, spk in self.data.utt2spk.items():
            if not spk or " " in spk:
                raise InputError(self.data / "utt2spk", repr(spk), "one speaker a line", rerun("prepare"), item=utt)
            if not utt.startswith(spk):
                raise InputError(
                    self.data / "utt2spk",
                    f"speaker {spk!r}",
                    "a prefix of the utterance id (Kaldi's sorting rule)",
                    "Prefix the utterance ids with their speaker",
                    item=utt,
                )

    def _read_cuts(self) -> None:
        for utt, line in read_cuts(self.data / CUTS):
            if utt in self.cuts:
                raise InputError(self.data / CUTS, "a second cut of this id", "unique ids", rerun("prepare"), item=utt)
            self.cuts[utt] = line

    def _cut_problem(self, utt: str, headers: Mapping[str, Header | str]) -> str | None:
        if utt not in self.cuts:
            return f"no entry in {CUTS}"
        cut = json.loads(self.cuts[utt])
        if reason := too_short(cut.get("duration", 0.0)):
            return reason
        gone = [path for path in audio_files(cut) if not os.path.isfile(path)]
        self.gone += gone
        return None if gone else audio_fault(cut, headers)

    def _entry_problem(self, utt: str, covering: Mapping[str, Mapping[str, str]]) -> str | None:
        """What a directory without cuts lacks of an utterance; a command of wav.scp is not run."""
        for name, table in covering.items():
            if name != "wav.scp" and utt not in table:
                return f"no entry in {name}"
        recording = covering["segments"][utt].split(" ")[0] if "segments" in covering else utt
        audio = covering.get("wav.scp", {recording: "|"}).get(recording)
        if audio is None:
            return f"no recording {recording} in wav.scp"
        if not audio.endswith("|") and not os.path.isfile(audio):
            self.gone.append(audio)
        return None

    def fix(self) -> None:
        """Rewrites every table over the kept utterances, sorted, where that changes it; the old ones are kept."""
        kept = {utt: spk for utt, spk in self.data.utt2spk.items() if utt not in self.dropped}
        models = self._kept_models(kept) if self.data.has(MODELS) else {}
        self.write_dropped()  # first: once a table is without an utterance, its reason could not be found again
        keys = {name: keys_of(self.data, kept, name) for name in tables_of(self.data)}  # before segments lose any
        if self.data.has(CUTS) and list(self.cuts) != c_sorted(kept):
            self._changed(CUTS)
            write_cuts(self.data / CUTS, [self.cuts[utt] for utt in c_sorted(kept)])
        for name, known in keys.items():
            self._fix_table(name, known)
        if models and models != self.data.model2utts:
            self._changed(MODELS)
            self.data.write(MODELS, {model: " ".join(utts) for model, utts in models.items()})
        if self.data.has(INFO):
            self._fix_info(kept)
        self._fix_speakers(kept)

    def _changed(self, name: str) -> None:
        self.repaired.append(name)
        keep_old(self.data / name)

    def _fix_table(self, name: str, keys: set[str]) -> None:
        """A table with no known key at all is of another kind, and is left alone."""
        table = self.data.read(name)
        kept = {key: value for key, value in table.items() if key in keys}
        if kept and (len(kept) < len(table) or list(table) != c_sorted(table)):
            self._changed(name)
            self.data.write(name, kept)

    def _fix_speakers(self, kept: dict[str, str]) -> None:
        order = list(self.data.utt2spk)
        speakers = {speaker: " ".join(utts) for speaker, utts in invert(kept).items()}
        there = self.data.read_if_there("spk2utt")
        if order != c_sorted(kept) or list(there.items()) != list(speakers.items()):
            for name in ("utt2spk", *["spk2utt"] * self.data.has("spk2utt")):
                self._changed(name)
            self.data.write_speakers(kept)

    def _fix_info(self, kept: Mapping[str, str]) -> None:
        lines = read_lines(self.data / INFO) or [""]
        utts = [utt_of(row) for row in lines[1:]]
        if utts != c_sorted(utts) or not set(utts) <= set(kept):  # else the file stays untouched
            self._changed(INFO)
            self.data.write_info(lines, kept)

    def _kept_models(self, kept: Mapping[str, str]) -> dict[str, list[str]]:
        """Models without their dropped recordings. InputError for one that loses all of them: its trials would hang."""
        models = {}
        for model, utts in self.data.model2utts.items():
            unknown = [utt for utt in utts if utt not in kept and utt not in self.dropped]
            models[model] = [utt for utt in utts if utt in kept]
            if unknown:
                cure = rerun("prepare", "Correct the enrolment table")
                found = f"unknown utterance {unknown[0]!r}"
                raise InputError(self.data / MODELS, found, "utterances of this directory", cure, item=model)
            if not models[model]:
                reasons = some(f"{utt}: {self.dropped[utt]}" for utt in utts)
                found = f"no usable recording ({reasons})"
                raise InputError(self.data / MODELS, found, "at least one", LEAVE_OUT, item=model)
        return models

    def write_dropped(self) -> None:
        """Adds this check's drops to dropped.tsv (header utt, reason), keeping what earlier steps listed."""
        path = self.data / DROPPED
        write_dropped(path, {**self.dropped, **read_dropped(path)})

    def told(self) -> str:
        """What was kept, what goes with the first reasons, what was put in order, what is not there, in a line."""
        total, kept = len(self.data.utt2spk), {u: s for u, s in self.data.utt2spk.items() if u not in self.dropped}
        reasons = some(f"{utt}: {reason}" for utt, reason in self.dropped.items())
        note = f" ({reasons}; all of them in {self.data / DROPPED})" if self.dropped else ""
        tables = f", put in order: {' '.join(self.repaired)} (old ones in {BACKUP})" if self.repaired else ""
        gone = f", kept {len(self.gone)} recordings that are not there now: {some(self.gone)}" if self.gone else ""
        return (
            f"kept {len(kept)} of {total} utterances of {len(set(kept.values()))} speakers, "
            f"dropped {len(self.dropped)}{note}{tables}{gone}"
        )

    def require_audio(self) -> None:
        """Raises InputError when recordings are not there now."""
        if self.gone:
            cure = "Mount the disk that holds them; where they are gone for good, prepare the data without them"
            found = f"{len(self.gone)} recordings that are not there ({some(self.gone)})"
            raise InputError(self.data.path, found, "the audio that was prepared", rerun("", cure))
