"""Kaldi data directories: plain tables, `key rest-of-line`, one entry a line, sorted in C locale.

`utt2spk` is primary, `spk2utt` derived. `cuts.jsonl.gz` (lhotse) is the audio index. Enrolment directories also hold
`model2utts`: `<model> <utt> <utt> ...`. `utt2info.tsv` (header, utt first) keeps every further column of a corpus.
"""

import functools
import math
import re
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path

from pyasp.audio.cut_files import MAX_SECONDS
from pyasp.core.errors import InputError, rerun
from pyasp.core.files import atomic_write
from pyasp.core.text import between, c_sorted, read_lines

MADE_BY = {  # which stage of run.sh makes which files: the cure named when one is missing
    "prepare": "utt2spk spk2utt cuts.jsonl.gz model2utts wav.scp utt2info.tsv utt2dur",
    "features": "feats.scp vad.scp utt2num_frames utt2num_voiced utt2num_silent",
    "augment": "utt2clean utt2speed",
    "select": "valid_utts dev_speakers",
}
TRAINING_RATES = "training recordings by rate"  # in prep.json: {"16000 Hz": how many}
MADE_BY_STAGE = {name: stage for stage, names in MADE_BY.items() for name in names.split()}

INFO = "utt2info.tsv"
GENDERS = {"m": "m", "f": "f", "male": "m", "female": "f"}  # as people write them, in capitals or not
BLANKS = " \t\r"
BAD_ID = re.compile(r"[\s/\\|\"'<>;&\x00-\x1f\x7f\ufeff]")
WORD = re.compile(r"[^ \t\r\n]+")


def _open_table(path: Path) -> list[str]:
    try:
        return read_lines(path)
    except FileNotFoundError:
        stage = MADE_BY_STAGE.get(path.name)
        cure = rerun(stage) if stage else "Check the path"
        raise InputError(path, "no such file", "a table", cure) from None


def gender_of(text: str) -> str:
    """m or f; nothing of a word that is none of GENDERS."""
    return GENDERS.get(text.strip().lower(), "")


def check_id(name: str, kind: str, where: object) -> str:
    """The id itself when Kaldi tables and file names can hold it, else InputError."""
    if not isinstance(name, str) or not name or BAD_ID.search(name) or name in (".", ".."):
        expected = "an id without spaces, slashes, quotes and | ; & < >"
        raise InputError(where, f"{kind} id {name!r}", expected, "Rename it in the table, or rename the files")
    return name


def read_table(path: str | Path, twice: list[str] | None = None) -> dict[str, str]:
    """A table as {key: rest of the line}, in file order; a blank or a tab ends the key, as in Kaldi.

    twice: gets the keys of lines that come again as they are. Raises InputError on empty lines, and on such a key
    without it, or with another value.
    """
    table: dict[str, str] = {}
    for number, line in enumerate(_open_table(Path(path)), 1):
        key, _, value = line.strip(BLANKS).partition(" ") if "\t" not in line else _split_at_tab(line)
        if not key:
            raise InputError(path, "an empty line", "key and value", rerun("check", "Delete it"), item=f"line {number}")
        if key in table and twice is not None and table[key] == value.strip():
            twice.append(key)
        elif key in table:
            cure = "Remove one of its lines; pyasp data fix DIR does it where they are the same"
            raise InputError(path, f"key {key!r} a second time", "unique keys", cure, item=f"line {number}")
        table[key] = value.strip()
    return table


def _split_at_tab(line: str) -> tuple[str, str, str]:
    key, *rest = re.split("[ \t]+", line.strip(BLANKS), maxsplit=1)
    return key, "", rest[0] if rest else ""


def read_model2utts(path: str | Path) -> dict[str, list[str]]:
    """{model: recordings} of a `<model> <utt> <utt> ...` file. InputError on a model twice or without recordings."""
    models: dict[str, list[str]] = {}
    for number, line in enumerate(_open_table(Path(path)), 1):
        model, *utts = line.split() or [""]
        if not utts or model in models:
            expected = "<model> <utt> <utt> ..., each model once"
            raise InputError(path, repr(line[:80]), expected, "Correct the line", item=f"line {number}")
        models[model] = utts
    return models


def check_width(found: int, wanted: int, where: object, number: int, cure: str) -> None:
    """InputError when line `number` of a table with a header has not as many fields as that."""
    if found != wanted:
        raise InputError(where, f"{found} fields", f"{wanted}, as in the header", cure, item=f"line {number}")


def read_rows(
    path: str | Path, needed: tuple[str, ...] = (), cure: str = "Repair the line", key: str = ""
) -> Iterator[dict[str, str]]:
    """Rows of a tab-separated table with a header; blank lines are no rows, blanks at the ends of a cell no part of it.

    needed: columns that must be there, and hold something; key: the one whose values must differ. Raises InputError for
    a missing file, a column missing or named twice, ragged lines, empty cells, and a key twice.
    """
    try:
        lines = read_lines(path)
    except FileNotFoundError:
        expected = f"a table with the columns {' '.join(needed)}"
        raise InputError(path, "no such file", expected, "Check the path") from None
    header = [name.strip() for name in lines[0].split("\t")] if lines else []
    seen: dict[str, int] = {}
    missing = [name for name in needed if name not in header]
    if missing:
        expected = f"a column {missing[0]} (of {' and '.join(needed)}; tabs between, header first)"
        mark = between(lines[0]) if lines else ""
        found = f"{mark} between {lines[0][:80]!r}" if mark else f"columns {' '.join(header)}"
        small = missing[0] in [name.lower() for name in header]
        cure = (
            f"Put tabs in place of the {mark}" if mark else "Write it in small letters" if small else "Add the column"
        )
        raise InputError(path, found, expected, cure)
    if len(set(header)) < len(header):
        raise InputError(path, f"columns {' '.join(header)}", "each name once", "Rename one")
    for number, line in enumerate(lines[1:], 2):
        if not line.strip():
            continue
        cells = [cell.strip() for cell in line.split("\t")]
        check_width(len(cells), len(header), path, number, cure)
        row = dict(zip(header, cells))
        empty = [name for name in needed if not row[name]]
        if empty or key and row[key] in seen:
            found = f"no {empty[0]}" if empty else f"{key} {row[key]!r} again, as in line {seen[row[key]]}"
            raise InputError(path, found, f"each line with {' '.join(needed)} of its own", cure, item=f"line {number}")
        if key:
            seen[row[key]] = number
        yield row


def write_rows(path: str | Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Writes a tab-separated table with a header, as `read_rows` reads it, atomically."""
    with atomic_write(path, "w") as stream:
        stream.writelines("\t".join(cells) + "\n" for cells in (header, *rows))


def write_table(path: str | Path, table: Mapping[str, str]) -> None:
    """Writes `key value` lines in C-locale order, atomically. Raises InputError for what would not come back so."""
    for key, value in table.items():
        if not WORD.fullmatch(key) or "\n" in value:
            found = f"the entry {key!r} {value[:60]!r}"
            raise InputError(path, found, "a key without spaces, and one line", "Repair the ids")
    with atomic_write(path, "w") as stream:
        for key in c_sorted(table):
            stream.write(f"{key} {table[key]}".rstrip() + "\n")


def write_list(path: str | Path, keys: Iterable[str]) -> None:
    """Writes one key a line in C-locale order, atomically."""
    write_table(path, {key: "" for key in keys})


def invert(utt2spk: Mapping[str, str]) -> dict[str, list[str]]:
    """{speaker: utterances}, both sorted."""
    spk2utt: dict[str, list[str]] = {}
    for utt in c_sorted(utt2spk):
        spk2utt.setdefault(utt2spk[utt], []).append(utt)
    return {spk: spk2utt[spk] for spk in c_sorted(spk2utt)}


def joined(lists: Mapping[str, Iterable[str]]) -> dict[str, str]:
    """A table of {key: names}, as spk2utt and model2utts are."""
    return {key: " ".join(names) for key, names in lists.items()}


def read_reasons(path: str | Path) -> dict[str, str]:
    """{name: reason} of a table such as dropped.tsv; empty when there is none."""
    rows = read_lines(path)[1:] if Path(path).is_file() else []
    return {name: reason or "no reason given" for name, _, reason in (row.partition("\t") for row in rows)}


def write_reasons(path: str | Path, reasons: Mapping[str, str], what: str = "utt") -> None:
    """Writes {name: reason} as a table with a header, what is named first, C-sorted, atomically."""
    write_rows(path, (what, "reason"), ((name, " ".join(reasons[name].split())) for name in c_sorted(reasons)))


class DataDir:
    """A Kaldi data directory; tables are read when first asked for.

    twice: gets {table: keys of lines that come again as they are}; without it these are an error.
    """

    def __init__(self, path: str | Path, twice: dict[str, list[str]] | None = None):
        self.path, self.twice = Path(path), twice

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def has(self, name: str) -> bool:
        """True when the directory holds this file."""
        return (self.path / name).is_file()

    def require(self, *names: str) -> list[Path]:
        """Where some files lie. Raises InputError naming the first missing file and the stage that makes it."""
        for name in (name for name in names if not self.has(name)):
            cure = rerun(MADE_BY_STAGE.get(Path(name).name, "prepare"))
            raise InputError(self / name, "no such file", "a file of the data directory", cure)
        return [self / name for name in names]

    def read(self, name: str) -> dict[str, str]:
        """One table of the directory as {key: rest of the line}."""
        again: list[str] = []
        table = read_table(self.path / name, None if self.twice is None else again)
        if self.twice is not None and again:
            self.twice[name] = again
        return table

    def write(self, name: str, table: Mapping[str, str]) -> None:
        """Writes one table of the directory, sorted, atomically."""
        (self.path / name).parent.mkdir(parents=True, exist_ok=True)
        write_table(self.path / name, table)

    @functools.cached_property
    def utt2spk(self) -> dict[str, str]:
        """{utterance: speaker}."""
        return self.read("utt2spk")

    @functools.cached_property
    def spk2utt(self) -> dict[str, list[str]]:
        """{speaker: [utterances]}, derived from utt2spk."""
        return invert(self.utt2spk)

    def read_if_there(self, name: str) -> dict[str, str]:
        """One table of the directory; empty where the corpus has none."""
        return self.read(name) if self.has(name) else {}

    @functools.cached_property
    def segments(self) -> dict[str, str]:
        """{utterance: recording, start and end}; empty where utterances are whole recordings."""
        return self.read_if_there("segments")

    def recording(self, utt: str) -> str:
        """The recording that an utterance is of; "" where segments lack it."""
        return next(iter(self.segments.get(utt, "").split()), "") if self.segments else utt

    def stretch(self, utt: str, recordings: Container[str]) -> tuple[str, float, float | None]:
        """(recording, start, seconds; None: to its end) of an utterance. InputError for what segments cannot mean."""
        name, times = self.recording(utt), self.segments.get(utt, "").split()[1:3]
        fix = f"pyasp data fix {self.path} leaves such utterances out, with their reasons"
        if name not in recordings or len(times) < 2 * bool(self.segments):
            found = f"no path in wav.scp, or no segment, of {utt}"
            raise InputError(self.path, found, "wav.scp and segments that cover utt2spk", fix)
        if not times:
            return name, 0.0, None
        try:
            start, end = map(float, times)
        except ValueError:
            start = end = math.nan
        if not (0 <= start < MAX_SECONDS and (start < end < MAX_SECONDS or -MAX_SECONDS < end < 0)):
            expected = "<recording> <start> <end> in seconds, start < end"
            raise InputError(self / "segments", " ".join(times), expected, f"Repair the line: {fix}", item=utt)
        return name, start, end - start if end > 0 else None

    @functools.cached_property
    def gender(self) -> dict[str, str]:
        """{utterance: gender}; empty where the corpus has none."""
        known = self.read_if_there("spk2gender")
        return {utt: known[spk] for utt, spk in self.utt2spk.items() if spk in known}

    @functools.cached_property
    def seconds(self) -> dict[str, float]:
        """{utterance: seconds}; empty where there is no utt2dur."""
        return self.numbers("utt2dur") if self.has("utt2dur") else {}

    def numbers(self, name: str) -> dict[str, float]:
        """A table of numbers. Raises InputError for what is none, or not finite."""
        found = {}
        for key, text in self.read(name).items():
            try:
                found[key] = float(text)
            except ValueError:
                found[key] = math.nan
            if not math.isfinite(found[key]):
                cure = f"pyasp data fix {self.path} sets utt2dur to what the audio is" if name == "utt2dur" else ""
                cure = cure or rerun(MADE_BY_STAGE.get(name, "prepare"))
                raise InputError(self / name, repr(text), "a number", cure, item=key)
        return found

    def counts(self, name: str) -> dict[str, int]:
        """A table of whole numbers, of frames as a rule. Raises InputError as `numbers`."""
        return {key: int(value) for key, value in self.numbers(name).items()}

    @functools.cached_property
    def model2utts(self) -> dict[str, list[str]]:
        """{enrolment model: [utterances]}."""
        return read_model2utts(self / "model2utts")

    @property
    def models(self) -> dict[str, list[str]]:
        """The same; empty where nobody is enrolled."""
        return self.model2utts if self.has("model2utts") else {}

    def write_models(self, models: Mapping[str, Iterable[str]]) -> None:
        """Writes model2utts."""
        self.write("model2utts", joined(models))

    @functools.cached_property
    def info(self) -> dict[str, dict[str, str]]:
        """{utterance: {column: value}} of utt2info.tsv; empty when there is none."""
        if not self.has(INFO):
            return {}
        rows = ([*row.items()] for row in read_rows(self / INFO, cure=rerun("prepare")))
        return {utt: dict(columns) for (_, utt), *columns in rows}

    def write_info(self, rows: Mapping[str, Mapping[str, str]]) -> None:
        """Writes utt2info.tsv of {utterance: {column: value}}, empty where one has no value; none without columns."""
        columns = list(dict.fromkeys(name for row in rows.values() for name in row))
        if columns:
            cells = ([utt, *(rows[utt].get(name, "") for name in columns)] for utt in c_sorted(rows))
            write_rows(self / INFO, ("utt", *columns), cells)
        else:
            (self / INFO).unlink(missing_ok=True)

    def write_speakers(self, utt2spk: Mapping[str, str]) -> None:
        """Writes utt2spk and the derived spk2utt."""
        self.write("spk2utt", joined(invert(utt2spk)))
        self.write("utt2spk", utt2spk)
