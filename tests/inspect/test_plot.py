"""plot: each kind as PNG and SVG; the numbers behind it; mistakes."""

import json
from pathlib import Path

import numpy as np
import pytest
from bundle_data import make_bundle, speech, write_sound

from pyasp.bin.plot import main
from pyasp.inspect.plot import attention_of, plane
from pyasp.kaldi import ArkWriter


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A directory with everything that plots read."""
    top = tmp_path_factory.mktemp("plots")
    rng = np.random.default_rng(1)
    (top / "data").mkdir()
    with ArkWriter(top / "data/feats.ark", top / "data/feats.scp") as writer:
        writer.write("u1", rng.standard_normal((120, 12)).astype(np.float32))
    with ArkWriter(top / "data/vad.ark", top / "data/vad.scp") as writer:
        writer.write("u1", (np.arange(120) > 40).astype(np.float32))
    with ArkWriter(top / "e.ark", top / "e.scp") as writer:
        for speaker in range(4):
            for number in range(5):
                centre = np.eye(6)[speaker] * 10
                writer.write(f"s{speaker}-{number}", (centre + rng.standard_normal(6)).astype(np.float32))
    (top / "utt2spk").write_text("".join(f"s{s}-{n} s{s}\n" for s in range(4) for n in range(5)))
    (top / "sys").mkdir()
    (top / "sys/train.jsonl").write_text(
        "".join(
            json.dumps(
                {"epoch": e, "loss": 3 / e, "valid_loss": 4 / e, "valid_accuracy": e / 5, "learning_rate": 0.1 / e}
            )
            + "\n"
            for e in range(1, 5)
        )
    )
    (top / "sys/metrics.json").write_text(
        json.dumps({"trials": {}, "det": {"list": {"p_fa": [1, 0.5, 0.1, 0.01, 0], "p_miss": [0, 0.02, 0.1, 0.4, 1]}}})
    )
    make_bundle(top / "model")
    write_sound(top / "a.wav", speech())
    return top


def command(run, what):
    return {
        "features": ["features", str(run / "data"), "u1"],
        "attention": ["attention", "--model", str(run / "model"), str(run / "a.wav")],
        "embeddings": ["embeddings", str(run / "e.scp"), str(run / "utt2spk")],
        "training": ["training", str(run / "sys")],
        "det": ["det", str(run / "sys")],
    }[what]


@pytest.mark.parametrize("what", ["features", "attention", "embeddings", "training", "det"])
def test_every_kind_as_picture(run, tmp_path, what):
    heads = {"x.png": b"\x89PNG", "x.svg": b"<?xml"}
    for name, head in heads.items():
        assert main([*command(run, what), "--out", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_bytes().startswith(head)


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_weights_lie_on_the_voiced_frames_around_their_mean(run, tmp_path, heads):
    model = make_bundle(tmp_path / "m", attention_heads=heads)
    _, weights, voiced, pooling = attention_of(str(model), str(run / "a.wav"))
    assert pooling == "attentive_statistics" and np.nanmean(weights) == pytest.approx(1, abs=1e-5)
    assert len(weights) == len(voiced) == 200 and np.isfinite(weights).sum() == voiced.sum() - 14
    assert not np.isfinite(weights[~voiced]).any()
    assert main(["attention", "--model", str(model), "--out", str(tmp_path / "x.png"), str(run / "a.wav")]) == 0


def test_lda_separates_speakers_better_than_pca(run):
    def ratio(projection):
        found, _ = plane(str(run / "e.scp"), str(run / "utt2spk"), projection, 3)
        groups = list(found.values())
        centres = np.stack([group.mean(axis=0) for group in groups])
        within = np.mean([((group - centre) ** 2).sum(axis=1).mean() for group, centre in zip(groups, centres)])
        return len(groups), ((centres - centres.mean(axis=0)) ** 2).sum(axis=1).mean() / within

    (count, pca), (_, lda) = ratio("pca"), ratio("lda")
    assert count == 3 and lda > pca > 1


@pytest.mark.parametrize(
    "words, message",
    [
        (["nonsense", "x"], "features or attention"),
        (["features", "DATA"], "DATA UTT"),
        (["features", "DATA", "u9"], "no such key"),
        (["attention", "WAV"], "no --model; expected a bundle"),
        (["training", "DATA"], "no such file"),
        (["det", "DATA"], "metrics"),
        (["det", "SYS"], "no --out"),
        (["det", "SYS", "--out", "x.jpg"], ".png or .svg"),
        (["embeddings", "E", "NONE"], "no such file"),
        (["embeddings", "E", "OTHER"], "speakers to show"),
        (["attention", "--model", "AVERAGE", "WAV"], "weights are uniform"),
    ],
)
def test_mistakes(run, tmp_path, monkeypatch, capsys, words, message):
    monkeypatch.chdir(tmp_path)
    Path("other").write_text("x y\n")
    make_bundle(tmp_path / "average", "average")
    places = {
        "DATA": run / "data",
        "WAV": run / "a.wav",
        "SYS": run / "sys",
        "E": run / "e.scp",
        "NONE": "none",
        "OTHER": "other",
        "AVERAGE": "average",
    }
    out = [] if "--out" in words or message == "no --out" else ["--out", "x.png"]
    assert main([str(places.get(word, word)) for word in words] + out) == 1
    assert message in capsys.readouterr().err
