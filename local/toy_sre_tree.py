"""A toy corpus written as NIST SRE12 (`<root>/sre12`) and, for training, as the CTS superset (`<root>/cts`).

Calls are two-channel mu-law SPHERE at 8 kHz: two speakers take turns, each side with its own line and noise. Test calls
last about 30, 100 and 300 s; they are phone calls, phone calls with noise added, calls from noisy places, and
interviews.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from local import toy_session, toy_speech
from local.toy_session import INTERVIEW, NOISY_PLACE, TELEPHONE, Place
from local.toy_trees import parallel, sex_of, write_lines, write_sound

RATE = 8000
CLASSES = (30, 100, 300)  # seconds
FIRST_TRAIN, FIRST_TARGET, FIRST_UNKNOWN = 300001, 110001, 190001
UNKNOWN_SHARE = 0.2  # of the test sides: speakers who are no targets
LAYOUT = "NIST_SRE12_target_speaker_tables_v"
ADDED_NOISE = Place((200.0, 330.0), (3100.0, 3700.0), 3.0, (0.05, 0.25), (6.0, 15.0), ("white", "pink"))
NOISY_INTERVIEW = Place((60.0, 150.0), (3500.0, 3950.0), 3.0, (0.2, 0.5), (6.0, 15.0), ("white", "pink"))


@dataclass(frozen=True)
class Kind:
    """A kind of test call: where it lies, how it sounds, the conditions CC1..CC5 it counts for."""

    directory: str
    place: Place
    flags: str
    subtype: str = "ULAW"


KINDS = {
    "phone": Kind("tel_phn", TELEPHONE, "NYNNN"),
    "noisy": Kind("tel_phn", NOISY_PLACE, "NYNNY"),
    "added": Kind("tel_phn", ADDED_NOISE, "NNNYN"),
    "interview": Kind("mic_int", INTERVIEW, "YNNNN", "PCM_16"),
    "added_interview": Kind("mic_int", NOISY_INTERVIEW, "NNYNN", "PCM_16"),
}
CYCLE = ("phone", "noisy", "added", "interview", "added_interview", "phone", "phone", "phone", "added", "phone")


@dataclass(frozen=True)
class SreSize:
    """speakers: training; sessions: training segments each; eval_speakers: targets; utterances: enrolment calls each;

    unknowns: other speakers in the tests; calls: test files of each duration class;
    seconds: of training and enrolment."""

    speakers: int
    sessions: int
    eval_speakers: int
    utterances: int
    unknowns: int
    calls: tuple[int, int, int]
    seconds: tuple[float, float]


@dataclass(frozen=True)
class Call:
    """One file: speakers and sexes of its sides (one: a single channel), kept by `name` and the seed."""

    path: str
    name: str
    seed: int
    sides: tuple[tuple[str, str], ...]
    seconds: float
    kind: str = "phone"


def _side(call: Call, index: int, turns: list[tuple[int, float]]) -> np.ndarray:
    """(samples,) int16 of one side: its speaker's turns, silence in between, through its own session."""
    speaker, sex = call.sides[index]
    rng = toy_speech.stream(call.seed, call.name, str(index))
    traits, manner = toy_speech.draw_speaker(toy_speech.stream(call.seed, speaker), sex), toy_speech.draw_manner(rng)
    session = toy_session.draw_session(rng, RATE, KINDS[call.kind].place)
    parts = [np.zeros(round(seconds * RATE), np.float32) for _, seconds in turns]
    for number, (who, seconds) in enumerate(turns):
        if who == index:
            parts[number] = toy_speech.speak(traits, manner, seconds, RATE, rng)
    return toy_session.transmit(np.concatenate(parts), session, RATE, rng)


def synthesise(call: Call) -> float:
    """Writes one call; returns its seconds."""
    rng = toy_speech.stream(call.seed, call.name)
    turns, left, who = [], call.seconds, 0
    while left > 0:
        turn = left if left < 4 else min(left, float(rng.uniform(3.0, 12.0)))
        turns.append((who % 2, round(turn, 3)))  # of a single side, the other's turns are pauses
        left, who = round(left - turn, 3), who + 1
    sides = np.stack([_side(call, index, turns) for index in range(len(call.sides))], axis=1)
    write_sound(call.path, sides, RATE, "NIST", KINDS[call.kind].subtype)
    return call.seconds


def _names(rng: np.random.Generator, count: int) -> list[str]:
    """Different six-letter names starting with t, sorted."""
    names: set[str] = set()
    while len(names) < count:
        names.add("t" + "".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 5)))
    return sorted(names)


def _training(root: Path, size: SreSize, seed: int) -> tuple[list[Call], list[str]]:
    """Training calls of one side, and the lines of the segment key."""
    calls, rng = [], toy_speech.stream(seed, "training")
    lines = ["\t".join(["filename", "segment", "subject", "speaker", "gender", "language", "session", "corpus"])]
    for index, session in itertools.product(range(size.speakers), range(size.sessions)):
        speaker, segment = f"{FIRST_TRAIN + index}", f"{FIRST_TRAIN + index}_toy_{session}"
        path, seconds = str(root / "data" / f"{segment}.sph"), round(float(rng.uniform(*size.seconds)), 2)
        kind = "noisy" if session % 4 == 3 else "phone"
        calls.append(Call(path, segment, seed, ((speaker, sex_of(index)),), seconds, kind))
        gender = {"m": "male", "f": "female"}[sex_of(index)]
        lines.append("\t".join([f"{segment}.sph", segment, speaker, speaker, gender, "toy", str(session), "toy"]))
    return calls, lines


def _people(first: int, count: int) -> list[tuple[str, str]]:
    return [(str(first + index), sex_of(index)) for index in range(count)]


def _enrolment(root: Path, size: SreSize, seed: int) -> tuple[list[Call], dict[str, list[str]]]:
    """Enrolment calls, two targets in each, and {speaker: [path:side]}; every target also has a `summed` recording."""
    people, rng = _people(FIRST_TARGET, size.eval_speakers), toy_speech.stream(seed, "enrolment")
    names, calls = iter(_names(rng, size.eval_speakers * (size.utterances + 1))), []
    sides: dict[str, list[str]] = {name: [] for name, _ in people}
    for turn in range(size.utterances):
        order = [int(index) for index in rng.permutation(len(people))]
        order += [order[0]] * (len(order) % 2)  # an odd one talks to somebody for a second time
        for a, b in zip(order[::2], order[1::2]):
            path = f"NIST_SRE08/data/short2/{next(names)}.sph"
            seconds, kind = round(2 * float(rng.uniform(*size.seconds)), 2), "noisy" if turn % 4 == 3 else "phone"
            calls.append(Call(str(root / path), path, seed, (people[a], people[b]), seconds, kind))
            for index, side in ((a, "a"), (b, "b")):
                sides[people[index][0]].append(f"{path}:{side}")
    path = f"NIST_SRE08/data/summed/{next(names)}.sph"
    calls.append(Call(str(root / path), path, seed, (people[0],), 5.0))
    for entries in sides.values():
        entries.append(f"{path}:a")
    return calls, sides


def _tests(root: Path, size: SreSize, seed: int) -> list[Call]:
    """Test calls between two people, targets or unknown ones, in the range directories of the real corpus."""
    rng = toy_speech.stream(seed, "tests")
    targets, unknowns = _people(FIRST_TARGET, size.eval_speakers), _people(FIRST_UNKNOWN, size.unknowns)
    names = _names(rng, sum(size.calls))
    span, order, calls = f"{names[0]}-{names[-1]}", rng.permutation(len(names)), []
    shuffled = itertools.cycle([targets[i] for _ in range(20) for i in rng.permutation(len(targets))])
    numbers = [(length, index) for length, count in zip(CLASSES, size.calls) for index in range(count)]
    for (length, index), place in zip(numbers, order):
        pair = [next(shuffled) for _ in range(2)]
        lone = int(rng.integers(2))
        if rng.random() < 2 * UNKNOWN_SHARE:
            pair[lone] = unknowns[rng.integers(len(unknowns))]
        kind = CYCLE[index % len(CYCLE)]
        path = root / "data" / KINDS[kind].directory / span / f"{names[place]}_sre12.sph"
        seconds = round(length * float(rng.uniform(0.9, 1.1)), 2)
        calls.append(Call(str(path), names[place], seed, tuple(pair), seconds, kind))
    return calls


def key_lines(tests: list[Call], targets: list[tuple[str, str]]) -> list[str]:
    """The trial key: every side against the targets of its speaker's sex."""
    lines, known = ["speaker,segment,side,type,note,CC1,CC2,CC3,CC4,CC5"], {name for name, _ in targets}
    for call in sorted(tests, key=lambda call: call.name):
        for side, (speaker, sex) in zip("ab", call.sides):
            others = "known_nontarget" if speaker in known else "unknown_nontarget"
            for target in (name for name, target_sex in targets if target_sex == sex):
                path = "/".join(call.path.split("/")[-4:])
                kind = "target" if target == speaker else others
                lines.append(",".join([target, path, side, kind, "", *KINDS[call.kind].flags]))
    return lines


def _write_tables(root: Path, sides: dict[str, list[str]], targets: list[tuple[str, str]], tests: list[Call]) -> int:
    """Both generations of speaker tables (the second repeats some speakers and brings the rest), and the key."""
    docs, half = root / "docs", len(targets) // 2
    for version, prefix, people in (
        ("2.1", "NIST_SRE12", targets[: half + 1]),
        ("3", "NIST_SRE12_evaluation_release", targets[half:]),
    ):
        directory = docs / f"{LAYOUT}{version}"
        maps = [f"{name} {','.join(sides[name])}" for name, _ in people]
        write_lines(directory / f"{prefix}_target_speaker_2_files_map.v{version}.txt", maps)
        table = (f"{name},{sex},1970,N,,toy" for name, sex in people)
        lines = ["speaker_id,gender,year,smoker,education,language", *table]
        write_lines(directory / f"NIST_SRE12_speakertable.v{version[0]}.csv", lines)
    lines = key_lines(tests, targets)
    write_lines(docs / "NIST_SRE12_core_trial_key.v1.csv", lines)
    return len(lines) - 1


def write_sre12_tree(root: Path, size: SreSize, seed: int, nj: int) -> dict[str, Any]:
    """Writes both trees; returns counts. The same seed gives the same bytes at any nj."""
    training, cts_lines = _training(root / "cts", size, seed)
    enrolment, sides = _enrolment(root / "sre12", size, seed)
    tests = _tests(root / "sre12", size, seed)
    calls = sorted([*training, *enrolment, *tests], key=lambda call: -call.seconds)
    seconds = parallel(synthesise, calls, nj)
    trials = _write_tables(root / "sre12", sides, _people(FIRST_TARGET, size.eval_speakers), tests)
    write_lines(root / "cts" / "docs" / "cts_superset_segment_key.tsv", cts_lines)
    return {
        "files": len(calls),
        "training speakers": size.speakers,
        "targets": size.eval_speakers,
        "test sides": 2 * len(tests),
        "trials": trials,
        "hours": round(sum(seconds) / 3600, 3),
    }
