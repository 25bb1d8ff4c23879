"""Networks at the sizes of conf/voxceleb on an accelerator that torch itself only pretends: FakeTensorMode computes no
value, but knows every tensor's device, in the backward pass and the optimiser too, and refuses what mixes two.

A build for CPUs takes no step backward on "cuda". The accelerator is therefore one of torch's backends written in
Python, which is registered for a whole process: so in one of its own. Steps are in single precision: it has no autocast.
"""

import json
import os
import subprocess
import sys

import torch
from recipe import ROOT
from test_memory import SYSTEMS, paper_step, step
from torch._subclasses.fake_tensor import FakeTensorDeviceMismatchError, FakeTensorMode
from torch.utils import backend_registration

from pyasp.network.loss import logits_of


class Module(backend_registration._DummyBackendModule):
    """What stands at torch.gpu."""

    def is_available(self):
        return False  # nothing can be computed there

    def get_amp_supported_dtype(self):
        return [torch.bfloat16]


def devices(system, device):
    """Where the results of a training step, a validation batch and padded embeddings are; of gradients the one place."""
    with FakeTensorMode():
        run, batch = paper_step(system, "float32", device)
        values = [step(run, batch)]
        values += [p.grad for p in run.net.parameters() if p.grad is not None]
        values += [x for state in run.optimiser.state.values() for x in state.values() if x.ndim]
        run.net.eval()
        with torch.inference_mode():
            labels = batch.labels.to(device)
            values.append(logits_of(run.net(batch.features), labels, run.options.loss, 0.0, run.options.logit_scale))
            lengths = torch.full((len(labels),), 200, device=device)
            values.append(run.net.embed(batch.features, lengths))
    return sorted({str(x.device) for x in values})


def refused(system, device, name):
    """What a step says when the network's tensor `name` has stayed on the CPU."""
    with FakeTensorMode():
        run, batch = paper_step(system, "float32", device)
        module, _, leaf = name.rpartition(".")
        setattr(run.net.get_submodule(module), leaf, run.net.get_buffer(name).cpu())
        try:
            step(run, batch)
        except FakeTensorDeviceMismatchError as error:
            return str(error)


def main():
    backend_registration._setup_privateuseone_for_python_backend("gpu", Module())
    device = torch.device("gpu", 0)
    with FakeTensorMode():
        name = next(name for name, x in paper_step("average")[0].net.named_buffers() if x.ndim)
    found = {system: devices(system, device) for system in SYSTEMS}
    print(json.dumps({"devices": found, "refused": refused("average", device, name)}))


def test_steps_and_embeddings_of_every_network_stay_on_the_accelerator():
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "training")))
    child = subprocess.run(
        [sys.executable, __file__], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr[-2000:]
    found = json.loads(child.stdout)
    assert found["devices"] == {system: ["gpu:0"] for system in SYSTEMS}
    assert "two devices, gpu:0 and cpu" in found["refused"]


if __name__ == "__main__":
    main()
