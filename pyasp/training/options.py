"""Options of the training of networks, and the tables that they choose from."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Annotated, Any

import torch

from pyasp.core.options import Amount, Count, Natural, Part, Positive, check_options, check_values, option, subset
from pyasp.features.frontend import NetworkFrontendOptions
from pyasp.network.embed import EmbedOptions, check_frames
from pyasp.network.model import ArchitectureOptions
from pyasp.training.chunks import ChunkOptions
from pyasp.training.compute import ComputeOptions

# fused: one pass over the parameters for the whole rule, on CPU and CUDA.
OPTIMISERS: dict[str, Callable[[list[dict[str, Any]], float], torch.optim.Optimizer]] = {
    "adamw": lambda groups, rate: torch.optim.AdamW(groups, lr=rate, fused=True),
    "sgd": lambda groups, rate: torch.optim.SGD(groups, lr=rate, momentum=0.9, nesterov=True, fused=True),
}

# Share of the learning rate at a point of the training in [0, 1], after the warm-up.
SCHEDULES: dict[str, Callable[[float], float]] = {
    "cosine": lambda done: 0.5 * (1 + math.cos(math.pi * done)),
    "exponential": lambda done: 0.1**done,  # Kaldi's sre16/v2: 1e-3 to 1e-4
    "constant": lambda done: 1.0,
}


@dataclass(frozen=True)
class TrainOptions:
    """How the network is trained. The paper states none of this."""

    epochs: Count = option(10, "epochs of training")
    optimiser: str = option("adamw", "rule of the steps", choices=OPTIMISERS)
    learning_rate: Positive = option(1e-3, "largest learning rate")
    schedule: str = option("cosine", "how the learning rate falls after the warm-up", choices=SCHEDULES)
    warmup: Part = option(0.05, "part of the steps in which the learning rate rises linearly from zero")
    weight_decay: Amount = option(
        0.01, "decay of weight matrices (times the learning rate); norms and biases have none"
    )
    clip_norm: Positive = option(5.0, "gradients are scaled down to this norm")
    margin: Annotated[float, "[0, 1.5707]"] = option(0.2, "margin of --loss am (in the cosine) or aam (in radians)")
    logit_scale: Positive = option(30.0, "scale of the cosines of --loss am and aam")
    average_epochs: Natural = option(
        0,
        "final.pt is the mean of the networks of so many last epochs where that has "
        "the lower validation loss; 0 = the best epoch",
    )
    finetune_epochs: Natural = option(0, "more epochs on long chunks with a large margin after the others; 0 = none")
    finetune_chunk: Count = option(600, "fine-tuning: frames of a chunk")
    finetune_margin: Annotated[float, "[0, 1.5707]"] = option(0.5, "fine-tuning: margin of --loss am or aam")
    finetune_learning_rate: Positive = option(1e-4, "fine-tuning: largest learning rate")
    init: str = option(
        "",
        "start from the weights of a trained network: its final.pt, or a bundle; "
        "new speakers get a new output layer, the same ones train on",
    )
    freeze_encoder_epochs: Natural = option(
        0, "with --init: in so many first epochs what it gave stays as it is, and the new layers alone learn"
    )

    def __post_init__(self) -> None:
        check_options(self, "training options")
        held = self.freeze_encoder_epochs
        wrong = held > self.epochs + self.finetune_epochs or (held > 0 and not self.init)
        check_values(self, "training options", "0 to --epochs, and 0 without --init", freeze_encoder_epochs=wrong)


@dataclass(frozen=True)
class CheckpointOptions:
    """What is kept against a kill; none of it changes the network."""

    checkpoint_minutes: Amount = option(15.0, "last.pt is written in mid-epoch too, every so many minutes; 0 = never")
    keep_epochs: Natural = option(0, "the checkpoints of so many last epochs are kept as <epoch>.pt beside last.pt")

    def __post_init__(self) -> None:
        check_options(self, "checkpoint options")


@dataclass(frozen=True)
class NetworkOptions(
    NetworkFrontendOptions,
    ArchitectureOptions,
    ChunkOptions,
    EmbedOptions,
    TrainOptions,
    ComputeOptions,
    CheckpointOptions,
):
    """Everything that tdnn.conf may say: front end, sizes, chunks, training, computing, checkpoints, extraction."""

    def __post_init__(self) -> None:
        for part in NetworkOptions.__bases__:
            subset(self, part)  # checks what is its own
        for name in ("min_chunk", "extract_min_frames"):
            check_frames(name, self, self.shortest)
        short = bool(self.finetune_epochs) and self.finetune_chunk < self.min_chunk
        check_values(self, "training options", "at least --min-chunk", finetune_chunk=short)

    def phases(self) -> list[NetworkOptions]:
        """Settings of the training and, with --finetune-epochs, of what comes after it."""
        if not self.finetune_epochs:
            return [self]
        later = replace(
            self,
            epochs=self.finetune_epochs,
            min_chunk=self.finetune_chunk,
            max_chunk=self.finetune_chunk,
            learning_rate=self.finetune_learning_rate,
            margin=self.finetune_margin,
        )
        return [self, later]


def learning_rate(options: TrainOptions, step: int, total: int) -> float:
    """Rate of step `step` (from 0) of `total`: linear warm-up, then the schedule; never zero."""
    warm = int(options.warmup * total)
    if step < warm:
        return options.learning_rate * (step + 1) / (warm + 1)
    return options.learning_rate * SCHEDULES[options.schedule]((step - warm) / max(total - warm, 1))
