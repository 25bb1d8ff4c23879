"""Metrics of one system: every scored trial list, whole and by every column that splits it, with intervals.

metrics.json  {"trials_dir", "fingerprints": {list: of its file}, "trials": {list: the entry of results.json}, "det":
{list: {"p_fa", "p_miss", "band"}},
              "scores": {list: histograms of the scores}}
bootstrap.npz `<list>/<figure>`: the figure in each replicate; systems with equal draws can be compared pair by pair
Columns are those of `<list>.tsv`, of `scores/<list>.tsv` (what a step says about its own scores), and of conditions.py.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyasp.core.errors import InputError, rerun
from pyasp.core.options import Natural, option
from pyasp.core.records import describe, fingerprint, is_current, load_record, made_path, record_of
from pyasp.core.text import read_json
from pyasp.data.scores import read_scored, scored_names
from pyasp.data.trials import Columns, TrialList, read_categories
from pyasp.evaluation import bootstrap, llr, metrics
from pyasp.evaluation.conditions import Evaluation

BINS = 60  # of a histogram of scores, over the range that holds all but a thousandth at either end


@dataclass(frozen=True)
class EvaluateOptions:
    """What is computed."""

    p_target: tuple[str, ...] = option(
        ("0.01", "0.001"),
        "prior of a minDCF at C_miss = C_fa = 1; other costs have the "
        "normalised DCF of the prior C_miss p / (C_miss p + C_fa (1 - p)): give that",
    )
    replicates: Natural = option(1000, "draws of the bootstrap over speakers; huge lists get fewer; 0 = no intervals")
    bootstrap_seed: int = option(1, "seed of these draws: systems can be compared when it is the same")

    @property
    def priors(self) -> tuple[float, ...]:
        """The priors as numbers."""
        try:
            return tuple(float(text) for text in self.p_target)
        except ValueError:
            raise InputError("--p-target", " ".join(self.p_target), "numbers between 0 and 1", "Correct it") from None


def check_scores(scores: Path) -> None:
    """InputError when an input of a score file (back end, embeddings, trial list) changed after it was made."""
    inputs = load_record(record)["inputs"] if (record := made_path(scores)).is_file() else {}
    changed = [name for name, mark in inputs.items() if Path(name).is_file() and fingerprint(name) != mark]
    if changed:
        found, cure = f"scores older than {', '.join(changed)}", rerun("scores", force=True)
        raise InputError(scores, found, "scores made from what is there now", cure)


def recipe(trials_dir: str | Path, system_dir: str | Path, options: EvaluateOptions) -> dict[str, Any]:
    """What makes a system's metrics.json; checks that its scores are up to date themselves."""
    inputs: list[Path] = []
    for name in scored_names(trials_dir, system_dir):
        listed, scores = Path(trials_dir) / name, Path(system_dir) / "scores" / name
        check_scores(scores)
        inputs += [listed, scores]
        inputs += [path for path in (Path(f"{listed}.tsv"), Path(f"{scores}.tsv")) if path.is_file()]
    return describe("evaluate", options, inputs + Evaluation(Path(trials_dir).parent).inputs())


def histograms(values: np.ndarray, target: np.ndarray) -> dict[str, list[float]]:
    """{"edges" (BINS + 1), "target", "nontarget" (BINS): shares of each class}; scores beyond the range in its ends."""
    low, high = np.quantile(values[np.isfinite(values)], [0.001, 0.999]) if np.isfinite(values).any() else (0.0, 0.0)
    edges = np.linspace(low, max(high, low + 1e-6), BINS + 1)
    clipped = np.clip(values, edges[0], edges[-1])
    shares = {
        name: (np.histogram(clipped[mask], edges)[0] / mask.sum()).tolist()
        for name, mask in (("target", target), ("nontarget", ~target))
    }
    return {"edges": edges.tolist(), **shares}


def nested(flat: dict[str, Any]) -> dict[str, Any]:
    """{"a": 1, "b/x": 2} -> {"a": 1, "b": {"x": 2}}."""
    found: dict[str, Any] = {}
    for name, value in flat.items():
        outer, *inner = name.split("/")
        (found.setdefault(outer, {}) if inner else found)[inner[0] if inner else outer] = value
    return found


def intervals(
    values: np.ndarray, trials: TrialList, evaluation: Evaluation, options: EvaluateOptions
) -> tuple[dict[str, Any], dict[str, np.ndarray], dict[str, list[float]] | None]:
    """`ci` of an entry, the replicates behind it, and the band of the DET curve; nothing without speakers."""
    count = bootstrap.how_many(len(trials), options.replicates)
    if not (evaluation.known and count):
        return {}, {}, None
    names, speakers = evaluation.trial_speakers(trials)
    found, curves = bootstrap.replicates(values, trials.target, speakers, count, options.bootstrap_seed, options.priors)
    ci = {
        "level": bootstrap.LEVEL,
        "replicates": count,
        "speakers": len(names),
        "seed": options.bootstrap_seed,
        **nested({name: bootstrap.interval(each) for name, each in found.items()}),
    }
    if np.isnan(curves[:, 0]).mean() > 0.05:
        return ci, found, None
    low, high = np.nanpercentile(curves, [50 - bootstrap.LEVEL / 2, 50 + bootstrap.LEVEL / 2], axis=0)
    return ci, found, {"p_fa": bootstrap.DET_GRID.tolist(), "low": low.tolist(), "high": high.tolist()}


def split_by(
    values: np.ndarray, target: np.ndarray, columns: Columns, priors: tuple[float, ...], known: np.ndarray | None
) -> dict[str, dict[str, Any]]:
    """{column: {value: entry of its trials}}; counts alone where a class is missing."""

    def entry(mask: np.ndarray) -> dict[str, Any]:
        if target[mask].all() or not target[mask].any():
            return llr.counts_only(target[mask], priors)
        return llr.summarise(values[mask], target[mask], priors, None if known is None else known[mask])[0]

    return {
        column: {name: entry(codes == code) for code, name in enumerate(names)}
        for column, (names, codes) in columns.items()
    }


def raw_on_disjoint(listed: Path, scores: Path, columns: Columns, priors: tuple[float, ...]) -> dict[str, Any] | None:
    """What the scores that were calibrated by halves are as log-likelihood ratios, on the trials whose speakers were
    not in the training; None for others, and for a fusion, which has no such scores of its own."""
    names, codes = columns.get("halves", ([], np.zeros(0)))
    record = record_of(scores) if "disjoint" in names else None
    given = [path for path in map(Path, record["inputs"]) if path.parent.name == "scores"] if record else []
    if len(given) != 1 or not given[0].is_file():
        return None
    values, trials = read_scored(listed, given[0])
    mask = codes == names.index("disjoint")
    return split_by(values, trials.target, {"": (["disjoint"], 1 - mask)}, priors, None)[""]["disjoint"]["calibration"]


def evaluate_list(
    listed: Path, scores: Path, evaluation: Evaluation, options: EvaluateOptions
) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any], dict[str, Any]]:
    """Of one list: the entry of results.json, the DET curve, the histograms of its scores, the bootstrap's
    replicates."""
    values, trials = read_scored(listed, scores)
    columns = {**read_categories(f"{listed}.tsv", len(trials)), **read_categories(f"{scores}.tsv", len(trials))}
    known = None
    if "known" in columns:
        names, codes = columns["known"]
        known = codes == names.index("known") if "known" in names else None
    entry, counts = llr.summarise(values, trials.target, options.priors, known)
    curve: dict[str, Any] = metrics.det_points(counts)
    del counts
    entry["by"] = split_by(values, trials.target, evaluation.columns(trials, columns), options.priors, known)
    if raw := raw_on_disjoint(listed, scores, columns, options.priors):
        entry["by"]["halves"]["disjoint"]["raw"] = raw
    ci, found, band = intervals(values, trials, evaluation, options)
    entry.update({"ci": ci} if ci else {})
    curve.update({"band": band} if band else {})
    return entry, curve, histograms(values, trials.target), found


def evaluate(
    trials_dir: str | Path, system_dir: str | Path, options: EvaluateOptions
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The contents of metrics.json and of bootstrap.npz."""
    result: dict[str, Any] = {"trials_dir": str(trials_dir), "fingerprints": {}, "trials": {}, "det": {}, "scores": {}}
    evaluation, arrays = Evaluation(Path(trials_dir).parent), {}
    for name in scored_names(trials_dir, system_dir):
        entry, curve, shown, found = evaluate_list(
            Path(trials_dir) / name, Path(system_dir) / "scores" / name, evaluation, options
        )
        result["trials"][name], result["det"][name], result["scores"][name] = entry, curve, shown
        result["fingerprints"][name] = fingerprint(Path(trials_dir) / name)
        arrays.update({f"{name}/{figure}": values for figure, values in found.items()})
    return result, arrays


def read_replicates(system_dir: str | Path) -> dict[str, np.ndarray]:
    """{`<list>/<figure>`: replicates} of bootstrap.npz; nothing when there is none."""
    path = Path(system_dir) / "bootstrap.npz"
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}


def load_metrics(trials_dir: str | Path, system_dir: str | Path, options: EvaluateOptions) -> dict[str, Any]:
    """Reads a system's metrics.json. InputError when it is missing or was made from other scores, lists or options."""
    path = Path(system_dir) / "metrics.json"
    if not is_current(path, recipe(trials_dir, system_dir, options)):
        raise InputError(path, "no such file", "the system's metrics", rerun("report"))
    return read_json(path, "the system's metrics", rerun("report", force=True))
