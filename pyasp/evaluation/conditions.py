"""Conditions of a trial: what is known about its model and its test recording (speakers, genders, durations, phones).

All of it comes from the data directories beside the trial lists (data/<corpus>/{enroll,test}); tables that a corpus
does not have are left out. Columns by which results can be split: those of `<list>.tsv`, then for each side what its
recordings say; a model whose recordings disagree is `mixed`.
"""

from bisect import bisect
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir
from pyasp.data.trials import Columns, TrialList
from pyasp.evaluation.bootstrap import Speakers

SECONDS = (2, 5, 10, 20, 40, 80, 160)  # limits of the duration classes of corpora that bring none
SECOND_CLASSES = ("<2", "2-5", "5-10", "10-20", "20-40", "40-80", "80-160", "160+")
RECORDINGS = (2, 3, 4, 6, 11)  # limits of the classes of numbers of enrolment recordings
RECORDING_CLASSES = ("1", "2", "3", "4-5", "6-10", "11+")
MOST_VALUES = 12  # a column with more values does not split results
NO_SPLIT = {"session", "seconds", "sample_rate", "path", "duration_class"}
INPUTS = ("utt2spk", "model2utts", "spk2gender", "utt2dur", "utt2info.tsv")


def agreed(values: Sequence[str]) -> str:
    """The value that all share, or `mixed`; `unknown` when there is none."""
    found = {value or "unknown" for value in values}
    return found.pop() if len(found) == 1 else "mixed" if found else "unknown"


class Evaluation:
    """The enrolment and test recordings of a corpus, read when first asked for.

    directory: data/<corpus>; enroll, test: names of the data directories in it (the dev trials have `dev` on both).
    """

    def __init__(self, directory: str | Path, enroll: str = "enroll", test: str = "test"):
        self.enroll, self.test = (DataDir(Path(directory) / name) for name in (enroll, test))

    @property
    def known(self) -> bool:
        """False for trial lists that lie alone, without the corpus's directories."""
        return self.enroll.has("model2utts") and self.enroll.has("utt2spk") and self.test.has("utt2spk")

    def inputs(self) -> list[Path]:
        """The tables that columns and speakers come from."""
        paths = dict.fromkeys(data / name for data in (self.enroll, self.test) for name in INPUTS)
        return [path for path in paths if path.is_file()] if self.known else []

    def speakers(self, trials: TrialList) -> tuple[list[str], np.ndarray, np.ndarray]:
        """Names of the speakers of a list, and the number of the speaker of each trials.models and trials.tests.

        A test recording of a target trial has its model's speaker, even where its own entry is the recording itself.
        """
        model = [self.enroll.utt2spk.get(self.enroll.model2utts.get(name, [name])[0], name) for name in trials.models]
        test = [self.test.utt2spk.get(name, name) for name in trials.tests]
        for i, j in set(zip(trials.model[trials.target].tolist(), trials.test[trials.target].tolist())):
            test[j] = model[i]
        names = sorted({*model, *test})
        number = {name: index for index, name in enumerate(names)}
        of_model, of_test = (np.array([number[name] for name in each], np.int32) for each in (model, test))
        return names, of_model, of_test

    def trial_speakers(self, trials: TrialList) -> tuple[list[str], Speakers]:
        """Names of the speakers, and their numbers for each trial."""
        names, model, test = self.speakers(trials)
        return names, Speakers(model[trials.model], test[trials.test], len(names))

    def qualities(self, trials: TrialList, names: Sequence[str]) -> np.ndarray:
        """Natural logarithms (N, Q) of quality measures of each trial, in the order of `names` (variants.QUALITIES)."""
        enroll, test, recordings = self.enroll.seconds, self.test.seconds, self.enroll.model2utts
        of_model, of_test = (trials.models, trials.model), (trials.tests, trials.test)
        measures: dict[str, tuple[Callable[[str], float], tuple[list[str], np.ndarray]]] = {
            "enroll_seconds": (lambda model: sum(enroll[utt] for utt in recordings[model]), of_model),
            "test_seconds": (lambda utt: test[utt], of_test),
            "enroll_utts": (lambda model: len(set(recordings[model])), of_model),
        }
        unknown = [name for name in names if name not in measures]
        if unknown:
            raise InputError("--quality", unknown[0], " or ".join(measures), "Correct backend.conf")
        columns = [
            np.log([measure(each) for each in ids])[index] for measure, (ids, index) in map(measures.__getitem__, names)
        ]
        return np.column_stack(columns) if columns else np.zeros((len(trials), 0))

    def halves(self, trials: TrialList, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Half (0 or 1) of the enrolment and of the test speaker of each trial; every list divides speakers alike."""
        both = (self.enroll, self.test)
        everyone = sorted({speaker for data in both for speaker in data.utt2spk.values()})
        genders = {data.utt2spk[utt]: gender for data in both for utt, gender in data.gender.items()}
        half = dict(zip(everyone, halves(everyone, genders, seed).tolist()))
        names, speakers = self.trial_speakers(trials)
        of = np.array([half[name] for name in names])
        return of[speakers.enroll], of[speakers.test]

    # ---- columns

    def _columns(self, side: str, recordings: Callable[[str], list[str]]) -> dict[str, Callable[[str], str]]:
        """{column: value of a model (side enroll) or of a test recording}, of what its recordings are."""
        data = self.enroll if side == "enroll" else self.test
        seconds, gender = data.seconds, data.gender
        infos = [data.info, self.test.info]  # a recording of both sets may be described in one alone

        def agree(of: Callable[[str], str]) -> Callable[[str], str]:
            return lambda name: agreed([of(utt) for utt in recordings(name)])

        def told(column: str, utt: str) -> str:
            return next(filter(None, (info.get(utt, {}).get(column) for info in infos)), "")

        def total(name: str) -> float:
            return sum(seconds.get(utt, 0.0) for utt in recordings(name))

        columns: dict[str, Callable[[str], str]] = {}
        if side == "enroll":
            columns["enroll_utts"] = lambda model: RECORDING_CLASSES[bisect(RECORDINGS, len(set(recordings(model))))]
        if seconds:
            columns[f"{side}_seconds"] = lambda name: SECOND_CLASSES[bisect(SECONDS, total(name))]
        if gender:
            columns[f"{side}_gender"] = agree(lambda utt: gender.get(utt, ""))
        for column in dict.fromkeys(name for info in infos[::-1] for row in info.values() for name in row):
            if column not in NO_SPLIT:
                columns[f"{side}_{column}"] = agree(partial(told, column))
        return columns

    def columns(self, trials: TrialList, given: Columns) -> Columns:
        """`given` (of the list's .tsv), then what the data directories add; only what splits the list in a few
        parts."""
        found = dict(given)
        if not self.known:
            return found
        of_models = self._columns("enroll", self.enroll.model2utts.__getitem__)
        of_tests = self._columns("test", lambda utt: [utt])
        for columns, ids, index in ((of_models, trials.models, trials.model), (of_tests, trials.tests, trials.test)):
            for name, value in columns.items():
                if name not in found and (column := _coded([value(each) for each in ids], index)):
                    found[name] = column
        return found


def _coded(values: list[str], index: np.ndarray) -> tuple[list[str], np.ndarray] | None:
    """(values in order, codes (N,) uint8 of each trial), or None when they are one or too many."""
    names = sorted(Counter(values))
    if not 2 <= len(names) <= MOST_VALUES:
        return None
    rank = {name: number for number, name in enumerate(names)}
    return names, np.array([rank[value] for value in values], np.uint8)[index]


def halves(names: list[str], gender: Mapping[str, str], seed: int) -> np.ndarray:
    """A seeded division of speakers into two halves, (S,) of 0 and 1, every gender divided alike."""
    generator, order = np.random.default_rng([seed, 4]), []
    for each in sorted({gender.get(name, "") for name in names}):
        members = [number for number, name in enumerate(names) if gender.get(name, "") == each]
        order += generator.permutation(members).tolist()
    half = np.empty(len(names), np.int64)
    half[order] = np.arange(len(names)) % 2
    return half
