"""Frames in 8 bits, with a range per recording and coefficient, as Kaldi's compressed matrices keep one a column.

x     (T, D)  frames of a recording             low (D,), step (D,)   its least values; (largest - least) / 255
code  (T, D)  uint8: round((x - low) / step);   x ~ low + code step, wrong by at most step / 2
"""

from __future__ import annotations

import numpy as np


def encode(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (T, D) float32, T >= 1 -> code (T, D) uint8, low (D,) and step (D,) float32.

    A coefficient that is not finite somewhere comes back as NaN everywhere: the training names the recording.
    """
    low, high = x.min(axis=0), x.max(axis=0)
    bad = ~np.isfinite(low + high)
    low, step = np.where(bad, np.nan, low).astype(np.float32), ((high - low) / np.float32(255)).astype(np.float32)
    scale = np.where(bad | (step == 0), 1, step)
    code = np.rint((np.nan_to_num(x, posinf=0, neginf=0) - np.where(bad, 0, low)) / scale)
    return np.clip(code, 0, 255).astype(np.uint8), low, np.where(bad, 0, step).astype(np.float32)


def decode(code: np.ndarray, low: np.ndarray, step: np.ndarray) -> np.ndarray:
    """The frames (T, D) float32 that `encode` approximated."""
    return low + code.astype(np.float32) * step


def relative_error(x: np.ndarray, other: np.ndarray) -> float:
    """Root mean square of (other - x) / deviation of the coefficient over time; x, other (T, D)."""
    deviation = np.maximum(x.std(axis=0, dtype=np.float64), 1e-10)
    return float(np.sqrt(np.mean(((other.astype(np.float64) - x) / deviation) ** 2)))
