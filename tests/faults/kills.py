"""Runs of the recipe that are killed at drawn moments, resumed as a user would, and compared with one that was not."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
import shlex
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from recipe import ROOT

NAMES = re.search(r"^stages=\((.*?)\)", (ROOT / "run.sh").read_text(), re.M)[1].split()
STAGES = range(len(NAMES))
VICTIMS = ("group", "run.sh", "tool", "runner")
WAYS = [
    *((victim, sign) for sign in (signal.SIGKILL, signal.SIGTERM) for victim in VICTIMS),
    *((victim, signal.SIGINT) for victim in ("group", "run.sh")),
]  # which a terminal sends to run.sh's group
TIMES = ("seconds", "frames_per_second", "data_wait", "peak_fraction")  # of train.jsonl, which no two runs share


@dataclass(frozen=True)
class Kill:
    """A signal to the victim when this share of a stage's time has passed. Victims: run.sh's process group, run.sh
    alone, a Python process, a shell (a step or a job runner)."""

    stage: int
    share: float
    victim: str
    sign: signal.Signals


def plan(seed: int, stages: list[Sequence[int]], kills: int) -> list[list[Kill]]:
    """The kills of each run, in order of its `stages`; each run's stages are used equally often, and the ways over all runs."""
    rng = random.Random(seed)
    ways = [WAYS[k % len(WAYS)] for k in range(len(stages) * kills)]
    rng.shuffle(ways)
    plans = []
    for mine in stages:
        every = list(mine) * (kills // len(mine)) + rng.sample(list(mine), kills % len(mine))
        plans.append([Kill(stage, rng.random(), *ways.pop()) for stage in sorted(every)])
    return plans


def stage_seconds(exp: Path) -> dict[int, float]:
    """{stage: seconds it took} of a run that was not killed."""
    found = dict.fromkeys(STAGES, 0.0)
    for line in (exp / "log/stages.jsonl").read_text().splitlines():
        entry = json.loads(line)
        found[NAMES.index(entry["stage"])] += entry["seconds"]
    return found


def processes(where: Path) -> dict[int, list[str]]:
    """{process: its command line} of everything that works on the run under `where`."""
    found, mark = {}, os.fsencode(where)
    for path in Path("/proc").glob("[0-9]*"):
        try:
            words = (path / "cmdline").read_bytes()
            if words and (mark in words or mark in (path / "environ").read_bytes()) and int(path.name) != os.getpid():
                found[int(path.name)] = [os.fsdecode(word) for word in words.split(b"\0")[:-1]]
        except OSError:  # it has ended
            continue
    return found


def left_alive(where: Path, seconds: float = 120) -> dict[int, list[str]]:
    """What is still there after `seconds`; nothing as soon as there is nothing."""
    end = time.monotonic() + seconds
    while (found := processes(where)) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def hear_interrupts() -> None:
    """In a new process: SIGINT is not ignored, whatever these tests were started from."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@dataclass
class Outcome:
    """What a kill did. stage: in which it came; None when the run was over before. code: run.sh's exit code."""

    kill: Kill
    stage: int | None = None
    target: str = ""
    code: int | None = None
    printed: bool = False


@dataclass
class Run:
    """A run under `where`, started again and again; its screen is in where.screen."""

    where: Path
    command: list[str]
    seconds: dict[int, float]
    outcomes: list[Outcome] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.screen, self.next = self.where.with_suffix(".screen"), self.command

    def start(self) -> subprocess.Popen:
        """run.sh in a process group of its own, as an interactive shell starts it."""
        with open(self.screen, "w") as stream:
            return subprocess.Popen(
                self.next, cwd=ROOT, stdout=stream, stderr=stream, start_new_session=True, preexec_fn=hear_interrupts
            )

    def stage(self) -> int:
        """The stage that began last; -1 before the first."""
        begun = re.findall(
            r"^(?:\S+: )?\S+ \S+ stage ([a-z]+): ", self.screen.read_text(), re.M
        )  # of a system: headed by it
        return max(map(NAMES.index, begun), default=-1)

    def kill(self, kill: Kill, rng: random.Random) -> Outcome:
        """Starts or resumes the run, sends the signal, waits for the end, and finds out how to go on."""
        outcome, process = Outcome(kill), self.start()
        while self.stage() < kill.stage and process.poll() is None:
            time.sleep(0.03)
        if process.poll() is None:
            time.sleep(kill.share * self.seconds[kill.stage])
        while process.poll() is None and not outcome.target:
            outcome.stage, outcome.target = self.stage(), strike(process.pid, kill, self.where, rng)
        outcome.code = process.wait(timeout=3600)
        self.resume_with(outcome)
        self.outcomes.append(outcome)
        alive = left_alive(self.where)
        assert not alive, f"{outcome}: still alive: {alive}"
        return outcome

    def resume_with(self, outcome: Outcome) -> None:
        """The printed command is what resumes; nobody prints one when run.sh itself got SIGKILL."""
        text = self.screen.read_text()
        printed = re.findall(r"esume with:\n +(\./run\.sh .*)", text)
        outcome.printed = bool(printed)
        if printed:
            self.next = shlex.split(printed[-1])
        elif outcome.code == 0:
            outcome.stage = None
        else:
            assert outcome.code == -signal.SIGKILL, f"{outcome}: no command printed: {text[-2000:]}"

    def finish(self) -> None:
        """The last resumption, which must end well and leave no process."""
        process = self.start()
        assert process.wait(timeout=3600) == 0, self.screen.read_text()[-3000:]
        alive = left_alive(self.where)
        assert not alive, f"after the end: {alive}"


def strike(pid: int, kill: Kill, where: Path, rng: random.Random) -> str:
    """Sends the signal; the victim's name, or nothing when there is none just now."""
    if kill.victim in ("group", "run.sh"):
        {"group": os.killpg, "run.sh": os.kill}[kill.victim](pid, kill.sign)
        return kill.victim
    every = processes(where)
    busy = {parent_of(each) for each, words in every.items() if words[0] != "sleep"}
    found = [
        (each, words)
        for each, words in sorted(every.items())
        if each != pid
        and ("python" in words[0] if kill.victim == "tool" else each in busy and "steps/" in " ".join(words[:2]))
    ]
    if not found:
        time.sleep(0.03)
        return ""
    victim, words = rng.choice(found)
    try:
        os.kill(victim, kill.sign)
    except ProcessLookupError:
        return ""
    named = [word for word in words[1:] if word.startswith(("pyasp.bin.", "local/", "steps/"))]
    return (named or words)[0].split("/")[-1]


def parent_of(pid: int) -> int:
    """The parent of a process; 0 when it has ended."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


def replaced(raw: bytes, *places: Path) -> bytes:
    """Bytes with @ for each of `places`."""
    for place in places:
        raw = raw.replace(os.fsencode(place), b"@")
    return raw


def contents(where: Path, *places: Path) -> dict[str, bytes]:
    """{name: bytes} of every file of a run but logs, the report with times, and marks of when and where the audio was
    written; its place, and `places`, read @."""
    found = {}
    for path in sorted(where.rglob("*")):
        name = str(path.relative_to(where))
        if path.is_dir() or "/log/" in f"/{name}" or path.name in (".lock", "report.html", "report.html.made.json"):
            continue
        if path.suffix == ".utt2mark" or path.name.endswith(".files.gz"):
            continue
        raw = path.read_bytes().partition(b"\n## Where the time goes")[0]  # the last part of RESULTS.md
        if path.suffix == ".gz":
            raw = gzip.decompress(raw)
        elif path.name == "train.jsonl":
            lines = [json.loads(line) for line in raw.splitlines()]
            raw = repr([{key: line[key] for key in line if key not in TIMES} for line in lines]).encode()
        elif path.name.endswith(".made.json"):  # fingerprints are of files that hold their place
            made = json.loads(raw)
            made["options"].pop("listing", "")  # of paths
            inputs = sorted(replaced(os.fsencode(name), where, *places) for name in made["inputs"])
            raw = repr((made["tool"], made["options"], made["seed"], inputs)).encode()
        raw = replaced(raw, where, *places)
        found[name] = raw
    return found


def differences(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    """Names that are not in both or whose bytes differ."""
    return sorted(name for name in {*one, *other} if one.get(name) != other.get(name))
