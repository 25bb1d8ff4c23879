"""Error rates of every score list of the golden set: what Kaldi's compute-eer printed, and brute force."""

import json

import numpy as np
import pytest
from golden_cases import cases, compare, path

from pyasp.evaluation import metrics

LISTS = [
    pytest.param(case.values[0], entry, id=entry["key"])
    for case in cases("metrics")
    for entry in case.values[0]["inputs"]["lists"]
]


def read(entry):
    if "scores_and_labels" in entry:
        fields = [line.split() for line in path(entry["scores_and_labels"]).read_text().splitlines()]
        return np.array([float(f[0]) for f in fields]), np.array([f[1] == "target" for f in fields])
    scores, labels = (
        [line.split()[2] for line in path(entry[kind]).read_text().splitlines()] for kind in ("scores", "trials")
    )
    return np.array(scores, np.float64), np.array(labels) == "target"


def interpolated_eer(t, u):
    """The set's own: where P_miss and P_fa cross, linear between neighbouring thresholds."""
    every = np.append(np.unique(np.concatenate([t, u])), np.inf)
    miss, gap = (
        np.searchsorted(t, every) / t.size,
        (np.searchsorted(t, every) / t.size) - 1 + np.searchsorted(u, every) / u.size,
    )
    after = int((gap >= 0).argmax())
    share = -gap[after - 1] / (gap[after] - gap[after - 1]) if after else 1.0
    return float(miss[after - 1] + share * (miss[after] - miss[after - 1]) if after else miss[0])


def measured(entry, options):
    scores, target = read(entry)
    t, u = metrics.split(scores, target)
    counts, (eer, threshold) = metrics.error_counts(t, u), metrics.eer_kaldi(t, u)
    costs = {
        f"mindcf_p{p:g}": metrics.min_dcf(counts, p, options["c-miss"], options["c-fa"])[0] for p in options["p-target"]
    }
    printed = f"{100 * float(np.float32(eer)):.4g}"
    return {
        "n_target": len(t),
        "n_nontarget": len(u),
        "kaldi_eer_percent_printed": printed,
        "kaldi_threshold_logged": threshold,
        **costs,
        "eer_interp_percent": 100 * interpolated_eer(t, u),
    }


@pytest.mark.parametrize("case, entry", LISTS)
def test_golden_metrics(case, entry):
    expected = json.loads(path(case["outputs"]["metrics"]).read_text())[entry["key"]]
    found = measured(entry, case["options"])
    assert set(found) == set(expected)
    assert found["kaldi_eer_percent_printed"] == expected["kaldi_eer_percent_printed"]
    for key, value in expected.items():
        compare(case, float(found[key]), float(value), block=key)


def test_golden_metrics_cover_every_list():
    for case in cases("metrics"):
        keys = [entry["key"] for entry in case.values[0]["inputs"]["lists"]]
        assert sorted(json.loads(path(case.values[0]["outputs"]["metrics"]).read_text())) == sorted(keys)
