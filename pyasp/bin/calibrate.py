"""Calibrates the scores of a system, or fuses those of several."""

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyasp.backend import calibration
from pyasp.backend.calibration import Calibration
from pyasp.backend.options import BackendOptions
from pyasp.core.command import command
from pyasp.core.errors import CannotBeMade, InputError, rerun
from pyasp.core.options import option
from pyasp.core.records import describe, is_current
from pyasp.core.text import read_json, write_json
from pyasp.data.scores import Scored, dev_list, optional, scored_lists, training_list, write_scores
from pyasp.data.trials import Columns, TrialList
from pyasp.evaluation.conditions import Evaluation

USED = ("calibration_prior", "calibration_list", "quality", "variant_seed", "train_on")


@dataclass(frozen=True)
class Options(BackendOptions):
    """Options of calibrate; it takes a whole backend.conf and uses what is about calibration."""

    train_on: str = option(
        "dev",
        "dev: the dev speakers' trials (or --calibration-list); halves: the other half of the "
        "evaluation's speakers; auto: dev where there are such scores, else halves",
        choices=("dev", "halves", "auto"),
    )
    force: bool = option(False, "make again what is out of date")


def inputs_of(data: str, systems: list[str], scored: Scored, options: Options) -> tuple[np.ndarray, TrialList]:
    """Inputs (N, F) of the trials of a list: a column of scores a system, then quality measures."""
    columns, lists = zip(*map(scored.read, systems))
    trials = lists[0]
    qualities = Evaluation(data, scored.enroll, scored.test).qualities(trials, options.quality)
    return np.column_stack([*columns, qualities]), trials


def names_of(systems: list[str], options: Options) -> tuple[str, ...]:
    """Names of the inputs."""
    return tuple(Path(system).name for system in systems) + tuple(f"log {name}" for name in options.quality)


def way_of(data: str, systems: list[str], options: Options) -> str:
    """`dev` or `halves`, `auto` being settled by what is there."""
    if options.train_on != "auto":
        return options.train_on
    there = options.calibration_list or all(dev_list(data) in scored_lists(data, each) for each in systems)
    return "dev" if there else "halves"


def on_dev(data: str, systems: list[str], options: Options) -> Calibration:
    """The model trained on the dev trials or the named list, which every system must have scored."""
    found = [training_list(data, system, options.calibration_list) for system in systems]
    inputs, trials = inputs_of(data, systems, found[0], options)
    _, sides = Evaluation(data, found[0].enroll, found[0].test).trial_speakers(trials)
    return calibration.train(
        inputs, trials.target, names_of(systems, options), options.calibration_prior, (sides.enroll, sides.test)
    )


def calibrate_list(
    data: str, systems: list[str], scored: Scored, model: Calibration | None, options: Options
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


def needed(data: str, systems: list[str], way: str, options: Options) -> list[Path]:
    """The files that all scores of the variant depend on: those of the training list, for training on dev."""
    if way == "halves":
        return []
    used = training_list(data, systems[0], options.calibration_list)
    return [
        used.trials,
        *(Path(system) / used.scores for system in systems),
        *Evaluation(data, used.enroll, used.test).inputs(),
    ]


@command(Options, "DATA", "OUT_SYSTEM_DIR", "SYSTEM_DIR...")
def main(options: Options, data: str, out: str, systems: list[str]) -> None:
    """Writes OUT_SYSTEM_DIR/scores/<list>, natural-log likelihood ratios, and calibration.json, which has the weights.

    Several SYSTEM_DIRs are fused: one logistic regression over all their scores. Trained on `halves`, a column `halves`
    beside the scores says which trials are `disjoint`: neither speaker was in the training; trials across the halves
    (`mixed`) get the mean of both models.

    Example, after ./run.sh:
        pyasp calibrate --train-on halves data/toy my_calibrated exp/toy/ivector
    """
    with optional(out, options.force) as left_out:
        make(options, data, out, systems, left_out)


def make(options: Options, data: str, out: str, systems: list[str], left_out: dict[str, str]) -> None:
    """Every list; {list: reason} of those that cannot be calibrated goes to `left_out`."""
    way, common = (
        way_of(data, systems, options),
        [
            each
            for each in scored_lists(data, systems[0])
            if each.name != "dev" and all((Path(system) / each.scores).is_file() for system in systems)
        ],
    )
    if not common:
        raise InputError(out, "no list that all systems scored", "one", rerun("scores"))
    settings = {
        **{name: list(value) if isinstance(value := getattr(options, name), tuple) else value for name in USED},
        "train_on": way,
    }
    shared, model, used = needed(data, systems, way, options), None, {}
    for each in common:
        inputs = [
            each.trials,
            *(Path(system) / each.scores for system in systems),
            *Evaluation(data, each.enroll, each.test).inputs(),
            *shared,
        ]
        made = describe("calibrate", settings, list(dict.fromkeys(inputs)), options.variant_seed)
        if is_current(Path(out) / each.scores, made, options.force):
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


def trained_on(way: str, options: Options) -> str:
    """What calibration.json calls the training trials."""
    return "halves" if way == "halves" else options.calibration_list or "dev"


def save(path: Path, way: str, options: Options, used: dict) -> None:
    """Adds the models of some lists to calibration.json."""
    old = read_json(path, "the recipe's calibration", "Calibrate again").get("lists", {}) if path.is_file() else {}
    write_json(path, {"trained_on": trained_on(way, options), "lists": {**old, **used}})


def tell(system: str, way: str, options: Options, used: dict) -> None:
    """Prints the first of the models, and what is to be said against any of them."""
    first = next(iter(used.values()))[0]
    for name, models in used.items():
        for doubt in dict.fromkeys(doubt for model in models for doubt in model.get("doubts", ())):
            print(f"warning: {system}, {name}: calibrated on {doubt}", file=sys.stderr)
    terms = " ".join(f"{weight:+.4f} x {name}" for name, weight in first["weights"].items())
    print(f"{system}: trained on {trained_on(way, options)}: llr = {terms} {first['offset']:+.4f}")


if __name__ == "__main__":
    raise SystemExit(main())
