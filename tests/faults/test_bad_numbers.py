"""Numbers that degenerate: detected, floored with a count, or refused; never a NaN that goes on."""

import json

import numpy as np
import pytest
import torch
from prep_trees import put, refused
from tdnn_data import SMALL, write_data

from pyasp.bin import train_tdnn, train_ubm
from pyasp.core.errors import InputError
from pyasp.features.frontend import FrontendOptions, frontend
from pyasp.gmm.em import DiagStats, FullStats, UpdateOptions, update
from pyasp.gmm.files import read_full
from pyasp.gmm.init import InitOptions, initialise
from pyasp.gmm.model import DiagGmm, FullGmm
from pyasp.gmm.posteriors import DiagScorer
from pyasp.ivector.model import Estimator, IvectorExtractor
from pyasp.network.embed import Embedder, EmbedOptions

RNG = np.random.default_rng(5)
CPU = torch.device("cpu")


# ---------------------------------------------------------------- GMM


def full_stats(x):
    """Statistics of one Gaussian that all frames x (T, D) belong to."""
    x = torch.as_tensor(x, dtype=torch.float64)
    return FullStats(torch.tensor([float(len(x))]).double(), x.sum(0)[None], (x.T @ x)[None], 0.0, len(x))


def one_gaussian(dim):
    return FullGmm.from_moments(np.ones(1), np.zeros((1, dim)), np.eye(dim)[None])


@pytest.mark.parametrize(
    "case, x",
    [
        ("a constant coefficient", np.column_stack([RNG.normal(size=500), np.full(500, 3.0)])),
        ("two that are equal", np.repeat(RNG.normal(size=(500, 1)), 2, 1)),
        ("all frames equal", np.full((500, 2), -7.0)),
        ("far from zero", 1e6 + RNG.normal(size=(500, 2)) * 1e-4),
    ],
)
def test_covariances_that_are_singular_are_floored_and_counted(case, x):
    model, report = update(one_gaussian(2), full_stats(x), UpdateOptions())
    assert report.floored >= 1 and report.floored_gaussians == 1
    assert np.isfinite(model.inverse).all() and np.linalg.eigvalsh(model.covariances[0]).min() > 0.0005


def test_dead_gaussians_are_kept_or_removed_and_counted():
    far = DiagGmm.from_moments(np.array([0.5, 0.5]), np.array([[0.0], [1e4]]), np.ones((2, 1)))
    for remove, left in ((True, 1), (False, 2)):
        stats = DiagStats.zeros(2, 1)
        stats.accumulate(
            torch.as_tensor(RNG.normal(size=(400, 1)), dtype=torch.float32), DiagScorer(far, CPU, torch.float64)
        )
        model, report = update(far, stats, UpdateOptions(remove_low_count=remove))
        assert (model.num_gauss, report.low_count, report.removed) == (left, 1, int(remove))
        assert np.isfinite(model.gconsts).all() and abs(model.weights.sum() - 1) < 1e-4


def test_one_constant_coefficient_is_modelled_and_all_constant_ones_are_refused():
    frames = RNG.normal(size=(400, 3)).astype(np.float32)
    frames[:, 1] = 2.5
    model, _ = initialise(frames, InitOptions(4, 2, 4, UpdateOptions()), np.random.default_rng(0), CPU, torch.float32)
    assert np.isfinite(model.gconsts).all() and model.covariances[:, 1].max() < 0.0011
    with pytest.raises(InputError, match="all equal"):
        initialise(
            np.full((400, 3), 2.5, np.float32),
            InitOptions(4, 2, 4, UpdateOptions()),
            np.random.default_rng(0),
            CPU,
            torch.float32,
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_statistics_that_are_not_finite_are_refused(value):
    frames = RNG.normal(size=(400, 2))
    frames[7, 1] = value
    full = full_stats(frames)
    diagonal = DiagStats(full.count, full.first, full.second.diagonal(dim1=1, dim2=2))
    for model, stats in ((one_gaussian(2), full), (one_gaussian(2).to_diag(), diagonal)):
        with pytest.raises(InputError, match="GMM statistics: found sums up to (nan|inf|1e.60); expected finite sums"):
            update(model, stats, UpdateOptions())


def _features(spoil):
    features = {f"s{k}-u{u}": RNG.normal(size=(60, 4)).astype(np.float32) for k in range(4) for u in range(3)}
    spoil(features)
    return features


def _set(key, value):
    def spoil(features):
        features[key] = value(features[key])

    return spoil


def _nan(x):
    return np.where(np.arange(len(x))[:, None] == 5, np.nan, x).astype(np.float32)


FRONT_END = "--delta-order=0\n--cmn-window=0\n"
UBM = [
    "--num-gauss=8",
    "--num-iters-init=3",
    "--num-iters-diag=1",
    "--num-iters-full=1",
    "--subsample=1",
    "--min-occupancy-full=5",
    "--device=cpu",
]


@pytest.mark.parametrize(
    "case, spoil, options, message",
    [
        ("more Gaussians than frames", lambda features: None, ["--num-gauss=4096"], "frames for 2048 Gaussians"),
        ("constant features", lambda f: f.update({key: np.full_like(x, 2.0) for key, x in f.items()}), [], "all equal"),
        ("NaN in one recording", _set("s1-u1", _nan), [], "not finite"),
        ("another dimension", _set("s1-u1", lambda x: x[:, :3]), [], "3"),
        ("fewer coefficients than wanted", lambda features: None, ["--frontend"], "--num-ceps=9"),
    ],
)
def test_the_ubm_refuses(tmp_path, capsys, case, spoil, options, message):
    features = _features(spoil)
    write_data(tmp_path / "data", features, {key: np.ones(len(x)) for key, x in features.items()})
    put(tmp_path / "ivector.conf", *(FRONT_END + ("--num-ceps=9\n" if "--frontend" in options else "")).splitlines())
    extra = [word for word in options if word != "--frontend"]
    code = train_ubm.main(
        [*UBM, *extra, f"--frontend-config={tmp_path / 'ivector.conf'}", str(tmp_path / "data"), str(tmp_path / "ubm")]
    )
    assert code == 1
    refused(capsys, message)
    assert not (tmp_path / "ubm" / "final.ubm").exists()


def test_identical_recordings_make_a_ubm_that_says_so(tmp_path):
    """Every recording the same: few distinct frames, dead Gaussians; what is left is finite and recorded."""
    same = RNG.normal(size=(60, 4)).astype(np.float32)
    features = {f"s{k}-u{u}": same for k in range(4) for u in range(3)}
    write_data(tmp_path / "data", features, {key: np.ones(60) for key in features})
    put(tmp_path / "ivector.conf", *FRONT_END.splitlines())
    assert (
        train_ubm.main(
            [*UBM, f"--frontend-config={tmp_path / 'ivector.conf'}", str(tmp_path / "data"), str(tmp_path / "ubm")]
        )
        == 0
    )
    model = read_full(tmp_path / "ubm" / "final.ubm")
    record = json.loads((tmp_path / "ubm" / "likelihood.json").read_text())
    assert np.isfinite(model.gconsts).all() and {"low_count", "removed", "floored"} <= set(record["1.ubm"])


# ---------------------------------------------------------------- i-vectors


def extractor():
    ubm = FullGmm.from_moments(np.array([0.4, 0.6]), RNG.normal(size=(2, 3)), np.stack([np.eye(3)] * 2))
    return IvectorExtractor.from_ubm(ubm, 4, [2])


def test_no_frame_gives_the_prior_and_one_frame_nearly():
    estimator = Estimator(extractor(), CPU)
    for frames in (0.0, 1e-12, 1.0):
        count = torch.tensor([[frames, 0.0]]).double()
        result = estimator.solve(estimator.terms(count, count[:, :, None] * torch.ones(1, 2, 3)), slice(0, 1))
        assert torch.isfinite(result.mean).all()
        if frames == 0.0:
            assert not result.mean.any()


# ---------------------------------------------------------------- front end, networks


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_recordings_of_a_few_frames_have_features_and_embeddings(frames):
    x = RNG.normal(size=(frames, 5)).astype(np.float32)
    for options in (FrontendOptions(), FrontendOptions(norm_vars=True), FrontendOptions(center=False)):
        assert np.isfinite(frontend(x, np.ones(frames), options)).all()
    import bundle_data

    net, _ = bundle_data.network()
    ((_, vector),) = Embedder(net, EmbedOptions(), CPU).stream(
        [("a", RNG.normal(size=(frames, bundle_data.CEPS)).astype(np.float32))]
    )
    assert np.isfinite(vector).all()


def test_a_network_of_constant_features_stays_finite(tmp_path):
    """No variation at all: batch norm and deviations are floored, the loss is that of guessing."""
    features = {f"s{k}-u{u}": np.full((40, 4), 1.5, np.float32) for k in range(3) for u in range(4)}
    write_data(tmp_path / "data", features, {key: np.ones(40) for key in features}, [f"s{k}-u3" for k in range(3)])
    assert (
        train_tdnn.main([*SMALL, "--epochs=1", "--pooling=statistics", str(tmp_path / "data"), str(tmp_path / "exp")])
        == 0
    )
    line = json.loads((tmp_path / "exp" / "train.jsonl").read_text().splitlines()[-1])
    assert np.isfinite(line["loss"]) and np.isfinite(line["valid_loss"])
