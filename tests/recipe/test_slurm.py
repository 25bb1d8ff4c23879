"""steps/slurm_jobs on a real cluster of one node: run_jobs' command line, kills, retries, and the recipe through it."""

import os
import shutil
import signal
import subprocess
import time

import pytest
from recipe import ROOT, artefacts, command, results, run
from recipe import SYSTEMS as ALL

pytestmark = pytest.mark.slurm
CLUSTER = ROOT / "tests/slurm_cluster.sh"
SYSTEMS = ("--systems", "ivector statistics")


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """The environment of a running cluster."""
    where = tmp_path_factory.mktemp("slurm")
    up = subprocess.run([CLUSTER, "up", where], capture_output=True, text=True, timeout=120)
    if up.returncode == 3:
        pytest.skip(f"no Slurm here ({up.stderr.strip()})")
    try:
        assert up.returncode == 0, up.stderr
        yield {**os.environ, "SLURM_CONF": str(where / "slurm.conf"), "PYASP_SLURM_POLL": "0.5"}
    finally:
        subprocess.run([CLUSTER, "down", where], timeout=120)


def jobs(cluster, cwd, *words):
    return subprocess.run(
        [ROOT / "steps/slurm_jobs", *words], cwd=cwd, env=cluster, text=True, capture_output=True, timeout=180
    )


def slurm(cluster, *words):
    """Output of a program of Slurm's."""
    return subprocess.run(words, env=cluster, text=True, capture_output=True, check=True, timeout=60).stdout.split()


def wait_until(condition, seconds=300):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.2)


def test_an_array_of_tasks_writes_a_log_each(cluster, tmp_path):
    script = "echo 'this is  JOB'; echo $OMP_NUM_THREADS"
    result = jobs(cluster, tmp_path, "JOB=1:3", "log/x.JOB.log", "bash", "-c", script)
    assert result.returncode == 0, result.stderr
    for task in "123":
        lines = (tmp_path / f"log/x.{task}.log").read_text().splitlines()
        assert lines[0].startswith("# bash -c") and lines[2:4] == [f"this is  {task}", "1"]
        assert lines[-1].startswith("# ended with exit code 0 after")


def test_a_failed_task_is_shown_with_its_log_and_not_tried_again(cluster, tmp_path):
    script = "echo x >>tries.JOB; echo reason JOB; [ JOB != 2 ]"
    result = jobs(cluster, tmp_path, "JOB=1:3", "x.JOB.log", "bash", "-c", script)
    assert result.returncode == 1 and "exit code 1. Its log: x.2.log" in result.stderr and "| reason 2" in result.stderr
    assert "1 of 3 jobs failed" in result.stderr and (tmp_path / "tries.2").read_text() == "x\n"


def test_a_killed_task_is_submitted_again_and_the_others_are_not(cluster, tmp_path):
    script = "echo x >>tries.JOB; [ JOB = 1 ] || [ $(wc -l <tries.JOB) = 2 ] || kill -KILL $$"
    result = jobs(cluster, tmp_path, "JOB=1:2", "x.JOB.log", "bash", "-c", script)
    assert result.returncode == 0 and "1 tasks were killed (2)" in result.stderr
    assert [(tmp_path / f"tries.{task}").read_text().count("x") for task in (1, 2)] == [1, 2]


def test_a_task_that_is_always_killed_fails_in_the_end(cluster, tmp_path):
    script = "echo x >>tries; kill -KILL $$"
    result = jobs({**cluster, "PYASP_SLURM_RETRIES": "1"}, tmp_path, "x.log", "bash", "-c", script)
    assert result.returncode == 1 and "exit code 137" in result.stderr and (tmp_path / "tries").read_text() == "x\nx\n"


@pytest.mark.parametrize(
    "victim, sign", [("runner", signal.SIGTERM), ("runner", signal.SIGKILL), ("caller", signal.SIGKILL)]
)
def test_no_task_outlives_its_run(cluster, tmp_path, victim, sign):
    task = "echo $$ > pid.JOB; sleep 60; touch survived"
    script = f"{ROOT}/steps/slurm_jobs JOB=1:2 log.JOB bash -c '{task}' & echo $! > runner; wait"
    caller = subprocess.Popen(["bash", "-c", script], cwd=tmp_path, env=cluster, stderr=subprocess.DEVNULL)
    wait_until(lambda: all((tmp_path / f"pid.{task}").exists() for task in (1, 2)))
    os.kill(caller.pid if victim == "caller" else int((tmp_path / "runner").read_text()), sign)
    wait_until(lambda: not slurm(cluster, "squeue", "--noheader", "--format=%T"), 60)
    caller.kill()
    caller.wait()
    assert not (tmp_path / "survived").exists()


def test_a_job_that_is_taken_from_a_killed_runner_does_not_begin(cluster, tmp_path):
    """Nor does one that a killed runner had noted, once a resumed one is there."""
    wrapper = tmp_path / "bin/sbatch"
    wrapper.parent.mkdir()
    wrapper.write_text(f'#!/bin/sh\n{shutil.which("sbatch")} "$@"\nkill -KILL $PPID\n')
    wrapper.chmod(0o755)
    killing = {**cluster, "PATH": f"{wrapper.parent}:{os.environ['PATH']}", "PYASP_SLURM_WAIT": "5"}
    words = ("JOB=1:2", "x.JOB.log", "bash", "-c", "echo x >>begun.JOB; sleep 3")
    assert jobs(killing, tmp_path, *words).returncode == -signal.SIGKILL
    assert len(slurm(cluster, "squeue", "--noheader", "--array", "--format=%i")) == 2
    wait_until(lambda: not slurm(cluster, "squeue", "--noheader", "--format=%i"), 60)
    assert not list(tmp_path.glob("begun.*")) and "did not begin" in (tmp_path / "x.1.log").read_text()
    left = slurm(cluster, "sbatch", "--parsable", "--job-name=pyasp-x", "--output=/dev/null", "--wrap=sleep 100")[0]
    (tmp_path / ".x.JOB.log.job").write_text(f"{left}\n")
    assert jobs(cluster, tmp_path, *words).returncode == 0
    assert [(tmp_path / f"begun.{task}").read_text() for task in (1, 2)] == ["x\n", "x\n"]
    assert not slurm(cluster, "squeue", "--noheader", "--format=%i") and not (tmp_path / ".x.JOB.log.job").exists()


def test_the_recipe_runs_through_slurm_with_a_node_drained_and_a_job_killed(cluster, tmp_path):
    """The results of steps/run_jobs, value for value."""
    options = (*SYSTEMS, "--nj", "2", "--cmd", "steps/slurm_jobs")
    process = subprocess.Popen(
        command(tmp_path / "slurm", *options),
        env=cluster,
        text=True,
        stdout=subprocess.DEVNULL,
        stderr=(tmp_path / "stderr").open("w"),
    )
    (node,) = slurm(cluster, "sinfo", "--noheader", "--format=%n")
    running = ("squeue", "--noheader", "--array", "--states=running", "--format=%i")
    wait_until(lambda: (tmp_path / "slurm/data/train/feats.scp").exists())
    slurm(cluster, "scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    pending = ("squeue", "--noheader", "--states=pending", "--format=%i")
    wait_until(lambda: slurm(cluster, *pending) and not slurm(cluster, *running))
    wait_until(lambda: "waits: " in (tmp_path / "stderr").read_text())  # the reason is known later than the wait
    slurm(cluster, "scontrol", "update", f"nodename={node}", "state=resume")
    wait_until(lambda: slurm(cluster, *running))
    slurm(cluster, "scancel", "--signal=KILL", slurm(cluster, *running)[0])
    assert process.wait(900) == 0, (tmp_path / "stderr").read_text()[-3000:]
    said = (tmp_path / "stderr").read_text()
    assert "waits: " in said and "submitted again: attempt 2" in said
    plain = run(tmp_path / "plain", *SYSTEMS, OMP_NUM_THREADS="1")  # Slurm gave the training one processor
    assert plain.returncode == 0, plain.stderr[-3000:]
    assert results(tmp_path / "slurm") == results(tmp_path / "plain")
    assert artefacts(tmp_path / "slurm") == artefacts(tmp_path / "plain")


def test_all_trainings_are_submitted_at_once(cluster, finished, tmp_path):
    """While the node is drained, the UBM and the four networks wait beside each other."""
    where, _ = finished
    (node,) = slurm(cluster, "sinfo", "--noheader", "--format=%n")
    slurm(cluster, "scontrol", "update", f"nodename={node}", "state=drain", "reason=test")
    words = ["--data", str(where / "data"), "--stage", "ubm", "--stop-stage", "networks", "--cmd", "steps/slurm_jobs"]
    with (tmp_path / "stderr").open("w") as screen:
        process = subprocess.Popen(
            command(tmp_path, *words), env=cluster, text=True, stdout=subprocess.DEVNULL, stderr=screen
        )
    try:
        pending = ("squeue", "--noheader", "--states=pending", "--format=%i")
        wait_until(lambda: len(slurm(cluster, *pending)) == 5)
        names = slurm(cluster, "squeue", "--noheader", "--states=pending", "--format=%j")
        assert sorted(names) == [*["pyasp-train_tdnn"] * 4, "pyasp-train_ubm"]
    finally:
        slurm(cluster, "scontrol", "update", f"nodename={node}", "state=resume")
    assert process.wait(900) == 0, (tmp_path / "stderr").read_text()[-3000:]
    one, other = (artefacts(each / "exp") for each in (tmp_path, where))
    networks = [f"{system}/final.pt" for system in ALL if system != "ivector"]
    assert all(one[name] == other[name] for name in (*networks, "ubm/final.ubm", "ivector/final.ie"))
