"""Networks at the sizes of conf/voxceleb, UBM and extractor on an accelerator that torch itself only pretends:
FakeTensorMode computes no value, but knows every tensor's device, in the backward pass and the optimiser too, and
refuses what mixes two.

A build for CPUs takes no step backward on "cuda", and assigns to no part of its tensors. The accelerator is therefore
one of torch's backends written in Python, which is registered for a whole process: so in one of its own. Steps are in
single precision: it has no autocast.
"""

import json
import os
import subprocess
import sys

import numpy as np
import torch
from gmm_models import random_full
from ivector_models import random_extractor
from recipe import ROOT
from test_memory import SYSTEMS, paper_step, step
from torch._subclasses.fake_tensor import FakeTensorDeviceMismatchError, FakeTensorMode
from torch.utils import backend_registration

from pyasp.gmm.em import DiagStats
from pyasp.gmm.posteriors import DiagScorer
from pyasp.ivector.em import IvectorStats
from pyasp.ivector.model import Estimator
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


def as_cuda():
    """What the code chooses for "cuda" by a device's name, its sizes and functions, is this accelerator's too."""
    for module in [module for name, module in sys.modules.items() if name.startswith("pyasp.")]:
        for table in [x for x in vars(module).values() if isinstance(x, dict) and x.keys() >= {"cpu", "cuda"}]:
            table["gpu"] = table["cuda"]


def statistics(device):
    """Where an E-step of a diagonal UBM, one of an extractor from Baum-Welch statistics, and i-vectors leave theirs.
    The posteriors between the two are not here: which of them are kept decides shapes, and no value is known."""
    rng, made = np.random.default_rng(1), {"dtype": torch.float64, "device": device}
    ubm, extractor = random_full(rng, 6, 3).to_diag(), random_extractor(rng, num_gauss=6, dim=3)
    with FakeTensorMode():
        x, count, first = torch.ones(50, 3, **made), torch.ones(4, 6, **made), torch.ones(4, 6, 3, **made)
        frames, scorer = DiagStats.zeros(6, 3, device), DiagScorer(ubm, device)
        frames.accumulate(x, scorer, scorer, 2)
        recordings, estimator = IvectorStats.zeros(6, 3, 5, device), Estimator(extractor, device, torch.float32)
        recordings.accumulate(estimator, count, first)
        values = [*vars(frames).values(), *vars(recordings).values(), estimator.means(count, first)]
    return sorted({str(x.device) for x in values if isinstance(x, torch.Tensor)})


def main():
    backend_registration._setup_privateuseone_for_python_backend("gpu", Module())
    as_cuda()
    device = torch.device("gpu", 0)
    with FakeTensorMode():
        name = next(name for name, x in paper_step("average")[0].net.named_buffers() if x.ndim)
    found = {system: devices(system, device) for system in SYSTEMS}
    found["i-vector"] = statistics(device)
    print(json.dumps({"devices": found, "refused": refused("average", device, name)}))


def test_steps_and_embeddings_of_every_system_stay_on_the_accelerator():
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests", ROOT / "tests" / "training")))
    child = subprocess.run(
        [sys.executable, __file__], env={**os.environ, "PYTHONPATH": paths}, capture_output=True, text=True
    )
    assert child.returncode == 0, child.stderr[-2000:]
    found = json.loads(child.stdout)
    assert found["devices"] == {system: ["gpu:0"] for system in (*SYSTEMS, "i-vector")}
    assert "two devices, gpu:0 and cpu" in found["refused"]


if __name__ == "__main__":
    main()
