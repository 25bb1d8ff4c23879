"""The state of a training, all of which goes into last.pt, the files in which it is kept, and when it must be.

Files in the system's directory: init.pt (the network before the first step), last.pt (to resume from, also in
mid-epoch), <epoch>.pt (checkpoints of the last epochs, with --keep-epochs or --average-epochs), final.pt.
"""

from __future__ import annotations

import dataclasses
import os
import shutil
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import Tensor, nn

from pyasp.core.device import device_of
from pyasp.core.options import check_values, subset
from pyasp.core.processes import rank, wait_for_all
from pyasp.core.records import is_current, making, write_made
from pyasp.network import checkpoint
from pyasp.network.model import ArchitectureOptions, Network
from pyasp.network.pooling import MaskedBatchNorm
from pyasp.training.chunks import ChunkOptions, Sampler
from pyasp.training.compute import prepare_device, runner
from pyasp.training.frames import FrameSource
from pyasp.training.initial import Taken, take
from pyasp.training.options import OPTIMISERS, NetworkOptions

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # the end of a job, and a batch system's warning before it
NOTHING_DONE = {"loss": 0.0, "frames": 0, "seconds": 0.0, "waited": 0.0}


@dataclass
class Phase:
    """A part of the training with chunks, margin and learning rates of its own: the training, then fine-tuning."""

    sampler: Sampler
    options: NetworkOptions
    first_epoch: int
    first_step: int

    @property
    def steps(self) -> int:
        """Batches of the whole phase."""
        return self.options.epochs * self.sampler.steps


def phases_of(source: FrameSource, options: NetworkOptions, seed: int) -> list[Phase]:
    """The training and, with --finetune-epochs, what comes after it."""
    phases: list[Phase] = []
    for each in options.phases():
        epochs, steps = sum(phase.options.epochs for phase in phases), sum(phase.steps for phase in phases)
        phases.append(Phase(Sampler(source, subset(each, ChunkOptions), seed), each, epochs, steps))
    return phases


def parameter_groups(net: nn.Module, weight_decay: float) -> list[dict[str, Any]]:
    """Matrices with weight decay, vectors (norms, biases) without."""
    parameters = list(net.parameters())
    return [
        {"params": [p for p in parameters if p.ndim > 1], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.ndim <= 1], "weight_decay": 0.0},
    ]


@dataclass
class Run:
    """The state of a training: all of it goes into last.pt."""

    net: Network
    model: Callable[[Tensor], Tensor]  # the network as it is called: compiled, of several processes
    optimiser: torch.optim.Optimizer
    phases: list[Phase]
    speakers: list[str]
    options: NetworkOptions
    device: torch.device
    epoch: int = 0  # whole epochs done
    step: int = 0  # batches done
    within: int = 0  # batches of the present epoch done; a sampler that is read ahead of has gone further
    sums: dict[str, Any] = dataclasses.field(default_factory=lambda: dict(NOTHING_DONE))  # of this epoch
    best: dict[str, Any] = dataclasses.field(default_factory=dict)  # epoch, valid_loss, valid_accuracy, model
    saved: str = "none yet"
    taken: Taken | None = None  # what --init gave

    @property
    def phase(self) -> Phase:
        """The phase of the present epoch."""
        return next(phase for phase in reversed(self.phases) if phase.first_epoch <= self.epoch)

    @property
    def epochs(self) -> int:
        """Epochs of all phases."""
        return sum(phase.options.epochs for phase in self.phases)

    def choose_trained(self) -> None:
        """What this epoch trains: everything, or what --init did not give, the rest being as in evaluation."""
        held = self.taken.names if self.taken and self.epoch < self.options.freeze_encoder_epochs else ()
        wanted = {name: name not in held for name, _ in self.net.named_parameters()}
        if any(p.requires_grad != wanted[name] for name, p in self.net.named_parameters()):
            for name, parameter in self.net.named_parameters():
                parameter.requires_grad_(wanted[name])
            self.model = runner(self.net, self.options, self.device)  # processes sum the gradients that there are
        for module in self.net.train().modules():
            parameters = list(module.parameters())
            if parameters and not any(p.requires_grad for p in parameters):
                module.eval()
        if isinstance(self.optimiser, torch.optim.SGD) and self.optimiser.state:  # fused, it wants momenta of all
            for parameter in (p for p in self.net.parameters() if p.requires_grad):
                self.optimiser.state[parameter].setdefault("momentum_buffer", torch.zeros_like(parameter))

    def weights(self) -> dict[str, Tensor]:
        """A copy of the network's parameters and buffers on the CPU."""
        return {name: value.detach().cpu().clone() for name, value in self.net.state_dict().items()}

    def state(self) -> dict[str, Any]:
        """What last.pt holds."""
        sampler = {"seed": self.phases[0].sampler.seed, "epoch": self.epoch, "step": self.within}
        return {
            "model": self.net.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "sampler": sampler,
            "rng": checkpoint.rng_state(),
            "epoch": self.epoch,
            "step": self.step,
            "sums": self.sums,
            "best": self.best,
            "options": dataclasses.asdict(self.options),
            "dim": self.net.in_dim,
            "speakers": self.speakers,
            **self.origin(),
        }

    def origin(self) -> dict[str, Any]:
        """What a checkpoint says of --init; nothing without it."""
        return {"init": self.taken.facts} if self.taken else {}

    def save(self, path: Path) -> None:
        """Writes last.pt; only the first of several processes does."""
        if rank() == 0:
            checkpoint.save(path, self.state())
        self.saved = f"{path} (epoch {self.epoch}, step {self.step})"

    def restore(self, path: Path) -> None:
        """Goes on from last.pt. Raises InputError when it does not fit."""
        state = checkpoint.load(path, *self.state())
        checkpoint.load_weights(self.net, state["model"], path)
        self.optimiser.load_state_dict(state["optimiser"])
        checkpoint.set_rng_state(state["rng"])
        self.epoch, self.step, self.best, self.sums = (state[key] for key in ("epoch", "step", "best", "sums"))
        self.within = state["sampler"]["step"]
        self.saved = f"{path} (epoch {self.epoch}, step {self.step})"

    def save_network(self, path: Path, made: dict[str, Any], best: dict[str, Any]) -> None:
        """init.pt or final.pt, with its record."""
        options = dataclasses.asdict(self.options)
        state = checkpoint.network_state(self.net.in_dim, best["model"], options, self.speakers, best) | self.origin()
        with making(path, made) as temporary:
            checkpoint.save(temporary, state)


def prepare(
    source: FrameSource,
    speakers: list[str],
    options: NetworkOptions,
    seed: int,
    init: Path | None = None,
    data: Path = Path(),
) -> Run:
    """A network and its optimiser before the first step; every random number comes from the seed.

    init: file of weights to start from; data: the directory that `source` reads. Raises InputError as `take`, and when
    nothing is left to train while those are held.
    """
    device = device_of(options.device)
    prepare_device(options, device)
    torch.manual_seed(seed)
    net = Network(subset(options, ArchitectureOptions), source.dim, len(speakers))
    taken = take(net, init, speakers, options, data) if init else None
    net = net.to(device)
    if taken and options.freeze_encoder_epochs and not taken.facts["new"]:
        check_values(options, f"{init}", "0: every layer was taken, none is new", freeze_encoder_epochs=True)
    for module in net.modules():
        if isinstance(module, MaskedBatchNorm):
            module.synchronised = options.sync_batch_norm
    optimiser = OPTIMISERS[options.optimiser](parameter_groups(net, options.weight_decay), options.learning_rate)
    phases = phases_of(source, options, seed)
    return Run(net, runner(net, options, device), optimiser, phases, speakers, options, device, taken=taken)


def start_or_resume(run: Run, directory: Path, made: dict[str, Any], force: bool) -> None:
    """From last.pt where it is of the same recipe; else from the beginning, leaving nothing of an older training."""
    last = directory / "last.pt"
    if rank() == 0 and not is_current(last, made, force):
        for old in (last, directory / "final.pt", directory / "train.jsonl", *directory.glob("[0-9]*.pt")):
            old.unlink(missing_ok=True)
        run.save_network(directory / "init.pt", made, {**checkpoint.UNTRAINED, "model": run.weights()})
        write_made(last, made)
    wait_for_all()
    if last.exists():
        run.restore(last)
        print(f"{last}: going on after epoch {run.epoch}, step {run.step}", file=sys.stderr)
        keep_epoch(run, directory)
    if rank() == 0:
        checkpoint.truncate_records(directory / "train.jsonl", run.epoch)


def keep_epoch(run: Run, directory: Path) -> None:
    """last.pt of a finished epoch under the epoch's number too; those that are too old go."""
    count = max(run.options.keep_epochs, run.options.average_epochs)
    if rank() != 0 or not count or run.within or not run.epoch:
        return
    kept = directory / f"{run.epoch}.pt"
    kept.unlink(missing_ok=True)
    try:
        os.link(directory / "last.pt", kept)
    except OSError:  # a file system without links
        shutil.copyfile(directory / "last.pt", kept)
    drop_epochs(directory, run.epoch - count)


def drop_epochs(directory: Path, newest: int) -> None:
    """Deletes the checkpoints of epochs 1 to `newest`."""
    for path in directory.glob("[0-9]*.pt"):
        if path.stem.isdigit() and int(path.stem) <= newest:
            path.unlink()


def mean_network(directory: Path, epochs: range) -> dict[str, Tensor]:
    """Mean of the networks of <epoch>.pt, statistics of batch norms included; counters are the last one's.

    Raises InputError when one of the checkpoints is missing.
    """
    states = [checkpoint.load(directory / f"{epoch}.pt", "model")["model"] for epoch in epochs]
    return {
        name: torch.stack([state[name] for state in states]).mean(0) if value.is_floating_point() else value
        for name, value in states[-1].items()
    }


class Watch:
    """A context in which SIGTERM and SIGUSR1 are noted instead of ending the process at once."""

    def __init__(self, minutes: float):
        """minutes: between two checkpoints; 0 = no checkpoint falls due."""
        self.seconds, self.last, self.received = 60 * minutes, time.monotonic(), 0

    def __enter__(self) -> Watch:
        self.before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    def due(self) -> bool:
        """True when the last checkpoint is older than the minutes say."""
        return bool(self.seconds) and time.monotonic() - self.last >= self.seconds

    def saved(self) -> None:
        """To be called after each checkpoint."""
        self.last = time.monotonic()
