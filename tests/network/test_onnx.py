"""A network of an ONNX file as a system: the embeddings of torch, what its metadata decide, and what is refused."""

import functools
import re

import numpy as np
import onnx
import pytest
import torch
from bundle_data import CEPS, DIM, RATE, make_bundle, speech, write_sound
from tdnn_data import SMALL, tiny_data

from pyasp.bin import _attention, export, extract, plot, train_tdnn, verify
from pyasp.bundle.extractors import load_network
from pyasp.bundle.format import read_bundle, write_manifest
from pyasp.bundle.make import Found, write_network
from pyasp.core.conf import write_conf
from pyasp.core.records import describe, write_made
from pyasp.features.fbank import FbankOptions
from pyasp.features.frontend import NetworkFrontendOptions
from pyasp.features.stored import iterate
from pyasp.kaldi import ScpReader
from pyasp.network.model import ArchitectureOptions, Network
from pyasp.network.onnx import LOWERED, to_onnx

pytest.importorskip("onnxruntime")
SHERPA = {"framework": "wespeaker", "sample_rate": str(RATE), "output_dim": str(DIM), "normalize_samples": "0"}
NETWORKS = {
    "ecapa": {"pooling": "channel_attentive_statistics", "frame_dim": 16, "pooling_dim": 24, "attention_dim": 6},
    "resnet34": {"pooling": "sample_statistics", "frame_dim": 2},
}


class Published(torch.nn.Module):
    """As others publish them: features alone go in."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, feats):
        return self.net.embed(feats)


@functools.cache
def network(encoder="ecapa"):
    torch.manual_seed(4)
    net = Network(ArchitectureOptions(encoder=encoder, embedding_dim=DIM, segment_dim=5, **NETWORKS[encoder]), CEPS, 3)
    for _ in range(2):
        net(torch.randn(6, 40, CEPS))
    return net.eval()


EXPORTED = {}  # bytes of files, by network and axes or metadata: each is drawn once


def published(net, path, facts, axes=None, example=None):
    """A file without the input `lengths`."""
    axes = axes if axes is not None else {"feats": {0: "B", 1: "T"}, "embs": {0: "B"}}
    key = net, str(axes)
    if key not in EXPORTED:
        torch.onnx.export(
            (net if example is not None else Published(net)).eval(),
            (example if example is not None else torch.zeros(1, 50, CEPS),),
            str(path),
            dynamo=False,
            input_names=["feats"],
            output_names=["embs"],
            dynamic_axes=axes,
        )
        EXPORTED[key] = path.read_bytes()
    model = onnx.load_from_string(EXPORTED[key])
    onnx.helper.set_model_props(model, facts)
    onnx.save(model, str(path))
    return path


def ours(net, path, facts):
    key = net, str(facts)
    if key not in EXPORTED:
        onnx.save(to_onnx(net, facts, net.shortest), str(path))
        EXPORTED[key] = path.read_bytes()
    path.write_bytes(EXPORTED[key])
    return path


def system(tmp_path, file, *more):
    """(data, EXP/SYSTEM, exit code) of a system of this file on filter banks of CEPS bins at RATE."""
    data = tiny_data(tmp_path / "data", dim=CEPS)  # the same at each call
    (data / "fbank").mkdir(exist_ok=True)
    (data / "feats.scp").rename(data / "fbank/feats.scp")
    write_made(data / "fbank/feats.scp", describe("make_fbank", FbankOptions(RATE, num_mel_bins=CEPS), []))
    words = [*SMALL, "--encoder=onnx", f"--model={file}", "--feature-type=fbank", *more]
    chosen = {word.split("=")[0]: word for word in words}
    return data, tmp_path / "exp/my", train_tdnn.main([*chosen.values(), str(data.path), str(tmp_path / "exp/my")])


def embeddings(tmp_path, data, directory):
    words = ["--feature-type=fbank", str(data.path), str(directory / "final.pt"), str(tmp_path / "e")]
    assert extract.main(words) == 0
    return {utt: vector for scp in tmp_path.glob("e.*.scp") for utt, vector in ScpReader(scp).items()}


@pytest.mark.parametrize("facts", [{}, SHERPA], ids=["bare", "metadata"])
@pytest.mark.parametrize("make", [ours, published])
@pytest.mark.parametrize("encoder", NETWORKS)
def test_embeddings_are_those_of_torch(tmp_path, encoder, make, facts):
    net = network(encoder)
    data, directory, code = system(tmp_path, make(net, tmp_path / "x.onnx", facts))
    assert code == 0
    frames = dict(iterate(data, NetworkFrontendOptions(feature_type="fbank", cmn_window=100)))
    found = embeddings(tmp_path, data, directory)
    assert set(found) == set(data.utt2spk)
    for utt, vector in found.items():
        feats = torch.from_numpy(frames[utt])
        feats = feats[torch.arange(max(len(feats), 25)) % len(feats)][None]
        with torch.inference_mode():
            np.testing.assert_allclose(vector, net.embed(feats)[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "facts, settings, change",
    [
        ({"feature_normalize_type": "global-mean"}, [], lambda x: x - x.mean(0)),
        ({"feature_normalize_type": "global-mean", "normalize_samples": "1"}, [], lambda x: x - x.mean(0)),
        ({"normalize_samples": "1"}, ["--cmn-window=0"], lambda x: np.maximum(x - LOWERED, -15.942385)),
        ({}, ["--cmn-window=0", "--normalize-samples=true"], lambda x: np.maximum(x - LOWERED, -15.942385)),
        ({"normalize_samples": "0"}, ["--cmn-window=0", "--normalize-samples=true"], lambda x: x),
    ],
)
def test_scale_and_mean_are_the_file_s_or_else_the_settings(tmp_path, facts, settings, change):
    net = network()
    data, directory, code = system(tmp_path, published(net, tmp_path / "x.onnx", facts), *settings)
    assert code == 0
    feats, vad = ScpReader(data / "fbank/feats.scp"), ScpReader(data / "vad.scp")
    for utt, vector in list(embeddings(tmp_path, data, directory).items())[:6]:
        x = torch.from_numpy(np.asarray(change(feats[utt])[vad[utt] > 0], np.float32))
        x = x[torch.arange(max(len(x), 25)) % len(x)][None]
        with torch.inference_mode():
            np.testing.assert_allclose(vector, net.embed(x)[0], rtol=1e-4, atol=1e-5)


def test_a_batch_of_one_takes_recordings_one_by_one(tmp_path):
    file = published(network(), tmp_path / "x.onnx", {}, axes={"feats": {1: "T"}})
    data, directory, code = system(tmp_path, file)
    assert code == 0 and len(embeddings(tmp_path, data, directory)) == len(data.utt2spk)


def test_it_is_bundled_and_verified(tmp_path, capsys):
    net = network()
    data, directory, _ = system(tmp_path, published(net, tmp_path / "x.onnx", SHERPA))
    assert "wespeaker" in capsys.readouterr().err and list(_attention.attending(tmp_path / "exp")) == []
    model = make_bundle(tmp_path / "model")
    (model / "network.ark").unlink()
    record = {"inputs": {str(directory / "final.pt"): ""}, "options": {}}
    facts = {"system": "my", "rate": RATE, "calibrated": False}
    facts |= write_network(Found(directory, record, {}, {}, directory), model)
    options = FbankOptions(RATE, dither=0.0, num_mel_bins=CEPS, high_freq=3700.0, snip_edges=False)
    write_conf(model / "fbank.conf", options)
    write_manifest(model, "onnx", facts)
    assert (model / "network.onnx").read_bytes() == (tmp_path / "x.onnx").read_bytes()
    assert str(tmp_path) not in (model / "network.conf").read_text()
    loaded, x = load_network(read_bundle(model))[0], torch.randn(3, 40, CEPS)
    torch.testing.assert_close(loaded.embed(x), net.embed(x).detach(), rtol=1e-4, atol=1e-5)
    wavs = [write_sound(tmp_path / f"{k}.wav", speech(seed=k)) for k in range(2)]
    assert verify.main(["--model", str(model), *wavs]) == 0 and "likelihood ratio" in capsys.readouterr().out
    assert plot.main(["attention", "--model", str(model), wavs[0], "--out", str(tmp_path / "a.png")]) == 1
    assert export.main(["--onnx", str(model), str(tmp_path / "y.onnx")]) == 1
    assert "network.onnx" in capsys.readouterr().err


def test_a_finished_system_is_kept_until_its_file_changes(tmp_path, capsys):
    file = ours(network(), tmp_path / "x.onnx", {})
    _, directory, _ = system(tmp_path, file)
    before = (directory / "final.pt").read_bytes()
    assert system(tmp_path, file)[2] == 0 and "up to date" in capsys.readouterr().err
    ours(network("resnet34"), file, {})
    assert system(tmp_path, file)[2] == 1 and "x.onnx changed" in capsys.readouterr().err
    assert (directory / "final.pt").read_bytes() == before
    assert system(tmp_path, file, "--force=true")[2] == 0 and (directory / "final.pt").read_bytes() != before


class Wave(torch.nn.Module):
    def forward(self, wave):
        return wave[:, :8] * 2


class Frames(torch.nn.Module):
    def forward(self, feats):
        return feats * 2


@pytest.mark.parametrize(
    "make, message",
    [
        (
            lambda path: published(Wave(), path, {}, {"feats": {1: "n"}}, torch.zeros(1, 50)),
            r"inputs feats .*\[1, 'n'\]",
        ),
        (lambda path: published(Frames(), path, {}, None, torch.zeros(1, 50, CEPS)), "output of shape"),
        (
            lambda path: published(Frames(), path, {}, {"feats": {2: "T"}}, torch.zeros(1, CEPS, 50)),
            "bins before frames",
        ),
        (lambda path: published(Frames(), path, {}, {"feats": {1: "T"}}, torch.zeros(1, 50, 80)), "80 coefficients"),
        (lambda path: published(network(), path, {"sample_rate": "16000"}), "audio at 16000 Hz; expected 8000 Hz"),
        (lambda path: published(network(), path, {"output_dim": "512"}), "8 outputs; expected 512"),
        (lambda path: published(network(), path, {"framework": "nemo"}), "bins before frames"),
        (lambda path: published(network(), path, {"normalize_samples": "yes"}), "normalize_samples 'yes'"),
        (lambda path: published(network(), path, {"feature_normalize_type": "odd"}), "expected global-mean"),
        (lambda path: path.write_bytes(b"nothing"), "no usable ONNX model"),
        (lambda path: None, "--model: found .*x.onnx; expected the file of a network"),
    ],
)
def test_what_does_not_fit_is_told(tmp_path, capsys, make, message):
    make(tmp_path / "x.onnx")
    code = system(tmp_path, tmp_path / "x.onnx")[2]
    told = capsys.readouterr().err.splitlines()[-1]
    assert code == 1 and told.startswith("error: ") and re.search(message, told), told
    assert not (tmp_path / "exp/my/final.pt").exists()
