"""From files of a run to plots: features, attention, embeddings, training, DET."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np

from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir, c_sorted, read_table
from pyasp.inspect.plots import Curves, Image, Panel, Plot, Points, Strip
from pyasp.inspect.table import lines_of
from pyasp.kaldi import ScpReader

SHIFT = 0.01  # seconds between frames: Kaldi's, of every recipe here
SPECTRUM = 512  # samples of a spectrogram's frame
FLOOR_DB = -80.0  # under the loudest point of a spectrogram


def features(directory: str, utt: str) -> Plot:
    """Stored coefficients of an utterance over time, each row scaled alone, and its voice activity."""
    data = DataDir(directory)
    data.require("feats.scp")
    matrix = ScpReader(data / "feats.scp")[utt]
    seconds = (0.0, len(matrix) * SHIFT)
    spread = np.maximum(matrix.std(axis=0), 1e-8)
    panels: list[Panel] = [
        Image(
            "coefficients, each over its own range",
            ((matrix - matrix.mean(axis=0)) / spread).T,
            seconds,
            (0, matrix.shape[1]),
            ylabel="cepstrum",
        ),
        Strip("log energy (first coefficient)", matrix[:, 0], seconds),
    ]
    if data.has("vad.scp"):
        panels.append(Strip("voiced", np.asarray(ScpReader(data / "vad.scp")[utt], np.float64), seconds))
    return Plot(f"{utt}: {len(matrix)} frames", panels)


def spectrogram(samples: np.ndarray, rate: int) -> np.ndarray:
    """Power (frequencies, frames) in dB under the loudest point, a frame every SHIFT; samples (n,)."""
    hop = max(1, int(rate * SHIFT))
    padded = np.pad(np.asarray(samples, np.float64), (SPECTRUM // 2, SPECTRUM))
    framed = np.lib.stride_tricks.sliding_window_view(padded, SPECTRUM)[: len(samples) : hop]
    power = np.abs(np.fft.rfft(framed * np.hanning(SPECTRUM), axis=1)) ** 2
    return np.maximum(10 * np.log10(power.T / max(power.max(), 1e-20) + 1e-20), FLOOR_DB)


def attention(model_dir: str, path: str, channel: int = -1) -> Plot:
    """Weights of the pooling over the spectrogram of a recording, for a bundle of a network with attention."""
    from pyasp.audio.recording import read_sound
    from pyasp.network.attention import weights_over_time

    sound = read_sound(path, channel)
    weights, voiced, pooling = weights_over_time(model_dir, sound)
    seconds = (0.0, sound.seconds)
    real = np.isfinite(weights)
    mean = 1.0 / max(int(real.sum()), 1)
    return Plot(
        f"{Path(path).name}: attention of {pooling}",
        [
            Image(
                "spectrogram (dB)",
                spectrogram(sound.samples, sound.rate),
                seconds,
                (0, sound.rate / 2000),
                ylabel="kHz",
            ),
            Strip(
                f"attention weight over its mean (1 = uniform; largest {np.nanmax(weights) / mean:.2f})",
                weights / mean,
                seconds,
            ),
            Strip("voiced", voiced.astype(np.float64), seconds),
        ],
    )


def project(vectors: np.ndarray, labels: np.ndarray, projection: str) -> np.ndarray:
    """(N, 2) of vectors (N, D): principal axes, or the directions that separate the labels (N,) best."""
    from pyasp.backend.transforms import apply_transform, lda, pca

    centred = np.asarray(vectors, np.float64) - vectors.mean(axis=0)
    if projection == "pca":
        return apply_transform(pca(centred, 2), centred)
    axes = pca(centred, min(len(centred) - 1, centred.shape[1]), eigenvalue_floor=1e-9)
    reduced = apply_transform(axes, centred)
    return apply_transform(lda(reduced, labels, 2, covariance_floor=1e-3), reduced)


def embeddings(scp: str, utt2spk: str, projection: str, most: int) -> Plot:
    """Vectors in the plane, by speaker: the `most` speakers with most recordings."""
    speakers, reader = read_table(utt2spk), ScpReader(scp)
    counts = Counter(speakers[utt] for utt in reader if utt in speakers)
    chosen = c_sorted(name for name, _ in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:most])
    utts = [utt for utt in reader if speakers.get(utt) in chosen]
    needed = 3 if projection == "lda" else 2
    if len(chosen) < needed or len(utts) <= needed:
        raise InputError(
            scp,
            f"{len(utts)} vectors of {len(chosen)} speakers",
            f"at least {needed} speakers to show",
            "Give the utt2spk of the set that the vectors are of",
        )
    labels = np.array([chosen.index(speakers[utt]) for utt in utts])
    plane = project(np.stack([np.asarray(reader[utt]) for utt in utts]), labels, projection)
    name = {"pca": "principal component", "lda": "discriminant direction"}[projection]
    groups = {speaker: plane[labels == number] for number, speaker in enumerate(chosen)}
    return Plot(
        f"{len(utts)} vectors of {len(chosen)} of {len(counts)} speakers ({projection.upper()})",
        [Points("", groups, f"{name} 1", f"{name} 2")],
    )


TRAINING = {
    "loss": ("loss", "valid_loss"),
    "validation accuracy": ("valid_accuracy",),
    "learning rate": ("learning_rate",),
}


def training(directories: list[str]) -> Plot:
    """Losses, accuracy and learning rate by epoch of one or more systems."""
    logs = {}
    for directory in directories:
        path = Path(directory) / "train.jsonl" if Path(directory).is_dir() else Path(directory)
        if not path.is_file():
            raise InputError(path, "no such file", "the log of a network's training", "Run stage 7, or name EXP/SYSTEM")
        logs[path.parent.name or str(path)] = [json.loads(text) for text in lines_of(str(path))]
    panels = []
    for title, keys in TRAINING.items():
        curves = {
            (f"{name} {key}" if len(keys) > 1 or len(logs) > 1 else key): (
                np.array([each["epoch"] for each in log]),
                np.array([each[key] for each in log], np.float64),
            )
            for name, log in logs.items()
            for key in keys
        }
        panels.append(Curves(title, curves, "epoch"))
    return Plot("training of " + ", ".join(logs), panels)


def det(directories: list[str]) -> Plot:
    """DET curves of one or more systems, a panel for each list that they were scored on."""
    lists: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
    for directory in directories:
        path = Path(directory) / "metrics.json"
        if not path.is_file():
            raise InputError(path, "no such file", "a system's metrics", "Run stage 10, or name EXP/SYSTEM")
        for name, curve in json.loads(path.read_text(encoding="utf-8"))["det"].items():
            lists.setdefault(name, {})[Path(directory).name] = (np.array(curve["p_fa"]), np.array(curve["p_miss"]))
    return Plot(
        "DET",
        [
            Curves(name, curves, "false alarms (% of nontargets)", "misses (% of targets)", deviates=True)
            for name, curves in lists.items()
        ],
    )
