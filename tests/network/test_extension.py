"""Every encoder of the table, and an encoder and a pooling of somebody else's with one line each in the open tables: every
tool takes them."""

import json

import numpy as np
import pytest
import torch
from bundle_data import CEPS, DIM, RATE, make_bundle, speech, write_sound
from pytest import approx
from tdnn_data import SMALL, tiny_data
from torch import nn

from pyasp.bin import _attention, export, extract, plot, train_tdnn, verify
from pyasp.bundle.extractors import load_network
from pyasp.bundle.format import read_bundle, write_manifest
from pyasp.bundle.make import Found, write_network
from pyasp.core.conf import write_conf
from pyasp.core.errors import InputError
from pyasp.core.records import load_record, made_path
from pyasp.features.fbank import FbankOptions
from pyasp.features.frontend import NetworkFrontendOptions
from pyasp.features.stored import iterate
from pyasp.kaldi import ScpReader
from pyasp.network import checkpoint
from pyasp.network.attention import frame_weights
from pyasp.network.contract import Encoder, Pooling
from pyasp.network.model import ENCODERS
from pyasp.network.pooling import POOLINGS
from pyasp.network.tdnn import Tdnn
from pyasp.training import trainer

SYSTEMS = {  # what each one's settings say, with frames that are context alone
    "own": (["--encoder=convolution", "--pooling=gated", "--dropout=0.2"], 4),
    "tdnn": (["--encoder=tdnn", "--pooling=statistics", "--feature-type=fbank"], 14),
    "ecapa": (
        ["--encoder=ecapa", "--pooling=channel_attentive_statistics", "--dropout=0.2", "--feature-type=fbank"],
        0,
    ),
    "resnet34": (["--encoder=resnet34", "--pooling=attentive_statistics", "--frame-dim=2", "--feature-type=fbank"], 0),
    "r_vector": (
        ["--encoder=resnet34", "--pooling=sample_statistics", "--frame-dim=2", "--loss=aam", "--segment-dim=0"],
        0,
    ),
}
OWN = SYSTEMS["own"][0]
CPU = torch.device("cpu")


class Convolution(Encoder):
    """A convolution over five frames, times a learned number."""

    frames_lost = 4

    def __init__(self, options, in_dim):
        super().__init__()
        self.conv = nn.Conv1d(in_dim, options.pooling_dim, 5)  # a weight of three axes
        self.gain = nn.Parameter(torch.tensor(1.0))  # and one of none
        self.output_dim = options.pooling_dim

    def forward(self, x, lengths=None):
        h = self.gain * self.conv(x.transpose(1, 2)).relu().transpose(1, 2)
        return h, None if lengths is None else torch.arange(h.shape[1]) < lengths[:, None] - self.frames_lost


class Gated(Pooling):
    """A mean under the softmax of one linear map."""

    attends = True

    def __init__(self, dim, options):
        super().__init__()
        self.gate, self.output_dim = nn.Linear(dim, 1), dim

    def weights(self, h, mask=None):
        scores = self.gate(h).squeeze(2)
        return (scores if mask is None else scores.masked_fill(~mask, -torch.inf)).softmax(1)

    def forward(self, h, mask=None):
        return (self.weights(h, mask).unsqueeze(2) * h).sum(1)


@pytest.fixture(autouse=True)
def registered(monkeypatch):
    monkeypatch.setitem(ENCODERS, "convolution", Convolution)
    monkeypatch.setitem(POOLINGS, "gated", Gated)
    monkeypatch.setattr(trainer, "matmul_peak", lambda *device: 1e9)


def train(data, out, *more):
    words = [*SMALL, "--epochs=3", "--steps-per-epoch=3", f"--embedding-dim={DIM}", *more]
    chosen = {word.split("=")[0]: word for word in words}  # the last one counts
    return train_tdnn.main([*chosen.values(), str(data.path), str(out)])


def failing(whole, calls):
    """A function that ends the process, so to speak, at its n-th call."""
    turn = iter(range(calls - 1))
    return lambda *arguments: whole(*arguments) if next(turn, None) is not None else 1 / 0


@pytest.fixture(params=SYSTEMS)
def system(request):
    """(name, settings, context)."""
    return request.param, *SYSTEMS[request.param]


@pytest.fixture
def trained(system, tmp_path):
    data = tiny_data(tmp_path / "data", dim=CEPS)
    if "--feature-type=fbank" in system[1]:
        (data / "fbank").mkdir()
        (data / "feats.scp").rename(data / "fbank/feats.scp")
    assert train(data, tmp_path / "exp/own", *system[1]) == 0
    return data, tmp_path / "exp/own"


@pytest.fixture
def bundle(system, trained, tmp_path):
    """The trained network as pyasp.bundle.make writes it, among the other files of a bundle."""
    model, record = make_bundle(tmp_path / "model"), {"inputs": {str(trained[1] / "final.pt"): ""}, "options": {}}
    found = Found(trained[1], record, {}, {}, trained[1])
    if "--feature-type=fbank" in system[1]:
        options = FbankOptions(RATE, dither=0.0, num_mel_bins=CEPS, high_freq=3700.0, snip_edges=False)
        write_conf(model / "fbank.conf", options)
    facts = {"system": "own", "rate": RATE, "calibrated": False, **write_network(found, model)}
    write_manifest(model, "network", facts)
    return model


def test_it_is_learned_and_resumed_bit_for_bit(system, trained, tmp_path, monkeypatch):
    data, straight = trained
    with monkeypatch.context() as patch:
        patch.setattr(trainer, "train_step", failing(trainer.train_step, 6))
        with pytest.raises(ZeroDivisionError):
            train(data, tmp_path / "killed", *system[1])
    assert not (tmp_path / "killed/final.pt").exists() and train(data, tmp_path / "killed", *system[1]) == 0
    for name in ("init.pt", "last.pt", "final.pt"):
        assert (straight / name).read_bytes() == (tmp_path / "killed" / name).read_bytes()
    net, options = checkpoint.load_network(straight / "final.pt", CPU)
    assert [f"--encoder={options['encoder']}", f"--pooling={options['pooling']}"] == system[1][:2]
    assert type(net.frames) is ENCODERS[options["encoder"]]
    if system[0] == "own":
        assert net.multiply_adds(10) == 6 * (5 * CEPS * 24 + 24) + 24 * DIM + DIM * 12 + 12 * 4
    before = dict(checkpoint.load_network(straight / "init.pt", CPU)[0].named_parameters())
    for name, value in net.named_parameters():
        assert not torch.equal(before[name], value), name


def test_its_embeddings_are_extracted_in_batches_as_alone(system, trained, tmp_path, capsys):
    data, directory = trained
    words = [str(data.path), str(directory / "final.pt"), str(tmp_path / "e")]
    chosen = {word.split("=")[0]: word for word in [*SMALL, *system[1], "--extract-min-frames=15"]}
    assert extract.main([*chosen.values(), *words]) == 0
    other = "mfcc" if "--feature-type=fbank" in system[1] else "fbank"
    (data / other).mkdir(), (data / other / "feats.scp").touch(), (data / "feats.scp").touch()
    assert extract.main([*{**chosen, "--feature-type": f"--feature-type={other}"}.values(), *words]) == 1
    found = {utt: vector for scp in tmp_path.glob("e.*.scp") for utt, vector in ScpReader(scp).items()}
    net, options = checkpoint.load_network(directory / "final.pt", CPU)
    frames = dict(iterate(data, checkpoint.options_from(options, NetworkFrontendOptions, directory)))
    assert set(found) == set(data.utt2spk)
    for utt, vector in found.items():
        with torch.inference_mode():
            np.testing.assert_allclose(vector, net.embed(torch.from_numpy(frames[utt])[None])[0], rtol=1e-4, atol=1e-5)


def test_it_is_bundled_verified_exported_and_shown(system, bundle, trained, tmp_path, capsys):
    if system[0] == "own":
        facts = json.loads((bundle / "bundle.json").read_text())
        assert facts["shapes"] == {"frames.gain": [], "frames.conv.weight": [24, CEPS, 5]}
    trained_net, net = checkpoint.load_network(trained[1] / "final.pt", CPU)[0], load_network(read_bundle(bundle))[0]
    x = torch.randn(2, 30, CEPS)
    assert torch.equal(net.embed(x), trained_net.embed(x))
    wavs = [write_sound(tmp_path / f"{k}.wav", speech(seed=k)) for k in range(2)]
    assert verify.main(["--model", str(bundle), *wavs]) == 0 and "likelihood ratio" in capsys.readouterr().out
    attends, half = net.pooling.attends, system[2] // 2
    drawn = plot.main(["attention", "--model", str(bundle), wavs[0], "--out", str(tmp_path / "a.png")])
    assert drawn == (0 if attends else 1) and list(_attention.attending(tmp_path / "exp")) == ["own"] * attends
    if attends:
        weights = frame_weights(net, x[0].numpy(), np.ones(30, bool))
        assert np.flatnonzero(np.isfinite(weights)).tolist() == list(range(half, 30 - half))
        assert np.nanmean(weights) == approx(1, abs=0.3)
    pytest.importorskip("onnxruntime")
    assert export.main(["--onnx", str(bundle), str(tmp_path / "x.onnx")]) == 0
    assert float(capsys.readouterr().out.split("at most ")[1].split()[0]) < 1e-5


@pytest.mark.parametrize("system", ["own"], indirect=True)
@pytest.mark.parametrize(
    "shapes, message", [({"frames.conv.weight": [24, 5, CEPS]}, "size mismatch"), ({"frames.gain": [2]}, "reshape")]
)
def test_shapes_that_do_not_fit_are_told(bundle, shapes, message):
    facts = json.loads((bundle / "bundle.json").read_text())
    facts["shapes"].update(shapes)
    (bundle / "bundle.json").write_text(json.dumps(facts))
    with pytest.raises(InputError, match=f"network.ark.*{message}"):
        load_network(read_bundle(bundle))


def test_options_are_held_against_the_encoder_s_own_context(tmp_path, capsys):
    data = tiny_data(tmp_path / "data")
    assert train(data, tmp_path / "a", *OWN, "--min-chunk=4") == 1
    assert "--min-chunk: found 4; expected at least 5" in capsys.readouterr().err
    assert train(data, tmp_path / "a", "--encoder=tdnn", "--min-chunk=14") == 1
    assert "--min-chunk: found 14; expected at least 15" in capsys.readouterr().err
    assert train(data, tmp_path / "a", "--encoder=other") == 1
    assert " or ".join(ENCODERS) in capsys.readouterr().err


def test_what_was_made_before_there_were_encoders_is_the_tdnn_s(tmp_path):
    data = tiny_data(tmp_path / "data")
    words = [*SMALL, "--epochs=1", "--steps-per-epoch=2", str(data.path), str(tmp_path / "exp")]
    assert train_tdnn.main(words) == 0
    path = tmp_path / "exp/final.pt"
    assert "encoder" not in load_record(made_path(path))["options"]
    state = checkpoint.load(path)
    del state["options"]["encoder"]
    checkpoint.save(path, state)
    assert isinstance(checkpoint.load_network(path, CPU)[0].frames, Tdnn)
    model = make_bundle(tmp_path / "model")
    conf, facts = model / "network.conf", json.loads((model / "bundle.json").read_text())
    conf.write_text(conf.read_text().replace("--encoder=tdnn\n", ""))
    write_manifest(model, facts["kind"], {key: facts[key] for key in facts if key not in ("shapes", "kind", "files")})
    assert isinstance(load_network(read_bundle(model))[0].frames, Tdnn)
