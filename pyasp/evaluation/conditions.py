"""What is known about the two sides of a trial: speakers, genders, durations, numbers of recordings, phones.

All of it comes from the data directories beside the trial lists (data/<corpus>/{enroll,test}); tables that a corpus
does
not have are left out. Columns by which results can be split: those of `<list>.tsv`, then for each side what its
recordings say; a model whose recordings disagree is `mixed`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir
from pyasp.data.trials import TrialList, read_categories
from pyasp.evaluation.bootstrap import Speakers

SECONDS = (2, 5, 10, 20, 40, 80, 160)  # limits of the duration classes of corpora that bring none
RECORDINGS = (1, 2, 3, 5, 10)  # upper ends of the classes of numbers of enrolment recordings
MOST_VALUES = 12  # a column with more values does not split results
NO_SPLIT = {"session", "seconds", "sample_rate", "path", "duration_class"}
INPUTS = ("utt2spk", "model2utts", "spk2gender", "utt2dur", "utt2info.tsv")

Columns = dict[str, tuple[list[str], np.ndarray]]  # {column: (values, their codes (N,) uint8)}


def class_of(value: float, limits: Sequence[float]) -> str:
    """'<2', '2-5', ..., '160+': the class of a duration in seconds."""
    rank = int(np.searchsorted(limits, value, "right"))
    if rank == 0:
        return f"<{limits[0]}"
    return f"{limits[rank - 1]}-{limits[rank]}" if rank < len(limits) else f"{limits[-1]}+"


def recordings_class(count: int) -> str:
    """'1', '2', '3', '4-5', '6-10', '11+': the class of a number of recordings."""
    rank = int(np.searchsorted(RECORDINGS, count))
    if rank == len(RECORDINGS):
        return f"{RECORDINGS[-1] + 1}+"
    low = RECORDINGS[rank - 1] + 1 if rank else 1
    return str(count) if low == RECORDINGS[rank] else f"{low}-{RECORDINGS[rank]}"


def agreed(values: Sequence[str]) -> str:
    """The value that all share, or `mixed`; `unknown` when there is none."""
    found = {value or "unknown" for value in values}
    return found.pop() if len(found) == 1 else "mixed" if found else "unknown"


@dataclass(frozen=True)
class Side:
    """One side's recordings: speaker, gender, seconds and further columns by recording."""

    data: DataDir

    def table(self, name: str) -> dict[str, str]:
        """A table of the directory, or nothing."""
        return self.data.read(name) if self.data.has(name) else {}

    @cached_property
    def speaker(self) -> dict[str, str]:
        """{recording: speaker}."""
        return self.data.utt2spk

    @cached_property
    def gender(self) -> dict[str, str]:
        """{recording: gender}; empty where the corpus has none."""
        known = self.table("spk2gender")
        return {utt: known[spk] for utt, spk in self.speaker.items() if spk in known}

    @cached_property
    def seconds(self) -> dict[str, float]:
        """{recording: seconds}."""
        return {utt: float(text) for utt, text in self.table("utt2dur").items()}


class Evaluation:
    """The enrolment and test side of a corpus, read when first asked for.

    directory: data/<corpus>; enroll, test: names of the data directories in it (the dev trials have `dev` on both).
    """

    def __init__(self, directory: str | Path, enroll: str = "enroll", test: str = "test"):
        self.enroll, self.test = (Side(DataDir(Path(directory) / name)) for name in (enroll, test))

    @property
    def known(self) -> bool:
        """False for trial lists that lie alone, without the corpus's directories."""
        return self.enroll.data.has("model2utts") and self.enroll.data.has("utt2spk") and self.test.data.has("utt2spk")

    def inputs(self) -> list[Path]:
        """The tables that columns and speakers come from."""
        paths = dict.fromkeys(side.data / name for side in (self.enroll, self.test) for name in INPUTS)
        return [path for path in paths if path.is_file()] if self.known else []

    @cached_property
    def model2utts(self) -> dict[str, list[str]]:
        """{model: recordings}."""
        return self.enroll.data.model2utts

    def genders(self) -> dict[str, str]:
        """{speaker: gender} of both sides."""
        return {side.speaker[utt]: gender for side in (self.enroll, self.test) for utt, gender in side.gender.items()}

    def speakers(self, trials: TrialList) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Names of the speakers of a list, and the number of the speaker of each trials.models and trials.tests.

        A test recording of a target trial has its model's speaker, even where its own entry is the recording itself.
        """
        model = [self.enroll.speaker.get(self.model2utts.get(name, [name])[0], name) for name in trials.models]
        test = [self.test.speaker.get(name, name) for name in trials.tests]
        for i, j in set(zip(trials.model[trials.target].tolist(), trials.test[trials.target].tolist())):
            test[j] = model[i]
        names = sorted({*model, *test})
        number = {name: index for index, name in enumerate(names)}
        return names, *(np.array([number[name] for name in each], np.int32) for each in (model, test))

    def trial_speakers(self, trials: TrialList) -> tuple[list[str], Speakers]:
        """Names of the speakers, and their numbers for each trial."""
        names, model, test = self.speakers(trials)
        return names, Speakers(model[trials.model], test[trials.test], len(names))

    def qualities(self, trials: TrialList, names: Sequence[str]) -> np.ndarray:
        """Natural logarithms (N, Q) of quality measures of each trial, in the order of `names` (variants.QUALITIES)."""
        seconds = self.enroll.seconds
        sides: dict[str, tuple[Callable[[str], float], list[str], np.ndarray]] = {
            "enroll_seconds": (
                lambda model: sum(seconds[utt] for utt in self.model2utts[model]),
                trials.models,
                trials.model,
            ),
            "test_seconds": (lambda utt: self.test.seconds[utt], trials.tests, trials.test),
            "enroll_utts": (lambda model: len(set(self.model2utts[model])), trials.models, trials.model),
        }
        unknown = [name for name in names if name not in sides]
        if unknown:
            raise InputError("--quality", unknown[0], " or ".join(sides), "Correct backend.conf")
        columns = [
            np.log([function(each) for each in ids])[index] for function, ids, index in map(sides.__getitem__, names)
        ]
        return np.column_stack(columns) if columns else np.zeros((len(trials), 0))

    def halves(self, trials: TrialList, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Half (0 or 1) of the enrolment and of the test speaker of each trial; every list divides speakers alike."""
        everyone = sorted({*self.enroll.speaker.values(), *self.test.speaker.values()})
        half = dict(zip(everyone, halves(everyone, self.genders(), seed).tolist()))
        names, speakers = self.trial_speakers(trials)
        of = np.array([half[name] for name in names])
        return of[speakers.enroll], of[speakers.test]

    # ---- columns

    def _model_columns(self) -> dict[str, Callable[[str], str]]:
        """{column: value of a model}."""
        seconds, gender, info = (
            self.enroll.seconds,
            self.enroll.gender,
            {**self.test.data.info, **self.enroll.data.info},
        )

        def total(model: str) -> str:
            return class_of(sum(seconds.get(utt, 0.0) for utt in self.model2utts[model]), SECONDS)

        def of(column: str) -> Callable[[str], str]:
            test = self.test.data.info  # a recording of both sets may be described in one alone
            return lambda model: agreed(
                [
                    info[utt].get(column) or test.get(utt, {}).get(column, "") if utt in info else ""
                    for utt in self.model2utts[model]
                ]
            )

        columns = {
            "enroll_utts": lambda model: recordings_class(len(set(self.model2utts[model]))),
            "enroll_seconds": total if seconds else None,
            "enroll_gender": (lambda model: agreed([gender.get(utt, "") for utt in self.model2utts[model]]))
            if gender
            else None,
        }
        names = dict.fromkeys(name for table in info.values() for name in table if name not in NO_SPLIT)
        columns.update({f"enroll_{name}": of(name) for name in names})
        return {name: function for name, function in columns.items() if function}

    def _test_columns(self) -> dict[str, Callable[[str], str]]:
        """{column: value of a test recording}."""
        seconds, gender, info = self.test.seconds, self.test.gender, self.test.data.info
        columns: dict[str, Callable[[str], str]] = {}
        if seconds:
            columns["test_seconds"] = lambda utt: class_of(seconds.get(utt, 0.0), SECONDS)
        if gender:
            columns["test_gender"] = lambda utt: gender.get(utt, "unknown")
        for name in dict.fromkeys(name for table in info.values() for name in table if name not in NO_SPLIT):
            columns[f"test_{name}"] = lambda utt, name=name: info.get(utt, {}).get(name) or "unknown"
        return columns

    def columns(self, trials: TrialList, given: Mapping[str, tuple[list[str], np.ndarray]]) -> Columns:
        """`given` (of the list's .tsv), then what the data directories add; only what splits the list in a few
        parts."""
        found = dict(given)
        if self.known:
            for columns, ids, index in (
                (self._model_columns(), trials.models, trials.model),
                (self._test_columns(), trials.tests, trials.test),
            ):
                for name, function in columns.items():
                    if name not in found and (column := _coded([function(each) for each in ids], index)):
                        found[name] = column
        return found


def _coded(values: list[str], index: np.ndarray) -> tuple[list[str], np.ndarray] | None:
    """(values in order, codes (N,) uint8 of each trial), or None when they are one or too many."""
    names = sorted(Counter(values))
    if not 2 <= len(names) <= MOST_VALUES:
        return None
    rank = {name: number for number, name in enumerate(names)}
    return names, np.array([rank[value] for value in values], np.uint8)[index]


def tsv_columns(path: str | Path, count: int) -> Columns:
    """The categorical columns of `<list>.tsv`, or none when there is no such file."""
    return dict(read_categories(path, count)) if Path(path).is_file() else {}


def halves(names: list[str], gender: Mapping[str, str], seed: int) -> np.ndarray:
    """A seeded division of speakers into two halves, (S,) of 0 and 1, every gender divided alike."""
    generator, order = np.random.default_rng([seed, 4]), []
    for each in sorted({gender.get(name, "") for name in names}):
        members = [number for number, name in enumerate(names) if gender.get(name, "") == each]
        order += generator.permutation(members).tolist()
    half = np.empty(len(names), np.int64)
    half[order] = np.arange(len(names)) % 2
    return half
