"""Every computation that may run on a GPU, on tensors that pose as its own: none meets a tensor of the CPU."""

import golden_system
import numpy as np
import pytest
import torch
from bundle_data import make_bundle, speech
from gmm_models import NO_LIMITS, draw, random_full
from posed import GPU, Posed, pose
from tdnn_data import SMALL, tiny_data

from pyasp import SpeakerModel
from pyasp.bin import extract
from pyasp.core.command import parse
from pyasp.gmm.em import DiagStats, FullStats
from pyasp.gmm.init import InitOptions, initialise
from pyasp.gmm.posteriors import Aligner, DiagScorer
from pyasp.ivector.model import Estimator, IvectorExtractor
from pyasp.ivector.statistics import extract as extract_ivectors
from pyasp.ivector.train import expectation
from pyasp.kaldi import ScpReader
from pyasp.network import checkpoint
from pyasp.training import trainer
from pyasp.training.options import NetworkOptions


@pytest.fixture
def gpu(monkeypatch):
    pose(monkeypatch)
    return GPU


def test_the_pose_refuses_what_a_gpu_refuses(gpu):
    """Planted mistakes, and what is allowed."""
    here, there = torch.ones(3, 4), torch.ones(3, 4, device="cuda")
    layer = torch.nn.Linear(4, 2).to(gpu)
    mixed = [
        lambda: there + here, lambda: here * there, lambda: there @ here.T, lambda: torch.cat([here, there]),
        lambda: there.add_(here), lambda: here.add_(there), lambda: torch.mm(there, there.T, out=torch.empty(3, 3)),
        lambda: layer(here), lambda: torch.nn.functional.cross_entropy(there, torch.zeros(3, dtype=torch.int64)),
        lambda: there.index_select(0, torch.tensor([1])), lambda: torch.where(here > 0, there, 0.0),
        lambda: there.masked_fill(here > 0, 0.0), lambda: torch.arange(4) < there[0],
    ]  # fmt: skip
    for each in mixed:
        with pytest.raises(RuntimeError, match="same device"):
            each()
    for each in (there.numpy, lambda: np.asarray(there), lambda: np.add(there, 1)):
        with pytest.raises(TypeError, match="cpu"):
            each()
    for each in (there + torch.tensor(1.0), there[torch.tensor([0])], there.sum(), layer(there), there.new_ones(2)):
        assert isinstance(each, Posed) and each.device == gpu
    assert not isinstance(there.cpu(), Posed) and there.to("cpu").numpy().sum() == 12
    assert there.cpu().device.type == "cpu" and float(there.sum()) == 12 and here.copy_(there).device.type == "cpu"
    layer(there).sum().backward()
    assert isinstance(layer.weight, Posed) and isinstance(layer.weight.grad, Posed)


NETWORKS = {
    "tdnn": ["--pooling=attentive_statistics", "--dropout=0.1", "--attention-heads=2", "--mask-frames=5"],
    "ecapa": ["--encoder=ecapa", "--pooling=channel_attentive_statistics", "--optimiser=sgd"],
    "resnet34": ["--encoder=resnet34", "--pooling=sample_statistics", "--frame-dim=2", "--loss=aam", "--segment-dim=0"],
}


def trained(data, directory, network, *more):
    """final.pt of two epochs of two steps, and the embeddings of all recordings."""
    chosen = {
        word.split("=")[0]: word for word in [*SMALL, "--epochs=2", "--steps-per-epoch=2", *NETWORKS[network], *more]
    }
    trainer.train(data, directory, parse(NetworkOptions, list(chosen.values()))[0], 1)
    words = [*more[:1], str(data.path), str(directory / "final.pt"), str(directory / "e")]
    assert extract.main(words) == 0
    vectors = {utt: vector for scp in directory.glob("e.*.scp") for utt, vector in ScpReader(scp).items()}
    return checkpoint.load(directory / "final.pt"), vectors


@pytest.mark.parametrize("store", ["float", "byte", "archive"])
@pytest.mark.parametrize("network", NETWORKS)
def test_a_network_is_trained_validated_and_extracted_as_on_the_cpu(monkeypatch, tmp_path, network, store):
    """Step, validation, checkpoints, stored features on the GPU, padded batches: the same numbers."""
    monkeypatch.setattr(trainer, "matmul_peak", lambda *device: 1e9)
    data = tiny_data(tmp_path / "data")
    one = trained(data, tmp_path / "cpu", network, "--device=cpu", f"--store={store}")
    with monkeypatch.context() as patch:
        pose(patch)
        other = trained(data, tmp_path / "gpu", network, "--device=cuda", f"--store={store}")
    assert one[0]["valid_loss"] == other[0]["valid_loss"] and one[0]["epoch"] == other[0]["epoch"]
    assert all(torch.equal(one[0]["model"][name], weights) for name, weights in other[0]["model"].items())
    assert set(one[1]) == set(data.utt2spk) and all(np.array_equal(one[1][utt], other[1][utt]) for utt in one[1])


def test_features_in_8_bits_that_do_not_fit_come_from_the_host(monkeypatch, tmp_path):
    monkeypatch.setattr(trainer, "matmul_peak", lambda *device: 1e9)
    data = tiny_data(tmp_path / "data")
    one = trained(data, tmp_path / "cpu", "tdnn", "--device=cpu", "--store=byte")
    with monkeypatch.context() as patch:
        pose(patch, free=1000)
        other = trained(data, tmp_path / "gpu", "tdnn", "--device=cuda", "--store=byte")
    assert one[0]["valid_loss"] == other[0]["valid_loss"]


def test_ubm_extractor_and_ivectors_are_those_of_the_cpu(monkeypatch):
    """Start, iterations of both UBMs, E-step of the extractor, i-vectors; in double precision."""
    rng = np.random.default_rng(1)
    full = random_full(rng, 6, 3)
    recordings = [(f"u{k}", draw(full, 40, rng).astype(np.float32)) for k in range(8)]
    extractor = IvectorExtractor.from_ubm(full, 4, [5])

    def computed(device):
        frames = np.concatenate([x for _, x in recordings])
        first, _ = initialise(frames, InitOptions(4, 2, 3, NO_LIMITS), np.random.default_rng(2), device, torch.float64)
        x, diag = torch.from_numpy(frames).to(device), DiagScorer(first, device, torch.float64)
        stats = [DiagStats.zeros(4, 3, device), FullStats.zeros(6, 3, device)]
        stats[0].accumulate(x, diag, diag, 3)
        aligner = Aligner(full.to_diag(), full, 4, 0.025, device=device, dtype=torch.float64)
        stats[1].accumulate(x, aligner(x), dtype=torch.float64)
        stats.append(expectation(recordings, aligner, extractor, torch.float64))
        vectors = [v for _, v in extract_ivectors(recordings, aligner, Estimator(extractor, device, torch.float64))]
        values = [v for each in stats for v in vars(each).values()]
        assert all(v.device.type == device.type for v in values if isinstance(v, torch.Tensor))
        return [
            first.means,
            np.array(vectors),
            *(v.cpu().numpy() if isinstance(v, torch.Tensor) else v for v in values),
        ]

    one = computed(torch.device("cpu"))
    with monkeypatch.context() as patch:
        pose(patch)
        other = computed(GPU)
    assert len(one) == len(other) > 12
    for a, b in zip(one, other):
        np.testing.assert_allclose(a, b, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("kind", ["network", "kaldi"])
def test_a_loaded_model_scores_as_on_the_cpu(monkeypatch, tmp_path, kind):
    model = make_bundle(tmp_path / "model") if kind == "network" else tmp_path
    if kind == "kaldi":
        golden_system.write_directory(golden_system.find_system(), tmp_path)
    one = SpeakerModel.load(model)
    waves = [speech(seed=k, rate=one.rate) for k in range(2)]
    expected = one.score(*(one.embed(wave, one.rate) for wave in waves))
    pose(monkeypatch)
    other = SpeakerModel.load(model, device="cuda")
    assert other.score(*(other.embed(wave, one.rate) for wave in waves)) == pytest.approx(expected, rel=1e-4, abs=1e-4)
