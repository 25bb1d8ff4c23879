"""Memory of a training step at the sizes of conf/voxceleb, without computing it: bytes of the storages that are alive."""

import contextlib
import inspect
import re
from types import SimpleNamespace

import fake_cuda
import numpy as np
import pytest
import torch
from torch._guards import detect_fake_mode
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from pyasp.core.command import parse
from pyasp.core.options import subset
from pyasp.network.model import ArchitectureOptions, Network
from pyasp.training.chunks import Batch
from pyasp.training.compute import bytes_needed
from pyasp.training.frames import byte_reader
from pyasp.training.options import OPTIMISERS, NetworkOptions
from pyasp.training.run import Phase, Run, parameter_groups
from pyasp.training.trainer import train_step

CPU, GPU, SPEAKERS = torch.device("cpu"), torch.device("cuda"), 1211  # VoxCeleb1's training speakers
SYSTEMS = {"average": 40, "attentive_statistics": 40, "ecapa": 80, "resnet34": 80}  # coefficients of the features


class Alive(TorchDispatchMode):
    """Counts `now` and `peak`, bytes of the storages that tensors made in its context, and `tensors`, hold."""

    def __init__(self, tensors=()):
        super().__init__()
        self.sizes, self.peak = {}, 0
        self.note(tensors)

    def note(self, tensors):
        for storage in (x.untyped_storage() for x in tensors if isinstance(x, torch.Tensor)):
            self.sizes.setdefault(StorageWeakRef(storage), storage.nbytes())
        self.sizes = {ref: size for ref, size in self.sizes.items() if not ref.expired()}
        self.now = sum(self.sizes.values())
        self.peak = max(self.peak, self.now)

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        self.note(tree_leaves(result))
        return result


def test_storages_are_counted_once_and_while_they_live():
    kept = torch.ones(10)
    with Alive([kept]) as alive:
        x = kept + 1
        view = x[2:]
        assert alive.now == 80
        del x
        y = view * 2
        assert alive.now == 40 + 40 + 32
        del view
        y.add_(1)
        assert (alive.now, alive.peak) == (40 + 32, 40 + 40 + 32)


def paper_step(system, precision="bfloat16", device=CPU, *more):
    """(run, batch) before the first step of a system of conf/voxceleb on the longest chunks, as its training makes it."""
    words = ["--config=conf/voxceleb/tdnn.conf", f"--config=conf/systems/{system}.conf", f"--precision={precision}"]
    options, dim = parse(NetworkOptions, [*words, *more])[0], SYSTEMS[system]
    fake = detect_fake_mode() is not None  # it makes networks on a device, but moves none
    with device if fake else contextlib.nullcontext():
        net = Network(subset(options, ArchitectureOptions), dim, SPEAKERS)
    net = net if fake else net.to(device)
    optimiser = OPTIMISERS[options.optimiser](parameter_groups(net, options.weight_decay), options.learning_rate)
    run = Run(net, net, optimiser, [Phase(SimpleNamespace(steps=5), options, 0, 0)], [], options, device)
    run.choose_trained()
    size = options.batch_size, options.max_chunk
    labels = torch.arange(size[0]) % SPEAKERS
    return run, Batch(torch.ones(*size, dim, device=device), labels, [])


def step(run, batch):
    """One step: see train_step."""
    return train_step(run, batch, SimpleNamespace(received=0, due=lambda: False))


def step_memory(system, precision="bfloat16", device="cpu"):
    """Peak bytes of the second of two training steps, and what `bytes_needed` says for a GPU.

    Plain layers under autocast, as on a GPU; workspaces of single operations are not counted.
    """
    with FakeTensorMode():
        run, batch = paper_step(system, precision, torch.device(device))
        with Alive([*run.net.state_dict().values(), batch.features]) as alive:
            for _ in range(2):
                step(run, batch)
    net = paper_step(system)[0].net  # of real weights: what autograd keeps is told apart by addresses
    return alive.peak, bytes_needed(net, *batch.features.shape[:2], run.options, GPU)


def test_the_bytes_that_a_batch_size_is_named_by_are_enough():
    peak, needed = step_memory("attentive_statistics")
    assert peak <= needed <= 3 * peak


@pytest.mark.slow
@pytest.mark.parametrize("column, precision", list(enumerate(["bfloat16", "float32"])))
@pytest.mark.parametrize("system", SYSTEMS)
def test_the_page_says_what_a_step_takes(system, column, precision, fake_library):
    """The row of the system in conf/README.md: GB."""
    with open("conf/README.md", encoding="utf-8") as page:
        (said,) = re.findall(rf"^\| `{system}` \| ([\d.]+) \| ([\d.]+) \|$", page.read(), re.M)
    peak, needed = fake_cuda.call(fake_library, "test_memory.step_memory", system, precision, "cuda")
    assert f"{peak / 1e9:.1f}" == said[column] and 0.9 * peak <= needed <= 3 * peak  # 0.7 of a memory is filled


def resident_memory(recordings, hours, dim):
    """[bytes of a corpus in 8 bits on a GPU that has room for it, where a batch of its chunks is], all frames voiced."""
    lengths, total = np.full(int(recordings), int(float(hours) * 360_000 / int(recordings))), 2**40
    torch.cuda.mem_get_info = lambda device: (total, total)
    with FakeTensorMode(allow_non_fake_inputs=True):
        read = byte_reader(lambda put: None, lengths, int(dim), torch.device("cuda", 0))
        held = [x for x in inspect.getclosurevars(read).nonlocals.values() if isinstance(x, torch.Tensor)]
        batch = read(np.arange(64), np.zeros(64, np.int64), 400)
    return sum(x.nbytes for x in held if x.device.type == "cuda"), f"{batch.device} {tuple(batch.shape)}"


@pytest.mark.slow
def test_the_page_says_what_corpora_take_on_a_gpu(fake_library):
    with open("conf/README.md", encoding="utf-8") as page:
        said = page.read().partition("Beside it stand the features in 8 bits")[2]
    one, two = (
        re.search(rf"{name}.*?([\d.]+) GB.*?([\d.]+) GB", said, re.S).groups() for name in ("VoxCeleb1", "VoxCeleb2")
    )
    corpora = ("148642", "340", one, ".1f"), ("1092009", "2360", two, ".0f")
    for recordings, hours, told, places in corpora:
        for dim, gigabytes in zip(("40", "80"), told):
            size, batch = fake_cuda.call(fake_library, "test_memory.resident_memory", recordings, hours, dim)
            assert batch == f"cuda:0 (64, 400, {dim})" and f"{size / 1e9:{places}}" == gigabytes
