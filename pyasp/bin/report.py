"""Writes the results of a corpus."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyasp import artefact, cli, det, report
from pyasp.errors import InputError
from pyasp.evaluation import EvaluateOptions, load_metrics


@dataclass(frozen=True)
class Options(EvaluateOptions):
    """Options of report."""
    corpus: str = cli.option("toy", "name of the corpus: heads the report; decides whether the paper's rows apply")
    force: bool = cli.option(False, "accepted as in every tool; a report is always written anew")


def read_old(path: Path) -> dict[str, Any] | None:
    """An earlier results.json, or None."""
    if not path.is_file():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        raise InputError(path, "no JSON", "the results of an earlier report", "Delete it and report again") from None


def gather(options: Options, trials_dir: str, exp_dir: Path, systems: list[str]) -> dict[str, dict[str, Any]]:
    """{system: its metrics}: those named, which must be up to date, then those of an earlier report that still are."""
    chosen = cli.subset(options, EvaluateOptions)
    found = {system: load_metrics(trials_dir, exp_dir / system, chosen) for system in systems}
    old = read_old(exp_dir / "results.json")
    earlier = old["systems"] if old and old.get("corpus") == options.corpus else {}
    for system in (name for name in earlier if name not in systems):
        try:
            found[system] = load_metrics(trials_dir, exp_dir / system, chosen)
        except InputError as error:
            print(f"{system} of the earlier report is left out: {error}")
    return found


def det_curves(results: dict[str, Any], found: dict[str, dict[str, Any]]) -> det.Curves:
    """{list: {system: curve}}."""
    return {name: {system: found[system]["det"][name] for system in report.entries(results, name)}
            for name in report.list_names(results)}


@cli.command(Options, "TRIALS_DIR", "EXP_DIR", "SYSTEM...")
def main(options: Options, trials_dir: str, exp_dir: str, systems: list[str]) -> None:
    """Writes EXP_DIR/results.json, RESULTS.md and det.png from each system's metrics.json, and prints the table last.

    Metrics of other scores or settings are refused. Systems of an earlier report stay while theirs are up to date.
    """
    directory = Path(exp_dir)
    found = gather(options, trials_dir, directory, systems)
    results = report.merge(options.corpus, found)
    copies = Path(trials_dir).parent / "train_aug" / "augment.txt"
    if copies.is_file():
        results["training_copies"] = copies.read_text(encoding="utf-8").strip()
    made = artefact.describe("report", options, [directory / name / "metrics.json" for name in found])
    contents = {"results.json": json.dumps(results, indent=1) + "\n", "RESULTS.md": report.markdown(results)}
    for name, text in contents.items():
        with artefact.making(directory / name, made) as path:
            path.write_text(text, encoding="utf-8")
    with artefact.making(directory / "det.png", made) as path:
        det.draw(det_curves(results, found), path)
    print(report.screen(results))


if __name__ == "__main__":
    raise SystemExit(main())
