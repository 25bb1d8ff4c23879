"""Tables of NIST SRE12: target speakers (both generations),
the trial key, and finding recordings by their paths' ends."""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice, takewhile
from pathlib import Path
from typing import NamedTuple, TypeVar

from pyasp.audio.folders import audio_below
from pyasp.core.errors import InputError
from pyasp.core.text import open_text, read_lines
from pyasp.data.datadir import GENDERS

KEY = "docs/NIST_SRE12_core_trial_key.v1.csv"
TABLES = "docs/NIST_SRE12_target_speaker_tables_v*"
Plan = TypeVar("Plan")
CONDITIONS = ("cc1", "cc2", "cc3", "cc4", "cc5")
SIDES = {"a": 0, "b": 1, "x": 0, "": 0}
FLAGS = {"Y": True, "N": False}


def rows(table: Path, fields: int, separator: str | None = ",") -> Iterator[tuple[int, list[str]]]:
    """(line number, stripped cells) of each line that is not empty. Raises InputError for a line with too few cells."""
    with open(table, encoding="utf-8-sig", errors="replace") as stream:
        for number, line in enumerate(stream, 1):
            cells = [cell.strip() for cell in line.split(separator)]
            if line.strip() and len(cells) < fields:
                found, cure = f"{len(cells)} fields ({line.strip()[:60]!r})", "The layout has changed: report the line"
                raise InputError(table, found, f"at least {fields}", cure, item=f"line {number}")
            if line.strip():
                yield number, cells


class Side(NamedTuple):
    """One channel of a recording as the tables name it."""

    path: str
    side: str


@dataclass
class Targets:
    """sides: {speaker: enrolment sides, in the tables' order}; gender: {speaker: m or f}; summed: sides dropped."""

    sides: dict[str, list[Side]] = field(default_factory=dict)
    gender: dict[str, str] = field(default_factory=dict)
    summed: int = 0
    files: list[str] = field(default_factory=list)


def read_side(text: str, where: object) -> Side:
    """`path:side`. Raises InputError for a side other than a or b."""
    path, _, side = text.rpartition(":") if ":" in text else (text, "", "")
    if side.lower() not in SIDES or not path:
        raise InputError(where, repr(text), "path:a or path:b", "Fetch the table again")
    return Side(path, side.lower())


def read_targets(root: Path) -> Targets:
    """Both generations of target speaker tables, merged;
    recordings in `summed` folders (two speakers) dropped and counted."""
    maps = sorted(root.glob(f"{TABLES}/*target_speaker_2_files_map*.txt"))
    tables = sorted(root.glob(f"{TABLES}/*speakertable*.csv"))
    if not maps or not tables:
        expected, cure = "at least one of each", "Point --root at LDC2016E45_2012_NIST_SRE, with its docs/ unpacked"
        raise InputError(root / TABLES, f"{len(maps)} file maps and {len(tables)} speaker tables", expected, cure)
    targets, summed = Targets(files=[str(path) for path in maps + tables]), set()
    for path in maps:
        for number, line in enumerate(read_lines(path), 1):
            speaker, _, rest = line.strip().replace("\t", " ").partition(" ")
            if not speaker:
                continue
            kept = targets.sides.setdefault(speaker, [])
            for text in filter(None, (each.strip() for each in rest.split(","))):
                side = read_side(text, f"{path}: line {number}")
                if "summed" in side.path:
                    summed.add((speaker, side))
                elif side not in kept:
                    kept.append(side)
    for path in tables:
        targets.gender.update(_genders(path))
    targets.summed = len(summed)
    return targets


def _genders(path: Path) -> Iterator[tuple[str, str]]:
    for number, (speaker, gender, *_) in islice(rows(path, 2), 1, None):
        if gender.lower() not in GENDERS:
            raise InputError(path, f"gender {gender!r}", "m or f", "Fetch the table again", item=f"line {number}")
        yield speaker, GENDERS[gender.lower()]


class TestSide(NamedTuple):
    """What a line of the key says after its speaker; conditions: indices into CONDITIONS whose flag is Y."""

    segment: str
    side: str
    target: bool
    known: str
    conditions: tuple[int, ...]


def trial_type(text: str, where: object) -> tuple[bool, str]:
    """(is target, known or unknown) of a trial type such as target, known_target, known_nontarget, unknown_non_target.

    A target's speaker is known by definition. Raises InputError for a type that fits neither.
    """
    word = text.strip().lower().replace("_", "").replace("-", "").replace(" ", "")
    if word in ("target", "knowntarget"):
        return True, "known"
    if word.endswith("nontarget"):
        return False, "unknown" if word.startswith("unknown") else "known"
    found = f"trial type {text!r}"
    raise InputError(where, found, "target, known_target or a non-target type", "Report the line: the key has changed")


def segment_name(text: str) -> str:
    """The segment of a key's path or name, without directory, `.sph` and `_sre12`."""
    name = text.strip().rsplit("/", 1)[-1]
    name = name[:-4] if name.lower().endswith(".sph") else name
    return name[:-6] if name.endswith("_sre12") else name


def read_key(path: Path, plan: Callable[[TestSide], Plan]) -> Iterator[tuple[str, Plan]]:
    """(speaker, plan of the rest of the line) of each trial, one after the other (a hundred million do not fit).

    Lines differ in little after the speaker: `plan` is asked once for each different rest, and its answers are kept
    (some hundred bytes for each side, type and set of conditions). Raises InputError naming the first bad line.
    """
    plans: dict[str, Plan] = {}
    with open_text(path) as stream:
        next(stream, None)
        for number, line in enumerate(stream, 2):
            speaker, _, rest = line.partition(",")
            try:
                yield speaker, plans[rest]
            except KeyError:
                if line.strip():
                    plans[rest] = plan(_parse(rest, path, number))
                    yield speaker, plans[rest]


def _parse(rest: str, path: Path, number: int) -> TestSide:
    """A line of the key without its speaker. Raises InputError naming the line."""
    cells, where = [cell.strip() for cell in rest.split(",")], f"{path}: line {number}"
    if len(cells) < 9:
        raise InputError(where, f"{len(cells) + 1} fields", "10 or more", "Fetch the key again")
    conditions = _conditions(tuple(cells[4:9]), where)
    return TestSide(segment_name(cells[0]), cells[1], *trial_type(cells[2], where), conditions)


def find_key(root: Path) -> Path:
    """The trial key. Raises InputError when it is not there."""
    if not (root / KEY).is_file():
        raise InputError(root / KEY, "no such file", "the trial key", "Point --root at LDC2016E45_2012_NIST_SRE")
    return root / KEY


def _conditions(marks: tuple[str, ...], where: str) -> tuple[int, ...]:
    wrong = [mark for mark in marks if mark.strip().upper() not in FLAGS]
    if wrong:
        raise InputError(where, f"condition flag {wrong[0]!r}", "Y or N", "Fetch the key again")
    return tuple(index for index, mark in enumerate(marks) if FLAGS[mark.strip().upper()])


class AudioFiles:
    """Audio files under some directories, found by the end of the path a table gives."""

    def __init__(self, roots: Iterable[str]):
        self._by_name: dict[str, list[str]] = defaultdict(list)
        self._roots = [os.path.abspath(root) for root in roots]
        for root in self._roots:
            if not os.path.isdir(root):
                raise InputError(root, "no such directory", "the root of a corpus", "Check the option that names it")
        self.paths = audio_below(*self._roots)
        for path in self.paths:
            self._by_name[_stem(path)].append(path)

    def below(self, path: str) -> str:
        """A found file's path below its root."""
        return next(path[len(root) + 1 :] for root in self._roots if path.startswith(root + os.sep))

    def find(self, name: str) -> str | None:
        """The file whose path agrees with `name` in most directories from the end; None when no file has its name."""
        candidates = self._by_name.get(_stem(name), ())
        if len(candidates) <= 1:
            return candidates[0] if candidates else None
        wanted = name.lower().split("/")[-2::-1]
        return max(candidates, key=lambda path: _agreement(path.lower().split("/")[-2::-1], wanted))


def _stem(path: str) -> str:
    name = path.rsplit("/", 1)[-1]
    return name.rsplit(".", 1)[0].lower() if "." in name else name.lower()


def _agreement(found: list[str], wanted: list[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(found, wanted)))
