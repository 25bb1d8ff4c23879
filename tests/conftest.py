"""Fixtures of all tests: the golden set, and the table of deviations from Kaldi (GOLDEN_REPORT=FILE writes it)."""

import os
from pathlib import Path

import golden_cases
import pytest

# Runs that are compared bit for bit must not each choose their number of threads by what the machine is doing.
os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))
os.environ.pop("PYASP_THREADS", None)


@pytest.fixture(scope="session")
def golden():
    """The golden set: `.path(rel)`, `.table(rel)`, `.single(rel)`, `.MANIFEST`, `.compare(...)`."""
    return golden_cases


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """A finished run of all stages and systems."""
    import recipe  # and torch, which most test files do without

    where = tmp_path_factory.mktemp("recipe")
    process = recipe.run(where)
    assert process.returncode == 0, process.stderr[-3000:]
    return where, process


def pytest_sessionfinish(session, exitstatus):
    """Writes the largest deviation from Kaldi of each stage, when asked to."""
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
