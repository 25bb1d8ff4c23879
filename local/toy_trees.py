"""A toy corpus written as a VoxCeleb1 v1.1 tree: 16 kHz wav, `{dev,test}/wav/idNNNNN/<session>/NNNNN.wav`, tables,
trials."""

from __future__ import annotations

import io
import itertools
import os
import string
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from local import toy_session, toy_speech
from pyasp.core.files import atomic_write
from pyasp.core.progress import bar

RATE = 16000
YOUTUBE_LETTERS = np.array(list(string.ascii_letters + string.digits + "-_"))
FIRST_ID = {"dev": 10001, "test": 20001}
FEW_JOBS = 100  # below, starting processes costs more than it brings
SAME_SEX_SHARE = 0.7  # of the non-target trials


@dataclass(frozen=True)
class TreeSize:
    """Sizes of a toy VoxCeleb1 tree; seconds: shortest and longest utterance; trials: about this many."""

    speakers: int
    eval_speakers: int
    sessions: int
    utterances: int
    seconds: tuple[float, float]
    trials: int


@dataclass(frozen=True)
class Job:
    """One file to synthesise: everything is drawn from the seed and these names."""

    path: str
    seed: int
    speaker: str
    sex: str
    session: str


def sex_of(index: int) -> str:
    """Speakers alternate."""
    return "mf"[index % 2]


def session_names(seed: int, speaker: str, count: int) -> list[str]:
    """Names that look like YouTube ids (11 characters, `-` and `_` among them)."""
    rng = toy_speech.stream(seed, speaker, "names")
    return ["".join(YOUTUBE_LETTERS[rng.integers(len(YOUTUBE_LETTERS), size=11)]) for _ in range(count)]


def _speech_of(seed: int, speaker: str, sex: str, session: str, place: toy_session.Place, rate: int):
    """(traits, manner, session) of one speaker in one session, always the same for a seed."""
    rng = toy_speech.stream(seed, speaker, session)
    return (
        toy_speech.draw_speaker(toy_speech.stream(seed, speaker), sex),
        toy_speech.draw_manner(rng),
        toy_session.draw_session(rng, rate, place),
    )


def write_sound(path: str, samples: np.ndarray, rate: int, form: str = "WAV", subtype: str = "PCM_16") -> None:
    """int16 (samples,) or (samples, channels) as one of libsndfile's formats, under a temporary name, then renamed."""
    stream = io.BytesIO()  # in memory first: libsndfile hides what the system says about a failed write
    soundfile.write(stream, samples.astype(np.int16), rate, format=form, subtype=subtype)
    os.makedirs(os.path.dirname(path), exist_ok=True)
    Path(f"{path}.tmp").write_bytes(stream.getbuffer())
    os.replace(f"{path}.tmp", path)


def write_lines(path: Path, lines: list[str]) -> None:
    """A text file, atomically."""
    with atomic_write(path, "w") as stream:
        stream.write("\n".join(lines) + "\n")


def synthesise(job: Job, seconds: tuple[float, float]) -> float:
    """Writes one utterance; returns its seconds."""
    speaker, manner, session = _speech_of(job.seed, job.speaker, job.sex, job.session, toy_session.STUDIO, RATE)
    rng = toy_speech.stream(job.seed, job.speaker, job.session, os.path.basename(job.path))
    length = float(rng.uniform(*seconds))
    speech = toy_speech.speak(speaker, manner, length, RATE, rng)
    write_sound(job.path, toy_session.transmit(speech, session, RATE, rng), RATE)
    return length


def parallel(work: Callable[..., Any], jobs: list[Any], nj: int, *arguments: Any) -> list[Any]:
    """[work(job, *arguments) ...] in order, in nj processes; few jobs: here. Fresh processes: no threads are forked."""
    if nj == 1 or len(jobs) < FEW_JOBS:
        return [work(job, *arguments) for job in bar(jobs, title="synthesis", unit="file")]
    columns = (itertools.repeat(argument) for argument in arguments)
    with ProcessPoolExecutor(nj, mp_context=get_context("spawn")) as pool:
        results = pool.map(work, jobs, *columns, chunksize=max(1, min(16, len(jobs) // (4 * nj))))
        return list(bar(results, len(jobs), "synthesis", "file"))


def _jobs(root: Path, part: str, speakers: int, size: TreeSize, seed: int) -> list[Job]:
    jobs = []
    for index in range(speakers):
        speaker = f"id{FIRST_ID[part] + index}"
        for session in session_names(seed, speaker, size.sessions):
            directory = root / part / "wav" / speaker / session
            jobs += [
                Job(str(directory / f"{take:05d}.wav"), seed, speaker, sex_of(index), session)
                for take in range(1, size.utterances + 1)
            ]
    return jobs


def _pairs(jobs: list[Job]) -> tuple[list, list, list]:
    """Cross-session target pairs, same-sex and other non-target pairs of evaluation utterances."""
    targets, same, other = [], [], []
    for a, b in itertools.combinations(jobs, 2):
        if a.speaker != b.speaker:
            (same if a.sex == b.sex else other).append((a, b))
        elif a.session != b.session:
            targets.append((a, b))
    return targets, same, other


def _draw(pairs: list, count: int, rng: np.random.Generator) -> list:
    if count >= len(pairs):
        return pairs
    return [pairs[i] for i in sorted(rng.choice(len(pairs), count, replace=False))]


def trial_lines(jobs: list[Job], count: int, seed: int) -> list[str]:
    """`1|0 path path` lines, shuffled: at most a fifth targets, the non-targets mostly of the same sex."""
    rng = toy_speech.stream(seed, "trials")
    targets, same, other = _pairs(jobs)
    chosen = _draw(targets, count // 5, rng)
    rest = count - len(chosen)
    nontargets = _draw(same, round(SAME_SEX_SHARE * rest), rng)
    nontargets += _draw(other, rest - len(nontargets), rng)
    lines = [
        f"{label} {_relative(a)} {_relative(b)}" for label, pairs in ((1, chosen), (0, nontargets)) for a, b in pairs
    ]
    return [lines[i] for i in rng.permutation(len(lines))]


def _relative(job: Job) -> str:
    return "/".join(Path(job.path).parts[-3:])


def _meta_lines(jobs: Iterable[Job], part: str) -> list[str]:
    speakers = {job.speaker: job.sex for job in jobs}
    return [f"{speaker}\tToy_{speaker[2:]}\t{sex}\tToyland\t{part}" for speaker, sex in speakers.items()]


def write_voxceleb_tree(root: Path, size: TreeSize, seed: int, nj: int) -> dict[str, Any]:
    """Writes the tree; returns counts. The same seed gives the same bytes at any nj."""
    jobs = {
        part: _jobs(root, part, count, size, seed)
        for part, count in (("dev", size.speakers), ("test", size.eval_speakers))
    }
    every = jobs["dev"] + jobs["test"]
    seconds = parallel(synthesise, every, nj, size.seconds)
    header = "VoxCeleb1 ID\tVGGFace1 ID\tGender\tNationality\tSet"
    write_lines(root / "vox1_meta.csv", [header, *_meta_lines(jobs["dev"], "dev"), *_meta_lines(jobs["test"], "test")])
    lines = trial_lines(jobs["test"], size.trials, seed)
    write_lines(root / "veri_test.txt", lines)
    return {
        "files": len(every),
        "speakers": size.speakers + size.eval_speakers,
        "trials": len(lines),
        "hours": round(sum(seconds) / 3600, 3),
    }
