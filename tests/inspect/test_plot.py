"""plot: each kind as PNG, SVG and text; the numbers behind it; mistakes."""

import json
from pathlib import Path

import numpy as np
import pytest
from bundle_data import make_bundle, speech, write_wav

from pyasp.bin.plot import main
from pyasp.inspect import plot_data
from pyasp.inspect.plot_text import BARS, SHADES, render, resized
from pyasp.inspect.plots import Curves, Image, Plot, Points, Strip
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
    write_wav(top / "a.wav", speech())
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
def test_every_kind_as_picture_and_as_text(run, tmp_path, capsys, what):
    heads = {"x.png": b"\x89PNG", "x.svg": b"<?xml"}
    for name, head in heads.items():
        assert main([*command(run, what), "--out", str(tmp_path / name)]) == 0
        assert (tmp_path / name).read_bytes().startswith(head)
    capsys.readouterr()
    assert main([*command(run, what), "--width", "60"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) > 5 and max(map(len, lines)) <= 60


@pytest.mark.parametrize("heads", [1, 4])
def test_attention_weights_lie_on_the_voiced_frames_around_their_mean(run, tmp_path, heads):
    model = make_bundle(tmp_path / "m", attention_heads=heads)
    plot = plot_data.attention(str(model), str(run / "a.wav"))
    weights, voiced = (panel.values for panel in plot.panels[1:])
    assert "attentive_statistics" in plot.title and np.nanmean(weights) == pytest.approx(1, abs=1e-5)
    assert len(weights) == len(voiced) == 200 and np.isfinite(weights).sum() == voiced.sum() - 14
    assert not np.isfinite(weights[voiced == 0]).any() and plot.panels[0].values.shape == (96, 200)


def test_lda_separates_speakers_better_than_pca(run):
    def ratio(projection):
        plot = plot_data.embeddings(str(run / "e.scp"), str(run / "utt2spk"), projection, 3)
        groups = list(plot.panels[0].groups.values())
        centres = np.stack([group.mean(axis=0) for group in groups])
        within = np.mean([((group - centre) ** 2).sum(axis=1).mean() for group, centre in zip(groups, centres)])
        return len(groups), ((centres - centres.mean(axis=0)) ** 2).sum(axis=1).mean() / within

    (count, pca), (_, lda) = ratio("pca"), ratio("lda")
    assert count == 3 and lda > pca > 1


def test_resized_averages_and_leaves_nan_out():
    np.testing.assert_allclose(resized(np.array([1.0, 3, np.nan, 5]), 2), [2, 5])
    np.testing.assert_allclose(resized(np.array([[1.0, 2]]), 4), [[1, 1, 2, 2]])
    assert np.isnan(resized(np.array([np.nan, np.nan, 1.0, 1]), 2)[0])


def test_text_shows_what_is_high_and_what_is_low():
    image = np.zeros((4, 40))
    image[3, :20] = 1.0
    step = np.concatenate([np.zeros(20), np.ones(20)])
    lines = render(
        Plot(
            "t",
            [
                Image("", image, (0, 1), (0, 4)),
                Strip("", step, (0, 1)),
                Curves("c", {"up": (np.arange(3), np.arange(3))}),
                Points("", {"a": np.zeros((1, 2)), "b": np.ones((1, 2))}),
            ],
        ),
        50,
    )
    top = lines[1].split("▕")[1]
    assert top[:20] == SHADES[-1] * 20 and top[20:] == SHADES[0] * 20
    low = lines[7].split("▕")[1]
    assert low[:20] == BARS[0] * 20 and low[20:] == BARS[-1] * 20
    first_curve, last_curve = lines[10].split("▕")[1], lines[25].split("▕")[1]
    assert first_curve.rstrip().endswith("*") and last_curve.startswith("*")
    assert any("* a   o b" in line for line in lines)


@pytest.mark.parametrize(
    "words, message",
    [
        (["nonsense", "x"], "features or attention"),
        (["features", "DATA"], "DATA UTT"),
        (["features", "DATA", "u9"], "no such key"),
        (["attention", "WAV"], "a bundle and one recording"),
        (["training", "DATA"], "no such file"),
        (["det", "DATA"], "metrics"),
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
    assert main([str(places.get(word, word)) for word in words]) == 1
    assert message in capsys.readouterr().err
