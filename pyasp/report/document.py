"""report.html: everything a run has to show, on one page that fetches nothing: templates/report.html filled in.

Tables come from results and tables, cell by cell those of RESULTS.md; what the run left about itself from facts;
drawings from figures. Every text is escaped by the templates.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from pyasp.core import costs
from pyasp.core.text import cost
from pyasp.evaluation.llr import DECISION_PRIORS, bayes_threshold, eer_text
from pyasp.report import facts, figures, findings, tables
from pyasp.report import results as report
from pyasp.report.paper import differences, paper_rows
from pyasp.report.results import Results, entries, is_variant, list_names
from pyasp.report.tables import calibrated

HOLLOW = " Hollow diamonds: the paper."
BESIDE = "fusions, and variants (dashed), beside what they were made from"
POINTS = """Markers: EER (circle), minDCF(0.01) (square), minDCF(0.001) (triangle); on the edge where there is no such
error. Bands: 95 % over speakers.""".replace("\n", " ")
FOLDED = (tables.INTERVALS, tables.ERRORS)  # tables that open when asked for, and in print
MARKERS = {"eer": "o", "0.01": "s", "0.001": "^"}
Panel = tuple[Markup, str, str]  # a drawing with its caption; `variants` for one behind the switch


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
    found.tests["narrow"] = lambda text: max(map(len, text.splitlines()), default=0) < 50  # it stands in two columns
    return found


def _panel(
    prefix: str, label: str, size: tuple[float, float], caption: str, draw: Callable, *drawn: Any, kind: str = ""
) -> Panel:
    """What `draw` puts on a figure of a size in inches, of `drawn`; prefix: of its ids; label: what it shows."""
    return Markup(figures.svg(lambda figure: draw(figure, *drawn), prefix, label, size)), caption, kind


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
        own, last = figures.colours(plain), figures.PALETTE[-1]
        return {name: own.get(name) or own.get(name.partition("+")[0], last) for name in self.results["systems"]}


class Section:
    """One trial list of a run: the entries of its systems, those always shown, those behind the switch, the paper's."""

    def __init__(self, run: ReportedRun, name: str):
        self.run, self.name, self.found = run, name, entries(run.results, name)
        self.paper = paper_rows(run.results["corpus"], name)
        self.plain = report.plain(self.found)
        self.hidden = [system for system in self.found if is_variant(system)] if self.plain else []


def _cards(section: Section) -> list[tuple[str, str, str]]:
    """Of one list: the best single system, the best fusion, the best calibration."""
    name, found, plain = section.name, section.found, section.plain
    networks = [system for system in plain if system != "ivector"]
    groups = {
        f"lowest EER of the {len(plain)} systems" if len(plain) > 1 else "EER": plain,
        f"lowest EER of the {len(networks)} networks": networks if 1 < len(networks) < len(plain) else [],
        "lowest EER of the fusions": [system for system in found if system.startswith("fusion:")],
    }
    cards = []
    for title, systems in groups.items():
        if systems:
            best = report.lowest(found, systems)
            ci = tables.interval(found[best])
            cards.append((f"{name}: {title}", f"{eer_text(found[best])} %", f"{best}{ci and f'; {ci}'}"))
    own = [system for system in found if calibrated(system)]
    judged = {system: tables.as_ratios(found[system]) for system in own}
    if own:
        best = min(own, key=lambda system: judged[system]["cllr"] or np.inf)
        told = judged[best]
        what = "lowest Cllr of the calibrated scores (0: perfect, 1: says nothing)"
        worse = tables.harm(found, best)
        text = f"{best}; {cost(told['min_cllr'])} possible{worse and f'. Calibration helps nothing: {worse}'}"
        cards.append((f"{name}: {what}", cost(told["cllr"]), text))
    return cards


def _classes(section: Section) -> dict[str, str]:
    """{first cell: class of its row} of a table: what the switch hides, and the paper's."""
    return {
        **{f"{system} (paper)": "paper" for system in section.found},
        **{f"{system}{end}": "variant" for system in section.hidden for end in ("", ", disjoint")},
        **{f"{tables.made_of(system)}, disjoint": "variant" for system in section.hidden},
        **{f"{a} - {b}": "variant" for a in section.hidden for b in section.found},
    }


def _operating_points(entry: Mapping[str, Any]) -> list[tuple[str, float, float]]:
    """(marker, P_fa, P_miss) of the EER and of the minDCFs."""
    places = [("eer", entry["errors"]["eer"]), *entry["errors"]["min_dcf"].items()]
    return [
        (MARKERS.get(key, "v"), each["false_alarms"] / entry["n_nontarget"], each["misses"] / entry["n_target"])
        for key, each in places
        if each
    ]


def _intervals(section: Section) -> list[Panel]:
    """EER with intervals and the paper's values: of the systems, and behind the switch of those that are not merely
    recalibrated."""
    name, found, paper, colour, panels = section.name, section.found, section.paper, section.run.colour, []
    for kind, systems in (("", section.plain), ("variants", [each for each in section.hidden if _own_curve(each)])):
        rows = []
        for each in systems:
            ends, theirs = found[each].get("ci", {}).get("eer"), paper[each].eer if each in paper else None
            rows.append((each, found[each]["eer"], ends, theirs, colour[each]))
        if rows:
            caption = f"EER{' of variants and fusions' if kind else ''}; bars: 95 % intervals over speakers."
            caption += HOLLOW if paper and not kind else ""
            size, label = (4.6, 0.9 + 0.24 * len(rows)), f"EER of {name} {kind}".strip()
            panels.append(_panel(f"eer-{name}{kind}", label, size, caption, figures.intervals, rows, kind=kind))
    return panels


def _own_curve(system: str) -> bool:
    """False where calibration alone made the scores: it moves no curve."""
    return not calibrated(system) or system.startswith("fusion:")


def det_curves(results: Results, metrics: Mapping[str, Mapping[str, Any]]) -> dict[str, figures.Curves]:
    """{list: {system: curve}} of the systems whose curve is their own; metrics: {system: its metrics.json}."""
    return {
        name: {system: metrics[system]["det"][name] for system in entries(results, name) if _own_curve(system)}
        for name in list_names(results)
    }


def _det(section: Section) -> dict[str, Any]:
    name, run = section.name, section.run
    found = {system: entry for system, entry in section.found.items() if _own_curve(system)}
    fused = [system for system in found if system.startswith("fusion:")]
    dashed = {system for system in found if is_variant(system)} - {*fused}
    bases = [s for s in found if s in dashed or any(d.startswith(f"{s}+") for d in dashed)]
    groups = {"the systems": report.plain(found), BESIDE: [*bases, *fused]}
    panels = []
    for number, (title, chosen) in enumerate(groups.items()):
        if chosen:
            points = {system: _operating_points(found[system]) for system in chosen}
            curves = {system: run.metrics[system]["det"][name] for system in chosen}
            place = f"det-{name}-{number}", f"DET curves of {name}", (4.6, 4.3), f"DET curves: {title}. {POINTS}"
            drawn = curves, run.colour, dashed, points
            panels.append(_panel(*place, figures.det, *drawn, kind="variants" if number else ""))
    return {"det": panels, "det_colour": {system: run.colour[system] for system in found}, "dashed": dashed}


def _histograms(section: Section) -> list[Panel]:
    thresholds = {f"p={p:g}": bayes_threshold(p) for p in DECISION_PRIORS}
    name, run, panels = section.name, section.run, []
    for system in (system for system in section.found if calibrated(system)):
        base = system.rpartition("+")[0]
        for kind, each in (("before", base), ("after", system)):
            if each in run.metrics and not each.startswith("fusion:") or kind == "after":
                drawn = run.metrics[each]["scores"][name], thresholds, run.colour[each]
                place = f"hist-{name}-{system}-{kind}", f"scores of {each}", (4.2, 2.3), f"{each}: {kind} calibration"
                panels.append(_panel(*place, figures.histogram, *drawn))
    return panels


def _duration(section: Section) -> list[Panel]:
    name, panels = section.name, []
    for column in ("duration_class", "test_seconds", "enroll_seconds", "enroll_utts"):
        if column not in report.columns_of(section.run.results, name):
            continue
        groups, values = report.by_column({system: section.found[system] for system in section.plain}, column)
        ours = {system: [each.get(value, {}).get("eer") for value in values] for system, each in groups.items()}
        rows = section.paper if column == "duration_class" else {}
        paper = {system: report.paper_durations(rows[system], values) for system in groups if system in rows}
        title = f"EER by {column.replace('_', ' ')}"
        drawn = values, ours, paper, section.run.colour, column.replace("_", " ")
        place = f"by-{name}-{column}", f"EER by {column}", (4.2, 2.8), f"{title}.{HOLLOW if paper else ''}"
        panels.append(_panel(*place, figures.by_class, *drawn))
    return panels


def _list(section: Section) -> dict[str, Any]:
    """What the page shows of one trial list."""
    results, name, colour = section.run.results, section.name, section.run.colour
    return {
        "name": name,
        "counts": report.trials_in_words(results, name),
        "main": report.main_table(results, name),
        "classes": _classes(section),
        "best": {report.lowest(section.found, [each for each in section.found if each not in section.hidden]): "best"},
        "hidden": section.hidden,
        "intervals": _intervals(section),
        "differences": differences(results["corpus"]) if section.paper else None,
        "tables": [
            (title, table, tables.MEANING[title], title in FOLDED) for title, table in tables.tables(results, name)
        ],
        **_det(section),
        "histograms": _histograms(section),
        "classes_of_trials": _duration(section),
        "plain_colour": {system: colour[system] for system in section.plain},
        "by": [(column, report.by_table(results, name, column)) for column in report.columns_of(results, name)],
    }


def _networks(run: ReportedRun) -> dict[str, Any]:
    curves, panels = facts.training_curves(run.exp), []
    unused = [colour for colour in figures.PALETTE if colour not in run.colour.values()] or figures.PALETTE
    others = (name for name in curves if name not in run.colour)  # trained, and not reported
    colour = {name: run.colour[name] for name in curves if name in run.colour} | dict(zip(others, unused))
    for axis, (keys, more) in figures.TRAINING.items():
        if drawn := figures.training_lines(curves, keys, colour):
            place = f"train-{keys[0]}", f"{axis}{more}", (4.2, 2.8), f"Networks: {axis}{more}."
            panels.append(_panel(*place, figures.lines, drawn, "epoch", axis, axis == "learning rate"))
    return {"colour": colour, "panels": panels}


def _em(run: ReportedRun) -> list[Panel]:
    panels = []
    for number, (title, values) in enumerate(facts.likelihoods(run.exp).items()):
        unit = "objective a frame" if title == "extractor" else "log-likelihood a frame"
        curve = list(range(1, len(values) + 1)), values, figures.PALETTE[number], "-"
        caption = f"{title}: {unit}, from {values[0]:.3f} to {values[-1]:.3f}."
        place = f"em-{number}", title, (4.2, 2.5), caption
        panels.append(_panel(*place, figures.lines, {title: curve}, "iteration", unit))
    return panels


def _durations(run: ReportedRun) -> dict[str, Any]:
    seconds = facts.durations(run.data)
    if not seconds:
        return {}
    colour = figures.colours(list(seconds))
    place = "durations", "durations", (4.6, 2.6), "Durations of the recordings."
    return {"colour": colour, "panels": [_panel(*place, figures.duration_histograms, seconds, colour)]}


def _attention(run: ReportedRun) -> dict[str, Any]:
    path = run.exp / "attention.npz"
    if not path.is_file():
        return {}
    with np.load(path, allow_pickle=False) as stored:
        systems, utts = stored["systems"].tolist(), stored["utterances"].tolist()
        colour, panels = {name: run.colour.get(name, figures.PALETTE[k]) for k, name in enumerate(systems)}, []
        for number, utt in enumerate(utts):
            weights = {name: stored[f"{number}/{name}"] for name in systems}
            image, voiced, highest = (stored[f"{number}/{what}"] for what in ("spectrogram", "voiced", "highest"))
            place, drawn = (
                (f"attention-{number}", f"attention on {utt}", (4.6, 3.4), utt),
                (image, voiced, float(highest)),
            )
            panels.append(_panel(*place, figures.attention, *drawn, weights, colour))
    return {"colour": colour, "panels": panels}


def render(run: ReportedRun) -> str:
    """The whole page."""
    results, names = run.results, list_names(run.results)
    systems, sections = results["systems"], [Section(run, name) for name in names]
    attention, networks, em = _attention(run), _networks(run), _em(run)
    variants = [name for name in systems if is_variant(name)]
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
    drawn = {"attention": attention, "networks": networks, "em": em, "durations": _durations(run)}
    lists = {"names": names, "cards": [card for section in sections for card in _cards(section)]}
    lists |= {"lists": [_list(section) for section in sections], "paper": any(section.paper for section in sections)}
    modules = {"report": report, "tables": tables, "facts": facts, "findings": findings, "costs": costs}
    page = environment().get_template("report.html")
    return page.render(run=run, results=results, variants=variants, titles=titles, **lists, **drawn, **modules)
