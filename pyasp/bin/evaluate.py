"""Computes the metrics of one system."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyasp.core.command import command
from pyasp.core.files import atomic_write
from pyasp.core.options import option, subset
from pyasp.core.records import is_current, making
from pyasp.core.text import grouped
from pyasp.data.trials import trial_lists
from pyasp.evaluation.evaluate import EvaluateOptions, evaluate, recipe
from pyasp.evaluation.llr import MARK, eer_text, unsure


@dataclass(frozen=True)
class Options(EvaluateOptions):
    """Options of evaluate."""

    force: bool = option(False, "make again what is out of date")


@command(Options, "TRIALS_DIR", "SYSTEM_DIR")
def main(options: Options, trials_dir: str, system_dir: str) -> None:
    """Writes SYSTEM_DIR/metrics.json: error rates and costs of every list of TRIALS_DIR in SYSTEM_DIR/scores.

    A line-aligned `<list>.tsv` (with a header) beside a list adds the same figures by each value of its columns; so do
    the tables of the data directories beside TRIALS_DIR, which also give the speakers: intervals by a bootstrap over
    speakers, whose replicates are in SYSTEM_DIR/bootstrap.npz.
    """
    chosen, path = subset(options, EvaluateOptions), Path(system_dir) / "metrics.json"
    made = recipe(trials_dir, system_dir, chosen)
    if is_current(path, made, options.force):
        return
    result, replicates = evaluate(trials_dir, system_dir, chosen)
    with atomic_write(Path(system_dir) / "bootstrap.npz") as stream:
        np.savez(stream, **replicates)
    with making(path, made) as temporary:
        temporary.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    for name, entry in result["trials"].items():
        trials = grouped(entry["n_target"] + entry["n_nontarget"])
        print(f"{system_dir} {name}: EER {eer_text(entry)} % ({trials} trials)")
    if any(map(unsure, result["trials"].values())):
        print(MARK)
    lists = trial_lists(trials_dir)
    unscored = [name for name in lists if name not in result["trials"]]
    if unscored:
        print(f"done {len(lists) - len(unscored)} of {len(lists)} lists; not scored: {', '.join(unscored)}")


if __name__ == "__main__":
    raise SystemExit(main())
