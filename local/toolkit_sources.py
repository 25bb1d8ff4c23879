"""Own data that another toolkit has described: lhotse manifests and Kaldi data directories, as pools or protocols.

Commands in wav.scp and manifests that only decode a file are recognised and the file read directly; others run with
--allow-commands alone.
"""

import os
from collections.abc import Collection
from pathlib import Path

from local.common import Utterance, prefixed
from local.folder_sources import OwnData
from pyasp.audio.cut_files import Json
from pyasp.audio.decoders import decoded_file
from pyasp.audio.folders import some
from pyasp.audio.headers import Header
from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir
from pyasp.data.manifests import RECORDING, SUPERVISION, as_files, channels_of, check_untransformed, read_manifest

READ = ("wav.scp", "spk2gender", "utt2lang", "reco2file_and_channel", "utt2uniq")
NAMED = ("utt2spk", "segments", "model2utts", "utt2info.tsv")  # read elsewhere
MADE_ANEW = ("feats.scp", "vad.scp", "cmvn.scp", "utt2dur", "utt2num_frames", "reco2dur")
SIDES = {"A": 0, "B": 1}


# ---------------------------------------------------------------- lhotse manifests


def from_lhotse(source: OwnData, recordings: str, supervisions: str) -> None:
    """lhotse manifests: each supervision is an utterance of its speaker."""
    if not recordings or not supervisions:
        raise InputError("command line", "only one of --recordings and --supervisions", "both manifests", "Give both")
    by_id = read_manifest(recordings, RECORDING)
    utterances, names, idle = [], [], dict.fromkeys(by_id)
    for name, item in read_manifest(supervisions, SUPERVISION).items():
        recording = by_id.get(item["recording_id"])
        if recording is None or not item.get("speaker"):
            found = f"speaker {item.get('speaker')!r}, recording {item['recording_id']!r}"
            expected = f"a speaker, and a recording of {recordings}"
            raise InputError(supervisions, found, expected, "Repair the manifest", item=name)
        utterances.append(_supervision(item, recording, source, recordings, supervisions))
        names.append((name, utterances[-1].id))
        idle.pop(item["recording_id"], None)
    if idle:
        told = f"{recordings}: {len(idle)} recordings are of no supervision (first: {next(iter(idle))})"
        source.doubts["warning of recordings"] = told
    source.take("pool", utterances, supervisions)
    source.name_pool(names)


def _supervision(item: Json, recording: Json, source: OwnData, recordings: str, supervisions: str) -> Utterance:
    """One utterance of a recording of the manifest `recordings`, of several channels the first; how long its file is
    the file decides."""
    name, speaker = item["id"], item["speaker"]
    wanted = channels_of(item, recording, supervisions)[0]
    file = next(each for each in recording["sources"] if wanted in each["channels"])
    check_untransformed(recording, recordings)
    if file.get("type") == "command":
        path, channel = wav_entry(f"{file['source']} |")
    elif file.get("type") == "file":
        path, channel = placed(file["source"]), file["channels"].index(wanted)
    else:
        found = f"a source of type {file['type']!r}"
        raise InputError(recording["id"], found, "a file", as_files(recordings), item=name)
    source.told[path] = Header(recording["sampling_rate"], recording["num_samples"], len(file["channels"]), "manifest")
    whole = item["start"] == 0 and abs(item["duration"] - recording["duration"]) < 1e-3
    known = {**(item.get("custom") or {})}
    known.setdefault("language", item.get("language"))
    return Utterance(
        prefixed(name, speaker),
        speaker,
        path,
        str(item.get("gender") or ""),
        channel,
        0.0 if whole else item["start"],
        None if whole else item["duration"],
        "" if whole else recording["id"],
        {key: str(value) for key, value in known.items() if isinstance(value, (str, int, float))},
        source.allow_commands and file["type"] == "command",
    )


# ---------------------------------------------------------------- Kaldi data directories


def placed(path: str) -> str:
    """The absolute form of a path in somebody's table: relative ones mean what the directory means in which the run was
    called."""
    return os.path.abspath(os.path.join(os.environ.get("PYASP_CALLER", ""), path))


def wav_entry(entry: str) -> tuple[str, int]:
    """(path, channel) of a wav.scp entry; of a command that does more than decode a file itself in place of the path,
    which `index_by_id` refuses unless the user admitted it."""
    if not entry.endswith("|"):
        return placed(entry), 0
    found = decoded_file(entry[:-1])
    return (placed(found[0]), found[1] or 0) if found else (entry, 0)


def say_unused(source: OwnData, data: DataDir, wav: Collection[str]) -> None:
    """Says what of a Kaldi directory is passed over: tables, a spk2utt of other speakers; recordings and segments of no
    utterance in the summary."""
    there = sorted(path.name for path in data.path.iterdir() if path.is_file() and not path.name.startswith("."))
    made = [name for name in there if name in MADE_ANEW]
    others = [
        name for name in there if name not in (*MADE_ANEW, *READ, *NAMED, "spk2utt") and not name.startswith("trials")
    ]
    used = {data.recording(utt) for utt in data.utt2spk}
    idle = [name for name in wav if name not in used]
    loose = [name for name in data.segments if name not in data.utt2spk]
    listed = {speaker: utts.split() for speaker, utts in data.read_if_there("spk2utt").items()}
    told = {
        f"{', '.join(made)} not used: features are made anew from the recordings": made,
        f"{', '.join(others)} not used: nothing here reads such tables": others,
        "spk2utt is not what utt2spk says, which counts (pyasp data fix makes it anew)": listed
        and {each: sorted(utts) for each, utts in listed.items()}
        != {each: sorted(utts) for each, utts in data.spk2utt.items()},
    }
    for text, so in told.items():
        if so:
            print(f"{data.path}: {text}")
    doubts = {
        "recordings": (idle, f"{len(idle)} recordings of wav.scp are of no utterance (first: {some(idle[:1])})"),
        "segments": (loose, f"{len(loose)} segments are of no utterance of utt2spk (first: {some(loose[:1])})"),
    }
    for kind, (names, text) in doubts.items():
        if names:
            source.doubts[f"warning of {kind} of {data.path.name}"] = f"{data.path}: {text}"


def side_of(entry: str, directory: Path, recording: str) -> int:
    """The channel, from 0, of an entry `<file> <side>` of reco2file_and_channel. Raises InputError for any other."""
    side = entry.split()[-1] if entry.split() else ""
    if side not in SIDES and not (side.isdecimal() and int(side)):
        cure = "Correct the line, or take the table away where the files have one channel"
        where = directory / "reco2file_and_channel"
        raise InputError(where, f"the side {side!r}", "A or B, or the channel's number from 1", cure, item=recording)
    return SIDES[side] if side in SIDES else int(side) - 1


def read_kaldi_dir(source: OwnData, directory: Path, name: str) -> list[tuple[str, str]]:
    """Fills the set `name` from a Kaldi data directory; [(own name, id)].

    source.hints get the utterances of whose channel reco2file_and_channel alone tells.
    """
    data = DataDir(directory)
    data.require("utt2spk", "wav.scp")
    wav, genders, languages, sides, unique = map(data.read_if_there, READ)
    say_unused(source, data, wav)
    copies = {utt for utt, one in unique.items() if one != utt and {one, utt} <= data.utt2spk.keys()}
    if copies:
        print(f"{directory}: {len(copies)} augmented copies (utt2uniq) are left out (first: {min(copies)})")
    kept = [utt for utt in data.utt2spk if utt not in copies]
    named = {name for name, entry in wav.items() if entry}
    utterances, hinted = [], []
    for utt in kept:
        speaker = data.utt2spk[utt]
        reco, start, seconds = data.stretch(utt, named)
        path, channel = wav_entry(wav[reco])
        hint = 0 if wav[reco].endswith("|") else side_of(sides.get(reco, "A"), directory, reco)
        language = {"language": languages[utt]} if utt in languages else {}
        each = Utterance(
            prefixed(utt, speaker),
            speaker,
            path,
            genders.get(speaker, ""),
            hint or channel,
            start,
            seconds,
            reco if data.segments else "",
            language | data.info.get(utt, {}),
            source.allow_commands,
        )
        utterances.append(each)
        hinted += [each] * bool(hint)
    source.take(name, utterances, directory)
    source.hints.update(each.id for each in hinted)
    return [(utt, each.id) for utt, each in zip(kept, utterances)]


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
            found = f"no utt2spk and no {name}/utt2spk"
            raise InputError(top, found, "a Kaldi data directory, or train/ and test/ in it", "Check --kaldi-data")
    tests = read_kaldi_dir(source, top / "test", "test")
    enrolled = read_kaldi_dir(source, top / "enroll", "enroll") if (top / "enroll").is_dir() else tests
    source.enroll = source.enroll or dict(source.test)
    read_kaldi_dir(source, top / "train", "train")
    source.test_names.know(tests, source.test)
    _name_models(source, top / "enroll", enrolled, enrolled is not tests)


def _name_models(source: OwnData, directory: Path, enrolled: list[tuple[str, str]], speakers: bool) -> None:
    """Models as model2utts says; else every utterance and, as in Kaldi, every speaker of enroll is one."""
    if (directory / "model2utts").is_file():
        own = dict(enrolled)
        for model, utts in DataDir(directory).model2utts.items():
            source.models[model] = [own.get(utt, utt) for utt in utts]
    else:
        source.models = {key: [key] for key in source.enroll}
        source.model_names.know(enrolled, source.enroll)
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
