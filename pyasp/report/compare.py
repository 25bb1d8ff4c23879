"""Two runs side by side: every system and list that both have, with the significance of each difference; and several
runs that differ in their seed: mean and spread of each system, and what one system has over each other."""

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyasp.core.errors import InputError, rerun
from pyasp.core.text import Table, as_text, cost, percent, read_json_if_there
from pyasp.evaluation import bootstrap
from pyasp.evaluation.evaluate import read_replicates
from pyasp.evaluation.llr import MARK, between, eer_text, marked, min_dcf_text, trials_text
from pyasp.report import tables
from pyasp.report.results import Results, entries, list_names

SEEDS_SHOWN = (("eer", "EER %", percent), ("min_dcf/0.01", "minDCF(0.01)", cost))
SEEDS_NOTE = """95 % and p: bootstrap over speakers, the same draws for all systems, and over the runs of each of them
(few runs give (S - 1) / S of their variance). lower: pairs of a run of the one and a run of the other in which the
first is lower. *: in one of the runs it hangs on few errors or on equal scores, as that run's report says."""

COMPARE_NOTE = """95 % and p: bootstrap over speakers, the same draws for both runs; '-' where the trials or the draws
are not the same, or more than a twentieth of the draws of so few speakers lack targets or nontargets."""
SHOWN: dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]] = {  # figure: title, how an entry's is printed
    "eer": ("EER %", eer_text),
    "min_dcf/0.01": ("minDCF(0.01)", lambda entry: min_dcf_text(entry, "0.01")),
    "min_dcf/0.001": ("minDCF(0.001)", lambda entry: min_dcf_text(entry, "0.001")),
    "cllr": ("Cllr", lambda entry: cost(tables.as_ratios(entry)["cllr"])),
}


def signed(value: float) -> str:
    """A difference: +0.123."""
    return f"{value:+.3f}"


def _same_trials(exps: list[Path], system: str, trial_list: str) -> bool:
    """True when all runs scored the same list, bit for bit."""
    marks = [read_json_if_there(exp / system / "metrics.json").get("fingerprints", {}).get(trial_list) for exp in exps]
    return marks[0] is not None and all(mark == marks[0] for mark in marks)


def list_table(exps: list[Path], runs: list[Results], trial_list: str) -> Table:
    """A row for each system and figure of a list: A, B, A - B with its interval and p."""
    ours = [entries(run, trial_list) for run in runs]
    table = [["system", "figure", "A", "B", "A - B", "95 %", "p"]]
    for system in (system for system in ours[0] if system in ours[1]):
        both, same = [found[system] for found in ours], _same_trials(exps, system, trial_list)
        a, b = ((entry, read_replicates(exp / system) if same else {}) for entry, exp in zip(both, exps))
        by_figure = {row["figure"]: row for row in tables.compare(a, b, trial_list)}
        for figure, (title, show) in SHOWN.items():
            try:
                left, right = (tables.value_of(entry, figure) for entry in both)
            except KeyError:  # a prior that one run did not report
                continue
            row = by_figure.get(figure)
            gap = "-" if left is None or right is None else signed(left - right)
            test = [between(row["ci"], signed), tables.probability(row["p"])] if row else ["-", "-"]
            table.append([system, title, *(show(entry) for entry in both), gap, *test])
    return table


def _other_trials(exps: list[Path], runs: list[Results], trial_list: str) -> str:
    """Says so where the lists of one name are not the same."""
    ours = [entries(run, trial_list) for run in runs]
    system = next(system for system in ours[0] if system in ours[1])
    counts = [f"{name} {trials_text(each[system])}" for name, each in zip("AB", ours)]
    return "" if _same_trials(exps, system, trial_list) else f" (not the same trials: {', '.join(counts)})"


def side_by_side(exps: list[Path], runs: list[Results]) -> str:
    """The whole comparison as text. InputError when the runs share no list and system."""
    blocks = [f"A: {exps[0]} ({runs[0]['corpus']})\nB: {exps[1]} ({runs[1]['corpus']})"]
    for name in (name for name in list_names(runs[0]) if name in list_names(runs[1])):
        table = list_table(exps, runs, name)
        if len(table) > 1:
            blocks.append(f"{name}{_other_trials(exps, runs, name)}\n{as_text(table, 2)}")
    if len(blocks) == 1:
        found = "no system and list in common with the other run"
        raise InputError(exps[1], found, "runs of the same trials", "Compare runs of one corpus")
    starred = any(marked(entry) for run in runs for name in list_names(run) for entry in entries(run, name).values())
    return "\n\n".join([*blocks, COMPARE_NOTE + f"\n{MARK}" * starred])


# ---------------------------------------------------------------- runs that differ in their seed


@dataclass(frozen=True)
class Measured:
    """A figure of one system in S runs: values (S,), and its replicates (S, R) on the same draws of speakers; mark: "*"
    where it has one in a run."""

    values: np.ndarray
    replicates: np.ndarray
    mark: str = ""

    def drawn(self, seed: int) -> np.ndarray:
        """Replicates (R,) of the mean of the runs."""
        return bootstrap.over_runs(self.replicates, np.random.default_rng([seed, len(self.values)]))


def _measured(exps: list[Path], runs: list[Results], trial_list: str, figure: str) -> dict[str, Measured]:
    """A figure of every system that all runs scored on a list. InputError for other trials or draws in one of them."""
    ours, found = [entries(run, trial_list) for run in runs], {}
    for system in (name for name in ours[0] if all(name in each for each in ours)):
        rows = [each[system] for each in ours]
        draws = {tables.draws_of(row) for row in rows}
        if not _same_trials(exps, system, trial_list) or len(draws) > 1 or None in draws.pop():
            told = f"other trials, or other draws of speakers, in {', '.join(map(str, exps))}"
            cure = rerun("scores", "Give each run the same data and settings")
            raise InputError(trial_list, told, "the same list and --replicates in every run", cure, item=system)
        replicates = np.stack([read_replicates(exp / system)[f"{trial_list}/{figure}"] for exp in exps])
        mark = "*" * any("*" in SHOWN[figure][1](row) for row in rows)
        found[system] = Measured(np.array([tables.value_of(row, figure) for row in rows]), replicates, mark)
    return found


def _spread(found: Measured, number: int, show: Callable[[float], str]) -> list[str]:
    """Mean of the runs, least and greatest, interval over speakers and runs."""
    ends = (float(found.values.min()), float(found.values.max()))
    interval = bootstrap.interval(found.drawn(number))
    return [show(float(found.values.mean())) + found.mark, between(list(ends), show), between(interval, show)]


def _gain(ours: Measured, other: Measured, number: int, show: Callable[[float], str]) -> list[str]:
    """Difference of the means, interval, p, and in how many of all pairs of runs ours is lower."""
    gap = float(ours.values.mean() - other.values.mean())
    test, lower = bootstrap.paired(ours.drawn(0), other.drawn(number), gap), ours.values[:, None] < other.values
    shown = between(test["ci"], show), tables.probability(test["p"])
    return [show(gap), *shown, f"{lower.sum()} of {lower.size}"]


def over_seeds(exps: list[Path], runs: list[Results], against: str) -> str:
    """Every list as text: mean and spread of each system over the runs, and `against` minus each other system.

    InputError when no list and system is in all runs, or `against` is not.
    """
    blocks = [f"{len(exps)} runs: {', '.join(map(str, exps))}"]
    pairs = itertools.combinations(zip(exps, runs), 2)
    if same := [f"{a} and {b}" for (a, one), (b, two) in pairs if one["systems"] == two["systems"]]:
        blocks.append(f"warning: every figure is the same in {', '.join(same)}: these are no runs of two seeds")
    for name in (each for each in list_names(runs[0]) if all(each in list_names(run) for run in runs)):
        both = [(title, show, _measured(exps, runs, name, figure)) for figure, title, show in SEEDS_SHOWN]
        systems = list(both[0][2])
        if against not in systems:
            raise InputError("--against", against, " or ".join(systems) or "a system that all runs have", "Correct it")
        spread: Table = [["system", *(cell for title, *_ in both for cell in (title, "least to greatest", "95 %"))]]
        gains: Table = [[f"{against} minus", *(cell for title, *_ in both for cell in (title, "95 %", "p", "lower"))]]
        for number, system in enumerate(systems, 1):
            spread.append([system, *(cell for _, show, found in both for cell in _spread(found[system], number, show))])
            if system != against:
                cells = (_gain(found[against], found[system], number, signed) for _, _, found in both)
                gains.append([system, *(cell for row in cells for cell in row)])
        blocks += [f"{name}\n{as_text(spread)}", as_text(gains)]
    if len(blocks) == 1:
        raise InputError(exps[0], "no list that all runs scored", "runs of the same trials", "Name runs of one corpus")
    return "\n\n".join([*blocks, SEEDS_NOTE])
