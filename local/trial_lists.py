"""Trial lists: `<model> <test> target|nontarget`, with line-aligned extra columns in `<list>.tsv`. Written as a stream.

A list of somebody else has its columns in one order throughout, and its labels in words that LABELS knows; what it says
is compared with what is known of its recordings, counted and said (`Check`).
"""

import contextlib
from array import array
from collections import Counter
from collections.abc import Callable, Collection, Container, Hashable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from pyasp.audio.folders import some
from pyasp.core.errors import InputError
from pyasp.core.files import absent, atomic_write
from pyasp.core.text import between, open_text
from pyasp.data.datadir import check_id
from pyasp.data.trials import WORDS as LABELS
from pyasp.data.trials import check_classes

WRONG, ITSELF = "against the speakers of their recordings", "of a recording against itself"
MIXED, AGAIN = "of a model with recordings of several speakers", "given before, which count twice"
TURNED = "of two recordings compared before, the other way about or by another name, which count twice"
FAULTS = (WRONG, ITSELF, MIXED, AGAIN, TURNED)
ORDERS = {"enrolment, test, label": (0, 1, 2), "label, enrolment, test": (1, 2, 0)}  # places of the three


class Stretch(NamedTuple):
    """Which sound an utterance is, whatever its names. recording: file and channel; start, end: seconds."""

    recording: Hashable
    start: float = 0.0
    end: float = float("inf")

    def overlaps(self, other: "Stretch") -> bool:
        """Whether more than a hundredth of a second is in both."""
        return self.recording == other.recording and min(self.end, other.end) - max(self.start, other.start) > 0.01


class Trial(NamedTuple):
    """One trial; columns are values for the `.tsv` beside the list."""

    model: str
    test: str
    target: bool
    columns: tuple[str, ...] = ()


def list_name(path: str | Path) -> str:
    """Key of a list in results.json: its file name without .gz and .txt."""
    return Path(path).name.removesuffix(".gz").removesuffix(".txt")


def by_name(paths: Iterable[str]) -> dict[str, str]:
    """{name of the list: path}. Raises InputError for two lists of one name, and for a name that is no list's."""
    found: dict[str, str] = {}
    for path in paths:
        name = list_name(path)
        if name.startswith(".") or name.endswith((".tsv", ".json")) or check_id(name, "trial list", "--trials") != name:
            told, expected = f"a list called {name}", "a name without a dot at its start, .tsv or .json at its end"
            raise InputError("--trials", told, expected, "Rename the file: such files stand beside lists", item=path)
        if found.setdefault(name, path) != path:
            wanted = "lists of different file names"
            raise InputError("--trials", f"two lists called {name}", wanted, "Rename one", item=path)
    return found


def read_label(text: str, where: object) -> bool:
    """True for a target trial. Raises InputError for any other word than LABELS, in upper or lower case."""
    if text.lower() not in LABELS:
        raise InputError(where, f"label {text!r}", f"one of {' '.join(LABELS)}", "Repair the line")
    return LABELS[text.lower()]


def read_lines(path: str | Path, fields: int) -> Iterator[tuple[str, list[str]]]:
    """(place, fields) of each line that is not empty; fields end at tabs where a line has just enough of them.

    Raises InputError on a missing file or another number of fields.
    """
    if not Path(path).is_file():
        raise InputError(path, absent(path), "a trial list", "Check the path given with --trials")
    with open_text(path) as stream:
        for number, line in enumerate(stream, 1):
            tabs = line.count("\t") == fields - 1
            parts = [part.strip() for part in line.split("\t")] if tabs else line.split()
            if parts and len(parts) != fields:
                mark = between(line) if len(parts) == 1 else ""
                told = f"{mark} between the fields" if mark else f"{len(parts)} fields"
                cure = f"Put blanks or tabs in place of the {mark}" if mark else "Repair the line"
                raise InputError(path, told, f"{fields} fields", cure, item=f"line {number}")
            if any(parts):
                yield f"{path}: line {number}", parts


def order_of(path: str | Path, known: Callable[[str, str], bool]) -> str:
    """The order of a whole list's columns, a key of ORDERS: by where labels can stand, else by which ids are known.

    known: whether two names are those of a model and of a test recording. Raises InputError where neither decides.
    """
    labelled, pairs, total, first = Counter(), Counter(), 0, ""
    for total, (_, words) in enumerate(read_lines(path, 3), 1):
        first = first or " ".join(words)
        labels = [name for name, places in ORDERS.items() if words[places[2]].lower() in LABELS]
        labelled.update(labels)
        if len(labels) > 1:
            pairs.update(name for name, (model, test, _) in ORDERS.items() if known(words[model], words[test]))
    if not total:
        raise InputError(path, "an empty trial list", "at least one trial a line", "Check the path given with --trials")
    fits = [name for name in ORDERS if labelled[name] == total]
    if len(fits) < 2:  # of none the better one: its first wrong line is told when it is read
        return max(ORDERS, key=labelled.__getitem__)
    fits = [name for name in ORDERS if pairs[name] == total] or [name for name in ORDERS if pairs[name]]
    if len(fits) != 1:
        told = f"labels in the first and in the third column (line 1: {first}), and ids that do not decide"
        raise InputError(path, told, "enrolment, test, label", "Write target and nontarget instead of 1 and 0")
    return fits[0]


class Check:
    """What a list says, against what is known of its recordings.

    models: {model: utterances}; speaker: of an utterance, "" where it is not known; sound: which sound it is.
    """

    def __init__(
        self, models: Mapping[str, Iterable[str]], speaker: Callable[[str], str], sound: Callable[[str], Stretch]
    ):
        self.models, self.speaker, self.sound = models, speaker, sound
        self.agree, self.disagree = Counter[bool](), Counter[bool]()
        self.found: Counter[str] = Counter()
        self.first: dict[str, str] = {}
        self._pairs, self._sounds = array("q"), array("q")  # hashes of all trials and of their sounds: eight bytes each
        self._known: dict[str, tuple[set[str], set[Stretch]]] = {}

    def _model(self, model: str) -> tuple[set[str], set[Stretch]]:
        if model not in self._known:
            utts = list(self.models[model])
            self._known[model] = {self.speaker(utt) for utt in utts} - {""}, {self.sound(utt) for utt in utts}
        return self._known[model]

    def see(self, trial: Trial) -> None:
        """Takes one trial."""
        (speakers, enrolled), tested = self._model(trial.model), self.speaker(trial.test)
        sound = self.sound(trial.test)
        right = len(speakers) != 1 or not tested or (tested in speakers) == trial.target
        if len(speakers) == 1 and tested:
            (self.agree if right else self.disagree)[trial.target] += 1
        itself = any(sound.overlaps(each) for each in enrolled)
        for what, so in ((WRONG, not right), (ITSELF, itself), (MIXED, len(speakers) > 1)):
            if so:
                self.found[what] += 1
                self.first.setdefault(what, f"{trial.model} {trial.test}")
        pair = trial.model, trial.test
        self._pairs.append(hash(pair))
        self._sounds.append(
            hash(frozenset((*enrolled, sound)) if len(enrolled) == 1 else pair)
        )  # the score is the same

    def counts(self, where: object) -> dict[str, int]:
        """{what is wrong: number of trials}, printed with the first of each. InputError for labels turned about."""
        wrong = self.disagree.total()
        if wrong and all(self.disagree[label] > self.agree[label] for label in (True, False)):
            found = f"{wrong} of {wrong + self.agree.total()} labels against the speakers of their recordings"
            cure = "The labels look turned about: correct them, or the speakers"
            raise InputError(where, found, "target where both are one speaker", cure, item=self.first[WRONG])
        again = _repeated(np.asarray(self._pairs))
        once = np.delete(np.arange(len(self._pairs)), again)
        for what, places in ((AGAIN, again), (TURNED, once[_repeated(np.asarray(self._sounds)[once])])):
            if len(places):
                self.found[what], self.first[what] = len(places), f"trial {places[0] + 1}"
        for what, count in self.found.items():
            print(f"warning: {where}: {count} trials {what} (first: {self.first[what]})")
        return {what: self.found[what] for what in FAULTS if self.found[what]}


def _repeated(keys: np.ndarray) -> np.ndarray:
    """The places in keys (N,) of those that are there before, ascending."""
    return np.delete(np.arange(len(keys)), np.unique(keys, return_index=True)[1])


class ListWriter:
    """An open list; see `open_list`. counts: {"target": n, "nontarget": n}."""

    def __init__(self, path: Path, stream: IO, table: IO | None):
        self.path, self._list, self._table = path, stream, table
        self.counts = {"target": 0, "nontarget": 0}

    @property
    def total(self) -> int:
        """Number of trials so far."""
        return sum(self.counts.values())

    def add(self, trial: Trial) -> None:
        """Appends one trial."""
        label = "target" if trial.target else "nontarget"
        self.put(f"{trial.model} {trial.test} {label}\n", "\t".join(trial.columns) + "\n", trial.target)

    def put(self, line: str, row: str, target: bool) -> None:
        """Appends one trial as the finished lines of the list and of the table beside it."""
        self.counts["target" if target else "nontarget"] += 1
        self._list.write(line)
        if self._table:
            self._table.write(row)


@contextlib.contextmanager
def open_list(directory: Path, name: str, columns: Collection[str], may_be_empty: bool = False) -> Iterator[ListWriter]:
    """A writer of trials/<name>, and trials/<name>.tsv when there are columns: trials are written as they come,
    atomically.

    At the end: InputError for a list of one class only, and for an empty one unless `may_be_empty` (then nothing is
    left).
    """
    path = directory / "trials" / name
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(atomic_write(path, "w"))
        table = stack.enter_context(atomic_write(Path(f"{path}.tsv"), "w")) if columns else None
        if table:
            table.write("\t".join(columns) + "\n")
        writer = ListWriter(path, stream, table)
        yield writer
        if writer.total or not may_be_empty:
            check_classes(writer.counts["target"], writer.total, path)
    if not writer.total:
        path.unlink()
        Path(f"{path}.tsv").unlink(missing_ok=True)


def write_list(
    directory: Path,
    name: str,
    trials: Iterable[Trial],
    columns: Collection[str],
    models: Container[str],
    tests: Container[str],
    check: Check | None = None,
    examples: tuple[str, str] = ("", ""),
    dropped: Mapping[str, str] = {},
) -> dict[str, int]:
    """Writes one list from an iterator; returns its counts, with those of `check`.

    examples: what models and test recordings may be called; dropped: why others cannot be used. Raises InputError as
    open_list, and for ids in no data set, of which it names several and tells the number.
    """
    unknown: dict[str, tuple[int, str]] = {}
    with open_list(directory, name, columns) as writer:
        for trial in trials:
            sides = ((trial.model, models), (trial.test, tests))
            for side, (each, known) in enumerate(sides):
                if each not in known:
                    unknown.setdefault(each, (side, f"{trial.model} {trial.test}"))
            if not unknown:
                writer.add(trial)
                if check:
                    check.see(trial)
        if unknown:
            raise _unknown(writer.path, unknown, examples, dropped)
    return {**writer.counts, **(check.counts(writer.path) if check else {})}


def _unknown(
    path: Path, unknown: Mapping[str, tuple[int, str]], examples: tuple[str, str], dropped: Mapping[str, str]
) -> InputError:
    if lost := [name for name in unknown if name in dropped]:
        found = f"{len(lost)} recordings that cannot be used ({some(f'{name}: {dropped[name]}' for name in lost)})"
        cure = "Repair them, or take their trials out of the list"
        return InputError(path, found, "usable ones in its trials", cure, item=unknown[lost[0]][1])
    (first, (side, trial)), *more = unknown.items()
    others = f", and {len(more)} more unknown ids ({some(name for name, _ in more)})" if more else ""
    such = f", such as {examples[side]}" if examples[side] else ""
    found, expected = f"{first!r} in a trial{others}", f"an id of {('enroll/model2utts', 'test/utt2spk')[side]}{such}"
    return InputError(path, found, expected, "Add it to the data or take the trial out of the list", item=trial)
