"""Trial lists as integer arrays: 9 bytes a trial plus the ids once, so 100 million trials fit in 1 GB.

A list has lines `<model> <test> target|nontarget`. It is streamed in blocks of lines, never held as text. Beside it,
`<list>.tsv` (header, then one line per trial) may hold further columns; categorical ones become 1 byte a trial.
"""

from __future__ import annotations

from array import array
from codecs import BOM_UTF8
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO

import numpy as np

from pyasp.core.errors import InputError
from pyasp.core.text import open_text

BLOCK_BYTES = 1 << 22  # text taken at a time: about 100 000 trials
SORTED_AT_ONCE = 10_000_000  # trials whose keys are sorted together when duplicates are counted
TRIAL, SCORED = "<model> <test> target|nontarget", "<model> <test> <score>"
LABELS = {b"target": True, b"nontarget": False}
IS_SPACE = np.isin(np.arange(256), list(b" \t\n\r\v\f"))  # as bytes.split() sees it
MAX_VALUES = 50  # a column with more distinct values is not a category


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


class _Index(dict):
    """id -> number; ids not seen before get the next one."""

    def __missing__(self, key: bytes | str) -> int:
        self[key] = len(self)
        return self[key]


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
        raise InputError(
            path,
            repr(lines[wrong].rstrip(b"\r\n").decode(errors="replace")),
            shape,
            "Correct the line",
            item=f"line {first + wrong}",
        )
    words = text.split()
    return [words[k::fields] for k in range(fields)]


def _blocks(stream: IO[bytes]) -> Iterator[tuple[int, list[bytes]]]:
    """(number of the first line, a block of lines)."""
    first = 1
    while lines := stream.readlines(BLOCK_BYTES):
        if first == 1:
            lines[0] = lines[0].removeprefix(BOM_UTF8)
        yield first, lines
        first += len(lines)


def _labels(column: list[bytes], first: int, path: object) -> bytes:
    try:
        return bytes(map(LABELS.__getitem__, column))
    except KeyError:
        wrong = next(i for i, label in enumerate(column) if label not in LABELS)
        raise InputError(
            path,
            repr(column[wrong].decode(errors="replace")),
            "target or nontarget",
            "Correct the third field",
            item=f"line {first + wrong}",
        ) from None


def _ids(index: _Index, path: object) -> list[str]:
    try:
        return [key.decode() for key in index]
    except UnicodeDecodeError:
        raise InputError(path, "an id that is not UTF-8", "UTF-8 text", "Convert the file to UTF-8") from None


def read_trials(
    path: str | Path, models: list[str] | None = None, tests: list[str] | None = None, both_classes: bool = True
) -> TrialList:
    """Reads a list; with `models` or `tests` given, their order numbers the ids and any other id is an InputError.

    InputError also on a malformed line, an empty list, and (with `both_classes`) a list without targets or without
    nontargets. Prints how many trials are listed twice; the same pair under both labels is an InputError.
    """
    model_index, test_index = _Index(), _Index()
    for index, known in ((model_index, models), (test_index, tests)):
        index.update({key.encode(): number for number, key in enumerate(known or ())})
    model, test, target = array("i"), array("i"), bytearray()
    with open(path, "rb") as stream:
        for first, lines in _blocks(stream):
            columns = columns_of(lines, first, path, TRIAL)
            model.extend(map(model_index.__getitem__, columns[0]))
            test.extend(map(test_index.__getitem__, columns[1]))
            target.extend(_labels(columns[2], first, path))
    model_ids, test_ids = _ids(model_index, path), _ids(test_index, path)
    _check_known(path, model_ids, models, "models")
    _check_known(path, test_ids, tests, "test recordings")
    trials = TrialList(
        model_ids, test_ids, np.frombuffer(model, np.int32), np.frombuffer(test, np.int32), np.frombuffer(target, bool)
    )
    check_classes(trials.target, path, both_classes)
    _count_duplicates(trials, path)
    return trials


def _check_known(path: object, ids: list[str], known: list[str] | None, what: str) -> None:
    if known is not None and len(ids) > len(known):
        unknown = ids[len(known) :]
        raise InputError(
            path,
            f"{len(unknown)} unknown {what} (first: {', '.join(unknown[:3])})",
            f"only ids of the {len(known)} known {what}",
            "Correct the list, or add the recordings",
        )


def check_classes(target: np.ndarray, path: object, both_classes: bool = True) -> None:
    """InputError on an empty list or, with `both_classes`, one that lacks targets or nontargets; target (N,) bool."""
    count = int(target.sum())
    if not target.size:
        raise InputError(path, "an empty list", "at least one trial", "Check how the list was made")
    if both_classes and count in (0, target.size):
        raise InputError(
            path,
            f"{target.size} trials, every one of them {'nontarget' if count == 0 else 'target'}",
            "target and nontarget trials",
            "Check the third field: one class alone has no error rates",
        )


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


def _count_duplicates(trials: TrialList, path: object) -> None:
    same, other = count_duplicates(trials)
    if other:
        raise InputError(
            path,
            f"{other} pairs listed as target and as nontarget",
            "one label per pair",
            "Correct the labels of the list",
        )
    if same:
        print(f"{path}: {same} of {len(trials)} trials are listed more than once; each line counts")


def trial_lists(directory: str | Path) -> list[str]:
    """Names of the lists in data/<corpus>/trials (files without a suffix of ours), sorted."""
    names = (path.name for path in Path(directory).iterdir() if path.is_file())
    return sorted(name for name in names if not name.startswith(".") and not name.endswith((".tsv", ".json")))


def read_scored(trials_path: str | Path, scores_path: str | Path) -> tuple[np.ndarray, TrialList]:
    """Scores (N,) float64 and the trials of a list and its score file, which must be line-aligned.

    Streams both. InputError on the first line whose pair differs, on lists of different length, on a score that is no
    number, and as `check_classes`.
    """
    model_index, test_index, model, test = _Index(), _Index(), array("i"), array("i")
    scores, target = array("d"), bytearray()
    with open(trials_path, "rb") as listed, open(scores_path, "rb") as scored:
        for first, lines in _blocks(listed):
            columns = columns_of(lines, first, trials_path, TRIAL)
            model.extend(map(model_index.__getitem__, columns[0]))
            test.extend(map(test_index.__getitem__, columns[1]))
            target.extend(_labels(columns[2], first, trials_path))
            found = columns_of(list(islice(scored, len(lines))), first, scores_path, SCORED)
            _check_pairs(columns, found, first, scores_path)
            scores.extend(_numbers(found[2], first, scores_path))
        if scored.readline():
            raise InputError(scores_path, f"more than {len(target)} lines", "one per trial", "Score this list again")
    trials = TrialList(
        _ids(model_index, trials_path),
        _ids(test_index, trials_path),
        np.frombuffer(model, np.int32),
        np.frombuffer(test, np.int32),
        np.frombuffer(target, bool),
    )
    check_classes(trials.target, trials_path)
    return np.frombuffer(scores, np.float64), trials


def _check_pairs(listed: list[list[bytes]], scored: list[list[bytes]], first: int, path: object) -> None:
    """InputError on the first line whose model or test differ, or where the scores end; both are columns of a block."""
    if listed[:2] == scored[:2]:
        return
    pairs, found = list(zip(*listed[:2])), list(zip(*scored[:2]))
    wrong = next((i for i, (pair, other) in enumerate(zip(pairs, found)) if pair != other), len(found))
    seen = b" ".join(found[wrong]).decode(errors="replace") if wrong < len(found) else "the end of the file"
    raise InputError(
        path,
        repr(seen),
        f"'{b' '.join(pairs[wrong]).decode(errors='replace')}' as in the trial list",
        "Score this list again",
        item=f"line {first + wrong}",
    )


def _numbers(column: list[bytes], first: int, path: object) -> list[float]:
    values: list[float] = []
    try:
        values.extend(map(float, column))
    except ValueError:
        raise InputError(
            path,
            repr(column[len(values)].decode(errors="replace")),
            "a number",
            "Score this list again",
            item=f"line {first + len(values)}",
        ) from None
    return values


def read_categories(path: str | Path, count: int) -> dict[str, tuple[list[str], np.ndarray]]:
    """Categorical columns of a `<list>.tsv`: {column: (values in C order, their codes (count,) uint8)}.

    A column with more than 50 distinct values is left out. InputError unless header + `count` lines of equal width.
    """
    with open_text(path) as stream:
        header = stream.readline().rstrip("\n").split("\t")
        indices, codes = [_Index() for _ in header], [bytearray() for _ in header]
        rows = (line.rstrip("\n").split("\t") for line in stream)
        number = 1
        for number, row in enumerate(rows, 2):
            if len(row) != len(header):
                raise InputError(
                    path,
                    f"{len(row)} fields",
                    f"{len(header)}, as in the header",
                    "Correct the line",
                    item=f"line {number}",
                )
            for index, column, value in zip(indices, codes, row):
                if len(index) <= MAX_VALUES:
                    column.append(index[value])
    if number - 1 != count:
        raise InputError(
            path, f"{number - 1} lines after the header", f"{count}, one per trial", "Make both files together"
        )
    return {
        name: _in_order(index, column)
        for name, index, column in zip(header, indices, codes)
        if len(index) <= MAX_VALUES
    }


def _in_order(index: Mapping[str, int], codes: bytearray) -> tuple[list[str], np.ndarray]:
    values = sorted(index)
    rank = np.empty(len(values), np.uint8)
    rank[[index[value] for value in values]] = np.arange(len(values))
    return values, rank[np.frombuffer(codes, np.uint8)]


def read_model2utts(path: str | Path) -> dict[str, list[str]]:
    """{model: recordings} of a `<model> <utt> <utt> ...` file. InputError on a model twice or without recordings."""
    models: dict[str, list[str]] = {}
    with open_text(path) as stream:
        for number, line in enumerate(stream, 1):
            model, *utts = line.split() or [""]
            if not utts or model in models:
                raise InputError(
                    path,
                    repr(line.rstrip("\n")[:80]),
                    "<model> <utt> <utt> ..., each model once",
                    "Correct the line",
                    item=f"line {number}",
                )
            models[model] = utts
    return models
