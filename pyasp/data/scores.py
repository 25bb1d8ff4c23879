"""Score files: `<model> <test> <score>` lines in the order of their trial list, and which lists a system has scored.

A system's directory holds `scores/<list>`, and `dev/scores` for the trials among the dev speakers. Beside a score file
lie the scores alone as float32 (`<scores>.f32.npy`) and, where a step says something about its own scores, columns
(`<scores>.tsv`). A score is printed with the fewest digits that give the same float32 back. What a variant could not be
made of is in its `left_out.tsv`: the list, or `*` for all of them, and the reason.
"""

import contextlib
import math
import sys
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

import numpy as np

from pyasp.core.errors import CannotBeMade, InputError, rerun
from pyasp.core.files import absent, atomic_write, remove_tree
from pyasp.core.records import making, with_beside
from pyasp.core.text import between, read_lines
from pyasp.data.datadir import read_reasons, write_reasons, write_rows
from pyasp.data.trials import WORDS, Columns, TrialList, TrialReader, blocks, check_classes, columns_of, trial_lists
from pyasp.kaldi.source import remade

SCORED = "<model> <test> <score>"
LINES_AT_ONCE = 1 << 17
ARRAY = ".f32.npy"  # ends the name of the array beside a score file


# ---------------------------------------------------------------- one score file


def read_scored(trials_path: str | Path, scores_path: str | Path) -> tuple[np.ndarray, TrialList]:
    """Scores (N,) float64 and the trials of a list and its score file, which must be line-aligned.

    Streams both. InputError on the first line whose pair differs, on lists of different length, on a score that is no
    number, and as `check_classes`.
    """
    reader, scores = TrialReader(trials_path), array("d")
    with open(trials_path, "rb") as listed, open(scores_path, "rb") as scored:
        for first, lines in blocks(listed):
            columns = reader.add(first, lines)
            found = columns_of(list(islice(scored, len(lines))), first, scores_path, SCORED)
            _check_pairs(columns, found, first, scores_path)
            scores.extend(_numbers(found[2], first, scores_path))
        if scored.readline():
            raise InputError(scores_path, f"more than {len(scores)} lines", "one per trial", _scored_again(scores_path))
    trials = reader.trials()
    check_classes(int(trials.target.sum()), len(trials), trials_path)
    return np.frombuffer(scores, np.float64), trials


def _scored_again(path: object) -> str:
    return remade(str(path)) or "Score this list again"


def _check_pairs(listed: list[list[bytes]], scored: list[list[bytes]], first: int, path: object) -> None:
    """InputError on the first line whose model or test differ, or where the scores end; both are columns of a block."""
    if listed[:2] == scored[:2]:
        return
    pairs, found = list(zip(*listed[:2])), list(zip(*scored[:2]))
    wrong = next((i for i, (pair, other) in enumerate(zip(pairs, found)) if pair != other), len(found))
    seen = b" ".join(found[wrong]).decode(errors="replace") if wrong < len(found) else "the end of the file"
    expected = f"'{b' '.join(pairs[wrong]).decode(errors='replace')}' as in the trial list"
    raise InputError(path, repr(seen), expected, _scored_again(path), item=f"line {first + wrong}")


def _numbers(column: list[bytes], first: int, path: object) -> list[float]:
    values: list[float] = []
    try:
        values.extend(map(float, column))
    except ValueError:
        word, line = column[len(values)].decode(errors="replace"), f"line {first + len(values)}"
        raise InputError(path, repr(word), "a number", _scored_again(path), item=line) from None
    return values


def array_path(scores_path: str | Path) -> Path:
    """Name of the array beside a score file."""
    return Path(f"{scores_path}{ARRAY}")


def write_lines(stream: IO[str], trials: TrialList, scores: np.ndarray) -> None:
    """Writes `<model> <test> <score>` lines in the order of the list; scores (N,) float32."""
    models, tests = trials.models, trials.tests
    for start in range(0, len(trials), LINES_AT_ONCE):
        part = slice(start, start + LINES_AT_ONCE)
        rows = zip(trials.model[part].tolist(), trials.test[part].tolist(), scores[part].astype("U").tolist())
        stream.write("".join(f"{models[i]} {tests[j]} {text}\n" for i, j, text in rows))


def write_scores(
    path: str | Path, trials: TrialList, scores: np.ndarray, made: dict[str, Any], columns: Columns | None = None
) -> None:
    """Writes the scores (N,) of a list with the record `made`, the array beside them, and `<scores>.tsv` of columns.

    The score file comes last: it tells that all are there.
    """
    values = scores.astype(np.float32, copy=False)
    if columns:
        cells = zip(*(np.array(names)[codes] for names, codes in columns.values()))
        write_rows(f"{path}.tsv", columns, cells)
    with atomic_write(array_path(path)) as stream:
        np.save(stream, values, allow_pickle=False)
    others: list[str | Path] = [array_path(path), *([f"{path}.tsv"] if columns else [])]
    with (
        making(path, with_beside(made, there=others)) as temporary,
        open(temporary, "w", encoding="utf-8", newline="\n") as stream,
    ):
        write_lines(stream, trials, values)


# ---------------------------------------------------------------- score files of others

SCORE_FORMS = (  # of a line; Kaldi's compute-eer takes the first, WeSpeaker writes the fifth
    *("SCORE LABEL", "LABEL SCORE", "ENROL TEST SCORE", "SCORE ENROL TEST"),
    *("ENROL TEST SCORE LABEL", "LABEL ENROL TEST SCORE", "ENROL TEST LABEL SCORE"),
)
TRIAL_FORMS = ("ENROL TEST LABEL", "LABEL ENROL TEST")


def _is_number(word: str) -> bool:
    try:
        return math.isfinite(float(word))
    except ValueError:
        return False


FITS: dict[str, Callable[[str], bool]] = {
    "SCORE": _is_number,
    "LABEL": lambda word: word.lower() in WORDS,
    "ENROL": lambda word: True,
    "TEST": lambda word: True,
}


@dataclass(frozen=True)
class Given:
    """A score file of somebody else: scores (N,) float64, target (N,) bool, and how they were read, in words."""

    scores: np.ndarray
    target: np.ndarray
    notes: list[str]


def _read_forms(path: str | Path, forms: tuple[str, ...]) -> dict[str, dict[str, list[str]]]:
    """{form: its columns by name} of the forms that all lines have. InputError when there is none.

    Of several those go whose scores are labels throughout: so it is with ids that are numbers.
    """
    if not Path(path).is_file():
        raise InputError(path, absent(path), " or ".join(forms), "Check the path")
    rows = [fields for line in read_lines(path) if (fields := line.split())]
    if not rows:
        raise InputError(path, "no line", " or ".join(forms), "Check how the file was made")
    found = [form for form in forms if all(_row_fits(row, form.split()) for row in rows)]
    if not found:
        lines = [n for n, row in enumerate(rows, 1) if not any(_row_fits(row, each.split()) for each in forms)]
        item = f"line {lines[0]}" if lines else "lines of several forms"
        row = rows[lines[0] - 1 if lines else 0]
        mark = between(row[0]) if len(row) == 1 else ""
        cure = f"Put blanks in place of the {mark}" if mark else "Write all lines in one of these forms"
        if no_score := [word for word in row if word.lower().lstrip("+-") in ("nan", "inf", "infinity")]:
            cure = f"A score is a finite number: score again what gave {no_score[0]}, or leave it out of both files"
        raise InputError(path, repr(" ".join(row)[:80]), " or ".join(forms), cure, item=item)
    columns = {form: dict(zip(form.split(), map(list, zip(*rows)))) for form in found}
    likely = {form: each for form, each in columns.items() if not set(each.get("SCORE", "-")) <= set(WORDS)}
    return likely or columns


def _only(path: str | Path, found: dict[str, Any]) -> str:
    if len(found) > 1:
        cure = "Write ids that are no numbers, and the labels target and nontarget"
        raise InputError(path, f"lines that fit {' and '.join(found)}", "one of them", cure)
    return next(iter(found))


def _row_fits(row: list[str], names: list[str]) -> bool:
    return len(row) == len(names) and all(FITS[name](word) for name, word in zip(names, row))


def read_given(scores_path: str | Path, trials_path: str | Path | None = None) -> Given:
    """A score file of any form of SCORE_FORMS; where it has no labels they are those of a trial list, pair by pair.

    Lines may stand in any order. Scores of no trial are counted. InputError when a trial has no score, a pair has two,
    and as `check_classes`.
    """
    forms = _read_forms(scores_path, SCORE_FORMS)
    if all("LABEL" in columns for columns in forms.values()) == (trials_path is not None):
        found = "labels in both files" if trials_path else f"no labels ({' or '.join(forms).lower()})"
        cure = "Give the score file alone" if trials_path else "Give the trial list before it"
        raise InputError(scores_path, found, "labels in the scores or in a trial list", cure)
    if trials_path is not None:
        return _of_trials(scores_path, forms, trials_path)
    form = _only(scores_path, forms)
    values, labels = np.array([float(word) for word in forms[form]["SCORE"]]), forms[form]["LABEL"]
    return _given(scores_path, values, labels, [f"{scores_path}: read as {form.lower()}"])


def _of_trials(scores_path: str | Path, forms: dict[str, dict[str, list[str]]], trials_path: str | Path) -> Given:
    """As `read_given`, of a score file that may be of several forms: the pairs of the trials decide."""
    lists = _read_forms(trials_path, TRIAL_FORMS)
    fits = {(form, shape): _shared(forms[form], lists[shape]) for form in forms for shape in lists}
    best = [each for each, count in fits.items() if count == max(fits.values())]
    if len(best) > 1:
        _only(scores_path, forms)
        _only(trials_path, lists)
    form, shape = best[0]
    scores, listed = _by_pair(scores_path, forms[form]), lists[shape]
    pairs = list(zip(listed["ENROL"], listed["TEST"]))
    labels: dict[tuple[str, str], str] = {}
    for number, (pair, label) in enumerate(zip(pairs, listed["LABEL"]), 1):
        if WORDS[labels.setdefault(pair, label).lower()] != WORDS[label.lower()]:
            told = f"{' '.join(pair)} as {labels[pair]} and as {label}"
            raise InputError(trials_path, told, "one label a pair", "Remove one", item=f"line {number}")
    missing = [pair for pair in pairs if pair not in scores]
    if missing:
        told = f"no score of {len(missing)} of {len(pairs)} trials (first: {' '.join(missing[0])})"
        turned = sum((test, enrol) in scores for enrol, test in missing)
        told += f"; {turned} of them have one with enrolment and test turned about" if turned else ""
        cure = "Turn the two columns of one of the files" if turned == len(missing) else "Score the whole list"
        raise InputError(scores_path, told, "a score of every trial", cure)
    spare = len(scores.keys() - set(pairs))
    notes = [f"{scores_path}: read as {form.lower()}", f"{trials_path}: read as {shape.lower()}"]
    twice = len(pairs) - len(labels)
    notes += [f"{trials_path}: {twice} trials are listed again, and count twice"] if twice else []
    notes += [f"{spare} of {len(scores)} scores belong to no trial"] if spare else []
    return _given(trials_path, np.array([scores[pair] for pair in pairs]), listed["LABEL"], notes)


def _shared(*sides: dict[str, list[str]]) -> int:
    """How many pairs two files have in common."""
    one, other = (set(zip(columns["ENROL"], columns["TEST"])) for columns in sides)
    return len(one & other)


def _given(where: str | Path, values: np.ndarray, labels: list[str], notes: list[str]) -> Given:
    target = np.array([WORDS[word.lower()] for word in labels])
    check_classes(int(target.sum()), len(target), where)
    return Given(values, target, notes)


def _by_pair(path: object, columns: dict[str, list[str]]) -> dict[tuple[str, str], float]:
    found: dict[tuple[str, str], float] = {}
    for number, (*pair, value) in enumerate(zip(columns["ENROL"], columns["TEST"], map(float, columns["SCORE"])), 1):
        key = (pair[0], pair[1])
        if found.setdefault(key, value) != value:
            told = f"a second score of {' '.join(key)}: {found[key]} and {value}"
            raise InputError(path, told, "one score a pair", "Remove one", item=f"line {number}")
    return found


# ---------------------------------------------------------------- the lists of a system


@dataclass(frozen=True)
class Scored:
    """A list and where its scores lie in a system's directory; enroll, test: names of its data directories."""

    name: str
    trials: Path
    scores: str
    enroll: str
    test: str

    def read(self, system_dir: str | Path) -> tuple[np.ndarray, TrialList]:
        """Scores (N,) float64 of a system, and the trials. InputError when they do not belong together."""
        return read_scored(self.trials, Path(system_dir) / self.scores)


def dev_list(data: str | Path) -> Scored:
    """The trials among the dev speakers."""
    return Scored("dev", Path(data) / "dev" / "trials", "dev/scores", "dev", "dev")


def scored_names(trials_dir: str | Path, system_dir: str | Path) -> list[str]:
    """Names of the lists of a corpus that this system has scored. InputError when there is none."""
    if not Path(trials_dir).is_dir():
        raise InputError(trials_dir, "no such directory", "the corpus's trial lists", rerun("prepare"))
    if (Path(trials_dir) / "scores").is_dir():
        found, expected = "the directory of a system", "that of the trial lists, DATA/trials"
        raise InputError(trials_dir, found, expected, "Name the trial lists first, then the system")
    lists, directory = trial_lists(trials_dir), Path(system_dir) / "scores"
    scored = [name for name in lists if (directory / name).is_file()]
    if not scored:
        expected = f"scores of {', '.join(lists) or 'a list'}"
        raise InputError(directory, "no score file of any list", expected, rerun("scores"))
    return scored


def scored_lists(data: str | Path, system_dir: str | Path) -> list[Scored]:
    """Every list that a system has scored, the dev trials last. InputError when there is none."""
    trials, dev = Path(data) / "trials", dev_list(data)
    names = scored_names(trials, system_dir)
    found = [Scored(name, trials / name, f"scores/{name}", "enroll", "test") for name in names]
    return [*found, dev] if dev.trials.is_file() and (Path(system_dir) / dev.scores).is_file() else found


def with_scores(exp: str | Path) -> list[str]:
    """Names of the systems of an experiment that have scores."""
    return sorted(path.parent.name for path in Path(exp).glob("*/scores"))


def training_list(data: str | Path, system_dir: str | Path, name: str) -> Scored:
    """The list that calibration is trained on: `name` of the corpus's lists, or the dev trials when it is empty."""
    found = {each.name: each for each in scored_lists(data, system_dir)}
    if (name or "dev") not in found:
        raise CannotBeMade(
            system_dir,
            f"no scores of {name or 'trials among dev speakers'}",
            "a scored list to train calibration on",
            "Hold dev speakers out (--dev-fraction in select.conf, then from stage select on), or name a list with "
            "--calibration-list, or use calhalf",
        )
    return found[name or "dev"]


# ---------------------------------------------------------------- what a variant could not be made of

LEFT_OUT, ALL = "left_out.tsv", "*"


def read_left_out(system_dir: str | Path) -> dict[str, str]:
    """{list, or `*` for all: why it was left out}; nothing for a system that is whole."""
    return read_reasons(Path(system_dir) / LEFT_OUT)


def note_left_out(system_dir: str | Path, reasons: Mapping[str, str], force: bool = False) -> None:
    """Says on screen, and keeps beside the system, what was left out and why; a former note goes.

    InputError where scores of an earlier run are in the way, unless `force`, which deletes them.
    """
    directory = Path(system_dir)
    kinds = ("", ".made.json", ARRAY, ".tsv")
    gone = [f"scores/{name}{kind}" for name in reasons for kind in kinds] if ALL not in reasons else ["scores", "dev"]
    old = [directory / name for name in gone if (directory / name).exists()]
    if old and not force:
        way_out = rerun("scores", "With --force they are deleted", force=True)
        raise InputError(old[0], "scores of an earlier run", f"none: {'; '.join(reasons.values())}", way_out)
    for path in old:
        remove_tree(path)
    with contextlib.suppress(OSError):  # it holds scores of other lists, or is not there
        (directory / "scores").rmdir()
    if not reasons:
        (directory / LEFT_OUT).unlink(missing_ok=True)
        return
    for name, reason in reasons.items():
        print(f"warning: {directory.name}{'' if name == ALL else f', {name}'} is left out: {reason}", file=sys.stderr)
    write_reasons(directory / LEFT_OUT, reasons, "list")


@contextlib.contextmanager
def optional(system_dir: str | Path, force: bool = False) -> Iterator[dict[str, str]]:
    """Around the making of a variant: where it cannot be made, that is noted, and the run goes on.

    Yields {list: reason} for lists that are left out alone. The system itself is not optional: its errors pass.
    """
    reasons: dict[str, str] = {}
    try:
        yield reasons
    except CannotBeMade as error:
        if not {"+", ":"} & set(Path(system_dir).name):
            raise
        reasons = {ALL: str(error)}
    note_left_out(system_dir, reasons, force)
