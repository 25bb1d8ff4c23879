"""Processes of one training or one EM: torchrun (or srun) starts them, torch.distributed joins them; alone, all of
this does nothing.

    rank, world   number of this process from 0, and how many there are
"""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, distributed

from pyasp.core.errors import InputError

BACKENDS = {"cpu": "gloo", "cuda": "nccl"}
PATIENCE = timedelta(hours=1)  # a slower process may still be reading its features


def joined() -> bool:
    """True among several processes."""
    return distributed.is_available() and distributed.is_initialized()


def rank() -> int:
    """Number of this process, from 0."""
    return distributed.get_rank() if joined() else 0


def world() -> int:
    """Number of processes."""
    return distributed.get_world_size() if joined() else 1


@contextlib.contextmanager
def together(device_type: str) -> Iterator[None]:
    """Joins the processes that torchrun started, for the time of the block: gloo on CPU, NCCL on CUDA.

    Raises InputError when only a part of the environment is there.
    """
    several = "RANK" in os.environ and int(os.environ.get("WORLD_SIZE", "1")) > 1  # torchrun or srun has said so
    if not several or joined():
        yield
        return
    missing = [name for name in ("MASTER_ADDR", "MASTER_PORT") if name not in os.environ]
    if missing:
        cure = "Start with torchrun --nproc-per-node=N -m pyasp.bin...., which sets them"
        raise InputError("environment", f"RANK and WORLD_SIZE without {' and '.join(missing)}", "all of them", cure)
    if device_type == "cuda":
        torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    distributed.init_process_group(BACKENDS[device_type], timeout=PATIENCE)
    try:
        yield
    finally:
        distributed.destroy_process_group()


def sum_over(values: Tensor) -> Tensor:
    """`values` summed over the processes, in place; returned."""
    if joined():
        distributed.all_reduce(values)
    return values


class SumOver(torch.autograd.Function):
    """Sum over the processes that gradients go through: the gradient of each is the sum of all."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """x, any shape, the same in every process."""
        return sum_over(x.clone())

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        """The sum of the gradients."""
        return sum_over(grad.clone())


def sum_statistics(statistics: Any) -> None:
    """Tensors and numbers of a dataclass of sums, each summed over the processes, in place."""
    for field in dataclasses.fields(statistics) if joined() else ():
        value = getattr(statistics, field.name)
        if isinstance(value, Tensor):
            sum_over(value)
        else:
            place = "cuda" if distributed.get_backend() == "nccl" else "cpu"
            number = torch.tensor(float(value), dtype=torch.float64, device=place)
            setattr(statistics, field.name, type(value)(sum_over(number).item()))


def wait_for_all() -> None:
    """Returns when every process has come here."""
    if joined():
        distributed.barrier()


def part_of(count: int) -> slice:
    """The rows of this process among `count` rows, which the number of processes divides."""
    size = count // world()
    return slice(rank() * size, (rank() + 1) * size)
