"""Frames in 8 bits: how wrong they are, beside Kaldi's compression; where they lie; SpecAugment; heads of attention."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from tdnn_data import decode, relative_error, tiny_data, write_data

from pyasp.core.errors import InputError
from pyasp.features.frontend import FrontendOptions
from pyasp.features.stored import iterate
from pyasp.kaldi import compress
from pyasp.network.model import ArchitectureOptions, Network
from pyasp.network.pooling import POOLINGS, Attention, weighted_mean
from pyasp.training import frames
from pyasp.training.chunks import ChunkOptions, Sampler, mask_runs, split_validation
from pyasp.training.frames import FrameSource, choose_store, coded_reader, encode, open_source

FRONTEND = FrontendOptions(delta_order=0, cmn_window=100)


@pytest.fixture
def data(tmp_path):
    return tiny_data(tmp_path / "data")


def opened(data, store, **more):
    train, _, speakers = split_validation(data)
    return open_source(data, train, speakers, FRONTEND, 32.0, "test", store, **more)


# ---------------------------------------------------------------- 8 bits


@given(arrays(np.float32, (7, 3), elements=st.floats(-1e4, 1e4, width=32)))
@settings(derandomize=True, max_examples=60, deadline=None)
def test_no_value_is_wrong_by_more_than_half_a_step(x):
    code, low, step = encode(x)
    assert code.dtype == np.uint8 and low.dtype == step.dtype == np.float32
    slack = 1e-5 * np.abs(x).max() + 1e-6
    assert (np.abs(decode(code, low, step) - x) <= step / 2 + slack).all()
    np.testing.assert_allclose(decode(code, low, step).min(0), x.min(0), atol=slack)
    np.testing.assert_allclose(decode(code, low, step).max(0), x.max(0), atol=slack)


def test_the_error_is_that_of_kaldi_s_compressed_matrices():
    """Normal features: about a hundredth of the deviation, for both."""
    x = np.random.default_rng(0).normal(size=(600, 40)).astype(np.float32) * np.linspace(0.5, 20, 40, dtype=np.float32)
    header, body = compress.encode(x, 2)
    ours, kaldi = relative_error(x, decode(*encode(x))), relative_error(x, header.decode(body))
    assert 0.003 < ours < 0.012 and 0.003 < kaldi < 0.02
    assert ours == pytest.approx(float(np.mean(np.ptp(x, axis=0) / 255 / np.sqrt(12) / x.std(0))), rel=0.05)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_stays_so_and_spoils_no_other_coefficient(bad):
    x = np.random.default_rng(0).normal(size=(9, 3)).astype(np.float32)
    x[4, 1] = bad
    found = decode(*encode(x))
    assert np.isnan(found[:, 1]).all() and np.abs(found[:, [0, 2]] - x[:, [0, 2]]).max() < 0.02


def test_a_constant_coefficient_is_kept_exactly():
    x = np.full((5, 2), 3.25, np.float32)
    assert np.array_equal(decode(*encode(x)), x)


def test_chunks_from_8_bits_are_those_of_the_front_end_up_to_half_a_step(data):
    byte, plain = opened(data, "byte"), opened(data, "float")
    assert (byte.kind, plain.kind) == ("byte", "float")
    ranges = {utt: np.ptp(x, axis=0) / 255 for utt, x in iterate(data, FRONTEND)}
    for one, other in zip(*(Sampler(source, ChunkOptions(8, 20, 60), 1) for source in (byte, plain))):
        steps = torch.from_numpy(np.stack([ranges[utt] for utt in one.utts]))[:, None]
        assert one.utts == other.utts and ((one.features - other.features).abs() <= steps / 2 + 1e-5).all()
        assert one.features.dtype == torch.float32 and not torch.equal(one.features, other.features)


def test_codes_are_gathered_from_the_right_recording_and_wrap_around():
    codes = torch.arange(7, dtype=torch.uint8)[:, None].repeat(1, 2)
    ranges = torch.stack([torch.tensor([[0.0, 100.0], [1000.0, 0.0]]), torch.tensor([[1.0, 2.0], [10.0, 0.0]])])
    read = coded_reader(codes, torch.tensor([0, 3]), torch.tensor([3, 4]), ranges, torch.device("cpu"))
    found = read(np.array([1, 0]), np.array([2, 1]), 4)
    assert found[0, :, 0].tolist() == [1050, 1060, 1030, 1040] and found[0, :, 1].tolist() == [0] * 4
    assert found[1, :, 0].tolist() == [1, 2, 0, 1] and found[1, :, 1].tolist() == [102, 104, 100, 102]


def test_what_fits_is_taken():
    cpu = torch.device("cpu")
    found = [choose_store("auto", 10**9, gb, cpu) for gb in (4.0, 3.9, 1.0, 0.9)]
    assert found == ["float", "byte", "byte", "archive"]
    assert choose_store("archive", 1, 32.0, cpu) == "archive" and choose_store("float", 10**12, 1.0, cpu) == "float"


def test_on_a_gpu_8_bits_are_taken_where_they_fit(monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (4 * 10**9, 8 * 10**9))
    gpu = torch.device("cuda", 0)
    assert choose_store("auto", 10**9, 0.1, gpu) == "byte" == choose_store("auto", 10**10, 32.0, gpu)
    assert choose_store("auto", 3 * 10**9, 0.1, gpu) == "archive"


def test_any_number_of_threads_reads_the_same(data):
    threads = torch.get_num_threads()
    try:
        blocks = []
        for count in (1, 3):
            torch.set_num_threads(count)
            source = opened(data, "byte")
            blocks.append(source.gather(np.arange(16), np.zeros(16, np.int64), 50))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*blocks)


@pytest.mark.parametrize("store", frames.STORES)
def test_a_recording_of_another_dimension_is_named(tmp_path, store):
    feats = {"s0-u": np.ones((30, 4)), "s1-u": np.ones((30, 5))}
    data = write_data(tmp_path / "d", feats, {utt: np.ones(30) for utt in feats})
    with pytest.raises((InputError, ValueError), match="s1-u: found 5 coefficients|shape"):
        source = open_source(data, sorted(feats), ["s0", "s1"], FRONTEND, 32.0, "test", store)
        source.gather(np.array([0, 1]), np.array([0, 0]), 20)


# ---------------------------------------------------------------- SpecAugment


def ones_source():
    return FrameSource(
        [f"u{k}" for k in range(6)],
        np.arange(6),
        np.full(6, 100),
        10,
        lambda which, offsets, length: torch.ones(len(which), length, 10),
    )


def test_masks_are_runs_no_wider_than_asked_for():
    x = torch.ones(500, 40, 10)
    mask_runs(x, ChunkOptions(500, 40, 40, mask_frames=8, mask_coefficients=3), np.random.default_rng(1))
    rows, columns = (x == 0).all(2), (x == 0).all(1)
    for hidden, widest in ((rows, 8), (columns, 3)):
        assert set(hidden.sum(1).tolist()) == set(range(widest + 1))
        assert (hidden.int().diff(dim=1).abs().sum(1) <= 2).all()  # one run
    assert rows.any(0).all() and columns.any(0).all()
    assert torch.equal(x == 0, rows[:, :, None] | columns[:, None, :])


def test_masks_repeat_themselves_and_change_nothing_else_that_is_drawn():
    def epoch(seed, **more):
        return list(Sampler(ones_source(), ChunkOptions(6, 20, 30, steps_per_epoch=4, **more), seed))

    plain, masked, again = epoch(1), epoch(1, mask_frames=9), epoch(1, mask_frames=9)
    assert [batch.utts for batch in plain] == [batch.utts for batch in masked]
    assert all(torch.equal(a.features, b.features) for a, b in zip(masked, again))
    assert any((batch.features == 0).any() for batch in masked)
    assert not any((batch.features == 0).any() for batch in plain)


# ---------------------------------------------------------------- heads


def test_every_head_weighs_its_own_group_of_channels():
    torch.manual_seed(0)
    h, weights = torch.randn(3, 9, 8), torch.rand(3, 9, 4)
    found = weighted_mean(h, weights)
    for channel in range(8):
        torch.testing.assert_close(found[:, channel], (weights[:, :, channel // 2] * h[:, :, channel]).sum(1))


@pytest.mark.parametrize("heads", [2, 8])
def test_equal_heads_are_one_head(heads):
    torch.manual_seed(0)
    one, many = (
        POOLINGS["attentive_statistics"](
            8, ArchitectureOptions(attention_dim=5, pooling_dim=8, attention_heads=k)
        ).eval()
        for k in (1, heads)
    )
    state = one.state_dict()
    for name in ("attention.score.weight", "attention.score.bias"):
        state[name] = state[name].repeat(heads, *[1] * (state[name].ndim - 1))
    many.load_state_dict(state)
    h, mask = torch.randn(2, 7, 8), torch.arange(7) < torch.tensor([[7], [4]])
    torch.testing.assert_close(many(h, mask), one(h, mask))
    assert many.weights(h, mask).shape == (2, 7, heads) and one.weights(h, mask).shape == (2, 7)


def test_heads_are_trained():
    torch.manual_seed(0)
    sizes = {"frame_dim": 8, "pooling_dim": 12, "attention_dim": 4, "embedding_dim": 6, "segment_dim": 6}
    net = Network(ArchitectureOptions(**sizes, attention_heads=12), 5, 3)
    torch.nn.init.normal_(net.output.weight)
    assert isinstance(net.pooling.attention, Attention)
    torch.nn.functional.cross_entropy(net(torch.randn(4, 30, 5)), torch.tensor([0, 1, 2, 0])).backward()
    grad = net.pooling.attention.score.weight.grad
    assert grad.shape == (12, 4) and grad.abs().min() > 0


def test_heads_that_do_not_divide_the_channels():
    with pytest.raises(InputError, match="--attention-heads: found 7"):
        ArchitectureOptions(attention_heads=7)
