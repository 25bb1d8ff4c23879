"""The network: contexts, sizes of the paper, masks, where the embedding is taken."""

import math

import pytest
import torch
from torch.nn import functional

from pyasp.core.errors import InputError
from pyasp.network.model import ENCODERS, ArchitectureOptions, Network
from pyasp.network.pooling import POOLINGS
from pyasp.network.resnet import Convolution
from pyasp.network.tdnn import CONTEXTS, RECEPTIVE_FIELD, Layer, splice
from pyasp.training.compute import training_flop

SMALL = {"frame_dim": 10, "pooling_dim": 14, "attention_dim": 5, "embedding_dim": 9, "segment_dim": 8}
D, SPEAKERS = 6, 4


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(5)


def network(pooling="attentive_statistics", **changes):
    """A small network whose batch norms have seen data, in evaluation mode."""
    net = Network(ArchitectureOptions(pooling=pooling, **{**SMALL, **changes}), D, SPEAKERS)
    for _ in range(3):
        net(torch.randn(8, 40, D))
    torch.nn.init.normal_(net.output.weight)
    return net.eval()


def test_the_paper_s_contexts_see_15_frames():
    assert CONTEXTS == ((-2, -1, 0, 1, 2), (-2, 0, 2), (-3, 0, 3), (0,), (0,)) and RECEPTIVE_FIELD == 15
    net = network()
    x = torch.randn(1, 31, D)
    before = net.frame_level(x)[0]
    assert before.shape == (1, 31 - 14, 14)
    for changed in range(31):
        other = x.clone()
        other[0, changed] += 1
        moved = (net.frame_level(other)[0] != before).any(dim=2)[0].nonzero().flatten().tolist()
        assert moved == [t for t in range(17) if t <= changed <= t + 14]


def test_fewer_than_15_frames_is_our_own_mistake():
    with pytest.raises(AssertionError, match="14 frames"):
        network().embed(torch.randn(1, 14, D))


@pytest.mark.parametrize("context", CONTEXTS)
def test_a_layer_is_a_dilated_convolution_relu_batch_norm(context):
    layer, x = Layer(context, D, 10), torch.randn(3, 20, D)
    step = context[1] - context[0] if len(context) > 1 else 1
    kernel = layer.affine.weight.view(10, len(context), D).transpose(1, 2)
    conv = functional.conv1d(x.transpose(1, 2), kernel, layer.affine.bias, dilation=step)
    expected = functional.batch_norm(conv.relu(), None, None, training=True, eps=1e-3)
    torch.testing.assert_close(layer(x), expected.transpose(1, 2))


def test_splice_lays_the_frames_of_a_context_side_by_side():
    x = torch.arange(7.0).view(1, 7, 1)
    assert splice(x, (-3, 0, 3))[0].tolist() == [[0, 3, 6]]
    assert splice(x, (-2, 0, 2))[0].tolist() == [[0, 2, 4], [1, 3, 5], [2, 4, 6]]


@pytest.mark.parametrize("dim, first", [(20, 51712), (40, 102912)])
def test_parameters_at_the_paper_s_sizes(dim, first):
    """Affine + norm of the five TDNN layers, attention, two fully connected layers, 1211 speakers."""
    frame_level = first + 786944 + 786944 + 262656 + 769500 + 2 * (4 * 512 + 1500)
    attention = 1500 * 64 + 64 + 2 * 64 + 64 + 1
    rest = 512 * 512 + 512 + 1024 + 513 * 1211
    for pooling in ("average", "attention", "statistics", "attentive_statistics"):
        pooled = 1500 * (2 if "statistics" in pooling else 1)
        expected = frame_level + attention * ("attenti" in pooling) + pooled * 512 + 512 + 1024 + rest
        net = Network(ArchitectureOptions(pooling=pooling), dim, 1211)
        assert sum(p.numel() for p in net.parameters()) == expected
    assert net.embed(torch.randn(2, 15, dim)).shape == (2, 512)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_multiply_adds_are_those_of_every_affine_layer(pooling):
    net, frames, counted = network(pooling), 33, []
    for module in net.modules():
        if isinstance(module, torch.nn.Linear):
            module.register_forward_hook(lambda m, i, o: counted.append(o.numel() * m.in_features))
    net(torch.randn(1, frames, D))
    expected = sum(counted)
    assert net.multiply_adds(frames) == expected
    assert training_flop(net, frames) == pytest.approx(6 * expected / frames)


def test_a_frame_costs_what_the_paper_s_sizes_say():
    """2.8 million multiply-adds a frame in a long recording (40 coefficients, attentive statistics)."""
    net = Network(ArchitectureOptions(), 40, 10)
    assert net.multiply_adds(101) - net.multiply_adds(100) == 2_801_472


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("padding", [0.0, float("nan")])
def test_a_padded_batch_equals_single_recordings(pooling, padding):
    net, lengths = network(pooling), torch.tensor([15, 23, 40])
    singles = [torch.randn(1, int(n), D) for n in lengths]
    batch = torch.cat([functional.pad(x, (0, 0, 0, 40 - x.shape[1]), value=padding) for x in singles])
    torch.testing.assert_close(net.embed(batch, lengths), torch.cat([net.embed(x) for x in singles]))
    torch.testing.assert_close(net(batch, lengths), torch.cat([net(x) for x in singles]))


@pytest.mark.parametrize("pooling", POOLINGS)
def test_padding_does_not_change_what_training_learns(pooling):
    """A training step on a batch with ten frames of padding everywhere: the gradients of the batch without."""
    grads = []
    x, labels = torch.randn(4, 30, D), torch.tensor([0, 1, 2, 3])
    for extra in (0, 10):
        torch.manual_seed(1)
        net = Network(ArchitectureOptions(pooling=pooling, **SMALL), D, SPEAKERS)
        torch.nn.init.normal_(net.output.weight)
        padded = functional.pad(x, (0, 0, 0, extra), value=float("nan"))
        functional.cross_entropy(net(padded, torch.full((4,), 30) if extra else None), labels).backward()
        grads.append([p.grad for p in net.parameters()])
    for one, other in zip(*grads):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=3e-5)  # another order of the sums


def test_the_embedding_is_the_affine_output_before_relu():
    net, x = network(), torch.randn(5, 25, D)
    a = net.embed(x)
    pooled = net.pooling(*net.frame_level(x))
    torch.testing.assert_close(a, pooled @ net.embedding.affine.weight.T + net.embedding.affine.bias)
    assert (a < 0).any()
    b = net.segment(net.embedding.norm(a.relu()).unsqueeze(1)).squeeze(1)
    torch.testing.assert_close(net(x), net.output(b))


def test_the_first_loss_is_that_of_guessing():
    net = Network(ArchitectureOptions(**SMALL), D, SPEAKERS)
    loss = functional.cross_entropy(net(torch.randn(6, 20, D)), torch.tensor([0, 1, 2, 3, 0, 1]))
    assert loss.item() == pytest.approx(math.log(SPEAKERS))


def test_every_parameter_gets_a_finite_gradient_even_from_silence():
    net = Network(ArchitectureOptions(**SMALL), D, SPEAKERS)
    torch.nn.init.normal_(net.output.weight)
    functional.cross_entropy(net(torch.zeros(4, 20, D)), torch.tensor([0, 1, 2, 3])).backward()
    assert all(torch.isfinite(p.grad).all() for p in net.parameters())


def test_dropout_is_one_mask_for_all_frames_of_a_chunk_and_keeps_the_mean():
    layer = Layer((0,), D, 4000, dropout=0.25)
    x = torch.randn(3, 10, D)
    full, ours = layer.norm(layer.affine(x).relu()), layer(x)
    dropped = ours == 0
    assert (dropped == dropped[:, :1]).all() and not (dropped[0] == dropped[1]).all()
    assert dropped.float().mean().item() == pytest.approx(0.25, abs=0.02)
    torch.testing.assert_close(ours[~dropped], (full / 0.75)[~dropped])
    assert not (layer.eval()(x) == 0).any()


@pytest.mark.parametrize("wrong", [{"frame_dim": 0}, {"embedding_dim": -3}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_sizes_that_make_no_network(wrong):
    with pytest.raises(InputError, match=f"--{next(iter(wrong)).replace('_', '-')}"):
        ArchitectureOptions(**wrong)


@pytest.mark.parametrize("encoder", ENCODERS)
def test_every_encoder_gives_a_padded_recording_what_it_gives_alone(encoder):
    recordings = [torch.randn(frames, 11) for frames in (30, 15, 22)]
    padded = torch.nn.utils.rnn.pad_sequence(recordings, batch_first=True, padding_value=float("nan"))
    sizes = {**SMALL, "frame_dim": 2 if encoder == "resnet34" else 16}
    for pooling in POOLINGS:
        net = Network(ArchitectureOptions(encoder=encoder, pooling=pooling, **sizes), 11, SPEAKERS)
        net(torch.randn(6, 40, 11))
        net.eval()
        alone = torch.cat([net.embed(x[None]) for x in recordings])
        torch.testing.assert_close(net.embed(padded, torch.tensor([30, 15, 22])), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size, stride", [(3, 1), (3, 2), (1, 2)])
@pytest.mark.parametrize("channels", [4, 8, 16])
def test_convolutions_of_images_have_torch_s_own_values_and_gradients(size, stride, channels):
    """Images of 40 x 79 and more: a convolution of one pixel of theirs ended the process here (torch 2.13, oneDNN)."""
    ours = Convolution(channels, 2 * channels, size, stride)
    plain = torch.nn.Conv2d(channels, 2 * channels, size, stride, size // 2, bias=False, dtype=torch.float64)
    plain.weight.data = ours.filters.weight.detach().double()
    ours.norm = torch.nn.Identity()
    ours.norm.forward = lambda rows, mask: rows
    x = torch.randn(16, channels, 40, 79)
    images = x.contiguous(memory_format=torch.channels_last).requires_grad_()
    y, expected = ours(images, None, relu=False), plain(x.double().requires_grad_())
    weight = torch.randn(expected.shape, dtype=torch.float64)
    (y * weight.float()).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(y.double(), expected, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(ours.filters.weight.grad.double(), plain.weight.grad, rtol=1e-3, atol=1e-2)


def test_heads_divide_the_channels_that_are_pooled():
    options = ArchitectureOptions(
        encoder="resnet34", pooling="attention", **{**SMALL, "frame_dim": 2}, attention_heads=7
    )
    with pytest.raises(InputError, match="--attention-heads: found 7; expected a divisor of the encoder's 32 channels"):
        Network(options, 11)
