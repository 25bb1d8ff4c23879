"""Writes the results of a corpus."""

import json
import sys
from dataclasses import dataclass
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
from pyasp.core.text import read_json
from pyasp.data.scores import with_scores
from pyasp.evaluation.evaluate import EvaluateOptions, load_metrics, read_replicates
from pyasp.report import compare as comparison
from pyasp.report import document, facts, figures, findings
from pyasp.report import results as report
from pyasp.report import tables as report_tables


@dataclass(frozen=True)
class Options(EvaluateOptions):
    """Options of report."""

    corpus: str = option("toy", "name of the corpus: heads the report; decides whether the paper's rows apply")
    conf: str = option("", "conf directory of the run, shown in report.html")
    compare: bool = option(False, "instead: two experiment directories side by side, with significance")
    against: str = option(
        "",
        "instead: EXP_DIR... of several seeds, mean and spread of each system, this one's difference from each other",
    )
    force: bool = option(False, "make metrics again that are out of date; the report itself is always written anew")


def read_old(path: Path) -> dict[str, Any] | None:
    """An earlier results.json, or None."""
    if not path.is_file():
        return None
    return read_json(path, "the results of an earlier report", "Delete it and report again")


def with_variants(options: Options, exp_dir: Path, systems: list[str]) -> list[str]:
    """Those named, with the variants and fusions of the conf directory's backend.conf that have scores."""
    conf, names = Path(options.conf) / "backend.conf", systems
    if options.conf and conf.is_file():
        names = variants.every_name(read_conf(conf, BackendOptions), systems, with_scores(exp_dir))
    unmade = [name for name in names if name not in systems and not (exp_dir / name / "scores").is_dir()]
    if unmade:
        print(f"no scores, left out: {', '.join(unmade)}", file=sys.stderr)
    return [name for name in names if name not in unmade]


def gather(options: Options, trials_dir: str, exp_dir: Path, systems: list[str]) -> dict[str, dict[str, Any]]:
    """{system: its metrics}: those named, made where they are not there; then those of an earlier report that are up to
    date."""
    chosen = subset(options, EvaluateOptions)
    found = {system: of_system(chosen, trials_dir, exp_dir / system, options.force) for system in systems}
    old = read_old(exp_dir / "results.json")
    data = Path(trials_dir).parent
    earlier = old["systems"] if old and old.get("corpus") == options.corpus else {}
    for system in (name for name in earlier if name not in systems):
        try:
            run = stale.Request(data, exp_dir, stale.family(system), options.conf)
            if outdated := stale.find(run):
                raise stale.error(run, outdated)
            found[system] = load_metrics(trials_dir, exp_dir / system, chosen)
        except InputError as error:
            print(f"{system} of the earlier report is left out: {error}")
    return {name: found[name] for name in sorted(found, key=report.place)}


def det_curves(results: dict[str, Any], found: dict[str, dict[str, Any]]) -> dict[str, figures.Curves]:
    """{list: {system: curve}} of the systems whose curve is their own: calibration moves no curve."""
    return {
        name: {
            system: found[system]["det"][name]
            for system in report.entries(results, name)
            if not report_tables.calibrated(system) or system.startswith("fusion:")
        }
        for name in report.list_names(results)
    }


def compare(directories: list[str], against: str) -> str:
    """Two runs side by side, or several of other seeds with what one system has over the others, as text.

    InputError when one of them has no report.
    """
    if len(directories) > 2 and not against:
        raise InputError("command line", f"{len(directories)} runs", "two", "Name two, or a system with --against")
    paths, runs = [Path(each) for each in directories], list[report.Results]()
    for path in paths:
        found = read_old(path / "results.json")
        if found is None:
            raise InputError(path / "results.json", "no such file", "the results of a report", rerun("report"))
        runs.append(found)
    return comparison.over_seeds(paths, runs, against) if against else comparison.side_by_side(paths, runs)


def losses(options: Options, exp: Path, data: Path, results: dict[str, Any]) -> list[list[str]]:
    """[where, what]: what the figures suffer from, and the variants of backend.conf that could not be made."""
    systems, conf = list(results["systems"]), Path(options.conf) / "backend.conf"
    plain, wanted = [name for name in systems if not report_tables.is_variant(name)], systems
    if options.conf and conf.is_file():
        wanted = variants.every_name(read_conf(conf, BackendOptions), plain)
    own: dict[str, list[str]] = {}  # what is true of several systems is said once
    for where, what in facts.losses(exp, data, systems):
        own.setdefault(what, []).append(where)
    lost = [[findings.listed(where), what] for what, where in own.items()]
    unfit = [row for name in report.list_names(results) for row in findings.unfit(results, name)]
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
        pyasp report --compare exp/toy exp/toy
    """
    if options.compare or options.against:
        print(compare([trials_dir, exp_dir, *systems], options.against))
        return
    if not systems:
        raise InputError("command line", "no SYSTEM", "the systems to report", "Name them after EXP_DIR")
    directory = Path(exp_dir)
    found = gather(options, trials_dir, directory, with_variants(options, directory, systems))
    if any(directory.glob("*/final.pt")):
        from pyasp.bin import _attention  # and torch, which a report without networks does not wait for

        _attention.take(Path(trials_dir).parent, directory)
    results = report.merge(options.corpus, found)
    results["paired"] = report_tables.all_pairs(results, {name: read_replicates(directory / name) for name in found})
    if lost := losses(options, directory, Path(trials_dir).parent, results):
        results["losses"] = lost
    copies = Path(trials_dir).parent / "train_aug" / "augment.txt"
    if copies.is_file():
        results["training_copies"] = copies.read_text(encoding="utf-8").strip()
    if drawn := facts.read_if_there(Path(trials_dir).parent / "prep.json").get("drawn"):
        results["drawn_trials"] = drawn
    settings = {
        key: value for key, value in vars(options).items() if key not in ("force", "compare", "against", "conf")
    }
    made = describe("report", settings, [directory / name / "metrics.json" for name in found])
    more = {name: report_tables.tables(results, name) for name in report.list_names(results)}
    contents = {
        "results.json": json.dumps(results, indent=1, allow_nan=False) + "\n",
        "RESULTS.md": report.markdown(
            results, more, report_tables.notes(results), facts.stages_table(costs.by_stage(directory))
        ),
    }
    for name, text in contents.items():
        with making(directory / name, made) as path:
            path.write_text(text, encoding="utf-8")
    with making(directory / "det.png", made) as path:
        figures.draw_det(det_curves(results, found), path)
    conf = Path(options.conf) if options.conf else None
    run = document.ReportedRun(results, found, directory, Path(trials_dir).parent, conf)
    with making(directory / "report.html", made) as path:  # last: it shows what the others hold
        path.write_text(document.render(run), encoding="utf-8")
    print(report.screen(results, exp_dir.rstrip("/")))


if __name__ == "__main__":
    raise SystemExit(main())
