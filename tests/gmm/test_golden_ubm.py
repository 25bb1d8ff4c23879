"""UBM against Kaldi: file bytes, statistics, M-steps, E+M, likelihoods, selection, posteriors."""

import io

import numpy as np
import pytest
import stored_models
import torch
from golden_cases import MANIFEST, cases, compare, compare_tables, path, read_scp_lines, table
from golden_models import (
    F64,
    STEPS,
    all_loglikes,
    compare_gmm,
    dense_posteriors,
    is_model,
    read_gselect_lists,
    read_model,
    roles,
    selection,
    update_options,
)

from pyasp.gmm.em import DiagStats, FullStats, update
from pyasp.gmm.model import DiagGmm, FullGmm
from pyasp.gmm.posteriors import Aligner, DiagScorer, FullScorer, align

ESTIMATES = {"gmm-global-est": DiagStats, "fgmm-global-est": FullStats}
MODELS = sorted(
    {
        name
        for case in MANIFEST["cases"]
        for files in (case["inputs"], case["outputs"])
        for name in files.values()
        if isinstance(name, str) and is_model(name)
    }
)


def file_bytes(thing, binary=True) -> bytes:
    stream = io.BytesIO()
    stored_models.write(thing, stream, binary)
    return stream.getvalue()


@pytest.mark.parametrize("name", MODELS)
def test_golden_models_are_written_back_byte_for_byte(name):
    data = path(name).read_bytes()
    assert file_bytes(read_model(name), data.startswith(b"\0B")) == data


@pytest.mark.parametrize(
    "case",
    [
        c
        for c in cases("model-formats")
        if c.values[0]["program"] in ("gmm-global-copy", "fgmm-global-copy", "ivector-extractor-copy")
    ],
)
def test_golden_text_and_binary_hold_the_same_model(case):
    binary, text = read_model(case["inputs"]["model"]), read_model(case["outputs"]["text"])
    for field in binary.__dataclass_fields__:
        compare(case, getattr(text, field), getattr(binary, field), what=field)


@pytest.mark.parametrize("case", cases("diag-ubm-acc", "full-ubm-acc"))
def test_golden_statistics(case):
    values = roles(case)
    kind = DiagStats if isinstance(values["model"], DiagGmm) else FullStats
    reference = stored_models.read(kind, path(case["outputs"]["accumulators"]))
    data = path(case["outputs"]["accumulators"]).read_bytes()
    assert file_bytes(reference, data.startswith(b"\0B")) == data
    program = {DiagStats: "gmm-global-acc-stats", FullStats: "fgmm-global-acc-stats"}[kind]
    assert case["program"] == program
    result = STEPS[program](case["options"], values["model"], values["feats"], values.get("gselect"))
    compare(case, result.count, reference.count, what="count")
    compare(case, result.first, reference.first, what="first order")
    compare(case, _stored_second(result), _stored_second(reference), what="second order")


def _stored_second(stats):
    """Second order as the file holds it: around the means for full covariances."""
    if isinstance(stats, DiagStats):
        return stats.second
    return stats.second - stats.first[:, :, None] * stats.first[:, None, :] / stats.count[:, None, None]


@pytest.mark.parametrize("case", cases("diag-ubm-est", "full-ubm-est"))
def test_golden_m_step(case):
    kind = ESTIMATES[case["program"]]
    stats = stored_models.read(kind, path(case["inputs"]["accumulators"]))
    compare_gmm(
        case,
        update(read_model(case["inputs"]["model"]), stats, update_options(case))[0],
        read_model(case["outputs"]["model"]),
    )


@pytest.mark.parametrize("case", cases("diag-ubm-em", "full-ubm-em"))
def test_golden_em(case):
    values = roles(case)
    model, _ = update(values["model"], values["accumulators"], update_options(case))
    compare_gmm(case, model, read_model(case["outputs"]["model"]))


@pytest.mark.parametrize("case", cases("full-ubm-init", "full-ubm-to-diag"))
def test_golden_conversions(case):
    convert = {"gmm-global-to-fgmm": FullGmm.from_diag, "fgmm-global-to-gmm": FullGmm.to_diag}[case["program"]]
    compare_gmm(case, convert(read_model(case["inputs"]["model"])), read_model(case["outputs"]["model"]))


@pytest.mark.parametrize("case", cases("diag-ubm-init", compared=False))
def test_golden_random_start_can_be_read(case):
    model = read_model(case["outputs"]["model"])
    assert model.num_gauss == case["options"]["num-gauss"] and model.weights.sum() == pytest.approx(1.0, abs=1e-5)


@pytest.mark.parametrize("case", cases("diag-ubm-like", "full-ubm-like"))
def test_golden_likelihoods(case):
    values = roles(case)
    gselect = values.get("gselect")
    found = {}
    for utt, x in values["feats"].items():
        found[utt] = all_loglikes(values["model"], torch.as_tensor(x))
        found[utt] = (found[utt] if gselect is None else found[utt].gather(1, gselect[utt])).logsumexp(1).numpy()
    name = case["outputs"]["loglikes"]
    if case["options"].get("average", False):
        reference = {utt: float(value) for utt, value in read_scp_lines(name).items()}
        compare_tables(case, {utt: values.mean() for utt, values in found.items()}, reference)
    else:
        compare_tables(case, found, table(name))


@pytest.mark.parametrize("case", cases("gselect"))
def test_golden_selection(case):
    values = roles(case)
    allowed = case["tolerance"]["swap_if_loglike_within"]
    found = selection(values["model"], values["feats"], case["options"]["n"])
    tables = [read_gselect_lists(name) for name in case["outputs"].values()]
    for reference in tables:
        assert list(reference) == list(found)
        for utt, x in values["feats"].items():
            assert found[utt].shape == reference[utt].shape
            loglikes = all_loglikes(values["model"], torch.as_tensor(x))
            differ = found[utt] != reference[utt]
            gap = (loglikes.gather(1, found[utt]) - loglikes.gather(1, reference[utt])).abs()
            assert float(gap[differ].max() if differ.any() else 0.0) <= allowed
            assert all(len(set(row)) == len(row) for row in reference[utt].tolist())


def our_posteriors(case, values):
    """Per utterance, (T, C) posteriors of the case's program with its options."""
    options = dict(case["options"])
    model, feats, result = values["model"], values["feats"], {}
    for utt, x in feats.items():
        x = torch.as_tensor(x)
        if case["program"] == "gmm-global-get-post":
            loglikes, selected = DiagScorer(model, dtype=F64).select(x, options.get("n", 50))
            if options.get("min-post"):  # this program first drops what is small against the best one
                loglikes[loglikes <= loglikes.amax(1, keepdim=True) + np.log(options["min-post"])] = -np.inf
        else:
            assert case["program"] == "fgmm-global-gselect-to-post"
            selected = values["gselect"][utt]
            loglikes = FullScorer(model, dtype=F64).loglikes(x, selected)
        found = align(loglikes, selected, options.get("min-post", 0.0))
        result[utt] = torch.zeros((len(x), model.num_gauss), dtype=F64)
        result[utt][found.frame, found.gauss] = found.weight
    return result


@pytest.mark.parametrize("case", cases("posteriors"))
def test_golden_posteriors(case):
    assert set(case["tolerance"]) <= {"exact", "up_to_sign", "max_abs", "same_index_sets"}
    found = our_posteriors(case, roles(case))
    for name in case["outputs"].values():
        reference = dense_posteriors(name)
        assert list(reference) == list(found)
        for utt, frames in reference.items():
            dense = np.zeros(found[utt].shape)
            for t, frame in enumerate(frames):
                dense[t, list(frame)] = list(frame.values())
            if case["tolerance"]["same_index_sets"]:
                assert np.array_equal(dense > 0, found[utt].numpy() > 0), f"{case['id']} {utt}"
            compare(case, found[utt], dense, what=utt)


def test_golden_aligner_in_float32_selects_what_matters():
    """The production path (selection, full covariances, pruning in float32) against the posteriors of a whole set."""
    case = max(
        (
            c.values[0]
            for c in cases("posteriors")
            if c.values[0]["program"] == "fgmm-global-gselect-to-post"
            and "diag_model" in c.values[0]["inputs"]
            and c.values[0]["options"]["min-post"] > 0
        ),
        key=lambda c: path(c["outputs"]["posteriors"]).stat().st_size,
    )
    count = next(step["options"]["n"] for step in case["before"] if step["program"] == "gmm-gselect")
    model, reference = read_model(case["inputs"]["model"]), dense_posteriors(case["outputs"]["posteriors"])
    aligner = Aligner(model.to_diag(), model, count, case["options"]["min-post"])
    frames = wrong = 0
    for utt, x in roles({**case, "before": []})["feats"].items():
        found = aligner(torch.as_tensor(x))
        dense = np.zeros((len(x), model.num_gauss))
        dense[found.frame, found.gauss] = found.weight
        expected = np.zeros_like(dense)
        for t, frame in enumerate(reference[utt]):
            expected[t, list(frame)] = list(frame.values())
        frames, wrong = frames + len(x), wrong + int((np.abs(dense - expected).max(1) > 1e-3).sum())
    assert wrong <= 1e-3 * frames
