"""Own data that another toolkit has described: lhotse manifests and Kaldi data directories, as pools or protocols.

Commands in wav.scp and manifests that only decode a file are recognised and the file read directly; others run with
--allow-commands alone.
"""

from __future__ import annotations

import math
import os
import shlex
from pathlib import Path
from typing import Any

from local.common import Utterance, prefixed
from local.folder_sources import GENDERS, OwnData
from pyasp.audio.cut_files import MAX_SECONDS
from pyasp.audio.headers import Header
from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir
from pyasp.data.manifests import RECORDING, SUPERVISION, check_fields

SIDES = {"A": 0, "B": 1, "1": 0, "2": 1}


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
    if item.language:
        custom.setdefault("language", item.language)
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
        self.wav, self.genders, self.languages, self.segments, self.sides = (
            self.data.read_if_there(name)
            for name in ("wav.scp", "spk2gender", "utt2lang", "segments", "reco2file_and_channel")
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

    def known(self, utt: str) -> dict[str, str]:
        """Further columns of an utterance."""
        language = {"language": self.languages[utt]} if utt in self.languages else {}
        return language | self.data.info.get(utt, {})

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
                tables.known(utt),
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
