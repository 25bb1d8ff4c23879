"""Dividing a pool of utterances into training and evaluation, drawing trials, and the columns to split results by."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Mapping

import numpy as np

from local.common import Utterance
from local.folder_sources import OwnData
from local.toy_speech import stream
from local.trial_lists import Trial
from pyasp.core.errors import InputError
from pyasp.data.datadir import c_sorted

MOST_VALUES = 12  # a column with more values is no column to split results by
NO_SPLIT = ("session", "seconds", "sample_rate", "path")


def choose_speakers(source: OwnData, fraction: float, seed: int, where: object) -> set[str]:
    """Evaluation speakers: a seeded share, at least 2, of those who can give a target trial.
    Raises InputError if too few."""
    by_speaker: dict[str, list[Utterance]] = {}
    for utt in source.pool.values():
        by_speaker.setdefault(utt.speaker, []).append(utt)
    crossed = _has_sessions(by_speaker)
    able = [speaker for speaker in c_sorted(by_speaker) if next(target_pairs(by_speaker[speaker], crossed), None)]
    count = max(2, round(fraction * len(by_speaker)))
    if len(able) < 2 or len(by_speaker) <= count:
        raise InputError(
            where,
            f"{len(by_speaker)} speakers, {len(able)} of them with two utterances" + (" in two sessions" * crossed),
            "at least 2 for evaluation and others for training",
            "Add speakers, or give a trial list with --trials",
        )
    rng = stream(seed, "split")
    return {able[i] for i in rng.permutation(len(able))[:count]}


def _has_sessions(by_speaker: Mapping[str, list[Utterance]]) -> bool:
    """True when some speakers have two sessions: targets are then drawn across sessions only."""
    several = sum(len({utt.info.get("session", "") for utt in utts}) > 1 for utts in by_speaker.values())
    return several >= 2


def target_pairs(utterances: list[Utterance], crossed: bool) -> Iterator[tuple[Utterance, Utterance]]:
    """Pairs of one speaker's utterances; crossed: of different sessions."""
    for a, b in itertools.combinations(utterances, 2):
        if not crossed or a.info.get("session") != b.info.get("session"):
            yield a, b


def draw_trials(test: Mapping[str, Utterance], most: int, ratio: int, seed: int) -> list[Trial]:
    """At most `most` target trials a speaker, `ratio` non-targets a target (of one gender where known),
    each pair once."""
    by_speaker: dict[str, list[Utterance]] = {}
    for key in c_sorted(test):
        by_speaker.setdefault(test[key].speaker, []).append(test[key])
    crossed, rng = _has_sessions(by_speaker), stream(seed, "trials")
    targets = []
    for utterances in by_speaker.values():
        pairs = list(target_pairs(utterances, crossed))
        targets += [pairs[i] for i in sorted(rng.permutation(len(pairs))[:most])]
    trials = {(a.id, b.id): True for a, b in targets}
    trials.update(_nontargets([utt for utts in by_speaker.values() for utt in utts], ratio * len(targets), rng))
    return [
        Trial(*pair, trials[pair]) for pair in sorted(trials, key=lambda pair: (pair[0].encode(), pair[1].encode()))
    ]


def _nontargets(utterances: list[Utterance], count: int, rng: np.random.Generator) -> dict[tuple[str, str], bool]:
    """Up to `count` pairs of different speakers; of different genders only when a gender is unknown."""
    found: dict[tuple[str, str], bool] = {}
    for _ in range(20):
        for i, j in np.sort(rng.integers(len(utterances), size=(count, 2)), axis=1):
            a, b = utterances[i], utterances[j]
            if a.speaker != b.speaker and (a.gender == b.gender or not a.gender or not b.gender) and len(found) < count:
                found[a.id, b.id] = False
    return found


def divide(source: OwnData, evaluation: set[str]) -> None:
    """Moves the pool into train, and the evaluation speakers' utterances into enroll and test (a model is an
    utterance)."""
    chosen = {key: utt for key, utt in source.pool.items() if utt.speaker in evaluation}
    source.train = {key: utt for key, utt in source.pool.items() if utt.speaker not in evaluation}
    source.enroll, source.test, source.pool = chosen, chosen, {}
    source.models = {key: [key] for key in chosen}


def split_columns(source: OwnData) -> dict[str, dict[str, str]]:
    """{column: {test utterance: value}} of what results can be split by: gender and any column of few values."""
    table = {"test_gender": {utt.id: utt.gender or "unknown" for utt in source.test.values()}}
    for name in dict.fromkeys(name for utt in source.test.values() for name in utt.info if name not in NO_SPLIT):
        table[f"test_{name}"] = {utt.id: utt.info.get(name) or "unknown" for utt in source.test.values()}
    return {name: values for name, values in table.items() if 2 <= len(Counter(values.values())) <= MOST_VALUES}


def enrolment_sizes(trials: Iterator[Trial], source: OwnData) -> bool:
    """True when a list's models differ in their number of recordings, in a few ways: a column to split results by."""
    sizes = {len(set(source.models.get(model, ()))) for model in {trial.model for trial in trials}}
    return 2 <= len(sizes) <= MOST_VALUES


def with_columns(
    trials: Iterator[Trial], source: OwnData, columns: Mapping[str, Mapping[str, str]], sizes: bool
) -> Iterator[Trial]:
    """Trials with the values of their test side; sizes: the number of enrolment recordings last."""
    for trial in trials:
        values = tuple(table.get(trial.test, "") for table in columns.values())
        if sizes:
            values += (str(len(set(source.models.get(trial.model, ())))),)
        yield trial._replace(columns=values)
