"""Metrics of one system: every scored trial list, whole and by each categorical column beside the list.

metrics.json: {"trials": {list: the entry of results.json}, "det": {list: {"p_fa": [...], "p_miss": [...]}}}.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyasp import artefact, llr, metrics
from pyasp.cli import option
from pyasp.errors import InputError
from pyasp.trials import read_categories, read_scored, trial_lists


@dataclass(frozen=True)
class EvaluateOptions:
    """What is computed."""

    p_target: tuple[str, ...] = option(("0.01", "0.001"), "prior of a minDCF (C_miss = C_fa = 1)")

    @property
    def priors(self) -> tuple[float, ...]:
        """The priors as numbers."""
        try:
            return tuple(float(text) for text in self.p_target)
        except ValueError:
            raise InputError("--p-target", " ".join(self.p_target), "numbers between 0 and 1", "Correct it") from None


def scored_lists(trials_dir: str | Path, system_dir: str | Path) -> list[str]:
    """Names of the lists of a corpus that this system has scored. InputError when there is none."""
    if not Path(trials_dir).is_dir():
        raise InputError(trials_dir, "no such directory", "the corpus's trial lists", "Run stage 0 first")
    lists = trial_lists(trials_dir)
    scored = [name for name in lists if (Path(system_dir) / "scores" / name).is_file()]
    if not scored:
        raise InputError(Path(system_dir) / "scores", "no score file of any list",
                         f"scores of {', '.join(lists) or 'a list'}", "Run stage 9 first")
    return scored


def check_scores(scores: Path) -> None:
    """InputError when an input of a score file (back end, embeddings, trial list) changed after it was made."""
    record = artefact.made_path(scores)
    if not record.is_file():
        return
    inputs = json.loads(record.read_text(encoding="utf-8")).get("inputs", {})
    changed = [name for name, mark in inputs.items() if Path(name).is_file() and artefact.fingerprint(name) != mark]
    if changed:
        raise InputError(scores, f"scores older than {', '.join(changed)}", "scores made from what is there now",
                         "Run stage 9 again with --force")


def recipe(trials_dir: str | Path, system_dir: str | Path, options: EvaluateOptions) -> dict[str, Any]:
    """What makes a system's metrics.json; checks that its scores are up to date themselves."""
    inputs: list[Path] = []
    for name in scored_lists(trials_dir, system_dir):
        check_scores(Path(system_dir) / "scores" / name)
        inputs += [Path(trials_dir) / name, Path(system_dir) / "scores" / name]
        inputs += [path for path in [Path(trials_dir) / f"{name}.tsv"] if path.is_file()]
    return artefact.describe("evaluate", options, inputs)


def evaluate_list(trials: Path, scores: Path,
                  priors: tuple[float, ...]) -> tuple[dict[str, Any], dict[str, list[float]]]:
    """The entry of one list, with `by` when `<list>.tsv` is there, and its DET curve."""
    values, target = read_scored(trials, scores)
    entry, counts = llr.summarise(values, target, priors)
    entry["by"] = by = {}
    if Path(f"{trials}.tsv").is_file():
        for column, (names, codes) in read_categories(f"{trials}.tsv", len(target)).items():
            chosen = ((name, codes == code) for code, name in enumerate(names))
            by[column] = {name: _subset(values[mask], target[mask], priors) for name, mask in chosen}
    return entry, metrics.det_points(counts)


def _subset(values: np.ndarray, target: np.ndarray, priors: tuple[float, ...]) -> dict[str, Any]:
    """The entry of some trials; counts alone when a class is missing."""
    if target.all() or not target.any():
        return llr.counts_only(target, priors)
    return llr.summarise(values, target, priors)[0]


def evaluate(trials_dir: str | Path, system_dir: str | Path, options: EvaluateOptions) -> dict[str, Any]:
    """The content of metrics.json."""
    result: dict[str, Any] = {"trials": {}, "det": {}}
    for name in scored_lists(trials_dir, system_dir):
        entry, curve = evaluate_list(Path(trials_dir) / name, Path(system_dir) / "scores" / name, options.priors)
        result["trials"][name], result["det"][name] = entry, curve
    return result


def load_metrics(trials_dir: str | Path, system_dir: str | Path, options: EvaluateOptions) -> dict[str, Any]:
    """Reads a system's metrics.json. InputError when it is missing or was made from other scores, lists or options."""
    path = Path(system_dir) / "metrics.json"
    if not artefact.is_current(path, recipe(trials_dir, system_dir, options)):
        raise InputError(path, "no such file", "the system's metrics", "Run stage 10 (evaluate) for this system")
    return json.loads(path.read_text(encoding="utf-8"))
