"""Kaldi data directories and lhotse manifests, one into the other and back without loss.

    recordings.jsonl.gz     lhotse Recordings: what wav.scp says, with rate and length
    supervisions.jsonl.gz   lhotse SupervisionSegments: one an utterance, with speaker, gender, text; in `custom`, under
                            names that begin with `kaldi/`, every table entry that the other fields do not hold
A directory keeps the manifests' own content in cuts.jsonl.gz (recording and supervision in full); recordings that no
supervision uses are kept beside it. Manifests are read and written as JSON, as lhotse stores them.
"""

import json
import math
import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pyasp.audio.cut_files import MAX_SECONDS, Json, cut_of, described, parse_cut, read_cuts, write_cuts
from pyasp.audio.decoders import decoded_file
from pyasp.audio.folders import some
from pyasp.audio.headers import Header, read_header, read_headers
from pyasp.audio.recording import OVERSHOOT, seconds_within
from pyasp.core.errors import InputError, rerun
from pyasp.core.files import absent
from pyasp.core.text import open_text, parse_json
from pyasp.data.checks import number
from pyasp.data.datadir import DataDir, c_sorted, check_id, gender_of, joined
from pyasp.data.parts import BY_RECORDING, CUTS, INFO, MODELS, tables_of
from pyasp.kaldi.names import is_command

RECORDINGS, SUPERVISIONS, UNUSED = "recordings.jsonl.gz", "supervisions.jsonl.gz", "unused_recordings.jsonl.gz"
UTT, SPK, RECO, MODEL, COLUMN, CUT = (f"kaldi/{name}/" for name in ("utt", "spk", "reco", "model", "info", "cut"))
SIDES = {0: "A", 1: "B"}  # of reco2file_and_channel
RESERVED = {"utt2spk", "spk2utt", INFO, CUTS, "dropped.tsv"}  # written from the manifests' own fields


# ---------------------------------------------------------------- manifests as files

# what a manifest's objects must hold, of which types, and what either of them may
TIME = (int, float)
RECORDING = {"id": str, "sources": list, "sampling_rate": int, "num_samples": int, "duration": TIME}
SUPERVISION = {"id": str, "recording_id": str, "start": TIME, "duration": TIME, "channel": (int, list)}
OPTIONAL = {"channel_ids": list, "speaker": str, "gender": str, "text": str, "custom": dict}
LEAST = {"sampling_rate": 1, "num_samples": 0}
KINDS = {str: "a text", int: "a whole number", TIME: "a number", list: "a list", dict: "an object"}
LINES = "Write it so, after . ./path.sh: lhotse copy OLD.json NEW.jsonl.gz"
SOURCE = {"source": str, "type": str, "channels": list}


def read_jsonl(path: str | Path) -> Iterator[Json]:
    """The objects of a .jsonl or .jsonl.gz. Raises InputError on a missing or damaged file."""
    if not Path(path).is_file():
        raise InputError(path, absent(path), "a lhotse manifest (.jsonl.gz)", "Check the path")
    with open_text(path) as stream:
        for number, text in enumerate(stream, 1):
            array = text.lstrip().startswith("[")  # of all objects: lhotse's other form
            cure = LINES if array else "The line is damaged or cut off: make or copy the manifest again"
            yield parse_json(text, path, f"line {number}", "one object a line, as in .jsonl.gz", cure)


def write_jsonl(path: Path, objects: list[Json]) -> None:
    """Writes objects as .jsonl.gz, atomically; the same objects give the same bytes."""
    write_cuts(path, [json.dumps(each, ensure_ascii=False) for each in objects])


def check_fields(each: Json, fields: Mapping[str, Any], path: object) -> None:
    """Raises InputError unless a manifest's object has these fields, of their types and finite."""
    for name, types in {**fields, **OPTIONAL}.items():
        value = each.get(name)
        if name in OPTIONAL and value is None:
            continue
        least, largest = LEAST.get(name, -math.inf), MAX_SECONDS if types == TIME else 1 << 53
        small = isinstance(value, (int, float)) and value < least
        if not isinstance(value, types) or small or (isinstance(value, (int, float)) and not abs(value) < largest):
            found = f"{name} {json.dumps(value)}"[:80] if name in each else f"no {name}"
            kind = KINDS.get(types, "a whole number or a list of them") + f" from {least} on" * small
            quoted = types is str and isinstance(value, (int, float))
            cure = (
                f"Write it in quotes: {json.dumps(str(value))}" if quoted else "Correct it where the manifest is made"
            )
            raise InputError(path, found, f"{kind}, as lhotse writes {name}", cure, item=each.get("id"))
    for source in each.get("sources", ()):
        if not isinstance(source, dict) or not all(isinstance(source.get(name), kind) for name, kind in SOURCE.items()):
            found = f"source {source!r}"[:80]
            raise InputError(path, found, "type, channels and source", "Write the manifest again", item=each["id"])


def read_manifest(path: str | Path, fields: Mapping[str, Any]) -> dict[str, Json]:
    """{id: object} of a manifest. Raises InputError for an id twice or none, and for wrong `fields`."""
    found: dict[str, Json] = {}
    for each in read_jsonl(path):
        check_fields(each, fields, path)
        if each.get("id") in found or "id" not in each:
            told = f"the id {each.get('id')!r} {'twice' if 'id' in each else ''}"
            raise InputError(path, told, "each id once", "Write the manifest again")
        found[each["id"]] = each
    return found


# ---------------------------------------------------------------- Kaldi to lhotse


def recording_of(name: str, entry: str, seconds: str | None, rate: int) -> Json:
    """A lhotse Recording of a wav.scp entry; a command is not run: its length is that of the file that it decodes, or
    comes from `seconds` at `rate`."""
    if entry.endswith("|") and (decoded := decoded_file(entry[:-1])):
        header = read_header(decoded[0])
        return described(name, entry, header.rate, header.samples, header.channels if decoded[1] is None else 1)
    if entry.endswith("|"):
        length = number(seconds or "")
        if not rate or not 0 <= length < MAX_SECONDS:
            found, cure = f"the command {entry[:60]!r}", "Give them: the command is not run to find its length"
            raise InputError("wav.scp", found, "--rate, and utt2dur or reco2dur", cure, item=name)
        return described(name, entry, rate, round(length * rate), 1)
    header = read_header(entry)
    return described(name, entry, header.rate, header.samples, header.channels)


def from_tables(data: DataDir, rate: int) -> tuple[dict[str, Json], dict[str, Json]]:
    """{id: recording} and {utt: supervision} of a directory without cuts."""
    data.require("utt2spk", "wav.scp")
    lengths = data.read_if_there("utt2dur") | data.read_if_there("reco2dur")
    recordings = {
        name: recording_of(name, entry, lengths.get(name), rate) for name, entry in data.read("wav.scp").items()
    }
    supervisions = {}
    for utt in data.utt2spk:
        name, start, seconds = data.stretch(utt, recordings)
        recording = recordings[name]
        supervisions[utt] = {
            "id": utt,
            "recording_id": name,
            "start": start,
            "duration": duration_in(recording, start, seconds, data / "segments", utt),
            "channel": recording["channel_ids"][0],
        }
    return recordings, supervisions


def _channels(recording: Json) -> int:
    return len({channel for source in recording["sources"] for channel in source["channels"]})


def channels_of(supervision: Json, recording: Json, path: object) -> list[int]:
    """The channels of its recording that a supervision is of. Raises InputError for those that this has not."""
    wanted = supervision["channel"] if isinstance(supervision["channel"], list) else [supervision["channel"]]
    there = [channel for source in recording["sources"] for channel in source["channels"]]
    if not wanted or not set(wanted) <= set(there):
        found, expected = f"channel {supervision['channel']}", f"channels of its recording {recording['id']}, {there}"
        raise InputError(path, found, expected, "Correct the supervision", item=supervision["id"])
    return wanted


def duration_in(recording: Json, start: float, seconds: float | None, path: object, utt: str) -> float:
    """Seconds of a stretch (None: to the end), ended with its recording as Kaldi does. InputError for one behind it."""
    try:
        return seconds_within(start, seconds, recording["sampling_rate"], recording["num_samples"])
    except ValueError as error:
        cure = f"Mend the times: up to {OVERSHOOT} s too long are cut"
        raise InputError(path, str(error), "a stretch of its recording", cure, item=utt) from None


def from_cuts(data: DataDir) -> tuple[dict[str, Json], dict[str, Json]]:
    """{id: recording} and {utt: supervision} of a directory with cuts. InputError for cuts that are mixed."""
    recordings: dict[str, Json] = {}
    supervisions: dict[str, Json] = {}
    for utt, text in read_cuts(data / CUTS):
        cut = json.loads(text)
        if "recording" not in cut or len(cut.get("supervisions", ())) != 1:
            cure = "Convert the clean directory: augmentation is made by the recipe"
            raise InputError(data / CUTS, "a mixed cut, or not one supervision", "plain recordings", cure, item=utt)
        recording, supervision = cut["recording"], cut["supervisions"][0]
        if recordings.setdefault(recording["id"], recording) != recording:
            raise InputError(data / CUTS, f"recording {recording['id']} in two forms", "one", rerun("prepare"), utt)
        start = cut["start"] + supervision["start"]
        seconds = duration_in(recording, start, supervision["duration"], data / CUTS, utt)
        supervisions[utt] = {**supervision, "start": start, "duration": seconds}
    if data.has(UNUSED):
        recordings.update((each["id"], each) for each in read_jsonl(data / UNUSED))
    return recordings, supervisions


def entries_of(data: DataDir, supervisions: dict[str, Json]) -> None:
    """Adds every table entry of a directory to its supervisions' `custom`."""
    tables = {name: data.read(name) for name in tables_of(data)}
    members: dict[str, dict[str, int]] = {}
    for model, utts in data.models.items():
        for place, utt in enumerate(utts):
            members.setdefault(utt, {})[model] = place
    for utt, supervision in supervisions.items():
        places = {UTT: utt, SPK: data.utt2spk[utt], RECO: supervision["recording_id"]}
        custom = supervision.setdefault("custom", {}) or {}
        for name, table in tables.items():
            kind = RECO if name in BY_RECORDING and data.has("segments") else UTT if utt in table else SPK
            if places[kind] in table:
                custom[f"{kind}{name}"] = table[places[kind]]
        custom.update({f"{MODEL}{model}": place for model, place in members.get(utt, {}).items()})
        custom.update({f"{COLUMN}{name}": value for name, value in data.info.get(utt, {}).items()})
        supervision["custom"] = custom


def to_lhotse(data: DataDir, target: Path, rate: int = 0) -> tuple[int, int]:
    """Writes the manifests of a directory; returns the numbers of recordings and supervisions.

    Raises InputError for mixed cuts, utterances without audio, and commands without a rate.
    """
    recordings, supervisions = from_cuts(data) if data.has(CUTS) else from_tables(data, rate)
    missing = set(data.utt2spk) ^ set(supervisions)
    if missing:
        found, expected = f"{len(missing)} utterances in one of utt2spk and {CUTS} alone", "the same in both"
        raise InputError(data.path, found, expected, "Fix the directory first: pyasp data fix", item=min(missing))
    genders = data.read_if_there("spk2gender")
    texts = data.read_if_there("text")
    for utt, supervision in supervisions.items():
        speaker = data.utt2spk[utt]
        supervision["speaker"] = speaker
        if speaker in genders:
            supervision["gender"] = genders[speaker]
        if utt in texts:
            supervision["text"] = texts[utt]
    entries_of(data, supervisions)
    for utt, text in read_cuts(data / CUTS) if data.has(CUTS) else ():
        each = supervisions[utt]
        if json.loads(text) != cut_of(recordings[each["recording_id"]], _plain(each)):
            each["custom"][CUT] = text.strip()
    target.mkdir(parents=True, exist_ok=True)
    write_jsonl(target / RECORDINGS, [recordings[key] for key in c_sorted(recordings)])
    write_jsonl(target / SUPERVISIONS, [supervisions[key] for key in c_sorted(supervisions)])
    return len(recordings), len(supervisions)


# ---------------------------------------------------------------- lhotse to Kaldi


def as_files(recordings: object) -> str:
    """The way out of recordings that are no files: lhotse stores them, under the ids that the supervisions name."""
    code = f"CutSet.from_cuts(r.to_cut() for r in RecordingSet.from_file({str(recordings)!r}))"
    code = f"from lhotse import CutSet, RecordingSet; {code}.save_audios('DIR').decompose('DIR')"
    return f'Have lhotse store them as files: python -c "{code}"; then give DIR/recordings.jsonl.gz in its place'


def check_untransformed(recording: Json, path: object) -> None:
    """Raises InputError for a recording of the manifest `path` with transforms, which no table can name."""
    if recording.get("transforms"):
        found = f"a recording with transforms ({recording['transforms']})"
        cure = f"{as_files(path)}; or take the transforms out of the manifest"
        raise InputError(path, found, "recordings as they are stored", cure, item=recording["id"])


def as_stored(recordings: dict[str, Json], path: object) -> dict[str, Json]:
    """Recordings with the rates and lengths of their files, which decide; prints how many are others than told, and how
    many are not there. Raises InputError for transforms, which no table can name, and channels that a file lacks."""
    files = {}
    for name, each in recordings.items():
        check_untransformed(each, path)
        if [source["type"] for source in each["sources"]] == ["file"]:
            files[name] = each["sources"][0]
    headers = read_headers(each["source"] for each in files.values() if os.path.isfile(each["source"]))
    found, other = dict(recordings), []
    for name, source in files.items():
        header, each = headers.get(source["source"]), recordings[name]
        if not isinstance(header, Header):
            continue
        told = Header(each["sampling_rate"], each["num_samples"], len(source["channels"]), "")
        if max(source["channels"], default=0) >= header.channels:
            wanted = f"those of the manifest: {source['channels']}"
            raise InputError(path, f"{header.channels} channels", wanted, "Correct the manifest", item=name)
        if (header.rate, header.samples) != (told.rate, told.samples):
            counts = {"sampling_rate": header.rate, "num_samples": header.samples}
            found[name] = {**each, **counts, "duration": header.samples / header.rate}
            other.append(f"{source['source']}: found {header}; expected {told}")
    if other:
        print(f"{path}: {len(other)} of {len(files)} files are not what it says, and decide (first: {other[0]})")
    if gone := [each["source"] for each in files.values() if each["source"] not in headers]:
        print(f"{path}: {len(gone)} of {len(files)} files are not there to compare it with (first: {gone[0]})")
    return found


def wav_entry(recording: Json) -> str:
    """What wav.scp says of a recording. Raises InputError for sources that it cannot name."""
    source = recording["sources"][0]
    if len(recording["sources"]) > 1 or source["type"] not in ("file", "command"):
        found, expected = f"{len(recording['sources'])} sources of type {source['type']}", "one file or command"
        raise InputError(RECORDINGS, found, expected, "Save the audio to files first", item=recording["id"])
    if source["type"] == "file" and is_command(source["source"]):
        cure = "Rename the file; a source that is a command has the type command"
        raise InputError(RECORDINGS, f"the file {source['source']!r}", "no command of wav.scp", cure, recording["id"])
    return source["source"] if source["type"] == "file" else f"{source['source']} |"


def stored_tables(supervisions: dict[str, Json]) -> dict[str, dict[str, str]]:
    """{table: entries} that `custom` holds, models and further columns among them."""
    tables: dict[str, dict[str, str]] = {}
    members: dict[str, list[tuple[int, str]]] = {}
    for utt, supervision in supervisions.items():
        keys = {UTT: utt, SPK: supervision.get("speaker") or utt, RECO: supervision["recording_id"]}
        for name, value in (supervision.get("custom") or {}).items():
            kind = next((prefix for prefix in (*keys, MODEL) if name.startswith(prefix)), None)
            if kind == MODEL:
                members.setdefault(name.removeprefix(MODEL), []).append((value, utt))
            elif kind:
                _check_table(name.removeprefix(kind))
                tables.setdefault(name.removeprefix(kind), {})[keys[kind]] = value
    if members:
        tables[MODELS] = joined({model: [utt for _, utt in sorted(utts)] for model, utts in members.items()})
    return tables


def _check_table(name: str) -> None:
    """Raises InputError for a name that is no plain file of a data directory: manifests may come from anywhere."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name) or name in RESERVED:
        found = f"an entry of the table {name!r}"
        raise InputError("manifest", found, "the name of a Kaldi table", "Remove it from custom")


def _check_entries(utt: str, custom: Json, path: object) -> None:
    """Raises InputError where an entry of a table is no text, or a place in a model no number."""
    for name, value in custom.items():
        kind = int if name.startswith(MODEL) else str
        if name.startswith("kaldi/") and not isinstance(value, kind):
            found = f"{name} {value!r}"[:80]
            raise InputError(path, found, "a number" if kind is int else "a text", "Write the manifest again", item=utt)


def made_tables(recordings: dict[str, Json], supervisions: dict[str, Json]) -> dict[str, dict[str, str]]:
    """The tables that manifests which know nothing of Kaldi amount to. Recordings of which several channels are used
    are one for each, `<id>-<channel>`."""
    sides = {(each["recording_id"], each["channel"]) for each in supervisions.values()}
    count = Counter(name for name, _ in sides)
    names = {side: f"{side[0]}-{side[1]}" if count[side[0]] > 1 else side[0] for side in sides}
    reco = {utt: names[each["recording_id"], each["channel"]] for utt, each in supervisions.items()}
    whole = all(
        utt == reco[utt]
        and each["start"] == 0
        and abs(each["duration"] - recordings[each["recording_id"]]["duration"]) < 1e-4
        for utt, each in supervisions.items()
    )
    entries = {side: wav_entry(recordings[side[0]]) for side in sides}
    tables = {
        "wav.scp": {names[side]: entry for side, entry in entries.items()},
        "utt2dur": {utt: f"{each['duration']:.4f}" for utt, each in supervisions.items()},
        "text": {utt: each["text"] for utt, each in supervisions.items() if each.get("text")},
        "spk2gender": {
            each.get("speaker") or utt: each["gender"] for utt, each in supervisions.items() if each.get("gender")
        },
    }
    if any(_channels(recordings[name]) > 1 for name, _ in sides):
        tables["reco2file_and_channel"] = {
            names[side]: f"{Path(entry.rstrip(' |')).stem} {SIDES.get(side[1], side[1] + 1)}"
            for side, entry in entries.items()
        }
    if not whole:
        tables["segments"] = {
            utt: f"{reco[utt]} {each['start']:.3f} {each['start'] + each['duration']:.3f}"
            for utt, each in supervisions.items()
        }
    return tables


def _kept_cut(supervision: Json, path: object) -> str | None:
    """The line of cuts.jsonl.gz that `custom` keeps, or None. Raises InputError when it is no cut of this utterance."""
    text = (supervision.get("custom") or {}).get(CUT)
    if text is not None and parse_cut(text, path, supervision["id"])["id"] != supervision["id"]:
        found = "the cut of another utterance"
        raise InputError(path, found, "its own", "Write the manifest again", item=supervision["id"])
    return text and json.dumps(json.loads(text), ensure_ascii=False)


def _plain(supervision: Json) -> Json:
    """A supervision without what is Kaldi's in its `custom`."""
    custom = {name: value for name, value in (supervision.get("custom") or {}).items() if not name.startswith("kaldi/")}
    rest = {name: value for name, value in supervision.items() if name != "custom"}
    return {**rest, "custom": custom} if custom else rest


def info_of(supervision: Json) -> dict[str, str]:
    """The row of utt2info.tsv that `custom` holds."""
    custom = supervision.get("custom") or {}
    return {name.removeprefix(COLUMN): value for name, value in custom.items() if name.startswith(COLUMN)}


def _check_supervisions(supervisions: dict[str, Json], recordings: dict[str, Json], supervisions_path: object) -> None:
    """InputError for ids, speakers and custom entries that no table can hold, and for one without its recording."""
    for utt, each in supervisions.items():
        check_id(utt, "utterance", supervisions_path)
        check_id(each.get("speaker") or utt, "speaker", supervisions_path)
        _check_entries(utt, each.get("custom") or {}, supervisions_path)
        if each["recording_id"] not in recordings:
            found, expected = f"recording {each['recording_id']}", "one of the recordings"
            raise InputError(supervisions_path, found, expected, "Give the manifests that belong together", item=utt)


def _say_doubts(
    supervisions: dict[str, Json], recordings: dict[str, Json], supervisions_path: object, target: Path
) -> None:
    """Prints how many supervisions lack a speaker, how many speakers have two genders, how many utterances are of one
    channel of several."""
    if nobody := [utt for utt, each in supervisions.items() if not each.get("speaker")]:
        print(f"{supervisions_path}: {len(nobody)} without a speaker are speakers of their own (first: {nobody[0]})")
    said: dict[str, set[str]] = {}
    for utt, each in supervisions.items():
        said.setdefault(each.get("speaker") or utt, set()).add(gender_of(each.get("gender") or ""))
    if both := sorted(speaker for speaker, genders in said.items() if {"m", "f"} <= genders):
        print(f"warning: {supervisions_path}: {len(both)} speakers have supervisions of both genders: {some(both)}")
    if several := [utt for utt, each in supervisions.items() if _channels(recordings[each["recording_id"]]) > 1]:
        of_which = "utterances are of recordings with several channels: reco2file_and_channel says of which"
        print(f"{target}: {len(several)} {of_which}")


def to_kaldi(recordings_path: str | Path, supervisions_path: str | Path, target: Path) -> tuple[int, int]:
    """Writes the data directory of two manifests; returns the numbers of recordings and utterances.

    Raises InputError, before anything is written, for ids twice, supervisions without their recording, or outside of
    it, and sources that wav.scp cannot name.
    """
    recordings = read_manifest(recordings_path, RECORDING)
    supervisions = read_manifest(supervisions_path, SUPERVISION)
    if not supervisions:
        raise InputError(supervisions_path, "no supervision", "at least one", "Check the path")
    _check_supervisions(supervisions, recordings, supervisions_path)
    used = {each["recording_id"] for each in supervisions.values()}
    told = {name: recordings[name] for name in c_sorted(used)}
    recordings |= as_stored(told, recordings_path)
    for utt, each in supervisions.items():
        recording, before = recordings[each["recording_id"]], told[each["recording_id"]]
        each["channel"], *more = channels_of(each, recording, supervisions_path)
        if more:
            found, cure = f"channels {[each['channel'], *more]}", "Give each channel a supervision of its own"
            raise InputError(supervisions_path, found, "one channel", cure, item=utt)
        whole = recording != before and each["start"] == 0 and abs(each["duration"] - before["duration"]) < 1e-3
        seconds = None if whole else each["duration"]
        each["duration"] = duration_in(recording, each["start"], seconds, supervisions_path, utt)
    _say_doubts(supervisions, recordings, supervisions_path, target)
    data, stored = DataDir(target), stored_tables(supervisions)
    tables = stored if "wav.scp" in stored else {**made_tables(recordings, supervisions), **stored}
    cuts = {
        utt: _kept_cut(each, supervisions_path)
        or json.dumps(cut_of(recordings[each["recording_id"]], _plain(each)), ensure_ascii=False)
        for utt, each in supervisions.items()
    }
    target.mkdir(parents=True, exist_ok=True)
    for name, table in tables.items():
        if table:
            data.write(name, table)
    data.write_info({utt: info_of(each) for utt, each in supervisions.items()})
    write_cuts(target / CUTS, [cuts[utt] for utt in c_sorted(cuts)])
    if set(recordings) - used:
        write_jsonl(target / UNUSED, [recordings[key] for key in c_sorted(set(recordings) - used)])
    data.write_speakers({utt: each.get("speaker") or utt for utt, each in supervisions.items()})
    return len(recordings), len(supervisions)
