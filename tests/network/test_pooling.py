"""Pooling: eq. 1 to 6 of the paper, their reductions, masks, gradients."""

import numpy as np
import pytest
import torch

from pyasp.network.model import ArchitectureOptions
from pyasp.network.pooling import (
    POOLINGS,
    VARIANCE_FLOOR,
    Attention,
    MaskedBatchNorm,
    length_mask,
    uniform_weights,
    weighted_deviation,
    weighted_mean,
)

PAPER = ("average", "attention", "statistics", "attentive_statistics")
B, T, C, A = 3, 11, 7, 4
OPTIONS = ArchitectureOptions(attention_dim=A)
LENGTHS = torch.tensor([11, 5, 1])


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(3)


def pooling(name, mode="eval"):
    """A pooling in double precision whose batch norms have seen data."""
    pool = POOLINGS[name](C, OPTIONS).double()
    with torch.no_grad():
        for norm in (module for module in pool.modules() if isinstance(module, MaskedBatchNorm)):
            norm.running_mean.uniform_(0, 1)
            norm.running_var.uniform_(0.5, 2)
            norm.weight.uniform_(0.5, 2)
            norm.bias.uniform_(-1, 1)
    return pool.train(mode == "train")


def frames():
    return torch.randn(B, T, C, dtype=torch.float64) * 2 + 1


def test_attentive_statistics_equal_the_formulas_written_out():
    """e_t = v^T f(W h_t + b) + k with f = ReLU, then batch norm; softmax; weighted mean; root of E[hh] - mu mu."""
    pool, h = pooling("attentive_statistics"), frames()
    a, norm = pool.attention, pool.attention.norm
    w, b, v, k = (x.detach().numpy() for x in (a.hidden.weight, a.hidden.bias, a.score.weight[0], a.score.bias[0]))
    m, s2, g, o = (x.detach().numpy() for x in (norm.running_mean, norm.running_var, norm.weight, norm.bias))
    for row, ours in zip(h.numpy(), pool(h).detach().numpy()):
        f = (np.maximum(row @ w.T + b, 0) - m) / np.sqrt(s2 + norm.eps) * g + o
        e = np.array([v @ f_t + k for f_t in f])
        alpha = np.exp(e) / np.exp(e).sum()
        mean = sum(alpha_t * h_t for alpha_t, h_t in zip(alpha, row))
        square = sum(alpha_t * h_t * h_t for alpha_t, h_t in zip(alpha, row))
        np.testing.assert_allclose(ours, np.concatenate([mean, np.sqrt(square - mean * mean)]), rtol=1e-10)


def test_channel_attention_equals_the_formulas_written_out():
    """e_t = V tanh BN(relu(W [h_t; mu; sigma] + b)) + k for each channel alone; BN of [mu~; sigma~]."""
    pool, h = pooling("channel_attentive_statistics"), frames()

    def normalised(x, norm):
        mean, variance, gain, bias = (
            each.detach().numpy() for each in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        return (x - mean) / np.sqrt(variance + norm.eps) * gain + bias

    w = np.hstack([pool.hidden.weight.detach().numpy(), pool.context.weight.detach().numpy()])
    b, v, k = (x.detach().numpy() for x in (pool.hidden.bias, pool.score.weight, pool.score.bias))
    for row, ours in zip(h.numpy(), pool(h).detach().numpy()):
        seen = np.hstack([row, np.tile(np.concatenate([row.mean(0), row.std(0)]), (T, 1))])
        e = np.tanh(normalised(np.maximum(seen @ w.T + b, 0), pool.norm)) @ v.T + k
        alpha = np.exp(e) / np.exp(e).sum(0)
        mean = (alpha * row).sum(0)
        deviation = np.sqrt((alpha * (row - mean) ** 2).sum(0))
        np.testing.assert_allclose(ours, normalised(np.concatenate([mean, deviation]), pool.pooled_norm), rtol=1e-9)


def test_sample_statistics_are_mean_and_sample_deviation():
    h = frames()
    expected = torch.cat([h.mean(1), h.std(1)], dim=1)
    torch.testing.assert_close(pooling("sample_statistics")(h), expected)
    assert torch.isfinite(pooling("sample_statistics")(h[:, :1])).all()


def test_statistics_are_mean_and_population_deviation():
    h = frames()
    np.testing.assert_allclose(pooling("statistics")(h), torch.cat([h.mean(1), h.std(1, correction=0)], 1), rtol=1e-10)


@pytest.mark.parametrize("plain, attentive", [("average", "attention"), ("statistics", "attentive_statistics")])
@pytest.mark.parametrize("mask", [None, length_mask(LENGTHS, T)])
def test_uniform_attention_is_plain_pooling(plain, attentive, mask):
    pool, h = pooling(attentive), frames()
    different = pool(h, mask)
    torch.nn.init.zeros_(pool.attention.score.weight)
    torch.testing.assert_close(pool(h, mask), pooling(plain)(h, mask))
    assert not torch.allclose(different, pool(h, mask), rtol=1e-3)


@pytest.mark.parametrize("first, whole", [("average", "statistics"), ("attention", "attentive_statistics")])
def test_the_mean_is_the_first_half(first, whole):
    mean, both, h = pooling(first), pooling(whole), frames()
    mean.load_state_dict(both.state_dict())
    assert (mean.output_dim, both.output_dim) == (C, 2 * C)
    torch.testing.assert_close(mean(h), both(h)[:, :C])


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("padding", [0.0, 1e6, float("nan"), float("inf")])
def test_a_padded_batch_equals_single_recordings(name, padding):
    pool, h, mask = pooling(name), frames(), length_mask(LENGTHS, T)
    batch = pool(h.masked_fill(~mask.unsqueeze(-1), padding), mask)
    for row, length, ours in zip(h, LENGTHS, batch):
        torch.testing.assert_close(ours, pool(row[None, :length])[0])


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_weights_sum_to_one_over_real_frames(mode):
    weights = pooling("attention", mode).attention(frames(), length_mask(LENGTHS, T))
    torch.testing.assert_close(weights.sum(1), torch.ones(B, dtype=torch.float64))
    assert (weights >= 0).all() and (weights[~length_mask(LENGTHS, T)] == 0).all()
    assert weights[0].std() > 0.01


def test_adding_a_constant_to_the_scores_changes_nothing():
    pool, h = pooling("attention"), frames()
    before = pool(h)
    with torch.no_grad():
        pool.attention.score.bias += 7
    torch.testing.assert_close(pool(h), before)


def test_batch_norm_over_real_frames_only():
    """In training, statistics and outputs are those of the real frames alone, whatever the padding holds."""
    x, mask = frames(), length_mask(LENGTHS, T)
    masked, plain = MaskedBatchNorm(C).double(), torch.nn.BatchNorm1d(C, eps=1e-3).double()
    out = masked(x.masked_fill(~mask.unsqueeze(-1), float("nan")), mask)
    torch.testing.assert_close(out[mask], plain(x[mask]))
    torch.testing.assert_close(masked.running_var, plain.running_var)
    torch.testing.assert_close(masked.running_mean, plain.running_mean)


def test_deviation_does_not_cancel_in_single_precision():
    h = torch.randn(1, 400, 5) * 0.01 + 100.0
    weights = uniform_weights(h, None)
    ours = weighted_deviation(h, weights, weighted_mean(h, weights))
    torch.testing.assert_close(ours, h.double().std(1, correction=0).float(), rtol=2e-3, atol=0)


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_gradients(name, masked, mode):
    pool, mask = pooling(name, mode), length_mask(torch.tensor([11, 6, 4]), T) if masked else None
    h = frames().requires_grad_()
    parameters = list(pool.parameters())
    for norm in (module for module in pool.modules() if isinstance(module, MaskedBatchNorm)):
        norm.momentum = 0.0  # repeated calls must give the same value
    assert torch.autograd.gradcheck(lambda x, *_: pool(x, mask), (h, *parameters))


@pytest.mark.parametrize("name", POOLINGS)
@pytest.mark.parametrize("value", [0.0, 3.0])
def test_constant_input_has_finite_gradients_and_a_floored_deviation(name, value):
    pool = POOLINGS[name](C, OPTIONS)
    h = torch.full((2, T, C), value, requires_grad=True)
    out = pool(h)
    out.sum().backward()
    assert torch.isfinite(h.grad).all() and all(torch.isfinite(p.grad).all() for p in pool.parameters())
    if name in PAPER:
        torch.testing.assert_close(out[:, :C], torch.full((2, C), value))
        torch.testing.assert_close(out[:, C:], torch.full((2, pool.output_dim - C), VARIANCE_FLOOR**0.5))


def test_one_frame():
    h = torch.randn(2, 1, C)
    torch.testing.assert_close(POOLINGS["attention"](C, OPTIONS).eval()(h), h[:, 0])


def test_attention_size():
    assert sum(p.numel() for p in Attention(1500).parameters()) == 1500 * 64 + 64 + 2 * 64 + 64 + 1
