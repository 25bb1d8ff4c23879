"""Training in one pass: values, gradients and running statistics of the plain layers and of double precision."""

import pytest
import torch
from torch.nn import functional

from pyasp.network.model import ArchitectureOptions, Network
from pyasp.network.pooling import POOLINGS, StatisticsPooling
from pyasp.training import one_pass
from pyasp.training.one_pass import OnePass, Workspace

SIZES = {"frame_dim": 10, "pooling_dim": 14, "attention_dim": 5, "embedding_dim": 9, "segment_dim": 8}


@pytest.fixture(autouse=True)
def narrow_layers_too(monkeypatch):
    monkeypatch.setattr(one_pass, "LEAST_WIDTH", 1)


def network(pooling, plain, dtype=torch.float32):
    torch.manual_seed(1)
    net = Network(ArchitectureOptions(pooling=pooling, **SIZES), 6, 4)
    torch.nn.init.normal_(net.output.weight)
    for layer in net.frames:
        torch.nn.init.normal_(layer.norm.weight)
        torch.nn.init.normal_(layer.norm.bias)
    assert one_pass.covers(net)
    return net.to(dtype) if plain else OnePass(net)


def step(net, frames=33, dtype=torch.float32):
    """Loss, gradients and buffers of one training step on fixed data."""
    torch.manual_seed(2)
    x, labels = torch.randn(7, frames, 6), torch.tensor([0, 1, 2, 3, 0, 1, 2])
    net.zero_grad()
    loss = functional.cross_entropy(net(x.to(dtype)), labels)
    loss.backward()
    return (
        loss.item(),
        {name.removeprefix("net."): p.grad for name, p in net.named_parameters()},
        {name.removeprefix("net."): buffer for name, buffer in net.named_buffers()},
    )


@pytest.mark.parametrize("block", [1, 70, 10**6])
@pytest.mark.parametrize("pooling", ["average", "attention", "statistics", "attentive_statistics"])
def test_loss_gradients_and_statistics_are_those_of_the_plain_layers(monkeypatch, pooling, block):
    """block: chunk by chunk, in groups of which the last is smaller, all at once."""
    monkeypatch.setattr(one_pass, "BLOCK_FRAMES", block)
    loss, grads, buffers = step(network(pooling, plain=False))
    loss_plain, grads_plain, buffers_plain = step(network(pooling, plain=True))
    assert loss == pytest.approx(loss_plain, rel=1e-4)
    for name, grad in grads_plain.items():
        atol = 2e-4 * max(1.0, float(grad.abs().max()))
        torch.testing.assert_close(grads[name], grad, rtol=1e-3, atol=atol, msg=name)
    for name, value in buffers_plain.items():
        torch.testing.assert_close(buffers[name], value, rtol=1e-4, atol=1e-5, msg=name)


def test_one_pass_is_as_near_to_double_precision_as_the_plain_layers():
    """Worst error of a gradient, relative to its largest element, against the plain layers in double precision."""
    _, exact, _ = step(network("attentive_statistics", plain=True, dtype=torch.float64), dtype=torch.float64)
    worst = []
    for plain in (False, True):
        _, grads, _ = step(network("attentive_statistics", plain))
        worst.append(
            max(
                float((grads[name] - grad).abs().max() / grad.abs().max())
                for name, grad in exact.items()
                if grad.abs().max() > 1e-4
            )
        )
    assert worst[0] < max(5 * worst[1], 1e-4)


def test_a_longer_or_shorter_batch_uses_the_same_buffers_and_changes_nothing():
    """Chunk lengths are drawn anew for each step: what an earlier step left in the buffers must not show."""
    fresh = step(network("attentive_statistics", plain=False), 25)
    net = network("attentive_statistics", plain=False)
    buffers = {name: value.clone() for name, value in net.named_buffers()}
    for frames in (60, 25, 40):
        step(net, frames)
    kept = dict(net.work.buffers)
    for name, value in net.named_buffers():
        value.copy_(buffers[name])
    again = step(net, 25)
    assert again[0] == fresh[0] and all(torch.equal(again[1][name], grad) for name, grad in fresh[1].items())
    assert all(net.work.buffers[name] is kept[name] for name in kept)


def test_a_second_forward_pass_before_the_backward_pass_is_our_own_mistake():
    net = network("statistics", plain=False)
    first = net(torch.randn(3, 20, 6)).sum()
    net(torch.randn(3, 20, 6))
    with pytest.raises(AssertionError, match="second forward pass"):
        first.backward()


def test_a_workspace_gives_the_shape_asked_for_and_keeps_the_larger_memory():
    work = Workspace()
    large = work.get("a", 4, 5)
    small = work.get("a", 2, 3)
    assert small.shape == (2, 3) and small.data_ptr() == large.data_ptr()
    assert work.get("b", 2, 3).data_ptr() != small.data_ptr()


def test_other_layers_and_poolings_train_on_their_own(monkeypatch):
    def covered(**options):
        return one_pass.covers(Network(ArchitectureOptions(**{**SIZES, **options}), 6, 4))

    class Other(StatisticsPooling):
        pass

    assert covered() and not covered(attention_heads=2) and not covered(dropout=0.1)
    monkeypatch.setitem(POOLINGS, "other", lambda dim, options: Other(dim, options, True, True))
    assert not covered(pooling="other")
    monkeypatch.setattr(one_pass, "LEAST_WIDTH", 11)
    assert not covered() and covered(frame_dim=11)


def test_in_evaluation_the_network_s_own_layers_are_run():
    net, x = network("attention", plain=False).eval(), torch.randn(3, 20, 6)
    assert torch.equal(net(x), net.net(x)) and not net.work.buffers
