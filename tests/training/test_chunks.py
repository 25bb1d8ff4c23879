"""Training chunks: what is drawn, how often, from where; the same in any order of events."""

import numpy as np
import pytest
import torch
from tdnn_data import tiny_data, write_data

from pyasp.core.errors import InputError
from pyasp.data.datadir import write_list
from pyasp.features.frontend import FrontendOptions
from pyasp.features.stored import iterate
from pyasp.training.chunks import ChunkOptions, Sampler, make_batch, split_validation, validation_batches
from pyasp.training.frames import FrameSource, open_source

FRONTEND = FrontendOptions(delta_order=0, cmn_window=100)


def numbered(lengths, labels):
    """A source without features, for questions of drawing alone."""
    utts = [f"u{k}" for k in range(len(lengths))]
    return FrameSource(
        utts, np.array(labels), np.array(lengths), 1, lambda which, offsets, length: torch.zeros(len(which), length, 1)
    )


def drawn(sampler):
    return [utt for batch in sampler for utt in batch.utts]


@pytest.fixture
def data(tmp_path):
    return tiny_data(tmp_path / "data")


@pytest.fixture(params=[32.0, 0.0], ids=["memory", "archives"])
def source(data, request):
    train, _, speakers = split_validation(data)
    return open_source(data, train, speakers, FRONTEND, request.param, "test")


def test_chunks_are_rows_of_the_front_end_s_output_repeated_where_too_short(data, source):
    whole = dict(iterate(data, FRONTEND))
    assert [len(whole[utt]) for utt in source.utts] == source.lengths.tolist()
    longest = int(source.lengths.argmax())
    for which, offset, length in [(0, 0, 20), (longest, 11, 15), (1, 3, 200), (2, int(source.lengths[2]) - 1, 20)]:
        utt = source.utts[which]
        rows = (offset + np.arange(length)) % len(whole[utt])
        chunk = source.gather(np.array([which, 0]), np.array([offset, 0]), length)
        assert chunk.shape == (2, length, 6) and chunk.dtype == torch.float32
        np.testing.assert_allclose(chunk[0], whole[utt][rows], atol=1e-5)


def test_labels_are_positions_among_the_training_speakers(data, source):
    _, _, speakers = split_validation(data)
    assert [speakers[label] for label in source.labels] == [data.utt2spk[utt] for utt in source.utts]


def test_held_out_recordings_are_never_drawn(data, source):
    held_out = set(data.read("valid_utts"))
    sampler = Sampler(source, ChunkOptions(8, 20, 30, steps_per_epoch=50), 1)
    assert len(held_out) == 4 and not held_out & set(drawn(sampler))


def test_every_recording_equally_often():
    sampler = Sampler(numbered([100] * 10, [0] * 6 + [1] * 4), ChunkOptions(5, 20, 30, "utterance", 20), 1)
    assert set(np.unique(drawn(sampler), return_counts=True)[1]) == {10}


def test_every_speaker_equally_often_and_his_recordings_in_turn():
    labels = [0] * 6 + [1] * 3 + [2]
    sampler = Sampler(numbered([100] * 10, labels), ChunkOptions(6, 20, 30, "speaker", 9), 1)
    counts = dict(zip(*np.unique(drawn(sampler), return_counts=True)))
    assert [counts[f"u{k}"] for k in range(10)] == [3] * 6 + [6] * 3 + [18]


@pytest.mark.parametrize("lengths, steps", [([1000] * 8, 16), ([10] * 64, 3)])
def test_an_epoch_draws_every_frame_about_once_and_every_recording_at_least_once(lengths, steps):
    sampler = Sampler(numbered(lengths, [0, 1] * (len(lengths) // 2)), ChunkOptions(25, 15, 25), 1)
    assert sampler.steps == steps and len(set(drawn(sampler))) == len(lengths)


def test_chunk_lengths_cover_their_range_and_are_equal_within_a_batch():
    sampler = Sampler(numbered([100] * 10, [0] * 10), ChunkOptions(4, 20, 24, steps_per_epoch=100), 1)
    assert {batch.features.shape[1] for batch in sampler} == {20, 21, 22, 23, 24}


def test_chunks_begin_everywhere_in_a_recording():
    starts = []
    source = numbered([30], [0])

    def read(which, offsets, length):
        starts.extend(offsets.tolist())
        return torch.zeros(len(which), length, 1)

    source = FrameSource(source.utts, source.labels, source.lengths, 1, read)
    list(Sampler(source, ChunkOptions(50, 20, 20, steps_per_epoch=20), 1))
    assert set(starts) == set(range(11))
    make_batch(source, np.zeros(3, int), np.array([0.0, 0.5, 0.999]), 40)  # repeated from any frame on
    assert starts[-3:] == [0, 15, 29]


def same(one, other):
    return (
        one.utts == other.utts and torch.equal(one.features, other.features) and torch.equal(one.labels, other.labels)
    )


def test_seed_and_epoch_decide_what_is_drawn(source):
    options = ChunkOptions(8, 20, 30)
    first, again, other = (Sampler(source, options, seed) for seed in (1, 1, 2))
    epochs = [list(first), list(first)]
    assert all(same(a, b) for a, b in zip(epochs[0] + epochs[1], [*again, *again]))
    assert not all(same(a, b) for a, b in zip(epochs[0], epochs[1]))
    assert not all(same(a, b) for a, b in zip(epochs[0], other))


@pytest.mark.parametrize("done", [0, 1, 3])
def test_a_sampler_goes_on_where_its_state_says(source, done):
    options = ChunkOptions(8, 20, 30, steps_per_epoch=4)
    straight, stopped, resumed = (Sampler(source, options, 1) for _ in range(3))
    expected = [*straight, *straight]
    batches = iter(stopped)
    for _ in range(done):
        next(batches)
    resumed.epoch, resumed.step = stopped.epoch, stopped.step
    rest = [*resumed, *resumed]
    assert len(rest) == 8 - done and all(same(a, b) for a, b in zip(expected[done:], rest))


def test_validation_is_one_middle_chunk_of_each_recording_in_order(data, source):
    batches = list(validation_batches(source, ChunkOptions(6, 15, 19)))
    assert [utt for batch in batches for utt in batch.utts] == source.utts and len(batches[-1].utts) == 4
    whole = dict(iterate(data, FRONTEND))[source.utts[0]]
    start = int((len(whole) - 19 + 1) * 0.5)
    np.testing.assert_allclose(batches[0].features[0], whole[start : start + 19], atol=1e-5)


def test_memory_and_archives_give_the_same_batches(data):
    train, _, speakers = split_validation(data)
    sources = [open_source(data, train, speakers, FRONTEND, gb, "test") for gb in (32.0, 0.0)]
    samplers = [Sampler(each, ChunkOptions(8, 20, 60), 1) for each in sources]
    for one, other in zip(*samplers):
        assert one.utts == other.utts
        torch.testing.assert_close(one.features, other.features, rtol=0, atol=1e-5)


def test_only_what_chunks_need_is_read_from_the_archives(data, monkeypatch):
    train, _, speakers = split_validation(data)
    source = open_source(data, train, speakers, FRONTEND, 0.0, "test")
    monkeypatch.setattr("pyasp.kaldi.scripts.ScpReader.__getitem__", None)  # whole matrices would raise
    assert source.gather(np.array([0]), np.array([0]), 15).shape == (1, 15, 6)


# ---------------------------------------------------------------- bad input


def test_a_validation_recording_that_is_not_there(data):
    write_list(data / "valid_utts", ["s0-u0", "s9-u9"])
    with pytest.raises(InputError, match="valid_utts: s9-u9: .*not in utt2spk.*stage select"):
        split_validation(data)


@pytest.mark.parametrize(
    "valid, message",
    [([], "empty list"), ([f"s{s}-u{u}" for s in range(1, 4) for u in range(5)], "1 training speakers")],
)
def test_nothing_to_validate_or_train_on(data, valid, message):
    write_list(data / "valid_utts", valid)
    with pytest.raises(InputError, match=message):
        split_validation(data)


def test_a_validation_speaker_without_training_recordings(data):
    with pytest.raises(InputError, match="s1-u0: .*speaker s1, who has no training recording"):
        open_source(data, ["s1-u0"], ["s0", "s2"], FRONTEND, 32.0, "test")


@pytest.mark.parametrize("name", ["feats.scp", "vad.scp"])
def test_a_recording_without_features_or_decisions(data, name):
    table = data.read(name)
    data.write(name, {utt: line for utt, line in table.items() if utt != "s2-u2"})
    train, _, speakers = split_validation(data)
    with pytest.raises(InputError, match="s2-u2"):
        open_source(data, train, speakers, FRONTEND, 32.0, "test")


def test_a_recording_without_voiced_frames(tmp_path):
    feats = {f"s{k}-u": np.ones((30, 4)) for k in range(3)}
    data = write_data(tmp_path / "d", feats, {utt: np.full(30, utt != "s1-u") for utt in feats})
    with pytest.raises(InputError, match="s1-u: found no voiced frame"):
        open_source(data, sorted(feats), ["s0", "s1", "s2"], FRONTEND, 32.0, "test")


def test_a_recording_of_another_dimension(tmp_path):
    feats = {"s0-u": np.ones((30, 4)), "s1-u": np.ones((30, 5))}
    data = write_data(tmp_path / "d", feats, {utt: np.ones(30) for utt in feats})
    with pytest.raises(InputError, match="s1-u: found 5 coefficients; expected 4"):
        open_source(data, sorted(feats), ["s0", "s1"], FRONTEND, 32.0, "test")


@pytest.mark.parametrize("wrong", [{"batch_size": 1}, {"min_chunk": 0}, {"max_chunk": 199}, {"steps_per_epoch": -1}])
def test_chunks_that_cannot_be(wrong):
    with pytest.raises(InputError, match=f"--{next(iter(wrong)).replace('_', '-')}"):
        ChunkOptions(**wrong)
