"""From embeddings on disk to a score file: which recordings a trial list needs, and what is written.

`<model> <test> <score>` lines in the order of the list, and the scores alone as float32 in `<scores>.f32.npy`. A score
is printed with the fewest digits that give the same float32 back.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO

import numpy as np

from pyasp.backend import scoring
from pyasp.backend.vectors import load_embeddings
from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write
from pyasp.data.trials import TrialList

LINES_AT_ONCE = 1 << 17


def check_missing(
    trials: TrialList, missing_models: Iterable[int], missing_tests: Iterable[int], allowed: float, where: object
) -> np.ndarray:
    """Mask (N,) of the trials without an embedding of their model or test; numbers index trials.models and .tests.

    Raises InputError when they are more than the share `allowed` of all trials; otherwise prints the count.
    """
    lacking = [trials.models[i] for i in missing_models] + [trials.tests[j] for j in missing_tests]
    if not lacking:
        return np.zeros(len(trials), bool)
    mask = np.isin(trials.model, list(missing_models)) | np.isin(trials.test, list(missing_tests))
    count, first = int(mask.sum()), ", ".join(lacking[:3])
    if count > allowed * len(trials):
        raise InputError(
            where,
            f"{count} of {len(trials)} trials without an embedding: {len(lacking)} ids (first: {first})",
            "embeddings of every model and test recording",
            "Extract them (stage 8), correct the list, or raise --max-missing-trials",
        )
    print(
        f"done {len(trials) - count} of {len(trials)} trials, {count} failed (first: {first}: no embedding): "
        "these get the lowest score of the list"
    )
    return mask


def load_models(
    trials: TrialList, model2utts: Mapping[str, list[str]], reader: Mapping[str, np.ndarray], where: object
) -> tuple[np.ndarray, list[np.ndarray], list[int]]:
    """Embeddings of the enrolment recordings that the list needs: (vectors (N, D), members, missing).

    members[i] holds the rows of trials.models[i], one row of zeros when the list does not use the model or none of its
    recordings has an embedding; `missing` are the models for which some recording has none.
    """
    used = set(np.unique(trials.model).tolist())
    rows: dict[str, int] = {}
    members: list[np.ndarray] = []
    missing: list[int] = []
    for number, model in enumerate(trials.models):
        utts = model2utts[model] if number in used else []
        found = [utt for utt in utts if utt in reader]
        if len(found) < len(utts):
            missing.append(number)
        members.append(np.array([rows.setdefault(utt, len(rows)) for utt in found], np.int64))
    vectors = load_embeddings(reader, rows, where)
    return vectors, [each if each.size else np.zeros(1, np.int64) for each in members], missing


def load_tests(trials: TrialList, reader: Mapping[str, np.ndarray], where: object) -> tuple[np.ndarray, list[int]]:
    """Embeddings (T, D) of trials.tests, a row of zeros where there is none, and the numbers of those."""
    missing = [number for number, utt in enumerate(trials.tests) if utt not in reader]
    absent = set(missing)
    found = [number for number in range(len(trials.tests)) if number not in absent]
    known = load_embeddings(reader, [trials.tests[number] for number in found], where)
    vectors = np.zeros((len(trials.tests), known.shape[1]), np.float32)
    vectors[found] = known
    return vectors, missing


def score_list(trials: TrialList, scorer: scoring.Scorer, missing: np.ndarray) -> np.ndarray:
    """Scores (N,) float32 of a list; `missing` (N,) bool trials get the lowest score of the others."""
    scores, done = np.empty(len(trials), np.float32), 0
    for block in scoring.score_blocks(scorer, trials.model, trials.test):
        scores[done : done + len(block)] = block
        done += len(block)
    bad = ~np.isfinite(scores) & ~missing
    if bad.any():
        first = int(bad.argmax())
        pair = f"{trials.models[trials.model[first]]} {trials.tests[trials.test[first]]}"
        raise InputError(
            "scores",
            f"{int(bad.sum())} that are not finite",
            "finite scores",
            "Check the embeddings and the back end",
            item=pair,
        )
    if missing.any():
        scores[missing] = scores[~missing].min()
    return scores


def write_scores(stream: IO[str], trials: TrialList, scores: np.ndarray) -> None:
    """Writes `<model> <test> <score>` lines in the order of the list; scores (N,) float32."""
    models, tests = trials.models, trials.tests
    for start in range(0, len(trials), LINES_AT_ONCE):
        part = slice(start, start + LINES_AT_ONCE)
        rows = zip(trials.model[part].tolist(), trials.test[part].tolist(), scores[part].astype("U").tolist())
        stream.write("".join(f"{models[i]} {tests[j]} {text}\n" for i, j, text in rows))


def array_path(scores_path: str | Path) -> Path:
    """Name of the array beside a score file."""
    return Path(f"{scores_path}.f32.npy")


def write_array(scores_path: str | Path, scores: np.ndarray) -> None:
    """Writes the scores alone, (N,) float32, beside the score file."""
    with atomic_write(array_path(scores_path)) as stream:
        np.save(stream, scores.astype(np.float32, copy=False), allow_pickle=False)
