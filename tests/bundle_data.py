"""A tiny bundle of a random network, with a back end of random parameters, and recordings to score."""

from pathlib import Path

import numpy as np
import soundfile
import torch

from pyasp import kaldi
from pyasp.backend.files import write_plda
from pyasp.backend.options import ScoreOptions
from pyasp.backend.plda import Plda
from pyasp.bundle import format
from pyasp.core.conf import write_conf
from pyasp.core.options import subset
from pyasp.features.mfcc import MfccOptions
from pyasp.features.vad import VadOptions
from pyasp.network.checkpoint import write_weights
from pyasp.network.embed import ExtractionOptions
from pyasp.network.model import ArchitectureOptions, Network

RATE, CEPS, DIM = 8000, 10, 8


def write_backend(path: Path, dim: int = DIM, rank: int = 6) -> None:
    """mean.vec, transform.mat, plda."""
    rng = np.random.default_rng(3)
    kaldi.save(path / "mean.vec", rng.standard_normal(dim))
    kaldi.save(path / "transform.mat", rng.standard_normal((rank, dim)).astype(np.float32))
    root = rng.standard_normal((rank, rank))
    write_plda(path / "plda", Plda.from_covariances(np.zeros(rank), np.eye(rank), root @ root.T))


def write_front_end(path: Path) -> None:
    """mfcc.conf and vad.conf."""
    write_conf(
        path / "mfcc.conf",
        MfccOptions(sample_frequency=RATE, num_ceps=CEPS, dither=0.0, high_freq=3700.0, snip_edges=False),
    )
    write_conf(
        path / "vad.conf", VadOptions(vad_energy_threshold=5.5, vad_proportion_threshold=0.12, vad_frames_context=2)
    )


def network(pooling: str = "attentive_statistics", seed: int = 1, **more: object) -> tuple[Network, object]:
    """A random network in evaluation mode with running moments of its own, and the options of its network.conf."""
    options = ExtractionOptions(
        pooling=pooling,
        frame_dim=16,
        pooling_dim=24,
        attention_dim=6,
        embedding_dim=DIM,
        segment_dim=7,
        delta_order=0,
        input_dim=CEPS,
        **more,
    )
    torch.manual_seed(seed)
    net = Network(subset(options, ArchitectureOptions), CEPS, 5).eval()
    for name, buffer in net.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.uniform_(0.5, 1.5)
    return net, options


def make_bundle(path: Path, pooling: str = "attentive_statistics", **more: object) -> Path:
    """A bundle of a random network."""
    path.mkdir(parents=True)
    net, options = network(pooling, **more)
    write_front_end(path)
    write_backend(path)
    write_conf(path / "backend.conf", ScoreOptions())
    write_conf(path / "network.conf", options)
    shapes = write_weights(net, path / "network.ark")
    format.write_manifest(
        path,
        "network",
        {
            "system": pooling,
            "rate": RATE,
            "calibrated": False,
            "shortest_voiced_seconds": 0.5,
            "results": {},
            "shapes": shapes,
        },
    )
    return path


def speech(seconds: float = 2.0, seed: int = 0, rate: int = RATE) -> np.ndarray:
    """(n,) float32: bursts of noise with a resonance, loud enough for the VAD."""
    rng = np.random.default_rng(seed)
    n = int(seconds * rate)
    noise, wave = rng.standard_normal(n), np.zeros(n)
    pole = 2 * 0.95 * np.cos(2 * np.pi * rng.uniform(300, 900) / rate)
    for t in range(2, n):
        wave[t] = noise[t] + pole * wave[t - 1] - 0.9025 * wave[t - 2]
    envelope = 1 + np.sin(2 * np.pi * 3 * np.arange(n) / rate)
    return (0.2 * wave / np.abs(wave).max() * envelope / 1.2).astype(np.float32)


def write_sound(path: Path, wave: np.ndarray, rate: int = RATE) -> str:
    """A 16-bit wav file."""
    soundfile.write(path, wave, rate, subtype="PCM_16")
    return str(path)
