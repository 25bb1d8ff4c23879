"""Own data as a tree of audio files, tables, lhotse manifests, or Kaldi data directories.

A pool is utterances that nobody has divided into training and evaluation yet; a protocol is already divided. Names
that a user wrote and ids are two things: ids begin with their speaker, and one id is one recording in all sets; `Names`
leads from the ones to the others, for models and for test recordings apart. Commands in wav.scp and manifests that only
decode a file are recognised and the file read directly; others run with --allow-commands alone.
"""

from __future__ import annotations

import math
import os
import shlex
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.common import Utterance, index_by_id, prefixed, walk_speakers
from pyasp.audio.cut_files import MAX_SECONDS
from pyasp.audio.folders import SUFFIXES, RealPaths, some
from pyasp.audio.headers import Header
from pyasp.core.errors import InputError
from pyasp.data.datadir import BAD_ID, DataDir, read_rows
from pyasp.data.manifests import RECORDING, SUPERVISION, check_fields

GENDERS = {"m": "m", "f": "f", "male": "m", "female": "f"}
NOT_KEPT = ("utt", "model", "speaker", "path", "gender")  # columns that have a place of their own
SIDES = {"A": 0, "B": 1, "1": 0, "2": 1}


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

    def example(self) -> str:
        """Some of the names, for a message."""
        return some(list(self._ids)[:3])


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
        """Which sound an utterance is, whatever its names."""
        return self.real.of(utt.path), utt.channel, utt.start, utt.seconds

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

    def name_pool(self, names: Iterable[tuple[str, str]]) -> None:
        """Of a pool every utterance may be a model and a test recording; (name, id) are its further names."""
        for each in (self.model_names, self.test_names):
            each.utterances = self.pool
        for name, key in [*names, *((key, key) for key in self.pool)]:
            self.model_names.add(name, key)
            self.test_names.add(name, key)


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
    ids = tree_ids(root, parts)
    pool = [
        Utterance(name, usable(part[0]), path, info={"session": "-".join(part[1:-1])} if len(part) > 2 else {})
        for name, part, path in zip(ids, parts, tree.files)
    ]
    source.take("pool", pool, root)
    source.name_pool(("/".join(part), name) for part, name in zip(parts, ids))


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
    """Ids from the file names where these tell all files apart, else from the whole paths.

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
    short = [prefixed(name[-1], name[0]) for name in names]
    ids = short if max(Counter(short).values()) == 1 else ["-".join(name) for name in names]
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
        GENDERS.get(row.get("gender", "").lower(), ""),
        info=info,
    )


def plain_or_packed(path: Path) -> Path:
    """`path`, or `<path>.gz` where only that is there."""
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.is_file() and not path.exists() else path


def from_tables(source: OwnData, tables: str) -> None:
    """train.tsv, test.tsv (utt, speaker, path, ...), enroll.tsv (model too), and trials or trials_* beside them; any of
    them may be packed (`train.tsv.gz`, `trials.gz`)."""
    directory, root = Path(tables), source.root or os.path.abspath(tables)
    if not directory.is_dir():
        raise InputError(directory, "no such directory", "train.tsv, test.tsv, enroll.tsv", "Check --tables")
    for name in ("train", "test", "enroll"):
        path = plain_or_packed(directory / f"{name}.tsv")
        rows = list(read_rows(path, ("utt", "speaker", "path") + (("model",) if name == "enroll" else ())))
        utterances = [_table_utterance(row, root) for row in rows]
        taken = source.take(name, utterances, path)
        if name == "test":
            source.test_names.utterances = taken
            for row, utt in zip(rows, utterances):
                source.test_names.add(row["utt"], utt.id)
                source.test_names.add(utt.id, utt.id)
        if name == "enroll":
            for row, utt in zip(rows, utterances):
                source.models.setdefault(row["model"], []).append(utt.id)
    for model in source.models:
        source.model_names.add(model, model)
    lists = (path for path in directory.glob("trials*") if path.is_file() and ".tsv" not in path.suffixes)
    source.lists = sorted(map(str, lists))


# ---------------------------------------------------------------- lhotse manifests


def from_lhotse(source: OwnData, recordings: str, supervisions: str) -> None:
    """lhotse manifests: each supervision is an utterance of its speaker."""
    if not recordings or not supervisions:
        raise InputError("command line", "only one of --recordings and --supervisions", "both manifests", "Give both")
    from lhotse import RecordingSet, SupervisionSet  # only here: importing lhotse takes seconds

    by_id = {recording.id: recording for recording in _manifest(RecordingSet, recordings, RECORDING)}
    utterances, names = [], []
    for item in _manifest(SupervisionSet, supervisions, SUPERVISION):
        recording = by_id.get(item.recording_id)
        if recording is None or not item.speaker:
            raise InputError(
                supervisions,
                f"speaker {item.speaker!r}, recording {item.recording_id!r}",
                f"a speaker, and a recording of {recordings}",
                "Repair the manifest",
                item=item.id,
            )
        utterances.append(_supervision(item, recording, source))
        names.append((item.id, utterances[-1].id))
    source.take("pool", utterances, supervisions)
    source.name_pool(names)


def _manifest(kind: Any, path: str, fields: tuple) -> list[Any]:
    try:
        items = list(kind.from_file(path))
        stored = [item.to_dict() for item in items]
    except Exception as error:  # lhotse raises many kinds; all mean that this is no manifest
        raise InputError(
            path,
            f"no manifest ({type(error).__name__}: {str(error)[:200]})",
            f"lhotse's {kind.__name__} (.jsonl.gz or .json)",
            "Check the path",
        ) from None
    for each in stored:
        check_fields(each, fields, path)
    return items


def _place_of(file: Any, wanted: int, recording: Any, item: Any, allow_commands: bool) -> tuple[str, int]:
    """(path, channel in it) of a lhotse source: a file, or a command as `wav_entry` takes it. InputError for others."""
    if file is not None and file.type == "command":
        return wav_entry(f"{file.source} |", recording.id, item.id, allow_commands)
    if file is None or file.type != "file":
        raise InputError(
            recording.id,
            f"a source of type {file.type if file else None!r}",
            "files holding the channel",
            "Store the audio as files (lhotse cut move-features, or RecordingSet.from_dir)",
            item=item.id,
        )
    return placed(file.source), file.channels.index(wanted)


def _supervision(item: Any, recording: Any, source: OwnData) -> Utterance:
    """One utterance; how long its file is the file decides."""
    wanted = item.channel[0] if isinstance(item.channel, list) else item.channel
    file = next((each for each in recording.sources if wanted in each.channels), None)
    if recording.transforms:
        raise InputError(
            recording.id,
            f"a recording with transforms ({recording.transforms})",
            "recordings as they are stored",
            "Save the transformed audio, or take the transforms out of the manifest",
        )
    path, channel = _place_of(file, wanted, recording, item, source.allow_commands)
    source.told[path] = Header(recording.sampling_rate, recording.num_samples, len(file.channels), "manifest")
    whole = item.start == 0 and abs(item.duration - recording.duration) < 1e-3
    custom = {key: str(value) for key, value in (item.custom or {}).items() if isinstance(value, (str, int, float))}
    speaker = item.speaker
    return Utterance(
        prefixed(item.id, speaker),
        speaker,
        path,
        GENDERS.get((item.gender or "").lower(), ""),
        channel,
        0.0 if whole else item.start,
        None if whole else item.duration,
        "" if whole else recording.id,
        custom,
    )


# ---------------------------------------------------------------- Kaldi data directories


def placed(path: str) -> str:
    """The absolute form of a path in somebody's table: relative ones mean what the directory means in which the run was
    called."""
    return os.path.abspath(os.path.join(os.environ.get("PYASP_CALLER", ""), path))


def words_of(command: str) -> list[str]:
    """The words of a shell command, quotes taken off, operators words of their own; [] where quotes do not pair."""
    try:
        lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, ""
        return list(lexer)
    except ValueError:
        return []


def decoded_file(command: str) -> tuple[str, int] | None:
    """(path, channel) of a command that does nothing but decode one file to its standard output; None for others.

    sph2pipe, flac, cat, and the sox and ffmpeg that the recipe's own wav.scp says.
    """
    program, *words = words_of(command) or [""]
    match os.path.basename(program), words:
        case "cat", [path] if not path.startswith("-"):
            return path, 0
        case "flac", [*options, path] if options and set(options) <= {"-c", "-d", "-s", "-dc", "-cd", "-cds", "-dcs"}:
            return path, 0
        case "sph2pipe", [*options, path]:
            text = " ".join(options).replace("-f wav", "").replace("-p", "")
            if text.split() in ([], ["-c", "1"], ["-c", "2"]):
                return path, int((text.split() or "1")[-1]) - 1
        case "sox", [path, "-t", "wav", "-", "remix", number] if number.isdigit() and int(number):
            return path, int(number) - 1
        case "ffmpeg", ["-v", "8", "-i", path, "-map_channel", side, "-f", "wav", "-acodec", "pcm_s16le", "-"]:
            if side.startswith("0.0.") and side[4:].isdigit():
                return path, int(side[4:])
    return None


def wav_entry(entry: str, where: object, key: str, allow_commands: bool = False) -> tuple[str, int]:
    """(path, channel) of a wav.scp entry; with `allow_commands` the path may be a command, ending in `|`.

    Raises InputError for a command that does more than decode a file.
    """
    if not entry.endswith("|"):
        return placed(entry), 0
    found = decoded_file(entry[:-1])
    if found:
        return placed(found[0]), found[1]
    if allow_commands:
        return entry, 0
    raise InputError(
        where,
        f"the command {entry!r}",
        "a file, or sph2pipe or flac decoding one",
        "Convert the recordings to files, or give --allow-commands if you trust it: a preparation runs no commands",
        item=key,
    )


class _Tables:
    """The tables of one Kaldi data directory, absent ones empty."""

    def __init__(self, directory: Path):
        self.data = DataDir(directory)
        self.data.require("utt2spk", "wav.scp")
        self.wav, self.genders, self.segments, self.sides = (
            self.data.read_if_there(name) for name in ("wav.scp", "spk2gender", "segments", "reco2file_and_channel")
        )

    def stretch(self, utt: str) -> tuple[str, float, float | None]:
        """(recording, start, seconds or None) of an utterance."""
        reco, *times = self.segments[utt].split() or [""] if utt in self.segments else [utt]
        fits = len(times) >= 2 if self.segments else True
        if reco not in self.wav or not fits:
            raise InputError(
                self.data.path,
                f"no recording or no segment of {utt}",
                "wav.scp and segments that cover utt2spk",
                "Run Kaldi's utils/fix_data_dir.sh",
            )
        start, end = self._times(utt, times[:2]) if times else (0.0, -1.0)
        return reco, start, end - start if end > 0 else None

    def _times(self, utt: str, words: list[str]) -> tuple[float, float]:
        """Start and end in seconds; an end below 0 is that of the recording. Raises InputError for anything else."""
        try:
            start, end = (float(word) for word in words)
        except ValueError:
            start = end = math.nan
        if not (0 <= start < MAX_SECONDS and (start < end < MAX_SECONDS or -MAX_SECONDS < end < 0)):
            raise InputError(
                self.data / "segments",
                " ".join(words),
                "<recording> <start> <end> in seconds, start < end",
                "Repair the line",
                item=utt,
            )
        return start, end

    def channel(self, reco: str, said: int) -> tuple[int, bool]:
        """(channel, whether only reco2file_and_channel says so)."""
        hint = SIDES.get(self.sides.get(reco, "").split(" ")[-1], 0)
        plain = not self.wav[reco].endswith("|")
        return (hint, True) if plain and hint else (said, False)


def read_kaldi_dir(source: OwnData, directory: Path, name: str) -> list[tuple[str, str]]:
    """Fills the set `name` from a Kaldi data directory, doubtful channels go to source.hints; [(own name, id)]."""
    tables, utterances, doubtful = _Tables(directory), [], []
    for utt, speaker in tables.data.utt2spk.items():
        reco, start, seconds = tables.stretch(utt)
        path, said = wav_entry(tables.wav[reco], directory / "wav.scp", reco, source.allow_commands)
        channel, doubt = tables.channel(reco, said)
        utterances.append(
            Utterance(
                prefixed(utt, speaker),
                speaker,
                path,
                GENDERS.get(tables.genders.get(speaker, "").lower(), ""),
                channel,
                start,
                seconds,
                reco if tables.segments else "",
                tables.data.info.get(utt, {}),
            )
        )
        doubtful += [utterances[-1]] * doubt
    source.take(name, utterances, directory)
    source.hints.update(utt.id for utt in doubtful)
    return [(utt, each.id) for utt, each in zip(tables.data.utt2spk, utterances)]


def from_kaldi(source: OwnData, directory: str) -> None:
    """One Kaldi data directory (a pool), or train/, test/ and perhaps enroll/ (models: model2utts, or Kaldi's
    spk2utt); the lists that lie there."""
    top = Path(directory)
    source.lists = _lists(top)
    if (top / "utt2spk").is_file():
        source.name_pool(read_kaldi_dir(source, top, "pool"))
        return
    for name in ("train", "test"):
        if not (top / name / "utt2spk").is_file():
            raise InputError(
                top,
                f"no utt2spk and no {name}/utt2spk",
                "a Kaldi data directory, or train/ and test/ in it",
                "Check --kaldi-data",
            )
    tests = read_kaldi_dir(source, top / "test", "test")
    enrolled = read_kaldi_dir(source, top / "enroll", "enroll") if (top / "enroll").is_dir() else tests
    source.enroll = source.enroll or dict(source.test)
    read_kaldi_dir(source, top / "train", "train")
    source.test_names.utterances = source.test
    for name, key in [*tests, *((key, key) for key in source.test)]:
        source.test_names.add(name, key)
    _name_models(source, top / "enroll", enrolled, enrolled is not tests)


def _name_models(source: OwnData, directory: Path, enrolled: list[tuple[str, str]], speakers: bool) -> None:
    """Models as model2utts says; else every utterance and, as in Kaldi, every speaker of enroll is one."""
    if (directory / "model2utts").is_file():
        own = dict(enrolled)
        for model, utts in DataDir(directory).model2utts.items():
            source.models[model] = [own.get(utt, utt) for utt in utts]
    else:
        source.models = {key: [key] for key in source.enroll}
        source.model_names.utterances = source.enroll
        for name, key in enrolled:
            source.model_names.add(name, key)
        for utt in source.enroll.values() if speakers else ():
            if source.models.get(utt.speaker) != [utt.speaker]:  # else an utterance has the speaker's name
                source.models.setdefault(utt.speaker, []).append(utt.id)
    for model in source.models:
        source.model_names.add(model, model)


def _lists(top: Path) -> list[str]:
    """Trial lists that lie with the data: trials, trials/*, test/trials."""
    places = [top / "trials", top / "test" / "trials"]
    files = [each for place in places for each in (sorted(place.iterdir()) if place.is_dir() else [place])]
    return [str(path) for path in files if path.is_file() and path.suffix not in (".tsv", ".json")]
