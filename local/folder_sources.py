"""Own data as a tree of audio files or as tables, and what every source fills, other toolkits' too (toolkit_sources).

A pool is utterances that nobody has divided into training and evaluation yet; a protocol is already divided. Names
that a user wrote and ids are two things: ids begin with their speaker, and one id is one recording in all sets; `Names`
leads from the ones to the others, for models and for test recordings apart.
"""

import os
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Container, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from math import inf, isnan
from pathlib import Path
from typing import Any

from local.common import Utterance, index_by_id, prefixed, walk_speakers
from local.trial_lists import Stretch
from pyasp.audio.folders import SUFFIXES, RealPaths, some
from pyasp.audio.headers import Header
from pyasp.core.errors import InputError
from pyasp.core.text import read_lines
from pyasp.data.checks import number
from pyasp.data.datadir import BAD_ID, GENDERS, gender_of, read_rows

JOINTS = ("-", "--", "---")  # of the parts of a path in an id: `ann/monday` may stand beside `ann-monday`
STRETCHES = "start begin onset end stop offset channel chan".split()  # columns that may say what of a file is meant
NOT_KEPT = ("utt", "model", "speaker", "path", "gender")  # columns that have a place of their own


def composed(text: str) -> str:
    """What a name looks like: a letter and its accent are one character, however they were typed."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)


class Names:
    """What trial lists may call one kind of thing: each name leads to one id, or is ambiguous.

    utterances: {id: utterance} of recordings that may go by their paths too, absolute or below `root`.
    """

    def __init__(self, kind: str, utterances: Mapping[str, Utterance], root: str = ""):
        self.kind, self.utterances, self.root = kind, utterances, root
        self._ids: dict[str, list[str]] = {}
        self._alike: dict[str, list[str]] = {}  # by what they look like
        self._places: Names | None = None

    def add(self, name: str, key: str) -> None:
        """A further name of an id."""
        _note(self._ids, name, key)
        if not name.isascii():
            _note(self._alike, composed(name), key)

    def know(self, names: Iterable[tuple[str, str]], utterances: Mapping[str, Utterance]) -> None:
        """These utterances, by further names (name, id) too."""
        self.utterances = utterances
        for name, key in [*names, *zip(utterances, utterances)]:
            self.add(name, key)

    def find(self, name: str, where: object) -> str | None:
        """The id; None where nothing has this name. Raises InputError for a name of several."""
        found = self._ids.get(name) or self._alike.get(composed(name), [])
        if len(found) > 1:
            told = f"{name!r}, a name of {len(found)} {self.kind} ({some(sorted(found))})"
            raise InputError(where, told, "names that one of them has", "Write these ids instead")
        if not found and "/" in name:
            return self._by_path(os.path.join(self.root, name), where)
        return found[0] if found else None

    def _by_path(self, path: str, where: object) -> str | None:
        if self._places is None:
            self._places, real = Names(self.kind, {}), RealPaths()
            for key, utt in self.utterances.items():
                self._places.add(real.of(utt.path)[1:], key)
        return self._places.find(os.path.realpath(path)[1:], where) if os.path.exists(path) else None

    def example(self, among: Container[str] | None = None) -> str:
        """Some of the names, for a message; among: ids that they may have."""
        return some([name for name, ids in self._ids.items() if among is None or ids[0] in among][:3])


def _note(ids: dict[str, list[str]], name: str, key: str) -> None:
    known = ids.setdefault(name, [key])
    if key not in known:
        known.append(key)


@dataclass
class OwnData:
    """What a reader found. where: the option's value; audio: headers of the files; told: what a manifest says of them;
    allow_commands: run what does more than decode a file.

    pool: not divided yet. Or train, enroll, test and models {model: utterances}; lists: trial lists that came with the
    data. hints: utterances whose channel counts only if their file has so many (Kaldi's reco2file_and_channel).
    """

    where: str = ""
    root: str = ""
    allow_commands: bool = False
    pool: dict[str, Utterance] = field(default_factory=dict)
    train: dict[str, Utterance] = field(default_factory=dict)
    enroll: dict[str, Utterance] = field(default_factory=dict)
    test: dict[str, Utterance] = field(default_factory=dict)
    models: dict[str, list[str]] = field(default_factory=dict)
    audio: dict[str, Header] = field(default_factory=dict)
    told: dict[str, Header] = field(default_factory=dict)
    lists: list[str] = field(default_factory=list)
    hints: set[str] = field(default_factory=set)
    dropped: dict[str, dict[str, str]] = field(default_factory=dict)  # {set: {utterance: reason}}
    lost: dict[str, str] = field(default_factory=dict)  # {recording or model that was left out: reason}
    drawn: tuple[dict[str, int], str] | None = None  # of trials that were drawn: counts, and how hard they are
    doubts: dict[str, str] = field(default_factory=dict)  # entries of the summary: whether it was read as it was meant
    real: RealPaths = field(default_factory=RealPaths)
    _owners: dict[str, Utterance] = field(default_factory=dict)  # {id: who has it in any set}

    def __post_init__(self) -> None:
        self.model_names = Names("models", {}, self.root)
        self.test_names = Names("test recordings", {}, self.root)

    def all(self) -> Iterator[Utterance]:
        """Every utterance of every set."""
        for group in (self.pool, self.train, self.enroll, self.test):
            yield from group.values()

    def place(self, utt: Utterance) -> tuple[Any, ...]:
        """Which recording or stretch of one an utterance is, whatever its names."""
        return self.real.sound(utt.path, utt.channel), utt.start, utt.seconds

    def sound(self, utt: Utterance) -> Stretch:
        """The same, to see what it shares with others."""
        end = inf if utt.seconds is None else utt.start + utt.seconds
        return Stretch(self.real.sound(utt.path, utt.channel), utt.start, end)

    def take(self, name: str, utterances: list[Utterance], where: object) -> dict[str, Utterance]:
        """Fills the set `name`; an id that another set gave to another recording becomes <speaker>-<name>-<rest>."""
        renamed = []
        index_by_id(utterances, where)  # before ids change: those of one set are the user's own
        for utt in utterances:
            if self.place(self._owners.get(utt.id, utt)) != self.place(utt):
                rest = utt.id[len(utt.speaker) :].lstrip("-")
                renamed.append(f"{utt.id} -> {utt.speaker}-{name}-{rest}")
                utt.id = f"{utt.speaker}-{name}-{rest}"
            utt.path = self._owners.setdefault(utt.id, utt).path  # the same file may have come under another name
        if renamed:
            told = f"{len(renamed)} ids are those of other recordings in another set, and get names of their own"
            print(f"{where}: {told}: {some(renamed)}")
        setattr(self, name, index_by_id(utterances, where))
        return getattr(self, name)

    def name_pool(self, names: list[tuple[str, str]]) -> None:
        """Of a pool every utterance may be a model and a test recording; (name, id) are its further names."""
        for each in (self.model_names, self.test_names):
            each.know(names, self.pool)


def know_speakers(source: OwnData, path: str) -> None:
    """Adds what a table knows of speakers (`speaker`, `gender` and any other column) to their utterances, where the
    source itself does not say it; prints whom the table lacks, and who is in the table alone."""
    rows = {usable(row["speaker"]): row for row in map(with_gender, read_rows(path, ("speaker",), key="speaker"))}
    speakers = {utt.speaker for utt in source.all()}
    for told, names in (
        ("have no line", speakers - set(rows)),
        ("of the table have no recording", set(rows) - speakers),
    ):
        if names:
            print(f"{path}: {len(names)} speakers {told}: {some(sorted(names))}")
    if not speakers & set(rows):
        found = "none of the speakers"
        raise InputError(path, found, f"names such as {some(sorted(speakers))}", "Check the column speaker")
    if other := sorted({utt.speaker for utt in source.all() if _contradicts(utt, rows.get(utt.speaker, {}))}):
        told = f"{path}: of {len(other)} speakers the data itself says something else, which counts: {some(other)}"
        source.doubts["warning of the speaker table"] = told
    for utt in source.all():
        row = rows.get(utt.speaker, {})
        utt.gender = utt.gender if gender_of(utt.gender) else row.get("gender") or utt.gender
        known = {name: value for name, value in row.items() if name not in NOT_KEPT and value}
        utt.info = known | {name: value for name, value in utt.info.items() if value}


def _contradicts(utt: Utterance, row: Mapping[str, str]) -> bool:
    """Whether an utterance is said to be of another gender, language, ... than a row of its speaker says."""
    genders = {gender_of(utt.gender), gender_of(row.get("gender", ""))} - {""}
    return len(genders) > 1 or any(value and row.get(name) not in (None, "", value) for name, value in utt.info.items())


def with_gender(row: dict[str, str]) -> dict[str, str]:
    """A table's row whose column gender may be called sex, in capitals or not; where there are both, and they differ,
    it is `m/f`, which is no gender."""
    told = {name: value for name, value in row.items() if name.lower() in ("gender", "sex")}
    rest = {name: value for name, value in row.items() if name not in told}
    values = dict.fromkeys(gender_of(value) or value.strip() for value in told.values())
    return {**rest, "gender": "/".join(filter(None, values))} if told else row


def settle_genders(source: OwnData) -> None:
    """Genders as a user wrote them become m and f; others are said, and count as not known."""
    other: dict[str, set[str]] = defaultdict(set)
    for utt in source.all():
        if not (found := gender_of(utt.gender)) and utt.gender.strip():
            other[utt.gender.strip()].add(utt.speaker)
        utt.gender = found
    if other:
        speakers = {speaker for each in other.values() for speaker in each}
        told = f"the gender of {len(speakers)} speakers is none of {' '.join(GENDERS)} ({some(sorted(other))})"
        print(f"warning: {source.where}: {told}: it counts as not known")


# ---------------------------------------------------------------- a tree


def from_tree(source: OwnData, root: str) -> None:
    """`<root>/<speaker>/[<session>/]<utterance>.<suffix>`; deeper directories belong to the session's name."""
    shape = "<speaker>/[<session>/]<utterance>.wav"
    if not os.path.isdir(root):
        raise InputError(root, "no such directory", f"a tree of audio, {shape}", "Check --root")
    tree = walk_speakers(root)
    if not tree.files:
        raise InputError(root, "no audio file", " ".join(SUFFIXES), "Check --root, or describe the data in --tables")
    parts = [tree.below(path).split(os.sep) for path in tree.files]
    loose = [part[0] for part in parts if len(part) < 2]
    if loose:
        cure = "Put each speaker's files into a directory, or describe the data in --tables"
        found = f"{len(loose)} audio files without a speaker's directory"
        raise InputError(root, found, shape, cure, item=some(loose))
    say_empty_speakers(root, {part[0] for part in parts})
    if doubt := doubt_of_levels(parts):
        source.doubts["warning of levels"] = f"{root}: {doubt}"
    ids = tree_ids(root, parts)
    pool = [
        Utterance(name, usable(part[0]), path, info={"session": "-".join(part[1:-1])} if len(part) > 2 else {})
        for name, part, path in zip(ids, parts, tree.files)
    ]
    source.take("pool", pool, root)
    known = dict(zip(tree.files, ids))
    again = [(tree.below(path).split(os.sep), known[first]) for path, first in tree.second_names()]
    source.name_pool([(name, key) for part, key in [*zip(parts, ids), *again] for name in path_names(part)])


SUBSETS = (*("train", "training", "dev", "test", "val", "valid", "validation", "eval", "evaluation"), "enroll", "enrol")


def doubt_of_levels(parts: list[list[str]]) -> str:
    """Why the uppermost folders may be no speakers ; "" where nothing speaks for it."""
    deep = [part for part in parts if len(part) > 3]
    above: dict[str, set[str]] = defaultdict(set)  # {folder of the second level: those of the first that have one}
    for part in parts:
        if len(part) > 2:
            above[part[1]].add(part[0])
    speakers, shared = {part[0] for part in parts}, [name for name, owners in above.items() if len(owners) > 1]
    subsets = sorted(name for name in speakers if name.lower() in SUBSETS)
    cure = f"{len(speakers)} uppermost folders are taken for speakers ({some(sorted(speakers))}): if they are none, "
    if 2 * len(subsets) >= len(speakers):
        where = f"Parts of a corpus are called so ({some(subsets)})"
        return f"{cure}give --root one level deeper, or --tables. {where}"
    if 2 * len(deep) > len(parts):
        where = f"Recordings such as {'/'.join(deep[0])} lie three folders deep"
        return f"{cure}give --root one level deeper, or --tables. {where}"
    if len(shared) > len(speakers) and 2 * len(shared) > len(above):
        where = f"{len(shared)} folders below ({some(sorted(shared))}) are in several of them"
        return f"{cure}turn the tree about, or give --tables. {where}"
    return ""


def path_names(part: list[str]) -> tuple[str, ...]:
    """What a list may call the recording at a path below the root: with its suffix or without, `-` in place of `/`."""
    bare = [*part[:-1], part[-1].rsplit(".", 1)[0]]
    return "/".join(part), "/".join(bare), "-".join(bare), "-".join(map(usable, bare))


def say_empty_speakers(root: str, speakers: set[str]) -> None:
    """Prints which folders of speakers hold no recording."""
    with os.scandir(root) as entries:
        folders = {entry.name for entry in entries if entry.is_dir() and not entry.name.startswith(".")}
    if empty := sorted(folders - speakers):
        print(f"{root}: {len(empty)} of {len(folders)} folders hold no recording: {some(empty)}")


def usable(name: str) -> str:
    """A file's or folder's name as (part of) an id: what Kaldi's tables cannot hold becomes `_`."""
    return BAD_ID.sub("_", composed(name))


def tree_ids(root: str, parts: list[list[str]]) -> list[str]:
    """Ids from the file names where these tell all files apart, else from the whole paths, joined by what does.

    Prints which names had to be changed. Raises InputError where that makes one speaker of two.
    """
    speakers: dict[str, set[str]] = defaultdict(set)
    for part in parts:
        speakers[usable(part[0])].add(part[0])
    if alike := [sorted(names) for names in speakers.values() if len(names) > 1]:
        told = some(" and ".join(names) for names in alike)
        found = f"{len(alike)} times several speakers' folders that would have one id ({told})"
        raise InputError(root, found, "names that differ in more than blanks and quotes", "Rename one of each")
    names = [[usable(name) for name in (*part[:-1], part[-1].rsplit(".", 1)[0])] for part in parts]
    ways = [[prefixed(name[-1], name[0]) for name in names], *([way.join(name) for name in names] for way in JOINTS)]
    ids = next((way for way in ways if len(set(way)) == len(way)), ways[1])
    changed = [f"{'/'.join(part)} is {key}" for part, key in zip(parts, ids) if BAD_ID.search("".join(part))]
    if changed:
        print(f"{root}: {len(changed)} names hold blanks or quotes, in ids `_`: {some(changed)}")
    return ids


# ---------------------------------------------------------------- tables


def _table_utterance(row: dict[str, str], root: str) -> Utterance:
    info = {name: value for name, value in row.items() if name not in NOT_KEPT}
    speaker = row["speaker"]
    return Utterance(
        prefixed(row["utt"], speaker),
        speaker,
        os.path.normpath(os.path.join(root, row["path"])),
        row.get("gender", ""),
        info=info,
    )


def plain_or_packed(path: Path) -> Path:
    """`path`, or `<path>.gz` where only that is there. Raises InputError where both are, and differ."""
    packed = path.with_name(f"{path.name}.gz")
    if packed.is_file() and path.is_file() and read_lines(packed) != read_lines(path):
        cure = "Move away the one that is not meant"
        raise InputError(path, f"another table in {packed.name} beside it", "one table of this name", cure)
    return packed if packed.is_file() and not path.exists() else path


def _rows_once(path: Path, needed: tuple[str, ...]) -> list[dict[str, str]]:
    """The rows of a table, those that are there again left out and said."""
    rows = [with_gender(row) for row in read_rows(path, needed)]
    counts = Counter(tuple(row.items()) for row in rows)
    if again := [dict(row)["utt"] for row, count in counts.items() if count > 1]:
        print(f"{path}: {len(rows) - len(counts)} lines are there again, and count once (first: {again[0]})")
    return [dict(row) for row in counts]


def _say_other_facts(path: Path, utterances: list[Utterance]) -> None:
    """Prints which recordings have several lines with different facts."""
    first: dict[str, Utterance] = {}
    known = [(first.setdefault(utt.id, utt), utt) for utt in utterances]
    if other := [utt.id for one, utt in known if (one.gender, one.info) != (utt.gender, utt.info)]:
        print(f"{path}: {len(other)} further lines of a recording have other facts, the first counts: {some(other)}")


def unused_columns(path: Path, rows: list[dict[str, str]]) -> str:
    """Which columns seem to name stretches or channels, that nothing here cuts out; "" where there are none."""
    named = [name for name in (rows[0] if rows else ()) if name.lower() in STRETCHES]
    values = {name: {number(row[name]) for row in rows if row[name]} - {0.0} for name in named}
    found = [name for name, each in values.items() if each and not any(map(isnan, each))]
    told = "decide nothing: every recording is used whole, and the first of its channels"
    cure = "Segments of --kaldi-data and lhotse's supervisions cut stretches and channels out"
    return f"{path}: the columns {', '.join(found)} {told}. {cure}" if found else ""


def from_tables(source: OwnData, tables: str) -> None:
    """train.tsv, test.tsv (utt, speaker, path, ...), enroll.tsv (model too), and trials or trials_* beside them; any of
    them may be packed (`train.tsv.gz`, `trials.gz`)."""
    directory, root = Path(tables), source.root or os.path.abspath(tables)
    if not directory.is_dir():
        raise InputError(directory, "no such directory", "train.tsv, test.tsv, enroll.tsv", "Check --tables")
    for name in ("train", "test", "enroll"):
        path = plain_or_packed(directory / f"{name}.tsv")
        rows = _rows_once(path, ("utt", "speaker", "path") + (("model",) if name == "enroll" else ()))
        utterances = [_table_utterance(row, root) for row in rows]
        _say_other_facts(path, utterances)
        if unused := unused_columns(path, rows):
            source.doubts[f"warning of columns of {name}"] = unused
        taken = source.take(name, utterances, path)
        if name == "test":
            source.test_names.know([(row["utt"], utt.id) for row, utt in zip(rows, utterances)], taken)
        if name == "enroll":
            for row, utt in zip(rows, utterances):
                source.models.setdefault(row["model"], []).append(utt.id)
    for model in source.models:
        source.model_names.add(model, model)
    lists = (path for path in directory.glob("trials*") if path.is_file() and ".tsv" not in path.suffixes)
    source.lists = sorted(map(str, lists))
