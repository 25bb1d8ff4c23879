"""Own data as a tree of audio files, tables, or lhotse manifests (kaldi_source.py: Kaldi data directories).

A pool is utterances that nobody has divided into training and evaluation yet; a protocol is already divided.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.common import Utterance, index_by_id, prefixed
from pyasp.audio.folders import SUFFIXES, audio_below
from pyasp.audio.headers import Header, read_header
from pyasp.core.errors import InputError
from pyasp.data.datadir import read_rows
from pyasp.data.manifest_file import RECORDING, SUPERVISION, check_fields

GENDERS = {"m": "m", "f": "f", "male": "m", "female": "f"}
NOT_KEPT = ("utt", "model", "speaker", "path", "gender")  # columns that have a place of their own


@dataclass
class Source:
    """What a reader found. aliases: other names under which trial lists may know an utterance; audio: headers already
    known.

    pool: not divided yet. Or train, enroll, test and models {model: utterances}; lists: trial lists that came with the
    data. hints: utterances whose channel counts only if their file has so many (Kaldi's reco2file_and_channel).
    """

    pool: dict[str, Utterance] = field(default_factory=dict)
    train: dict[str, Utterance] = field(default_factory=dict)
    enroll: dict[str, Utterance] = field(default_factory=dict)
    test: dict[str, Utterance] = field(default_factory=dict)
    models: dict[str, list[str]] = field(default_factory=dict)
    aliases: dict[str, str] = field(default_factory=dict)
    audio: dict[str, Header] = field(default_factory=dict)
    lists: list[str] = field(default_factory=list)
    hints: set[str] = field(default_factory=set)
    dropped: dict[str, dict[str, str]] = field(default_factory=dict)  # {set: {utterance: reason}}

    def all(self) -> Iterator[Utterance]:
        """Every utterance of every set."""
        for group in (self.pool, self.train, self.enroll, self.test):
            yield from group.values()


def from_tree(root: str) -> Source:
    """`<root>/<speaker>/[<session>/]<utterance>.<suffix>`; deeper directories belong to the session's name."""
    root = os.path.abspath(root)
    if not os.path.isdir(root):
        raise InputError(
            root, "no such directory", "a tree of audio, <speaker>/[<session>/]<utterance>.wav", "Check --root"
        )
    paths = audio_below(root)
    if not paths:
        raise InputError(root, "no audio file", " ".join(SUFFIXES), "Check --root, or describe the data in --tables")
    parts = [os.path.relpath(path, root).split(os.sep) for path in paths]
    loose = [part for part in parts if len(part) < 2]
    if loose:
        raise InputError(
            root,
            f"{len(loose)} audio files without a speaker's directory",
            "<speaker>/[<session>/]<utterance>.wav",
            "Put each speaker's files into a directory, or describe the data in --tables",
            item=loose[0][0],
        )
    ids = _tree_ids(parts)
    pool = [
        Utterance(name, part[0], path, info={"session": "-".join(part[1:-1])} if len(part) > 2 else {})
        for name, part, path in zip(ids, parts, paths)
    ]
    aliases = {"/".join(part): name for part, name in zip(parts, ids)}
    return Source(pool=index_by_id(pool, root), aliases=aliases)


def _tree_ids(parts: list[list[str]]) -> list[str]:
    """Ids from the file names where these tell all files apart, else from the whole paths."""
    stems = [part[-1].rsplit(".", 1)[0] for part in parts]
    short = [prefixed(stem, part[0]) for stem, part in zip(stems, parts)]
    if max(Counter(short).values()) == 1:
        return short
    return ["-".join([*part[:-1], stem]) for stem, part in zip(stems, parts)]


def _table_utterance(row: dict[str, str], root: str) -> Utterance:
    info = {name: value for name, value in row.items() if name not in NOT_KEPT}
    return Utterance(
        prefixed(row["utt"], row["speaker"]),
        row["speaker"],
        os.path.normpath(os.path.join(root, row["path"])),
        GENDERS.get(row.get("gender", "").lower(), ""),
        info=info,
    )


def plain_or_packed(path: Path) -> Path:
    """`path`, or `<path>.gz` where only that is there."""
    packed = path.with_name(f"{path.name}.gz")
    return packed if packed.is_file() and not path.exists() else path


def from_tables(tables: str, root: str) -> Source:
    """train.tsv, test.tsv (utt, speaker, path, ...), enroll.tsv (model too), and trials or trials_* beside them; any of
    them may be packed (`train.tsv.gz`, `trials.gz`)."""
    directory, root, source = Path(tables), os.path.abspath(root or tables), Source()
    if not directory.is_dir():
        raise InputError(directory, "no such directory", "train.tsv, test.tsv, enroll.tsv", "Check --tables")
    for name in ("train", "test", "enroll"):
        path = plain_or_packed(directory / f"{name}.tsv")
        rows = list(read_rows(path, ("utt", "speaker", "path") + (("model",) if name == "enroll" else ())))
        utterances = [_table_utterance(row, root) for row in rows]
        setattr(source, name, index_by_id(utterances, path))
        source.aliases.update((row["utt"], utt.id) for row, utt in zip(rows, utterances))
        if name == "enroll":
            for row, utt in zip(rows, utterances):
                source.models.setdefault(row["model"], []).append(utt.id)
    lists = (path for path in directory.glob("trials*") if path.is_file() and ".tsv" not in path.suffixes)
    source.lists = sorted(map(str, lists))
    return source


def from_lhotse(recordings: str, supervisions: str) -> Source:
    """lhotse manifests: each supervision is an utterance of its speaker."""
    if not recordings or not supervisions:
        raise InputError("command line", "only one of --recordings and --supervisions", "both manifests", "Give both")
    from lhotse import RecordingSet, SupervisionSet  # only here: importing lhotse takes seconds

    by_id = {recording.id: recording for recording in _manifest(RecordingSet, recordings, RECORDING)}
    source = Source()
    utterances = []
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
    source.pool = index_by_id(utterances, supervisions)
    return source


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


def _place_of(file: Any, wanted: int, recording: Any, item: Any) -> tuple[str, int]:
    """(path, channel in it) of a lhotse source: a file, or a command that only decodes one, which is read directly.

    Raises InputError for anything else; nothing is run.
    """
    if file is not None and file.type == "command":
        from local.kaldi_source import wav_entry  # only here: that module imports this one

        path, channel = wav_entry(f"{file.source} |", recording.id, item.id)
        return os.path.abspath(path), channel
    if file is None or file.type != "file":
        raise InputError(
            recording.id,
            f"a source of type {file.type if file else None!r}",
            "files holding the channel",
            "Store the audio as files (lhotse cut move-features, or RecordingSet.from_dir)",
            item=item.id,
        )
    return os.path.abspath(file.source), file.channels.index(wanted)


def _supervision(item: Any, recording: Any, source: Source) -> Utterance:
    """One utterance; its file's header is what the manifest says."""
    wanted = item.channel[0] if isinstance(item.channel, list) else item.channel
    file = next((each for each in recording.sources if wanted in each.channels), None)
    if recording.transforms:
        raise InputError(
            recording.id,
            f"a recording with transforms ({recording.transforms})",
            "recordings as they are stored",
            "Save the transformed audio, or take the transforms out of the manifest",
        )
    path, channel = _place_of(file, wanted, recording, item)
    if file.type == "file":
        source.audio[path] = Header(recording.sampling_rate, recording.num_samples, len(file.channels), "manifest")
    else:
        source.audio[path] = read_header(path)
    name = prefixed(item.id, item.speaker)
    source.aliases[item.id] = name
    whole = item.start == 0 and abs(item.duration - recording.duration) < 1e-3
    custom = {key: str(value) for key, value in (item.custom or {}).items() if isinstance(value, (str, int, float))}
    return Utterance(
        name,
        item.speaker,
        path,
        GENDERS.get((item.gender or "").lower(), ""),
        channel,
        0.0 if whole else item.start,
        None if whole else item.duration,
        "" if whole else recording.id,
        custom,
    )
