"""Networks at the sizes of conf/voxceleb, UBM and extractor on a GPU that torch only pretends (fake_cuda.py)."""

import fake_cuda
import numpy as np
import torch
from gmm_models import random_full
from ivector_models import random_extractor
from test_memory import GPU, SYSTEMS, paper_step, step
from torch._subclasses.fake_tensor import FakeTensorDeviceMismatchError, FakeTensorMode
from torch.utils._pytree import tree_leaves

from pyasp.gmm.em import DiagStats
from pyasp.gmm.posteriors import DiagScorer, FullScorer
from pyasp.ivector.em import IvectorStats
from pyasp.ivector.model import Estimator
from pyasp.network.loss import logits_of


def places(values):
    """Where tensors are."""
    return sorted({str(x.device) for x in tree_leaves(values) if isinstance(x, torch.Tensor) and x.ndim})


def network(system):
    """In bfloat16: of a training step's result, gradients and optimiser, a validation batch and padded embeddings."""
    with FakeTensorMode():
        run, batch = paper_step(system, "bfloat16", GPU)
        values = [step(run, batch), [p.grad for p in run.net.parameters()], [*run.optimiser.state.values()]]
        run.net.eval()
        with torch.inference_mode():
            labels = batch.labels.to(GPU)
            values.append(logits_of(run.net(batch.features), labels, run.options.loss, 0.0, run.options.logit_scale))
            values.append(run.net.embed(batch.features, torch.full((len(labels),), 200, device=GPU)))
    return places(values)


def refused():
    """What a step says when a tensor of the network has stayed on the CPU."""
    with FakeTensorMode():
        run, batch = paper_step("average", "float32", GPU)
        name, tensor = next((name, x) for name, x in run.net.named_buffers() if x.ndim)
        module, _, leaf = name.rpartition(".")
        setattr(run.net.get_submodule(module), leaf, tensor.cpu())
        try:
            step(run, batch)
        except FakeTensorDeviceMismatchError as error:
            return str(error)


def statistics():
    """Of an E-step of a diagonal UBM, the factors of full covariances, an E-step of an extractor from Baum-Welch
    statistics, and i-vectors. What lies between, posteriors, is not here: which of them are kept decides shapes, and no
    value is known (core/test_posed.py has them)."""
    rng, made = np.random.default_rng(1), {"dtype": torch.float64, "device": GPU}
    ubm, extractor = random_full(rng, 6, 3), random_extractor(rng, num_gauss=6, dim=3)
    with FakeTensorMode():
        x, count, first = torch.ones(50, 3, **made), torch.ones(4, 6, **made), torch.ones(4, 6, 3, **made)
        frames, scorer = DiagStats.zeros(6, 3, GPU), DiagScorer(ubm.to_diag(), GPU)
        frames.accumulate(x, scorer, scorer, 2)
        chosen, full = scorer.select(x, 2), FullScorer(ubm, GPU)
        recordings, estimator = IvectorStats.zeros(6, 3, 5, GPU), Estimator(extractor, GPU, torch.float32)
        recordings.accumulate(estimator, count, first)
        return places([vars(frames), chosen, vars(full), vars(recordings), estimator.means(count, first)])


def everything():
    """All of it in one process."""
    found = {system: network(system) for system in SYSTEMS}
    return {**found, "i-vector": statistics(), "refused": refused()}


def test_no_tensor_leaves_the_gpu(fake_library):
    found = fake_cuda.call(fake_library, "test_fake_cuda.everything")
    assert "two devices, cuda:0 and cpu" in found.pop("refused")
    assert found == {system: ["cuda:0"] for system in (*SYSTEMS, "i-vector")}
