"""report.html: everything a run has to show, on one page that fetches nothing: templates/report.html filled in.

Tables come from results and tables, cell by cell those of RESULTS.md; what the run left about itself from facts;
drawings from figures. Every text is escaped by the templates.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from pyasp.core import costs
from pyasp.core.text import cost, percent
from pyasp.evaluation.llr import DECISION_PRIORS, bayes_threshold, eer_text
from pyasp.report import facts, figures, findings, tables
from pyasp.report import results as report
from pyasp.report.paper import differences, paper_rows
from pyasp.report.results import Results, entries, is_variant, list_names
from pyasp.report.tables import HALVES, calibrated

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FOLDED = (tables.INTERVALS, tables.ERRORS)  # tables that open when asked for, and in print
MARKERS = {"eer": "o", "0.01": "s", "0.001": "^"}
Panels = list[tuple[Markup, str, str]]  # drawings with their captions, and `variants` for those behind the switch


def _filter(pattern: str, replacement: str) -> Callable[[str], Markup]:
    """Escapes text and puts HTML where a pattern matches."""
    return lambda text: Markup(re.sub(pattern, replacement, str(escape(text))))


def environment() -> Environment:
    """The templates of the page."""
    found = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters["breakable"] = _filter(r"([+_:])", r"\1<wbr>")  # where a system's name may go on in the next line
    found.filters["heading"] = _filter(r"(?=\()", "<wbr>")  # the same of a heading: minDCF(0.01)
    found.filters["running"] = _filter(r"(?<=\d) (?=\d{3}\b|%)", "&nbsp;")  # 37 720 and 95 % stay in one line
    return found


def _panel(
    draw: Callable, prefix: str, label: str, size: tuple[float, float], caption: str, kind: str = ""
) -> tuple[Markup, str, str]:
    return Markup(figures.svg(draw, prefix, label, size)), caption, kind


@dataclass(frozen=True)
class ReportedRun:
    """What the page is about: results.json's content, {system: metrics.json's content}, and where the run lies."""

    results: Results
    metrics: Mapping[str, Mapping[str, Any]]
    exp: Path
    data: Path
    conf: Path | None

    @property
    def colour(self) -> dict[str, str]:
        """{system: colour}: a variant has its system's, a fusion its own."""
        plain = [name for name in self.results["systems"] if not is_variant(name) or name.startswith("fusion:")]
        own = figures.colours(plain)
        return {
            name: own.get(name) or own.get(name.partition("+")[0], figures.PALETTE[-1])
            for name in self.results["systems"]
        }


def _cards(run: ReportedRun, name: str) -> list[tuple[str, str, str]]:
    """Of one list: the best single system, the best fusion, the best calibration."""
    everything = entries(run.results, name)
    plain = [system for system in everything if not is_variant(system)]
    networks = [system for system in plain if system != "ivector"]
    groups = {
        f"lowest EER of the {len(plain)} systems" if len(plain) > 1 else "EER": plain,
        f"lowest EER of the {len(networks)} networks": networks if 1 < len(networks) < len(plain) else [],
        "lowest EER of the fusions": [system for system in everything if system.startswith("fusion:")],
    }
    cards = []
    for title, names in groups.items():
        if names:
            best = min(names, key=lambda system: everything[system]["eer"])
            ends = everything[best].get("ci", {}).get("eer")
            ci = f"; 95 %: {tables.between(ends, percent)} %" if ends else ""
            cards.append((f"{name}: {title}", f"{eer_text(everything[best])} %", f"{best}{ci}"))
    rows = {
        system: entry["by"].get(HALVES, {}).get("disjoint") or entry
        for system, entry in everything.items()
        if calibrated(system)
    }
    if rows:
        best = min(rows, key=lambda system: rows[system]["calibration"]["cllr"] or np.inf)
        found = rows[best]["calibration"]
        what = "lowest Cllr of the calibrated scores (0: perfect, 1: says nothing)"
        cards.append((f"{name}: {what}", cost(found["cllr"]), f"{best}; {cost(found['min_cllr'])} possible"))
    return cards


def _classes(run: ReportedRun, name: str) -> dict[str, str]:
    """{first cell: class of its row} of a table: what the switch hides, and the paper's."""
    found, hidden = entries(run.results, name), _hidden(run, name)
    return {
        **{f"{system} (paper)": "paper" for system in found},
        **{f"{system}{end}": "variant" for system in hidden for end in ("", ", disjoint")},
        **{f"{a} - {b}": "variant" for a in hidden for b in found},
    }


def _best(run: ReportedRun, name: str) -> dict[str, str]:
    """{the system of the lowest EER: its class}, of those that are always shown."""
    found, hidden = entries(run.results, name), _hidden(run, name)
    return {min((each for each in found if each not in hidden), key=lambda each: found[each]["eer"]): "best"}


def _hidden(run: ReportedRun, name: str) -> list[str]:
    """The systems of a list that the switch hides: variants and fusions, where there is something else."""
    found = entries(run.results, name)
    variants = [system for system in found if is_variant(system)]
    return variants if len(variants) < len(found) else []


def _operating_points(entry: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """(marker, P_fa, P_miss) of the EER and of the minDCFs."""
    places = [("eer", entry["errors"]["eer"]), *entry["errors"]["min_dcf"].items()]
    return [
        (MARKERS.get(key, "v"), each["false_alarms"] / entry["n_nontarget"], each["misses"] / entry["n_target"])
        for key, each in places
        if each
    ]


def _intervals(run: ReportedRun, name: str) -> Panels:
    """EER with intervals and the paper's values: of the systems, and behind the switch of those that are not merely
    recalibrated."""
    paper, everything = paper_rows(run.results["corpus"], name), entries(run.results, name)
    hidden = [each for each in _hidden(run, name) if not calibrated(each) or each.startswith("fusion:")]
    panels = []
    for kind, systems in (("", [each for each in everything if not is_variant(each)]), ("variants", hidden)):
        rows = [
            (
                system,
                everything[system]["eer"],
                everything[system].get("ci", {}).get("eer"),
                paper[system].eer if system in paper else None,
                run.colour[system],
            )
            for system in systems
        ]
        if rows:
            caption = f"EER{' of variants and fusions' if kind else ''}; bars: 95 % intervals over speakers."
            caption += " Hollow diamonds: the paper." if paper and not kind else ""
            size, label = (4.6, 0.9 + 0.24 * len(rows)), f"EER of {name} {kind}".strip()
            panels.append(_panel(figures.intervals(rows), f"eer-{name}{kind}", label, size, caption, kind))
    return panels


def _det_panel(curves, colour, dashed, points, figure: Figure) -> None:
    figures.det_panel(figure.add_subplot(), curves, colour, dashed, points)


def _det(run: ReportedRun, name: str) -> dict[str, Any]:
    found = {
        system: entry
        for system, entry in entries(run.results, name).items()
        if not calibrated(system) or system.startswith("fusion:")
    }
    dashed = {system for system in found if is_variant(system) and not system.startswith("fusion:")}
    bases = [s for s in found if s in dashed or any(d.startswith(f"{s}+") for d in dashed)]
    fused = [s for s in found if s.startswith("fusion:")]
    if bases == [s for s in bases if not is_variant(s)]:
        bases = []
    panels = []
    for number, (title, chosen) in enumerate(
        (
            ("the systems", [s for s in found if not is_variant(s)]),
            ("fusions, and variants (dashed), beside what they were made from", [*bases, *fused]),
        )
    ):
        if chosen:
            points = {system: _operating_points(found[system]) for system in chosen}
            curves = {system: run.metrics[system]["det"][name] for system in chosen}
            caption = (
                f"DET curves: {title}. Markers: EER (circle), minDCF(0.01) (square), minDCF(0.001) "
                "(triangle); on the edge where there is no such error. Bands: 95 % over speakers."
            )
            drawing = partial(_det_panel, curves, run.colour, dashed, points)
            kind = "variants" if number else ""
            panels.append(_panel(drawing, f"det-{name}-{number}", f"DET curves of {name}", (4.6, 4.3), caption, kind))
    return {"det": panels, "det_colour": {system: run.colour[system] for system in found}, "dashed": dashed}


def _histograms(run: ReportedRun, name: str) -> Panels:
    thresholds = {f"p={p:g}": bayes_threshold(p) for p in DECISION_PRIORS}
    panels = []
    for system in (system for system in entries(run.results, name) if calibrated(system)):
        base = system.rpartition("+")[0]
        for kind, each in (("before", base), ("after", system)):
            if each in run.metrics and not each.startswith("fusion:") or kind == "after":
                drawing = figures.histogram(run.metrics[each]["scores"][name], thresholds, run.colour[each])
                prefix, caption = f"hist-{name}-{system}-{kind}", f"{each}: {kind} calibration"
                panels.append(_panel(drawing, prefix, f"scores of {each}", (4.2, 2.3), caption))
    return panels


def _duration(run: ReportedRun, name: str) -> Panels:
    columns = report.columns_of(run.results, name)
    panels = []
    for column in (
        column for column in ("duration_class", "test_seconds", "enroll_seconds", "enroll_utts") if column in columns
    ):
        groups = {
            system: entry["by"][column]
            for system, entry in entries(run.results, name).items()
            if column in entry["by"] and not is_variant(system)
        }
        values = sorted({value for each in groups.values() for value in each}, key=report.numeric)
        ours = {system: [each.get(value, {}).get("eer") for value in values] for system, each in groups.items()}
        rows = paper_rows(run.results["corpus"], name) if column == "duration_class" else {}
        paper = {
            system: [rows[system].by_duration.get(value.removesuffix("s").strip()) for value in values]
            for system in groups
            if system in rows
        }
        note = " Hollow diamonds: the paper." if paper else ""
        drawing = figures.by_class(values, ours, paper, run.colour, column.replace("_", " "))
        caption = f"EER by {column.replace('_', ' ')}.{note}"
        panels.append(_panel(drawing, f"by-{name}-{column}", f"EER by {column}", (4.2, 2.8), caption))
    return panels


def _list(run: ReportedRun, name: str) -> dict[str, Any]:
    """What the page shows of one trial list."""
    paper, columns = paper_rows(run.results["corpus"], name), report.columns_of(run.results, name)
    return {
        "name": name,
        "counts": report.trials_in_words(run.results, name),
        "main": report.main_table(run.results, name),
        "classes": _classes(run, name),
        "best": _best(run, name),
        "hidden": _hidden(run, name),
        "intervals": _intervals(run, name),
        "differences": differences(run.results["corpus"]) if paper else None,
        "tables": [
            (title, table, tables.MEANING[title], title in FOLDED) for title, table in tables.tables(run.results, name)
        ],
        **_det(run, name),
        "histograms": _histograms(run, name),
        "classes_of_trials": _duration(run, name),
        "plain_colour": {system: run.colour[system] for system in entries(run.results, name) if not is_variant(system)},
        "by": [(column, report.by_table(run.results, name, column)) for column in columns],
    }


def _networks(run: ReportedRun) -> dict[str, Any]:
    curves, panels = facts.training_curves(run.exp), []
    unused = [colour for colour in figures.PALETTE if colour not in run.colour.values()] or figures.PALETTE
    others = (name for name in curves if name not in run.colour)  # trained, and not reported
    colour = {name: run.colour[name] for name in curves if name in run.colour} | dict(zip(others, unused))
    for title, keys, log in (
        ("loss: training (solid) and validation (dashed), nats", ("loss", "valid_loss"), False),
        ("validation accuracy, share of the recordings", ("valid_accuracy",), False),
        ("learning rate", ("learning_rate",), True),
    ):
        lines = {
            f"{system}-{key}": ([row["epoch"] for row in rows], [row[key] for row in rows], colour[system], style)
            for system, rows in curves.items()
            for key, style in zip(keys, ("-", "--"))
            if all(key in row for row in rows)
        }
        if lines:
            drawing = figures.lines(lines, "epoch", title.partition(":")[0].partition(",")[0], log)
            panels.append(_panel(drawing, f"train-{keys[0]}", title, (4.2, 2.8), f"Networks: {title}."))
    return {"colour": colour, "panels": panels}


def _em(run: ReportedRun) -> Panels:
    panels = []
    for number, (title, values) in enumerate(facts.likelihoods(run.exp).items()):
        unit = "objective a frame" if title == "extractor" else "log-likelihood a frame"
        curve = list(range(1, len(values) + 1)), values, figures.PALETTE[number], "-"
        caption = f"{title}: {unit}, from {values[0]:.3f} to {values[-1]:.3f}."
        drawing = figures.lines({title: curve}, "iteration", unit)
        panels.append(_panel(drawing, f"em-{number}", title, (4.2, 2.5), caption))
    return panels


def _durations(run: ReportedRun) -> dict[str, Any]:
    seconds = facts.durations(run.data)
    if not seconds:
        return {}
    colour = figures.colours(list(seconds))
    drawing = figures.duration_histograms(seconds, colour)
    return {
        "colour": colour,
        "panels": [_panel(drawing, "durations", "durations", (4.6, 2.6), "Durations of the recordings.")],
    }


def _attention(run: ReportedRun) -> dict[str, Any]:
    path = run.exp / "attention.npz"
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        systems, utts = stored["systems"].tolist(), stored["utterances"].tolist()
        colour, panels = {name: run.colour.get(name, figures.PALETTE[k]) for k, name in enumerate(systems)}, []
        for number, utt in enumerate(utts):
            drawing = figures.attention(
                stored[f"{number}/spectrogram"],
                stored[f"{number}/voiced"],
                float(stored[f"{number}/highest"]),
                {name: stored[f"{number}/{name}"] for name in systems},
                colour,
            )
            panels.append(_panel(drawing, f"attention-{number}", f"attention on {utt}", (4.6, 3.4), utt))
    return {"colour": colour, "panels": panels}


def _facts(run: ReportedRun) -> list[tuple[str, report.Table]]:
    """Tables of what the run left about itself; those of a header alone are not shown."""
    seeds = [[name, str(seed)] for name, seed in facts.seeds(run.exp, run.data).items()]
    return [
        ("Seeds", [["seed of", "value"], *seeds]),
        ("Versions", [["package", "version"], *map(list, facts.versions(run.exp).items())]),
    ]


def _narrow(text: str) -> bool:
    """True of text that is printed in two columns."""
    return max(map(len, text.splitlines()), default=0) < 50


def render(run: ReportedRun) -> str:
    """The whole page."""
    systems, corpus, names = run.results["systems"], run.results["corpus"], list_names(run.results)
    variants = [name for name in systems if is_variant(name)]
    attention, networks, em = _attention(run), _networks(run), _em(run)
    titles = {
        "overview": "What was found",
        **{f"list-{name}": f"Results: {name}" for name in names},
        **({"attention": "Where the attention looks"} if attention else {}),
        **({"training": "Training"} if networks["panels"] or em else {}),
        "data": "Data",
        **({"variants": "What the variants are"} if variants else {}),
        "times": "Where the time goes",
        "run": "Seeds, versions, options",
    }
    return (
        environment()
        .get_template("report.html")
        .render(
            title=findings.title(run.results),
            lead=f"Speaker verification, after Okabe et al. 2018. Systems: {len(systems) - len(variants)}; variants "
            f"and fusions of them: {len(variants)}; trial lists: {len(names)}. Run: {run.exp}.",
            titles=titles,
            found=[findings.found(run.results, name) for name in names],
            losses=run.results.get("losses", []),
            switch=bool(variants) and len(variants) < len(systems),
            cards=[card for name in names for card in _cards(run, name)],
            paper=any(paper_rows(corpus, name) for name in names),
            definitions=" ".join(report.definitions(run.results)),
            columns=tables.COLUMNS,
            lists=[_list(run, name) for name in names],
            attention=attention,
            networks=networks,
            em=em,
            data=facts.data_table(run.data),
            sets=facts.sets(run.data),
            times=facts.stages_table(costs.by_stage(run.exp)),
            times_note=report.TIMES,
            dropped=facts.dropped_table(run.data),
            durations=_durations(run),
            copies=run.results.get("training_copies"),
            variants=tables.variant_notes(run.results) if variants else [],
            facts=_facts(run),
            options=[(name, text, _narrow(text)) for name, text in facts.options(run.exp, run.conf)],
        )
    )
