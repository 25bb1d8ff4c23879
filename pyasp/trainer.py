"""Training of a network, read from top to bottom: `train` below is the whole of it.

    loss    cross entropy of the speakers (mean over the chunks of a batch), softmax over the training speakers
    step    one batch;  epoch: `Sampler.steps` batches, then validation, a line in train.jsonl and last.pt
    rate    learning rate of step k of K: options.learning_rate x SCHEDULES[...](k / K), after a linear warm-up

Files in the system's directory: init.pt (the network before the first step), last.pt (to resume from), final.pt (best
by validation loss, written at the end), train.jsonl, options.conf. A run that was killed goes on after its last whole
epoch and ends with the same bits as one that was not, on a CPU with the same number of threads.
"""

from __future__ import annotations

import dataclasses
import math
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Iterable

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyasp import checkpoint
from pyasp.artefact import describe, is_current, making, write_made
from pyasp.chunks import Batch, ChunkOptions, Sampler, split_validation, validation_batches
from pyasp.cli import option, subset, write_conf
from pyasp.datadir import DataDir
from pyasp.device import DEVICES, device_of, matmul_peak, synchronise
from pyasp.embed import EmbedOptions
from pyasp.errors import InputError
from pyasp.frame_source import FrameSource, open_source
from pyasp.frontend import FrontendOptions
from pyasp.prefetch import prefetched
from pyasp.progress import bar
from pyasp.tdnn import Tdnn, TdnnOptions, training_flop

OPTIMISERS: dict[str, Callable[[list[dict[str, Any]], "TrainOptions"], torch.optim.Optimizer]] = {
    "adamw": lambda groups, options: torch.optim.AdamW(groups, lr=options.learning_rate),
    "sgd": lambda groups, options: torch.optim.SGD(groups, lr=options.learning_rate, momentum=0.9, nesterov=True),
}

# Share of the learning rate at a point of the training in [0, 1], after the warm-up.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "exponential": lambda done: 0.1 ** done,        # Kaldi's sre16/v2: 1e-3 to 1e-4
    "constant": lambda done: 1.0,
}


@dataclass(frozen=True)
class TrainOptions:
    """How the network is trained. The paper states none of this."""
    epochs: int = option(10, "epochs of training")
    optimiser: str = option("adamw", "rule of the steps", choices=OPTIMISERS)
    learning_rate: float = option(1e-3, "largest learning rate")
    schedule: str = option("cosine", "how the learning rate falls after the warm-up", choices=SCHEDULES)
    warmup: float = option(0.05, "part of the steps in which the learning rate rises linearly from zero")
    weight_decay: float = option(0.01, "decay of weight matrices (times the learning rate); norms and biases have none")
    clip_norm: float = option(5.0, "gradients are scaled down to this norm")
    device: str = option("auto", "where to compute", choices=DEVICES)

    def __post_init__(self) -> None:
        wrong = {"epochs": self.epochs < 1, "learning_rate": self.learning_rate <= 0, "clip_norm": self.clip_norm <= 0,
                 "warmup": not 0 <= self.warmup < 1, "weight_decay": self.weight_decay < 0}
        for name in (name for name, bad in wrong.items() if bad):
            raise InputError("training options", str(getattr(self, name)),
                             "epochs of at least 1, positive rates and norms, 0 <= warmup < 1", "Correct tdnn.conf",
                             item=f"--{name.replace('_', '-')}")


@dataclass(frozen=True)
class NetworkOptions(FrontendOptions, TdnnOptions, ChunkOptions, EmbedOptions, TrainOptions):
    """Everything that tdnn.conf may say: front end, sizes, chunks, training, extraction."""
    delta_order: int = option(0, "order of the deltas appended; 0 = none, as in the paper's network")

    def __post_init__(self) -> None:
        for part in NetworkOptions.__bases__:
            part.__post_init__(self)


# Options that make no other network.
ELSEWHERE = {"device", *(field.name for field in dataclasses.fields(EmbedOptions))}


def recipe_of(data: DataDir, options: NetworkOptions, seed: int) -> dict[str, Any]:
    """What makes the network: the record beside init.pt, last.pt and final.pt."""
    every = dataclasses.asdict(subset(options, NetworkOptions))
    kept = {key: value for key, value in every.items() if key not in ELSEWHERE}
    inputs = [data / name for name in ("utt2spk", "feats.scp", "vad.scp", "valid_utts")]
    return describe("train_tdnn", kept, inputs, seed)


def learning_rate(options: TrainOptions, step: int, total: int) -> float:
    """Rate of step `step` (from 0) of `total`: linear warm-up, then the schedule; never zero."""
    warm = int(options.warmup * total)
    if step < warm:
        return options.learning_rate * (step + 1) / (warm + 1)
    return options.learning_rate * SCHEDULES[options.schedule]((step - warm) / max(total - warm, 1))


def parameter_groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices with weight decay, vectors (norms, biases) without."""
    parameters = list(net.parameters())
    return [{"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
            {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0}]


@dataclass
class Run:
    """The state of a training: all of it goes into last.pt."""
    net: Tdnn
    optimiser: torch.optim.Optimizer
    sampler: Sampler
    speakers: list[str]
    options: dict[str, Any]
    device: torch.device
    epoch: int = 0
    step: int = 0
    best: dict[str, Any] = dataclasses.field(default_factory=dict)      # epoch, valid_loss, valid_accuracy, model

    def weights(self) -> dict[str, Tensor]:
        """A copy of the network's parameters and buffers on the CPU."""
        return {name: value.detach().cpu().clone() for name, value in self.net.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """What last.pt holds."""
        return {"model": self.net.state_dict(), "optimiser": self.optimiser.state_dict(),
                "sampler": self.sampler.state(), "rng": checkpoint.rng_state(), "epoch": self.epoch, "step": self.step,
                "best": self.best, "options": self.options, "dim": self.net.in_dim, "speakers": self.speakers}

    def restore(self, path: Path) -> None:
        """Goes on from last.pt. Raises InputError when it does not fit."""
        state = checkpoint.load(path, *self.state())
        checkpoint.load_weights(self.net, state["model"], path)
        self.optimiser.load_state_dict(state["optimiser"])
        self.sampler.load_state(state["sampler"])
        checkpoint.set_rng_state(state["rng"])
        self.epoch, self.step, self.best = state["epoch"], state["step"], state["best"]

    def save_network(self, path: Path, made: dict[str, Any], best: dict[str, Any]) -> None:
        """init.pt or final.pt, with its record."""
        state = checkpoint.network_state(self.net, best["model"], self.options, self.speakers, best)
        with making(path, made) as temporary:
            checkpoint.save(temporary, state)


def check_finite(values: dict[str, float], batch: Batch, run: Run, last: Path) -> None:
    """Raises InputError, naming utterances and the last good checkpoint, when one of `values` is not finite."""
    if all(map(math.isfinite, values.values())):
        return
    broken = [utt for utt, x in zip(batch.utts, batch.features) if not torch.isfinite(x).all()]
    what = "features that are not finite in" if broken else "a batch of"
    good = f"{last} (epoch {run.epoch})" if run.epoch else "none yet"
    found, utts = ", ".join(f"{name} {value}" for name, value in values.items()), dict.fromkeys(broken or batch.utts)
    raise InputError(f"training, epoch {run.epoch + 1}", f"{found}; {what} {' '.join(utts)}", "finite numbers",
                     f"Last good checkpoint: {good}. Repair these recordings, or lower --learning-rate or --clip-norm "
                     "and train again with --force")


def train_epoch(run: Run, options: NetworkOptions, last: Path) -> dict[str, float]:
    """One pass of the sampler. Returns mean loss, last learning rate, frames, seconds, seconds waited for data."""
    total = options.epochs * run.sampler.steps
    losses, frames, waited, pending = [], 0, 0.0, None
    synchronise(run.device)
    start = mark = time.perf_counter()
    run.net.train()
    for batch in bar(prefetched(run.sampler), run.sampler.steps, f"epoch {run.epoch + 1} of {options.epochs}", "batch"):
        x, labels = batch.features.to(run.device), batch.labels.to(run.device)
        waited += time.perf_counter() - mark
        rate = learning_rate(options, run.step, total)
        for group in run.optimiser.param_groups:
            group["lr"] = rate
        loss = functional.cross_entropy(run.net(x), labels)
        run.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(run.net.parameters(), options.clip_norm)
        run.optimiser.step()
        run.step, frames = run.step + 1, frames + x.shape[0] * x.shape[1]
        if pending:     # looked at one step late, so that an accelerator never waits for it
            losses.append(settle(*pending, run, last))
        pending, mark = (torch.stack([loss.detach(), norm]), batch), time.perf_counter()
    losses.append(settle(*pending, run, last))
    return {"loss": sum(losses) / len(losses), "learning_rate": rate, "frames": frames,
            "seconds": time.perf_counter() - start, "waited": waited}


def settle(values: Tensor, batch: Batch, run: Run, last: Path) -> float:
    """The loss of a step as a number, when loss and gradient norm are finite."""
    loss, norm = values.tolist()
    check_finite({"loss": loss, "gradient norm": norm}, batch, run, last)
    return loss


@torch.inference_mode()
def validate(run: Run, batches: Iterable[Batch], last: Path) -> tuple[float, float]:
    """Mean cross entropy and share of chunks whose speaker is found, over all held-out recordings."""
    run.net.eval()
    total, correct, count = 0.0, 0, 0
    for batch in batches:
        logits, labels = run.net(batch.features.to(run.device)), batch.labels.to(run.device)
        loss = float(functional.cross_entropy(logits, labels, reduction="sum"))
        check_finite({"validation loss": loss}, batch, run, last)
        total, correct, count = total + loss, correct + int((logits.argmax(dim=1) == labels).sum()), count + len(labels)
    return total / count, correct / count


def record_of(run: Run, done: dict[str, float], valid: tuple[float, float], options: ChunkOptions, peak: float,
              seconds: float) -> dict[str, Any]:
    """The epoch's line in train.jsonl. data_wait is the share of the training time spent waiting for batches."""
    rate = done["frames"] / done["seconds"]
    flop = training_flop(run.net, (options.min_chunk + options.max_chunk) // 2)
    return {"epoch": run.epoch, "step": run.step, "loss": done["loss"], "valid_loss": valid[0],
            "valid_accuracy": valid[1], "learning_rate": done["learning_rate"], "frames_per_second": rate,
            "flop_per_frame": flop, "peak_fraction": rate * flop / peak, "data_wait": done["waited"] / done["seconds"],
            "seconds": seconds}


def prepare(source: FrameSource, speakers: list[str], options: NetworkOptions, seed: int) -> Run:
    """A network and its optimiser before the first step; every random number comes from the seed."""
    device = device_of(options.device)
    torch.manual_seed(seed)
    net = Tdnn(subset(options, TdnnOptions), source.dim, len(speakers)).to(device)
    optimiser = OPTIMISERS[options.optimiser](parameter_groups(net, options.weight_decay), options)
    return Run(net, optimiser, Sampler(source, subset(options, ChunkOptions), seed), speakers,
               dataclasses.asdict(subset(options, NetworkOptions)), device)


def start_or_resume(run: Run, directory: Path, made: dict[str, Any], force: bool) -> None:
    """From last.pt where it is of the same recipe; else from the beginning, leaving nothing of an older training."""
    last = directory / "last.pt"
    if is_current(last, made, force):
        run.restore(last)
        print(f"{last}: going on after epoch {run.epoch}", file=sys.stderr)
    else:
        for name in ("last.pt", "final.pt", "train.jsonl"):
            (directory / name).unlink(missing_ok=True)
        run.save_network(directory / "init.pt", made, {"epoch": 0, "valid_loss": math.inf, "valid_accuracy": 0.0,
                                                       "model": run.weights()})
        write_made(last, made)
    checkpoint.truncate_records(directory / "train.jsonl", run.epoch)


def train(data: DataDir, directory: Path, options: NetworkOptions, seed: int, force: bool = False) -> None:
    """Trains one network on `data` (a directory of stage 4) into `directory`; goes on where a killed run stopped.

    Raises InputError for unusable data, options that changed since last.pt or final.pt, and a loss that is not finite.
    """
    data.require("utt2spk", "feats.scp", "vad.scp", "valid_utts")       # names the stage; a fingerprint would not
    made = recipe_of(data, options, seed)
    if is_current(directory / "final.pt", made, force):
        return
    train_utts, valid_utts, speakers = split_validation(data)
    source = open_source(data, train_utts, speakers, options, options.memory_gb, "training")
    held_out = open_source(data, valid_utts, speakers, options, options.memory_gb, "validation")
    run = prepare(source, speakers, options, seed)
    directory.mkdir(parents=True, exist_ok=True)
    write_conf(directory / "options.conf", subset(options, NetworkOptions))
    start_or_resume(run, directory, made, force)
    peak = matmul_peak(run.device)
    while run.epoch < options.epochs:
        start = time.perf_counter()
        done = train_epoch(run, options, directory / "last.pt")
        valid = validate(run, validation_batches(held_out, options), directory / "last.pt")
        run.epoch += 1
        if valid[0] < run.best.get("valid_loss", math.inf):
            run.best = {"epoch": run.epoch, "valid_loss": valid[0], "valid_accuracy": valid[1], "model": run.weights()}
        record = record_of(run, done, valid, options, peak, time.perf_counter() - start)
        checkpoint.append_record(directory / "train.jsonl", record)
        checkpoint.save(directory / "last.pt", run.state())
        print("epoch {epoch}: loss {loss:.3f}, validation loss {valid_loss:.3f}, accuracy {valid_accuracy:.1%}, "
              "{frames_per_second:.0f} frames/s, {seconds:.1f} s".format(**record), file=sys.stderr)
    run.save_network(directory / "final.pt", made, run.best)
