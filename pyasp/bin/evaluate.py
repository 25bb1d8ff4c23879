"""Computes the metrics of one system, or of a score file of anybody's."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyasp.backend.calibration import pooled, train
from pyasp.core.command import command
from pyasp.core.errors import InputError, rerun
from pyasp.core.files import atomic_write, check_output, file_sha256, replacing
from pyasp.core.options import option, subset
from pyasp.core.records import is_current, making, with_beside
from pyasp.core.text import cost, read_json, write_json
from pyasp.data.scores import read_given
from pyasp.data.trials import trial_lists
from pyasp.evaluation.evaluate import EvaluateOptions, evaluate, recipe
from pyasp.evaluation.llr import MARK, classes_text, eer_text, marked, min_dcf_text, summarise, trials_text
from pyasp.evaluation.metrics import det_points


@dataclass(frozen=True)
class Options(EvaluateOptions):
    """Options of evaluate."""

    det: str = option("", "of a score file: where its DET curve goes (x.png)")
    calibration: str = option("", "of a score file: where scale and offset to log-likelihood ratios go (x.json)")
    force: bool = option(False, "make again what is out of date")


def of_file(options: Options, scores: str, trials: str | None) -> None:
    """Prints the figures of a score file, and what a calibration on its own trials would make of them."""
    for out, suffixes in ((options.det, (".png",)), (options.calibration, (".json",))):
        if out:
            check_output(out, suffixes, filter(None, (scores, trials)))
    given, name = read_given(scores, trials), Path(scores).name
    entry, counts = summarise(given.scores, given.target, options.priors)
    model = train(given.scores[:, None], given.target, (name,))
    told, after = entry["calibration"], summarise(model.apply(given.scores[:, None]), given.target, options.priors)[0]
    costs = ", ".join(f"minDCF({prior}) {min_dcf_text(entry, prior)}" for prior in entry["min_dcf"])
    least = {prior: f"{cost(value)} ({cost(told['min_dcf'][prior])})" for prior, value in told["act_dcf"].items()}
    actual = ", ".join(f"{prior} {value}" for prior, value in least.items())
    print(*given.notes, f"{classes_text(entry)}: EER {eer_text(entry)} %, {costs}", sep="\n")
    text = f"Cllr {cost(told['cllr'])} (least {cost(told['min_cllr'])}); actual DCF (least) at P_target {actual}"
    print(f"taken as natural-log likelihood ratios: {text}")
    text = f"llr = {model.weights[0]:.6g} x score {model.offset:+.6g}: Cllr {cost(after['calibration']['cllr'])}"
    print(f"calibrated on these trials themselves: {text}")
    for doubt in model.trained.doubts() if model.trained else ():
        print(f"warning: calibrated on {doubt}")
    if model.weights[0] < 0:
        print("warning: the targets have the lower scores: are the labels, or the sign of the scores, turned about?")
    if marked(entry):
        print(MARK)
    if options.calibration:
        affine = {"scale": model.weights[0], "offset": model.offset, "prior": model.prior, "trained_on": name}
        write_json(options.calibration, affine | pooled([model.as_dict()]) | {"scores": file_sha256(scores)})
    if options.det:
        from pyasp.report.figures import draw_det  # and matplotlib

        with replacing(options.det) as temporary:
            draw_det({name: {name: det_points(counts)}}, temporary)


def of_system(options: EvaluateOptions, trials_dir: str | Path, system_dir: str | Path, force: bool) -> dict[str, Any]:
    """What is in SYSTEM_DIR/metrics.json. Unless that is up to date it is made, and bootstrap.npz, and told."""
    path, made = Path(system_dir) / "metrics.json", recipe(trials_dir, system_dir, options)
    if not is_current(path, made, force):
        make(options, trials_dir, Path(system_dir), made)
    return read_json(path, "the system's metrics", rerun("report", force=True))


def make(options: EvaluateOptions, trials_dir: str | Path, system_dir: Path, made: dict[str, Any]) -> None:
    """Writes bootstrap.npz, then metrics.json; prints a line a list."""
    result, replicates = evaluate(trials_dir, system_dir, options)
    with atomic_write(system_dir / "bootstrap.npz") as stream:
        np.savez(stream, allow_pickle=False, **replicates)
    with making(system_dir / "metrics.json", with_beside(made, there=[system_dir / "bootstrap.npz"])) as temporary:
        temporary.write_text(json.dumps(result, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    for name, entry in result["trials"].items():
        print(f"{system_dir} {name}: EER {eer_text(entry)} % ({trials_text(entry)} trials)")
    if any(map(marked, result["trials"].values())):
        print(MARK)
    lists = trial_lists(trials_dir)
    unscored = [name for name in lists if name not in result["trials"]]
    if unscored:
        print(f"done {len(lists) - len(unscored)} of {len(lists)} lists; not scored: {', '.join(unscored)}")


@command(Options, "TRIALS_DIR", "[SYSTEM_DIR]")
def main(options: Options, trials_dir: str, system_dir: str | None) -> None:
    """Writes SYSTEM_DIR/metrics.json: error rates and costs of every list of TRIALS_DIR in SYSTEM_DIR/scores.

    With two files, a trial list and a score file of anybody's, or with one score file that has labels, prints its
    figures: EER, costs, Cllr and what a calibration would give; --det and --calibration write the curve and the map.
    A line-aligned `<list>.tsv` (with a header) beside a list adds the same figures by each value of its columns; so do
    the tables of the data directories beside TRIALS_DIR, which also give the speakers: intervals by a bootstrap over
    speakers, whose replicates are in SYSTEM_DIR/bootstrap.npz.

    Example, after ./run.sh:
        pyasp evaluate data/toy/trials/veri_test exp/toy/ivector/scores/veri_test
    """
    if Path(trials_dir).is_file() or Path(system_dir or trials_dir).is_file():
        return of_file(options, system_dir or trials_dir, trials_dir if system_dir else None)
    if not system_dir or options.det or options.calibration:
        found = f"the directory {trials_dir}" if Path(trials_dir).is_dir() else f"no file {trials_dir}"
        expected = "TRIALS_DIR SYSTEM_DIR without --det and --calibration, or files: [TRIALS] SCORES"
        raise InputError("command line", found, expected, "Correct it")
    of_system(subset(options, EvaluateOptions), trials_dir, system_dir, options.force)


if __name__ == "__main__":
    raise SystemExit(main())
