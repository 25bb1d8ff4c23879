"""How good scores are as log-likelihood ratios, and what decisions taken from them cost.

References: Brümmer and du Preez, "Application-independent evaluation of speaker detection" (2006) (Cllr, min Cllr by
pool-adjacent-violators, the same as the ROC's convex hull); NIST, "The 2012 speaker recognition evaluation plan"
(C_primary).

Symbols
  t  (n,)  target scores, ascending; u  (m,)  nontarget scores, ascending; both natural-log likelihood ratios
  p        prior of a target; Bayes threshold  x = log(C_fa (1 - p) / (C_miss p)): accept when score >= x
  actual DCF = (C_miss p P_miss(x) + C_fa (1 - p) P_fa(x)) / min(C_miss p, C_fa (1 - p))
  Cllr = (mean over t of log2(1 + exp(-t)) + mean over u of log2(1 + exp(u))) / 2      0 perfect, 1 says nothing
  min Cllr: Cllr after the best map of the scores that never falls
  C_primary = mean over p in (0.01, 0.001) of the DCF with P_fa = P_known P_fa(known) + (1 - P_known) P_fa(unknown)
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from pyasp.core.errors import InputError
from pyasp.core.text import Table, grouped, percent
from pyasp.core.text import cost as cost_text
from pyasp.evaluation import metrics
from pyasp.evaluation.metrics import COSTS, ErrorCounts, blocks, check_point, errors_at, lowest

Entry = Mapping[str, Any]  # of results.json: the figures of a system on a list, or on a part of it
Entries = Mapping[str, Entry]  # by system, or by list

DECISION_PRIORS = (0.5, 0.1)  # priors at which actual costs are reported, beside those of minDCF
P_KNOWN = 0.5  # SRE12: share of nontargets spoken by speakers known to the system
FEW_ERRORS = 30  # Doddington's rule: fewer errors say little
TIED = 0.1  # share by which the two EERs differ where ties decide; 200 draws of Gaussians with 34 errors: 0.09 at most


def bayes_threshold(p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
    """The log-likelihood ratio from which accepting costs least. InputError on a point that is none."""
    check_point(p_target, c_miss, c_fa)
    return float(np.log(c_fa * (1 - p_target)) - np.log(c_miss * p_target))


def actual_dcf(t: np.ndarray, u: np.ndarray, p_target: float, c_miss: float = 1.0, c_fa: float = 1.0) -> float:
    """Normalised cost of decisions at the Bayes threshold; t, u: sorted scores (natural-log likelihood ratios)."""
    found = errors_at(t, u, bayes_threshold(p_target, c_miss, c_fa))
    miss_cost, fa_cost = c_miss * p_target, c_fa * (1 - p_target)
    cost = miss_cost * (found["misses"] / t.size) + fa_cost * (found["false_alarms"] / u.size)
    return cost / min(miss_cost, fa_cost)


def _mean_cost(scores: np.ndarray, sign: float) -> float:
    """Mean of log2(1 + exp(sign * score)), in double precision; infinite scores included."""
    total = sum(float(np.logaddexp(0.0, sign * scores[part].astype(np.float64)).sum()) for part in blocks(scores.size))
    return total / scores.size / np.log(2.0)


def cllr(t: np.ndarray, u: np.ndarray) -> float:
    """Cost of log-likelihood ratios, in bits; t (n,), u (m,) in any order. Infinite when sure and wrong."""
    return 0.5 * (_mean_cost(t, -1.0) + _mean_cost(u, 1.0))


def min_cllr(counts: ErrorCounts) -> float:
    """Cllr after the best calibration that keeps the order: each edge of the hull is one log-likelihood ratio."""
    false_alarms, misses = counts.hull
    target, nontarget = np.diff(misses) / counts.n_target, -np.diff(false_alarms) / counts.n_nontarget
    both = target + nontarget

    def bits(share: np.ndarray) -> float:
        """Mean over one class of log2(1 + exp(-llr)) (nontargets: +llr), its share of each edge (n,) given."""
        seen = share > 0
        return float((share[seen] * np.log2(both[seen] / share[seen])).sum())

    return 0.5 * (bits(target) + bits(nontarget))


# ---------------------------------------------------------------- SRE12


def c_primary(t: np.ndarray, known: np.ndarray, unknown: np.ndarray, p_known: float = P_KNOWN) -> dict[str, float]:
    """SRE12's C_primary: {"actual": at the Bayes thresholds, "minimum": at the best ones, each point its own}.

    t, known, unknown: sorted scores of targets and of nontargets by known and by unknown speakers, none empty.
    """
    if not (t.size and known.size and unknown.size and 0 <= p_known <= 1):
        found = f"{t.size} targets, {known.size} known and {unknown.size} unknown nontargets, P_known {p_known}"
        raise InputError("C_primary", found, "some of each and a share", "Leave it out for this list")
    kinds = [(p_known, known), (1 - p_known, unknown)]
    actual = least = 0.0
    for p in COSTS:
        x = bayes_threshold(p)
        false = sum(share * errors_at(t, u, x)["false_alarms"] / u.size for share, u in kinds)
        actual += (p * errors_at(t, t, x)["misses"] / t.size + (1 - p) * false) / min(p, 1 - p)
        least += _least_mixed(t, kinds, p)
    return {"actual": actual / len(COSTS), "minimum": least / len(COSTS)}


def _least_mixed(t: np.ndarray, kinds: list[tuple[float, np.ndarray]], p: float) -> float:
    """Least normalised cost over the target scores and reject-all, false alarms weighted by kind."""
    thresholds = np.unique(t)

    def cost(part: slice) -> np.ndarray:
        """DCF at each of these thresholds."""
        x = thresholds[part]
        false = sum(share * (u.size - np.searchsorted(u, x, "left")) / u.size for share, u in kinds)
        return p * np.searchsorted(t, x, "left") / t.size + (1 - p) * false

    return min(float(lowest(thresholds.size, cost)[1]), p) / min(p, 1 - p)


# ---------------------------------------------------------------- the entry of results.json


def calibration(t: np.ndarray, u: np.ndarray, counts: ErrorCounts, p_targets: tuple[float, ...]) -> dict[str, Any]:
    """{"cllr", "min_cllr", "act_dcf", "min_dcf", "act_errors"}: the last three by prior, C_miss = C_fa = 1."""
    priors = sorted({*DECISION_PRIORS, *p_targets}, reverse=True)
    return {
        "cllr": finite(cllr(t, u)),
        "min_cllr": min_cllr(counts),
        "act_dcf": {f"{p:g}": actual_dcf(t, u, p) for p in priors},
        "min_dcf": {f"{p:g}": metrics.min_dcf(counts, p)[0] for p in priors},
        "act_errors": {f"{p:g}": errors_at(t, u, bayes_threshold(p)) for p in priors},
    }


def finite(value: float) -> float | None:
    """None for an infinite value: JSON has none."""
    return value if np.isfinite(value) else None


def summarise(
    scores: np.ndarray, target: np.ndarray, p_targets: tuple[float, ...] = COSTS, known: np.ndarray | None = None
) -> tuple[dict[str, Any], ErrorCounts]:
    """The entry of results.json for one set of trials (both EERs in percent), and the error counts behind it.

    scores (N,) float; target (N,) bool; known (N,) bool: the nontarget's speaker is known to the system (SRE12).
    Raises InputError as `metrics.split` does.
    """
    t, u = metrics.split(scores, target)
    counts = metrics.error_counts(t, u)
    (eer, threshold), costs = metrics.eer_kaldi(t, u), {p: metrics.min_dcf(counts, p) for p in p_targets}
    entry: dict[str, Any] = {
        "eer": 100 * eer,
        "min_dcf": {f"{p:g}": cost for p, (cost, _) in costs.items()},
        "n_target": counts.n_target,
        "n_nontarget": counts.n_nontarget,
        "eer_rocch": 100 * metrics.eer_rocch(counts),
        "errors": {
            "eer": errors_at(t, u, threshold),
            "min_dcf": {f"{p:g}": errors_at(t, u, best) for p, (_, best) in costs.items()},
        },
        "calibration": calibration(t, u, counts, p_targets),
    }
    if known is not None and (known & ~target).any() and (~known & ~target).any():
        entry["c_primary"] = c_primary(t, np.sort(scores[known & ~target]), np.sort(scores[~known & ~target]))
    return entry, counts


def unsure(entry: Entry) -> bool:
    """True of an entry whose EER hangs on few errors or on ties: fewer than FEW_ERRORS misses or false alarms at its
    threshold, or another value on the ROC's convex hull, which ties do not move."""
    errors = entry.get("errors", {}).get("eer")
    if entry.get("eer") is None or not errors:
        return False
    return _few(errors) or abs(entry["eer"] - entry["eer_rocch"]) > TIED * min(entry["eer"], entry["eer_rocch"])


def _few(errors: Mapping[str, Any] | None) -> bool:
    return min(errors["misses"], errors["false_alarms"]) < FEW_ERRORS if errors else False


def eer_text(entry: Entry) -> str:
    """The EER of an entry wherever it is printed: '7.12', or, where it is `unsure`, '7.25* (6.93)' with that on the
    convex hull; '-' where there is none."""
    mark = f"* ({percent(entry['eer_rocch'])})" if unsure(entry) else ""
    return percent(entry.get("eer")) + mark


def min_dcf_text(entry: Entry, prior: str) -> str:
    """A minDCF of an entry wherever it is printed: '0.341', or '0.341*' where fewer than FEW_ERRORS misses or false
    alarms make it; '-' where there is none."""
    return cost_text(entry["min_dcf"].get(prior)) + "*" * _few(entry.get("errors", {}).get("min_dcf", {}).get(prior))


def marked(entry: Entry) -> bool:
    """True of an entry with a figure that is printed with a star."""
    return unsure(entry) or any("*" in min_dcf_text(entry, prior) for prior in entry.get("min_dcf", {}))


UNFIT = "are no log-likelihood ratios"  # said of scores with a Cllr above 1
MARK = (
    f"*: hangs on fewer than {FEW_ERRORS} misses or false alarms, or, an EER, on equal scores; in parentheses the EER "
    "on the ROC's convex hull, which no tie moves."
)


def between(ends: list[float] | None, show: Callable[[float], str]) -> str:
    """'3.88 to 11.50'; '-' without an interval."""
    return f"{show(ends[0])} to {show(ends[1])}" if ends else "-"


def trials_text(entry: Entry) -> str:
    """How many trials an entry is of: '4 000'."""
    return grouped(entry["n_target"] + entry["n_nontarget"])


def classes_text(entry: Entry) -> str:
    """How many of each class: '800 target and 3 200 nontarget trials'."""
    return f"{grouped(entry['n_target'])} target and {grouped(entry['n_nontarget'])} nontarget trials"


def priors_of(entries: Entries) -> list[str]:
    """The priors for which any of some entries has a minDCF, in their order."""
    return list(dict.fromkeys(prior for entry in entries.values() for prior in entry.get("min_dcf", {})))


def metrics_table(title: str, entries: Entries, counts: Mapping[str, Callable[[Entry], str]] | None = None) -> Table:
    """A row for each entry of results.json by name: EER, a minDCF a prior, and what `counts` tell of it (trials)."""
    priors, counts = priors_of(entries), counts or {"trials": trials_text}
    table = [[title, "EER %", *(f"minDCF({prior})" for prior in priors), *counts]]
    for name, entry in entries.items():
        costs = (min_dcf_text(entry, prior) for prior in priors)
        table.append([name, eer_text(entry), *costs, *(tell(entry) for tell in counts.values())])
    return table


def counts_only(target: np.ndarray, p_targets: tuple[float, ...] = COSTS) -> dict[str, Any]:
    """The entry of a subset that lacks one class: counts, and null for every figure."""
    none = {f"{p:g}": None for p in p_targets}
    priors = {f"{p:g}": None for p in sorted({*DECISION_PRIORS, *p_targets}, reverse=True)}
    return {
        "eer": None,
        "min_dcf": none,
        "n_target": int(target.sum()),
        "n_nontarget": int((~target).sum()),
        "eer_rocch": None,
        "errors": {"eer": None, "min_dcf": none},
        "calibration": {"cllr": None, "min_cllr": None, "act_dcf": priors, "min_dcf": priors, "act_errors": priors},
    }
