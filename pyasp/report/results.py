"""Results for people and programs: results.json, RESULTS.md, report.html, the table on screen, det.png.

results.json holds the numbers as computed; RESULTS.md, report.html and the screen show the same cells, rounded once,
here and in `tables`. The paper's figures stand beside ours only on the paper's own trials (`paper`).
"""

import math
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from pyasp.backend.variants import CALIBRATIONS
from pyasp.core.text import Table, as_markdown, as_text, cost, percent
from pyasp.evaluation.llr import (
    MARK,
    Entries,
    Entry,
    classes_text,
    eer_text,
    marked,
    metrics_table,
    priors_of,
    trials_text,
)
from pyasp.report.paper import PAPER, PaperRow, paper_rows

Results = Mapping[str, Any]  # {"corpus": ..., "systems": {system: {"trials": {list: entry}}}}, schema of results.json
Tables = Iterable[tuple[str, Table]]  # with their titles

BY_COSINE = "scored by cosine"  # said of what --scoring=auto chose
PAPER_ORDER = tuple(PAPER["voxceleb"][1])  # of the systems in the paper's tables
TIMES = (
    "Runs and resumptions are added up; what the report itself takes is not in it. waiting: wall-clock seconds in "
    "which not even one processor was used; hidden: those in which a longer stage ran too, so that the run would be "
    "no shorter without them, and their share; peak MB: of the largest process (several may run at the same time)."
)
DURATION_LIMITS = (
    "SRE12 duration classes: nearest of 30 / 100 / 300 s in log duration of the header's length "
    "(limits 54.8 and 173.2 s)."
)


def place(system: str) -> tuple[int, int, int, str]:
    """Sort key of a system: those of the paper in its order and others by name, then variants, then fusions."""
    base, *steps = system.removeprefix("fusion:").split("+")
    order = PAPER_ORDER.index(base) if base in PAPER_ORDER else len(PAPER_ORDER)
    return 2 if system.startswith("fusion:") else int(bool(steps)), order, len(steps), system


def list_names(results: Results) -> list[str]:
    """Every trial list of any system, sorted."""
    return sorted({name for system in results["systems"].values() for name in system["trials"]})


def entries(results: Results, trial_list: str) -> dict[str, dict[str, Any]]:
    """{system: entry} of the systems that scored a list."""
    return {
        name: system["trials"][trial_list]
        for name, system in results["systems"].items()
        if trial_list in system["trials"]
    }


def is_variant(system: str) -> bool:
    """True of what was made from a system of the paper."""
    return "+" in system or ":" in system


def plain(systems: Iterable[str]) -> list[str]:
    """Those of some systems that are no variant."""
    return [system for system in systems if not is_variant(system)]


def lowest(found: Entries, systems: Iterable[str]) -> str:
    """Which of some systems has the lowest EER; found: {system: entry}."""
    return min(systems, key=lambda system: found[system]["eer"])


def paper_durations(row: PaperRow, values: Iterable[str]) -> list[float | None]:
    """The paper's EERs for the values of the column `duration_class`."""
    return [row.by_duration.get(value.removesuffix("s").strip()) for value in values]


def main_table(results: Results, trial_list: str) -> Table:
    """One list: system, EER, one minDCF a prior, trials; a row labelled "paper" follows where the paper has one."""
    ours, paper = entries(results, trial_list), paper_rows(results["corpus"], trial_list)
    header, *rows = metrics_table("system", ours)
    table = [header]
    for system, row in zip(ours, rows):
        table.append(row)
        if system in paper:
            costs = (cost(paper[system].min_dcf.get(prior)) for prior in priors_of(ours))
            table.append([f"{system} (paper)", percent(paper[system].eer), *costs, ""])
    return table


def numeric(value: str) -> tuple[float, str]:
    """Order of the values of a column: by their first number ('<2', '2-5', '100'), then words."""
    found = re.match(r"<?(\d+(\.\d+)?)", value)
    return (float(found[1]) - value.startswith("<") if found else float("inf")), value


def by_column(found: Entries, column: str) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """{system: {value: entry}} of one column, and its values in order; found: {system: entry}."""
    groups = {system: entry["by"][column] for system, entry in found.items() if column in entry.get("by", {})}
    return groups, sorted({value for each in groups.values() for value in each}, key=numeric)


def by_table(results: Results, trial_list: str, column: str) -> Table:
    """EER in percent by the values of one column of a list; the paper's rows for its duration classes."""
    ours, values = by_column(entries(results, trial_list), column)
    paper = paper_rows(results["corpus"], trial_list) if column == "duration_class" else {}
    table = [["system", *values]]
    for system, groups in ours.items():
        table.append([system, *(eer_text(groups.get(value, {})) for value in values)])
        if system in paper and paper[system].by_duration:
            table.append([f"{system} (paper)", *map(percent, paper_durations(paper[system], values))])
    groups = next(iter(ours.values()), {})
    counts = (groups.get(value, {"n_target": 0, "n_nontarget": 0}) for value in values)
    return [*table, ["trials", *map(trials_text, counts)]]


def columns_of(results: Results, trial_list: str) -> list[str]:
    """Columns by which a list's results are broken down, sorted."""
    return sorted({column for entry in entries(results, trial_list).values() for column in entry.get("by", {})})


def every_entry(results: Results) -> Iterator[Entry]:
    """The entries of all systems and lists, and of all their parts by columns."""
    for name in list_names(results):
        for entry in entries(results, name).values():
            yield entry
            yield from (part for groups in entry.get("by", {}).values() for part in groups.values())


def definitions(results: Results) -> list[str]:
    """What each printed number is, with the first figure of the report as the example."""
    first = next(iter(entries(results, list_names(results)[0]).values()))
    example = f"EER {eer_text(first)} % ({trials_text(first)} trials)"
    lines = [f"EER: equal error rate by the rule of Kaldi's compute-eer, e.g. {example}."]
    lines += [MARK] if any(marked(entry) for entry in every_entry(results)) else []
    lines += [
        f"minDCF({prior}): minDCF(p={prior}, C_miss=1, C_fa=1, normalised), the least of (p P_miss + (1-p) P_fa)"
        " / min(p, 1-p) over all distinct thresholds and reject-all."
        for prior in first["min_dcf"]
    ]
    if any("duration_class" in columns_of(results, name) for name in list_names(results)):
        lines.append(DURATION_LIMITS)
    if any(paper_rows(results["corpus"], name) for name in list_names(results)):
        lines.append('Rows marked "paper": Okabe et al., Interspeech 2018, as printed there.')
    return lines


def class_counts(results: Results, trial_list: str) -> str:
    """'800 target and 3 200 nontarget trials'."""
    return classes_text(next(iter(entries(results, trial_list).values())))


def trials_in_words(results: Results, trial_list: str) -> str:
    """How many trials there are, and of drawn ones how hard they are, as sentences."""
    drawn = f" Drawn: {results['drawn_trials']}." if "drawn_trials" in results else ""
    return f"{class_counts(results, trial_list)}.{drawn}"


def next_step(results: Results, where: str, trials: str, system: str) -> str:
    """The commands that use a system: one that decides, so cosines without a calibration get one first."""
    told = (what for place, what in results.get("losses", ()) if system in re.split(", | and ", place))
    calibrated = any(f"{system}+{step}" in results["systems"] for step in CALIBRATIONS)
    first, option = "", ""
    if not calibrated and any(BY_COSINE in what for what in told):
        name = list_names(results)[0]
        first = f"pyasp evaluate --calibration map.json {trials}/{name} {where}/{system}/scores/{name}; "
        option = "--calibration map.json "
    return f"{first}pyasp bundle {option}{where}/{system} model; pyasp verify --model model A.wav -- B.wav"


def screen(results: Results, where: str, trials: str) -> str:
    """The report on screen: what was lost, EER by duration class where there is one, a table a list of the systems
    without variants and fusions, and where the rest is. where: the experiment's directory; trials: the lists'."""
    names = list_names(results)
    shown = plain(results["systems"]) or list(results["systems"])
    lost = [f"- {place}: {what}" for place, what in results.get("losses", ())]
    blocks = ["\n".join(["Worth knowing", *lost])] if lost else []
    for name in (name for name in names if "duration_class" in columns_of(results, name)):
        table = as_text(rows_of(by_table(results, name, "duration_class"), shown))
        blocks.append(f"{results['corpus']} {name}: EER % by duration class (seconds)\n{table}")
    for name in names:
        table = as_text(rows_of(main_table(results, name), shown))
        blocks.append(f"{results['corpus']} {name}: {class_counts(results, name)}\n{table}")
    others = len(results["systems"]) - len(shown)
    more = f"{others} variants and fusions, intervals, calibration" if others else "Intervals, calibration"
    best = min(shown, key=lambda system: entries(results, names[0]).get(system, {}).get("eer", math.inf))
    blocks += [
        "\n".join(definitions(results)),
        f"{more} and more tables: {where}/RESULTS.md\n"
        f"The report, with pictures: {where}/report.html\n"
        f"Next, use a system: {next_step(results, where, trials, best)}",
    ]
    return "\n\n".join(blocks)


def rows_of(table: Table, systems: Collection[str]) -> Table:
    """The head of a table and the rows of some systems, the paper's among them."""
    return [table[0], *(row for row in table[1:] if row[0].removesuffix(" (paper)") in systems)]


def markdown(
    results: Results, extra: Mapping[str, Tables], notes: Iterable[str], times: Sequence[list[str]] = ()
) -> str:
    """RESULTS.md: the tables of the screen, the further tables of each list, EER by every column, what was lost, each
    number's definition (`notes` are more of them), and where the time went, which no two runs have alike."""
    parts = [f"# Results: {results['corpus']}"]
    for name in list_names(results):
        parts += [f"## {name}", trials_in_words(results, name), as_markdown(main_table(results, name))]
        for title, table in extra.get(name, ()):
            parts += [f"{title}:", as_markdown(table)]
        for column in columns_of(results, name):
            parts += [f"EER % by {column}:", as_markdown(by_table(results, name, column))]
    if "losses" in results:
        parts += ["## Worth knowing", "\n".join(f"- {where}: {what}" for where, what in results["losses"])]
    if "training_copies" in results:
        parts += ["## Training copies", f"{results['training_copies']}."]
    parts += [
        "## What the numbers are",
        "\n".join(f"- {line}" for line in [*definitions(results), *notes]),
        "Unrounded figures, and `eer_rocch` (EER on the ROC convex hull), are in results.json; `-` stands for a "
        "subset without targets or without nontargets. Curves and more: report.html.",
    ]
    if len(times) > 1:
        parts += ["## Where the time goes", as_markdown(list(times)), TIMES]
    return "\n\n".join(parts) + "\n"


def merge(corpus: str, metrics: Entries) -> dict[str, Any]:
    """The content of results.json from {system: content of its metrics.json}."""
    return {"corpus": corpus, "systems": {name: {"trials": each["trials"]} for name, each in metrics.items()}}
