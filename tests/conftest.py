"""Fixtures and order of all tests; the table of deviations from Kaldi (GOLDEN_REPORT=FILE writes it).

Several processes (`tests/run.sh -n 4`) share what takes long: the run of the tiny recipe is begun by the first of them
while the others test, and its tests come last. A file's tests stay in one process, in which its fixtures are made once.
"""

import atexit
import contextlib
import fcntl
import gc
import json
import os
import random
import signal
import subprocess
import time
from pathlib import Path

import fake_cuda
import golden_cases
import pytest

# Runs that are compared bit for bit must not each choose their number of threads by what the machine is doing.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("PYASP_THREADS", None)
gc.disable()  # while tests and what they import are read: hardly anything of it is garbage
SHARED = ("killed", "finished")  # fixtures over the run of the tiny recipe
CODE = "code"  # of that run: written when it has ended


def pytest_addoption(parser):
    parser.addoption("--shuffle", type=int, metavar="SEED", help="files, and the tests of each, in random order")


def pytest_collection_modifyitems(config, items):
    """Files with tests over the shared run come last."""
    if config.getoption("--shuffle") is not None:
        rng = random.Random(config.getoption("--shuffle"))
        place = {path: rng.random() for path in sorted({str(item.path) for item in items})}
        items.sort(key=lambda item: (place[str(item.path)], rng.random()))
    kinds = {}
    for item in items:
        taken = next((k for k, name in enumerate(SHARED) if name in item.fixturenames), -1)
        kinds[item.path] = max(taken, kinds.get(item.path, -1))
    items.sort(key=lambda item: kinds[item.path])


def pytest_collection_finish(session):
    """The shared run begins with the first test; of several processes the quickest begins it."""
    gc.freeze()
    gc.enable()
    atexit.register(gc.freeze)
    config = session.config
    wanted = any("shared_run" in item.fixturenames for item in session.items)
    here = hasattr(config, "workerinput") or not config.getoption("numprocesses", None)
    if wanted and here and not config.option.collectonly:
        with contextlib.suppress(FileExistsError):
            begin_run(shared_place(config))


def pytest_unconfigure(config):
    """A session that was broken off leaves no run behind."""
    if not hasattr(config, "workerinput") and hasattr(config, "_tmp_path_factory"):
        place = shared_place(config)
        if (place / "pid").exists() and not (place / CODE).exists():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(int((place / "pid").read_text()), signal.SIGTERM)


def shared_place(config) -> Path:
    """A directory of this test session, which all its processes have."""
    place = Path(config._tmp_path_factory.getbasetemp())
    return place.parent if hasattr(config, "workerinput") else place


def begin_run(place: Path) -> None:
    """Starts the tiny recipe with all systems in place/recipe; its exit code is there when it has ended.

    Raises FileExistsError when it was begun before.
    """
    import recipe

    (place / "recipe").mkdir()
    script = f'"$@" >"$0/out" 2>"$0/err"; echo $? >"$0/{CODE}.tmp"; mv "$0/{CODE}.tmp" "$0/{CODE}"'
    words = ["bash", "-c", script, str(place), *recipe.command(place / "recipe")]
    process = subprocess.Popen(words, start_new_session=True)
    (place / "pid").write_text(str(process.pid))


@pytest.fixture(scope="session")
def shared_run(pytestconfig):
    """(directory, process) of the shared run, when it has ended; for changing or reading it, hold `shared_lock`."""
    place = shared_place(pytestconfig)
    while not (place / CODE).exists():
        time.sleep(0.1)
    code, out, err = (int((place / CODE).read_text()), *((place / name).read_text() for name in ("out", "err")))
    assert code == 0, err[-3000:]
    return place / "recipe", subprocess.CompletedProcess([], code, out, err)


@pytest.fixture(scope="session")
def shared_lock(pytestconfig):
    """A context in which no other process tests the shared run."""

    @contextlib.contextmanager
    def held():
        with open(shared_place(pytestconfig) / "recipe.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    return held


@pytest.fixture
def finished(shared_run, shared_lock):
    """(directory, process) of a finished run of all stages and systems; whoever changes it changes it back."""
    with shared_lock():
        yield shared_run


@pytest.fixture(scope="session")
def fake_library(tmp_path_factory):
    """For fake_cuda.call."""
    return fake_cuda.build(tmp_path_factory.mktemp("fake_cuda") / "fake_cuda.so")


@pytest.fixture(scope="session")
def golden():
    """The golden set: `.path(rel)`, `.table(rel)`, `.single(rel)`, `.MANIFEST`, `.compare(...)`."""
    return golden_cases


@pytest.hookimpl(optionalhook=True)  # a hook of pytest-xdist
def pytest_testnodedown(node, error):
    """Takes over what a process that tested has measured."""
    found = json.loads(getattr(node, "workeroutput", {}).get("deviations", "{}"))
    for stage, measures in found.items():
        seen = golden_cases.DEVIATIONS.setdefault(stage, {})
        seen.update({name: pair for name, pair in measures.items() if name not in seen or pair[1] > seen[name][1]})


def pytest_sessionfinish(session, exitstatus):
    """Writes the largest deviation from Kaldi of each stage, when asked to."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["deviations"] = json.dumps(golden_cases.DEVIATIONS, default=float)
        return
    target = os.environ.get("GOLDEN_REPORT")
    if not target or not golden_cases.DEVIATIONS:
        return
    rows = ["| stage | measure | largest deviation | share of the tolerance |", "|---|---|---|---|"]
    for stage, measures in golden_cases.DEVIATIONS.items():
        rows += [
            f"| {stage} | {measure} | {value:.2g} | {share:.1%} |"
            for measure, (value, share) in sorted(measures.items())
        ]
    Path(target).write_text("\n".join(rows) + "\n", encoding="utf-8")


def pytest_terminal_summary(terminalreporter, config):
    """The table of `-m cuda`."""
    table = shared_place(config) / "cuda.md"
    if table.exists():
        terminalreporter.write_line(table.read_text(encoding="utf-8"))
