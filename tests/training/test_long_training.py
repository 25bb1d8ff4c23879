"""What a long training on a CPU says before it starts."""

from types import SimpleNamespace

import pytest
import torch

from pyasp.core import threads
from pyasp.training import trainer
from pyasp.training.options import NetworkOptions


def run_of(steps):
    options = NetworkOptions(batch_size=64, min_chunk=60, max_chunk=100, frame_dim=32)
    net = SimpleNamespace(multiply_adds=lambda frames: 100_000 * frames)
    return SimpleNamespace(
        phases=[SimpleNamespace(steps=steps, options=options)], net=net, options=options, device=torch.device("cpu")
    )


def test_a_long_training_tells_batches_minutes_and_threads(tmp_path, monkeypatch, capsys):
    """64 chunks of 80 frames of 100 000 multiply-adds, thrice: 3.1e9 operations a batch."""
    monkeypatch.setattr(trainer, "matmul_peak", lambda *_: 1e11)
    monkeypatch.setattr(
        trainer, "settle_threads", lambda note, work: work() is not None and note.name == "threads" and 7
    )
    trainer.tell_work(run_of(10_000), tmp_path / "average")
    minutes = round(10_000 * 64 * 80 * 6 * 100_000 / (0.5 * 1e11) / 60)
    assert capsys.readouterr().err == f"average: 10000 batches, about {minutes} minutes on 7 threads\n"


def test_a_short_one_does_not_measure(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(threads, "faster", lambda *_: pytest.fail("measured"))
    trainer.tell_work(run_of(100), tmp_path)
    assert not capsys.readouterr().err and (tmp_path / "threads").read_text() == f"{torch.get_num_threads()}\n"
