"""Recordings heard by a model, decisions and their thresholds.

llr        natural-log likelihood ratio of "same speaker" over "two speakers"
p          prior that a test recording is from one of the K speakers asked about, each as likely as another
threshold  log(C_fa (1 - p) / (C_miss p / K)): from there on, accepting the closest speaker costs least
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyasp.audio.recording import complaints, read_sound
from pyasp.bundle.format import CALIBRATION
from pyasp.core.errors import InputError
from pyasp.core.options import Channel, OpenShare, Positive, option
from pyasp.core.text import between, read_lines
from pyasp.evaluation.llr import bayes_threshold

if TYPE_CHECKING:  # it imports torch, for which --help need not wait
    from pyasp.bundle.speaker_model import SpeakerModel

WILD = 50  # a ratio beyond e^50, or e^-50, is a model's error: of PLDA of too few speakers, say
MANY = 10  # recordings: a bar shows how far they are


@dataclass(frozen=True)
class ModelOptions:
    """What every verb that scores takes."""

    model: str = option("", "the bundle, or a Kaldi i-vector directory")
    channel: Channel = option(-1, "channel of recordings with several, from 0")
    device: str = option("cpu", "where to compute", choices=("cpu", "cuda", "auto"))


@dataclass(frozen=True)
class DecisionOptions:
    """What makes a threshold."""

    prior: OpenShare = option(0.5, "prior that the test recording is from the speaker (or one of the speakers)")
    c_miss: Positive = option(1.0, "cost of rejecting the speaker")
    c_fa: Positive = option(1.0, "cost of accepting another one")


@dataclass(frozen=True)
class Heard:
    """One recording: its embedding (E,) float32, seconds, voiced seconds, and what to be warned of."""

    name: str
    vector: np.ndarray
    seconds: float
    voiced: float
    rate: int
    warnings: list[str]

    def facts(self) -> dict[str, object]:
        """Everything but the embedding, for JSON."""
        return {
            "file": self.name,
            "seconds": round(self.seconds, 3),
            "voiced_seconds": round(self.voiced, 3),
            "rate": self.rate,
            "warnings": self.warnings,
        }


def load_model(options: ModelOptions) -> SpeakerModel:
    """The model that --model names. Raises InputError when it is missing or unusable."""
    if not options.model:
        raise InputError("command line", "no --model", "--model DIR", "Make a bundle: pyasp bundle EXP/SYSTEM model/")
    if not Path(options.model).is_dir():
        raise InputError(options.model, "no such directory", "a bundle", "Make one: pyasp bundle EXP/SYSTEM model/")
    from pyasp.bundle.speaker_model import SpeakerModel

    return SpeakerModel.load(options.model, options.device)


def hear(model: SpeakerModel, path: str | Path, channel: int = -1) -> Heard:
    """Reads, checks and embeds one file. Raises InputError when it cannot be read or holds no speech."""
    sound = read_sound(path, channel)
    features = model.features(sound)
    ((_, vector),) = model.embed_features([(sound.name, features.frames)])
    about_model = model.rate, model.top_frequency, model.bundle.shortest
    warnings = complaints(sound, features.seconds, *about_model, features.silent, model.bundle.trained_rates)
    return Heard(sound.name, vector, sound.seconds, features.seconds, sound.rate, warnings)


Failed = dict[str, InputError | OSError]  # {file: why it cannot be used}


def hear_many(model: SpeakerModel, paths: Iterable[str | Path], channel: int) -> tuple[dict[str, Heard], Failed]:
    """{path: what was heard} of every file, each once, in threads; and those that failed."""
    from pyasp.core.progress import bar  # tqdm is for many files

    def work(path: str) -> Heard | InputError | OSError:
        try:
            return hear(model, path, channel)
        except (InputError, OSError) as error:
            return error

    names = list(dict.fromkeys(map(str, paths)))
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        results = pool.map(work, names)
        found = dict(zip(names, results if len(names) < MANY else bar(results, len(names), "verify", "file")))
    heard = {name: each for name, each in found.items() if isinstance(each, Heard)}
    return heard, {name: each for name, each in found.items() if not isinstance(each, Heard)}


def hear_each(
    model: SpeakerModel, paths: Iterable[str | Path], channel: int, every: bool = False
) -> tuple[list[Heard], Failed]:
    """Those of some files that can be used, and those that failed; the same file twice counts once.

    Raises InputError that names all that failed when none, or with `every` not every one, can be used.
    """
    heard, failed = hear_many(model, paths, channel)
    if failed and (every or not heard):
        others = f"{len(failed)} unusable recordings: {'; '.join(map(str, failed.values()))}"
        several = InputError("recordings", others, "audio with speech", "Replace them")
        raise several if len(failed) > 1 else next(iter(failed.values()))
    return list(heard.values()), failed


def reasons(failed: Failed) -> dict[str, str]:
    """{file: why it cannot be used}, in a line each."""
    return {name: " ".join(str(error).split()) for name, error in failed.items()}


def tell_failed(failed: Failed, total: int) -> int:
    """Prints which of so many files could not be used, and why. Returns the exit code."""
    if failed:
        told = [f"{name}: failed: {reason}" for name, reason in reasons(failed).items()]
        print(*told, f"{len(failed)} of {total} recordings failed", sep="\n", file=sys.stderr)
    return int(bool(failed))


def note_itself(tests: Iterable[Heard], enrolled: Iterable[np.ndarray]) -> None:
    """Warns of tests whose very recording, under whatever name, is among the enrolled, embeddings (E,)."""
    enrolled = list(enrolled)
    for each in tests:
        if is_among(each.vector, enrolled):
            each.warnings.append("this very recording is enrolled: its ratio says nothing of who speaks")


def is_among(vector: np.ndarray, others: Iterable[np.ndarray]) -> bool:
    """True where an embedding (E,) is that of a recording among others: the same bits."""
    return any(np.array_equal(vector, other) for other in others)


def read_pairs(path: str | Path) -> list[tuple[str, str]]:
    """(enrolment file, test file) of each line of a list; a third field `target` or `nontarget` is passed over.

    Fields stand between tabs where the line has one, so that names may have blanks; else between blanks. Raises
    InputError, naming the line.
    """
    pairs = []
    for number, line in enumerate(read_lines(path), 1):
        fields = [field.strip() for field in line.split("\t")] if "\t" in line else line.split()
        if not fields:
            continue
        if len(fields) not in (2, 3) or fields[2:] not in ([], ["target"], ["nontarget"]):
            cure = "Write two files a line, with a tab between names that have blanks"
            mark = between(line) if len(fields) == 1 else ""
            found = f"{mark} between the fields" if mark else f"{len(fields)} fields"
            raise InputError(path, found, "<enrol> <test> [target|nontarget]", cure, f"line {number}")
        pairs.append((fields[0], fields[1]))
    if not pairs:
        raise InputError(path, "no pair", "at least one", "Write two files a line")
    return pairs


def threshold(options: DecisionOptions, candidates: int = 1) -> float:
    """The ratio from which the closest of `candidates` speakers is accepted. Raises InputError on a bad prior."""
    return bayes_threshold(options.prior, options.c_miss, options.c_fa) + math.log(candidates)


def threshold_text(options: DecisionOptions, candidates: int = 1) -> str:
    """`threshold 0.00 (prior 0.5, C_miss 1, C_fa 1)`."""
    shared = f" over {candidates} speakers" if candidates > 1 else ""
    costs = f"prior {options.prior:g}{shared}, C_miss {options.c_miss:g}, C_fa {options.c_fa:g}"
    return f"threshold {threshold(options, candidates):.2f} ({costs})"


def check_decides(model: SpeakerModel) -> None:
    """Raises InputError for a model whose scores have no threshold: any two voices have a cosine above 0."""
    if not model.decides:
        found = "cosines without a calibration, which have no threshold"
        cure = "Calibrate on the run's own trials: pyasp evaluate --calibration map.json DATA/trials/LIST "
        cure += (
            f"EXP/SYSTEM/scores/LIST, then pyasp bundle --force --calibration map.json EXP/SYSTEM {model.bundle.path}; "
        )
        cure += "verify --pairs gives cosines alone"
        raise InputError(model.bundle.path, found, "a calibration, or PLDA", cure)


def scale_text(model: SpeakerModel, scores: Iterable[float] = ()) -> str:
    """What the scores of this model are, and what they are worth."""
    if not model.decides:
        return "cosines: this model has no calibration, so that they rank and decide nothing"
    if not model.calibration:
        wild = f"; no evidence is worth e^{WILD}: take these scores for ranks, not for ratios"
        told = "raw PLDA log-likelihood ratio: this model has no calibration, so the threshold is a guess"
        return told + wild * any(abs(score) > WILD for score in scores)
    trained, doubts = model.calibration.trained, model.calibration.doubts
    told = f", trained on {trained.told()}" if trained else ""
    care = f". To be taken with care: trained on {'; '.join(doubts)}" if doubts else ""
    other = f". {CALIBRATION} is not the one that the bundle was made with" if model.calibration.other else ""
    return f"calibrated log-likelihood ratio{told}{care}{other}"
