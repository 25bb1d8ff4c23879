"""Recordings heard by a model, decisions and their thresholds, and the recordings of enrolled speakers.

llr        natural-log likelihood ratio of "same speaker" over "two speakers"
p          prior that a test recording is from one of the K speakers asked about, each as likely as another
threshold  log(C_fa (1 - p) / (C_miss p / K)): from there on, accepting the closest speaker costs least
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import math
import os
import sys
import unicodedata
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from pyasp.audio.folders import some
from pyasp.audio.recording import complaints, read_sound
from pyasp.core.errors import InputError
from pyasp.core.options import OpenShare, Positive, option
from pyasp.core.text import between, read_json, read_json_if_there, read_lines, write_json
from pyasp.evaluation.llr import bayes_threshold
from pyasp.kaldi import ArkWriter, read_ark

if TYPE_CHECKING:  # it imports torch, for which --help need not wait
    from pyasp.bundle.speaker_model import SpeakerModel

Named = list[tuple[str, np.ndarray]]  # recordings, with their embeddings (E,)
WILD = 50  # a ratio beyond e^50, or e^-50, is a model's error: of PLDA of too few speakers, say
MANY = 10  # recordings: a bar shows how far they are
DIGESTS = "recordings.json"  # in a directory of enrolled speakers: {speaker: size and time of his file, digests}
MODEL_FILE = "model.json"  # in a directory of enrolled speakers: which model the embeddings are of


@dataclass(frozen=True)
class ModelOptions:
    """What every verb that scores takes."""

    model: str = option("", "the bundle, or a Kaldi i-vector directory")
    channel: int = option(-1, "channel of recordings with several, from 0")
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
        cure += "EXP/SYSTEM/scores/LIST, then bundle with --calibration map.json; verify --pairs gives cosines alone"
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
    return f"calibrated log-likelihood ratio{told}{care}"


# ---------------------------------------------------------------- enrolled speakers


def speaker_file(directory: str | Path, name: str) -> Path:
    """Where an enrolled speaker's embeddings lie. Raises InputError for a name that is no file name.

    A name is one speaker's however its accents are coded.
    """
    name = unicodedata.normalize("NFC", name)
    if name != name.strip() or name[:1] in ("", ".", "-") or "/" in name or "\\" in name or not name.isprintable():
        expected = "a name on one line, without slashes and a dot or dash at its front"
        raise InputError("command line", f"the speaker name {name!r}", expected, "Choose another name")
    return Path(directory) / f"{name}.ark"


def _check_model(directory: Path, model: SpeakerModel) -> None:
    path = directory / MODEL_FILE
    if not path.is_file():
        raise InputError(directory, "no enrolled speakers", "a directory of pyasp enroll", "Enrol speakers first")
    identity = read_json(path, "the model's identity", "Enrol the speakers again").get("identity")
    if identity != model.bundle.identity:
        expected, cure = f"embeddings of {model.bundle.path}", "Give the model they were enrolled with, or enrol again"
        raise InputError(directory, "speakers enrolled with another model", expected, cure)


@contextlib.contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """No other process or thread changes the speakers of a directory meanwhile."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def check_speaker(path: Path, add: bool, force: bool) -> None:
    """InputError when a speaker's file is there and neither replaced nor added to, or is to be added to and missing."""
    if add and force:
        raise InputError("command line", "--add and --force", "one of them", "Add to the recordings, or replace them")
    if path.exists() and not (add or force):
        cure = "Give --add to add recordings to his, or --force to enrol him anew"
        raise InputError(path, "a speaker of this name", "a new name", cure)
    if add and not path.exists():
        names = some(sorted(each.stem for each in path.parent.glob("*.ark")))
        there = f"one that is enrolled ({names or 'none is yet'})"
        raise InputError(path, "no such speaker", there, "Correct the name, or leave --add out")


def save_speaker(
    directory: str | Path, name: str, vectors: Named, model: SpeakerModel, add: bool = False, force: bool = False
) -> tuple[int, int]:
    """Writes a speaker's embeddings (recording, (E,)); returns how many he has now and how many of these are new.

    An embedding that he has already does not count twice. InputError as `check_speaker`, and when others of the
    directory are of another model.
    """
    path, directory = speaker_file(directory, name), Path(directory)
    check_speaker(path, add, force)
    directory.mkdir(parents=True, exist_ok=True)
    with _alone(directory):
        check_speaker(path, add, force)
        if (directory / MODEL_FILE).is_file():
            _check_model(directory, model)
        else:
            write_json(directory / MODEL_FILE, {"identity": model.bundle.identity})
        kept = list(read_ark(path)) if add else []
        before = len(kept)
        for recording, vector in vectors:
            if not is_among(vector, (old for _, old in kept)):
                kept.append((f"{len(kept) + 1}-{'_'.join(os.path.basename(recording).split())}", vector))
        with ArkWriter(path) as writer:
            for key, vector in kept:
                writer.write(key, vector)
    return len(kept), len(kept) - before


def claimed(directory: str | Path, name: str, model: SpeakerModel) -> np.ndarray:
    """Embeddings (N, E) of an enrolled speaker. InputError when nobody of this name is there."""
    _check_model(Path(directory), model)
    path = speaker_file(directory, name)
    if not path.is_file():
        names = some(sorted(each.stem for each in Path(directory).glob("*.ark"))) or "no speaker yet"
        raise InputError(directory, f"no speaker {path.stem}", names, "Correct the name, or enrol him")
    return _embeddings(path)


def enrolled_too(directory: str | Path, name: str, vectors: Iterable[np.ndarray]) -> list[list[str]]:
    """For each embedding (E,) the other speakers of a directory who are enrolled with this very recording.

    Digests of all are kept in DIGESTS: only the files that have changed since are read.
    """
    path, directory = Path(directory) / DIGESTS, Path(directory)
    with _alone(directory):
        old = read_json_if_there(path)
        known: dict[str, dict[str, Any]] = {}
        for file in sorted(directory.glob("*.ark")):
            mark = [file.stat().st_size, file.stat().st_mtime_ns]
            kept = old.get(file.stem)
            if not (isinstance(kept, dict) and kept.get("file") == mark):
                kept = {"file": mark, "recordings": [*map(_digest, _embeddings(file))]}
            known[file.stem] = kept
        if known != old:
            write_json(path, known)
    others = {speaker: set(each["recordings"]) for speaker, each in known.items() if speaker != name}
    return [[speaker for speaker, found in others.items() if _digest(vector) in found] for vector in vectors]


def _digest(vector: np.ndarray) -> str:
    return hashlib.sha256(np.asarray(vector, np.float32).tobytes()).hexdigest()[:16]


def load_speakers(directory: str | Path, model: SpeakerModel) -> dict[str, np.ndarray]:
    """{speaker: embeddings (N, E)} of a directory. Raises InputError when it or a speaker's file is empty, or it is of
    another model."""
    directory = Path(directory)
    _check_model(directory, model)
    speakers = {path.stem: _embeddings(path) for path in sorted(directory.glob("*.ark"))}
    if not speakers:
        raise InputError(directory, "no enrolled speaker", "at least one", "Enrol speakers first")
    return speakers


def _embeddings(path: Path) -> np.ndarray:
    vectors = [vector for _, vector in read_ark(path)]
    if not vectors:
        cure = "Enrol this speaker again with --force, or delete the file"
        raise InputError(path, "no recording", "at least one", cure)
    return np.stack(vectors)
