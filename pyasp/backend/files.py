"""Files of a back end, as Kaldi's programs read and write them: mean.vec, transform.mat and plda."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pyasp import kaldi
from pyasp.backend.model import BackEnd
from pyasp.backend.options import ScoreOptions
from pyasp.backend.plda import Plda
from pyasp.core.conf import read_conf, write_conf
from pyasp.core.errors import InputError
from pyasp.core.options import option, subset
from pyasp.core.records import making
from pyasp.kaldi.reader import open_object, write_object

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
        raise InputError(
            path,
            f"values that are not finite, or a variance of {found[2].min(initial=0.0):g}",
            "finite numbers, and variances of 0 or more",
            "The model is damaged: train the back end again",
        )
    return Plda(*found)


def write_plda(path: str | Path, plda: Plda, binary: bool = True) -> None:
    """Writes Kaldi's `<Plda>` object (double precision)."""
    with write_object(path, binary=binary) as stream:
        stream.token("<Plda>")
        stream.vector(plda.mean)
        stream.matrix(plda.transform)
        stream.vector(plda.psi)
        stream.token("</Plda>")


def read_back_end(directory: str | Path) -> BackEnd:
    """Reads mean.vec (float or double), transform.mat and plda, ours or Kaldi's; checks that they fit together."""
    paths = [Path(directory) / name for name in FILES]
    for path in paths:
        if not path.is_file():
            raise InputError(path, "no such file", "a trained back end", "Run stage 9 (train_backend) first")
    return read_back_end_files(*paths)


def read_back_end_files(mean_path: Path, transform_path: Path, plda_path: Path) -> BackEnd:
    """As `read_back_end`, from three files wherever they lie."""
    mean, transform = (np.asarray(kaldi.load(path), np.float64) for path in (mean_path, transform_path))
    for path, array in ((mean_path, mean), (transform_path, transform)):
        if not np.isfinite(array).all():
            raise InputError(path, "values that are not finite", "finite numbers", "Train the back end again")
    plda = read_plda(plda_path)
    fits = mean.ndim == 1 and transform.ndim == 2 and transform.shape[1] - len(mean) in (0, 1)
    if not fits or transform.shape[0] != plda.dim:
        raise InputError(
            plda_path.parent,
            f"mean {mean.shape}, transform {transform.shape}, PLDA of {plda.dim}",
            "(D,), (R, D) or (R, D + 1), and R",
            "Train it again: its files do not belong together",
        )
    return BackEnd(mean, transform, plda)


def write_back_end(directory: str | Path, back_end: BackEnd, made: dict[str, Any]) -> None:
    """Writes the three files with the record `made`, plda last: it tells that all are there."""
    directory = Path(directory)
    for name, array in ((MEAN, back_end.mean), (TRANSFORM, np.asarray(back_end.transform, np.float32))):
        with making(directory / name, made) as path:
            kaldi.save(path, array)
    with making(directory / PLDA, made) as path:
        write_plda(path, back_end.plda)
