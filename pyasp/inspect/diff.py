"""Two files or directories side by side: keys only in one, the largest and the mean deviation, and where it is.

Every kind is turned into {key: value} first: arrays of archives, script files, models and checkpoints; numbers of
score files; text of tables and options. Arrays and numbers are compared by difference, everything else by equality.
"""

import filecmp
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from pyasp.core.errors import InputError
from pyasp.inspect.arrays import load_checkpoint, load_numpy
from pyasp.inspect.kind import kind_of
from pyasp.inspect.texts import flat, lines_of, load_json, objects
from pyasp.kaldi import ScpReader, read_ark
from pyasp.kaldi.items import Array, Number, read_items
from pyasp.kaldi.tables import load

Entries = Iterator[tuple[str, Any]]
TIMES = {"seconds", "frames_per_second", "data_wait", "peak_fraction"}  # of a run's log: never twice the same


@dataclass
class Difference:
    """What compare found. largest: (deviation, key, position in the value); kinds of file when they differ."""

    name: str
    only_a: list[str] = field(default_factory=list)
    only_b: list[str] = field(default_factory=list)
    differing: list[str] = field(default_factory=list)  # beyond the tolerance, or unequal
    reasons: dict[str, str] = field(default_factory=dict)  # of values that cannot be subtracted
    common: int = 0
    total: float = 0.0
    numbers: int = 0
    largest: tuple[float, str, tuple[int, ...]] = (0.0, "", ())

    @property
    def equal(self) -> bool:
        """True when nothing differs beyond the tolerance."""
        return not (self.only_a or self.only_b or self.differing)

    @property
    def mean(self) -> float:
        """Mean absolute deviation of all numbers compared."""
        return self.total / self.numbers if self.numbers else 0.0


# ---------------------------------------------------------------- files as {key: value}


def _scp(path: str) -> Entries:
    reader = ScpReader(path)
    return ((key, reader[key]) for key in reader)


def _model(path: str) -> Entries:
    counts: Counter[str] = Counter()
    for item in read_items(path)[1]:
        if isinstance(item, (Number, Array)):
            counts[item.name] += 1
            number = counts[item.name]
            yield f"{item.name}{number if number > 1 else ''}", np.asarray(item.value)


def _checkpoint(path: str) -> Entries:
    for name, leaf in load_checkpoint(path).items():
        yield name, leaf.detach().double().numpy() if hasattr(leaf, "detach") else leaf


def _npz(path: str) -> Entries:
    for name, array in load_numpy(path).items():
        yield name, array.tolist() if array.dtype.kind == "U" else array


def _jsonl(path: str) -> Entries:
    for number, value in enumerate(objects(path), 1):
        name = str(value["id"]) if isinstance(value, dict) and "id" in value else f"line {number}"
        yield from ((f"{name}.{key}" if key else name, leaf) for key, leaf in flat(value) if key not in TIMES)


def _lines(path: str) -> Entries:
    for number, text in enumerate(lines_of(path), 1):
        yield f"line {number}", text


def _pairs(split: Callable[[str], Sequence[str]]) -> Callable[[str], Entries]:
    """A reader of lines: `split` makes key and value of each, or fewer of one that has none."""
    return lambda path: ((pair[0], _number(pair[-1].strip())) for pair in map(split, lines_of(path)) if len(pair) > 1)


def _number(text: str) -> Any:
    try:
        return float(text)
    except ValueError:
        return text


_of_trial = _pairs(lambda text: " ".join(text.split()).rsplit(" ", 1))  # scores or labels
READERS: dict[str, Callable[[str], Entries]] = {
    "archive": lambda path: read_ark(f"ark:{path}"),
    "scp": _scp,
    "model": _model,
    "checkpoint": _checkpoint,
    "json": lambda path: flat(load_json(path)),
    "jsonl": _jsonl,
    "scores": _of_trial,
    "trials": _of_trial,
    "table": _pairs(lambda text: text.strip().partition(" ")),
    "conf": _pairs(lambda text: text.split("#")[0].strip().split("=", 1)),
    **dict.fromkeys(("tsv", "labelled scores", "posteriors", "gselect"), _lines),
    "array": lambda path: iter([("", load(path))]),
    "npz": _npz,
    "npy": lambda path: iter([("", np.asarray(load_numpy(path)))]),
}


# ---------------------------------------------------------------- values


def compare_values(result: Difference, key: str, a: Any, b: Any, tolerance: float) -> None:
    """Adds one pair of values to a result."""
    result.common += 1
    if not (_numbers(a) and _numbers(b)):
        why = f"{_short(a)} and {_short(b)}" if a != b else ""
    elif np.shape(a) != np.shape(b):
        why = f"shapes {np.shape(a)} and {np.shape(b)}"
    else:
        return _compare_arrays(result, key, np.asarray(a, np.float64), np.asarray(b, np.float64), tolerance)
    if why:
        result.differing.append(key)
        result.reasons[key] = why


def _numbers(value: Any) -> bool:
    """True of a number, an array, and a list of numbers."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, (int, float)) for each in value)
    return isinstance(value, (int, float, np.ndarray)) and not isinstance(value, bool)


def _compare_arrays(result: Difference, key: str, a: np.ndarray, b: np.ndarray, tolerance: float) -> None:
    """Equal infinities and NaN on both sides do not differ; NaN on one side is an infinite deviation."""
    same = (a == b) | (np.isnan(a) & np.isnan(b))
    with np.errstate(invalid="ignore"):
        deviation = np.where(same, 0.0, np.abs(a - b))
    deviation = np.where(np.isnan(deviation), np.inf, deviation)
    result.numbers += deviation.size
    if not deviation.size:
        return
    result.total += float(deviation.sum())
    most = float(deviation.max())
    if most > result.largest[0]:
        where = tuple(int(index) for index in np.unravel_index(deviation.argmax(), deviation.shape))
        result.largest = (most, key, where)
    if most > tolerance:
        result.differing.append(key)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else f"{text[:37]}..."


# ---------------------------------------------------------------- files and directories


def kind_for(path: str) -> str:
    """Kind of a file that can be compared. Raises InputError for others."""
    special = {"wav.scp": "table", "train.jsonl": "jsonl"}  # commands; an epoch alone is JSON by its look
    kind = special.get(Path(path).name) or kind_of(path)
    if kind not in READERS:
        expected = "an archive, model, table or scores"
        raise InputError(path, f"a file of kind {kind}", expected, "Compare the bytes with cmp")
    return kind


def compare_files(a: str, b: str, tolerance: float, name: str = "") -> Difference:
    """Compares two files of one kind, key by key. What a script file leads to is read one entry at a time.

    Raises InputError when they are of different kinds, or hold a key twice.
    """
    kinds = kind_for(a), kind_for(b)
    if kinds[0] != kinds[1] and not {"archive", "scp"}.issuperset(kinds):
        raise InputError(b, f"a file of kind {kinds[1]}", f"{kinds[0]}, as {a}", "Compare like with like")
    result, seen = Difference(name or a), set()
    first = ScpReader(a) if kinds[0] == "scp" else dict(_once(a, READERS[kinds[0]](a)))
    for key, value in _once(b, READERS[kinds[1]](b)):
        seen.add(key)
        if key in first:
            compare_values(result, key, first[key], value, tolerance)
        else:
            result.only_b.append(key)
    result.only_a = [key for key in first if key not in seen]
    return result


def _once(path: str, entries: Entries) -> Entries:
    """The entries of a file. Raises InputError when a key comes twice."""
    seen = set()
    for key, value in entries:
        if key in seen:
            raise InputError(path, f"the key {key} a second time", "each key once", "Repair the file")
        seen.add(key)
        yield key, value


def listing(directory: str) -> dict[str, str]:
    """{relative path: path} of the files of a directory that say what was computed: no logs, shards, records, locks."""
    found = {}
    for folder, folders, names in os.walk(directory):
        folders[:] = sorted(name for name in folders if name not in ("log", "shards", "mfcc", "vad", "sources"))
        for name in sorted(names):
            if not name.startswith(".") and not name.endswith((".made.json", ".ark", ".png", ".md", ".html", ".tmp")):
                path = os.path.join(folder, name)
                found[os.path.relpath(path, directory)] = path
    return found


def compare(a: str, b: str, tolerance: float) -> Iterator[Difference]:
    """Results of two files, or of every pair of files of two directories (files only in one come first).

    Script files are compared by what they lead to: the archives themselves are not listed. Raises InputError as
    compare_files, and when one is a directory and the other none.
    """
    if Path(a).is_dir() != Path(b).is_dir():
        raise InputError(b, "a directory and a file", "two of a kind", "Compare like with like")
    if not Path(a).is_dir():
        yield compare_files(a, b, tolerance)
        return
    left, right = listing(a), listing(b)
    both = [name for name in left if name in right]
    only_a, only_b = ([name for name in mine if name not in both] for mine in (left, right))
    yield Difference("files", only_a, only_b, common=len(both))
    for name in both:
        yield _compare_in_directory(left[name], right[name], tolerance, name)


def _compare_in_directory(a: str, b: str, tolerance: float, name: str) -> Difference:
    """As compare_files; files of kinds that have no keys by their bytes."""
    scp = name.endswith(".scp") and name != "wav.scp"
    if not scp and filecmp.cmp(a, b, shallow=False):
        return Difference(name, common=1)
    try:
        return compare_files(a, b, tolerance, name)
    except InputError as error:
        return Difference(name, differing=[name], reasons={name: str(error)}, common=1)


def finite(value: float) -> str:
    """A deviation in words."""
    return f"{value:.4g}" if math.isfinite(value) else "infinite"
