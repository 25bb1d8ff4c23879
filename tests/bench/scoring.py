"""Rows of the benchmark: PLDA scores of listed trials, of the full cross product, and of lists of up to 100 million."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.measure import PeakMemory, Row, Setting, Timing, in_turns, seconds
from bench.reference import plda_trial
from pyasp.backend.lists import score_list
from pyasp.backend.options import ScoreOptions
from pyasp.backend.plda import Plda
from pyasp.backend.scoring import Scorer, plda_scorer, score_blocks
from pyasp.core.records import made_path
from pyasp.data.scores import array_path, write_scores
from pyasp.data.trials import TrialList, read_trials

DIM, REFERENCE_TRIALS = 400, 2000


def _parts(models: int, tests: int) -> tuple[Plda, np.ndarray, np.ndarray, np.ndarray]:
    """A model, enrolment vectors, their numbers of recordings, test vectors."""
    rng = np.random.default_rng(5)
    plda = Plda(np.zeros(DIM), np.eye(DIM), np.sort(rng.gamma(1.0, 2.0, DIM))[::-1].copy())
    return (plda, rng.standard_normal((models, DIM)), rng.integers(1, 4, models), rng.standard_normal((tests, DIM)))


def _reference(parts: tuple[Plda, np.ndarray, np.ndarray, np.ndarray]) -> None:
    plda, models, numbers, tests = parts
    for k in range(REFERENCE_TRIALS):
        plda_trial(plda, models[k % len(models)], int(numbers[k % len(models)]), tests[k % len(tests)])


def _row(name: str, found: Timing, trials: int, peak: float, threads: int) -> Row:
    each = found.reference / REFERENCE_TRIALS
    return Row(
        name,
        trials / found.own,
        "trials/s",
        trials / found.own * each,
        peak,
        found.memory,
        threads,
        "a trial at a time, BLAS",
        3 * 8 * DIM / each / found.stream,
    )  # both vectors and psi


def listed(setting: Setting) -> Iterator[Row]:
    """500 000 random pairs of 5000 models and 5000 tests."""
    count = setting.size(200_000, 500_000)
    parts = _parts(5000, 5000)
    scorer, rng = plda_scorer(parts[1], parts[2], parts[3], parts[0], ScoreOptions()), np.random.default_rng(6)
    pairs = rng.integers(0, 5000, (2, count))
    for threads in setting.threads:
        found = in_turns(lambda: scorer.pairs(*pairs), lambda: _reference(parts), setting, threads)
        yield _row("plda_listed_trials", found, count, count / found.own * 8 * DIM / found.stream, threads)


def cross(setting: Setting) -> Iterator[Row]:
    """Every model with every test."""
    size = setting.size(4000, 10_000)
    parts = _parts(size, size)
    scorer = plda_scorer(parts[1], parts[2], parts[3], parts[0], ScoreOptions())
    for threads in setting.threads:
        found = in_turns(lambda: [None for _ in scorer.cross()], lambda: _reference(parts), setting, threads)
        yield _row("plda_cross_product", found, size * size, 2 * DIM * size * size / found.own / found.sgemm, threads)


def _long_list(count: int) -> tuple[Scorer, np.ndarray, np.ndarray]:
    """A scorer of 10 000 models and tests, and a list of trials of them as int32 arrays, model by model."""
    plda, models, numbers, tests = _parts(10_000, 10_000)
    every = np.arange(count, dtype=np.int64) * (10_000 * 10_000 // count)
    return (
        plda_scorer(models, numbers, tests, plda, ScoreOptions()),
        (every // 10_000).astype(np.int32),
        (every % 10_000).astype(np.int32),
    )


def stream_arrays(setting: Setting) -> Iterator[Row]:
    """A long list held as arrays: scored in blocks, nothing kept but the scores."""
    count = setting.size(2_000_000, 100_000_000)
    scorer, models, tests = _long_list(count)
    threads = setting.threads[-1]

    def work() -> None:
        scores, done = np.empty(count, np.float32), 0
        for block in score_blocks(scorer, models, tests):
            scores[done : done + len(block)] = block
            done += len(block)

    found = in_turns(work, None, setting, threads, 1)
    yield Row("plda_stream_from_arrays", count / found.own, "trials/s", None, None, found.memory, threads)


def stream_text(setting: Setting) -> Iterator[Row]:
    """The same list as text: read, checked, scored, written as text and as an array; wall time."""
    count = setting.size(500_000, 100_000_000)
    scorer, models, tests = _long_list(count)
    path, threads = setting.folder / "trials", setting.threads[-1]
    with open(path, "w", encoding="ascii", newline="\n") as stream:
        for start in range(0, count, 1 << 17):
            rows = zip(models[start : start + (1 << 17)].tolist(), tests[start : start + (1 << 17)].tolist())
            stream.write("".join(f"model{i:05d} test{j:05d} {'target' if i == j else 'nontarget'}\n" for i, j in rows))
    del models, tests
    memory = PeakMemory(setting.device)
    own = seconds(lambda: _score_text(scorer, path, count), 2)
    path.unlink()
    yield Row("plda_stream_from_text", count / own, "trials/s", None, None, memory.bytes(), threads)


def _score_text(scorer: Scorer, path, count: int) -> None:
    names = [[f"{what}{number:05d}" for number in range(10_000)] for what in ("model", "test")]
    trials: TrialList = read_trials(path, names[0], names[1], both_classes=False)
    scores = score_list(trials, scorer, np.zeros(count, bool))
    target = path.with_name("scores")
    write_scores(target, trials, scores, {})
    for each in (target, array_path(target), made_path(target)):
        each.unlink()
