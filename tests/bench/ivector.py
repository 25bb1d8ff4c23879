"""Rows of the benchmark: i-vector extraction and the extractor's E-step, statistics given."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from bench import models
from bench.measure import Row, Setting, Timing, in_turns
from bench.reference import CACHED, IvectorReference
from pyasp.gmm.em import FullStats
from pyasp.gmm.posteriors import Aligner
from pyasp.ivector.em import IvectorStats
from pyasp.ivector.model import Estimator
from pyasp.ivector.train import recording_operations

DIM, BATCH, REFERENCE_RECORDINGS = 60, 256, 4


def _sizes(setting: Setting) -> tuple[int, int]:
    """Gaussians and dimension of the i-vector."""
    return setting.size((512, 200), (2048, 400))


def extraction(setting: Setting) -> Iterator[Row]:
    """i-vectors of 10-s recordings."""
    num_gauss, ivector_dim = _sizes(setting)
    model = models.extractor(num_gauss, DIM, ivector_dim)
    estimator = Estimator(model, setting.device, torch.float32)
    count, first = (a.to(setting.device) for a in models.statistics(model, BATCH))
    del model
    some = [(count[u].cpu().numpy(), first[u].cpu().numpy()) for u in range(REFERENCE_RECORDINGS)]
    memories = {threads: _peak(setting, threads, lambda: estimator.means(count, first)) for threads in setting.threads}
    reference = IvectorReference(estimator)
    for threads in setting.threads:
        found = in_turns(
            lambda: estimator.means(count, first), lambda: [reference.extract(*each) for each in some], setting, threads
        )
        yield _row(
            "ivector_extraction",
            found,
            threads,
            found.reference / len(some),
            memories[threads],
            recording_operations(num_gauss, ivector_dim, DIM),
            reference.bytes_per_recording(),
        )


def estep(setting: Setting) -> Iterator[Row]:
    """E-step of 10-s recordings: extraction, Y, R and the scatter; counts are given."""
    num_gauss, ivector_dim = _sizes(setting)
    model = models.extractor(num_gauss, DIM, ivector_dim)
    estimator = Estimator(model, setting.device, torch.float32)
    count, first = (a.to(setting.device) for a in models.statistics(model, BATCH))
    stats = IvectorStats.zeros(num_gauss, DIM, ivector_dim, setting.device)
    memories = {
        threads: _peak(setting, threads, lambda: stats.accumulate(estimator, count, first))
        for threads in setting.threads
    }
    del model
    some = [(count[u].cpu().numpy(), first[u].cpu().numpy()) for u in range(REFERENCE_RECORDINGS)]
    reference = IvectorReference(estimator).with_sums()
    flush = _flush_seconds(reference, some, setting)
    flop = 2 * recording_operations(num_gauss, ivector_dim, DIM) + ivector_dim**3
    traffic = reference.bytes_per_recording() + 2 * reference.linear.nbytes
    for threads in setting.threads:
        found = in_turns(
            lambda: stats.accumulate(estimator, count, first),
            lambda: [reference.accumulate(*each) for each in some],
            setting,
            threads,
        )
        yield _row(
            "ivector_estep", found, threads, found.reference / len(some) + flush, memories[threads], flop, traffic
        )


def _flush_seconds(reference: IvectorReference, some: list[tuple[np.ndarray, np.ndarray]], setting: Setting) -> float:
    """Share of a recording in the product that the reference makes for many of them together."""
    reference.accumulate(*some[0])
    reference.cached = CACHED
    return in_turns(reference.flush, None, setting, 1, 1).own / CACHED


def covariance_estep(setting: Setting) -> Iterator[Row]:
    """The part of the E-step that estimates covariances: second-order statistics of the pruned posteriors."""
    num_gauss = setting.size(512, 2048)
    ubm = models.ubm(num_gauss, DIM)
    x = torch.from_numpy(models.frames(ubm, 1 << 16)).to(setting.device)
    aligned = Aligner(ubm.to_diag(), ubm, 20, 0.025, device=setting.device)(x)
    stats = FullStats.zeros(num_gauss, DIM, setting.device)
    pairs = len(aligned.frame) / len(x)
    for threads in setting.threads:
        found = in_turns(lambda: stats.accumulate(x, aligned, torch.float32), None, setting, threads)
        rate = len(x) / found.own
        yield Row(
            "ivector_estep_covariances",
            rate / models.FRAMES_PER_SECOND,
            "x real time",
            None,
            rate * pairs * 2 * DIM * DIM / found.sgemm,
            found.memory,
            threads,
        )


def _peak(setting: Setting, threads: int, work) -> int:
    return in_turns(work, None, setting, threads, 1).memory


def _row(name: str, found: Timing, threads: int, other: float, memory: int, flop: float, traffic: float) -> Row:
    own = found.own / BATCH
    return Row(
        name,
        1.0 / own,
        "recordings/s",
        other / own,
        flop / own / found.sgemm,
        memory,
        threads,
        "a recording at a time, BLAS",
        traffic / other / found.stream,
    )
