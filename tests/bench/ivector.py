"""Rows of the benchmark: i-vector extraction and the extractor's E-step, statistics given; the E-step from 1000 to
100 000 recordings."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterator

import torch

from bench import models
from bench.measure import Reference, Row, Setting, rows, seconds
from bench.reference import CACHED, IvectorReference
from pyasp.gmm.em import FullStats
from pyasp.gmm.posteriors import Aligner
from pyasp.ivector.em import IvectorStats
from pyasp.ivector.model import Estimator
from pyasp.ivector.train import recording_operations

DIM, BATCH, REFERENCE_RECORDINGS = 60, 256, 4
RECORDINGS, GROWTH_BATCH = (1000, 10_000, 100_000), 200
NAME = "a recording at a time, BLAS"


class _Pieces:
    """An estimator, and statistics of 10-s recordings; the reference takes a few of them."""

    def __init__(self, setting: Setting, small=(512, 200), full=(2048, 400), batch: int = BATCH):
        self.num_gauss, self.ivector_dim = setting.size(small, full)
        model = models.extractor(self.num_gauss, DIM, self.ivector_dim)
        self.estimator = Estimator(model, setting.device, torch.float32)
        self.count, self.first = (a.to(setting.device) for a in models.statistics(model, batch))
        self.some = [(self.count[u].cpu().numpy(), self.first[u].cpu().numpy()) for u in range(REFERENCE_RECORDINGS)]
        self.flop = recording_operations(self.num_gauss, self.ivector_dim, DIM)
        u_and_m = self.estimator.quadratic, self.estimator.linear
        self.quadratic_bytes, self.linear_bytes = (8 * matrix.numel() for matrix in u_and_m)  # in double precision

    @functools.cached_property
    def stats(self) -> IvectorStats:
        """What the E-step adds up, as large as the model."""
        return IvectorStats.zeros(self.num_gauss, DIM, self.ivector_dim, self.estimator.device)

    def flush_seconds(self) -> float:
        """Share of a recording in the product that the reference makes for many of them together."""
        reference = IvectorReference(self.estimator).with_sums()
        reference.accumulate(*self.some[0])
        reference.cached = CACHED
        return seconds(reference.flush, clock=time.thread_time) / CACHED


def extraction(setting: Setting) -> Iterator[Row]:
    """i-vectors of 10-s recordings."""
    p = _Pieces(setting)

    def reference() -> Callable[[], list]:
        theirs = IvectorReference(p.estimator)
        return lambda: [theirs.extract(*each) for each in p.some]

    other = Reference(NAME, reference, len(p.some), p.quadratic_bytes + p.linear_bytes)
    work = functools.partial(p.estimator.means, p.count, p.first)
    return rows(setting, "ivector_extraction", "recordings/s", BATCH, work, other, p.flop)


def estep(setting: Setting) -> Iterator[Row]:
    """E-step of 10-s recordings: extraction, Y, R and the scatter; counts are given."""
    p = _Pieces(setting)
    flush = p.flush_seconds()

    def reference() -> Callable[[], list]:
        theirs = IvectorReference(p.estimator).with_sums()
        return lambda: [theirs.accumulate(*each) for each in p.some]

    other = Reference(NAME, reference, len(p.some), p.quadratic_bytes + 3 * p.linear_bytes, flush)
    work = functools.partial(p.stats.accumulate, p.estimator, p.count, p.first)
    return rows(setting, "ivector_estep", "recordings/s", BATCH, work, other, 2 * p.flop + p.ivector_dim**3)


def covariance_estep(setting: Setting) -> Iterator[Row]:
    """The part of the E-step that estimates covariances: second-order statistics of the pruned posteriors."""
    num_gauss = setting.size(512, 2048)
    ubm = models.ubm(num_gauss, DIM)
    x = torch.from_numpy(models.frames(ubm, 1 << 16)).to(setting.device)
    aligned = Aligner(ubm.to_diag(), ubm, 20, 0.025, device=setting.device)(x)
    stats = FullStats.zeros(num_gauss, DIM, setting.device)
    length = len(x) / models.FRAMES_PER_SECOND
    flop = len(aligned.frame) / length * 2 * DIM * DIM
    work = functools.partial(stats.accumulate, x, aligned, torch.float32)
    return rows(setting, "ivector_estep_covariances", "x real time", length, work, most=flop)


def growth(setting: Setting) -> Iterator[Row]:
    """The ratio is the time a recording takes among 1000 over the time it takes here: 1 where time is linear."""
    p, base = _Pieces(setting, (32, 32), (512, 200), GROWTH_BATCH), None
    alone = dataclasses.replace(setting, threads=(1,))

    def work(recordings: int) -> None:
        for number in range(recordings // GROWTH_BATCH):
            scale = 0.5 + (number % 7) / 7.0  # statistics of other recordings
            p.stats.accumulate(p.estimator, p.count * scale, p.first * scale)

    for number in RECORDINGS:
        turns = 1 if number > 10_000 else 3
        for row in rows(
            alone, f"growth_{number}_recordings", "recordings/s", number, lambda: work(number), turns=turns
        ):
            base = base or row.rate
            yield dataclasses.replace(row, ratio=row.rate / base, reference="1000 recordings")
