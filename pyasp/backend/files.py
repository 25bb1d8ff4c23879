"""Files of a back end, as Kaldi's programs read and write them: mean.vec, transform.mat and plda."""

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pyasp import kaldi
from pyasp.backend.model import BackEnd
from pyasp.backend.options import ScoreOptions
from pyasp.backend.plda import Plda
from pyasp.core.conf import read_conf, write_conf
from pyasp.core.errors import InputError, rerun
from pyasp.core.files import atomic_write, replacing
from pyasp.core.options import option, subset
from pyasp.core.records import making
from pyasp.core.text import read_lines
from pyasp.data.trials import TrialList
from pyasp.kaldi.reader import open_object
from pyasp.kaldi.source import remade
from pyasp.kaldi.writer import write_object

FILES = MEAN, TRANSFORM, PLDA = "mean.vec", "transform.mat", "plda"
SCORING = "scoring.conf"  # beside them: what --scoring=auto has chosen


@dataclass(frozen=True)
class Scoring:
    """What scoring.conf says."""

    scoring: str = option("plda", "how two vectors are compared", choices=("plda", "cosine"))


def write_scoring(directory: str | Path, scoring: str) -> None:
    """Notes what --scoring=auto means with the back end in `directory`."""
    write_conf(Path(directory) / SCORING, Scoring(scoring))


def resolved(options: ScoreOptions, directory: str | Path) -> ScoreOptions:
    """The scoring options with `auto` decided as it was for the back end in `directory`; PLDA where it was not."""
    options, path = subset(options, ScoreOptions), Path(directory) / SCORING
    if options.scoring != "auto":
        return options
    return replace(options, scoring=read_conf(path, Scoring).scoring if path.is_file() else "plda")


def read_plda(path: str | Path) -> Plda:
    """Reads Kaldi's `<Plda>` object, binary or text, float or double."""
    with open_object(path) as stream:
        stream.expect("<Plda>")
        mean, transform, psi = stream.vector(np.float64), stream.matrix(np.float64), stream.vector(np.float64)
        stream.expect("</Plda>")
    found = [np.asarray(part, np.float64) for part in (mean, transform, psi)]
    if not all(np.isfinite(part).all() for part in found) or (found[2] < 0).any():
        told = f"values that are not finite, or a variance of {found[2].min(initial=0.0):g}"
        expected, cure = "finite numbers, and variances of 0 or more", "The model is damaged: train the back end again"
        raise InputError(path, told, expected, cure)
    return Plda(*found)


def write_plda(path: str | Path, plda: Plda, binary: bool = True) -> None:
    """Writes Kaldi's `<Plda>` object (double precision)."""
    with write_object(path, binary=binary) as stream:
        stream.put("<Plda>", plda.mean, plda.transform, plda.psi, "</Plda>")


def read_back_end(directory: str | Path, names: Iterable[str | Path] = FILES) -> BackEnd:
    """Reads mean.vec (float or double), transform.mat and plda, ours or Kaldi's; checks that they fit together.

    names: what these three are called in the directory.
    """
    paths = [Path(directory) / name for name in names]
    for path in paths:
        if not path.is_file():
            cure = remade(str(paths[2])) or rerun("scores")  # of all three the PLDA alone has a record
            raise InputError(path, "no such file", "a trained back end", cure)
    mean, transform = (np.asarray(kaldi.load(path), np.float64) for path in paths[:2])
    for path, array in zip(paths, (mean, transform)):
        if not np.isfinite(array).all():
            raise InputError(
                path,
                "values that are not finite",
                "finite numbers",
                remade(str(paths[2])) or "Train the back end again",
            )
    plda = read_plda(paths[2])
    fits = mean.ndim == 1 and transform.ndim == 2 and transform.shape[1] - len(mean) in (0, 1)
    if not fits or transform.shape[0] != plda.dim:
        found = f"files that do not belong together: mean {mean.shape}, transform {transform.shape}, PLDA of {plda.dim}"
        cure = remade(str(paths[2])) or "Train it again"
        raise InputError(paths[2].parent, found, "(D,), (R, D) or (R, D + 1), and R", cure)
    return BackEnd(mean, transform, plda)


def write_back_end(directory: str | Path, back_end: BackEnd, made: dict[str, Any]) -> None:
    """Writes the three files with the record `made`, plda last: it tells that all are there."""
    directory = Path(directory)
    for name, array in ((MEAN, back_end.mean), (TRANSFORM, np.asarray(back_end.transform, np.float32))):
        with making(directory / name, made) as path:
            kaldi.save(path, array)
    with making(directory / PLDA, made) as path:
        write_plda(path, back_end.plda)


# ---------------------------------------------------------------- adapted back ends, apart from a trial's own speakers

APART = "apart.tsv"  # in a back end's directory: the part of each recording whose speaker it was adapted to


def write_apart(
    directory: str | Path, folds: Mapping[tuple[str, str], int], back_ends: Mapping[tuple[int, int], BackEnd]
) -> None:
    """Writes apart/<f>-<g>.{vec,plda} and, last, `<set> <recording> <part>` lines; the transform is the directory's."""
    place = Path(directory) / "apart"
    place.mkdir(parents=True, exist_ok=True)
    for (f, g), back_end in back_ends.items():
        with replacing(place / f"{f}-{g}.vec") as path:
            kaldi.save(path, back_end.mean)
        with replacing(place / f"{f}-{g}.plda") as path:
            write_plda(path, back_end.plda)
    with atomic_write(Path(directory) / APART, "w") as stream:
        stream.writelines(f"{name}\t{utt}\t{fold}\n" for (name, utt), fold in folds.items())


def by_trial(
    directory: str | Path, trials: TrialList, models: tuple[str, list[str]], tests: tuple[str, list[str]]
) -> Iterator[tuple[np.ndarray, BackEnd]]:
    """(mask (N,) of trials, the back end that scores them): that of the directory for all, unless it has others for
    trials of speakers whom it was adapted to.

    models, tests: the data directory's name, and a recording of each trials.models or trials.tests.
    """
    path = Path(directory) / APART
    if not path.is_file():
        yield np.ones(len(trials), bool), read_back_end(directory)
        return
    part = {(name, utt): int(fold) for name, utt, fold in (line.split("\t") for line in read_lines(path))}
    sides = [
        np.array([part.get((name, utt), -1) for utt in utts], np.int8)[index]
        for (name, utts), index in ((models, trials.model), (tests, trials.test))
    ]
    low, high = np.minimum(*sides), np.maximum(*sides)
    for f, g in itertools.product(np.unique(low).tolist(), np.unique(high).tolist()):
        name, mask = f"apart/{g if f < 0 else f}-{g}", (low == f) & (high == g)
        if mask.any():
            yield mask, read_back_end(directory, FILES if g < 0 else (f"{name}.vec", TRANSFORM, f"{name}.plda"))
