"""Measuring: rates of two ways of doing the same work in turns, the machine's own limits, peak memory.

On one thread the clock is the processor time of this process, so that other users of the machine count little; on more
threads or on CUDA it is wall time. A reference's clock is the processor time of its thread alone: threads that ours leaves
behind go on waiting busily for some milliseconds. Ours and the reference run in turns, and the fastest of each counts.
"""

from __future__ import annotations

import contextlib
import resource
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from scipy.linalg import blas

from pyasp.core.device import synchronise

TURNS = 3
SGEMM_SIZE = {"cpu": 1024, "cuda": 8192}
STREAM_BYTES = 1 << 28  # read to measure the memory's bandwidth: far larger than any cache
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Setting:
    """full: the paper's size; device: torch device; threads: of our side, one after the other; folder: for files."""

    full: bool
    device: torch.device
    threads: tuple[int, ...]
    folder: Path

    def size(self, small: Any, full: Any) -> Any:
        """The value for the small or the full size."""
        return full if self.full else small


@dataclass(frozen=True)
class Row:
    """rate in `unit`; ratio to the reference; fraction_of_peak: of the rate of single-precision products measured in
    the same turns (listed trials: of the memory's bandwidth); reference_bandwidth: what the reference reads and
    writes, as part of the memory's bandwidth. None where there is no such thing."""

    name: str
    rate: float
    unit: str
    ratio: float | None
    fraction_of_peak: float | None
    peak_memory_bytes: int
    threads: int = 1
    reference: str = ""
    reference_bandwidth: float | None = None


@dataclass(frozen=True)
class Reference:
    """make: gives the work of so many units, when ours has been measured once: its memory is not ours; apart: seconds
    a unit that the work leaves out; traffic: bytes that it reads and writes for a unit."""

    name: str
    make: Callable[[], Callable[[], Any]]
    units: float
    traffic: float | None = None
    apart: float = 0.0


def seconds(
    work: Callable[[], Any], threads: int = 1, device: torch.device = CPU, clock: Callable[[], float] | None = None
) -> float:
    """Time of one call: of the processor on one thread, of the clock on the wall otherwise; or by another clock."""
    clock = clock or (time.process_time if threads == 1 and device.type == "cpu" else time.perf_counter)
    synchronise(device)
    start = clock()
    work()
    synchronise(device)
    return clock() - start


@contextlib.contextmanager
def torch_threads(threads: int) -> Iterator[None]:
    """torch's number of threads inside the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Timing:
    """Least seconds of ours (on `threads`) and of the reference (on one thread of the CPU; None without one); the
    machine's limits: sgemm (operations/s on `threads`, the best of the same turns), stream (bytes/s on one thread, in
    the turn in which the reference was fastest); memory: bytes at the peak of our first turn."""

    own: float
    reference: float | None
    sgemm: float
    stream: float
    memory: int


def in_turns(
    ours: Callable[[], Any],
    make: Callable[[], Callable[[], Any]] | None,
    setting: Setting,
    threads: int,
    turns: int = TURNS,
) -> Timing:
    """Ours, the reference and the limits, measured alternately: what else the machine does meets them all."""
    own, other, sgemm, stream, vectors, peak, reference = [], [], [], [], None, 0, None
    memory = PeakMemory(setting.device)
    for turn in range(turns):
        with torch_threads(threads):
            own.append(seconds(ours, threads, setting.device))
        peak = memory.bytes() if turn == 0 else peak
        sgemm.append(sgemm_rate(setting, threads))
        if make is not None:
            with torch_threads(1):
                reference = reference or make()
                other.append(seconds(reference, clock=time.thread_time))
            vectors = vectors or long_vectors()
            stream.append(bandwidth(vectors))
    fastest, rate = min(zip(other, stream), default=(None, 0.0))
    return Timing(min(own), fastest, max(sgemm), rate, peak)


def rows(
    setting: Setting,
    name: str,
    unit: str,
    units: float,
    ours: Callable[[], Any],
    reference: Reference | None = None,
    most: float | None = None,
    limit: str = "sgemm",
    turns: int = TURNS,
) -> Iterator[Row]:
    """A row for each number of threads. units: what a call of ours does, in `unit` times seconds; most: what a unit
    takes of the limit (a field of Timing): operations, or bytes."""
    for threads in setting.threads:
        found = in_turns(ours, reference and reference.make, setting, threads, turns)
        rate = units / found.own
        peak = most and rate * most / getattr(found, limit)
        if reference is None:
            yield Row(name, rate, unit, None, peak, found.memory, threads)
            continue
        each = found.reference / reference.units + reference.apart
        stream = reference.traffic and reference.traffic / each / found.stream
        yield Row(name, rate, unit, rate * each, peak, found.memory, threads, reference.name, stream)


def sgemm_rate(setting: Setting, threads: int, turns: int = 4) -> float:
    """Floating point operations per second of a square single-precision product, the best of several."""
    size = SGEMM_SIZE[setting.device.type]
    a = torch.ones(size, size, device=setting.device)
    with torch_threads(threads):
        return 2 * size**3 / min(seconds(lambda: a @ a, threads, setting.device) for _ in range(turns))


def long_vectors() -> tuple[np.ndarray, np.ndarray]:
    """Two vectors for `bandwidth`; kept no longer than needed, since they count as memory."""
    return np.ones(STREAM_BYTES // 16), np.ones(STREAM_BYTES // 16)


def bandwidth(vectors: tuple[np.ndarray, np.ndarray], turns: int = 2) -> float:
    """Bytes per second that one thread reads from memory, by a BLAS dot product of two long vectors."""
    a, b = vectors
    return STREAM_BYTES / min(seconds(lambda: blas.ddot(a, b), clock=time.thread_time) for _ in range(turns))


class PeakMemory:
    """Largest memory of this process (on CUDA: of the device) since it was made, in bytes.

    Linux forgets the former peak on request; elsewhere the peak of the whole process is given.
    """

    def __init__(self, device: torch.device = CPU):
        self.device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        with contextlib.suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")

    def bytes(self) -> int:
        """The peak so far."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        with contextlib.suppress(OSError):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    return int(line.split()[1]) * 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
