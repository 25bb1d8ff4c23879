"""Models and trials among the dev speakers, drawn by seed: for tuning, cohorts and calibration.

A model is one recording, or several of one session; a target trial takes its test recording from another session where
the speaker has several, from the same one otherwise. No recording is on both sides of a trial.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from pyasp.core.errors import InputError
from pyasp.core.options import Natural, option
from pyasp.data.datadir import c_sorted, invert


@dataclass(frozen=True)
class Material:
    """What is known about each recording: speaker, session, and the value in which the sides of a trial must differ."""

    speaker: Mapping[str, str]
    session: Mapping[str, str]
    differ: Mapping[str, str]


def sizes(options: DevOptions) -> list[int]:
    """Numbers of recordings of a model. InputError when one is no positive whole number."""
    wrong = [text for text in options.dev_enroll_utts if not text.isdigit() or int(text) < 1]
    if wrong:
        raise InputError("--dev-enroll-utts", repr(wrong[0]), "a whole number from 1", "Correct backend.conf")
    return sorted({int(text) for text in options.dev_enroll_utts})


def draw_models(material: Material, options: DevOptions, rng: np.random.Generator) -> dict[str, list[str]]:
    """{model: recordings}: every recording is a model of one; each session gives one model of each larger size."""
    models = {utt: [utt] for utt in c_sorted(material.speaker)} if 1 in sizes(options) else {}
    by_session = invert({utt: f"{spk} {material.session.get(utt, '')}" for utt, spk in material.speaker.items()})
    for size in (size for size in sizes(options) if size > 1):
        for utts in by_session.values():
            if len(utts) >= size:
                chosen = c_sorted(np.array(utts, dtype=object)[rng.permutation(len(utts))[:size]])
                models[f"{chosen[0]}-{size}utt"] = chosen
    return models


def _may_meet(model: list[str], test: str, material: Material) -> bool:
    """False for a recording against itself, and for two sides that agree where they must differ."""
    values = {material.differ[utt] for utt in model if utt in material.differ}
    return test not in model and material.differ.get(test) not in values


def target_trials(models: Mapping[str, list[str]], material: Material) -> list[tuple[str, str]]:
    """Every (model, recording of the same speaker) that may meet, across sessions where the speaker has several."""
    by_speaker, found = invert(material.speaker), []
    for model, utts in models.items():
        own = by_speaker[material.speaker[utts[0]]]
        here = material.session.get(utts[0])
        other = [utt for utt in own if material.session.get(utt) != here]
        found += [(model, test) for test in other or own if _may_meet(utts, test, material)]
    return found


def nontarget_trials(
    models: Mapping[str, list[str]], material: Material, count: int, rng: np.random.Generator
) -> list[tuple[str, str]]:
    """Up to `count` distinct pairs of different speakers that may meet, drawn at random."""
    names, tests = list(models), c_sorted(material.speaker)
    count = min(count, len(names) * len(tests) // 2)
    found: dict[tuple[str, str], None] = {}
    for _ in range(20):  # a draw that is refused or repeated is made again, a few times
        for i, j in zip(rng.integers(len(names), size=count), rng.integers(len(tests), size=count)):
            model, test = names[i], tests[j]
            if (
                len(found) < count
                and material.speaker[models[model][0]] != material.speaker[test]
                and _may_meet(models[model], test, material)
            ):
                found[model, test] = None
        if len(found) == count:
            break
    return list(found)


def draw(
    material: Material, options: DevOptions, seed: int
) -> tuple[dict[str, list[str]], list[tuple[str, str, bool]]]:
    """Models, and the trials (model, test, target) in C order. InputError when there are no targets or nontargets."""
    rng = np.random.default_rng([seed, 6])
    models = draw_models(material, options, rng)
    targets = target_trials(models, material)
    if len(targets) > options.dev_targets:
        targets = [targets[k] for k in sorted(rng.permutation(len(targets))[: options.dev_targets])]
    nontargets = nontarget_trials(models, material, options.dev_nontargets, rng)
    if not targets or not nontargets:
        raise InputError(
            "dev trials",
            f"{len(targets)} target and {len(nontargets)} nontarget trials among "
            f"{len(set(material.speaker.values()))} speakers",
            "some of each",
            "Raise --dev-fraction in select.conf, or loosen the dev options in backend.conf",
        )
    trials = [(*pair, True) for pair in targets] + [(*pair, False) for pair in nontargets]
    used = {model for model, _, _ in trials}
    return {name: utts for name, utts in models.items() if name in used}, sorted(
        trials, key=lambda t: (t[0].encode(), t[1].encode())
    )


@dataclass(frozen=True)
class DevOptions:
    """Trials among the dev speakers (backend.conf); used only when select.conf holds dev speakers out."""

    dev_min_voiced: Natural = option(10, "least voiced frames of a recording of the dev speakers")
    dev_enroll_utts: tuple[str, ...] = option(("1",), "recordings of a model; repeat for several kinds of model")
    dev_targets: Natural = option(10000, "target trials at most")
    dev_nontargets: Natural = option(50000, "nontarget trials at most")
    dev_differ: str = option("", "column of utt2info.tsv in which the two sides of a trial differ, such as word")
