"""Training: it learns, it can be killed, it repeats itself bit for bit, it says what went wrong."""

import json
import math
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
import torch
from tdnn_data import SMALL, tiny_data, write_data

from pyasp.bin import train_tdnn
from pyasp.core.command import parse
from pyasp.core.conf import read_conf
from pyasp.core.errors import InputError
from pyasp.core.options import subset
from pyasp.network import checkpoint
from pyasp.network.model import ArchitectureOptions, Network
from pyasp.training import trainer
from pyasp.training.chunks import split_validation, validation_batches
from pyasp.training.compute import training_flop
from pyasp.training.frames import open_source
from pyasp.training.options import OPTIMISERS, SCHEDULES, NetworkOptions, TrainOptions, learning_rate
from pyasp.training.run import parameter_groups
from pyasp.training.trainer import train

KEYS = {
    "epoch",
    "step",
    "loss",
    "valid_loss",
    "valid_accuracy",
    "learning_rate",
    "frames_per_second",
    "flop_per_frame",
    "peak_fraction",
    "data_wait",
    "seconds",
}
TIMES = {"frames_per_second", "peak_fraction", "data_wait", "seconds"}


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """One thread, so that bits can be compared, and no time spent on measuring the peak."""
    monkeypatch.setattr("pyasp.training.trainer.matmul_peak", lambda *device: 1e9)
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def data(tmp_path):
    return tiny_data(tmp_path / "data")


def options(*changes):
    words = [*SMALL, "--epochs=4", "--steps-per-epoch=3", "--dropout=0.2", "--learning-rate=0.01"]
    given = {word.split("=")[0] for word in changes}
    return parse(NetworkOptions, [word for word in words if word.split("=")[0] not in given] + list(changes))[0]


def records(directory, without=TIMES):
    lines = (directory / "train.jsonl").read_text().splitlines()
    return [{key: value for key, value in json.loads(line).items() if key not in without} for line in lines]


def assert_same_training(one, other):
    """Everything equal, bit for bit, but times."""
    assert records(one) == records(other)
    for name in ("init.pt", "last.pt", "final.pt"):
        assert (one / name).read_bytes() == (other / name).read_bytes(), name


# ---------------------------------------------------------------- learning


@pytest.mark.parametrize("pooling", ["average", "attentive_statistics"])
def test_a_tiny_set_is_learned_by_heart(tmp_path, pooling):
    data = tiny_data(tmp_path / "data", speakers=3, utts=3)
    chosen = options(f"--pooling={pooling}", "--epochs=6", "--steps-per-epoch=20", "--dropout=0")
    train(data, tmp_path / "exp", chosen, 1)
    losses = [record["loss"] for record in records(tmp_path / "exp")]
    assert losses[0] < math.log(3) + 0.3 and losses[-1] < 0.05 and losses[-1] < losses[2] < losses[0]
    assert records(tmp_path / "exp")[-1]["valid_accuracy"] > 0.6


@pytest.mark.parametrize("optimiser", OPTIMISERS)
@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_optimiser_and_schedule_lowers_the_loss(data, tmp_path, optimiser, schedule):
    train(
        data,
        tmp_path / "exp",
        options(
            f"--optimiser={optimiser}",
            f"--schedule={schedule}",
            "--epochs=2",
            "--steps-per-epoch=15",
            "--learning-rate=0.02",
        ),
        1,
    )
    first, last = records(tmp_path / "exp")
    assert last["loss"] < first["loss"] < math.log(4) + 0.2


def test_final_is_the_best_epoch_by_validation_loss(data, tmp_path):
    """With a rate that grows too large for the last epochs to be the best ones."""
    chosen = options("--epochs=6", "--learning-rate=0.5", "--schedule=constant", "--warmup=0.9", "--optimiser=sgd")
    train(data, tmp_path, chosen, 1)
    losses = [record["valid_loss"] for record in records(tmp_path)]
    final, last = checkpoint.load(tmp_path / "final.pt"), checkpoint.load(tmp_path / "last.pt")
    assert final["valid_loss"] == min(losses) and final["epoch"] == losses.index(min(losses)) + 1 < last["epoch"] == 6
    _, valid, speakers = split_validation(data)
    held_out = open_source(data, valid, speakers, chosen, 1.0, "test")
    run = trainer.prepare(held_out, speakers, chosen, 9)
    checkpoint.load_weights(run.net, final["model"], "final.pt")
    again = trainer.validate(run, validation_batches(held_out, chosen))
    assert again == (final["valid_loss"], final["valid_accuracy"])


def test_init_is_the_network_before_the_first_step(data, tmp_path):
    train(data, tmp_path, options("--epochs=1"), 7)
    net, _ = checkpoint.load_network(tmp_path / "init.pt", torch.device("cpu"))
    torch.manual_seed(7)
    fresh = Network(subset(options(), ArchitectureOptions), 6, 4).state_dict()
    assert all(torch.equal(value, fresh[name]) for name, value in net.state_dict().items())
    assert (tmp_path / "init.pt.made.json").exists()


def test_the_record_of_an_epoch(data, tmp_path):
    chosen = options()
    train(data, tmp_path, chosen, 1)
    lines = records(tmp_path, without=())
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4] and [line["step"] for line in lines] == [3, 6, 9, 12]
    assert all(set(line) == KEYS for line in lines)
    net, _ = checkpoint.load_network(tmp_path / "final.pt", torch.device("cpu"))
    for line in lines:
        assert line["flop_per_frame"] == training_flop(net, 25) and 0 <= line["data_wait"] <= 1
        assert line["peak_fraction"] == pytest.approx(line["frames_per_second"] * line["flop_per_frame"] / 1e9)
        assert 0 <= line["valid_accuracy"] <= 1 and line["seconds"] > 0
    assert lines[-1]["learning_rate"] == learning_rate(chosen, 11, 12)
    assert read_conf(tmp_path / "options.conf", NetworkOptions) == chosen


def test_learning_rates():
    cosine = TrainOptions(learning_rate=0.1, warmup=0.1)
    rates = [learning_rate(cosine, step, 100) for step in range(100)]
    assert rates[0] == pytest.approx(0.1 / 11) and rates[10] == 0.1 == max(rates) and rates[-1] > 0
    assert rates[:11] == sorted(rates[:11]) and rates[10:] == sorted(rates[10:], reverse=True)
    assert rates[55] == pytest.approx(0.05)
    kaldi = TrainOptions(learning_rate=1e-3, warmup=0.0, schedule="exponential")
    assert learning_rate(kaldi, 0, 100) == 1e-3 and learning_rate(kaldi, 50, 100) == pytest.approx(1e-3 * 10**-0.5)


def test_norms_and_biases_have_no_weight_decay():
    net = Network(subset(options(), ArchitectureOptions), 6, 4)
    decayed, free = parameter_groups(net, 0.3)
    assert decayed["weight_decay"] == 0.3 and free["weight_decay"] == 0
    assert sum(p.numel() for p in decayed["params"] + free["params"]) == sum(p.numel() for p in net.parameters())
    assert net.output.weight in set(decayed["params"]) and net.frames[0].norm.weight in set(free["params"])


# ---------------------------------------------------------------- repeating, killing, resuming


class Killed(BaseException):
    pass


def kill_at(monkeypatch, name, call):
    """Stops the process, so to speak, at the n-th call of a function of the trainer."""
    target = checkpoint if hasattr(checkpoint, name) else trainer
    whole, calls = getattr(target, name), []

    def until(*arguments, **words):
        calls.append(1)
        if len(calls) == call:
            raise Killed
        return whole(*arguments, **words)

    monkeypatch.setattr(target, name, until)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(data, tmp_path):
    for name, seed in {"a": 1, "b": 1, "c": 2}.items():
        train(data, tmp_path / name, options(), seed)
    assert_same_training(tmp_path / "a", tmp_path / "b")
    assert records(tmp_path / "a") != records(tmp_path / "c")


@pytest.mark.parametrize(
    "name, call, more",
    [
        ("settle", 2, "--memory-gb=0"),
        ("settle", 8, "--memory-gb=0"),
        ("settle", 8, "--optimiser=sgd"),
        ("validate", 3, "--dropout=0.5"),
        ("truncate_records", 1, ""),
        ("append_record", 3, ""),
        ("save", 3, ""),
        ("save", 4, ""),
        ("save", 6, ""),
    ],
)
def test_a_killed_training_goes_on_to_the_same_bits(data, tmp_path, monkeypatch, name, call, more):
    """settle: in the middle of an epoch; append_record, save: between log and checkpoint; last save: final.pt."""
    chosen = options(*more.split())
    train(data, tmp_path / "straight", chosen, 1)
    with monkeypatch.context() as patch:
        kill_at(patch, name, call)
        with pytest.raises(Killed):
            train(data, tmp_path / "killed", chosen, 1)
    assert not (tmp_path / "killed" / "final.pt").exists()
    torch.manual_seed(999)  # another process
    train(data, tmp_path / "killed", chosen, 1)
    assert_same_training(tmp_path / "straight", tmp_path / "killed")


def test_a_training_killed_by_the_system_goes_on_to_the_same_bits(data, tmp_path):
    words = [*SMALL, "--epochs=25", "--steps-per-epoch=2", "--dropout=0.2", str(data.path), str(tmp_path / "killed")]
    one = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    environment = {**os.environ, **one, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-m", "pyasp.bin.train_tdnn", *words]
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    log = tmp_path / "killed" / "train.jsonl"
    while process.poll() is None and not (log.exists() and log.read_text().count("\n") >= 3):
        time.sleep(0.002)
    process.kill()
    assert process.wait() == -signal.SIGKILL and 1 <= checkpoint.load(tmp_path / "killed" / "last.pt")["epoch"] < 25
    assert train_tdnn.main(words) == 0
    assert train_tdnn.main([*words[:-1], str(tmp_path / "straight")]) == 0
    assert_same_training(tmp_path / "straight", tmp_path / "killed")


def test_resuming_does_not_train_again_what_is_done(data, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_at(patch, "validate", 4)
        with pytest.raises(Killed):
            train(data, tmp_path, options(), 1)
    epochs = []
    whole = trainer.train_epoch
    monkeypatch.setattr(trainer, "train_epoch", lambda run, *rest: epochs.append(run.epoch + 1) or whole(run, *rest))
    train(data, tmp_path, options(), 1)
    assert epochs == [4]


def test_a_finished_training_is_left_alone(data, tmp_path, capsys):
    train(data, tmp_path, options(), 1)
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")}
    for force in (False, True):
        train(data, tmp_path, options(), 1, force)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("*.pt")} == before
    assert "up to date" in capsys.readouterr().err


@pytest.mark.parametrize("unfinished", [False, True])
def test_other_options_are_refused_without_force(data, tmp_path, monkeypatch, unfinished):
    other = options("--frame-dim=20")
    train(data, tmp_path / "fresh", other, 1)
    train(data, tmp_path / "exp", options(), 1)
    if unfinished:
        (tmp_path / "exp" / "final.pt").unlink()
    with pytest.raises(InputError, match="--frame-dim: 16 -> 20.*--force"):
        train(data, tmp_path / "exp", other, 1)
    with pytest.raises(InputError, match="seed: 1 -> 2"):
        train(data, tmp_path / "exp", options(), 2)
    train(data, tmp_path / "exp", other, 1, force=True)
    assert_same_training(tmp_path / "fresh", tmp_path / "exp")


def test_changed_data_are_noticed(data, tmp_path):
    train(data, tmp_path, options(), 1)
    data.write("valid_utts", {"s0-u0": ""})
    with pytest.raises(InputError, match="valid_utts changed"):
        train(data, tmp_path, options(), 1)


def test_features_that_are_not_finite_are_named(tmp_path):
    rng = np.random.default_rng(0)
    feats = {f"s{s}-u{u}": rng.normal(size=(40, 6)) for s in range(4) for u in range(3)}
    feats["s2-u1"][17] = np.nan
    data = write_data(tmp_path / "d", feats, {utt: np.ones(40) for utt in feats}, ["s0-u2"])
    with pytest.raises(InputError, match="epoch 1: found loss nan.* not finite in s2-u1; exp.*checkpoint: none yet"):
        train(data, tmp_path / "exp", options("--max-chunk=40", "--min-chunk=40"), 1)


def test_a_diverging_loss_names_the_batch_and_the_last_good_checkpoint(data, tmp_path, monkeypatch):
    whole = trainer.loss_of
    calls = []

    def diverging(*arguments):
        calls.append(1)
        return whole(*arguments) * (math.inf if len(calls) == 5 else 1)

    monkeypatch.setattr(trainer, "loss_of", diverging)
    message = r"epoch 2: found loss inf.*a batch of( s\d-u\d){4,8}; .*last\.pt \(epoch 1, step 3\).*--learning-rate"
    with pytest.raises(InputError, match=message):
        train(data, tmp_path / "exp", options(), 1)
    assert checkpoint.load(tmp_path / "exp" / "last.pt")["epoch"] == 1 and not (tmp_path / "exp" / "final.pt").exists()


def test_validation_features_that_are_not_finite_are_named(tmp_path):
    feats = {f"s{s}-u{u}": np.random.default_rng([s, u]).normal(size=(40, 6)) for s in range(4) for u in range(3)}
    feats["s1-u2"][20, 3] = np.inf
    data = write_data(tmp_path / "d", feats, {utt: np.ones(40) for utt in feats}, ["s0-u2", "s1-u2"])
    with pytest.raises(InputError, match="epoch 1: found validation loss nan; features that are not finite in s1-u2;"):
        train(data, tmp_path / "exp", options("--cmn-window=0", "--min-cmn-window=1"), 1)


def test_a_gradient_that_is_not_finite_stops_even_when_the_loss_is_finite(data, tmp_path, monkeypatch):
    whole = trainer.nn.utils.clip_grad_norm_
    monkeypatch.setattr(trainer.nn.utils, "clip_grad_norm_", lambda p, limit: whole(p, limit) * math.nan)
    with pytest.raises(InputError, match="gradient norm nan"):
        train(data, tmp_path / "exp", options(), 1)


def test_command_line(data, tmp_path, capsys):
    (tmp_path / "tdnn.conf").write_text("\n".join([*SMALL, "--epochs=2  # few", "--steps-per-epoch=2"]) + "\n")
    words = [
        "--config",
        str(tmp_path / "tdnn.conf"),
        "--pooling",
        "attention",
        "--seed",
        "3",
        str(data.path),
        str(tmp_path / "exp"),
    ]
    assert train_tdnn.main(words) == 0
    assert checkpoint.load(tmp_path / "exp" / "final.pt")["options"]["pooling"] == "attention"
    assert "epoch 2: loss" in capsys.readouterr().out  # the log alone; the screen has the result
    assert train_tdnn.main(["--pooling", "statistics", *words[:2], *words[4:]]) == 1
    assert "--pooling: attention -> statistics" in capsys.readouterr().err
    assert train_tdnn.main(["--pooling", "maximum", *words[4:]]) == 1
    assert "average or attention or statistics or attentive_statistics" in capsys.readouterr().err
