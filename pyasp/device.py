"""Where to compute, and how fast that place multiplies matrices."""

from __future__ import annotations

import time

import torch

from pyasp.errors import InputError

DEVICES = ("auto", "cpu", "cuda")
PEAK_SIZE = {"cpu": 1024, "cuda": 8192}     # rows and columns of the measured product: large enough to saturate
PEAK_TRIALS = 8


def device_of(name: str) -> torch.device:
    """`auto` (CUDA where there is one), `cpu` or `cuda`. Raises InputError when CUDA is asked for and not there."""
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise InputError("command line", "no usable CUDA device", "one, for --device cuda", "Use --device auto or cpu",
                         item="--device")
    return torch.device("cuda" if name != "cpu" and there else "cpu")


def synchronise(device: torch.device) -> None:
    """Waits until the device has finished what it was given (for timing)."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def matmul_peak(device: torch.device) -> float:
    """Floating point operations per second of the fastest of a few square single-precision products.

    Takes a fraction of a second and leaves the random generators alone: the operands are ones.
    """
    size = PEAK_SIZE[device.type]
    a, seconds = torch.ones(size, size, device=device), []
    for _ in range(PEAK_TRIALS):
        synchronise(device)
        start = time.perf_counter()
        a @ a
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    return 2 * size ** 3 / min(seconds)
