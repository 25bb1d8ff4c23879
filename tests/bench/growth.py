"""Rows of the benchmark: time and memory of the E-step from 1000 to 100 000 recordings of generated statistics."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench import models
from bench.measure import Row, Setting, in_turns
from pyasp.ivector.em import IvectorStats
from pyasp.ivector.model import Estimator

DIM, BATCH, RECORDINGS = 60, 200, (1000, 10_000, 100_000)


def growth(setting: Setting) -> Iterator[Row]:
    """The ratio is the time a recording takes among 1000 over the time it takes here: 1 where time is linear."""
    num_gauss, ivector_dim = setting.size((32, 32), (512, 200))
    model = models.extractor(num_gauss, DIM, ivector_dim)
    estimator = Estimator(model, setting.device, torch.float32)
    count, first = (a.to(setting.device) for a in models.statistics(model, BATCH))
    stats = IvectorStats.zeros(num_gauss, DIM, ivector_dim, setting.device)
    each = None

    def work(recordings: int) -> None:
        for number in range(recordings // BATCH):
            scale = 0.5 + (number % 7) / 7.0  # statistics of other recordings
            stats.accumulate(estimator, count * scale, first * scale)

    for recordings in RECORDINGS:
        found = in_turns(lambda: work(recordings), None, setting, 1, 1 if recordings > 10_000 else 3)
        each = each or found.own / recordings
        yield Row(
            f"growth_{recordings}_recordings",
            recordings / found.own,
            "recordings/s",
            each * recordings / found.own,
            None,
            found.memory,
            1,
            "1000 recordings",
        )
