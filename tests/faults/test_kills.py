"""Killed at any instant and resumed, a run ends with the bytes of one that was not: same files, same contents."""

import json
import os
import random
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import kills
import pytest
import recipe

ALONE = {"ivector": ("ubm", "ivector"), "attentive_statistics": ("attentive_statistics",)}     # directories of a system
SHAPES = [(("ivector",), 1), (("attentive_statistics",), 2), (("ivector", "attentive_statistics"), 3)]      # systems, --nj
SHARED = {f"exp/{name}{end}" for name in ("results.json", "RESULTS.md", "det.png", "attention.npz") for end in ("", ".made.json")}


def part_of(found, systems, every):
    """The files of a run that one of `systems` alone has too; all of them when it has every system."""
    if set(systems) == set(every):
        return found
    mine = {name for system in systems for name in ALONE.get(system, (system,))}
    return {name: value for name, value in found.items() if name.startswith("data/")
            or name.split("/")[1].split("+")[0] in mine and name not in SHARED}


def check_same(where, reference, systems, every):
    """Same files with the same bytes, nothing temporary; equal results."""
    one, other = (part_of(kills.contents(each), systems, every) for each in (where, reference))
    assert len(other) > 200 and kills.differences(one, other) == []
    assert not list(where.rglob("*.tmp"))
    mine, theirs = (recipe.results(each)["systems"] for each in (where, reference))
    assert {name.split("+")[0] for name in mine if ":" not in name} == set(systems)
    assert all(theirs[name] == value for name, value in mine.items())


def go_through(where, command, seconds, plan, seed):
    """A run killed at every moment of its plan, then finished: its outcomes."""
    run, rng = kills.Run(where, command, seconds), random.Random(seed)
    for kill in plan:
        print(run.kill(kill, rng), flush=True)
    run.finish()
    return run.outcomes


@pytest.fixture(scope="module")
def killed(finished, tmp_path_factory):
    """A run of two systems with two jobs, killed five times; where the reference was made with one job."""
    where, (reference, _) = tmp_path_factory.mktemp("killed") / "run", finished
    command = recipe.command(where, "--systems", "ivector attentive_statistics", "--nj", "2")
    seconds = {stage: value / 4 for stage, value in kills.stage_seconds(reference / "exp").items()}
    return where, reference, go_through(where, command, seconds, kills.plan(5, 1, 5)[0], 5)


def test_a_killed_and_resumed_run_equals_an_uninterrupted_one_of_another_number_of_jobs(killed):
    where, reference, outcomes = killed
    check_same(where, reference, ("ivector", "attentive_statistics"), recipe.SYSTEMS)
    assert sum(outcome.stage is not None for outcome in outcomes) >= 4


@pytest.fixture(scope="module")
def with_variants(tmp_path_factory):
    """A run of two systems with normalised, calibrated and fused scores, and its conf directory."""
    where = tmp_path_factory.mktemp("uninterrupted")
    conf = Path(shutil.copytree(recipe.ROOT / recipe.CONF, where / "conf"))
    with open(conf / "backend.conf", "a") as stream:
        stream.write("--variant=snorm\n--variant=calhalf\n--fuse=ivector+attentive_statistics\n")
    process = recipe.run(where / "run", "--conf", str(conf), "--systems", "ivector attentive_statistics")
    assert process.returncode == 0, process.stderr[-3000:]
    return where / "run", conf


@pytest.mark.reliability
def test_many_runs_killed_in_every_stage(with_variants, tmp_path):
    """KILLS_RUNS runs (10) of KILLS_EACH kills (7) by KILLS_SEED; KILLS_REPORT=FILE keeps what each kill did."""
    reference, conf = with_variants
    runs, each, seed = (int(os.environ.get(f"KILLS_{name}", default)) for name, default in (("RUNS", 10), ("EACH", 7), ("SEED", 1)))
    seconds = {stage: value / 2 for stage, value in kills.stage_seconds(reference / "exp").items()}

    def one(number, plan):
        (systems, jobs), where = SHAPES[number % len(SHAPES)], tmp_path / f"run{number}"
        command = recipe.command(where, "--systems", " ".join(systems), "--nj", str(jobs), "--conf", str(conf))
        outcomes = go_through(where, command, seconds, plan, seed + number)
        check_same(where, reference, systems, ALONE)
        shutil.rmtree(where)
        return outcomes

    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(one, range(runs), kills.plan(seed, runs, each)))
    hits = [outcome for outcomes in found for outcome in outcomes if outcome.stage is not None]
    if report := os.environ.get("KILLS_REPORT"):
        lines = [{"run": run, "stage": each.stage, "victim": each.kill.victim, "signal": each.kill.sign.name, "target": each.target,
                  "code": each.code, "printed": each.printed} for run, outcomes in enumerate(found) for each in outcomes]
        Path(report).write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert len(hits) >= min(60, runs * each * 6 // 7) and {outcome.stage for outcome in hits} == set(kills.STAGES)
