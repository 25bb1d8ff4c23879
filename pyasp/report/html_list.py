"""The part of report.html about one trial list: tables, DET curves, scores before and after calibration, classes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from pyasp.evaluation.llr import DECISION_PRIORS, bayes_threshold
from pyasp.report import figures, page, tables
from pyasp.report import results as report
from pyasp.report.paper import differences, paper_rows
from pyasp.report.results import Results, class_counts, entries
from pyasp.report.tables import calibrated, is_variant

FOLDED = (tables.INTERVALS, tables.ERRORS)  # tables that open when asked for, and in print
MARKERS = {"eer": "o", "0.01": "s", "0.001": "^"}
Section = tuple[str, str, str]  # anchor, title, HTML


@dataclass(frozen=True)
class Run:
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


def _classes(run: Run, name: str) -> dict[str, str]:
    """{first cell: class of the row} of a main table."""
    found = entries(run.results, name)
    best = min(found, key=lambda system: found[system]["eer"])
    paper = {f"{system} (paper)": "paper" for system in found}
    return {
        **paper,
        **{system: "variant" for system in found if "+" in system and not system.startswith("fusion:")},
        best: "best",
    }


def _operating_points(entry: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """(marker, P_fa, P_miss) of the EER and of the minDCFs."""
    places = [("eer", entry["errors"]["eer"]), *entry["errors"]["min_dcf"].items()]
    return [
        (MARKERS.get(key, "v"), each["false_alarms"] / entry["n_nontarget"], each["misses"] / entry["n_target"])
        for key, each in places
        if each
    ]


def _intervals(run: Run, name: str) -> str:
    """EER of the systems that are not merely recalibrated, with intervals and the paper's values."""
    paper = paper_rows(run.results["corpus"], name)
    rows = [
        (
            system,
            entry["eer"],
            entry.get("ci", {}).get("eer"),
            paper[system].eer if system in paper else None,
            run.colour[system],
        )
        for system, entry in entries(run.results, name).items()
        if not calibrated(system) or system.startswith("fusion:")
    ]
    drawing = figures.svg(figures.intervals(rows), f"eer-{name}", f"EER of {name}", (4.6, 0.9 + 0.24 * len(rows)))
    return page.figures(
        [
            page.figure(
                drawing,
                "EER; bars: 95 % intervals over speakers (as in the table of intervals)."
                + (" Hollow diamonds: the paper." if paper else ""),
            )
        ],
        wide=True,
    )


def _det_panel(curves, colour, dashed, points, figure: Figure) -> None:
    figures.det_panel(figure.add_subplot(), curves, colour, dashed, points)


def _det(run: Run, name: str) -> str:
    found = {
        system: entry
        for system, entry in entries(run.results, name).items()
        if not calibrated(system) or system.startswith("fusion:")
    }
    dashed = {system for system in found if is_variant(system) and not system.startswith("fusion:")}
    curves = {system: run.metrics[system]["det"][name] for system in found}
    panels = []
    for number, (title, chosen) in enumerate(
        (
            ("the paper's systems and fusions", [s for s in found if s not in dashed]),
            (
                "variants (dashed) beside what they were made from",
                [s for s in found if s in dashed or any(d.startswith(f"{s}+") for d in dashed)],
            ),
        )
    ):
        if chosen:
            points = {system: _operating_points(found[system]) for system in chosen}
            lines = {system: curves[system] for system in chosen}
            drawing = partial(_det_panel, lines, run.colour, dashed, points)
            panels.append(
                page.figure(
                    figures.svg(drawing, f"det-{name}-{number}", f"DET curves of {name}", (4.6, 4.3)),
                    f"DET curves: {title}. Markers: EER (circle), minDCF(0.01) (square), minDCF(0.001) "
                    "(triangle); on the edge where there is no such error. Bands: 95 % over speakers.",
                )
            )
    legend = page.legend({system: run.colour[system] for system in curves}, dashed)
    return f"<h3>Trade-off of misses and false alarms</h3>{legend}{page.figures(panels, wide=True)}"


def _histograms(run: Run, name: str) -> str:
    thresholds = {f"p={p:g}": bayes_threshold(p) for p in DECISION_PRIORS}
    panels = []
    for system in (system for system in entries(run.results, name) if calibrated(system)):
        base = system.rpartition("+")[0]
        for kind, each in (("before", base), ("after", system)):
            if each in run.metrics and not each.startswith("fusion:") or kind == "after":
                drawing = figures.histogram(run.metrics[each]["scores"][name], thresholds, run.colour[each])
                panels.append(
                    page.figure(
                        figures.svg(drawing, f"hist-{name}-{system}-{kind}", f"scores of {each}", (4.2, 2.3)),
                        f"{each}: {kind} calibration",
                    )
                )
    if not panels:
        return ""
    return (
        "<h3>Scores before and after calibration</h3>"
        + page.paragraph(
            "Filled: targets; outline: nontargets. Dotted: the thresholds that follow from a prior of 0.5 and 0.1 at "
            "equal costs, if "
            "scores are log-likelihood ratios.",
            "soft",
        )
        + page.figures(panels, wide=True)
    )


def _duration(run: Run, name: str) -> str:
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
        panels.append(
            page.figure(
                figures.svg(drawing, f"by-{name}-{column}", f"EER by {column}", (4.2, 2.8)),
                f"EER by {column.replace('_', ' ')}.{note}",
            )
        )
    plain = {system: run.colour[system] for system in entries(run.results, name) if not is_variant(system)}
    return (
        f"<h3>EER by duration and number of recordings</h3>{page.legend(plain)}{page.figures(panels)}" if panels else ""
    )


def list_section(run: Run, name: str) -> Section:
    """The results on one trial list."""
    parts = [
        page.paragraph(f"{class_counts(run.results, name)}."),
        page.table(report.main_table(run.results, name), classes=_classes(run, name)),
        page.paragraph(" ".join(report.definitions(run.results)), "note"),
        _intervals(run, name),
    ]
    if paper_rows(run.results["corpus"], name):
        parts.append(
            page.paragraph("Why ours and the paper's differ:") + page.listing(differences(run.results["corpus"]))
        )
    for title, table in tables.tables(run.results, name):
        block = page.table(table) + page.paragraph(tables.MEANING[title], "note")
        parts.append(page.details(title, block) if title in FOLDED else f"<h3>{escape(title)}</h3>{block}")
    parts += [_det(run, name), _histograms(run, name), _duration(run, name)]
    by = [
        page.table(report.by_table(run.results, name, column), f"EER % by {column}")
        for column in report.columns_of(run.results, name)
    ]
    note = page.paragraph(tables.COLUMNS, "note")
    return (
        f"list-{name}",
        f"Results: {name}",
        "".join(parts) + (page.details("EER by every column of the trials", page.tables(by) + note) if by else ""),
    )
