"""Further tables of the report: intervals, calibration, errors, comparisons of systems; cells rounded once, here.

`paired` in results.json: {list: [{"a", "b", "figure", "difference", "ci", "p"}]}, differences a - b of the same trials.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from pyasp.backend.variants import CALIBRATIONS, explained
from pyasp.core.text import Table, cost, grouped, percent
from pyasp.evaluation import bootstrap
from pyasp.evaluation.llr import DECISION_PRIORS, FEW_ERRORS, Entry, between, priors_of, trials_text
from pyasp.report import results as report
from pyasp.report.results import Results, columns_of, entries, is_variant, list_names

FIGURES = ("eer", "min_dcf/0.01", "min_dcf/0.001", "cllr")  # compared pair by pair; the table shows the first two
Judged = tuple[Entry, Mapping[str, np.ndarray]]  # a system: its entry of a list, and all its replicates
HALVES = "halves"  # column of scores calibrated on the other half of the speakers


def calibrated(system: str) -> bool:
    """True of scores that are meant to be log-likelihood ratios by training on trials."""
    return system.startswith("fusion:") or system.rpartition("+")[2] in CALIBRATIONS


def interval(entry: Entry) -> str:
    """'95 %: 4.00 to 10.88 %', of an entry's EER; nothing without an interval."""
    ends = entry.get("ci", {}).get("eer")
    return f"95 %: {between(ends, percent)} %" if ends else ""


def intervals_table(results: Results, trial_list: str) -> Table:
    """95 % intervals over speakers of EER, minDCF and Cllr; nothing where no system has any."""
    found = {name: entry["ci"] for name, entry in entries(results, trial_list).items() if "ci" in entry}
    priors = priors_of(found)
    table = [["system", "EER %", *(f"minDCF({prior})" for prior in priors), "Cllr"]]
    for system, ci in found.items():
        costs = (between(ci.get("min_dcf", {}).get(prior), cost) for prior in priors)
        halves = disjoint(entries(results, trial_list)[system])  # the draws are of all trials
        table.append(
            [system, between(ci.get("eer"), percent), *costs, between(None if halves else ci.get("cllr"), cost)]
        )
    return table if found else []


def disjoint(entry: Entry) -> Entry | None:
    """Of a system calibrated by halves: the trials whose speakers were not in its training."""
    return entry["by"].get(HALVES, {}).get("disjoint")


def as_ratios(entry: Entry) -> Entry:
    """What tells how good an entry's scores are as log-likelihood ratios: calibration of the trials whose speakers were
    not in its training, where there are others."""
    return (disjoint(entry) or entry)["calibration"]


def made_of(system: str) -> str:
    """The system that a variant was made from."""
    return system.rpartition("+")[0]


def harm(found: Mapping[str, Entry], system: str) -> str:
    """Of scores that calibration helped nothing, a Cllr above 1 or above that of the raw scores on the same trials:
    what both are; nothing of others. found: {system: entry} of a list."""
    if not calibrated(system) or as_ratios(found[system])["min_cllr"] is None:  # a class is missing
        return ""
    part, source, after = disjoint(found[system]), found.get(made_of(system)), as_ratios(found[system])["cllr"]
    raw = part.get("raw") if part else source and as_ratios(source)
    before = raw["cllr"] if raw else None
    if after is not None and round(after, 3) <= min(1.0, np.inf if before is None else round(before, 3)):
        return ""
    told = f"; {cost(before)} of the raw scores on the same trials" if raw else ""
    return f"Cllr {cost(after)}, where 1 says nothing{told}"


def calibration_rows(results: Results, trial_list: str) -> list[tuple[str, Entry]]:
    """(name, entry): every system, and for one calibrated by halves the trials whose speakers were not in its
    training, those of the raw scores first."""
    rows: list[tuple[str, Entry]] = []
    for system, entry in entries(results, trial_list).items():
        part = disjoint(entry)
        if part and "raw" in part:
            rows.append((f"{made_of(system)}, disjoint", {**part, "calibration": part["raw"]}))
        rows += [(f"{system}, disjoint", part)] if part else [(system, entry)]
    return [(name, entry) for name, entry in rows if entry.get("calibration")]


def calibration_table(results: Results, trial_list: str) -> Table:
    """Cllr, its minimum and their ratio, actual and minimum DCF at the decision priors."""
    rows = calibration_rows(results, trial_list)
    priors = [f"{prior:g}" for prior in DECISION_PRIORS]  # those of the minDCFs: in results.json
    costs = [f"{kind}DCF({prior})" for prior in priors for kind in ("act", "min")]
    table = [["system", "Cllr", "min Cllr", "ratio", *costs, "trials"]]
    for name, entry in rows:
        found = entry["calibration"]
        ratio = found["cllr"] / found["min_cllr"] if found["cllr"] is not None and found["min_cllr"] else None
        costs = [cost(found[kind][prior]) for prior in priors for kind in ("act_dcf", "min_dcf")]
        table.append([name, cost(found["cllr"]), cost(found["min_cllr"]), percent(ratio), *costs, trials_text(entry)])
    return table if rows else []


def _errors(found: Mapping[str, Any] | None) -> list[str]:
    """Misses and false alarms, marked where they are too few to tell systems apart."""
    counts = (found[key] for key in ("misses", "false_alarms")) if found else (None, None)
    return ["-" if count is None else grouped(count) + ("*" if count < FEW_ERRORS else "") for count in counts]


def errors_table(results: Results, trial_list: str) -> Table:
    """Numbers of misses and false alarms at the EER's threshold and at those of the minDCFs."""
    found = {system: entry["errors"] for system, entry in entries(results, trial_list).items()}
    priors = priors_of(found)
    places = ["EER", *(f"minDCF({prior})" for prior in priors)]
    table = [["system", *(f"{place} {kind}" for place in places for kind in ("misses", "false alarms"))]]
    for system, errors in found.items():
        counts = [errors["eer"], *(errors["min_dcf"].get(prior) for prior in priors)]
        table.append([system, *(cell for each in counts for cell in _errors(each))])
    return table


def c_primary_table(results: Results, trial_list: str) -> Table:
    """SRE12's C_primary where the list knows which nontargets are known speakers."""
    rows = [
        [system, cost(entry["c_primary"]["actual"]), cost(entry["c_primary"]["minimum"])]
        for system, entry in entries(results, trial_list).items()
        if "c_primary" in entry
    ]
    return [["system", "C_primary", "min C_primary"], *rows] if rows else []


# ---------------------------------------------------------------- comparisons


def pairs(systems: list[str], eers: Mapping[str, float]) -> list[tuple[str, str]]:
    """Which systems are compared: each with the best, each network with the best network, each variant with what it
    was made from."""
    plain = report.plain(systems)
    best = min(plain, key=lambda name: eers[name]) if plain else systems[0]
    found = [(name, best) for name in plain if name != best]
    networks = [name for name in plain if name != "ivector"]
    first = min(networks, key=lambda name: eers[name], default=best)
    found += [(name, first) for name in networks if first not in (name, best)]
    for name in (name for name in systems if is_variant(name)):
        base = best if name.startswith("fusion:") else name.rpartition("+")[0]
        found += [(name, base)] if base in systems else []
    return found


def value_of(entry: Entry, figure: str) -> float | None:
    """A figure such as `eer`, `min_dcf/0.01` or `cllr` of an entry of results.json."""
    outer, _, inner = figure.partition("/")
    found = as_ratios(entry) if outer in ("cllr", "act_dcf") else entry
    return found[outer][inner] if inner else found[outer]


def compare(a: Judged, b: Judged, trial_list: str) -> list[dict[str, Any]]:
    """The comparison of two systems on one list, a row a figure.

    Nothing when one of them has no replicates, or of other draws.
    """
    if draws_of(a[0]) != draws_of(b[0]):
        return []
    found = []
    for figure in FIGURES:
        name = f"{trial_list}/{figure}"
        if figure == "cllr" and (disjoint(a[0]) or disjoint(b[0])):
            continue  # the draws are of all trials
        ends = [value_of(entry, figure) if name in replicates else None for entry, replicates in (a, b)]
        if ends[0] is not None and ends[1] is not None:
            found.append({"figure": figure, **bootstrap.paired(a[1][name], b[1][name], ends[0] - ends[1])})
    return found


def draws_of(entry: Entry) -> tuple[Any, ...]:
    """What the bootstrap's draws of an entry follow from; Nones without any."""
    return tuple(entry.get("ci", {}).get(key) for key in ("seed", "replicates", "speakers"))


def all_pairs(results: Results, replicates: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, list[dict[str, Any]]]:
    """`paired` of results.json: every comparison that `pairs` names, on every list."""
    found: dict[str, list[dict[str, Any]]] = {}
    for name in list_names(results):
        ours = entries(results, name)
        found[name] = [
            {"a": a, "b": b, **row}
            for a, b in pairs(list(ours), {key: each["eer"] for key, each in ours.items()})
            for row in compare((ours[a], replicates[a]), (ours[b], replicates[b]), name)
        ]
    return {name: rows for name, rows in found.items() if rows}


def probability(p: float | None) -> str:
    """A p value with three decimals, or that it is smaller; '-' where there is none."""
    return "-" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}"


def _shown(figure: str) -> tuple[str, Any]:
    """Heading and rounding of a figure's differences."""
    if figure == "eer":
        return "EER, points", lambda x: f"{x:+.2f}"
    return figure.replace("min_dcf/", "minDCF "), lambda x: f"{x:+.3f}"


def paired_table(rows: list[Mapping[str, Any]]) -> Table:
    """Differences of systems on the same trials: value, interval and p of each figure."""
    figures = [figure for figure in FIGURES[:2] if any(row["figure"] == figure for row in rows)]
    table = [["system minus other", *(cell for figure in figures for cell in (_shown(figure)[0], "95 %", "p"))]]
    for a, b in dict.fromkeys((row["a"], row["b"]) for row in rows):
        cells = [f"{a} - {b}"]
        for figure in figures:
            row = next((row for row in rows if (row["a"], row["b"], row["figure"]) == (a, b, figure)), None)
            show = _shown(figure)[1]
            cells += [show(row["difference"]), between(row["ci"], show), probability(row["p"])] if row else ["-"] * 3
        table.append(cells)
    return table if rows else []


# ---------------------------------------------------------------- together

# {title of a table: what its numbers are}
INTERVALS = "95 % intervals (bootstrap over speakers)"
CALIBRATION = "As log-likelihood ratios: calibration"
PRIMARY = "SRE12's C_primary"
PAIRED = "Differences on the same trials"
ERRORS = "Errors in numbers of trials (* fewer than 30: no ground to rank systems)"
NO_INTERVAL = (
    "-: none can be had, since more than a twentieth of the draws of so few speakers lack targets or nontargets."
)
MEANING = {
    INTERVALS: "Intervals: speakers drawn with replacement, a trial weighing as often as both its speakers were drawn; "
    f"percentiles 2.5 and 97.5. {NO_INTERVAL}",
    CALIBRATION: "Cllr: mean over targets of log2(1 + exp(-s)) plus mean over nontargets of log2(1 + exp(s)), halved, "
    "of scores s taken as natural-log likelihood ratios: 0 is perfect, 1 says nothing. min Cllr: after the best map "
    "that keeps the scores' order (ROC convex hull); ratio: Cllr / min Cllr. actDCF(p): (p P_miss + (1-p) P_fa) / "
    "min(p, 1-p) of decisions at the threshold ln((1-p)/p), C_miss = C_fa = 1; minDCF(p): at the best threshold. "
    "disjoint: trials of two speakers of one half, calibrated by the model trained on the other half; trials across "
    "the halves are left out. The same trials of the system itself show what calibration did.",
    PRIMARY: "C_primary: mean of the DCFs at p = 0.01 and 0.001 with false alarms half of known and half of unknown "
    "nontarget speakers; at the thresholds ln 99 and ln 999, and (min) at the best ones.",
    PAIRED: "Differences: A - B of the same draws as the intervals; p: two-sided, from the share of draws on the other "
    f"side of zero. {NO_INTERVAL}",
    ERRORS: "Errors: targets rejected (misses) and nontargets accepted (false alarms) at the threshold of the EER and "
    "at those of the minDCFs.",
}
COLUMNS = (
    "Columns: EER of the trials that share a value, by the columns of the trial list and by what is known of its "
    "sides: enroll_utts: recordings of a model; enroll_seconds, test_seconds: seconds of audio, of all of a "
    "model's recordings and of the test recording; others: the corpus's own, mixed where a model's recordings "
    "disagree."
)


def tables(results: Results, trial_list: str) -> list[tuple[str, Table]]:
    """Every further table of a list with its title, a key of MEANING; empty ones left out."""
    found = {
        INTERVALS: intervals_table(results, trial_list),
        CALIBRATION: calibration_table(results, trial_list),
        PRIMARY: c_primary_table(results, trial_list),
        PAIRED: paired_table(results.get("paired", {}).get(trial_list, [])),
        ERRORS: errors_table(results, trial_list),
    }
    return [(title, table) for title, table in found.items() if len(table) > 1]


def variant_notes(results: Results) -> list[str]:
    """What each kind of variant is."""
    kinds = {
        name if name.startswith("fusion:") else name[name.index("+") :]: explained(name)
        for name in results["systems"]
        if is_variant(name)
    }
    return [f"{kind}: {text}." for kind, text in kinds.items()]


def notes(results: Results) -> list[str]:
    """Definitions of the numbers of the tables that these results have, and of the variants."""
    shown = {title for name in list_names(results) for title, _ in tables(results, name)}
    split = [COLUMNS] if any(columns_of(results, name) for name in list_names(results)) else []
    return [*(text for title, text in MEANING.items() if title in shown), *split, *variant_notes(results)]
