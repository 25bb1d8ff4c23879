"""A tiny data directory of stage select for the tests of the network: synthetic features, speakers differ in variances."""

from pathlib import Path

import numpy as np

from pyasp.data.datadir import DataDir, write_list
from pyasp.kaldi import ArkWriter

SMALL = [
    "--frame-dim=16",
    "--pooling-dim=24",
    "--attention-dim=6",
    "--embedding-dim=12",
    "--segment-dim=12",
    "--batch-size=8",
    "--min-chunk=20",
    "--max-chunk=30",
    "--cmn-window=100",
    "--device=cpu",
]


def write_data(
    path: Path, features: dict[str, np.ndarray], voiced: dict[str, np.ndarray], valid: list[str] = ()
) -> DataDir:
    """feats.scp, vad.scp, utt2spk (speaker: before the dash) and valid_utts of given arrays."""
    path.mkdir(parents=True, exist_ok=True)
    for name, arrays in (("feats", features), ("vad", voiced)):
        with ArkWriter(path / f"{name}.ark", path / f"{name}.scp") as writer:
            for utt in sorted(arrays):
                writer.write(utt, np.asarray(arrays[utt], np.float32))
    data = DataDir(path)
    data.write_speakers({utt: utt.split("-")[0] for utt in features})
    write_list(path / "valid_utts", valid)
    return data


def tiny_data(path: Path, speakers: int = 4, utts: int = 5, dim: int = 6, seed: int = 0) -> DataDir:
    """Recordings of 20 to 70 frames, about three quarters voiced; the last one of each speaker is held out."""
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.3, 2.0, (speakers, dim))
    features, voiced = {}, {}
    for s in range(speakers):
        for u in range(utts):
            frames = int(rng.integers(20, 71))
            features[f"s{s}-u{u}"] = rng.normal(size=(frames, dim)) * scales[s]
            voiced[f"s{s}-u{u}"] = (rng.random(frames) < 0.75) | (np.arange(frames) < 2)
    return write_data(path, features, voiced, [f"s{s}-u{utts - 1}" for s in range(speakers)])


def decode(code: np.ndarray, low: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The frames (T, D) float32 that `encode` approximated."""
    return low + code.astype(np.float32) * step


def relative_error(x: np.ndarray, other: np.ndarray) -> float:
    """Root mean square of (other - x) / deviation of the coefficient over time; x, other (T, D)."""
    deviation = np.maximum(x.std(axis=0, dtype=np.float64), 1e-10)
    return float(np.sqrt(np.mean(((other.astype(np.float64) - x) / deviation) ** 2)))
