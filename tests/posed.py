"""A GPU without one: tensors that say they lie on cuda:0, are computed on the CPU, and refuse to meet the CPU's.

The class of a tensor is its device. Values are real, other than under FakeTensorMode (fake_cuda.py), so that results
can be compared with the CPU's and may decide shapes. What CUDA allows is allowed: numbers of no axes from the host, its
indices, copies. Autocast does nothing: products are in single precision (oneDNN's in bfloat16 crashed on a CPU).
"""

import functools
from types import SimpleNamespace

import torch
from torch.utils._pytree import tree_leaves, tree_map

GPU = torch.device("cuda", 0)
MAKERS = "arange as_tensor empty eye full linspace ones rand randint randn randperm tensor tril_indices zeros".split()
LIKE = "empty_like full_like ones_like rand_like randn_like zeros_like".split()
NEW = "new_empty new_full new_ones new_tensor new_zeros".split()
MAY_MIX = {
    torch.Tensor.copy_, torch.Tensor.to, torch.Tensor.type_as, torch.Tensor.__getitem__, torch.Tensor.__setitem__,
    torch._has_compatible_shallow_copy_type,
}  # fmt: skip
OF_THE_HOST = {torch.Tensor.numpy, torch.Tensor.__array__}


class Posed(torch.Tensor):
    """A tensor of the GPU's."""

    device = property(lambda self: GPU)
    is_cuda = property(lambda self: True)

    @classmethod
    def __torch_function__(cls, func, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if func in OF_THE_HOST:
            raise TypeError("can't convert cuda:0 device type tensor to numpy. Use Tensor.cpu() first")
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        if func not in MAY_MIX and any(not isinstance(x, Posed) and x.ndim for x in tensors):
            shapes = ", ".join(f"{x.device} {tuple(x.shape)}" for x in tensors)
            raise RuntimeError(f"{getattr(func, '__name__', func)}: expected all tensors on the same device: {shapes}")
        result = super().__torch_function__(func, types, args, kwargs)
        return posed(result) if func == GRAD else args[0] if func is torch.Tensor.copy_ else result


GRAD = torch.Tensor.grad.__get__


def posed(x):
    """x as the GPU's, with its history."""
    return x.as_subclass(Posed) if isinstance(x, torch.Tensor) and not isinstance(x, Posed) else x


def _wants(device):
    """Whether a call's device is the GPU (None: not said)."""
    return None if device is None else torch.device(device).type == "cuda"


def _making(make):
    @functools.wraps(make)
    def made(*args, device=None, pin_memory=False, **kwargs):
        new = make(*args, **kwargs)
        return posed(new) if _wants(device) else new.as_subclass(torch.Tensor) if device is not None else new

    return made


def _to(self, *args, device=None, dtype=None, **flags):
    """Tensor.to and its like; how a copy is made plays no part."""
    for word in args:
        dtype = word.dtype if isinstance(word, torch.Tensor) else word if isinstance(word, torch.dtype) else dtype
        device = getattr(word, "device", word if isinstance(word, (str, torch.device)) else device)
    changed = self if dtype is None else TO(self, dtype)
    if _wants(device) in (None, isinstance(self, Posed)):
        return changed
    return posed(changed.clone()) if _wants(device) else changed.clone().as_subclass(torch.Tensor)


TO = torch.Tensor.to
SAVE = torch.save
AUTOCAST = torch.autocast


def _of_the_host(x):
    return _to(x, "cpu") if isinstance(x, Posed) else x


class Event:
    """torch.cuda.Event of a GPU that has always finished."""

    def record(self):
        pass

    def synchronize(self):
        pass


def pose(monkeypatch, free=8 << 30):
    """A process that sees one GPU of 8 GiB, `free` of them free, until monkeypatch is undone."""
    for name in MAKERS:
        monkeypatch.setattr(torch, name, _making(getattr(torch, name)))
    for name in LIKE:
        monkeypatch.setattr(torch, name, _making(getattr(torch, name)))
    for name in NEW:
        monkeypatch.setattr(torch.Tensor, name, _making(getattr(torch.Tensor, name)))
    monkeypatch.setattr(torch.Tensor, "to", _to)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self, *args, **kwargs: _to(self, "cuda"))
    monkeypatch.setattr(torch.Tensor, "cpu", lambda self: _to(self, "cpu"))
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda self: self)
    monkeypatch.setattr(torch, "autocast", lambda *words, **rest: AUTOCAST("cpu", enabled=False))
    monkeypatch.setattr(torch, "save", lambda state, file: SAVE(tree_map(_of_the_host, state), file))
    for name, value in {
        "is_available": True,
        "device_count": 1,
        "mem_get_info": (free, 8 << 30),
        "get_device_properties": SimpleNamespace(total_memory=8 << 30),
        "synchronize": None,
        "get_rng_state_all": [],
        "set_rng_state_all": None,
        "is_current_stream_capturing": False,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda *args, value=value: value)
    monkeypatch.setattr(torch.cuda, "Event", Event)
    stream = SimpleNamespace(is_capturing=lambda: False)  # an optimiser asks, where CUDA is linked
    monkeypatch.setattr(torch.accelerator, "current_stream", lambda device=None: stream)
    before = torch.__future__.get_overwrite_module_params_on_conversion()
    monkeypatch.setattr(torch.__future__, "_overwrite_module_params_on_conversion", True)  # Module.to keeps the class
    assert before is False
