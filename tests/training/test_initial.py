"""Starting from a trained network: what is taken, what is new, what is held, and that it is recorded and repeats."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from bundle_data import make_bundle
from tdnn_data import SMALL, tiny_data
from test_trainer import Killed, assert_same_training, kill_at, one_thread, options  # noqa: F401
from torch import nn

from pyasp.bin import train_tdnn
from pyasp.core.errors import InputError
from pyasp.core.records import describe, load_record, made_path, write_made
from pyasp.data.datadir import DataDir
from pyasp.network import checkpoint
from pyasp.network.contract import Encoder
from pyasp.network.model import ENCODERS
from pyasp.training.trainer import train

LAYERS = [f"frames.{k}.{part}" for k in range(5) for part in ("affine", "norm")]
POOLING = [f"pooling.attention.{part}" for part in ("hidden", "norm", "score")]
BEHIND = ["embedding.affine", "embedding.norm", "segment.affine", "segment.norm"]


@pytest.fixture
def other(tmp_path):
    """A network of four speakers."""
    train(tiny_data(tmp_path / "other-data"), tmp_path / "other", options("--epochs=2"), 1)
    return tmp_path / "other/final.pt"


@pytest.fixture
def data(tmp_path):
    """Six other speakers."""
    return tiny_data(tmp_path / "data", speakers=6, seed=5)


def weights(path):
    return checkpoint.load(path)["model"]


def test_new_speakers_get_a_new_output_layer_and_the_rest_is_taken(other, data, tmp_path, capsys):
    train(data, tmp_path / "exp", options(f"--init={other}"), 2)
    before, after = weights(other), weights(tmp_path / "exp/init.pt")
    for name, value in after.items():
        assert name.startswith("output") or torch.equal(value, before[name]), name
    assert after["output.weight"].shape == (6, 12)
    told = capsys.readouterr().err
    assert f"layers of {other}" in told and "--init: new, of random weights: output\n" in told
    parts = "frames (10 layers), pooling (3 layers), embedding (2 layers), segment (2 layers)"
    assert f"--init: taken: {parts}\n" in told and "--init: not taken: output\n" in told
    for name in ("init.pt", "last.pt", "final.pt"):
        facts = checkpoint.load(tmp_path / "exp" / name)["init"]
        assert facts["taken"] == [*LAYERS, *POOLING, *BEHIND] and facts["new"] == ["output"] and facts["init"] is None
        assert facts["epoch"] == checkpoint.load(other)["epoch"] and len(facts["sha256"]) == 64
    assert "init" not in checkpoint.load(other)


def test_the_same_speakers_train_on_and_the_chain_is_kept(other, tmp_path, capsys):
    data, lower = tiny_data(tmp_path / "other-data"), "--learning-rate=1e-9"
    train(data, tmp_path / "more", options(f"--init={other.parent}", "--epochs=1", lower), 2)
    assert all(torch.equal(value, weights(other)[name]) for name, value in weights(tmp_path / "more/init.pt").items())
    assert "new, of random weights: none" in capsys.readouterr().err
    valid = [
        json.loads((d / "train.jsonl").read_text().splitlines()[-1])["valid_loss"]
        for d in (other.parent, tmp_path / "more")
    ]
    assert valid[1] == pytest.approx(checkpoint.load(other)["valid_loss"], rel=0.2)
    train(data, tmp_path / "third", options(f"--init={tmp_path / 'more/last.pt'}", "--epochs=1"), 2)
    facts = checkpoint.load(tmp_path / "third/final.pt")["init"]
    assert facts["file"].endswith("more/last.pt") and facts["init"]["file"].endswith("other/final.pt")


def test_a_renamed_speaker_is_another_one(other, tmp_path):
    data = tiny_data(tmp_path / "renamed")
    data.write_speakers({utt: utt.split("-")[0].replace("s3", "t3") for utt in data.utt2spk})
    train(DataDir(data.path), tmp_path / "exp", options(f"--init={other}", "--epochs=1"), 2)
    assert checkpoint.load(tmp_path / "exp/init.pt")["init"]["new"] == ["output"]


def test_a_pooling_that_the_other_one_lacks_is_new(data, tmp_path):
    train(tiny_data(tmp_path / "d"), tmp_path / "other", options("--epochs=1", "--pooling=statistics"), 1)
    train(data, tmp_path / "exp", options(f"--init={tmp_path / 'other'}", "--epochs=1"), 1)
    assert checkpoint.load(tmp_path / "exp/init.pt")["init"]["new"] == [*POOLING, "output"]


def test_a_bundle_gives_all_up_to_the_embedding(tmp_path, capsys):
    model, data = make_bundle(tmp_path / "model"), tiny_data(tmp_path / "data", dim=10)
    small = ["--embedding-dim=8", "--segment-dim=7", "--epochs=1"]
    train(data, tmp_path / "exp", options(f"--init={model}", *small), 1)
    state = checkpoint.load(tmp_path / "exp/init.pt")
    told = checkpoint.read_weights(model / "network.ark", {})
    assert all(torch.equal(value, state["model"][name]) for name, value in told.items())
    assert state["init"]["new"] == ["segment.affine", "segment.norm", "output"] and state["init"]["left"] == []
    told = capsys.readouterr().err
    assert "--init: warning: trained on features of --cmn-window=300, which is 100 here" in told
    assert str(model / "network.ark") in load_record(made_path(tmp_path / "exp/final.pt"))["inputs"]


def made_by_make_mfcc(directory, **settings):
    """A record of features behind the utt2spk of a data directory."""
    (directory / "raw.scp").write_text("")
    write_made(directory / "raw.scp", describe("make_mfcc", settings, []))
    write_made(directory / "utt2spk", describe("select_train", {}, [directory / "raw.scp"]))


@pytest.mark.parametrize("bundled", [False, True])
def test_features_of_another_rate_are_warned_of(tmp_path, capsys, bundled):
    """By the records behind both trainings, or a bundle's mfcc.conf."""
    data, old = tiny_data(tmp_path / "data", dim=10), tiny_data(tmp_path / "old", dim=10)
    made_by_make_mfcc(data.path, sample_frequency=16000.0, num_mel_bins=23, dither=0.0)
    made_by_make_mfcc(old.path, sample_frequency=8000.0, num_mel_bins=23, dither=1.0)
    small = ["--embedding-dim=8", "--segment-dim=7", "--epochs=1"]
    train(old, tmp_path / "other", options(*small), 1)
    assert "warning" not in capsys.readouterr().err
    init = make_bundle(tmp_path / "model") if bundled else tmp_path / "other"
    for source, warned in ((data, True), (old, False)):
        train(source, tmp_path / source.path.name / "exp", options(*small, f"--init={init}"), 1)
        told = capsys.readouterr().err
        assert ("features of --sample-frequency=8000, which is 16000 here" in told) == warned
        assert "=23, which" not in told and "dither" not in told


class Other(Encoder):
    """An encoder whose layers have other names."""

    frames_lost = 0

    def __init__(self, options, in_dim):
        super().__init__()
        self.line, self.output_dim = nn.Linear(in_dim, options.pooling_dim), options.pooling_dim

    def forward(self, x, lengths=None):
        return self.line(x), None if lengths is None else torch.arange(x.shape[1]) < lengths[:, None]


@pytest.mark.parametrize(
    "change, message",
    [
        ("--frame-dim=20", r"other/final.pt: frames.0.affine.weight: found a shape of \(16, 30\); .* \(20, 30\)"),
        ("--embedding-dim=9", r"embedding.affine.weight: found a shape of \(12, 48\); expected a shape of \(9, 48\)"),
        ("--pooling=average", r"embedding.affine.weight: found a shape of \(12, 48\)"),
        ("--encoder=other", r"frames.line.weight: found no such layer; expected a shape of \(24, 6\)"),
        ("--freeze-encoder-epochs=5", r"--freeze-encoder-epochs: found 5; expected 0 to --epochs"),
        ("--init=", r"--freeze-encoder-epochs: found 1; expected .*0 without --init"),
        ("--init=nowhere.pt", r"nowhere.pt: --init: found no such file; expected a checkpoint \(final.pt\)"),
        ("--init=other-data", r"other-data: --init: found a directory without network.ark and final.pt"),
        ("--init=exp", r"exp/final.pt: --init: found the network that is to be trained.*name of its own"),
        ("--init=junk.pt", r"junk.pt: found an unreadable file"),
    ],
)
def test_what_does_not_fit_is_named(other, data, tmp_path, monkeypatch, change, message):
    monkeypatch.setitem(ENCODERS, "other", Other)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "junk.pt").write_bytes(b"junk")
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp/final.pt").write_bytes(other.read_bytes())
    held = [] if change.startswith("--freeze") else ["--freeze-encoder-epochs=1"]
    given = [] if change.startswith("--init") else [f"--init={other}"]
    with pytest.raises(InputError, match=message):
        train(data, tmp_path / "exp", options(*given, *held, change), 1, force=True)
    assert (tmp_path / "exp/final.pt").read_bytes() == other.read_bytes()


def test_an_encoder_of_somebody_else_is_taken(data, tmp_path, monkeypatch):
    monkeypatch.setitem(ENCODERS, "other", Other)
    train(tiny_data(tmp_path / "d"), tmp_path / "other", options("--epochs=1", "--encoder=other"), 1)
    train(data, tmp_path / "exp", options("--epochs=1", "--encoder=other", f"--init={tmp_path / 'other'}"), 1)
    assert checkpoint.load(tmp_path / "exp/init.pt")["init"]["taken"] == ["frames.line", *POOLING, *BEHIND]
    with pytest.raises(InputError, match="frames.line.weight: found a shape of .*; expected no such layer|frames.0"):
        train(data, tmp_path / "tdnn", options("--epochs=1", f"--init={tmp_path / 'other'}"), 1)


@pytest.mark.parametrize("width", [16, 256])
def test_held_weights_stay_to_the_bit_and_then_learn(data, tmp_path, width):
    """256 nodes: the network in one pass."""
    wide = f"--frame-dim={width}"
    train(tiny_data(tmp_path / "d"), tmp_path / "other", options("--epochs=1", wide), 1)
    held = ["--freeze-encoder-epochs=2", "--keep-epochs=3", "--epochs=3", wide, f"--init={tmp_path / 'other'}"]
    train(data, tmp_path / "exp", options(*held), 1)
    start, second, third = (weights(tmp_path / "exp" / name) for name in ("init.pt", "2.pt", "3.pt"))
    for name, value in start.items():
        same = not name.startswith("output")
        assert torch.equal(value, second[name]) == same, name
        assert not torch.equal(value, third[name]), name
    losses = [json.loads(line)["loss"] for line in (tmp_path / "exp/train.jsonl").read_text().splitlines()]
    assert losses[-1] < losses[0]


@pytest.mark.parametrize("encoder", [name for name in ENCODERS if name != "tdnn"])
def test_every_encoder_is_taken_held_and_trained(data, tmp_path, encoder):
    small = ["--epochs=2", "--keep-epochs=2", "--steps-per-epoch=2", "--dropout=0", "--pooling=statistics"]
    small.append(f"--encoder={encoder}")
    train(tiny_data(tmp_path / "d"), tmp_path / "other", options(*small), 1)
    train(data, tmp_path / "exp", options(*small, f"--init={tmp_path / 'other'}", "--freeze-encoder-epochs=1"), 1)
    other, start, held, after = (
        weights(tmp_path / name) for name in ("other/final.pt", "exp/init.pt", "exp/1.pt", "exp/2.pt")
    )
    trained = [name for name in start if not name.startswith("output")]
    for name in trained:
        assert torch.equal(start[name], other[name]) and torch.equal(held[name], start[name]), name
    assert any(not torch.equal(after[name], start[name]) for name in trained if name.startswith("frames"))


def test_a_network_of_a_file_takes_no_initial_weights(other, data, tmp_path):
    (tmp_path / "x.onnx").write_bytes(b"")
    with pytest.raises(InputError, match="--init: found .*other/final.pt; expected none: --encoder=onnx takes"):
        train(data, tmp_path / "exp", options("--encoder=onnx", f"--model={tmp_path / 'x.onnx'}", f"--init={other}"), 1)


def test_nothing_to_learn_while_all_is_held(other, tmp_path):
    chosen = options(f"--init={other}", "--freeze-encoder-epochs=1")
    with pytest.raises(InputError, match="--freeze-encoder-epochs: found 1; expected 0: every layer was taken"):
        train(tiny_data(tmp_path / "other-data"), tmp_path / "exp", chosen, 1)


@pytest.mark.parametrize(
    "name, call, optimiser",
    [
        ("settle", 2, "adamw"),
        ("settle", 5, "sgd"),
        ("settle", 8, "adamw"),
        ("settle", 8, "sgd"),
        ("save", 1, "adamw"),
        ("save", 3, "sgd"),
        ("append_record", 2, "adamw"),
    ],
)
def test_a_killed_training_goes_on_to_the_same_bits(other, data, tmp_path, monkeypatch, name, call, optimiser):
    chosen = options(f"--init={other}", "--freeze-encoder-epochs=2", "--average-epochs=2", f"--optimiser={optimiser}")
    train(data, tmp_path / "straight", chosen, 1)
    with monkeypatch.context() as patch:
        kill_at(patch, name, call)
        with pytest.raises(Killed):
            train(data, tmp_path / "killed", chosen, 1)
    assert not (tmp_path / "killed/final.pt").exists()
    train(data, tmp_path / "killed", chosen, 1)
    assert_same_training(tmp_path / "straight", tmp_path / "killed")


def test_a_training_killed_by_the_system_goes_on_to_the_same_bits(other, data, tmp_path):
    words = [*SMALL, f"--init={other}", "--freeze-encoder-epochs=12", "--epochs=25", "--steps-per-epoch=2"]
    words += ["--dropout=0.2", str(data.path), str(tmp_path / "killed")]
    one = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    environment = {**os.environ, **one, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "pyasp.bin.train_tdnn", *words]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    log = tmp_path / "killed/train.jsonl"
    while process.poll() is None and not (log.exists() and log.read_text().count("\n") >= 3):
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL and 1 <= checkpoint.load(tmp_path / "killed/last.pt")["epoch"] < 25
    assert train_tdnn.main(words) == 0
    assert train_tdnn.main([*words[:-1], str(tmp_path / "straight")]) == 0
    assert_same_training(tmp_path / "straight", tmp_path / "killed")


def test_other_initial_weights_are_another_recipe(other, data, tmp_path, capsys):
    chosen = options(f"--init={other}", "--epochs=1")
    train(data, tmp_path / "exp", chosen, 1)
    train(data, tmp_path / "exp", chosen, 1)
    assert "final.pt: up to date" in capsys.readouterr().err
    state = checkpoint.load(other)
    state["model"]["output.bias"][0] += 1
    checkpoint.save(other, state)
    with pytest.raises(InputError, match="other/final.pt changed"):
        train(data, tmp_path / "exp", chosen, 1)
    with pytest.raises(InputError, match=r"--init: .*other/final.pt -> (None|\W)"):
        train(data, tmp_path / "exp", options("--epochs=1"), 1)


def test_records_of_before_stay_current(data, tmp_path, capsys):
    train(data, tmp_path / "exp", options("--epochs=1"), 1)
    record = load_record(made_path(tmp_path / "exp/final.pt"))
    assert not {"init", "freeze_encoder_epochs"} & set(record["options"])
    assert set(checkpoint.LATER) >= {"init", "freeze_encoder_epochs"}
