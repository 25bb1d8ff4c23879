"""Trials of growing length from a protocol of short recordings: those of an evaluation speaker are joined.

The model is `--enroll` recordings of different words (his rarest), joined; the tests are 1, 2, 5 and 10 others
(`--lengths`) of words that are not in the model, each the beginning of the next. All lists hold the same pairs of
speakers, so only the length of the test differs.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile

from local.folder_sources import plain_or_packed
from local.toy_speech import stream
from pyasp.audio.recording import read_file
from pyasp.core.command import command
from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write
from pyasp.core.options import option
from pyasp.core.progress import bar
from pyasp.data.datadir import c_sorted, read_rows, write_rows

Row = dict[str, str]
COLUMNS = ("utt", "speaker", "path")


@dataclass(frozen=True)
class Options:
    """Options of join_words."""

    tables: str = option("", "protocol: test.tsv and enroll.tsv with a column `word`, train.tsv")
    root: str = option("", "what the paths of the tables are relative to")
    enroll: int = option(3, "recordings of a model, of different words")
    lengths: tuple[str, ...] = option(("1", "2", "5", "10"), "recordings of a test: a list each")
    draws: int = option(4, "models of a speaker, each with its tests")
    nontargets: int = option(13, "tests of other speakers that a model meets")
    seed: int = option(1, "seed of the draws")


def speakers_of(tables: str) -> dict[str, list[Row]]:
    """{speaker: his evaluation recordings}, in C order. InputError for a table without words."""
    rows = {}
    for name in ("test.tsv", "enroll.tsv"):
        table = read_rows(plain_or_packed(Path(tables) / name), (*COLUMNS, "word"))
        rows.update((row["utt"], row) for row in table)
    found: dict[str, list[Row]] = {}
    for utt in c_sorted(rows):
        found.setdefault(rows[utt]["speaker"], []).append(rows[utt])
    return found


def draw(rows: list[Row], enroll: int, longest: int, rng: np.random.Generator) -> tuple[list[Row], list[Row]] | None:
    """Recordings of a model and of the longest test, whose words are others; None where a speaker has too few."""
    order = [rows[k] for k in rng.permutation(len(rows))]
    often = [row["word"] for row in rows]
    rarest = sorted(dict.fromkeys(row["word"] for row in order), key=often.count)[:enroll]
    model = [next(row for row in order if row["word"] == word) for word in rarest]
    rest = [row for row in order if row["word"] not in rarest]
    return (model, rest[:longest]) if len(model) == enroll and len(rest) >= longest else None


def join(rows: list[Row], root: str, path: Path) -> None:
    """Writes recordings one after another as a FLAC file. InputError for other than one channel and one rate."""
    parts = [read_file(os.path.join(root, row["path"])) for row in rows]
    rates, channels = {rate for _, rate in parts}, {len(samples) for samples, _ in parts}
    if len(rates) > 1 or channels != {1}:
        found = f"rates {sorted(rates)}, channels {sorted(channels)}"
        raise InputError(path, found, "recordings of one channel and one rate", "Convert them")
    samples = np.concatenate([samples[0] for samples, _ in parts])
    with atomic_write(path) as file:
        soundfile.write(file, samples, rates.pop(), format="FLAC", subtype="PCM_16")


def write_columns(path: Path, names: tuple[str, ...], rows: Iterable[Row]) -> None:
    """A table of these columns."""
    write_rows(path, names, ([row[name] for name in names] for row in rows))


def trials(speakers: list[str], nontargets: int, rng: np.random.Generator) -> list[tuple[int, int]]:
    """Pairs (model, test) by number: each model with its own test, and with some tests of other speakers."""
    number = np.arange(len(speakers))
    owner = np.unique(speakers, return_inverse=True)[1]
    pairs = [(k, k) for k in number.tolist()]
    for k in number.tolist():
        others = rng.permutation(number[owner != owner[k]])[:nontargets]
        pairs += [(k, other) for other in sorted(others.tolist())]
    return sorted(pairs)


class Joined:
    """What is made: models and, by length, tests, in the same order; the k-th test is of the k-th model's speaker."""

    def __init__(self, options: Options, directory: Path):
        self.options, self.directory = options, directory
        self.lengths = sorted(map(int, options.lengths))
        self.models: list[Row] = []
        self.tests: dict[int, list[Row]] = {length: [] for length in self.lengths}

    def add(self, speaker: str, rows: list[Row], rng: np.random.Generator) -> None:
        """A speaker's draws; none where he has too few recordings."""
        for k in range(1, self.options.draws + 1):
            drawn = draw(rows, self.options.enroll, self.lengths[-1], rng)
            if drawn:
                self.models.append(self._recording(speaker, f"model{k}", drawn[0]))
                for length in self.lengths:
                    self.tests[length].append(self._recording(speaker, f"test{k}-{length}", drawn[1][:length]))

    def _recording(self, speaker: str, name: str, rows: list[Row]) -> Row:
        path = self.directory / "audio" / speaker / f"{name}.flac"
        join(rows, self.options.root, path)
        utt = f"{speaker}-{name}"
        return {"model": utt, "utt": utt, "speaker": speaker, "path": str(path)}

    def write(self, rng: np.random.Generator) -> None:
        """The tables and the lists."""
        write_columns(self.directory / "enroll.tsv", ("model", *COLUMNS), self.models)
        write_columns(self.directory / "test.tsv", COLUMNS, (row for rows in self.tests.values() for row in rows))
        train = read_rows(plain_or_packed(Path(self.options.tables) / "train.tsv"), COLUMNS)
        root = os.path.abspath(self.options.root)
        write_columns(
            self.directory / "train.tsv", COLUMNS, ({**row, "path": os.path.join(root, row["path"])} for row in train)
        )
        pairs = trials([row["speaker"] for row in self.models], self.options.nontargets, rng)
        for length, tests in self.tests.items():
            with atomic_write(self.directory / f"trials_{length}", "w") as file:
                for i, j in pairs:
                    label = "target" if i == j else "nontarget"
                    file.write(f"{self.models[i]['model']} {tests[j]['utt']} {label}\n")


@command(Options, "OUT")
def main(options: Options, out: str) -> None:
    """Writes OUT/audio and OUT/{train,enroll,test}.tsv, OUT/trials_<length>: a protocol whose evaluation recordings are
    joined ones of --tables; its training recordings stay as they are."""
    rng, made = stream(options.seed, "join"), Joined(options, Path(os.path.abspath(out)))
    everyone = speakers_of(options.tables)
    for speaker, rows in bar(everyone.items(), len(everyone), "join", "speaker"):
        made.add(speaker, rows, rng)
    used = {row["speaker"] for row in made.models}
    if len(used) < 2:
        found = f"{len(used)} speakers with {options.enroll} words and {made.lengths[-1]} recordings of other words"
        raise InputError(options.tables, found, "at least two", "Lower --enroll or --lengths")
    made.write(rng)
    print(
        f"{out}: {len(made.models)} models of {len(used)} speakers; {len(everyone) - len(used)} have too few recordings"
    )


if __name__ == "__main__":
    raise SystemExit(main())
