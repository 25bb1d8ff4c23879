"""Trial lists: `<model> <test> target|nontarget`, with line-aligned extra columns in `<list>.tsv`.
Written as a stream."""

from __future__ import annotations

import contextlib
from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import IO, NamedTuple

from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write
from pyasp.core.text import open_text
from pyasp.data.datadir import check_id

LABELS = {"target": True, "nontarget": False, "1": True, "0": False, "imp": False, "nontgt": False}


class Trial(NamedTuple):
    """One trial; columns are values for the `.tsv` beside the list."""

    model: str
    test: str
    target: bool
    columns: tuple[str, ...] = ()


def list_name(path: str | Path) -> str:
    """Key of a list in results.json: its file name without .gz and .txt."""
    return Path(path).name.removesuffix(".gz").removesuffix(".txt")


def by_name(paths: Iterable[str]) -> dict[str, str]:
    """{name of the list: path}. Raises InputError for two lists of one name, and for a name that is no list's."""
    found: dict[str, str] = {}
    for path in paths:
        name = list_name(path)
        if name.startswith(".") or name.endswith((".tsv", ".json")) or check_id(name, "trial list", "--trials") != name:
            raise InputError(
                "--trials",
                f"a list called {name}",
                "a name without a dot at its start, .tsv or .json at its end",
                "Rename the file: such files stand beside lists",
                item=path,
            )
        if found.setdefault(name, path) != path:
            raise InputError(
                "--trials", f"two lists called {name}", "lists of different file names", "Rename one", item=path
            )
    return found


def read_label(text: str, where: object) -> bool:
    """True for a target trial. Raises InputError for any other word than LABELS."""
    if text not in LABELS:
        raise InputError(where, f"label {text!r}", "target or nontarget (1 or 0)", "Repair the line")
    return LABELS[text]


def read_lines(path: str | Path, fields: int) -> Iterator[tuple[str, list[str]]]:
    """(place, fields) of each line that is not empty.
    Raises InputError on a missing file or another number of fields."""
    if not Path(path).is_file():
        raise InputError(path, "no such file", "a trial list", "Check the path given with --trials")
    with open_text(path) as stream:
        for number, line in enumerate(stream, 1):
            parts = line.split()
            if parts and len(parts) != fields:
                raise InputError(
                    path, f"{len(parts)} fields", f"{fields} fields", "Repair the line", item=f"line {number}"
                )
            if parts:
                yield f"{path}: line {number}", parts


def _checked(trials: Iterable[Trial], models: Container[str], tests: Container[str], where: object) -> Iterator[Trial]:
    for trial in trials:
        for name, known, place in ((trial.model, models, "enroll/model2utts"), (trial.test, tests, "test/utt2spk")):
            if name not in known:
                raise InputError(
                    where,
                    f"{name!r} in a trial",
                    f"an id of {place}",
                    "Add it to the data or take the trial out of the list",
                    item=f"{trial.model} {trial.test}",
                )
        yield trial


class ListWriter:
    """An open list; see `open_list`."""

    def __init__(self, path: Path, stream: IO, table: IO | None):
        self.path, self._list, self._table = path, stream, table
        self.targets = self.nontargets = 0

    def add(self, trial: Trial) -> None:
        """Appends one trial."""
        label = "target" if trial.target else "nontarget"
        self.put(f"{trial.model} {trial.test} {label}\n", "\t".join(trial.columns) + "\n", trial.target)

    def put(self, line: str, row: str, target: bool) -> None:
        """Appends one trial as the finished lines of the list and of the table beside it."""
        if target:
            self.targets += 1
        else:
            self.nontargets += 1
        self._list.write(line)
        if self._table:
            self._table.write(row)

    @property
    def empty(self) -> bool:
        """True while no trial was added."""
        return not self.targets + self.nontargets

    @property
    def counts(self) -> dict[str, int]:
        """{"target": n, "nontarget": n}."""
        return {"target": self.targets, "nontarget": self.nontargets}


@contextlib.contextmanager
def open_list(directory: Path, name: str, columns: tuple[str, ...], may_be_empty: bool = False) -> Iterator[ListWriter]:
    """A writer of trials/<name>, and trials/<name>.tsv when there are columns: trials are written as they come,
    atomically.

    At the end: InputError for a list of one class only, and for an empty one unless `may_be_empty` (then nothing is
    left).
    """
    path = directory / "trials" / name
    with contextlib.ExitStack() as stack:
        stream = stack.enter_context(atomic_write(path, "w"))
        table = stack.enter_context(atomic_write(Path(f"{path}.tsv"), "w")) if columns else None
        if table:
            table.write("\t".join(columns) + "\n")
        writer = ListWriter(path, stream, table)
        yield writer
        if not (may_be_empty and writer.empty):
            check_classes(path, writer.targets, writer.nontargets)
    if writer.empty:
        path.unlink()
        Path(f"{path}.tsv").unlink(missing_ok=True)


def write_list(
    directory: Path,
    name: str,
    trials: Iterable[Trial],
    columns: tuple[str, ...],
    models: Container[str],
    tests: Container[str],
) -> dict[str, int]:
    """Writes one list from an iterator; returns its counts.
    Raises InputError as open_list, and for an id in no data set."""
    with open_list(directory, name, columns) as writer:
        for trial in _checked(trials, models, tests, writer.path):
            writer.add(trial)
    return writer.counts


def check_classes(where: object, targets: int, nontargets: int) -> None:
    """Raises InputError unless there are trials of both classes."""
    if not targets + nontargets:
        raise InputError(
            where,
            "an empty trial list",
            "at least one target and one nontarget trial",
            "Check the list given with --trials, or the key",
        )
    if not targets or not nontargets:
        raise InputError(
            where,
            f"{targets} target and {nontargets} nontarget trials",
            "both classes",
            "An error rate needs both: check the labels of the list",
        )
