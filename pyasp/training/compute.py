"""How the network computes: precision, one pass, compiler, several processes, and what to say when memory runs out.

precision  float32: single precision throughout; bfloat16: products and activations in bfloat16 (autocast), weights,
           optimiser, batch statistics, pooling and loss in single precision; auto: bfloat16 on CUDA alone
tf32       single-precision products on CUDA may round their factors to 10 bits of mantissa (NVIDIA's TF32)
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from pyasp.core.device import DEVICES
from pyasp.core.errors import InputError, lacks_memory
from pyasp.core.options import option
from pyasp.core.processes import joined
from pyasp.network.model import Network
from pyasp.training.chunks import ChunkOptions
from pyasp.training.one_pass import OnePass, covers

PRECISIONS = ("auto", "float32", "bfloat16")
BYTES_OF_A_WEIGHT = 16  # parameter, gradient, two moments of the optimiser
TRANSIENT = 1.5  # activations, and gradients on their way, in activations; measured: 1.1 to 1.8
ONE_PASS_SHARE = 1 / 3  # of the plain layers' activations


@dataclass(frozen=True)
class ComputeOptions:
    """Where and in which precision."""

    device: str = option("auto", "where to compute", choices=DEVICES)
    precision: str = option(
        "auto", "of products and activations; auto: bfloat16 on CUDA, float32 on a CPU", choices=PRECISIONS
    )
    tf32: bool = option(True, "single-precision products on CUDA in TF32")
    compile: bool = option(False, "torch.compile; where that fails the network runs as it is")
    deterministic: bool = option(False, "CUDA: only operations that repeat themselves bit for bit (slower)")
    sync_batch_norm: bool = option(
        True,
        "several processes: statistics of batch norm over all of them, so that the "
        "result is that of one process; false: each over its own part",
    )


def prepare_device(options: ComputeOptions, device: torch.device) -> None:
    """The process-wide switches of torch."""
    torch.set_float32_matmul_precision("high" if options.tf32 and device.type == "cuda" else "highest")
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = options.tf32
        if options.deterministic:
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    torch.use_deterministic_algorithms(options.deterministic)


def precision_of(options: ComputeOptions, device: torch.device) -> str:
    """`float32` or `bfloat16`."""
    automatic = "bfloat16" if device.type == "cuda" else "float32"
    return automatic if options.precision == "auto" else options.precision


def autocast(options: ComputeOptions, device: torch.device) -> contextlib.AbstractContextManager:
    """The context of a forward pass."""
    if precision_of(options, device) == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, torch.bfloat16)


class Compiled:
    """A network under torch.compile, for chunks of any length; as it is from the first failure of the compiler on."""

    def __init__(self, net: nn.Module):
        self.net = net
        self.call: Callable[[Tensor], Tensor] = torch.compile(net, dynamic=True)

    def __call__(self, x: Tensor) -> Tensor:
        """What net(x) is."""
        if self.call is not self.net:
            try:
                return self.call(x)
            except Exception as error:  # of the compiler's many; the plain call below shows whether it was another
                reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
                print(f"torch.compile failed ({reason}): going on without", file=sys.stderr)
                self.call = self.net
        return self.net(x)


def runner(net: Network, options: ComputeOptions, device: torch.device) -> Callable[[Tensor], Tensor]:
    """What the training calls instead of `net`: on a CPU in one pass where that covers the network, its gradients
    averaged over the processes, compiled if asked for."""
    model: Any = OnePass(net) if device.type == "cpu" and covers(net) else net
    if joined():
        ids = [device.index or 0] if device.type == "cuda" else None
        model = nn.parallel.DistributedDataParallel(model, ids, broadcast_buffers=not options.sync_batch_norm)
    return Compiled(model) if options.compile else model


def training_flop(net: Network, frames: int) -> float:
    """Floating point operations per input frame of a training step: forward, and twice that backward."""
    return 3 * 2 * net.multiply_adds(frames) / frames


def training_work(net: Network, options: ChunkOptions, steps: int) -> float:
    """Floating point operations of so many batches."""
    chunk = (options.min_chunk + options.max_chunk) // 2
    return steps * options.batch_size * chunk * training_flop(net, chunk)


def bytes_of_chunk(net: Network, frames: int) -> int:
    """Bytes that autograd keeps between forward and backward of a chunk of `frames` frames, by a forward pass in
    evaluation mode: what it keeps there is the same, and neither statistics nor random numbers move."""
    weights, kept, training = {value.data_ptr() for value in net.state_dict().values()}, {}, net.training

    def keep(value: Tensor) -> Tensor:
        """Notes the bytes of what autograd keeps, weights at 0."""
        storage = value.untyped_storage()
        kept[storage.data_ptr()] = 0 if value.data_ptr() in weights else storage.nbytes()  # of several views one
        return value

    with torch.enable_grad(), saved_tensors_hooks(keep, lambda value: value):
        x = next(net.parameters()).new_zeros(1, frames, net.in_dim)
        output = net.eval()(x)
    del output  # alive until here: no address comes twice
    net.train(training)
    return sum(kept.values())


def bytes_needed(net: Network, chunks: int, frames: int, options: ComputeOptions, device: torch.device) -> int:
    """About the bytes of a training step on batches of `chunks` x `frames`."""
    share = 0.8 if precision_of(options, device) == "bfloat16" else 1.0  # pooling, norms, loss: in single precision
    share = ONE_PASS_SHARE if device.type == "cpu" and covers(net) else share
    weights = BYTES_OF_A_WEIGHT * sum(p.numel() for p in net.parameters())
    return weights + int(TRANSIENT * share * chunks * bytes_of_chunk(net, frames))


def memory_of(device: torch.device) -> int:
    """Bytes of memory that the device has."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


@contextlib.contextmanager
def explained_memory(
    net: Network, chunks: int, frames: int, options: ComputeOptions, device: torch.device
) -> Iterator[None]:
    """An InputError that names the batch size that fits: before the block where its batches cannot fit, and in place of
    running out of memory in it. A system that hands out more memory than there is would kill the process instead."""
    weights, needed = (bytes_needed(net, count, frames, options, device) for count in (0, chunks))
    memory, fits = memory_of(device), chunks // 2
    while fits > 2 and weights + (needed - weights) * fits / chunks > 0.7 * memory:
        fits //= 2
    told = InputError(
        "training",
        f"no memory for batches of {chunks} chunks of up to {frames} frames on {device}, of {memory / 1e9:.1f} GB",
        f"about {needed / 1e9:.1f} GB beside the features",
        f"Train with --batch-size {fits} (it fits by the network's sizes), or with shorter chunks; "
        "last.pt, if there is one, is whole",
    )
    if (needed - weights) / TRANSIENT > memory:  # even without the gradients on their way
        raise told
    try:
        yield
    except Exception as error:
        if isinstance(error, torch.OutOfMemoryError) or lacks_memory(error):
            raise told from error
        raise
