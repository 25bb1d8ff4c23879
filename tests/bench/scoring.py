"""Rows of the benchmark: PLDA scores of listed trials, of the full cross product, and of lists of up to 100 million."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from bench.measure import PeakMemory, Reference, Row, Setting, rows, seconds
from bench.reference import plda_trial
from pyasp.backend.lists import score_list
from pyasp.backend.options import ScoreOptions
from pyasp.backend.plda import Plda
from pyasp.backend.scoring import Scorer, plda_scorer, score_blocks
from pyasp.core.records import made_path
from pyasp.data.scores import array_path, write_scores
from pyasp.data.trials import TrialList, read_trials

DIM, REFERENCE_TRIALS = 400, 2000


def _parts(size: int) -> tuple[Scorer, Reference]:
    """The scorer of `size` models and as many tests, and the same trial by trial."""
    rng = np.random.default_rng(5)
    plda = Plda(np.zeros(DIM), np.eye(DIM), np.sort(rng.gamma(1.0, 2.0, DIM))[::-1].copy())
    models, numbers, tests = (
        rng.standard_normal((size, DIM)),
        rng.integers(1, 4, size),
        rng.standard_normal((size, DIM)),
    )

    def reference() -> None:
        for k in range(REFERENCE_TRIALS):
            plda_trial(plda, models[k % size], int(numbers[k % size]), tests[k % size])

    traffic = 3 * 8 * DIM  # both vectors and psi
    other = Reference("a trial at a time, BLAS", lambda: reference, REFERENCE_TRIALS, traffic)
    return plda_scorer(models, numbers, tests, plda, ScoreOptions()), other


def listed(setting: Setting) -> Iterator[Row]:
    """500 000 random pairs of 5000 models and 5000 tests."""
    count, (scorer, reference) = setting.size(200_000, 500_000), _parts(5000)
    pairs = np.random.default_rng(6).integers(0, 5000, (2, count))
    name, work = "plda_listed_trials", functools.partial(scorer.pairs, *pairs)
    return rows(setting, name, "trials/s", count, work, reference, 8 * DIM, "stream")


def cross(setting: Setting) -> Iterator[Row]:
    """Every model with every test."""
    size = setting.size(4000, 10_000)
    scorer, reference = _parts(size)

    def work() -> None:
        for _ in scorer.cross():
            pass

    return rows(setting, "plda_cross_product", "trials/s", size * size, work, reference, 2 * DIM)


def _long_list(count: int) -> tuple[Scorer, np.ndarray, np.ndarray]:
    """A scorer of 10 000 models and tests, and a list of trials of them as int32 arrays, model by model."""
    every = np.arange(count, dtype=np.int64) * (10_000 * 10_000 // count)
    return _parts(10_000)[0], (every // 10_000).astype(np.int32), (every % 10_000).astype(np.int32)


def stream_arrays(setting: Setting) -> Iterator[Row]:
    """A long list held as arrays: scored in blocks, nothing kept but the scores."""
    count = setting.size(2_000_000, 100_000_000)
    scorer, models, tests = _long_list(count)

    def work() -> None:
        scores, done = np.empty(count, np.float32), 0
        for block in score_blocks(scorer, models, tests):
            scores[done : done + len(block)] = block
            done += len(block)

    most = dataclasses.replace(setting, threads=setting.threads[-1:])
    return rows(most, "plda_stream_from_arrays", "trials/s", count, work, turns=1)


def stream_text(setting: Setting) -> Iterator[Row]:
    """The same list as text: read, checked, scored, written as text and as an array; wall time."""
    count = setting.size(500_000, 100_000_000)
    scorer, models, tests = _long_list(count)
    path, threads = setting.folder / "trials", setting.threads[-1]
    with open(path, "w", encoding="ascii", newline="\n") as stream:
        for start in range(0, count, 1 << 17):
            pairs = zip(models[start : start + (1 << 17)].tolist(), tests[start : start + (1 << 17)].tolist())
            stream.write("".join(f"model{i:05d} test{j:05d} {'target' if i == j else 'nontarget'}\n" for i, j in pairs))
    del models, tests
    memory = PeakMemory(setting.device)
    own = seconds(lambda: _score_text(scorer, path, count), 2)
    path.unlink()
    yield Row("plda_stream_from_text", count / own, "trials/s", None, None, memory.bytes(), threads)


def _score_text(scorer: Scorer, path: Path, count: int) -> None:
    names = [[f"{what}{number:05d}" for number in range(10_000)] for what in ("model", "test")]
    trials: TrialList = read_trials(path, names[0], names[1], both_classes=False)
    scores = score_list(trials, scorer, np.zeros(count, bool))
    target = path.with_name("scores")
    write_scores(target, trials, scores, {})
    for each in (target, array_path(target), made_path(target)):
        each.unlink()
