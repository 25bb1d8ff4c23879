"""Own data as Kaldi data directories. Commands in wav.scp that only decode a file are recognised;
nothing is ever run."""

from __future__ import annotations

import math
import os
import re
import shlex
from pathlib import Path

from local.common import Utterance, index_by_id, prefixed
from local.folder_sources import GENDERS, Source
from pyasp.audio.cut_files import MAX_SECONDS
from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir

DECODERS = (
    re.compile(r"\S*sph2pipe (?:-f wav|-p|-c (?P<channel>[12])|\s)* (?P<path>\S+)"),
    re.compile(r"\S*flac (?:-c|-d|-s|-dc|-cd|-cds|-dcs|\s)* (?P<path>\S+)"),
    re.compile(r"cat (?P<path>\S+)"),
)
SIDES = {"A": 0, "B": 1, "1": 0, "2": 1}


def unquoted(word: str) -> str:
    """A shell word without its quotes; "" when they do not pair."""
    try:
        return "".join(shlex.split(word))
    except ValueError:
        return ""


def wav_entry(entry: str, where: object, key: str) -> tuple[str, int]:
    """(path, channel) of a wav.scp entry. Raises InputError for a command that does more than decode, or an archive."""
    if not entry.endswith("|"):
        return entry, 0
    for pattern in DECODERS:
        match = pattern.fullmatch(" ".join(entry[:-1].split()))
        path = match and unquoted(match.group("path"))
        if path:
            return path, int(match.groupdict().get("channel") or 1) - 1
    raise InputError(
        where,
        f"the command {entry!r}",
        "a file, or sph2pipe or flac decoding one",
        "Convert the recordings to files: a preparation runs no commands",
        item=key,
    )


class _Tables:
    """The tables of one Kaldi data directory, absent ones empty."""

    def __init__(self, directory: Path):
        self.data = DataDir(directory)
        self.data.require("utt2spk", "wav.scp")
        self.wav, self.genders, self.segments, self.sides = (
            self.data.read(name) if self.data.has(name) else {}
            for name in ("wav.scp", "spk2gender", "segments", "reco2file_and_channel")
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


def read_kaldi_dir(directory: Path, source: Source) -> dict[str, Utterance]:
    """Utterances of one Kaldi data directory;
    their own names go to source.aliases, doubtful channels to source.hints."""
    tables, utterances = _Tables(directory), []
    for utt, speaker in tables.data.utt2spk.items():
        reco, start, seconds = tables.stretch(utt)
        path, said = wav_entry(tables.wav[reco], directory / "wav.scp", reco)
        channel, doubtful = tables.channel(reco, said)
        name, gender = prefixed(utt, speaker), GENDERS.get(tables.genders.get(speaker, "").lower(), "")
        utterances.append(
            Utterance(
                name,
                speaker,
                os.path.abspath(path),
                gender,
                channel,
                start,
                seconds,
                reco if tables.segments else "",
                tables.data.info.get(utt, {}),
            )
        )
        source.aliases[utt] = name
        if doubtful:
            source.hints.add(name)
    return index_by_id(utterances, directory)


def from_kaldi(directory: str) -> Source:
    """One Kaldi data directory (a pool), or train/, test/ and perhaps enroll/ (models: model2utts, or Kaldi's
    spk2utt)."""
    top, source = Path(directory), Source()
    if (top / "utt2spk").is_file():
        source.pool = read_kaldi_dir(top, source)
        return source
    for name in ("train", "test"):
        if not (top / name / "utt2spk").is_file():
            raise InputError(
                top,
                f"no utt2spk and no {name}/utt2spk",
                "a Kaldi data directory, or train/ and test/ in it",
                "Check --kaldi-data",
            )
    source.train, source.test = read_kaldi_dir(top / "train", source), read_kaldi_dir(top / "test", source)
    enrolled = (top / "enroll").is_dir()
    source.enroll = read_kaldi_dir(top / "enroll", source) if enrolled else dict(source.test)
    source.models = _models(top / "enroll", source, enrolled)
    source.lists = _lists(top)
    return source


def _models(directory: Path, source: Source, enrolled: bool) -> dict[str, list[str]]:
    """{model: utterances}: as model2utts says;
    else every utterance and, as in Kaldi, every speaker of enroll is one."""
    if (directory / "model2utts").is_file():
        return {
            model: [source.aliases.get(utt, utt) for utt in utts]
            for model, utts in DataDir(directory).model2utts.items()
        }
    models = {utt: [utt] for utt in source.enroll}
    for utt in source.enroll.values() if enrolled else ():
        models.setdefault(utt.speaker, []).append(utt.id)
    return models


def _lists(top: Path) -> list[str]:
    """Trial lists that lie with the data: trials, trials/*, test/trials."""
    places = [top / "trials", top / "test" / "trials"]
    files = [each for place in places for each in (sorted(place.iterdir()) if place.is_dir() else [place])]
    return [str(path) for path in files if path.is_file() and path.suffix not in (".tsv", ".json")]
