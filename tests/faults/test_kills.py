"""Killed at any instant and resumed, a run ends with the bytes of one that was not: same files, same contents."""

import json
import os
import random
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import kills
import pytest
import recipe

BOTH = ("ivector", "attentive_statistics")
DIRECTORIES = {"ivector": ("ubm", "ivector"), **{name: (name,) for name in recipe.SYSTEMS[1:]}}  # of a system
SHARED = {
    f"exp/{name}{end}"
    for name in ("results.json", "RESULTS.md", "det.png", "attention.npz")
    for end in ("", ".made.json")
}


@dataclass(frozen=True)
class Shape:
    """Which part of the recipe a run is: stages, systems, --nj. A run that makes no data takes the reference's."""

    stages: tuple[int, ...]
    systems: tuple[str, ...] = BOTH
    jobs: int = 1

    def command(self, where, reference, conf):
        """Its command line."""
        data = (where if 0 in self.stages else reference) / "data"
        first, last = str(min(self.stages)), str(max(self.stages))
        return recipe.command(
            where,
            "--data",
            str(data),
            "--systems",
            " ".join(self.systems),
            "--nj",
            str(self.jobs),
            "--at-once",  # with several jobs the systems too are side by side
            str(self.jobs),
            "--conf",
            str(conf),
            "--stage",
            first,
            "--stop-stage",
            last,
        )

    def has(self, name, every):
        """Whether a file of a whole run is one of this one's."""
        if name.startswith("data/"):
            return 0 in self.stages
        if max(self.stages) < 5:
            return False
        mine = {each for system in self.systems for each in DIRECTORIES[system]}
        return set(self.systems) == set(every) or name.split("/")[1].split("+")[0] in mine and name not in SHARED


WHOLE, DATA = Shape(tuple(kills.STAGES), jobs=3), Shape((0, 1, 2, 3, 4), jobs=2)
IVECTOR, NETWORK = Shape((5, 6, 8, 9, 10), ("ivector",)), Shape((7, 8, 9, 10), ("attentive_statistics",), 2)
MAKING_DATA, ON_DATA = [WHOLE, DATA, DATA, WHOLE, DATA], [IVECTOR, NETWORK, IVECTOR, NETWORK, IVECTOR]


def check_same(where, reference, shape, every):
    """Same files with the same bytes, nothing temporary; equal results."""
    one, other = (kills.contents(each, reference) for each in (where, reference))
    one, other = ({name: value for name, value in each.items() if shape.has(name, every)} for each in (one, other))
    assert len(other) > 50 and kills.differences(one, other) == []
    assert not list(where.rglob("*.tmp"))
    if 10 in shape.stages:
        mine, theirs = (recipe.results(each)["systems"] for each in (where, reference))
        assert {name.split("+")[0] for name in mine if ":" not in name} == set(shape.systems)
        assert all(theirs[name] == value for name, value in mine.items())


def go_through(where, command, seconds, plan, seed):
    """A run killed at every moment of its plan, then finished: its outcomes."""
    run, rng = kills.Run(where, command, seconds), random.Random(seed)
    for kill in plan:
        print(run.kill(kill, rng), flush=True)
    run.finish()
    return run.outcomes


@pytest.fixture(scope="module")
def killed(shared_run, tmp_path_factory):
    """A run of two systems with two jobs, killed three times; where the reference was made with one job."""
    where, (reference, _) = tmp_path_factory.mktemp("killed") / "run", shared_run
    seconds, shape = kills.stage_seconds(reference / "exp"), Shape(tuple(kills.STAGES), jobs=2)
    seconds = {stage: value / 4 for stage, value in seconds.items()}  # of five systems
    (plan,) = kills.plan(5, [shape.stages], 3)
    return where, reference, shape, go_through(where, shape.command(where, reference, recipe.CONF), seconds, plan, 5)


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one_of_another_number_of_jobs(killed, shared_lock):
    where, reference, shape, outcomes = killed
    with shared_lock():
        check_same(where, reference, shape, recipe.SYSTEMS)
    assert sum(outcome.stage is not None for outcome in outcomes) >= 2


def test_a_truncated_archive_is_named_and_made_again(killed):
    where, *_ = killed
    ark = where / "data/train/mfcc/raw_mfcc.8.ark"
    whole = ark.read_bytes()
    ark.write_bytes(whole[:-1000])
    options = "--stage", "5", "--stop-stage", "5", "--systems", "ivector"
    process = recipe.run(where, "--exp", str(where.parent / "other"), *options)
    assert process.returncode == 1 and "raw_mfcc.8.ark" in process.stderr and "Traceback" not in process.stderr
    assert "Its log: " in process.stderr and re.search(
        r"resume with:\n +./run.sh .*--stage features$", process.stderr.rstrip()
    )
    again = recipe.run(where, "--exp", str(where.parent / "other"), "--stage", "features", "--stop-stage", "features")
    assert again.returncode == 0 and ark.read_bytes() == whole, again.stderr[-3000:]


def campaign(reference, conf, place, each=7, seed=1):
    """[(shape, outcomes)] of ten runs of `each` kills; five share the reference's data, one after the other."""
    seconds = {stage: value / 2 for stage, value in kills.stage_seconds(reference / "exp").items()}
    shapes = [*MAKING_DATA, *ON_DATA]
    plans = kills.plan(seed, [shape.stages for shape in shapes], each)

    def one(number):
        shape, where = shapes[number], place / f"run{number}"
        outcomes = go_through(where, shape.command(where, reference, conf), seconds, plans[number], seed + number)
        check_same(where, reference, shape, BOTH)
        shutil.rmtree(where)
        return shape, outcomes

    place.mkdir(parents=True, exist_ok=True)
    halves = range(len(MAKING_DATA)), range(len(MAKING_DATA), len(shapes))
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda numbers: [one(number) for number in numbers], halves)
    return first + second


@pytest.mark.reliability
def test_many_runs_killed_in_every_stage(tmp_path):
    """KILLS_SEED draws other kills; KILLS_REPORT=FILE keeps what each of them did."""
    reference, conf = tmp_path / "whole", Path(shutil.copytree(recipe.ROOT / recipe.CONF, tmp_path / "conf"))
    with open(conf / "backend.conf", "a") as stream:
        stream.write("--variant=snorm\n--variant=calhalf\n--fuse=ivector+attentive_statistics\n")
    process = recipe.run(reference, "--conf", str(conf), "--systems", " ".join(BOTH))
    assert process.returncode == 0, process.stderr[-3000:]
    found = campaign(reference, conf, tmp_path / "killed", seed=int(os.environ.get("KILLS_SEED", 1)))
    if report := os.environ.get("KILLS_REPORT"):
        Path(report).write_text("".join(f"{json.dumps(line)}\n" for line in told(found)))
    hits = [outcome.stage for _, outcomes in found for outcome in outcomes if outcome.stage is not None]
    assert len(hits) >= 60 and set(hits) == set(kills.STAGES)


def told(found):
    """A dict of each kill."""
    return [
        {
            "run": run,
            "stage": each.stage,
            "victim": each.kill.victim,
            "signal": each.kill.sign.name,
            "target": each.target,
            "code": each.code,
            "printed": each.printed,
        }
        for run, (_, outcomes) in enumerate(found)
        for each in outcomes
    ]
