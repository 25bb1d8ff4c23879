"""report.html: everything a run has to show, on one page. Tables come from report.py and report_tables.py, cell by cell
those of RESULTS.md; what the run left about itself from run_facts.py; drawings from figures.py."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Mapping

import numpy as np

from pyasp import figures, page, report, report_tables, run_facts, usage
from pyasp.llr import DECISION_PRIORS, bayes_threshold
from pyasp.paper import differences, paper_rows
from pyasp.report import Results, class_counts, cost, entries, list_names, percent
from pyasp.report_tables import HALVES, calibrated, is_variant

MARKERS = {"eer": "o", "0.01": "s", "0.001": "^"}
Section = tuple[str, str, str]      # anchor, title, HTML


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
        return {name: own.get(name) or own.get(name.partition("+")[0], figures.PALETTE[-1]) for name in self.results["systems"]}


# ---------------------------------------------------------------- results of one list

def _classes(run: Run, name: str) -> dict[str, str]:
    """{first cell: class of the row} of a main table."""
    found = entries(run.results, name)
    best = min(found, key=lambda system: found[system]["eer"])
    paper = {f"{system} (paper)": "paper" for system in found}
    return {**paper, **{system: "variant" for system in found if "+" in system and not system.startswith("fusion:")},
            best: "best"}


def _operating_points(entry: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """(marker, P_fa, P_miss) of the EER and of the minDCFs."""
    places = [("eer", entry["errors"]["eer"]), *entry["errors"]["min_dcf"].items()]
    return [(MARKERS.get(key, "v"), each["false_alarms"] / entry["n_nontarget"], each["misses"] / entry["n_target"])
            for key, each in places if each]


def _intervals(run: Run, name: str) -> str:
    """EER of the systems that are not merely recalibrated, with intervals and the paper's values."""
    paper = paper_rows(run.results["corpus"], name)
    rows = [(system, entry["eer"], entry.get("ci", {}).get("eer"), paper[system].eer if system in paper else None,
             run.colour[system]) for system, entry in entries(run.results, name).items()
            if not calibrated(system) or system.startswith("fusion:")]
    drawing = figures.svg(figures.intervals(rows), f"eer-{name}", f"EER of {name}", (5.2, 0.9 + 0.24 * len(rows)))
    return page.figures([page.figure(drawing, "EER; bars: 95 % intervals over speakers (as in the table of intervals)."
                                     + (" Hollow diamonds: the paper." if paper else ""))], wide=True)


def _det(run: Run, name: str) -> str:
    found = {system: entry for system, entry in entries(run.results, name).items()
             if not calibrated(system) or system.startswith("fusion:")}
    dashed = {system for system in found if is_variant(system) and not system.startswith("fusion:")}
    curves = {system: run.metrics[system]["det"][name] for system in found}
    panels = []
    for number, (title, chosen) in enumerate((("the paper's systems and fusions", [s for s in found if s not in dashed]),
                                              ("variants (dashed) beside what they were made from",
                                               [s for s in found if s in dashed or any(d.startswith(f"{s}+") for d in dashed)]))):
        if chosen:
            points = {system: _operating_points(found[system]) for system in chosen}
            drawing = figures.det({system: curves[system] for system in chosen}, points, run.colour, dashed)
            panels.append(page.figure(figures.svg(drawing, f"det-{name}-{number}", f"DET curves of {name}", (4.6, 4.3)),
                                      f"DET curves: {title}. Markers: EER (circle), minDCF(0.01) (square), minDCF(0.001) "
                                      "(triangle). Bands: 95 % over speakers."))
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
                panels.append(page.figure(figures.svg(drawing, f"hist-{name}-{system}-{kind}", f"scores of {each}", (4.2, 2.3)),
                                          f"{each}: {kind} calibration"))
    if not panels:
        return ""
    return ("<h3>Scores before and after calibration</h3>" + page.paragraph(
        "Filled: targets; outline: nontargets. Dotted: the thresholds that follow from a prior of 0.5 and 0.1 at equal costs, if "
        "scores are log-likelihood ratios.", "soft") + page.figures(panels, wide=True))


def _duration(run: Run, name: str) -> str:
    columns = report.columns_of(run.results, name)
    panels = []
    for column in (column for column in ("duration_class", "test_seconds", "enroll_seconds", "enroll_utts") if column in columns):
        groups = {system: entry["by"][column] for system, entry in entries(run.results, name).items()
                  if column in entry["by"] and not is_variant(system)}
        values = sorted({value for each in groups.values() for value in each}, key=report.numeric)
        ours = {system: [each.get(value, {}).get("eer") for value in values] for system, each in groups.items()}
        rows = paper_rows(run.results["corpus"], name) if column == "duration_class" else {}
        paper = {system: [rows[system].by_duration.get(value.removesuffix("s").strip()) for value in values]
                 for system in groups if system in rows}
        note = " Hollow diamonds: the paper." if paper else ""
        drawing = figures.by_class(values, ours, paper, run.colour, column.replace("_", " "))
        panels.append(page.figure(figures.svg(drawing, f"by-{name}-{column}", f"EER by {column}", (4.2, 2.8)),
                                  f"EER by {column.replace('_', ' ')}.{note}"))
    plain = {system: run.colour[system] for system in entries(run.results, name) if not is_variant(system)}
    return f"<h3>EER by duration and number of recordings</h3>{page.legend(plain)}{page.figures(panels)}" if panels else ""


def _list(run: Run, name: str) -> Section:
    """The results on one trial list."""
    parts = [page.paragraph(f"{class_counts(run.results, name)}."),
             page.table(report.main_table(run.results, name), classes=_classes(run, name)), _intervals(run, name)]
    if paper_rows(run.results["corpus"], name):
        parts.append(page.paragraph("Why ours and the paper's differ:") + page.listing(differences(run.results["corpus"])))
    folded = ("Errors", "95 %")
    for title, table in report_tables.tables(run.results, name):
        block = page.table(table)
        parts.append(page.details(title, block) if title.startswith(folded) else f"<h3>{page.escape(title)}</h3>{block}")
    parts += [_det(run, name), _histograms(run, name), _duration(run, name)]
    by = "".join(page.table(report.by_table(run.results, name, column), f"EER % by {column}")
                 for column in report.columns_of(run.results, name))
    return f"list-{name}", f"Results: {name}", "".join(parts) + (page.details("EER by every column of the trials", by) if by else "")


# ---------------------------------------------------------------- the rest of the run

def _cards(run: Run, name: str) -> list[tuple[str, str, str]]:
    """Of one list: the best single system, the best fusion, the best calibration."""
    everything = entries(run.results, name)
    groups = {"lowest EER of a single system": [system for system in everything if not is_variant(system)],
              "fusion": [system for system in everything if system.startswith("fusion:")]}
    cards = []
    for title, names in groups.items():
        if names:
            best = min(names, key=lambda system: everything[system]["eer"])
            ci = report_tables.between(everything[best].get("ci", {}).get("eer"), percent)
            cards.append((f"{name}: {title}", f"{percent(everything[best]['eer'])} %", f"{best}; 95 %: {ci}"))
    rows = {system: entry["by"].get(HALVES, {}).get("disjoint") or entry for system, entry in everything.items() if calibrated(system)}
    if rows:
        best = min(rows, key=lambda system: rows[system]["calibration"]["cllr"] or np.inf)
        found = rows[best]["calibration"]
        cards.append((f"{name}: lowest Cllr", cost(found["cllr"]), f"{best}; min Cllr {cost(found['min_cllr'])}"))
    return cards


def _overview(run: Run) -> Section:
    names = list_names(run.results)
    note = "The paper's rows stand beside ours." if any(paper_rows(run.results["corpus"], name) for name in names) else (
        "These are results of this corpus alone: none of them answers a table of the paper.")
    return ("overview", "At a glance", page.cards(card for name in names for card in _cards(run, name))
            + page.paragraph(note, "soft"))


def _training(run: Run) -> list[Section]:
    curves, likelihoods, panels = run_facts.training_curves(run.exp), run_facts.likelihoods(run.exp), []
    colour = {**figures.colours(list(curves)), **{name: value for name, value in run.colour.items() if name in curves}}
    for title, keys, log in (("loss: training (solid) and validation (dashed), nats", ("loss", "valid_loss"), False),
                             ("validation accuracy, share of the recordings", ("valid_accuracy",), False),
                             ("learning rate", ("learning_rate",), True)):
        lines = {f"{system}-{key}": ([row["epoch"] for row in rows], [row[key] for row in rows], colour[system], style)
                 for system, rows in curves.items() for key, style in zip(keys, ("-", "--")) if all(key in row for row in rows)}
        if lines:
            drawing = figures.lines(lines, "epoch", title.partition(":")[0].partition(",")[0], log)
            panels.append(page.figure(figures.svg(drawing, f"train-{keys[0]}", title, (4.2, 2.8)), f"Networks: {title}."))
    networks, panels = page.legend(colour) + page.figures(panels) if panels else "", []
    for number, (title, values) in enumerate(likelihoods.items()):
        unit = "objective a frame" if title == "extractor" else "log-likelihood a frame"
        drawing = figures.lines({title: (list(range(1, len(values) + 1)), values, figures.PALETTE[number], "-")}, "iteration", unit)
        panels.append(page.figure(figures.svg(drawing, f"em-{number}", title, (4.2, 2.5)),
                                  f"{title}: {unit}, from {values[0]:.3f} to {values[-1]:.3f}."))
    content = networks + ("<h3>UBM and extractor</h3>" + page.figures(panels) if panels else "")
    return [("training", "Training", content)] if content else []


def _data(run: Run) -> Section:
    seconds = run_facts.durations(run.data)
    parts = [page.table(run_facts.data_table(run.data))]
    if table := run_facts.dropped_table(run.data):
        parts.append(page.table(table, "Dropped, and why"))
    if seconds:
        colour = figures.colours(list(seconds))
        drawing = figures.svg(figures.duration_histograms(seconds, colour), "durations", "durations", (4.6, 2.6))
        parts.append(page.legend(colour) + page.figures([page.figure(drawing, "Durations of the recordings.")]))
    if "training_copies" in run.results:
        parts.append("<h3>Training copies</h3>" + page.paragraph(f"{run.results['training_copies']}."))
    return "data", "Data", "".join(parts) + page.paragraph("voiced %: share of the 10 ms frames that the energy VAD keeps.", "soft")


def _attention(run: Run) -> list[Section]:
    path = run.exp / "attention.npz"
    if not path.is_file():
        return []
    with np.load(path, allow_pickle=False) as stored:
        systems, utts = stored["systems"].tolist(), stored["utterances"].tolist()
        colour, panels = {name: run.colour.get(name, figures.PALETTE[k]) for k, name in enumerate(systems)}, []
        for number, utt in enumerate(utts):
            drawing = figures.attention(stored[f"{number}/spectrogram"], stored[f"{number}/voiced"],
                                        float(stored[f"{number}/highest"]), {name: stored[f"{number}/{name}"] for name in systems},
                                        colour)
            panels.append(page.figure(figures.svg(drawing, f"attention-{number}", f"attention on {utt}", (5.2, 3.6)), utt))
    text = ("Test recordings drawn by seed. Above: spectrogram. Below: the weight of each frame times their number (1, dotted: what "
            "a plain mean gives); shaded: frames that the VAD keeps, the only ones with a weight.")
    return [("attention", "Where the attention looks", page.paragraph(text) + page.legend(colour) + page.figures(panels, wide=True))]


def _run(run: Run) -> Section:
    parts, rows = [], usage.by_stage(run.exp)
    if table := run_facts.usage_table(rows):
        parts.append(page.table(table, "Time and memory by stage, runs and resumptions added up; peak: the largest process"))
    facts = [["seed of", "value"], *([name, str(seed)] for name, seed in run_facts.seeds(run.exp, run.data).items())]
    parts.append(page.table(facts, "Seeds") if len(facts) > 1 else "")
    versions = [["package", "version"], *map(list, run_facts.versions(run.exp).items())]
    parts.append(page.table(versions, "Versions") if len(versions) > 1 else "")
    parts += [page.details(name, page.preformatted(text)) for name, text in run_facts.options(run.exp, run.conf)]
    return "run", "The run: times, seeds, versions, options", "".join(parts)


def document(run: Run) -> str:
    """The whole page."""
    systems, corpus = run.results["systems"], run.results["corpus"]
    plain = [name for name in systems if not is_variant(name)]
    lead = (f"Systems of Okabe et al. 2018 (attentive statistics pooling): {len(plain)}; variants of them: {len(systems) - len(plain)}; "
            f"trial lists: {len(list_names(run.results))}. Run: {run.exp}.")
    definitions = page.listing([*report.definitions(run.results), *report_tables.notes(run.results)])
    sections = [_overview(run), *(_list(run, name) for name in list_names(run.results)), *_attention(run), *_training(run),
                _data(run), ("definitions", "What the numbers are", definitions), _run(run)]
    return page.page(f"Speaker verification on {corpus}", lead, sections,
                     "The same numbers: RESULTS.md as text, results.json unrounded. This page needs no network.")
