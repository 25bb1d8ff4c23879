"""Total variability model against Kaldi: statistics, M-step, E+M, i-vectors, regressed weights, the tool."""

import io
import shutil

import numpy as np
import pytest
import stored_models
import torch
from golden_cases import cases, compare, compare_tables, path, table
from golden_models import STEPS, compare_extractor, joined, read_model, recording_stats, roles
from kaldi_statistics import read_ivector_stats

from pyasp.bin import extract as verb
from pyasp.data.datadir import DataDir
from pyasp.gmm.files import read_full
from pyasp.gmm.posteriors import Aligner
from pyasp.ivector.model import Estimator, IvectorExtractor
from pyasp.ivector.mstep import EstimationOptions, update
from pyasp.ivector.statistics import extract, scale_stats
from pyasp.kaldi import ArkWriter, load, read_scp

OPTIONS = {
    "update-variances": "update_variances",
    "gaussian-min-count": "gaussian_min_count",
    "diagonalize": "diagonalize",
    "variance-floor-factor": "variance_floor_factor",
}


def estimation_options(case) -> EstimationOptions:
    given = {key: value for key, value in case["options"].items() if key != "num-threads"}
    return EstimationOptions(**{OPTIONS[key]: value for key, value in given.items()})


@pytest.mark.parametrize("case", cases("extractor-init", compared=False))
def test_golden_start_comes_from_the_ubm(case):
    ubm, model = read_model(case["inputs"]["ubm"]), read_model(case["outputs"]["model"])
    ours = IvectorExtractor.from_ubm(ubm, case["options"]["ivector-dim"], [1])
    assert ours.projections.shape == model.projections.shape and ours.prior_offset == model.prior_offset
    assert np.array_equal(ours.inv_covars, model.inv_covars) and np.array_equal(ours.weights, model.weights)
    assert np.allclose(ours.projections[:, :, 0], model.projections[:, :, 0], atol=1e-6)
    drawn = model.projections[:, :, 1:]
    assert ours.projections[:, :, 1:].std() == pytest.approx(drawn.std(), rel=6 / np.sqrt(drawn.size))


@pytest.mark.parametrize("case", cases("extractor-acc"))
def test_golden_statistics(case):
    where, stream = path(case["outputs"]["accumulators"]), io.BytesIO()
    reference = read_ivector_stats(where)
    stored_models.write(reference, stream, where.read_bytes().startswith(b"\0B"))
    assert stream.getvalue() == where.read_bytes()
    values = roles(case)
    result = STEPS[case["program"]](case["options"], values["model"], values["feats"], values["posteriors"])
    for name in ("count", "linear", "quadratic", "second", "vector_sum", "vector_scatter", "recordings", "objective"):
        compare(case, getattr(result, name), getattr(reference, name), what=name)


@pytest.mark.parametrize("case", cases("extractor-est"))
def test_golden_m_step(case):
    stats = read_ivector_stats(path(case["inputs"]["accumulators"]))
    model, _ = update(read_model(case["inputs"]["model"]), stats, estimation_options(case))
    compare_extractor(case, model, read_model(case["outputs"]["model"]))


@pytest.mark.parametrize("case", cases("extractor-em"))
def test_golden_em(case):
    values = roles(case)
    model, _ = update(values["model"], values["accumulators"], estimation_options(case))
    compare_extractor(case, model, read_model(case["outputs"]["model"]))


def our_ivectors(case) -> dict[str, np.ndarray]:
    values = roles(case)
    model, feats, options = values["model"], values["feats"], case["options"]
    assert set(options) <= {"num-threads", "acoustic-weight", "max-count"}
    utts = list(feats)
    count, first, _ = recording_stats(model, feats, values["posteriors"], utts)
    weight, limit = options.get("acoustic-weight", 1.0), options.get("max-count", 0.0)
    if "spk2utt" in values:
        speakers = list(values["spk2utt"])
        owner = {utt: s for s, speaker in enumerate(speakers) for utt in values["spk2utt"][speaker]}
        group = torch.tensor([owner[utt] for utt in utts])
        count, first = (x.new_zeros((len(speakers), *x.shape[1:])).index_add_(0, group, x) for x in (count, first))
        utts = speakers
    means = Estimator(model).means(*scale_stats(count, first, weight, limit)).numpy()
    return dict(zip(utts, means))


@pytest.mark.parametrize("case", [*cases("ivectors"), *cases("use-weights")])
def test_golden_ivectors(case):
    found = our_ivectors(case)
    for role, name in case["outputs"].items():
        compare_tables(case, found, table(name))


PLAIN = [
    c
    for c in cases("ivectors")
    if set(c.values[0]["options"]) <= {"num-threads"} and "spk2utt" not in c.values[0]["inputs"]
]


def posterior_recipe(case) -> tuple[str, int, float]:
    """File of the UBM, Gaussians selected, and smallest posterior, of the posteriors that a case reads."""
    made_by = next(
        c.values[0] for c in cases("posteriors") if case["inputs"]["posteriors"] in c.values[0]["outputs"].values()
    )
    count = next(step["options"]["n"] for step in made_by["before"] if step["program"] == "gmm-gselect")
    return made_by["inputs"]["model"], count, made_by["options"]["min-post"]


def close_to(reference: dict, found: dict) -> bool:
    """Same keys, and within 1e-3 of the largest value."""
    scale = max(np.abs(vector).max() for vector in reference.values())
    return (
        list(found) == list(reference)
        and max(np.abs(found[utt] - reference[utt]).max() for utt in reference) < 1e-3 * scale
    )


@pytest.mark.parametrize("case", PLAIN)
def test_golden_extraction_in_float32(case):
    """The production path from features on, float32 products."""
    name, count, min_post = posterior_recipe(case)
    ubm = read_full(path(name))
    aligner = Aligner(ubm.to_diag(), ubm, count, min_post)
    estimator = Estimator(read_model(case["inputs"]["model"]), dtype=torch.float32)
    found = dict(extract(joined(case["inputs"]["feats"]).items(), aligner, estimator))
    assert close_to(table(case["outputs"]["ivectors"]), found)


@pytest.mark.parametrize("case", PLAIN)
def test_golden_tool_with_a_directory_of_kaldi(case, tmp_path):
    """`extract` on Kaldi's final.ubm and final.ie: features that are ready, hence a front end that does nothing."""
    name, count, min_post = posterior_recipe(case)
    kaldi, data, feats = tmp_path / "kaldi", DataDir(tmp_path / "data"), joined(case["inputs"]["feats"])
    kaldi.mkdir()
    shutil.copyfile(path(name), kaldi / "final.ubm")
    shutil.copyfile(path(case["inputs"]["model"]), kaldi / "final.ie")
    data.path.mkdir()
    data.write_speakers({utt: utt for utt in feats})
    with (
        ArkWriter(data / "feats.ark", data / "feats.scp") as features,
        ArkWriter(data / "v.ark", data / "vad.scp") as vad,
    ):
        for utt, x in feats.items():
            features.write(utt, x)
            vad.write(utt, np.ones(len(x), np.float32))
    options = ["--delta-order=0", "--cmn-window=0", f"--gselect={count}", f"--min-post={min_post}", "--device=cpu"]
    prefix = str(tmp_path / "out/ivector")
    assert verb.main([*options, str(data.path), str(kaldi), str(kaldi), prefix]) == 0
    scps = sorted((tmp_path / "out").glob("ivector.*.scp"), key=lambda scp: int(scp.name.split(".")[1]))
    found = {utt: load(where) for scp in scps for utt, where in read_scp(scp).items()}
    assert close_to(table(case["outputs"]["ivectors"]), found)
