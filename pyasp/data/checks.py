"""What is wrong with a data directory, and mending it: Kaldi's validate_data_dir.sh and fix_data_dir.sh, with the cuts.

The rules: utt2spk with at least one entry, every speaker a prefix of his utterances, spk2utt its inverse, tables sorted
in C locale and over the utterances (or speakers, or recordings) of utt2spk, audio that is there, models of known
recordings. `problems` changes nothing. `Checker` drops what tables do not agree on, lists it in `dropped.tsv` with its
reason and keeps the old tables in `.backup`. Audio that is not there now is no reason: its disk may come back.
"""

import json
import math
import os
import sys
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from pyasp.audio.cut_files import audio_fault, audio_files, read_cuts, write_cuts
from pyasp.audio.decoders import file_of
from pyasp.audio.folders import some
from pyasp.audio.headers import Header, read_headers
from pyasp.audio.recording import seconds_within
from pyasp.core.errors import InputError, rerun
from pyasp.core.files import link_or_copy
from pyasp.data.datadir import INFO, DataDir, c_sorted, invert, joined, read_reasons, write_reasons
from pyasp.data.parts import CUTS, DROPPED, MODELS, keys_of, tables_of
from pyasp.kaldi.names import parse_location

MIN_DURATION = 0.025  # seconds; shorter than one analysis window
COVERING = ("wav.scp", "segments", "feats.scp", "vad.scp", "utt2dur", "utt2num_frames")  # every utterance is in them
PATHS = ("wav.scp", "feats.scp", "vad.scp")  # whose entries say where something lies
NEAR = 0.1  # seconds (and a hundredth) by which utt2dur may be off: it may be rounded, or counted in frames
BACKUP = ".backup"
PREFIX = (
    "Ids are not changed, which other lists may have: ./run.sh --corpus folder --kaldi-data DIR puts the speakers first"
)
LEAVE_OUT = rerun(  # the way out of a recording of the evaluation that cannot be used
    "prepare",
    "Put a usable recording in its place, or take it out of the data and of trial lists that name it",
    force=True,
    then=True,
)


def number(text: str) -> float:
    """The number that a text is, NaN where it is none."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def too_short(seconds: float) -> str:
    """Why so much audio cannot be used; "" where it can."""
    return f"{seconds:.3f} s is shorter than one analysis window" if seconds < MIN_DURATION else ""


def add_dropped(directory: DataDir, reasons: Mapping[str, str]) -> None:
    """Adds {utterance: reason} to a directory's dropped.tsv; what earlier steps listed stays as it is."""
    listed = read_reasons(directory / DROPPED)
    if reasons.keys() - listed.keys() or not (directory / DROPPED).is_file():
        write_reasons(directory / DROPPED, {**reasons, **listed})


def problems(path: str | Path) -> Iterator[str]:
    """Each thing that is wrong, in a line. Raises InputError where a table cannot be read at all."""
    checker = Checker(path)
    if not checker.data.utt2spk:
        yield "utt2spk: empty"
        return
    checker.look()
    yield from checker.faulty_tables()
    if checker.faults:
        found = f"{len(checker.faults)} utterances cannot be used (first: {first(checker.faults)})"
        yield f"audio or segments: {found}; pyasp data fix leaves them out"
    if checker.gone:
        yield f"audio: {len(checker.gone)} files are not there (first: {checker.gone[0]})"
    if wrong := checker.wrong_seconds():
        utt, told = next(iter(wrong)), checker.data.read("utt2dur")
        shown = f"{utt}: {told[utt]} s, where there are {wrong[utt]:.3f}"
        yield f"utt2dur: {len(wrong)} entries are not the audio's (first: {shown})"
    for name in ("feats.scp", "vad.scp"):
        if lost := [utt for utt, entry in checker.data.read_if_there(name).items() if _leads_nowhere(entry, utt)]:
            yield f"{name}: {len(lost)} entries lead to no file (first: {lost[0]}: {checker.data.read(name)[lost[0]]})"
    if strangers := {utt for utts in checker.data.models.values() for utt in utts} - set(checker.data.utt2spk):
        yield f"{MODELS}: {len(strangers)} unknown recordings (first: {min(strangers)})"


def _leads_nowhere(entry: str, utt: str) -> bool:
    """Whether the file of an entry of a script file is not there, or ends before the place that it names."""
    if not entry:
        return True
    place = parse_location(entry, allow_commands=True, item=utt)
    if place.command:
        return False  # it is not run here
    return not os.path.isfile(place.path) or os.path.getsize(place.path) <= place.offset


def first(reasons: Mapping[str, str]) -> str:
    """The first of {utterance: reason}, for a message."""
    return next(f"{utt}: {reason}" for utt, reason in reasons.items())


def keep_old(path: Path) -> None:
    """Keeps a file that is to be replaced as .backup/NAME beside it; what was there before as NAME.1, NAME.2 ..."""
    kept = path.parent / BACKUP / path.name
    kept.parent.mkdir(exist_ok=True)
    if kept.exists():
        number = next(n for n in range(1, sys.maxsize) if not kept.with_name(f"{path.name}.{n}").exists())
        kept.rename(kept.with_name(f"{path.name}.{number}"))
    link_or_copy(path, kept)


class Checker:
    """What is wrong with one data directory, and mending it. `look` finds all that the rules say; `check` decides what
    of it is dropped; `fix` writes.

    By table: lacking and strangers (keys), twice (keys of lines that are there again), unsorted. By utterance: faults,
    of audio or stretches that cannot be used; dropped, with reasons. gone: audio files that are not there now;
    unprefixed: utterances that do not begin with their speaker. repaired: {table that was changed: keys that it lost};
    corrected: how many entries of utt2dur.
    """

    def __init__(self, path: str | Path):
        self.twice: dict[str, list[str]] = {}
        self.data = DataDir(path, self.twice)
        self.data.require("utt2spk")
        self.lacking: dict[str, list[str]] = {}
        self.strangers: dict[str, list[str]] = {}
        self.unsorted: list[str] = []
        self.unprefixed: list[str] = []
        self.faults: dict[str, str] = {}
        self.gone: list[str] = []
        self.headers: Mapping[str, Header | str] = {}
        self.dropped: dict[str, str] = {}
        self.repaired: dict[str, list[str]] = {}
        self.corrected = 0
        self.cuts: dict[str, str] = {}

    # what is wrong

    def look(self) -> None:
        """Finds what is wrong. Raises InputError where a table cannot be read at all."""
        spk = self.data.utt2spk
        self.unprefixed = [utt for utt, each in spk.items() if not each or " " in each or not utt.startswith(each)]
        for name in ["utt2spk", *tables_of(self.data)]:
            table = self.data.read(name)
            wanted: Collection[str] = spk.keys() if name in COVERING else ()
            if name == "wav.scp" and self.data.has("segments"):
                wanted = {self.data.recording(utt) for utt in spk} - {""}
            named = [key for key, entry in table.items() if entry or name not in PATHS]
            self._compare(name, named, keys_of(self.data, spk, name), wanted)
        if self.data.has(CUTS):
            self._read_cuts()
            self._compare(CUTS, list(self.cuts), spk.keys(), spk.keys())
        self._listen()

    def _note(self, where: dict[str, list[str]], name: str, keys: list[str]) -> None:
        if keys:
            where[name] = keys

    def _compare(self, name: str, keys: list[str], known: Collection[str], wanted: Collection[str]) -> None:
        self._note(self.strangers, name, [key for key in keys if key not in known])
        self._note(self.lacking, name, c_sorted(set(wanted) - set(keys)))
        self.unsorted += [name] if keys != c_sorted(keys) and name != CUTS else []

    def _read_cuts(self) -> None:
        for utt, line in read_cuts(self.data / CUTS):
            if utt in self.cuts:
                raise InputError(self.data / CUTS, "a second cut of this id", "unique ids", rerun("prepare"), item=utt)
            self.cuts[utt] = line

    def _audio(self) -> Iterator[tuple[str, list[str], dict[str, Any] | None]]:
        """(utterance, its audio files, its cut where there are cuts); commands are not run, what they decode counts."""
        entries = self.data.read_if_there("wav.scp") if not self.data.has(CUTS) else {}
        for utt in self.data.utt2spk:
            if self.data.has(CUTS):
                cut = json.loads(self.cuts[utt]) if utt in self.cuts else {}
                yield utt, audio_files(cut), cut
            else:
                file = file_of(entries.get(self.data.recording(utt), ""))
                yield utt, [file] if file else [], None

    def _listen(self) -> None:
        """Audio that is not there, or does not hold what it and its cuts say."""
        self.headers = headers = read_headers(path for _, files, _ in self._audio() for path in files)
        gone = {path for path in headers if not os.path.isfile(path)}
        for utt, files, cut in self._audio():
            try:
                seconds = self._seconds(utt, files, cut)
                fault = too_short(seconds) if seconds is not None else ""
            except (InputError, ValueError) as error:  # a stretch that cannot be, or that its recording does not hold
                fault = getattr(error, "fault", str(error))
            lost = [] if fault else [path for path in files if path in gone]
            self.gone += lost
            if not fault and not lost:
                unread = (reason for reason in map(headers.get, files) if isinstance(reason, str))
                fault = (audio_fault(cut, headers) or "") if cut else next(unread, "")
            if fault:
                self.faults[utt] = fault
        self.gone = list(dict.fromkeys(self.gone))

    def wrong_seconds(self) -> dict[str, float]:
        """{utterance: seconds} where utt2dur says others than cuts, segments or headers; after `look`."""
        told = self.data.read_if_there("utt2dur")
        known = {
            utt: self._seconds(utt, files, cut)
            for utt, files, cut in self._audio()
            if utt in told and utt not in self.faults
        }
        return {
            utt: seconds
            for utt, seconds in known.items()
            if seconds is not None and not abs(number(told[utt]) - seconds) <= NEAR + 0.01 * seconds
        }

    def _seconds(self, utt: str, files: list[str], cut: dict[str, Any] | None) -> float | None:
        """How long an utterance is; None where that is not known without running a command.

        Raises InputError or ValueError for a stretch that cannot be.
        """
        if cut is not None:
            return cut.get("duration", 0.0)
        if self.data.segments and utt not in self.data.segments:
            return None
        _, start, seconds = self.data.stretch(utt, {self.data.recording(utt)})
        header = self.headers.get(files[0]) if files else None
        return seconds_within(start, seconds, header.rate, header.samples) if isinstance(header, Header) else seconds

    def faulty_tables(self) -> Iterator[str]:
        """What is wrong with tables, in lines."""
        if self.unprefixed:
            found = f"{len(self.unprefixed)} utterances whose speaker is not their prefix"
            yield f"utt2spk: {found} ({some(self.unprefixed)}): {PREFIX}"
        if self.data.has("spk2utt") and self._inverse() != list(self.data.read("spk2utt").items()):
            yield "spk2utt: not the inverse of utt2spk"
        yield from (f"{name}: not sorted in C locale" for name in self.unsorted)
        yield from (f"{name}: {len(keys)} unknown keys (first: {keys[0]})" for name, keys in self.strangers.items())
        yield from (
            f"{name}: {len(keys)} keys in several lines (first: {keys[0]})" for name, keys in self.twice.items()
        )
        for name, keys in self.lacking.items():
            entry = "path" if name in PATHS else "entry"
            yield f"{name}: no {entry} for {len(keys)} of {len(self.data.utt2spk)} (first: {keys[0]})"

    def _inverse(self, kept: Mapping[str, str] | None = None) -> list[tuple[str, str]]:
        """What spk2utt should say."""
        return list(joined(invert(kept or self.data.utt2spk)).items())

    # what goes

    def check(self) -> None:
        """Fills `dropped` too; raises InputError where nothing sensible can be done."""
        self.look()
        if self.unprefixed and self.data.has(CUTS):
            utt = self.unprefixed[0]
            found = f"speaker {self.data.utt2spk[utt]!r} of {len(self.unprefixed)} utterances"
            expected = "one word, a prefix of the utterance id (Kaldi's sorting rule)"
            raise InputError(self.data / "utt2spk", f"{found} ({some(self.unprefixed)})", expected, PREFIX, item=utt)
        needed = [name for name in ((CUTS,) if self.data.has(CUTS) else COVERING) if name in self.lacking]
        lost = {name: set(self.lacking[name]) for name in needed}
        for utt in self.data.utt2spk:
            reasons = (self._reason(utt, name) for name in needed if self._key(utt, name) in lost[name])
            if reason := next(reasons, "") or self.faults.get(utt, ""):
                self.dropped[utt] = reason
        if len(self.dropped) == len(self.data.utt2spk):
            told = first(self.dropped) if self.dropped else "an empty utt2spk"
            raise InputError(self.data.path, "no usable utterance", "at least one", f"See the reasons, e.g. {told}")

    def _key(self, utt: str, name: str) -> str:
        return self.data.recording(utt) if name == "wav.scp" else utt

    def _reason(self, utt: str, name: str) -> str:
        recording = self._key(utt, name)
        entry = "path" if name in PATHS else "entry"
        return f"no {entry} in {name}" if recording == utt else f"no recording {recording} in {name}"

    def fix(self) -> None:
        """Rewrites every table over the kept utterances, sorted, where that changes it; the old ones are kept."""
        kept = {utt: spk for utt, spk in self.data.utt2spk.items() if utt not in self.dropped}
        models = self._kept_models(kept)
        # first: once a table is without an utterance, its reason could not be found again
        add_dropped(self.data, self.dropped)
        keys = {name: keys_of(self.data, kept, name) for name in tables_of(self.data)}  # before segments lose any
        seconds = {utt: f"{each:.4f}" for utt, each in self.wrong_seconds().items() if utt in kept}
        self.corrected = len(seconds)
        if self.data.has(CUTS) and list(self.cuts) != c_sorted(kept):
            self._changed(CUTS)
            write_cuts(self.data / CUTS, [self.cuts[utt] for utt in c_sorted(kept)])
        for name, known in keys.items():
            self._fix_table(name, known, seconds if name == "utt2dur" else {})
        if models != self.data.models:
            self._changed(MODELS)
            self.data.write_models(models)
        info = list(self.data.info)
        if info != c_sorted(info) or not set(info) <= set(kept):  # else the file stays untouched
            self._changed(INFO)
            self.data.write_info({utt: row for utt, row in self.data.info.items() if utt in kept})
        self._fix_speakers(kept)

    def _changed(self, name: str) -> None:
        self.repaired[name] = [*self.strangers.get(name, ()), *(f"{key} again" for key in self.twice.get(name, ()))]
        keep_old(self.data / name)

    def _fix_table(self, name: str, keys: set[str], right: Mapping[str, str]) -> None:
        """A table with no known key at all is of another kind, and is left alone; right: values that it gets."""
        table = self.data.read(name)
        kept = {key: right.get(key, value) for key, value in table.items() if key in keys}
        if kept and (kept != table or name in self.unsorted or name in self.twice):
            self._changed(name)
            self.data.write(name, kept)

    def _fix_speakers(self, kept: dict[str, str]) -> None:
        there = list(self.data.read_if_there("spk2utt").items())
        if list(self.data.utt2spk) != c_sorted(kept) or "utt2spk" in self.twice or there != self._inverse(kept):
            for name in ("utt2spk", *["spk2utt"] * self.data.has("spk2utt")):
                self._changed(name)
            self.data.write_speakers(kept)

    def _kept_models(self, kept: Mapping[str, str]) -> dict[str, list[str]]:
        """Models without their dropped recordings. InputError for one that loses all of them: its trials would hang."""
        models = {}
        for model, utts in self.data.models.items():
            unknown = [utt for utt in utts if utt not in kept and utt not in self.dropped]
            models[model] = [utt for utt in utts if utt in kept]
            if unknown:
                cure = rerun("prepare", "Correct the enrolment table", force=True, then=True)
                found = f"unknown utterance {unknown[0]!r}"
                raise InputError(self.data / MODELS, found, "utterances of this directory", cure, item=model)
            if not models[model]:
                reasons = some(f"{utt}: {self.dropped[utt]}" for utt in utts)
                found = f"no usable recording ({reasons})"
                raise InputError(self.data / MODELS, found, "at least one", LEAVE_OUT, item=model)
        return models

    def told(self) -> str:
        """What was kept, what goes with the first reasons, what was put in order, what is not there, in a line."""
        total, kept = len(self.data.utt2spk), {u: s for u, s in self.data.utt2spk.items() if u not in self.dropped}
        reasons = some(f"{utt}: {reason}" for utt, reason in self.dropped.items())
        note = f" ({reasons}; all of them in {self.data / DROPPED})" if self.dropped else ""
        changed = [f"{name} (without {some(keys)})" if keys else name for name, keys in self.repaired.items()]
        tables = f", put in order: {' '.join(changed)} (old ones in {BACKUP})" if changed else ""
        gone = f", kept {len(self.gone)} recordings that are not there now: {some(self.gone)}" if self.gone else ""
        corrected = f", set {self.corrected} entries of utt2dur to what the audio is" if self.corrected else ""
        return (
            f"kept {len(kept)} of {total} utterances of {len(set(kept.values()))} speakers, "
            f"dropped {len(self.dropped)}{note}{tables}{corrected}{gone}"
        )

    def require_audio(self) -> None:
        """Raises InputError when recordings are not there now."""
        if self.gone:
            cure = "Mount the disk that holds them; where they are gone for good, prepare the data without them"
            found = f"{len(self.gone)} recordings that are not there ({some(self.gone)})"
            raise InputError(self.data.path, found, "the audio that was prepared", rerun("", cure, then=True))
