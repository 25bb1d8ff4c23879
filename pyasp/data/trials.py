"""Trial lists as integer arrays: 9 bytes a trial plus the ids once, so 100 million trials fit in 1 GB.

A list has lines `<model> <test> target|nontarget`. It is streamed in blocks of lines, never held as text. Beside it,
`<list>.tsv` (header, then one line per trial) may hold further columns; categorical ones become 1 byte a trial.
"""

import itertools
from array import array
from codecs import BOM_UTF8
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from pyasp.core.errors import InputError
from pyasp.core.text import open_text
from pyasp.data.datadir import check_width

BLOCK_BYTES = 1 << 22  # text taken at a time: about 100 000 trials
SORTED_AT_ONCE = 10_000_000  # trials whose keys are sorted together when duplicates are counted
TRIAL = "<model> <test> target|nontarget"
LABELS = {b"target": True, b"nontarget": False}
WORDS = {  # what others call them
    **dict.fromkeys(("target", "tgt", "tar", "genuine", "client", "same", "true", "1"), True),
    **dict.fromkeys(("nontarget", "non-target", "nontgt", "non", "imp", "impostor", "different", "false", "0"), False),
}
IS_SPACE = np.isin(np.arange(256), list(b" \t\n\r\v\f"))  # as bytes.split() sees it
MAX_VALUES = 50  # a column with more distinct values is not a category

Columns = dict[str, tuple[list[str], np.ndarray]]  # {column: (values, their codes (N,) uint8)}


@dataclass(frozen=True)
class TrialList:
    """models, tests: the ids that occur or were given; model, test (N,) int32 index them; target (N,) bool."""

    models: list[str]
    tests: list[str]
    model: np.ndarray
    test: np.ndarray
    target: np.ndarray

    def __len__(self) -> int:
        return len(self.target)


def _index(known: Iterable[bytes] = ()) -> defaultdict[Any, int]:
    """{id: number}, the known ones first; an id that is not in it yet gets the next number when it is asked for."""
    numbers = {key: number for number, key in enumerate(known)}
    return defaultdict(itertools.count(len(numbers)).__next__, numbers)


def columns_of(lines: list[bytes], first: int, path: object, shape: str) -> list[list[bytes]]:
    """The columns of a block of lines that all look like `shape`; `first` is the number of its first line.

    All lines are split at once; where words and line ends lie is checked as arrays. InputError names a wrong line.
    """
    text, fields = b"".join(lines), len(shape.split())
    data = np.frombuffer(text if text.endswith(b"\n") or not text else text + b"\n", np.uint8)
    space = IS_SPACE[data]
    starts = ~space
    starts[1:] &= space[:-1]
    counts = np.diff(np.cumsum(starts, dtype=np.int32)[data == ord("\n")], prepend=0)
    if (counts != fields).any():
        wrong = int((counts != fields).argmax())
        found = repr(lines[wrong].rstrip(b"\r\n").decode(errors="replace"))
        raise InputError(path, found, shape, "Correct the line", item=f"line {first + wrong}")
    words = text.split()
    return [words[k::fields] for k in range(fields)]


def blocks(stream: IO[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """(number of the first line, a block of lines)."""
    first = 1
    while lines := stream.readlines(BLOCK_BYTES):
        if first == 1:
            lines[0] = lines[0].removeprefix(BOM_UTF8)
        yield first, lines
        first += len(lines)


class TrialReader:
    """Collects a list block by block; ids that `models` and `tests` name beforehand have their numbers."""

    def __init__(self, path: str | Path, models: Iterable[str] = (), tests: Iterable[str] = ()):
        self.path, self.ids = path, (_index(map(str.encode, models)), _index(map(str.encode, tests)))
        self.numbers, self.target = (array("i"), array("i")), bytearray()

    def add(self, first: int, lines: list[bytes]) -> list[list[bytes]]:
        """Takes a block of lines and returns its columns. InputError on a line that is no trial."""
        columns = columns_of(lines, first, self.path, TRIAL)
        for numbers, index, column in zip(self.numbers, self.ids, columns):
            numbers.extend(map(index.__getitem__, column))
        try:
            self.target.extend(bytes(map(LABELS.__getitem__, columns[2])))
        except KeyError:
            wrong, label = next((i, label) for i, label in enumerate(columns[2]) if label not in LABELS)
            found, line = repr(label.decode(errors="replace")), f"line {first + wrong}"
            raise InputError(self.path, found, "target or nontarget", "Correct the third field", item=line) from None
        return columns

    def trials(self) -> TrialList:
        """What was read. InputError on ids that are not UTF-8."""
        try:
            models, tests = ([key.decode() for key in index] for index in self.ids)
        except UnicodeDecodeError:
            raise InputError(self.path, "an id that is not UTF-8", "UTF-8 text", "Convert the file to UTF-8") from None
        model, test = (np.frombuffer(numbers, np.int32) for numbers in self.numbers)
        return TrialList(models, tests, model, test, np.frombuffer(self.target, bool))


def read_trials(
    path: str | Path,
    models: list[str] | None = None,
    tests: list[str] | None = None,
    both_classes: bool = True,
    say: bool = True,
) -> TrialList:
    """Reads a list; with `models` or `tests` given, their order numbers the ids and any other id is an InputError.

    InputError also on a malformed line, an empty list, and (with `both_classes`) a list without targets or without
    nontargets. With `say` prints how many trials are listed twice; the same pair under both labels is an InputError.
    """
    reader = TrialReader(path, models or (), tests or ())
    with open(path, "rb") as stream:
        for first, lines in blocks(stream):
            reader.add(first, lines)
    trials = reader.trials()
    _check_known(path, trials.models, models, "models")
    _check_known(path, trials.tests, tests, "test recordings")
    check_classes(int(trials.target.sum()), len(trials), path, both_classes)
    _count_duplicates(trials, path, say)
    return trials


def _check_known(path: object, ids: list[str], known: list[str] | None, what: str) -> None:
    if known is not None and len(ids) > len(known):
        unknown = ids[len(known) :]
        expected, cure = f"only ids of the {len(known)} known {what}", "Correct the list, or add the recordings"
        raise InputError(path, f"{len(unknown)} unknown {what} (first: {', '.join(unknown[:3])})", expected, cure)


def check_classes(targets: int, trials: int, path: object, both_classes: bool = True) -> None:
    """InputError on an empty list or, with `both_classes`, one that lacks targets or nontargets."""
    if not trials:
        raise InputError(path, "an empty trial list", "at least one trial", "Check how the list was made")
    if both_classes and targets in (0, trials):
        found = f"{trials} trials, every one of them {'target' if targets else 'nontarget'}"
        cure = "Check its labels: one class alone has no error rates"
        raise InputError(path, found, "target and nontarget trials", cure)


def count_duplicates(trials: TrialList) -> tuple[int, int]:
    """Numbers of trials listed before: (under the same label, under the other one).

    Keys are sorted one range of models at a time, so that the memory stays bounded.
    """
    parts = -(-len(trials) // SORTED_AT_ONCE)
    same = other = 0
    for part in range(parts):
        chosen = slice(None) if parts == 1 else trials.model % parts == part
        key = trials.model[chosen].astype(np.int64) * len(trials.tests) + trials.test[chosen]
        key = np.sort(2 * key + trials.target[chosen])
        repeated = key[1:] >> 1 == key[:-1] >> 1
        other += int((repeated & (key[1:] != key[:-1])).sum())
        same += int((key[1:] == key[:-1]).sum())
    return same, other


def _count_duplicates(trials: TrialList, path: object, say: bool) -> None:
    same, other = count_duplicates(trials)
    if other:
        found = f"{other} pairs listed as target and as nontarget"
        raise InputError(path, found, "one label per pair", "Correct the labels of the list")
    if same and say:
        print(f"{path}: {same} of {len(trials)} trials are listed more than once; each line counts")


def trial_lists(directory: str | Path) -> list[str]:
    """Names of the lists in data/<corpus>/trials (files without a suffix of ours), sorted."""
    names = (path.name for path in Path(directory).iterdir() if path.is_file())
    return sorted(name for name in names if not name.startswith(".") and not name.endswith((".tsv", ".json")))


def read_categories(path: str | Path, count: int) -> Columns:
    """Categorical columns of a `<list>.tsv`: {column: (values in C order, their codes (count,) uint8)}.

    None when there is no such file; a column with more than 50 distinct values is left out. InputError unless header +
    `count` lines of equal width.
    """
    if not Path(path).is_file():
        return {}
    with open_text(path) as stream:
        header = stream.readline().rstrip("\n").split("\t")
        indices, codes = [_index() for _ in header], [bytearray() for _ in header]
        number = 1
        for number, line in enumerate(stream, 2):
            row = line.rstrip("\n").split("\t")
            check_width(len(row), len(header), path, number, "Correct the line")
            for index, column, value in zip(indices, codes, row):
                if len(index) <= MAX_VALUES:
                    column.append(index[value])
    if number - 1 != count:
        found, expected = f"{number - 1} lines after the header", f"{count}, one per trial"
        raise InputError(path, found, expected, "Make both files together")
    few = [(name, index, column) for name, index, column in zip(header, indices, codes) if len(index) <= MAX_VALUES]
    return {name: _in_order(index, column) for name, index, column in few}


def _in_order(index: Mapping[str, int], codes: bytearray) -> tuple[list[str], np.ndarray]:
    values = sorted(index)
    rank = np.empty(len(values), np.uint8)
    rank[[index[value] for value in values]] = np.arange(len(values))
    return values, rank[np.frombuffer(codes, np.uint8)]
