"""Embeddings of whole recordings: batches, long ones, short ones, shards."""

import numpy as np
import pytest
import torch
from tdnn_data import SMALL, tiny_data

from pyasp.bin import extract as verb
from pyasp.core.command import parse
from pyasp.core.errors import InputError
from pyasp.core.options import subset
from pyasp.features.frontend import frontend
from pyasp.kaldi import ArkWriter, ScpReader
from pyasp.network import checkpoint
from pyasp.network.embed import Embedder, EmbedOptions, chunk_bounds, repeat_to
from pyasp.network.model import ArchitectureOptions, Network
from pyasp.network.pooling import POOLINGS
from pyasp.training.options import NetworkOptions

D = 6
CPU = torch.device("cpu")


def network(pooling="attentive_statistics"):
    torch.manual_seed(2)
    net = Network(subset(parse(NetworkOptions, [*SMALL, f"--pooling={pooling}"])[0], ArchitectureOptions), D, 4)
    net(torch.randn(8, 40, D))  # batch norms that have seen data
    return net.eval()


def recordings(*lengths, seed=0):
    rng = np.random.default_rng(seed)
    return [(f"u{k}", rng.normal(size=(n, D)).astype(np.float32)) for k, n in enumerate(lengths)]


def alone(net, feats):
    """The embedding of one piece, straight from the network."""
    with torch.inference_mode():
        return net.embed(torch.from_numpy(feats)[None])[0].numpy()


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("batch_frames", [1, 150, 16000])
def test_batches_give_what_recordings_give_alone_in_their_order(pooling, batch_frames):
    net, given = network(pooling), recordings(40, 25, 90, 41, 33, 90, 77, 26, 300)
    found = list(Embedder(net, EmbedOptions(extract_batch_frames=batch_frames), CPU).stream(iter(given)))
    assert [utt for utt, _ in found] == [utt for utt, _ in given]
    for (_, vector), (_, feats) in zip(found, given):
        assert vector.dtype == np.float32 and vector.shape == (12,)
        np.testing.assert_allclose(vector, alone(net, feats), rtol=1e-4, atol=1e-5)


def test_a_batch_never_holds_more_frames_than_asked_for():
    net, sizes = network(), []
    whole, net.embed = net.embed, lambda x, lengths: sizes.append(x.shape[:2]) or whole(x, lengths)
    given = recordings(30, 90, 60, 50, 25, 250, 100, 70)
    list(Embedder(net, EmbedOptions(extract_batch_frames=200), CPU).stream(given))
    assert all(count * longest <= 200 or count == 1 for count, longest in sizes)
    assert sum(count for count, _ in sizes) == 8 and len(sizes) < 8


def test_long_recordings_are_averages_of_chunks_weighted_by_length():
    net, ((utt, feats),) = network(), recordings(130)
    embedder = Embedder(net, EmbedOptions(extract_chunk=50, extract_min_frames=25), CPU)
    ((_, found),) = embedder.stream([(utt, feats)])
    parts = [alone(net, feats[a:b]) for a, b in ((0, 50), (50, 100), (100, 130))]
    np.testing.assert_allclose(found, (50 * parts[0] + 50 * parts[1] + 30 * parts[2]) / 130, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    "frames, bounds",
    [
        (1, [(0, 1)]),
        (100, [(0, 100)]),
        (125, [(0, 100), (100, 125)]),
        (124, [(0, 100)]),
        (224, [(0, 100), (100, 200)]),
        (300, [(0, 100), (100, 200), (200, 300)]),
    ],
)
def test_chunks_of_a_recording(frames, bounds):
    assert chunk_bounds(frames, EmbedOptions(extract_chunk=100, extract_min_frames=25)) == bounds


def test_short_recordings_are_repeated_and_counted():
    net, given = network(), recordings(10, 24, 25, 1)
    embedder = Embedder(net, EmbedOptions(), CPU)
    found = dict(embedder.stream(given))
    assert embedder.repeated == 3
    for utt, feats in given:
        whole = np.concatenate([feats] * 25)[: max(25, len(feats))]
        np.testing.assert_allclose(found[utt], alone(net, whole), rtol=1e-4, atol=1e-5)


def test_repetition_starts_over():
    assert repeat_to(np.arange(3)[:, None], 7).ravel().tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert repeat_to(np.arange(3)[:, None], 2).ravel().tolist() == [0, 1, 2]


@pytest.mark.parametrize("feats", [np.zeros((30, D + 1), np.float32), np.zeros(30, np.float32)])
def test_features_of_another_shape(feats):
    with pytest.raises(InputError, match="u1: found shape .*6 coefficients"):
        list(Embedder(network(), EmbedOptions(), CPU).stream([*recordings(30), ("u1", feats)]))


def test_an_embedding_that_is_not_finite():
    given = recordings(30, 30, 50)
    given[1][1][4, 2] = np.nan
    with pytest.raises(InputError, match="u1: .*not finite"):
        list(Embedder(network(), EmbedOptions(), CPU).stream(given))


@pytest.mark.parametrize("wrong", [{"extract_min_frames": 0}, {"extract_chunk": 24}, {"extract_batch_frames": 0}])
def test_options_out_of_range(wrong):
    with pytest.raises(InputError, match=f"--{next(iter(wrong)).replace('_', '-')}"):
        EmbedOptions(**wrong)


def test_repetition_up_to_less_than_the_network_sees():
    with pytest.raises(InputError, match="--extract-min-frames: found 14; expected at least 15|14.*at least 15"):
        Embedder(network(), EmbedOptions(extract_min_frames=14), CPU)


# ---------------------------------------------------------------- the tool


@pytest.fixture
def prepared(tmp_path):
    """A data directory, a network file and a conf file."""
    data = tiny_data(tmp_path / "data", speakers=5, utts=4)
    net, options = network(), parse(NetworkOptions, SMALL)[0]
    state = checkpoint.network_state(
        net.in_dim,
        net.state_dict(),
        vars(options),
        list("abcd"),
        {"epoch": 1, "valid_loss": 1.0, "valid_accuracy": 0.5},
    )
    checkpoint.save(tmp_path / "final.pt", state)
    (tmp_path / "tdnn.conf").write_text("\n".join(SMALL) + "\n")
    return data, net, options, tmp_path


def extract(prepared, out, job=1, num_jobs=1, reuse=""):
    data, _, _, root = prepared
    (root / out).mkdir(exist_ok=True)
    words = [
        "--config",
        str(root / "tdnn.conf"),
        "--job",
        str(job),
        "--num-jobs",
        str(num_jobs),
        "--reuse",
        reuse,
        "--force",
        "false",
        "--device",
        "auto",
    ]
    assert verb.main([*words, str(data.path), str(root / "final.pt"), str(root / out / "e")]) == 0
    return {utt: vector for scp in sorted((root / out).glob("e.*.scp")) for utt, vector in ScpReader(scp).items()}


def test_the_tool_embeds_every_recording_with_the_network_s_own_front_end(prepared):
    data, net, options, root = prepared
    (root / "tdnn.conf").write_text("--cmn-window=200\n--frame-dim=64\n")  # edited later: the model's own count
    found = extract(prepared, "out")
    feats, vad = ScpReader(data / "feats.scp"), ScpReader(data / "vad.scp")
    assert set(found) == set(data.utt2spk)
    for utt, vector in found.items():
        x = repeat_to(frontend(feats[utt], vad[utt] > 0, options), 25)
        np.testing.assert_allclose(vector, alone(net, x), rtol=1e-4, atol=1e-5)


def test_any_number_of_jobs_gives_the_same_files(prepared):
    extract(prepared, "one")
    for job in (1, 2, 3):
        extract(prepared, "three", job, 3)
    root = prepared[3]
    arks = list((root / "one").glob("*.ark"))
    assert len(arks) == 8 and all(ark.read_bytes() == (root / "three" / ark.name).read_bytes() for ark in arks)


def test_recordings_of_another_set_are_not_computed_again(prepared):
    data, root = prepared[0], prepared[3]
    with ArkWriter(root / "known.ark", root / "known.scp") as writer:
        writer.write("s0-u0", np.zeros(12, np.float32))
    assert set(extract(prepared, "out", reuse=str(root / "known.scp"))) == set(data.utt2spk) - {"s0-u0"}


def test_a_recording_without_voiced_frames_is_counted_with_its_reason(prepared, capsys):
    data, root = prepared[0], prepared[3]
    vad = {utt: v if utt != "s1-u1" else v * 0 for utt, v in ScpReader(data / "vad.scp").items()}
    with ArkWriter(root / "vad2.ark", data / "vad.scp") as writer:
        for utt in sorted(vad):
            writer.write(utt, vad[utt])
    assert "s1-u1" not in extract(prepared, "out")
    failed = "".join(path.read_text() for path in (root / "out").glob("*.failed"))
    assert failed.startswith("s1-u1 ") and "no voiced frame" in failed and failed.count("\n") == 1
    assert "1 failed" in capsys.readouterr().err


@pytest.mark.parametrize(
    "spoil, message",
    [(lambda path: path.unlink(), "no such file"), (lambda path: path.write_bytes(b"x"), "unreadable")],
)
def test_a_model_that_cannot_be_read(prepared, capsys, spoil, message):
    data, _, _, root = prepared
    spoil(root / "final.pt")
    (root / "out").mkdir()
    assert verb.main([str(data.path), str(root / "final.pt"), str(root / "out" / "e")]) == 1
    assert message in capsys.readouterr().err and not list((root / "out").glob("*.ark"))
