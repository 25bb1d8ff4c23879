"""Kaldi's i-vector directories as bundles, read in place.

What Kaldi's recipes leave, and what is published of them, is found by name, at most three levels down: `final.ubm` and
`final.ie` (sid/train_ivector_extractor.sh), `mean.vec`, `transform.mat`, `plda` (the training i-vectors' directory),
`conf/mfcc.conf`, `conf/vad.conf`; an `ivector.conf` or `backend.conf` beside them may say more than the recipes'
defaults.
"""

import itertools
from pathlib import Path

from pyasp.bundle.format import BACKEND, CALIBRATION, Bundle
from pyasp.core.errors import InputError

WANTED = ("final.ubm", "final.ie", *BACKEND, "mfcc.conf", "vad.conf")
OPTIONAL = ("ivector.conf", "backend.conf", CALIBRATION)
LEVELS = ("", "*/", "*/*/")
COMMAND = "pyasp bundle KALDI_DIR MODEL --backend DIR --conf DIR"


def find(directories: list[Path], name: str) -> Path | None:
    """The one file of this name in the first of the directories that has it; InputError when there are several."""
    for directory, level in itertools.product(directories, LEVELS):
        found = sorted(directory.glob(level + name))
        if len(found) > 1:
            told = f"{len(found)} files {name} ({', '.join(map(str, found[:3]))})"
            raise InputError(directory, told, "one", f"Name the directories: {COMMAND}")
        if found:
            return found[0]
    return None


def is_kaldi(path: str | Path) -> bool:
    """True for a directory that holds an i-vector extractor and no bundle."""
    return Path(path).is_dir() and find([Path(path)], "final.ie") is not None


def read_kaldi(path: str | Path, backend: str | Path = "", conf: str | Path = "") -> Bundle:
    """The bundle that a Kaldi i-vector directory amounts to; `backend` and `conf` are looked into first.

    Raises InputError naming the first file that cannot be found, or is there twice.
    """
    places = [Path(each) for each in (backend, conf, path) if each]
    files = {name: find(places, name) for name in (*WANTED, *OPTIONAL)}
    for name in WANTED:
        if files[name] is None:
            expected = f"the files of a Kaldi i-vector system ({' '.join(WANTED)})"
            cure = f"Of a system of this recipe: pyasp bundle EXP/SYSTEM MODEL. Of Kaldi's files: {COMMAND}"
            raise InputError(path, f"no {name}", expected, cure)
    there = {name: file for name, file in files.items() if file is not None}
    return Bundle(Path(path), "ivector", there, {"system": "ivector", "origin": f"Kaldi's files in {Path(path).name}"})
