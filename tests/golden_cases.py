"""The golden set of real Kaldi outputs, read through its manifest.json: cases by stage, paths, and tolerances.

`KALDI_GOLDEN` names another directory of the same layout; nothing here knows a size, an option or a file name.
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from pyasp.kaldi import load, read_ark

ROOT = Path(os.environ.get("KALDI_GOLDEN") or Path(__file__).parent / "golden").resolve()
MANIFEST = json.loads((ROOT / "manifest.json").read_text(encoding="utf-8"))
LIMITS = {"exact", "max_abs", "p999_abs", "max_rel", "elem_rel", "range_rel", "up_to_sign"}
OTHER_KEYS = {"blocks", "max_code_diff", "max_code_fraction", "same_index_sets", "swap_if_loglike_within"}
KALDI_DELTAS = {"delta-window": 2, "delta-order": 2}  # defaults of add-deltas and apply-cmvn-sliding
KALDI_CMN = {"cmn-window": 600, "min-cmn-window": 100, "center": False, "norm-vars": False}
DEVIATIONS: dict[str, dict[str, tuple[float, float]]] = {}  # stage -> measure -> (largest, share of the limit)


def cases(*stages: str, compared: bool = True) -> list:
    """pytest parameters for the cases of some stages; those with a null tolerance only when `compared` is false.

    Cases of Kaldi's contiguity quirk are left out: their `instead` case is compared.
    """
    chosen = [
        case
        for case in MANIFEST["cases"]
        if case["stage"] in stages and case.get("quirk") is None and (case["tolerance"] is not None) == compared
    ]
    return [pytest.param(case, id=case["id"]) for case in chosen]


def path(relative: str) -> Path:
    """A file of the golden set."""
    return ROOT / relative


def read_scp_lines(relative: str) -> dict[str, str]:
    """{key: rest of the line} of a list or script file of the golden set."""
    lines = path(relative).read_text(encoding="utf-8").splitlines()
    return {line.split(maxsplit=1)[0]: line.split(maxsplit=1)[1] for line in lines}


def table(relative: str) -> dict[str, np.ndarray]:
    """{key: array} of an .scp (paths in it are relative to the golden folder), an .ark or a text archive."""
    if relative.endswith(".scp"):
        return {key: load(str(path(where))) for key, where in read_scp_lines(relative).items()}
    return dict(read_ark(str(path(relative))))


def single(relative: str) -> np.ndarray:
    """One matrix or vector of the golden set."""
    return load(str(path(relative)))


def align_signs(result: np.ndarray, reference: np.ndarray, axis: int = 0) -> np.ndarray:
    """Flips rows (axis 0) or columns (axis 1) of `result` to the sign of `reference`."""
    signs = np.sign(np.sum(result * reference, axis=1 - axis, keepdims=True))
    return result * np.where(signs == 0, 1, signs)


def limits_of(case: dict, block: str | None = None) -> dict:
    """The tolerance of a case, or of one of its blocks (a trailing * matches any ending). Unknown keys fail."""
    tolerance = case["tolerance"]
    unknown = set(tolerance) - LIMITS - OTHER_KEYS
    assert not unknown, f"{case['id']}: unknown tolerance keys {sorted(unknown)}"
    if block is None:
        return tolerance
    names = [
        name for name in tolerance["blocks"] if name == block or name.endswith("*") and block.startswith(name[:-1])
    ]
    assert names, f"{case['id']}: no tolerance for block {block}"
    assert set(tolerance["blocks"][names[0]]) <= LIMITS, f"{case['id']}: unknown tolerance keys of block {block}"
    return tolerance["blocks"][names[0]]


def note(stage: str, measure: str, value: float, limit: float) -> None:
    """Keeps the largest deviation of a stage for the table."""
    seen = DEVIATIONS.setdefault(stage, {})
    share = value / limit if limit else float(value > 0)
    if measure not in seen or share > seen[measure][1]:
        seen[measure] = (value, share)


def compare(case: dict, result, reference, block: str | None = None, what: str = "") -> None:
    """Asserts that `result` equals `reference` within the tolerance of the case (or of one of its blocks)."""
    limits, where = limits_of(case, block), f"{case['id']} {block or ''} {what}"
    result, reference = np.asarray(result, dtype=np.float64), np.asarray(reference, dtype=np.float64)
    assert result.shape == reference.shape, f"{where}: shape {result.shape}, Kaldi has {reference.shape}"
    if reference.size == 0:
        return
    difference = np.abs(result - reference)
    assert np.all(np.isfinite(difference)), f"{where}: not finite"
    checks = []
    if limits.get("exact"):
        checks.append(("exact", difference.max(), 0.0))
    if "max_abs" in limits or "elem_rel" in limits:
        allowed = limits.get("max_abs", 0.0) + limits.get("elem_rel", 0.0) * np.abs(reference)
        worst = np.argmax(difference - allowed)
        checks.append(
            (
                "max_abs" if "max_abs" in limits else "elem_rel",
                difference.flat[worst],
                np.broadcast_to(allowed, difference.shape).flat[worst],
            )
        )
    if "p999_abs" in limits:
        checks.append(("p999_abs", np.quantile(difference, 0.999), limits["p999_abs"]))
    if "max_rel" in limits:
        checks.append(("max_rel", difference.max() / np.abs(reference).max(), limits["max_rel"]))
    if "range_rel" in limits:
        checks.append(("range_rel", difference.max(), limits["range_rel"] * np.ptp(reference)))
    assert checks, f"{where}: the manifest gives no limit"
    for measure, value, limit in checks:
        note(case["stage"], f"{block} {measure}" if block else measure, float(value), float(limit))
        assert value <= limit, f"{where}: {measure} {value:.3g}, allowed {limit:.3g}"


def compare_tables(case: dict, result: dict, reference: dict) -> None:
    """`compare` over every key of two tables with the same keys. The 99.9 % quantile is over all elements."""
    assert list(result) == list(reference), f"{case['id']}: keys differ"
    pooled = "p999_abs" in case["tolerance"]
    limits = {**case, "tolerance": {k: v for k, v in case["tolerance"].items() if k != "p999_abs"}}
    for key in reference:
        compare(limits if pooled else case, result[key], reference[key], what=key)
    if pooled:
        flat = [np.concatenate([np.ravel(t[key]) for key in reference]) for t in (result, reference)]
        compare(case, *flat, what="all elements")
