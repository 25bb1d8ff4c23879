"""Training of the network: cross entropy over the training speakers, read top to bottom.

    loss     mean over the batch of -log softmax(logits)[speaker], natural logarithm
    rate     learning rate of a step: a function of the step alone (SCHEDULES)
    best     the network of the epoch with the lowest validation loss

An epoch is the sampler's; its last act is last.pt, which holds everything that the next epoch depends on.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from pyasp import checkpoint
from pyasp.chunks import Batch, Block, ChunkOptions, Sampler, validation_batches
from pyasp.cli import option
from pyasp.errors import InputError
from pyasp.tdnn import Tdnn, training_flop

MATMUL_SIZE = 1024      # of the products that measure the peak rate


def cosine(progress: float, options: TrainerOptions) -> float:
    """Half a cosine from 1 to final_rate."""
    return options.final_rate + (1 - options.final_rate) * 0.5 * (1 + math.cos(math.pi * progress))


def exponential(progress: float, options: TrainerOptions) -> float:
    """Kaldi's: a constant factor a step, from 1 to final_rate."""
    return options.final_rate ** progress


def constant(progress: float, options: TrainerOptions) -> float:
    """1 throughout."""
    return 1.0


SCHEDULES: dict[str, Callable[[float, Any], float]] = {"cosine": cosine, "exponential": exponential, "constant": constant}


def adamw(groups: list[dict], options: TrainerOptions) -> torch.optim.Optimizer:
    """Adam with decoupled weight decay; options.momentum is its beta_1."""
    return torch.optim.AdamW(groups, lr=options.learning_rate, betas=(options.momentum, 0.999))


def sgd(groups: list[dict], options: TrainerOptions) -> torch.optim.Optimizer:
    """Stochastic gradient descent with Nesterov momentum (plain when the momentum is zero)."""
    return torch.optim.SGD(groups, lr=options.learning_rate, momentum=options.momentum, nesterov=options.momentum > 0)


OPTIMISERS: dict[str, Callable[[list[dict], Any], torch.optim.Optimizer]] = {"adamw": adamw, "sgd": sgd}


@dataclass(frozen=True)
class TrainerOptions:
    """How the network is trained."""
    epochs: int = option(20, "passes of --steps-per-epoch batches")
    optimiser: str = option("adamw", "update rule", choices=OPTIMISERS)
    learning_rate: float = option(0.002, "highest learning rate, reached after the warm-up")
    schedule: str = option("cosine", "decay of the learning rate after the warm-up", choices=SCHEDULES)
    final_rate: float = option(0.01, "learning rate of the last step, as a fraction of the highest")
    warmup: float = option(0.1, "part of all steps in which the learning rate rises linearly from zero")
    momentum: float = option(0.9, "momentum of sgd, beta_1 of adamw")
    weight_decay: float = option(0.0, "decay of weight matrices (biases and batch norm have none); adamw: decoupled")
    gradient_clip: float = option(5.0, "largest norm of the whole gradient; longer ones are scaled down to it")

    def __post_init__(self) -> None:
        wrong = [("epochs", self.epochs < 1), ("learning_rate", not self.learning_rate > 0),
                 ("final_rate", not 0 < self.final_rate <= 1), ("warmup", not 0 <= self.warmup < 1),
                 ("momentum", not 0 <= self.momentum < 1), ("weight_decay", self.weight_decay < 0),
                 ("gradient_clip", not self.gradient_clip > 0)]
        for name, bad in wrong:
            if bad:
                raise InputError("trainer options", str(vars(self)[name]), "epochs, learning rate and clip above 0; final rate in "
                                 "(0, 1]; warm-up and momentum in [0, 1); decay not negative", "Correct tdnn.conf",
                                 item=f"--{name.replace('_', '-')}")


def learning_rate(step: int, total: int, options: TrainerOptions) -> float:
    """Learning rate of step 0..total-1: linear warm-up, then the schedule."""
    warm = int(options.warmup * total)
    if step < warm:
        return options.learning_rate * (step + 1) / (warm + 1)
    return options.learning_rate * SCHEDULES[options.schedule]((step - warm) / max(1, total - 1 - warm), options)


def make_optimiser(net: nn.Module, options: TrainerOptions) -> torch.optim.Optimizer:
    """The optimiser, weight decay on matrices only."""
    matrices = [p for p in net.parameters() if p.ndim > 1]
    others = [p for p in net.parameters() if p.ndim <= 1]
    return OPTIMISERS[options.optimiser]([{"params": matrices, "weight_decay": options.weight_decay},
                                          {"params": others, "weight_decay": 0.0}], options)


def matmul_rate(device: torch.device, repeats: int = 5) -> float:
    """Floating point operations per second of single-precision matrix products: the peak that training is held against."""
    a = torch.ones(MATMUL_SIZE, MATMUL_SIZE, device=device)
    best = math.inf
    for _ in range(repeats + 1):        # the first one warms up
        start = time.perf_counter()
        (a @ a)[0, 0].item()
        best = min(best, time.perf_counter() - start)
    return 2 * MATMUL_SIZE ** 3 / best


class Training:
    """Network, optimiser, sampler and everything else that a checkpoint holds."""

    def __init__(self, net: Tdnn, sampler: Sampler, options: TrainerOptions, made_options: dict[str, Any]):
        self.net, self.sampler, self.options, self.made_options = net, sampler, options, made_options
        self.optimiser = make_optimiser(net, options)
        self.device = next(net.parameters()).device
        self.step = 0
        self.best: dict[str, Any] = {}

    def state(self) -> dict[str, Any]:
        """Everything that the rest of the training depends on."""
        return {"model": self.net.state_dict(), "optimiser": self.optimiser.state_dict(),
                "schedule": {"name": self.options.schedule, "step": self.step, "total": self.total_steps()},
                "sampler": self.sampler.state(), "rng": checkpoint.rng_state(), "epoch": self.sampler.epoch,
                "step": self.step, "best": self.best, "options": self.made_options}

    def load(self, path: str | Path) -> None:
        """Goes on from a checkpoint. Raises InputError when it does not fit."""
        state = checkpoint.load(path, "model", "optimiser", "schedule", "sampler", "rng", "epoch", "step", "best", "options")
        checkpoint.load_weights(self.net, state["model"], path)
        self.optimiser.load_state_dict(state["optimiser"])
        self.sampler.load_state(state["sampler"])
        self.step, self.best = state["step"], state["best"]
        checkpoint.set_rng_state(state["rng"])

    def total_steps(self) -> int:
        """Steps of the whole training."""
        return self.options.epochs * self.sampler.steps


def train(training: Training, valid: Block, chunk_options: ChunkOptions, directory: Path) -> None:
    """Runs the epochs that are left; after each: a line in train.jsonl, then last.pt."""
    peak = matmul_rate(training.device)
    while training.sampler.epoch < training.options.epochs:
        start = time.perf_counter()
        record = train_epoch(training, directory, peak)
        record |= validate(training.net, valid, chunk_options)
        keep_best(training, record)
        record["seconds"] = round(time.perf_counter() - start, 3)
        print(" ".join(f"{key} {record[key]:.4g}" for key in ("epoch", "loss", "valid_loss", "valid_accuracy",
                                                               "frames_per_second")), file=sys.stderr)
        checkpoint.append_record(directory / "train.jsonl", record)
        checkpoint.save(directory / "last.pt", training.state())


def train_epoch(training: Training, directory: Path, peak: float) -> dict[str, Any]:
    """The rest of the present epoch, one update a batch; its record, without validation."""
    net, sampler = training.net.train(), training.sampler
    epoch, losses, frames, flop = sampler.epoch + 1, [], 0, 0.0
    start, waited, rate = time.perf_counter(), 0.0, 0.0
    bar = tqdm(waiting(sampler), total=sampler.steps, desc=f"epoch {epoch} of {training.options.epochs}", disable=None)
    for batch, seconds in bar:
        rate = learning_rate(training.step, training.total_steps(), training.options)
        loss = update(training, batch, rate)
        if not math.isfinite(loss):
            raise non_finite(training, batch, directory)
        training.step += 1
        losses.append(loss)
        waited += seconds
        frames += batch.features.shape[0] * batch.features.shape[1]
        flop += batch.features.shape[0] * batch.features.shape[1] * training_flop(net, batch.features.shape[1])
        bar.set_postfix_str(f"loss {loss:.3f}", refresh=False)
    seconds = time.perf_counter() - start
    return {"epoch": epoch, "step": training.step, "loss": math.fsum(losses) / len(losses), "learning_rate": rate,
            "frames_per_second": frames / seconds, "flop_per_frame": flop / frames, "peak_fraction": flop / seconds / peak,
            "data_wait": waited / seconds}


def waiting(sampler: Sampler) -> Iterator[tuple[Batch, float]]:
    """The sampler's batches, each with the seconds spent on making it."""
    batches = iter(sampler)
    while True:
        start = time.perf_counter()
        batch = next(batches, None)
        if batch is None:
            return
        yield batch, time.perf_counter() - start


def update(training: Training, batch: Batch, rate: float) -> float:
    """One step of the optimiser at learning rate `rate`; gives the batch's loss. A non-finite gradient gives nan, no step."""
    for group in training.optimiser.param_groups:
        group["lr"] = rate
    training.optimiser.zero_grad(set_to_none=True)
    logits = training.net(batch.features.to(training.device))
    loss = functional.cross_entropy(logits, batch.labels.to(training.device))
    loss.backward()
    norm = nn.utils.clip_grad_norm_(training.net.parameters(), training.options.gradient_clip)
    if not math.isfinite(norm.item()):
        return math.nan
    training.optimiser.step()
    return loss.item()


def non_finite(training: Training, batch: Batch, directory: Path) -> InputError:
    """The error that stops training when loss or gradient is not a number: the batch's recordings and the last checkpoint."""
    last = directory / "last.pt"
    bad = [utt for utt, chunk in zip(batch.utts, batch.features) if not bool(chunk.isfinite().all())]
    good = f"{last} has the last complete epoch" if last.is_file() else "no epoch is complete yet"
    return InputError(directory, f"a loss or gradient that is not finite with {' '.join(bad or batch.utts)}", "finite features" if bad
                      else "finite loss and gradient", f"Lower --learning-rate or --gradient-clip, or look at the features; {good}",
                      item=f"epoch {training.sampler.epoch + 1}, step {training.step + 1}")


@torch.no_grad()
def validate(net: Tdnn, valid: Block, options: ChunkOptions) -> dict[str, float]:
    """Mean cross entropy and accuracy over one chunk of every validation recording, in evaluation mode."""
    net.eval()
    device = next(net.parameters()).device
    loss, correct = 0.0, 0
    for batch in validation_batches(valid, options):
        logits, labels = net(batch.features.to(device)), batch.labels.to(device)
        loss += functional.cross_entropy(logits, labels, reduction="sum").item()
        correct += int((logits.argmax(dim=1) == labels).sum())
    return {"valid_loss": loss / len(valid.utts), "valid_accuracy": correct / len(valid.utts)}


def keep_best(training: Training, record: dict[str, Any]) -> None:
    """Remembers the network when its validation loss is the lowest so far."""
    if not training.best or record["valid_loss"] < training.best["valid_loss"]:
        weights: dict[str, Tensor] = {key: value.detach().cpu().clone() for key, value in training.net.state_dict().items()}
        training.best = {"model": weights, **{key: record[key] for key in ("epoch", "valid_loss", "valid_accuracy")}}


def read_records(path: str | Path) -> list[dict[str, Any]]:
    """The lines of a train.jsonl."""
    return [json.loads(line) for line in Path(path).read_text(encoding="utf-8").splitlines()]
