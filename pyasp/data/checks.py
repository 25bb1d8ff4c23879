"""Check and fix data directories: one class that finds every problem, and mends or refuses it.

Follows the rules of Kaldi's validate_data_dir.sh and fix_data_dir.sh: C-sorted unique ids, the speaker a prefix of the
utterance id, tables over the same utterances. What can be dropped is dropped, counted and listed in `dropped.tsv`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

from pyasp.audio.cut_files import audio_fault, audio_files, read_cuts, write_cuts
from pyasp.audio.headers import Header, read_headers
from pyasp.core.errors import InputError, rerun
from pyasp.core.files import atomic_write
from pyasp.core.text import read_lines
from pyasp.data.datadir import INFO, DataDir, c_sorted, utt_of

MIN_DURATION = 0.025  # seconds; shorter than one analysis window
BY_UTTERANCE = (
    *("utt2dur", "wav.scp", "segments", "feats.scp", "vad.scp"),
    *("utt2num_frames", "utt2num_voiced", "utt2num_silent"),
)
BY_SPEAKER = ("spk2gender",)


def read_dropped(path: str | Path) -> dict[str, str]:
    """{utterance: reason} of a dropped.tsv; empty when there is none."""
    rows = read_lines(path)[1:] if Path(path).is_file() else []
    return {utt: reason or "no reason given" for utt, _, reason in (row.partition("\t") for row in rows)}


def write_dropped(path: str | Path, reasons: Mapping[str, str]) -> None:
    """Writes a dropped.tsv: header, then utterance and reason, C-sorted, atomically."""
    with atomic_write(path, "w") as stream:
        stream.write("\n".join(["utt\treason", *(f"{utt}\t{reasons[utt]}" for utt in c_sorted(reasons))]) + "\n")


def _audio_problem(line: str | None, headers: Mapping[str, Header | str]) -> str | None:
    if line is None:
        return "no entry in cuts.jsonl.gz"
    cut = json.loads(line)
    if cut.get("duration", 0.0) < MIN_DURATION:
        return f"{cut.get('duration', 0.0):.3f} s is shorter than one analysis window"
    return audio_fault(cut, headers)


class Checker:
    """Finds the utterances of one data directory that cannot be used, and the tables that disagree."""

    def __init__(self, path: str | Path):
        self.data = DataDir(path)
        self.data.require("utt2spk", "cuts.jsonl.gz")
        self.dropped: dict[str, str] = {}
        self.repaired: list[str] = []
        self.cuts: dict[str, str] = {}

    def check(self) -> None:
        """Fills `dropped` ({utterance: reason}); raises InputError where nothing sensible can be done."""
        self._check_names()
        for utt, line in read_cuts(self.data / "cuts.jsonl.gz"):
            if utt in self.cuts:
                raise InputError(
                    self.data / "cuts.jsonl.gz", "a second cut of this id", "unique ids", rerun("prepare"), item=utt
                )
            self.cuts[utt] = line
        headers = read_headers(path for line in self.cuts.values() for path in audio_files(json.loads(line)))
        for utt in self.data.utt2spk:
            reason = _audio_problem(self.cuts.get(utt), headers)
            if reason:
                self.dropped[utt] = reason
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

    def fix(self) -> None:
        """Rewrites every table over the kept utterances, sorted; writes dropped.tsv with the reasons."""
        self.write_dropped()  # first: once a table is without an utterance, its reason could not be found again
        kept = {utt: spk for utt, spk in self.data.utt2spk.items() if utt not in self.dropped}
        if self.dropped or list(self.cuts) != c_sorted(kept):
            self.repaired.append("cuts.jsonl.gz")
            write_cuts(self.data / "cuts.jsonl.gz", [self.cuts[utt] for utt in c_sorted(kept)])
        keyed_by_recording = {"wav.scp"} if self.data.has("segments") else set()
        for name in (name for name in BY_UTTERANCE if name not in keyed_by_recording):
            self._fix_table(name, kept)
        for name in BY_SPEAKER:
            self._fix_table(name, set(kept.values()))
        if self.data.has("model2utts"):
            self._fix_models(kept)
        if self.data.has(INFO):
            self._fix_info(kept)
        self.data.write_speakers(kept)

    def _fix_table(self, name: str, keys) -> None:
        if not self.data.has(name):
            return
        table = self.data.read(name)
        wrong = [key for key in table if key not in keys]
        if wrong or list(table) != c_sorted(table):
            self.repaired.append(name)
            self.data.write(name, {key: value for key, value in table.items() if key in keys})

    def _fix_info(self, kept) -> None:
        lines = read_lines(self.data / INFO) or [""]
        utts = [utt_of(row) for row in lines[1:]]
        if utts != c_sorted(utts) or not set(utts) <= set(kept):  # else the file stays untouched
            self.repaired.append(INFO)
            self.data.write_info(lines, kept)

    def _fix_models(self, kept) -> None:
        """A model loses its dropped recordings; one that loses all of them stops the stage (its trials would hang)."""
        models, changed = {}, False
        for model, utts in self.data.model2utts.items():
            unknown = [utt for utt in utts if utt not in kept and utt not in self.dropped]
            good = [utt for utt in utts if utt in kept]
            if unknown or not good:
                raise InputError(
                    self.data / "model2utts",
                    f"unknown utterance {unknown[0]!r}" if unknown else "no usable recording",
                    "utterances of this directory",
                    rerun("prepare", "Correct the enrolment table"),
                    item=model,
                )
            changed |= good != utts
            models[model] = " ".join(good)
        if changed:
            self.repaired.append("model2utts")
            self.data.write("model2utts", models)

    def write_dropped(self) -> None:
        """Adds this check's drops to dropped.tsv (header utt, reason), keeping what earlier steps listed."""
        path = self.data / "dropped.tsv"
        write_dropped(path, {**self.dropped, **read_dropped(path)})

    def report(self) -> None:
        """Prints counts and the first reason."""
        total, first = len(self.data.utt2spk), next(iter(self.dropped.items()), None)
        speakers = len(set(spk for utt, spk in self.data.utt2spk.items() if utt not in self.dropped))
        note = f" (first: {first[0]}: {first[1]})" if first else ""
        tables = f", put in order: {' '.join(self.repaired)}" if self.repaired else ""
        print(
            f"{self.data.path}: kept {total - len(self.dropped)} of {total} utterances of {speakers} speakers, "
            f"dropped {len(self.dropped)}{note}{tables}",
            file=sys.stderr,
        )
