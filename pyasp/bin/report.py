"""Writes the results of a corpus."""

import json
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pyasp.backend import variants
from pyasp.backend.options import BackendOptions
from pyasp.bin import _stale as stale
from pyasp.bin.evaluate import of_system
from pyasp.core import costs
from pyasp.core.command import command
from pyasp.core.conf import read_conf
from pyasp.core.errors import InputError, rerun
from pyasp.core.options import option, subset
from pyasp.core.records import describe, making
from pyasp.core.text import read_json_if_there
from pyasp.data.scores import with_scores
from pyasp.evaluation.evaluate import EvaluateOptions, load_metrics, read_replicates
from pyasp.report import compare as comparison
from pyasp.report import document, facts, figures, findings
from pyasp.report import results as report
from pyasp.report import tables as report_tables


@dataclass(frozen=True)
class Options(EvaluateOptions):
    """Options of report."""

    corpus: str = option(
        "", "name of the corpus: heads the report; decides whether the paper's rows apply; else DATA's"
    )
    conf: str = option("", "conf directory of the run, shown in report.html")
    compare: bool = option(False, "instead: two experiment directories side by side, with significance")
    against: str = option("", "instead: EXP_DIR... of several seeds, mean and spread, and this system's differences")
    force: bool = option(False, "make metrics again that are out of date; the report itself is always written anew")


def with_variants(options: Options, systems: list[str], scored: Iterable[str] = ()) -> list[str]:
    """Systems, with the variants and fusions of the conf directory's backend.conf; scored: others that may be fused."""
    conf = Path(options.conf) / "backend.conf"
    if not (options.conf and conf.is_file()):
        return systems
    return variants.every_name(read_conf(conf, BackendOptions), systems, scored)


def reported(options: Options, exp_dir: Path, systems: list[str]) -> list[str]:
    """Those named, with the variants and fusions that have scores."""
    names = with_variants(options, systems, with_scores(exp_dir))
    unmade = [name for name in names if name not in systems and not (exp_dir / name / "scores").is_dir()]
    if unmade:
        print(f"no scores, left out: {', '.join(unmade)}", file=sys.stderr)
    return [name for name in names if name not in unmade]


def gather(options: Options, trials_dir: str, exp_dir: Path, systems: list[str]) -> dict[str, dict[str, Any]]:
    """{system: its metrics}: those named, made where they are not there; then those of an earlier report that are up to
    date."""
    chosen = subset(options, EvaluateOptions)
    found = {system: of_system(chosen, trials_dir, exp_dir / system, options.force) for system in systems}
    data, old = Path(trials_dir).parent, read_json_if_there(exp_dir / "results.json")
    earlier = old["systems"] if old.get("corpus") == options.corpus else {}
    for system in (name for name in earlier if name not in systems):
        try:
            stale.refuse(stale.Request(data, exp_dir, stale.family(system), options.conf))
            found[system] = load_metrics(trials_dir, exp_dir / system, chosen)
        except InputError as error:
            print(f"{system} of the earlier report is left out: {error}")
    return {name: found[name] for name in sorted(found, key=report.place)}


def compare(directories: list[str], against: str) -> str:
    """Two runs side by side, or several of other seeds with what one system has over the others, as text.

    InputError when one of them has no report.
    """
    if len(directories) > 2 and not against:
        raise InputError("command line", f"{len(directories)} runs", "two", "Name two, or a system with --against")
    paths = [Path(each) for each in directories]
    if len({path.resolve() for path in paths}) < len(paths):
        raise InputError(
            "command line", "a run given twice", "runs that differ", "Name each once", " ".join(directories)
        )
    runs: list[report.Results] = [read_json_if_there(path / "results.json") for path in paths]
    for path, run in zip(paths, runs):
        if not run:
            raise InputError(path / "results.json", "no such file", "the results of a report", rerun("report"))
    return comparison.over_seeds(paths, runs, against) if against else comparison.side_by_side(paths, runs)


def losses(options: Options, exp: Path, data: Path, results: dict[str, Any]) -> list[list[str]]:
    """[where, what]: what the figures suffer from, and the variants of backend.conf that could not be made."""
    systems = list(results["systems"])
    own: dict[str, list[str]] = {}  # what is true of several systems is said once
    for where, what in facts.losses(exp, data, systems):
        own.setdefault(what, []).append(where)
    lost = [[findings.listed(where), what] for what, where in own.items()]
    unfit = [row for name in report.list_names(results) for row in findings.unfit(results, name)]
    wanted = with_variants(options, report.plain(systems)) if options.conf else systems
    return [*lost, *unfit, *facts.left_out(exp, wanted)]


@command(Options, "TRIALS_DIR", "EXP_DIR", "[SYSTEM]...")
def main(options: Options, trials_dir: str, exp_dir: str, systems: list[str]) -> None:
    """Writes EXP_DIR/results.json, RESULTS.md, report.html and det.png from each system's metrics.json, and prints the
    table last.

    With --conf also of their variants and fusions that have scores. Metrics that are not there are made (as by
    evaluate), and attention.npz, the weights of networks with an attention on a few test recordings. Metrics of other
    scores or settings are refused. Systems of an earlier report stay while theirs are up to date.
    With --compare EXP_A EXP_B instead: the systems of two runs side by side, with the significance of each difference;
    with --against SYSTEM EXP_A EXP_B ...: mean and spread of the systems over runs of several seeds, and SYSTEM's
    difference from each other system.

    Example, after ./run.sh:
        cp -r exp/toy exp/before
        pyasp report --compare exp/before exp/toy
    """
    if options.compare or options.against:
        print(compare([trials_dir, exp_dir, *systems], options.against))
        return
    if not systems:
        raise InputError("command line", "no SYSTEM", "the systems to report", "Name them after EXP_DIR")
    directory, data, conf = Path(exp_dir), Path(trials_dir).parent, Path(options.conf) if options.conf else None
    options = replace(options, corpus=options.corpus or data.resolve().name)
    found = gather(options, trials_dir, directory, reported(options, directory, systems))
    if any(directory.glob("*/final.pt")):
        from pyasp.bin import _attention  # and torch, which a report without networks does not wait for

        _attention.take(data, directory)
    results = report.merge(options.corpus, found)
    results["paired"] = report_tables.all_pairs(results, {name: read_replicates(directory / name) for name in found})
    if lost := losses(options, directory, data, results):
        results["losses"] = lost
    if (copies := data / "train_aug" / "augment.txt").is_file():
        results["training_copies"] = copies.read_text(encoding="utf-8").strip()
    if drawn := read_json_if_there(data / "prep.json").get("drawn"):
        results["drawn_trials"] = drawn
    elsewhere = ("force", "compare", "against", "conf")  # what they decide is not in the report, or is an input
    asked = {name: value for name, value in vars(options).items() if name not in elsewhere}
    made = describe("report", asked, [directory / name / "metrics.json" for name in found])
    more = {name: report_tables.tables(results, name) for name in report.list_names(results)}
    times = facts.stages_table(costs.by_stage(directory))
    run = document.ReportedRun(results, found, directory, data, conf)
    with making(directory / "results.json", made) as path:
        path.write_text(json.dumps(results, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    with making(directory / "RESULTS.md", made) as path:
        path.write_text(report.markdown(results, more, report_tables.notes(results), times), encoding="utf-8")
    with making(directory / "det.png", made) as path:
        figures.draw_det(document.det_curves(results, found), path)
    with making(directory / "report.html", made) as path:  # last: it shows what the others hold
        path.write_text(document.render(run), encoding="utf-8")
    print(report.screen(results, exp_dir.rstrip("/"), trials_dir.rstrip("/")))


if __name__ == "__main__":
    raise SystemExit(main())
