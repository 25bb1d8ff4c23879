"""torch's FakeTensorMode with device "cuda" where no GPU is: it computes no value, but knows every tensor's shape and
device, in the backward pass and the optimiser too, and refuses what mixes two devices.

torch alone takes no step backward there; fake_cuda.cpp stands in for what it misses, in a process of its own.
"""

import ctypes
import importlib
import json
import os
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
COMPILER = shutil.which("c++")


def build(library: Path) -> Path:
    """Compiles fake_cuda.cpp against this Python's torch."""
    if COMPILER is None:
        pytest.skip("no C++ compiler (c++)")
    torch = Path(find_spec("torch").origin).parent
    links = [f"-L{torch}/lib", "-ltorch_cpu", "-lc10", f"-Wl,-rpath,{torch}/lib"]
    words = ["-std=c++20", "-shared", "-fPIC", f"-I{torch}/include", "-o", library, HERE / "fake_cuda.cpp", *links]
    subprocess.run([COMPILER, *words], check=True)
    return library


def call(library: Path, name: str, *words: str):
    """What a function of a test's module returns there, as JSON has it: call(library, "test_memory.step_memory", "ecapa")."""
    paths = os.pathsep.join(map(str, (HERE.parent, HERE, HERE / "training")))
    command = [sys.executable, __file__, str(library), name, *words]
    child = subprocess.run(command, env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr[-2000:]
    return json.loads(child.stdout)


def main(library, name, *words):
    guard = ctypes.CDLL(library)
    import torch  # behind the library

    guard.put_guard()
    torch.cuda.amp.common.amp_definitely_not_available = lambda: False  # autocast as on a GPU
    torch.cuda.is_bf16_supported = lambda including_emulation=True: True
    module, _, function = name.partition(".")
    print(json.dumps(getattr(importlib.import_module(module), function)(*words)))


if __name__ == "__main__":
    main(*sys.argv[1:])
