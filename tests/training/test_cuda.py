"""On a machine with a GPU, in at most ten minutes: the CPU's numbers, speed, memory, a resumed training, two systems at
once. The table that `tests/run.sh -m cuda` prints at its end is for conf/README.md; CUDA_REPORT=FILE keeps it.

Without a GPU these tests are skipped, and the same functions run on tensors that pose as one's, at sizes for that.
"""

import os
import shutil
import time
from pathlib import Path

import numpy as np
import posed
import pytest
import recipe
import torch
from conftest import shared_place
from tdnn_data import SMALL, tiny_data
from test_memory import SYSTEMS, paper_step, step

from pyasp.bin import extract
from pyasp.core.command import parse
from pyasp.core.device import device_of, matmul_peak, synchronise
from pyasp.kaldi import ScpReader
from pyasp.network import checkpoint
from pyasp.training import trainer
from pyasp.training.compute import training_flop
from pyasp.training.options import NetworkOptions

ENCODERS = {
    "tdnn": [],
    "ecapa": ["--encoder=ecapa", "--pooling=channel_attentive_statistics"],
    "resnet34": ["--encoder=resnet34", "--pooling=sample_statistics", "--frame-dim=4"],
}
SINGLE = ["--precision=float32", "--tf32=false", "--store=float"]
TINY = ["--frame-dim=8", "--pooling-dim=16", "--embedding-dim=8", "--batch-size=4", "--min-chunk=30", "--max-chunk=30"]


@pytest.fixture(scope="module")
def rows(pytestconfig):
    """Rows of the table, which is complete when the last test has ended."""
    if not torch.cuda.is_available():
        pytest.skip(f"no GPU here: torch {torch.__version__} finds none")
    found = [
        f"| {torch.cuda.device_count()} x {torch.cuda.get_device_name()}, torch {torch.__version__} | |",
        "|---|---|",
    ]
    yield found
    text = "\n".join(found) + "\n"
    for path in filter(None, [shared_place(pytestconfig) / "cuda.md", os.environ.get("CUDA_REPORT")]):
        Path(path).write_text(text, encoding="utf-8")


def options(device, *words):
    chosen = {word.split("=")[0]: word for word in [*SMALL, "--epochs=3", "--steps-per-epoch=4", *words]}
    return parse(NetworkOptions, [*chosen.values(), f"--device={device}"])[0]


def vectors(data, directory, device):
    """{utterance: embedding} of final.pt."""
    shutil.rmtree(directory / device, ignore_errors=True)
    (directory / device).mkdir()
    assert (
        extract.main([f"--device={device}", str(data.path), str(directory / "final.pt"), str(directory / device / "e")])
        == 0
    )
    return {utt: vector for scp in (directory / device).glob("e.*.scp") for utt, vector in ScpReader(scp).items()}


def deviation(place, encoder):
    """Of losses and embeddings on GPU and CPU: the largest difference over the largest value."""
    data, losses = tiny_data(place / "data"), []
    for device in ("cpu", "cuda"):
        trainer.train(data, place / device, options(device, *ENCODERS[encoder], *SINGLE), 1)
        losses.append(checkpoint.load(place / device / "final.pt")["valid_loss"])
    one, other = (vectors(data, place / "cpu", device) for device in ("cpu", "cuda"))
    assert set(one) == set(other) == set(data.utt2spk)
    apart = max(np.abs(one[utt] - other[utt]).max() for utt in one) / max(np.abs(v).max() for v in one.values())
    return abs(losses[0] - losses[1]) / losses[0], float(apart)


def throughput(system, steps, *more):
    """Frames a second of training steps, their share of the rate of square bfloat16 products, GB that were allocated."""
    device = device_of("cuda")
    run, batch = paper_step(system, "bfloat16", device, *more)
    torch.cuda.reset_peak_memory_stats()
    for turn in range(2):  # the first one chooses kernels
        synchronise(device)
        start = time.perf_counter()
        for _ in range(steps):
            loss = step(run, batch)[0]
        assert torch.isfinite(loss)
        synchronise(device)
    chunks, frames = batch.features.shape[:2]
    rate = steps * chunks * frames / (time.perf_counter() - start)
    share = rate * training_flop(run.net, frames) / matmul_peak(device, "bfloat16")
    return rate, share, torch.cuda.max_memory_allocated() / 1e9


class Killed(BaseException):
    """As SIGKILL: nothing is saved."""


def resumed(place, monkeypatch):
    """Whether a training that was killed in its second epoch ends with the bits of one that was not."""
    data, chosen = tiny_data(place / "data"), options("cuda", "--deterministic=true", "--dropout=0.2")
    trainer.train(data, place / "whole", chosen, 1)
    with monkeypatch.context() as patch:
        real, done = trainer.train_step, []

        def killing(*words):
            done.append(1)
            if len(done) == 6:
                raise Killed
            return real(*words)

        patch.setattr(trainer, "train_step", killing)
        with pytest.raises(Killed):
            trainer.train(data, place / "killed", chosen, 1)
    trainer.train(data, place / "killed", chosen, 1)
    one, other = (checkpoint.load(place / name / "final.pt")["model"] for name in ("whole", "killed"))
    torch.use_deterministic_algorithms(False)
    return all(torch.equal(one[name], value) for name, value in other.items())


@pytest.mark.cuda
@pytest.mark.parametrize("encoder", ENCODERS)
def test_training_and_embeddings_are_the_cpus(rows, tmp_path, encoder):
    loss, apart = deviation(tmp_path, encoder)
    rows.append(
        f"| `{encoder}`, single precision: validation loss after 12 steps, embeddings against the CPU | {loss:.1e}, {apart:.1e} |"
    )
    assert loss < 1e-3 and apart < 1e-4


@pytest.mark.cuda
@pytest.mark.parametrize("system", SYSTEMS)
def test_how_fast_a_network_of_voxceleb_trains(rows, system):
    rate, share, memory = throughput(system, 20)
    rows.append(
        f"| `{system}`, `conf/voxceleb`: frames a second, share of bfloat16 products, GB | {rate:,.0f}, {share:.2f}, {memory:.1f} |"
    )


@pytest.mark.cuda
def test_a_killed_training_ends_with_the_same_bits(rows, tmp_path, monkeypatch):
    same = resumed(tmp_path, monkeypatch)
    rows.append(f"| killed, resumed with `--deterministic true`: the same bits | {'yes' if same else 'no'} |")
    assert same


@pytest.mark.cuda
@pytest.mark.parametrize("gpus", [1, 2])
def test_two_systems_at_once_are_those_one_after_the_other(rows, tmp_path, gpus):
    if torch.cuda.device_count() < gpus:
        rows.append(f"| two systems on {gpus} GPUs | not measured: there are {torch.cuda.device_count()} |")
        pytest.skip(f"{gpus} GPUs are wanted, {torch.cuda.device_count()} are there")
    conf = Path(shutil.copytree(recipe.ROOT / recipe.CONF, tmp_path / "conf"))
    with open(conf / "tdnn.conf", "a") as stream:
        stream.write("--deterministic=true\n")
    words = ["--conf", str(conf), "--device", "cuda", "--systems", "average statistics"]
    visible = {"CUDA_VISIBLE_DEVICES": ",".join(map(str, range(gpus)))}
    process = recipe.run(tmp_path, *words, "--stop-stage", "select", **visible)
    assert process.returncode == 0, process.stderr[-2000:]
    seconds, nets = [], []
    for at_once in ("1", "2"):
        exp, start = tmp_path / f"exp{at_once}", time.monotonic()
        stage = "--stage", "networks", "--stop-stage", "networks", "--at-once", at_once, "--exp", str(exp)
        process = recipe.run(tmp_path, *words, *stage, **visible)
        assert process.returncode == 0, process.stderr[-2000:]
        seconds.append(time.monotonic() - start)
        nets.append([checkpoint.load(exp / name / "final.pt")["model"] for name in ("average", "statistics")])
    for one, other in zip(*nets):
        assert all(torch.equal(one[name], value) for name, value in other.items())
    rows.append(
        f"| two systems on {gpus} GPU: seconds one after the other, at once (tests' tiny corpus) | {seconds[0]:.0f}, {seconds[1]:.0f} |"
    )


def test_the_script_itself_without_a_gpu(tmp_path, monkeypatch):
    """What would be measured, on tensors that pose as a GPU's."""
    posed.pose(monkeypatch)
    for name, value in {"reset_peak_memory_stats": None, "max_memory_allocated": 0}.items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    monkeypatch.setattr(trainer, "matmul_peak", lambda *device: 1e9)
    monkeypatch.setitem(matmul_peak.__globals__["PEAK_SIZE"], "cuda", 16)
    assert max(deviation(tmp_path / "one", "tdnn")) == 0
    assert throughput("average", 1, *TINY)[0] > 0
    assert resumed(tmp_path / "other", monkeypatch)
