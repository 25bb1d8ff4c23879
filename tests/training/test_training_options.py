"""Training: checkpoints in mid-epoch, signals, kept epochs, averaging, fine-tuning, margins, precision, memory."""

import dataclasses
import errno
import math
import os
import signal
from functools import partial
from pathlib import Path

import pytest
import torch
from test_trainer import Killed, assert_same_training, data, kill_at, one_thread, options, records  # noqa: F401 (fixtures)
from torch.nn import functional

from pyasp.core.command import parse
from pyasp.core.device import device_of
from pyasp.core.errors import InputError
from pyasp.core.options import subset
from pyasp.network import checkpoint
from pyasp.network.loss import LOSSES, CosineOutput, Loss, linear_output, logits_of
from pyasp.network.model import ArchitectureOptions, Network
from pyasp.training import compute, trainer
from pyasp.training.options import NetworkOptions
from pyasp.training.trainer import train

CONF = Path(__file__).resolve().parents[2] / "conf"
ALWAYS = "--checkpoint-minutes=1e-9"  # a checkpoint after every step


def last(directory):
    return checkpoint.load(directory / "last.pt")


# ---------------------------------------------------------------- checkpoints in mid-epoch


@pytest.mark.parametrize("call", [2, 5, 9])
def test_a_training_killed_in_mid_epoch_goes_on_after_its_last_step(data, tmp_path, monkeypatch, call):
    """Samplers are read ahead of: the checkpoint says what was consumed."""
    train(data, tmp_path / "straight", options(ALWAYS), 1)
    with monkeypatch.context() as patch:
        kill_at(patch, "train_step", call)
        with pytest.raises(Killed):
            train(data, tmp_path / "killed", options(ALWAYS), 1)
    state = last(tmp_path / "killed") if call > 2 else {"step": 0}
    assert state["step"] < call
    torch.manual_seed(999)
    train(data, tmp_path / "killed", options(ALWAYS), 1)
    assert_same_training(tmp_path / "straight", tmp_path / "killed")
    train(data, tmp_path / "plain", options("--checkpoint-minutes=0"), 1)
    assert records(tmp_path / "plain") == records(tmp_path / "straight")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_leaves_a_checkpoint_in_mid_epoch(data, tmp_path, monkeypatch, capsys, number):
    train(data, tmp_path / "straight", options(), 1)
    whole, calls = trainer.train_step, []

    def struck(run, *rest):
        calls.append(1)
        if len(calls) == 4:
            os.kill(os.getpid(), number)
        return whole(run, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(trainer, "train_step", struck)
        with pytest.raises(SystemExit) as stopped:
            train(data, tmp_path / "killed", options(), 1)
    state = last(tmp_path / "killed")
    assert stopped.value.code == 128 + number and "goes on from there" in capsys.readouterr().err
    assert state["epoch"] == 1 and state["step"] == 5 and state["sampler"] == {"seed": 1, "epoch": 1, "step": 2}
    assert signal.getsignal(number) == signal.SIG_DFL
    torch.manual_seed(999)
    train(data, tmp_path / "killed", options(), 1)
    assert_same_training(tmp_path / "straight", tmp_path / "killed")


def test_the_checkpoints_of_the_last_epochs_are_kept(data, tmp_path):
    train(data, tmp_path, options("--keep-epochs=2"), 1)
    assert sorted(path.name for path in tmp_path.glob("[0-9]*.pt")) == ["3.pt", "4.pt"]
    assert (tmp_path / "4.pt").read_bytes() == (tmp_path / "last.pt").read_bytes()
    assert checkpoint.load(tmp_path / "3.pt")["epoch"] == 3


def test_a_full_disk_leaves_the_checkpoint_of_before(data, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        kill_at(patch, "train_step", 5)
        with pytest.raises(Killed):
            train(data, tmp_path, options(), 1)
    before = (tmp_path / "last.pt").read_bytes()

    def full(path):
        if "last.pt" in str(path):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("pyasp.core.files.sync", full)
    with pytest.raises(InputError, match="last.pt: found a full disk .*before is whole. Make room"):
        train(data, tmp_path, options(), 1)
    assert (tmp_path / "last.pt").read_bytes() == before and not list(tmp_path.glob(".*tmp"))


# ---------------------------------------------------------------- averaging, fine-tuning


def test_the_mean_of_the_last_networks_becomes_final_when_it_is_better(data, tmp_path, monkeypatch):
    valid = iter([(5.0, 0.1), (4.0, 0.2), (3.0, 0.3), (2.0, 0.4), (1.0, 0.5)])
    monkeypatch.setattr(trainer, "validate", lambda run, batches: next(valid))
    train(data, tmp_path, options("--average-epochs=3", "--keep-epochs=3"), 1)
    final, states = checkpoint.load(tmp_path / "final.pt"), [checkpoint.load(tmp_path / f"{k}.pt") for k in (2, 3, 4)]
    assert final["valid_loss"] == 1.0 and final["epoch"] == 4
    for name, value in final["model"].items():
        if value.is_floating_point():
            torch.testing.assert_close(value, sum(state["model"][name] for state in states) / 3)


def test_the_best_epoch_stays_final_when_the_mean_is_worse(data, tmp_path, monkeypatch):
    valid = iter([(5.0, 0.1), (1.0, 0.2), (3.0, 0.3), (2.0, 0.4), (1.5, 0.5)])
    monkeypatch.setattr(trainer, "validate", lambda run, batches: next(valid))
    train(data, tmp_path, options("--average-epochs=2"), 1)
    assert checkpoint.load(tmp_path / "final.pt")["epoch"] == 2 and not list(tmp_path.glob("[0-9]*.pt"))


def test_fine_tuning_follows_with_long_chunks_a_large_margin_and_a_rate_of_its_own(data, tmp_path, monkeypatch):
    chosen = options(
        "--epochs=2",
        "--finetune-epochs=2",
        "--finetune-chunk=50",
        "--finetune-learning-rate=1e-4",
        "--finetune-margin=0.4",
        "--loss=aam",
        ALWAYS,
    )
    seen, whole = [], trainer.train_step
    monkeypatch.setattr(
        trainer,
        "train_step",
        lambda run, batch, watch: (
            seen.append((run.epoch, batch.features.shape[1], run.phase.options.margin)) or whole(run, batch, watch)
        ),
    )
    train(data, tmp_path / "straight", chosen, 1)
    assert {(margin, length == 50) for epoch, length, margin in seen if epoch >= 2} == {(0.4, True)}
    assert {margin for epoch, _, margin in seen if epoch < 2} == {0.2}
    assert max(length for epoch, length, _ in seen if epoch < 2) <= 30
    assert records(tmp_path / "straight")[2]["learning_rate"] <= 1e-4
    assert checkpoint.load(tmp_path / "straight" / "final.pt")["epoch"] >= 3
    with monkeypatch.context() as patch:
        kill_at(patch, "train_step", 9)
        with pytest.raises(Killed):
            train(data, tmp_path / "killed", chosen, 1)
    train(data, tmp_path / "killed", chosen, 1)
    assert_same_training(tmp_path / "straight", tmp_path / "killed")


# ---------------------------------------------------------------- margins


def test_margins_are_those_of_the_formulas():
    angles = torch.tensor([[0.3, 1.0, 2.0], [0.5, 1.5, 0.2]], dtype=torch.float64)
    labels = torch.tensor([0, 1])
    plain = logits_of(angles.cos(), labels, "aam", 0.0, 30.0)
    torch.testing.assert_close(plain, 30 * angles.cos().float())
    aam, am = (logits_of(angles.cos(), labels, name, 0.2, 30.0) for name in ("aam", "am"))
    for logits, target in ((aam, (angles + 0.2).cos()), (am, angles.cos() - 0.2)):
        for row, label in enumerate(labels):
            assert logits[row, label].item() == pytest.approx(30 * target[row, label].item(), rel=1e-5)
    others = torch.ones_like(plain, dtype=bool).index_put((torch.arange(2), labels), torch.tensor(False))
    assert torch.equal(aam[others], plain[others]) and torch.equal(am[others], plain[others])


@pytest.mark.parametrize("loss", ["am", "aam"])
def test_a_larger_angle_always_costs_more(loss):
    angles = torch.linspace(0.01, math.pi - 0.01, 200)
    logits = logits_of(angles.cos()[:, None], torch.zeros(200, dtype=torch.int64), loss, 0.5, 1.0)[:, 0]
    assert (logits[1:] < logits[:-1]).all() and (logits < angles.cos()).all()


def test_cosines_do_not_depend_on_lengths():
    output, x = CosineOutput(5, 3), torch.randn(4, 5)
    first = output(x)
    assert first.abs().max() <= 1
    with torch.no_grad():
        output.weight.mul_(7)
    torch.testing.assert_close(output(3 * x), first)
    torch.testing.assert_close(first, functional.cosine_similarity(x[:, None], output.weight[None], dim=2))


@pytest.mark.parametrize("loss", ["am", "aam"])
def test_a_network_with_a_margin_learns(data, tmp_path, loss):
    train(data, tmp_path, options(f"--loss={loss}", "--epochs=2", "--steps-per-epoch=20", "--dropout=0"), 1)
    first, second = records(tmp_path)
    assert second["loss"] < first["loss"] and second["valid_accuracy"] > 0.25
    net, _ = checkpoint.load_network(tmp_path / "final.pt", torch.device("cpu"))
    assert isinstance(net.output, CosineOutput)


def test_a_loss_of_one_s_own_is_a_line_in_the_table(data, tmp_path, monkeypatch):
    """Label smoothing changes what training makes small; validation stays the cross entropy."""
    smoothed = Loss(linear_output, cost=partial(functional.cross_entropy, label_smoothing=0.9))
    monkeypatch.setitem(LOSSES, "smoothed", smoothed)
    for loss in ("smoothed", "softmax"):
        train(data, tmp_path / loss, options(f"--loss={loss}", "--epochs=2", "--steps-per-epoch=20", "--dropout=0"), 1)
    (_, smooth), (_, plain) = (records(tmp_path / loss) for loss in ("smoothed", "softmax"))
    assert smooth["loss"] > plain["loss"] and smooth["valid_loss"] != plain["valid_loss"]
    net, chosen = checkpoint.load_network(tmp_path / "smoothed/final.pt", torch.device("cpu"))
    assert chosen["loss"] == "smoothed" and isinstance(net.output, torch.nn.Linear)


# ---------------------------------------------------------------- how it computes


def test_every_option_off_by_default_can_be_on_together(data, tmp_path):
    chosen = options(
        "--loss=aam",
        "--mask-frames=5",
        "--mask-coefficients=2",
        "--attention-heads=4",
        "--store=byte",
        "--average-epochs=2",
        "--finetune-epochs=1",
        "--finetune-chunk=40",
        "--epochs=2",
        ALWAYS,
    )
    train(data, tmp_path / "a", chosen, 1)
    train(data, tmp_path / "b", chosen, 1)
    assert_same_training(tmp_path / "a", tmp_path / "b")


def test_bfloat16_trains_with_single_precision_weights(data, tmp_path):
    train(data, tmp_path, options("--precision=bfloat16", "--epochs=2", "--steps-per-epoch=15", "--dropout=0"), 1)
    first, second = records(tmp_path)
    assert second["loss"] < first["loss"] < math.log(4) + 0.3
    assert {value.dtype for value in last(tmp_path)["model"].values()} == {torch.float32, torch.int64}


def test_a_compiler_that_fails_is_done_without(data, tmp_path, monkeypatch, capsys):
    def broken(net, dynamic):
        def call(x):
            raise RuntimeError("no C++ compiler\nmore")

        return call

    train(data, tmp_path / "plain", options(), 1)
    monkeypatch.setattr(torch, "compile", broken)
    train(data, tmp_path / "compiled", options("--compile=true"), 1)
    assert capsys.readouterr().err.count("torch.compile failed (no C++ compiler): going on without") == 1
    assert records(tmp_path / "plain") == records(tmp_path / "compiled")


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    ],
)
def test_running_out_of_memory_names_a_batch_size(data, tmp_path, monkeypatch, error):
    def run_out(*arguments):
        raise error

    monkeypatch.setattr(trainer, "train_step", run_out)
    with pytest.raises(InputError, match="no memory for batches of 8 chunks of up to 30 frames.*--batch-size 4 "):
        train(data, tmp_path, options(), 1)


def test_other_errors_of_torch_come_through(data, tmp_path, monkeypatch):
    monkeypatch.setattr(trainer, "train_step", lambda *arguments: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        train(data, tmp_path, options(), 1)


def test_the_bytes_needed_grow_with_the_batch():
    chosen = options()
    net = Network(subset(chosen, ArchitectureOptions), 6, 4)
    one, two = (compute.bytes_needed(net, chunks, 30, chosen, torch.device("cpu")) for chunks in (8, 16))
    assert 0 < one < two <= 2 * one


def test_the_bytes_needed_are_those_of_images_too():
    """A convolution of 3 x 3 on 1 channel, 16 channels of 11 x 30 and those after it, not 16 values a frame."""
    chosen = options("--encoder=resnet34", "--pooling=sample_statistics", "--frame-dim=16", "--dropout=0")
    net = Network(subset(chosen, ArchitectureOptions), 11, 4)
    before, moved = torch.get_rng_state(), {name: value.clone() for name, value in net.state_dict().items()}
    images = (
        4
        * 16
        * 11
        * 30
        * sum(  # bytes: outputs of the stages' blocks, each halved in both axes, channels doubled
            blocks * 2 * 2**stage / 4**stage for stage, blocks in enumerate((3, 4, 6, 3))
        )
    )
    assert 2 * images < compute.bytes_of_chunk(net, 30) < 4 * images  # what a norm sees and what a convolution sees
    assert torch.equal(before, torch.get_rng_state()) and net.training
    assert all(torch.equal(moved[name], value) for name, value in net.state_dict().items())
    assert not any(parameter.grad is not None for parameter in net.parameters())


def test_batches_that_cannot_fit_are_refused_before_they_are_made(data, tmp_path, monkeypatch):
    chosen = options("--encoder=resnet34", "--frame-dim=2", "--pooling=average", "--dropout=0")
    net = Network(subset(chosen, ArchitectureOptions), 6, 4)
    monkeypatch.setattr(trainer, "train_step", None)
    for chunks, error, told in ((7, InputError, "8 chunks of up to 30 frames on cpu.*size 2 "), (9, TypeError, "None")):
        memory = chunks * compute.bytes_of_chunk(net, 30)
        monkeypatch.setattr(compute, "memory_of", lambda device, memory=memory: memory)
        with pytest.raises(error, match=told):  # of what its steps are, or of the first step
            train(data, tmp_path, chosen, 1)


# ---------------------------------------------------------------- systems


@pytest.mark.parametrize("corpus", sorted(path.parent.name for path in CONF.glob("*/tdnn.conf")))
@pytest.mark.parametrize("system", sorted(path.name for path in CONF.glob("systems/*.conf")))
def test_every_corpus_s_settings_take_every_system(corpus, system, tmp_path):
    """As run.sh reads them: the system's over the corpus's; `auto` (conf/folder) becomes a number before."""
    tdnn, own = CONF / corpus / "tdnn.conf", CONF / corpus / "systems" / system
    (tmp_path / "tdnn.conf").write_text(tdnn.read_text().replace("=auto", "=64"))
    chosen, _ = parse(
        NetworkOptions,
        ["--config", str(tmp_path / "tdnn.conf"), "--config", str(own if own.exists() else CONF / "systems" / system)],
    )
    with torch.device("meta"):
        net = Network(subset(chosen, ArchitectureOptions), 40, 10)
    assert net.embedding_dim == chosen.embedding_dim and (CONF / corpus / f"{chosen.feature_type}.conf").is_file()


# ---------------------------------------------------------------- bad input


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_that_is_not_there():
    with pytest.raises(InputError, match="--device: found no usable CUDA"):
        device_of("cuda")
    assert device_of("auto") == device_of("cpu") == torch.device("cpu")


@pytest.mark.parametrize(
    "wrong",
    [
        "--epochs=0",
        "--learning-rate=0",
        "--warmup=1",
        "--clip-norm=-1",
        "--weight-decay=-0.1",
        "--frame-dim=0",
        "--batch-size=1",
        "--extract-min-frames=14",
        "--min-chunk=14",
        "--cmn-window=-1",
        "--margin=-1",
        "--logit-scale=0",
        "--finetune-epochs=-1",
        "--checkpoint-minutes=-1",
        "--attention-heads=5",
        "--mask-frames=21",
        "--keep-epochs=-1",
    ],
)
def test_options_out_of_range(wrong):
    with pytest.raises(InputError, match=wrong.split("=")[0]):
        options(wrong)


def test_options_of_place_extraction_and_checkpoints_make_no_other_network(data, tmp_path, capsys):
    train(data, tmp_path, options(), 1)
    for more in ({"keep_epochs": 3, "checkpoint_minutes": 1.0}, {"device": "auto", "extract_chunk": 500}):
        train(data, tmp_path, dataclasses.replace(options(), **more), 1)
    assert capsys.readouterr().err.count("up to date") == 2
