"""Hostile files: whatever a reader is given, it answers or raises InputError, in bounded time and memory.

The default run tries QUICK cases a reader, `-m reliability` FULL; both are the same numbered cases, so that any can be
repeated. FUZZ_REPORT=FILE appends a row a reader to FILE; FUZZ_CASES and FUZZ_SECONDS bound the full form.
"""

import os
import tempfile
import time
from pathlib import Path

import pytest
from fuzz_targets import TARGETS
from fuzzing import Fuzzer

QUICK, FULL = 1000, 200_000
SLOW = {
    "checkpoint": 60,
    "cuts": 300,
    "lhotse recordings": 200,
    "lhotse supervisions": 200,
}  # quick cases of slow readers


@pytest.fixture
def folder():
    """A directory in memory where there is one: a case is a file that is written and read once."""
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.access("/dev/shm", os.W_OK) else None) as name:
        yield Path(name) / "run" / "case"


def tried(name, folder, cases, until=float("inf")):
    """The outcome of some cases of a target; no failure among them."""
    folder.mkdir(parents=True)
    outcome = Fuzzer(TARGETS[name], folder).run(cases, until=until)
    if os.environ.get("FUZZ_REPORT"):
        with open(os.environ["FUZZ_REPORT"], "a", encoding="utf-8") as stream:
            stream.write(outcome.line(name) + "\n")
    assert not outcome.failures, "\n".join(f"{kind}: {first}" for kind, first in outcome.failures.items())
    return outcome


@pytest.mark.parametrize("name", TARGETS)
def test_a_damaged_file_is_read_or_refused(name, folder):
    outcome = tried(name, folder, SLOW.get(name, QUICK))
    assert outcome.refused > 0 and outcome.accepted > 0  # the mutations reach both


@pytest.mark.reliability
@pytest.mark.parametrize("name", TARGETS)
def test_two_hundred_thousand_damaged_files(name, folder):
    until = time.monotonic() + float(os.environ.get("FUZZ_SECONDS", "inf"))
    tried(name, folder, int(os.environ.get("FUZZ_CASES", FULL)), until)
