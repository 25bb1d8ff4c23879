"""Fixtures and order of all tests; the table of deviations from Kaldi (GOLDEN_REPORT=FILE writes it).

Several processes (`tests/run.sh -n 4`) share what takes long: the run of the tiny recipe is begun by the first of them
while the others test, and its tests come last. A file's tests stay in one process, in which its fixtures are made once.
"""

import fcntl
import json
import os
import random
import subprocess
import threading
import time
from pathlib import Path

import golden_cases
import pytest

# Runs that are compared bit for bit must not each choose their number of threads by what the machine is doing.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.pop("PYASP_THREADS", None)
SHARED = ("killed", "finished")  # fixtures over the run of the tiny recipe
RUN = "run.json"  # how it ended; complete when it is there


def pytest_addoption(parser):
    parser.addoption("--shuffle", type=int, metavar="SEED", help="files, and the tests of each, in random order")


def pytest_collection_modifyitems(config, items):
    """Tests over the shared run last; each file, and these, in one process."""
    if config.getoption("--shuffle") is not None:
        rng = random.Random(config.getoption("--shuffle"))
        place = {path: rng.random() for path in sorted({str(item.path) for item in items})}
        items.sort(key=lambda item: (place[str(item.path)], rng.random()))
    kinds = [next((k for k, name in enumerate(SHARED, 1) if name in item.fixturenames), 0) for item in items]
    if config.pluginmanager.hasplugin("xdist"):
        for kind, item in zip(kinds, items):
            item.add_marker(pytest.mark.xdist_group(SHARED[kind - 1] if kind else str(item.path)))
    order = {id(item): kind for kind, item in zip(kinds, items)}
    items.sort(key=lambda item: order[id(item)])


def pytest_collection_finish(session):
    """The shared run begins with the first test."""
    config = session.config
    if any(name in item.fixturenames for item in session.items for name in SHARED) and not config.option.collectonly:
        if not hasattr(config, "workerinput") and config.getoption("numprocesses", None):
            return  # the processes that test begin it
        place = shared_place(config)
        try:
            (place / "recipe").mkdir()
        except FileExistsError:
            return  # another one has begun it
        threading.Thread(target=make_run, args=(place,), daemon=True).start()


def shared_place(config) -> Path:
    """A directory of this test session, which all its processes have."""
    place = Path(config._tmp_path_factory.getbasetemp())
    return place.parent if hasattr(config, "workerinput") else place


def make_run(place: Path) -> None:
    """The tiny recipe with all systems, in place/recipe."""
    import recipe

    process = recipe.run(place / "recipe")
    found = [process.returncode, process.stdout, process.stderr]
    (place / f"{RUN}.tmp").write_text(json.dumps(found), encoding="utf-8")
    (place / f"{RUN}.tmp").rename(place / RUN)


@pytest.fixture(scope="session")
def shared_run(pytestconfig):
    """(directory, process) of the shared run, when it has ended; for changing or reading it, hold `shared_lock`."""
    place = shared_place(pytestconfig)
    while not (place / RUN).exists():
        time.sleep(0.1)
    code, out, err = json.loads((place / RUN).read_text(encoding="utf-8"))
    assert code == 0, err[-3000:]
    return place / "recipe", subprocess.CompletedProcess([], code, out, err)


@pytest.fixture(scope="session")
def shared_lock(pytestconfig):
    """A context in which no other process tests the shared run."""
    return lambda: Held(shared_place(pytestconfig) / "recipe.lock")


class Held:
    """An exclusive lock of a file."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.file = open(self.path, "w")
        fcntl.flock(self.file, fcntl.LOCK_EX)

    def __exit__(self, *error):
        self.file.close()


@pytest.fixture
def finished(shared_run, shared_lock):
    """(directory, process) of a finished run of all stages and systems; whoever changes it changes it back."""
    with shared_lock():
        yield shared_run


@pytest.fixture(scope="session")
def golden():
    """The golden set: `.path(rel)`, `.table(rel)`, `.single(rel)`, `.MANIFEST`, `.compare(...)`."""
    return golden_cases


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
