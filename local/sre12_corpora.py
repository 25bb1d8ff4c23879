"""The training corpora of SRE12: how each release tells its recordings, their speakers and sides.

A reader for each kind of table, a line for each release: LISTED (SRE04 to SRE06, the public list of speakers),
EVALUATIONS (SRE08, SRE10: keys of models and trials), CALLS (Switchboard, Fisher: tables of calls), Mixer 6, and the
CTS superset. All raise InputError for missing or foreign tables.
"""

import os
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import NamedTuple

from local.common import Utterance, prefixed
from local.sre12_tables import SIDES, AudioFiles, rows
from local.training import Conditions, Corpus, check_genders, find_table, kinds_of
from pyasp.core.errors import InputError
from pyasp.data.datadir import GENDERS, gender_of

# ---------------------------------------------------------------- SRE04 to SRE06

LIST = "speaker_list"  # lines `speaker gender sre20YY utterance channel`, of all three years' releases
WHERE = "https://www.openslr.org/resources/15/speaker_list.tgz"
LISTED = ("sre04", "sre05", "sre06")


def find_list(given: str, root: str) -> Path:
    """The list of speakers: as given, in the corpus, or beside it. Raises InputError that says where to get it."""
    places = [Path(given)] if given else [Path(root) / LIST, Path(root) / "docs" / LIST, Path(root).parent / LIST]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        cure = f"Unpack {WHERE} there, or give --speaker-list=FILE (in prep.conf)"
        raise InputError(places[0], "no such file", "the list of speakers of SRE04 to SRE06", cure)
    return found


def channel_of(text: str, where: str) -> int:
    """0 or 1 of a or b (x: of one channel). Raises InputError for anything else."""
    if not text or text.lower() not in SIDES:
        raise InputError(where, f"channel {text!r}", "a, b or x", "Check the table: fetch it again")
    return SIDES[text.lower()]


def read_listed(name: str, root: str, speaker_list: str = "") -> Corpus:
    """One year, `sre04` to `sre06`. Raises InputError for a missing or foreign list and when no recording is there."""
    table, recordings = find_list(speaker_list, root), AudioFiles([root])
    corpus, year, genders = Corpus(name, table_covers_more=True), f"sre20{name[-2:]}", []
    for number, (pin, gender, edition, segment, channel, *_) in rows(table, 5, None):
        if edition != year:
            continue
        where = f"{table}: line {number}"
        genders.append(gender)
        corpus.add(pin, gender, segment, channel_of(channel, where), recordings, where)
    check_genders(table, genders)
    return corpus


# ---------------------------------------------------------------- SRE08 and SRE10

# NIST's evaluation plans. SRE08: 1-3 interviews on both sides, 4 interview against call, 5 call against a call through
# a microphone, 6-8 calls. SRE10: 1, 2 interviews, 3, 4 interview against call by telephone, by microphone, 5 calls,
# 6 and 8 calls of high and low vocal effort by telephone, 7 and 9 by microphone.
SRE08 = Conditions("mmmmtttt", "mmmtmttt", 4)
SRE10 = Conditions("mmmmttmtm", "mmtmttmtm", 5)
NOT_SCORED = "NOT_SCORED"  # SRE10's word for a model without a speaker


class Model(NamedTuple):
    """A model's training side; pin: of its speaker, "" where the key has none; side: path:channel; where: its line."""

    name: str
    pin: str
    gender: str
    side: str
    where: str


def _models08(root: str) -> Iterator[Model]:
    """Lines `model, gender, segment:channel, speaker`."""
    table = find_table(root, "NIST_SRE08_short2.model.key")
    lines = [(number, cells) for number, cells in rows(table, 4) if number > 1 or cells[1].lower() in GENDERS]
    check_genders(table, (cells[1] for _, cells in lines))
    for number, (model, gender, side, pin, *_) in lines:
        yield Model(model, pin, gender, side, f"{table}: line {number}")


def _models10(root: str) -> Iterator[Model]:
    """Lines `model, speaker` of the key, and `model gender path:A|B` of the training list."""
    key, table = find_table(root, "coreext.modelkey.csv"), find_table(root, "coreext.trn")
    speakers = {model: pin for _, (model, pin, *_) in rows(key, 2) if pin != NOT_SCORED}
    lines = list(rows(table, 3, None))
    check_genders(table, (cells[1] for _, cells in lines))
    for number, (model, gender, side, *_) in lines:
        yield Model(model, speakers.get(model, ""), gender, side.split(",")[0], f"{table}: line {number}")


class EvaluationKey(NamedTuple):
    """Models of an evaluation, and its key of trials: model, segment, channel, target, ..., a flag for each common
    condition."""

    models: Callable[[str], Iterator[Model]]
    trials: str
    conditions: Conditions


EVALUATIONS = {
    "sre08": EvaluationKey(_models08, "NIST_SRE08_short2-short3.trial.key", SRE08),
    "sre10": EvaluationKey(_models10, "coreext-coreext.trialkey.csv", SRE10),
}


def read_evaluation(name: str, root: str, keep_microphone: bool = False) -> Corpus:
    """Training sides of the models and test sides of the target trials, those by telephone unless asked for all."""
    corpus, recordings, layout = Corpus(name, keep_microphone=keep_microphone), AudioFiles([root]), EVALUATIONS[name]
    models, trials = list(layout.models(root)), find_table(root, layout.trials)
    targets = [(number, cells) for number, cells in rows(trials, 4) if cells[3] == "target"]
    of_models, of_tests = kinds_of((cells for _, cells in targets), layout.conditions)
    known = {model.name: (model.pin, model.gender) for model in models if model.pin}
    for model in models:
        if not model.pin:
            corpus.drop("models without a speaker in the key")
            continue
        path, _, channel = model.side.rpartition(":")
        side, kind = channel_of(channel, model.where), of_models.get(model.name)
        corpus.add_kind(model.pin, model.gender, path, side, recordings, model.where, kind)
    for number, (model, segment, channel, *_) in targets:
        if model in known:
            where = f"{trials}: line {number}"
            side, kind = channel_of(channel, where), of_tests.get(segment)
            corpus.add_kind(*known[model], segment, side, recordings, where, kind)
    return corpus


# ---------------------------------------------------------------- Switchboard and Fisher


class Calls(NamedTuple):
    """A release's table of two-channel calls: its name, columns of the speakers and genders of sides A and B, how a
    file is called, the prefix of its speakers.

    info: a second table with two lines a call, whose first column is the file's name (Switchboard-2 phase 2). fields:
    least number in a line; 0: as many as are read. by_gender: people share PINs, a speaker is a PIN and a gender.
    """

    table: str
    speakers: tuple[int, int]
    genders: tuple[int, int]
    file: str = "{call}"
    info: str = ""
    bad: tuple[str, ...] = ()
    prefix: str = "sw_"
    fields: int = 0
    by_gender: bool = False


BAD_CELLULAR, BAD_FISHER = ("40019", "45024", "40022"), ("01243", "06716", "00446")
CALLS = {
    "swbd2p1": Calls("callstat.tbl", (2, 3), (5, 6)),
    "swbd2p2": Calls("callstat.tbl", (2, 3), (4, 5), info="callinfo.tbl"),
    "swbd2p3": Calls("callstat.tbl", (3, 4), (5, 6), "sw_{call}"),
    "swbcell1": Calls("swb_callstats.tbl", (1, 2), (3, 4), "sw_{call}", bad=BAD_CELLULAR),
    "swbcell2": Calls("swb_callstats.tbl", (1, 2), (3, 4), "sw_{call}", bad=BAD_CELLULAR),
    **{
        f"fisher{part}": Calls(
            f"fe_03_p{part}_calldata.tbl", (5, 10), (6, 11), "fe_03_{call}", "", BAD_FISHER, "fe_", 15, True
        )
        for part in (1, 2)
    },
}


def _call_files(layout: Calls, table: Path, calls: list[list[str]]) -> Iterator[str]:
    """The file of each call: named by its own line, or by its two lines of the second table."""
    if not layout.info:
        yield from (layout.file.format(call=cells[0].removesuffix(".sph")) for cells in calls)
        return
    info = table.with_name(layout.info)
    if not info.is_file():
        raise InputError(info, "no such file", "the table with two lines a call", "Copy all of the disc's doc/")
    names = [cells[0] for _, cells in rows(info, 1)]
    pairs = list(zip(names[::2], names[1::2]))
    if len(names) != 2 * len(calls) or any(a != b for a, b in pairs):
        found, expected = f"{len(names)} lines for {len(calls)} calls", f"two lines a call of {layout.table}"
        raise InputError(info, found, expected, "The layout has changed: report the first lines of both tables")
    yield from (name.removesuffix(".sph") for name, _ in pairs)


def read_calls(name: str, root: str) -> Corpus:
    """Both sides of every call of one part."""
    layout, recordings, corpus = CALLS[name], AudioFiles([root]), Corpus(name, CALLS[name].prefix)
    table = find_table(root, layout.table)
    lines = list(rows(table, layout.fields or max(layout.genders) + 1))
    if lines and layout.by_gender and not lines[0][1][0].isdigit():  # Fisher's have a header
        del lines[0]
    check_genders(table, (cells[column][:1] for _, cells in lines for column in layout.genders))
    for (number, cells), file in zip(lines, _call_files(layout, table, [cells for _, cells in lines])):
        if cells[0] in layout.bad:
            corpus.drop("calls known to be bad")
            continue
        for side in (0, 1):
            pin, gender = cells[layout.speakers[side]], cells[layout.genders[side]][:1].lower()
            if layout.by_gender and (gender not in ("m", "f") or not pin):
                corpus.drop("sides without PIN or gender")
                continue
            speaker = f"{pin}{gender}" if layout.by_gender else pin
            corpus.add(speaker, gender, file, side, recordings, f"{table}: line {number}")
    return corpus


# ---------------------------------------------------------------- Mixer 6

MIXER_CALLS, MIXER_SUBJECTS = "mx6_calls.csv", "mx6_subjs.csv"
MIXER_COLUMNS = {"call_id": 0, "sid_a": 4, "sid_b": 12}  # where the header does not say


def columns_of(header: list[str], places: dict[str, int], names: dict[str, tuple[str, ...]]) -> dict[str, int]:
    """{name: column} of the header's words, else by place; names: {name: what headers call it}."""
    words = [word.lower() for word in header]
    return places | {name: words.index(word) for name, known in names.items() for word in known if word in words}


def _mixer_files(root: str, recordings: AudioFiles) -> dict[str, str]:
    """{call: file name without suffix}. Raises InputError when no file is named <date>_<time>_<call>."""
    stems = (Path(path).stem for path in recordings.paths)
    found = {parts[2]: "_".join(parts) for parts in (stem.split("_") for stem in stems) if len(parts) == 3}
    if not found:
        told = "no recording <date>_<time>_<call>.sph"
        cure = "Unpack data/ulaw_sphere, and point --mixer6 at the directory with data/ and docs/"
        raise InputError(root, told, "data/ulaw_sphere/ with the telephone calls", cure)
    return found


def read_mixer6(name: str, root: str) -> Corpus:
    """Both sides of its telephone calls, `data/ulaw_sphere/<date>_<time>_<call>.sph`; the interviews are not used."""
    table, recordings, corpus = find_table(root, MIXER_CALLS), AudioFiles([root]), Corpus(name)
    subjects = find_table(root, MIXER_SUBJECTS)
    people = {cells[0]: cells[1] for number, cells in rows(subjects, 2) if number > 1}
    check_genders(subjects, people.values())
    files, lines = _mixer_files(root, recordings), list(rows(table, max(MIXER_COLUMNS.values()) + 1))
    columns = columns_of(lines[0][1], MIXER_COLUMNS, {name: (name,) for name in MIXER_COLUMNS})
    for number, cells in lines[1:]:
        call = cells[columns["call_id"]]
        for side, column in enumerate(("sid_a", "sid_b")):
            pin = cells[columns[column]]
            if not pin:
                corpus.drop("sides without a speaker")
                continue
            corpus.add(pin, people.get(pin, ""), files.get(call, call), side, recordings, f"{table}: line {number}")
    return corpus


# ---------------------------------------------------------------- the CTS superset

CTS_KEY = "docs/cts_superset_segment_key.tsv"
CTS_POSITIONS = {"segment": 1, "speaker": 3, "corpus": 7}  # when the header does not say
CTS_NAMES = {
    "segment": ("segment", "segmentid", "segment_id"),
    "speaker": ("speaker", "speakerid", "speaker_id"),
    "corpus": ("corpus", "corpusid", "corpus_id"),
    "gender": ("gender", "sex"),
}


def read_cts(root: str) -> list[Utterance]:
    """Every segment of the key. Raises InputError for a missing key, a ragged line and a segment without a file."""
    path = Path(root) / CTS_KEY
    if not path.is_file():
        raise InputError(path, "no such file", "the segment key", "Point --cts at the unpacked CTS superset")
    _, header = next(rows(path, 1, "\t"), (1, [""]))
    columns = columns_of(header, CTS_POSITIONS, CTS_NAMES)
    if (last := max(columns.values())) >= len(header):
        told, expected = f"{len(header)} columns ({' '.join(header)})", f"column {last + 1}, or names it by a word"
        raise InputError(path, told, expected, "Fetch the key again")
    recordings, utterances = AudioFiles([os.path.join(root, "data")]), []
    for number, cells in islice(rows(path, last + 1, "\t"), 1, None):
        row = {name: cells[column] for name, column in columns.items()}
        segment, speaker = row["segment"].removesuffix(".sph"), row["speaker"]
        file = recordings.find(f"{segment}.sph")
        if file is None:
            told, cure = f"segment {segment} without a file in {root}/data", "Unpack all of data/, or check the column"
            raise InputError(path, told, "data/<segment>.sph", cure, item=f"line {number}")
        gender = gender_of(row.get("gender", ""))
        utterances.append(Utterance(prefixed(segment, speaker), speaker, file, gender, info={"corpus": row["corpus"]}))
    return utterances
