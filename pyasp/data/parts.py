"""Data directories as wholes: subsets, parts, unions, and their numbers.

Every table is keyed by utterance, by speaker, by enrolment model, or by recording (BY_RECORDING, where there are
segments); a part of a directory keeps the entries that its utterances need. Unknown tables go along when their first
fields are utterances or speakers.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from pyasp.audio.cut_files import read_cuts, write_cuts
from pyasp.audio.folders import SUFFIXES
from pyasp.core.errors import InputError
from pyasp.data.datadir import INFO, DataDir, c_sorted, invert, read_table

BY_RECORDING = ("wav.scp", "reco2file_and_channel", "reco2dur", "reco2num_frames")  # else: by utterance
DERIVED = ("spk2utt",)
NO_TABLES = ("trials", "frame_shift", "feats_type", "augment.txt")  # whose first fields are no keys
NAMED = 10  # recordings that statistics name
CUTS, MODELS, DROPPED = "cuts.jsonl.gz", "model2utts", "dropped.tsv"


def tables_of(data: DataDir) -> list[str]:
    """Names of the plain tables of a directory, utt2spk and derived ones left out."""
    special = {"utt2spk", *DERIVED, INFO, CUTS, MODELS, DROPPED, *NO_TABLES}
    plain = [
        path.name
        for path in sorted(data.path.iterdir())
        if path.is_file()
        and path.name not in special
        and not path.name.startswith(".")
        and path.suffix.lower() not in (*SUFFIXES, ".ark", ".json", ".gz", ".tsv")
    ]
    return plain + [str(path.relative_to(data.path)) for path in sorted(data.path.glob("*/feats.scp"))]  # other kinds


def keys_of(data: DataDir, utts: Mapping[str, str], name: str) -> set[str]:
    """Keys of a table that a part of the directory (utterance to speaker) needs."""
    if name in BY_RECORDING and data.has("segments"):
        return {data.recording(utt) for utt in utts} - {""}
    return set(utts) | set(utts.values())


def write_part(data: DataDir, utts: Iterable[str], target: Path) -> None:
    """Writes the part of a directory that holds these utterances. Raises InputError for none, or unknown ones."""
    chosen = {utt: data.utt2spk[utt] for utt in utts if utt in data.utt2spk}
    unknown = [utt for utt in utts if utt not in data.utt2spk]
    if unknown or not chosen:
        found = f"{len(unknown)} unknown utterances (first: {unknown[0]})" if unknown else "no utterance left"
        raise InputError(data.path, found, "utterances of this directory", "Correct the list or the options")
    target.mkdir(parents=True, exist_ok=True)
    part = DataDir(target)
    for name in tables_of(data):
        keys = keys_of(data, chosen, name)
        table = {key: value for key, value in data.read(name).items() if key in keys}
        if table:
            part.write(name, table)
    if data.has(CUTS):
        write_cuts(target / CUTS, [line for utt, line in read_cuts(data / CUTS) if utt in chosen])
    if data.has(MODELS):  # models keep those of their recordings that are in the part; those without any are left out
        models = {model: [utt for utt in utts if utt in chosen] for model, utts in data.models.items()}
        part.write_models({model: utts for model, utts in models.items() if utts})
    part.write_info({utt: row for utt, row in data.info.items() if utt in chosen})
    part.write_speakers(chosen)


def choose(data: DataDir, utts: str, speakers: str, count: int, per_speaker: int, seed: int) -> list[str]:
    """Utterances of a subset: of a list, of listed speakers, at most so many a speaker, then at most `count`, drawn."""
    random, found = np.random.default_rng(seed), list(data.utt2spk)
    if utts:
        listed = read_table(utts)
        unknown = [utt for utt in listed if utt not in data.utt2spk]
        if unknown:
            told = f"{len(unknown)} utterances that are not there"
            raise InputError(utts, told, f"utterances of {data.path}", "Correct the list", item=unknown[0])
        found = [utt for utt in found if utt in listed]
    if speakers:
        names = set(read_table(speakers)) if Path(speakers).is_file() else set(speakers.split(","))
        unknown = sorted(names - set(data.spk2utt))
        if unknown:
            raise InputError("--speakers", unknown[0], f"speakers of {data.path}", "Correct the list")
        found = [utt for utt in found if data.utt2spk[utt] in names]
    if per_speaker:
        found = [
            utt
            for group in invert({utt: data.utt2spk[utt] for utt in found}).values()
            for utt in _draw(random, group, per_speaker)
        ]
    return c_sorted(_draw(random, c_sorted(found), count) if count else found)


def _draw(random: np.random.Generator, items: list[str], count: int) -> list[str]:
    return items if count >= len(items) else [items[i] for i in sorted(random.permutation(len(items))[:count])]


def parts_of(data: DataDir, parts: int, by_speaker: bool) -> list[list[str]]:
    """Contiguous parts of nearly equal numbers of utterances; `by_speaker`: no speaker in two. InputError: too many."""
    groups = list(data.spk2utt.values()) if by_speaker else [[utt] for utt in c_sorted(data.utt2spk)]
    if not 1 <= parts <= len(groups):
        raise InputError("command line", f"{parts} parts", f"1 to {len(groups)}", "Split into fewer parts")
    sizes = np.cumsum([len(group) for group in groups])
    owner = np.minimum((sizes - 1) * parts // sizes[-1], parts - 1)
    owner = np.maximum(owner, np.arange(len(groups)) - (len(groups) - parts))  # every part gets one group at least
    owner = np.minimum(np.maximum.accumulate(owner), np.arange(len(groups)))
    return [[utt for group, part in zip(groups, owner) if part == number for utt in group] for number in range(parts)]


def combine(directories: list[DataDir], target: Path) -> None:
    """Writes the union of directories. An entry that two of them have must be the same in both.

    Tables that only some have are left out where they would not cover all utterances, and said so. Raises InputError on
    contradictions, and where some have segments and others not.
    """
    utt2spk = _union(directories, "utt2spk")
    target.mkdir(parents=True, exist_ok=True)
    part = DataDir(target)
    names = {name for data in directories for name in tables_of(data)}
    if len({data.has("segments") for data in directories if data.has("wav.scp")}) > 1:
        raise InputError(target, "segments in some directories", "in all or none", "Add segments to the others")
    for name in sorted(names):
        having = [data for data in directories if data.has(name)]
        if len(having) == len(directories):
            part.write(name, _union(directories, name))
        else:
            print(f"{name}: only in {', '.join(str(data.path) for data in having)}: left out")
    if all(data.has(CUTS) for data in directories):
        cuts: dict[str, str] = {}
        for data in directories:
            for utt, line in read_cuts(data / CUTS):
                _same(cuts.setdefault(utt, line), line, data / CUTS, utt)
        write_cuts(target / CUTS, [cuts[utt] for utt in c_sorted(cuts)])
    if any(data.has(MODELS) for data in directories):
        part.write(MODELS, _union([data for data in directories if data.has(MODELS)], MODELS))
    if all(data.has(INFO) for data in directories):
        part.write_info({utt: row for data in directories for utt, row in data.info.items()})
    part.write_speakers(utt2spk)


def _union(directories: list[DataDir], name: str) -> dict[str, str]:
    table: dict[str, str] = {}
    for data in directories:
        for key, value in data.read(name).items():
            _same(table.setdefault(key, value), value, data / name, key)
    return table


def _same(old: str, new: str, where: Path, key: str) -> None:
    if old != new:
        found, other = (repr(text.strip()[:60]) if text.strip() else "nothing" for text in (new, old))
        cure = "Rename the utterances of one of them, or repair its table"
        raise InputError(where, found, f"{other}, as in another directory", cure, item=key)


def statistics(data: DataDir) -> dict[str, Any]:
    """Recordings, speakers, hours, and how recordings and seconds spread over them."""
    sizes = np.array([len(utts) for utts in data.spk2utt.values()])
    facts: dict[str, Any] = {
        "recordings": len(data.utt2spk),
        "speakers": len(sizes),
        "recordings_a_speaker": _spread(sizes),
    }
    for name, unit, key in (("utt2dur", 1.0, "seconds"), ("utt2num_voiced", 100.0, "voiced_seconds")):
        if data.has(name):
            values = np.array([*data.numbers(name).values()]) / unit
            facts[key.replace("seconds", "hours")] = round(float(values.sum()) / 3600, 4)
            facts[key] = _spread(values)
    if data.has("utt2num_silent"):
        silent = {utt: frames / 100 for utt, frames in data.numbers("utt2num_silent").items() if frames}
        facts["digital_silence"] = {
            "recordings": len(silent),
            "seconds": round(sum(silent.values()), 2),
            **({"first": ", ".join(c_sorted(silent)[:NAMED])} if silent else {}),
        }
    if data.has("spk2gender"):
        facts["genders"] = dict(sorted(Counter(data.read("spk2gender").values()).items()))
    if data.has(MODELS):
        facts["models"] = len(data.model2utts)
        facts["recordings_a_model"] = _spread(np.array([len(utts) for utts in data.model2utts.values()]))
    for column in dict.fromkeys(column for row in data.info.values() for column in row):
        counts = Counter(row.get(column, "") for row in data.info.values())
        facts[f"{column}"] = dict(counts.most_common(6)) if len(counts) <= 6 else f"{len(counts)} different values"
    return facts


def _spread(values: np.ndarray) -> dict[str, float]:
    if not len(values):
        return {}
    marks = {"least": values.min(), "median": np.median(values), "most": values.max()}
    return {name: round(float(mark), 3) for name, mark in marks.items()}
