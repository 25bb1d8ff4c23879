"""Plots of what lies in files of a run: features, attention, embeddings, training, DET; as PNG or SVG, with no display.

Each function gives a `Plot`; what the report draws too is drawn by pyasp.report.figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.figure import Figure

from pyasp.core.errors import InputError, rerun
from pyasp.core.files import check_output, replacing
from pyasp.core.text import read_json, read_json_lines
from pyasp.data.datadir import DataDir, c_sorted, read_table
from pyasp.kaldi import ScpReader
from pyasp.report import figures

if TYPE_CHECKING:
    from pyasp.audio.recording import Sound

SHIFT = 0.01  # seconds between frames: Kaldi's, of every recipe here
FORMATS: dict[str, dict[str, Any]] = {
    ".png": {"metadata": {"Software": None}, "dpi": 110},
    ".svg": {"metadata": {"Date": None}},
}
MOST_LABELS = 24  # in a legend


@dataclass(frozen=True)
class Plot:
    """A title, the size in inches, and what draws on a figure."""

    title: str
    size: tuple[float, float]
    draw: Callable[[Figure], None]

    def save(self, path: str | Path) -> None:
        """Writes x.png or x.svg. Raises InputError for another suffix."""
        check_output(path, FORMATS)
        figure = Figure(figsize=self.size, layout="constrained")
        self.draw(figure)
        figure.suptitle(self.title, fontsize="medium")
        suffix = Path(path).suffix
        with replacing(path) as temporary:
            figure.savefig(temporary, format=suffix[1:], **FORMATS[suffix])


def features(directory: str, utt: str) -> Plot:
    """Stored coefficients of an utterance over time, each row scaled alone, and its voice activity."""
    data = DataDir(directory)
    matrix = ScpReader(data.require("feats.scp")[0])[utt]
    strips = {"log energy (first coefficient)": matrix[:, 0]}
    if data.has("vad.scp"):
        strips["voiced"] = np.asarray(ScpReader(data / "vad.scp")[utt], np.float64)
    scaled = ((matrix - matrix.mean(axis=0)) / np.maximum(matrix.std(axis=0), 1e-8)).T

    def draw(figure: Figure) -> None:
        top, *below = figure.subplots(1 + len(strips), 1, sharex=True, height_ratios=[2.5, *[1] * len(strips)])
        extent, (low, high) = (0, len(matrix) * SHIFT, 0, len(scaled)), np.percentile(scaled, (1, 99))
        top.imshow(scaled, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=low, vmax=high)
        top.set(ylabel="cepstrum")
        top.set_title("coefficients, each over its own range", fontsize="small", loc="left")
        for axes, (title, values) in zip(below, strips.items()):
            bottom = min(0.0, float(values.min()))  # bars from the lowest value, or from zero
            axes.stairs(values, np.arange(len(values) + 1) * SHIFT, baseline=bottom, fill=True, color="tab:blue")
            axes.set_title(title, fontsize="small", loc="left")
        below[-1].set(xlabel="time (s)")

    return Plot(f"{utt}: {len(matrix)} frames", (9.0, 3.6 + 1.2 * len(strips)), draw)


def attention_of(model_dir: str, path: str, channel: int = -1) -> tuple[Sound, np.ndarray, np.ndarray, str]:
    """The recording, the weights over their mean (T,), NaN where unvoiced, which frames are voiced (T,), the pooling.

    model_dir: a bundle of a network with attention.
    """
    from pyasp.audio.recording import read_sound
    from pyasp.bundle.extractors import load_network
    from pyasp.bundle.format import read_bundle
    from pyasp.bundle.speaker_model import SpeakerModel
    from pyasp.network.attention import frame_weights

    sound, (net, options) = read_sound(path, channel), load_network(read_bundle(model_dir))
    features = SpeakerModel.load(model_dir).features(sound)
    return sound, frame_weights(net, features.frames, features.voiced), features.voiced, options.pooling


def attention(path: str, model_dir: str, channel: int = -1) -> Plot:
    """Weights of the pooling under the spectrogram of a recording, for a bundle of a network with attention."""
    from pyasp.network.attention import spectrogram

    sound, weights, voiced, pooling = attention_of(model_dir, path, channel)
    image = spectrogram(sound.samples, sound.rate, len(weights))
    title = f"{Path(path).name}: attention of {pooling} (1 = uniform; largest {np.nanmax(weights):.2f})"
    drawn = image, voiced, sound.rate / 2, {pooling: weights}, figures.colours([pooling])
    return Plot(title, (9.0, 5.0), lambda figure: figures.attention(figure, *drawn))


def project(vectors: np.ndarray, labels: np.ndarray, projection: str) -> np.ndarray:
    """(N, 2) of vectors (N, D): principal axes, or the directions that separate the labels (N,) best."""
    from pyasp.backend.transforms import apply_transform, lda, pca

    centred = np.asarray(vectors, np.float64) - vectors.mean(axis=0)
    if projection == "pca":
        return apply_transform(pca(centred, 2), centred)
    axes = pca(centred, min(len(centred) - 1, centred.shape[1]), eigenvalue_floor=1e-9)
    reduced = apply_transform(axes, centred)
    return apply_transform(lda(reduced, labels, 2, covariance_floor=1e-3), reduced)


def plane(scp: str, utt2spk: str, projection: str, most: int) -> tuple[dict[str, np.ndarray], int]:
    """({speaker: its vectors in the plane (n, 2)} of the `most` speakers with most recordings, number of speakers).

    Raises InputError for too few vectors or speakers.
    """
    speakers, reader = read_table(utt2spk), ScpReader(scp)
    counts = Counter(speakers[utt] for utt in reader if utt in speakers)
    chosen = c_sorted(name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most])
    utts = [utt for utt in reader if speakers.get(utt) in chosen]
    needed = 3 if projection == "lda" else 2
    if len(chosen) < needed or len(utts) <= needed:
        found, cure = f"{len(utts)} vectors of {len(chosen)} speakers", "Give the utt2spk of the set of the vectors"
        raise InputError(scp, found, f"at least {needed} speakers to show", cure)
    labels = np.array([chosen.index(speakers[utt]) for utt in utts])
    places = project(np.stack([np.asarray(reader[utt]) for utt in utts]), labels, projection)
    return {speaker: places[labels == number] for number, speaker in enumerate(chosen)}, len(counts)


def embeddings(scp: str, utt2spk: str, projection: str, most: int) -> Plot:
    """Vectors in the plane, by speaker: the `most` speakers with most recordings."""
    groups, everyone = plane(scp, utt2spk, projection, most)
    name = {"pca": "principal component", "lda": "discriminant direction"}[projection]

    def draw(figure: Figure) -> None:
        axes = figure.add_subplot()
        for number, (speaker, xy) in enumerate(groups.items()):
            marker = "os^vD*PX"[number // 10 % 8]
            axes.plot(*xy.T, marker, markersize=4, label=speaker, color=f"C{number % 10}")
        axes.set(xlabel=f"{name} 1", ylabel=f"{name} 2")
        axes.grid(alpha=0.3)
        if len(groups) <= MOST_LABELS:
            axes.legend(fontsize="x-small", ncols=2)

    vectors = sum(map(len, groups.values()))
    title = f"{vectors} vectors of {len(groups)} of {everyone} speakers ({projection.upper()})"
    return Plot(title, (6.5, 6.6), draw)


def training(directories: list[str]) -> Plot:
    """Losses, accuracy and learning rate by epoch of one or more systems."""
    logs = {}
    for directory in directories:
        path = Path(directory) / "train.jsonl" if Path(directory).is_dir() else Path(directory)
        if not path.is_file():
            cure = "Name EXP/SYSTEM of a network; i-vectors have no such log, their likelihoods are in report.html"
            raise InputError(path, "no such file", "the log of a network's training", cure)
        logs[path.parent.name or str(path)] = read_json_lines(path, "the JSON line of an epoch", rerun("networks"))
    colour = figures.colours(list(logs))

    def draw(figure: Figure) -> None:
        parts = figure.subfigures(len(figures.TRAINING), 1)
        assert isinstance(parts, np.ndarray), "of several rows"
        for part, (title, (keys, _)) in zip(parts, figures.TRAINING.items()):
            figures.lines(part, figures.training_lines(logs, keys, colour), "epoch", title)
            part.axes[0].legend(fontsize="small")

    return Plot("training of " + ", ".join(logs), (9.0, 9.6), draw)


def det(directories: list[str]) -> Plot:
    """DET curves of one or more systems, a panel for each list that they were scored on."""
    lists: dict[str, dict[str, dict[str, list[float]]]] = {}
    for directory in directories:
        path = Path(directory) / "metrics.json"
        if not path.is_file():
            raise InputError(path, "no such file", "a system's metrics", rerun("report", "Name EXP/SYSTEM"))
        for name, curve in read_json(path, "a system's metrics", rerun("report", force=True)).get("det", {}).items():
            lists.setdefault(name, {})[Path(directory).name] = curve
    return Plot("DET", (6.5, 5.0 * len(lists) + 0.6), lambda figure: figures.det_lists(lists, figure, columns=1))
