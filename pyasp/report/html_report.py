"""report.html: everything a run has to show, on one page. Tables come from report.py and report_tables.py, cell by cell
those of RESULTS.md; what the run left about itself from run_facts.py; drawings from figures.py; results of a list from
html_list.py."""

from __future__ import annotations

import numpy as np

from pyasp.core import usage
from pyasp.core.text import cost, percent
from pyasp.report import facts as run_facts
from pyasp.report import figures, page, tables
from pyasp.report.html_list import Run, Section, list_section
from pyasp.report.paper import paper_rows
from pyasp.report.results import entries, list_names
from pyasp.report.tables import HALVES, calibrated, is_variant


def _cards(run: Run, name: str) -> list[tuple[str, str, str]]:
    """Of one list: the best single system, the best fusion, the best calibration."""
    everything = entries(run.results, name)
    groups = {
        "lowest EER of a single system": [system for system in everything if not is_variant(system)],
        "fusion": [system for system in everything if system.startswith("fusion:")],
    }
    cards = []
    for title, names in groups.items():
        if names:
            best = min(names, key=lambda system: everything[system]["eer"])
            ci = tables.between(everything[best].get("ci", {}).get("eer"), percent)
            cards.append((f"{name}: {title}", f"{percent(everything[best]['eer'])} %", f"{best}; 95 %: {ci}"))
    rows = {
        system: entry["by"].get(HALVES, {}).get("disjoint") or entry
        for system, entry in everything.items()
        if calibrated(system)
    }
    if rows:
        best = min(rows, key=lambda system: rows[system]["calibration"]["cllr"] or np.inf)
        found = rows[best]["calibration"]
        cards.append((f"{name}: lowest Cllr", cost(found["cllr"]), f"{best}; min Cllr {cost(found['min_cllr'])}"))
    return cards


def _overview(run: Run) -> Section:
    names = list_names(run.results)
    note = (
        "The paper's rows stand beside ours."
        if any(paper_rows(run.results["corpus"], name) for name in names)
        else ("These are results of this corpus alone: none of them answers a table of the paper.")
    )
    return (
        "overview",
        "At a glance",
        page.cards(card for name in names for card in _cards(run, name)) + page.paragraph(note, "soft"),
    )


def _training(run: Run) -> list[Section]:
    curves, likelihoods, panels = run_facts.training_curves(run.exp), run_facts.likelihoods(run.exp), []
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
            panels.append(
                page.figure(figures.svg(drawing, f"train-{keys[0]}", title, (4.2, 2.8)), f"Networks: {title}.")
            )
    networks, panels = page.legend(colour) + page.figures(panels) if panels else "", []
    for number, (title, values) in enumerate(likelihoods.items()):
        unit = "objective a frame" if title == "extractor" else "log-likelihood a frame"
        drawing = figures.lines(
            {title: (list(range(1, len(values) + 1)), values, figures.PALETTE[number], "-")}, "iteration", unit
        )
        panels.append(
            page.figure(
                figures.svg(drawing, f"em-{number}", title, (4.2, 2.5)),
                f"{title}: {unit}, from {values[0]:.3f} to {values[-1]:.3f}.",
            )
        )
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
    return (
        "data",
        "Data",
        "".join(parts) + page.paragraph("voiced %: share of the 10 ms frames that the energy VAD keeps.", "soft"),
    )


def _attention(run: Run) -> list[Section]:
    path = run.exp / "attention.npz"
    if not path.is_file():
        return []
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
            panels.append(
                page.figure(figures.svg(drawing, f"attention-{number}", f"attention on {utt}", (4.6, 3.4)), utt)
            )
    text = (
        "Test recordings drawn by seed. Above: spectrogram. Below: the weight of each frame times their number (1, "
        "dotted: what "
        "a plain mean gives); shaded: frames that the VAD keeps, the only ones with a weight."
    )
    return [
        (
            "attention",
            "Where the attention looks",
            page.paragraph(text) + page.legend(colour) + page.figures(panels, wide=True),
        )
    ]


def _run(run: Run) -> Section:
    parts, rows = [], usage.by_stage(run.exp)
    if table := run_facts.usage_table(rows):
        parts.append(
            page.table(table, "Time and memory by stage, runs and resumptions added up; peak: the largest process")
        )
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
    lead = (
        f"Systems of Okabe et al. 2018 (attentive statistics pooling): {len(plain)}; variants of them: "
        f"{len(systems) - len(plain)}; "
        f"trial lists: {len(list_names(run.results))}. Run: {run.exp}."
    )
    variants = page.listing(tables.variant_notes(run.results))
    sections = [
        _overview(run),
        *(list_section(run, name) for name in list_names(run.results)),
        *_attention(run),
        *_training(run),
        _data(run),
        *([("variants", "What the variants are", variants)] if len(plain) < len(systems) else []),
        _run(run),
    ]
    return page.page(
        f"Speaker verification on {corpus}",
        lead,
        sections,
        "The same numbers: RESULTS.md as text, results.json unrounded. This page needs no network.",
    )
