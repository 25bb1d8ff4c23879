"""Embeddings of the recordings that a list names: of training, a trial list, or a cohort; and the scores of a list."""

from collections.abc import Iterable, Mapping

import numpy as np

from pyasp.backend import scoring
from pyasp.core.errors import CannotBeMade, InputError, rerun
from pyasp.data.datadir import c_sorted, invert
from pyasp.data.trials import TrialList


def load_embeddings(reader: Mapping[str, np.ndarray], utterances: Iterable[str], where: object) -> np.ndarray:
    """Embeddings of `utterances` as rows (N, D) float32.

    Raises InputError when some are missing (count and first ones), differ in dimension or hold a number that is none.
    """
    utterances = list(utterances)
    missing = [utt for utt in utterances if utt not in reader]
    if missing:
        told, cure = _lacking(missing, utterances), rerun("embeddings", "Correct the lists, or extract them")
        raise InputError(where, told, "one for each", cure)
    if not utterances:
        raise InputError(where, "no utterances", "at least one", "Check the lists")
    rows = np.empty((len(utterances), np.asarray(reader[utterances[0]]).size), np.float32)
    for row, utt in zip(rows, utterances):
        vector = np.asarray(reader[utt])
        if vector.shape != row.shape or not np.isfinite(vector).all():
            found = f"shape {vector.shape}, {int((~np.isfinite(vector)).sum())} values not finite"
            raise InputError(where, found, f"{len(row)} finite values", "Extract this utterance again", item=utt)
        row[:] = vector
    return rows


def _lacking(missing: list[str], utterances: list[str]) -> str:
    return f"no embedding for {len(missing)} of {len(utterances)} utterances (first: {', '.join(missing[:3])})"


def with_embedding(
    utterances: list[str], reader: Mapping[str, np.ndarray], max_missing: float, where: object
) -> list[str]:
    """Those of `utterances` that have an embedding. InputError when more than the share `max_missing` have none."""
    missing = [utt for utt in utterances if utt not in reader]
    if len(missing) > max_missing * len(utterances):
        found, cure = _lacking(missing, utterances), rerun("embeddings", "Raise --max-missing, or extract them")
        raise InputError(where, found, f"at most a share of {max_missing:g} missing", cure)
    extra = len(reader) + len(missing) - len(utterances)
    if extra:
        print(f"{where}: {extra} of {len(reader)} embeddings are not listed for training and not used")
    if missing:
        print(
            f"done {len(utterances) - len(missing)} of {len(utterances)} training utterances, {len(missing)} failed "
            f"(first: {missing[0]}: no embedding)"
        )
    return [utt for utt in utterances if utt in reader]


def draw_cohort(utt2spk: Mapping[str, str], size: int, unit: str, seed: int) -> dict[str, list[str]]:
    """{cohort member: its recordings} of at most `size` recordings or speakers (`unit`), drawn by seed, in C order.

    CannotBeMade for fewer than two.
    """
    members = invert(utt2spk) if unit == "speaker" else {utt: [utt] for utt in c_sorted(utt2spk)}
    if min(len(members), size) < 2:
        found, cure = f"{min(len(members), size)} {unit}s", "Give more training speakers, or raise --cohort-size"
        raise CannotBeMade("cohort", found, "at least 2", cure)
    names = np.array(list(members), dtype=object)
    chosen = np.random.default_rng([seed, 5]).permutation(len(names))[:size]
    return {name: members[name] for name in c_sorted(names[chosen])}


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
        found = f"{count} of {len(trials)} trials without an embedding: {len(lacking)} ids (first: {first})"
        cure = rerun("embeddings", "Correct the list, raise --max-missing-trials, or extract them")
        raise InputError(where, found, "embeddings of every model and test recording", cure)
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
    """Scores (N,) float32 of a list; `missing` (N,) bool trials get the lowest score of the others, 0 without any."""
    scores, done = np.empty(len(trials), np.float32), 0
    for block in scoring.score_blocks(scorer, trials.model, trials.test):
        scores[done : done + len(block)] = block
        done += len(block)
    bad = ~np.isfinite(scores) & ~missing
    if bad.any():
        first = int(bad.argmax())
        pair = f"{trials.models[trials.model[first]]} {trials.tests[trials.test[first]]}"
        found, cure = f"{int(bad.sum())} that are not finite", "Check the embeddings and the back end"
        raise InputError("scores", found, "finite scores", cure, item=pair)
    if missing.any():
        scores[missing] = scores[~missing].min() if not missing.all() else 0.0
    return scores
