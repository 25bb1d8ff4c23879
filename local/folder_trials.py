"""Dividing a pool of utterances into training and evaluation, drawing trials, and the columns to split results by.

Two voices of one gender or language are harder to tell apart than any two: drawn non-targets share what is known of
their speakers (`Conditions`), and how hard the trials are is said (`how_hard`).
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping

import numpy as np

from local.common import Utterance
from local.folder_sources import OwnData
from local.toy_speech import stream
from local.trial_lists import Trial
from pyasp.audio.folders import some
from pyasp.core.errors import InputError
from pyasp.data.datadir import c_sorted

MOST_VALUES = 12  # a column with more values is no column to split results by
NO_SPLIT = ("session", "seconds", "sample_rate", "path")
ENOUGH = 3  # other speakers that a speaker's non-targets are drawn from, at the least


def choose_speakers(source: OwnData, fraction: float, seed: int, where: object) -> set[str]:
    """Evaluation speakers: a seeded share, at least 2, of those who can give a target trial.
    Raises InputError if too few."""
    by_speaker: dict[str, list[Utterance]] = {}
    for utt in source.pool.values():
        by_speaker.setdefault(utt.speaker, []).append(utt)
    crossed = _has_sessions(by_speaker)
    able = [
        speaker for speaker in c_sorted(by_speaker) if next(target_pairs(source, by_speaker[speaker], crossed), None)
    ]
    count = max(2, round(fraction * len(by_speaker)))
    if len(able) < 2 or len(by_speaker) <= count:
        found = f"{len(by_speaker)} speakers, {len(able)} of them with two utterances" + (" in two sessions" * crossed)
        found += " that share no sound" * any(len(each) > 1 for each in by_speaker.values())
        expected = "at least 2 for evaluation and others for training"
        raise InputError(where, found, expected, "Add speakers, or give a trial list with --trials")
    rng = stream(seed, "split")
    return {able[i] for i in rng.permutation(len(able))[:count]}


def _has_sessions(by_speaker: Mapping[str, list[Utterance]]) -> bool:
    """True when some speakers have two sessions: targets are then drawn across sessions only."""
    several = sum(len({utt.info.get("session", "") for utt in utts}) > 1 for utts in by_speaker.values())
    return several >= 2


def target_pairs(source: OwnData, utterances: list[Utterance], crossed: bool) -> Iterator[tuple[Utterance, Utterance]]:
    """Pairs of one speaker's utterances that share no sound; crossed: of different sessions."""
    heard = [(utt, source.sound(utt)) for utt in utterances]
    for (a, sound), (b, other) in itertools.combinations(heard, 2):
        if (not crossed or a.info.get("session") != b.info.get("session")) and not sound.overlaps(other):
            yield a, b


class Conditions:
    """What the speakers of a non-target share: gender, then each column with one value a speaker, in the table's order.

    A column counts where it tells speakers apart and half of them have ENOUGH others who share it and those before it.
    A speaker with fewer meets those who share as many of the first columns as ENOUGH others do. Unknown ones meet all.
    """

    def __init__(self, utterances: Iterable[Utterance]):
        known: dict[str, dict[str, set[str]]] = {}  # {speaker: {column: values}}
        for utt in utterances:
            columns = known.setdefault(utt.speaker, {})
            for name, value in [("gender", utt.gender), *utt.info.items()]:
                columns.setdefault(name, set()).update({value} - {""})
        self.columns: list[str] = []
        self.values: dict[str, tuple[str, ...]] = dict.fromkeys(known, ())
        self.depth = dict.fromkeys(known, 0)  # how many of the columns a speaker's non-targets share
        for name in dict.fromkeys(name for columns in known.values() for name in columns if name not in NO_SPLIT):
            found = {speaker: columns.get(name, set()) for speaker, columns in known.items()}
            if all(len(each) <= 1 for each in found.values()) and len(set().union(*found.values())) > 1:
                self._add(name, {speaker: min(each, default="") for speaker, each in found.items()})

    def _add(self, name: str, column: Mapping[str, str]) -> None:
        values = {speaker: (*each, column[speaker]) for speaker, each in self.values.items()}
        alike = Counter(values.values())
        enough = [speaker for speaker in values if column[speaker] and alike[values[speaker]] > ENOUGH]
        if 2 * len(enough) >= len(values):
            for speaker in enough:
                self.depth[speaker] += self.depth[speaker] == len(self.columns)
            self.columns, self.values = [*self.columns, name], values

    def allow(self, a: str, b: str) -> bool:
        """Whether two speakers may be a non-target."""
        pairs = zip(self.values[a], self.values[b], range(min(self.depth[a], self.depth[b])))
        return a != b and all(one == other for one, other, _ in pairs)

    def same(self, a: str, b: str) -> bool:
        """Whether two speakers are known to share all the columns."""
        return a != b and self.values[a] == self.values[b] and "" not in self.values[a]

    def by_chance(self) -> float:
        """Share of the pairs of two speakers that share all the columns."""
        alike = Counter(each for each in self.values.values() if "" not in each)
        pairs = len(self.values) * (len(self.values) - 1)
        return sum(count * (count - 1) for count in alike.values()) / pairs if pairs else 0.0


def draw_trials(source: OwnData, most: int, ratio: int, seed: int, allow: Callable[[str, str], bool]) -> list[Trial]:
    """At most `most` target trials a speaker, `ratio` non-targets a target, of speakers that `allow` lets meet; each
    pair once, and none that shares sound."""
    by_speaker: dict[str, list[Utterance]] = {}
    for key in c_sorted(source.test):
        by_speaker.setdefault(source.test[key].speaker, []).append(source.test[key])
    crossed, rng = _has_sessions(by_speaker), stream(seed, "trials")
    targets = []
    for utterances in by_speaker.values():
        pairs = list(target_pairs(source, utterances, crossed))
        targets += [pairs[i] for i in sorted(rng.permutation(len(pairs))[:most])]
    trials = {(a.id, b.id): True for a, b in targets}
    utterances = [utt for utts in by_speaker.values() for utt in utts]

    def may_meet(a: Utterance, b: Utterance) -> bool:
        return allow(a.speaker, b.speaker) and not source.sound(a).overlaps(source.sound(b))

    trials.update(_nontargets(utterances, ratio * len(targets), rng, may_meet))
    return [
        Trial(*pair, trials[pair]) for pair in sorted(trials, key=lambda pair: (pair[0].encode(), pair[1].encode()))
    ]


def _nontargets(
    utterances: list[Utterance], count: int, rng: np.random.Generator, allow: Callable[[Utterance, Utterance], bool]
) -> dict[tuple[str, str], bool]:
    """Up to `count` pairs of utterances that may meet."""
    found: dict[tuple[str, str], bool] = {}
    for _ in range(20):
        for i, j in np.sort(rng.integers(len(utterances), size=(count, 2)), axis=1):
            a, b = utterances[i], utterances[j]
            if len(found) < count and allow(a, b):
                found[a.id, b.id] = False
    return found


def how_hard(
    trials: Iterable[Trial], test: Mapping[str, Utterance], conditions: Conditions, used: bool
) -> tuple[dict[str, int], str]:
    """({what: drawn non-targets}, in words how hard the trials are). used: whether conditions were kept to."""
    pairs = [(test[trial.model], test[trial.test], trial.target) for trial in trials]
    targets = [(a, b) for a, b, target in pairs if target]
    crossed = all(a.info.get("session") != b.info.get("session") for a, b in targets)
    told = (
        "targets are of two sessions each" if crossed else "targets may be of one session, which is easier than of two"
    )
    others = len(pairs) - len(targets)
    if not conditions.columns:
        why = f"no gender, language or the like is known that {ENOUGH} others share"
        return {}, f"{told}; nontargets are of any two speakers ({why}), which is easier than of alike ones"
    alike = sum(conditions.same(a.speaker, b.speaker) for a, b, target in pairs if not target)
    what = f"of one {' and '.join(conditions.columns)}"
    chance = conditions.by_chance()
    told += f"; {alike} of {others} nontargets are {what} ({100 * chance:.0f} % of any two speakers would be)"
    if not used:
        told += ": of any two speakers, as --same-condition=false says"
    elif chance < 1:
        told += ", which is harder than any two speakers"
    few = [speaker for speaker, depth in conditions.depth.items() if depth < len(conditions.columns)]
    if few and used:
        told += f". {len(few)} speakers have fewer than {ENOUGH} such others and meet more ({some(sorted(few))})"
    return {f"nontarget {what}": alike}, told


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
