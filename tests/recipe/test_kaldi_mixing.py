"""Kaldi's own programs on our files, and our recipe on models that Kaldi trained.

Runs where KALDI_BIN names a directory of Kaldi's programs (they may lie in its sub-directories, as in Kaldi's src), and
the checks of data directories where KALDI_UTILS names Kaldi's egs/wsj/s5/utils. Takes the time of the tiny recipe.
"""

import os
import shutil
import subprocess
from pathlib import Path

import golden_cases
import numpy as np
import pytest
import stored_models
import torch
from golden_models import all_loglikes
from recipe import CONF, ROOT, run

from pyasp.core.conf import read_conf
from pyasp.core.options import subset
from pyasp.features.frontend import FrontendOptions, frontend
from pyasp.gmm.model import DiagGmm, FullGmm
from pyasp.ivector.train import IvectorOptions
from pyasp.kaldi import ScpReader, read_ark, read_scalars

BIN, UTILS = os.environ.get("KALDI_BIN"), os.environ.get("KALDI_UTILS")
PROGRAMS = {each.name: each for depth in ("*", "*/*") for each in Path(BIN or os.devnull).glob(depth) if each.is_file()}
pytestmark = pytest.mark.skipif(not BIN, reason="KALDI_BIN names no directory of Kaldi's programs")
OPTIONS = read_conf(ROOT / CONF / "ivector.conf", IvectorOptions)
BACKEND = ("mean.vec", "transform.mat", "plda")


def kaldi(program: str, *words: object) -> str:
    """Runs one of Kaldi's programs and returns what it printed."""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "LC_ALL": "C"}
    done = subprocess.run([PROGRAMS[program], *map(str, words)], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{program} {words}: {done.stderr[-2000:]}"
    return done.stdout


def deviation(what: str, result: dict, reference: dict, limit: float) -> None:
    """Asserts equal keys and values within `limit`; the largest deviation goes to the table of GOLDEN_REPORT."""
    assert list(result) == list(reference) and result
    largest = max(float(np.abs(np.asarray(result[key], np.float64) - reference[key]).max()) for key in result)
    golden_cases.note(f"with Kaldi: {what}", "max_abs", largest, limit)
    assert largest <= limit, what


@pytest.fixture(scope="module")
def ours(tmp_path_factory) -> Path:
    """The tiny recipe up to its i-vector scores."""
    where = tmp_path_factory.mktemp("ours")
    process = run(where, "--systems", "ivector", "--stop-stage", "9", "--device", "cpu")
    assert process.returncode == 0, process.stderr[-2000:]
    return where


def front_end(data: Path, out: Path) -> str:
    """Kaldi's front end on a data directory of ours; the rspecifier of what it wrote."""
    kaldi(
        "add-deltas",
        f"--truncate={OPTIONS.num_ceps}",
        f"--delta-window={OPTIONS.delta_window}",
        f"--delta-order={OPTIONS.delta_order}",
        f"scp:{data}/feats.scp",
        f"ark:{out}.deltas",
    )
    kaldi(
        "apply-cmvn-sliding",
        "--norm-vars=false",
        "--center=true",
        f"--cmn-window={OPTIONS.cmn_window}",
        f"ark:{out}.deltas",
        f"ark:{out}.cmn",
    )
    kaldi("select-voiced-frames", f"ark:{out}.cmn", f"scp:{data}/vad.scp", f"ark:{out}")
    return f"ark:{out}"


def posteriors(feats: str, ubm: Path, out: Path) -> str:
    """Kaldi's pruned posteriors of a full-covariance UBM, selected by its diagonal version."""
    kaldi("fgmm-global-to-gmm", ubm, f"{out}.dubm")
    kaldi("gmm-gselect", f"--n={OPTIONS.gselect}", f"{out}.dubm", feats, f"ark:{out}.gselect")
    kaldi(
        "fgmm-global-gselect-to-post", f"--min-post={OPTIONS.min_post}", ubm, feats, f"ark:{out}.gselect", f"ark:{out}"
    )
    return f"ark:{out}"


def ivectors(data: Path, ubm: Path, extractor: Path, out: Path) -> dict[str, np.ndarray]:
    """Kaldi's i-vectors of a data directory of ours, in `out`."""
    feats = front_end(data, out.with_suffix(".feats"))
    found = posteriors(feats, ubm, out.with_suffix(".post"))
    kaldi("ivector-extract", "--num-threads=1", extractor, feats, found, f"ark:{out}")
    return dict(read_ark(out))


def processed(vectors: Path, back_end: Path) -> Path:
    """Mean subtraction, transform and length normalisation by Kaldi."""
    kaldi("ivector-subtract-global-mean", back_end / "mean.vec", f"ark:{vectors}", f"ark:{vectors}.centred")
    kaldi("transform-vec", back_end / "transform.mat", f"ark:{vectors}.centred", f"ark:{vectors}.projected")
    kaldi("ivector-normalize-length", f"ark:{vectors}.projected", f"ark:{vectors}.ready")
    return Path(f"{vectors}.ready")


def scores(data: Path, ubm: Path, extractor: Path, back_end: Path, out: Path) -> np.ndarray:
    """Kaldi's PLDA scores of our trials, from our features on; models are normalised averages."""
    for name in ("enroll", "test"):
        ivectors(data / name, ubm, extractor, out / name)
    enrol, test = (processed(out / name, back_end) for name in ("enroll", "test"))
    kaldi("ivector-mean", f"ark:{data}/enroll/model2utts", f"ark:{enrol}", f"ark:{out}/means", f"ark,t:{out}/counts")
    kaldi("ivector-normalize-length", f"ark:{out}/means", f"ark:{out}/models")
    lines = [line.split()[:2] for line in (data / "trials/veri_test").read_text().splitlines()]
    (out / "trials").write_text("".join(f"{model} {utt}\n" for model, utt in lines))
    kaldi(
        "ivector-plda-scoring",
        f"--num-utts=ark:{out}/counts",
        back_end / "plda",
        f"ark:{out}/models",
        f"ark:{test}",
        out / "trials",
        out / "scores",
    )
    return score_column(out / "scores")


def score_column(path: Path) -> np.ndarray:
    return np.array([float(line.split()[2]) for line in path.read_text().splitlines()])


@pytest.mark.skipif(not UTILS, reason="KALDI_UTILS does not name Kaldi's egs/wsj/s5/utils")
@pytest.mark.parametrize("name", ["train", "test", "enroll", "train_aug", "train_sel", "train_ubm"])
def test_data_directories_are_valid_and_need_no_fixing(ours, tmp_path, name):
    data = shutil.copytree(ours / "data" / name, tmp_path / name, symlinks=True)
    (tmp_path / "utils").symlink_to(Path(UTILS).resolve())
    before = {each.name: each.read_bytes() for each in data.iterdir() if each.is_file()}
    no_wav = [] if (data / "wav.scp").exists() else ["--no-wav"]
    for words in (["validate_data_dir.sh", "--no-text", *no_wav], ["fix_data_dir.sh"]):
        done = subprocess.run(
            ["bash", f"utils/{words[0]}", *words[1:], name], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert {each: (data / each).read_bytes() for each in before} == before


def test_features_and_decisions(ours, tmp_path):
    """Kaldi reads our compressed features, conf files and wav.scp, and comes to our decisions."""
    data, conf = ours / "data/test", ROOT / CONF
    kaldi("copy-feats", f"scp:{data}/feats.scp", f"ark:{tmp_path}/feats")
    stored = dict(ScpReader(data / "feats.scp"))
    deviation("features read", dict(read_ark(tmp_path / "feats")), stored, 2e-5)
    kaldi("compute-vad", f"--config={conf}/vad.conf", f"scp:{data}/feats.scp", f"ark:{tmp_path}/vad")
    deviation("voice activity", dict(read_ark(tmp_path / "vad")), dict(ScpReader(data / "vad.scp")), 0.0)
    kaldi("compute-mfcc-feats", f"--config={conf}/mfcc.conf", f"scp:{data}/wav.scp", f"ark:{tmp_path}/mfcc")
    kaldi("copy-feats", "--compress=true", "--compression-method=2", f"ark:{tmp_path}/mfcc", f"ark:{tmp_path}/cm")
    found = dict(read_ark(tmp_path / "cm"))
    other_code = np.concatenate([np.ravel(np.abs(found[utt] - stored[utt]) > 1e-3) for utt in stored])
    assert list(found) == list(stored) and other_code.mean() < 0.01


def test_models_give_the_same_likelihoods(ours, tmp_path):
    feats = front_end(ours / "data/test", tmp_path / "feats")
    for name, program, kind in (
        ("final.dubm", "gmm-global-get-frame-likes", DiagGmm),
        ("final.ubm", "fgmm-global-get-frame-likes", FullGmm),
    ):
        kaldi(program, "--average=true", ours / "exp/ubm" / name, feats, f"ark:{tmp_path}/likes")
        model = stored_models.read(kind, ours / "exp/ubm" / name)
        found = {utt: float(all_loglikes(model, torch.as_tensor(x)).logsumexp(1).mean()) for utt, x in read_ark(feats)}
        deviation(f"log-likelihood, {name}", found, dict(read_scalars(tmp_path / "likes")), 1e-4)


def test_front_end_ivectors_and_scores(ours, tmp_path):
    """Kaldi's front end, extraction and scoring with our models against our i-vectors and scores."""
    data, exp = ours / "data", ours / "exp"
    options = subset(OPTIONS, FrontendOptions)
    reference = scores(data, exp / "ubm/final.ubm", exp / "ivector/final.ie", exp / "ivector/backend", tmp_path)
    feats, vad = (ScpReader(data / "test" / name) for name in ("feats.scp", "vad.scp"))
    deviation(
        "front end",
        {utt: frontend(feats[utt], vad[utt] > 0, options) for utt in feats},
        dict(read_ark(tmp_path / "test.feats")),
        2e-5,
    )
    for name in ("enroll", "test"):
        found = dict(ScpReader(exp / "ivector" / name / "embedding.scp"))
        deviation("i-vectors", found, dict(read_ark(tmp_path / name)), 2e-4)
    deviation("scores", {"all": score_column(exp / "ivector/scores/veri_test")}, {"all": reference}, 2e-4)


def train_ubm(feats: str, place: Path) -> None:
    """final.dubm and final.ubm by Kaldi, one iteration each after the start."""
    kaldi("gmm-global-init-from-feats", "--num-threads=1", "--num-gauss=8", "--num-iters=5", feats, place / "0.dubm")
    kaldi("gmm-global-acc-stats", place / "0.dubm", feats, place / "acc")
    kaldi("gmm-global-est", place / "0.dubm", place / "acc", place / "final.dubm")
    kaldi("gmm-global-to-fgmm", place / "final.dubm", place / "0.ubm")
    kaldi("fgmm-global-acc-stats", place / "0.ubm", feats, place / "acc")
    kaldi("fgmm-global-est", place / "0.ubm", place / "acc", place / "final.ubm")


def train_extractor(feats: str, place: Path) -> None:
    """final.ie by Kaldi, two iterations."""
    found = posteriors(feats, place / "final.ubm", place / "post")
    kaldi(
        "ivector-extractor-init",
        f"--ivector-dim={OPTIONS.ivector_dim}",
        "--use-weights=false",
        place / "final.ubm",
        place / "0.ie",
    )
    for old, new in (("0.ie", "1.ie"), ("1.ie", "final.ie")):
        kaldi("ivector-extractor-acc-stats", "--num-threads=1", place / old, feats, found, place / "acc")
        kaldi("ivector-extractor-est", "--num-threads=1", place / old, place / "acc", place / new)


def train_back_end(vectors: Path, spk2utt: Path, place: Path) -> None:
    """mean.vec, transform.mat (whitening) and plda by Kaldi."""
    mean, transform, plda = (place / name for name in BACKEND)
    kaldi("ivector-mean", f"ark:{vectors}", mean)
    kaldi("ivector-subtract-global-mean", mean, f"ark:{vectors}", f"ark:{vectors}.centred")
    kaldi("est-pca", "--read-vectors=true", "--normalize-variance=true", f"ark:{vectors}.centred", transform)
    kaldi("ivector-compute-plda", f"ark:{spk2utt}", f"ark:{processed(vectors, place)}", plda)


def test_models_trained_by_kaldi_score_here(ours, tmp_path):
    """Kaldi trains UBM, extractor and back end on our features; the recipe scores with them from stage embeddings on."""
    data, extractor, back_end = ours / "data", tmp_path / "extractor", tmp_path / "backend"
    extractor.mkdir()
    back_end.mkdir()
    feats = front_end(data / "train_ubm", tmp_path / "train.feats")
    train_ubm(feats, extractor)
    train_extractor(feats, extractor)
    models = extractor / "final.ubm", extractor / "final.ie"
    ivectors(data / "train_sel", *models, tmp_path / "train")
    train_back_end(tmp_path / "train", data / "train_sel/spk2utt", back_end)
    reference = scores(data, *models, back_end, tmp_path)
    process = run(
        ours,
        "--exp",
        str(tmp_path / "exp"),
        "--systems",
        "ivector",
        "--stage",
        "8",
        "--stop-stage",
        "9",
        "--device",
        "cpu",
        "--kaldi-ivector",
        str(extractor),
        "--kaldi-backend",
        str(back_end),
    )
    assert process.returncode == 0, process.stderr[-2000:]
    found = score_column(tmp_path / "exp/ivector/scores/veri_test")
    deviation("scores, models trained by Kaldi", {"all": found}, {"all": reference}, 2e-4)
