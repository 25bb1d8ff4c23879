"""Where to compute, and how fast that place multiplies matrices."""

import os
import time
from collections.abc import Callable

import torch

from pyasp.core.errors import InputError

DEVICES = ("auto", "cpu", "cuda")
PEAK_SIZE = {"cpu": 1024, "cuda": 8192}  # rows and columns of the measured product: large enough to saturate
PEAK_TRIALS = 8
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def device_of(name: str) -> torch.device:
    """`auto` (CUDA where there is one), `cpu` or `cuda`. Raises InputError when CUDA is asked for and not there."""
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        found = "no usable CUDA device"
        raise InputError("command line", found, "one, for --device cuda", "Use --device auto or cpu", item="--device")
    if name == "cpu" or not there:
        return torch.device("cpu")
    return torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))  # torchrun: one GPU a process


def synchronise(device: torch.device) -> None:
    """Waits until the device has finished what it was given (for timing)."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


class Later:
    """A small tensor on its way to the host: copied behind the work that made it, not behind what is queued since."""

    def __init__(self, values: torch.Tensor):
        self.host, self.ready = values, None
        if values.device.type == "cuda":
            self.host = torch.empty(values.shape, dtype=values.dtype, pin_memory=True)
            self.host.copy_(values, non_blocking=True)
            self.ready = torch.cuda.Event()
            self.ready.record()

    def tolist(self) -> list[float]:
        """The values, when they have arrived."""
        if self.ready is not None:
            self.ready.synchronize()
        return self.host.tolist()


def matmul_peak(device: torch.device, precision: str = "float32") -> float:
    """Floating point operations per second of the fastest of a few square products; precision: a torch dtype's name.

    Takes a fraction of a second and leaves the random generators alone: the operands are ones.
    """
    size = PEAK_SIZE[device.type]
    a, seconds = torch.ones(size, size, device=device, dtype=DTYPES[precision]), []
    for _ in range(PEAK_TRIALS):
        synchronise(device)
        start = time.perf_counter()
        a @ a
        synchronise(device)
        seconds.append(time.perf_counter() - start)
    return 2 * size**3 / min(seconds)


def pace(device: torch.device, seconds: float = 1.0, clock: Callable[[], float] = time.perf_counter) -> float:
    """Floating point operations per second of such products on average over about `seconds`: unlike the fastest one,
    it feels what other processes take. On a CPU with all threads or with one, whichever does more (pyasp.core.threads).
    """
    size, most = PEAK_SIZE[device.type], torch.get_num_threads()
    a, rates = torch.ones(size, size, device=device), []
    counts = {most, 1} if device.type == "cpu" else {most}
    for threads in counts:
        torch.set_num_threads(threads)
        a @ a
        synchronise(device)
        start, done = clock(), 0
        while not done or clock() - start < seconds / len(counts):
            a @ a
            synchronise(device)
            done += 1
        rates.append(done * 2 * size**3 / (clock() - start))
    torch.set_num_threads(most)
    return max(rates)
