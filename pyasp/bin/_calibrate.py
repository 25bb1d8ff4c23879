"""Calibration of the scores of a system, or of several (fusion), as files: what `pyasp score calibrate` does."""

import sys
from pathlib import Path

import numpy as np

from pyasp.backend import calibration
from pyasp.backend.calibration import Calibration, doubts_of
from pyasp.backend.options import BackendOptions
from pyasp.core.errors import CannotBeMade, InputError, rerun
from pyasp.core.records import describe, is_current
from pyasp.core.text import read_json_if_there, write_json
from pyasp.data.scores import Scored, dev_list, optional, scored_lists, training_list, write_scores
from pyasp.data.trials import Columns, TrialList
from pyasp.evaluation.conditions import Evaluation

USED = ("calibration_prior", "calibration_list", "quality", "variant_seed")
WAYS = ("dev", "halves", "auto")


def inputs_of(data: str, systems: list[str], scored: Scored, options: BackendOptions) -> tuple[np.ndarray, TrialList]:
    """Inputs (N, F) of the trials of a list: a column of scores a system, then quality measures."""
    columns, lists = zip(*map(scored.read, systems))
    trials = lists[0]
    qualities = Evaluation(data, scored.enroll, scored.test).qualities(trials, options.quality)
    return np.column_stack([*columns, qualities]), trials


def names_of(systems: list[str], options: BackendOptions) -> tuple[str, ...]:
    """Names of the inputs."""
    return tuple(Path(system).name for system in systems) + tuple(f"log {name}" for name in options.quality)


def way_of(data: str, systems: list[str], train_on: str, options: BackendOptions) -> str:
    """`dev` or `halves`, `auto` being settled by what is there."""
    if train_on != "auto":
        return train_on
    there = options.calibration_list or all(dev_list(data) in scored_lists(data, each) for each in systems)
    return "dev" if there else "halves"


def on_dev(data: str, systems: list[str], options: BackendOptions) -> Calibration:
    """The model trained on the dev trials or the named list, which every system must have scored."""
    found = [training_list(data, system, options.calibration_list) for system in systems]
    inputs, trials = inputs_of(data, systems, found[0], options)
    _, sides = Evaluation(data, found[0].enroll, found[0].test).trial_speakers(trials)
    return calibration.train(
        inputs, trials.target, names_of(systems, options), options.calibration_prior, (sides.enroll, sides.test)
    )


def calibrate_list(
    data: str, systems: list[str], scored: Scored, model: Calibration | None, options: BackendOptions
) -> tuple[list[Calibration], TrialList, np.ndarray, Columns | None]:
    """The models used, `model` or two trained on the halves; the trials, their scores, columns beside them."""
    inputs, trials = inputs_of(data, systems, scored, options)
    if model:
        return [model], trials, model.apply(inputs), None
    evaluation = Evaluation(data, scored.enroll, scored.test)
    half, (_, sides) = evaluation.halves(trials, options.variant_seed), evaluation.trial_speakers(trials)
    scores, models = calibration.train_halves(
        inputs, trials.target, half, names_of(systems, options), options.calibration_prior, (sides.enroll, sides.test)
    )
    mixed = (half[0] != half[1]).astype(np.uint8)
    return models, trials, scores, {"halves": (["disjoint", "mixed"], mixed)}


def sources(data: str, systems: list[str], scored: Scored) -> list[Path]:
    """The files that a list's scores and what is known of its trials are read from."""
    evaluation = Evaluation(data, scored.enroll, scored.test)
    return [scored.trials, *(Path(system) / scored.scores for system in systems), *evaluation.inputs()]


def needed(data: str, systems: list[str], way: str, options: BackendOptions) -> list[Path]:
    """The files that all scores of the variant depend on: those of the training list, for training on dev."""
    if way == "halves":
        return []
    return sources(data, systems, training_list(data, systems[0], options.calibration_list))


def calibrate(options: BackendOptions, train_on: str, data: str, out: str, systems: list[str], force: bool) -> None:
    """OUT/scores/<list> of every list that all systems scored, and OUT/calibration.json.

    train_on: one of WAYS. What cannot be calibrated is noted beside OUT's scores.
    """
    with optional(out, force) as left_out:
        common = [
            each
            for each in scored_lists(data, systems[0])
            if each.name != "dev" and all((Path(system) / each.scores).is_file() for system in systems)
        ]
        if not common:
            raise InputError(out, "no list that all systems scored", "one", rerun("scores"))
        way, model, used = way_of(data, systems, train_on, options), None, {}
        shared = needed(data, systems, way, options)
        settings = {name: list(value) if isinstance(value := getattr(options, name), tuple) else value for name in USED}
        for each in common:
            inputs = dict.fromkeys((*sources(data, systems, each), *shared))
            made = describe("calibrate", settings | {"train_on": way}, inputs, options.variant_seed)
            if is_current(Path(out) / each.scores, made, force):
                continue
            model = model or (on_dev(data, systems, options) if way == "dev" else None)
            try:
                models, trials, scores, columns = calibrate_list(data, systems, each, model, options)
            except CannotBeMade as error:
                left_out[each.name] = str(error)
                continue
            used[each.name] = [found.as_dict() for found in models]
            save(Path(out) / "calibration.json", way, options, used)  # before the scores, with which the list is done
            write_scores(Path(out) / each.scores, trials, scores, made, columns)
        if used:
            tell(Path(out).name, way, options, used)


def trained_on(way: str, options: BackendOptions) -> str:
    """What calibration.json calls the training trials."""
    return "halves" if way == "halves" else options.calibration_list or "dev"


def save(path: Path, way: str, options: BackendOptions, used: dict) -> None:
    """Adds the models of some lists to calibration.json."""
    old = read_json_if_there(path).get("lists", {})
    write_json(path, {"trained_on": trained_on(way, options), "lists": {**old, **used}})


def tell(system: str, way: str, options: BackendOptions, used: dict) -> None:
    """Prints the first of the models, and what is to be said against any of them."""
    first = next(iter(used.values()))[0]
    for name, models in used.items():
        for doubt in doubts_of(models):
            print(f"warning: {system}, {name}: calibrated on {doubt}", file=sys.stderr)
    terms = " ".join(f"{weight:+.4f} x {name}" for name, weight in first["weights"].items())
    print(f"{system}: trained on {trained_on(way, options)}: llr = {terms} {first['offset']:+.4f}")
