"""Where the attention of a network looks: its weights over the time of a recording, beside what there is to see.

Okabe et al. 2018, eq. 4: alpha_t, one weight for each frame-level vector, of sum one. A frame-level vector sees 15
voiced
frames; its weight is drawn at the middle one. Frames without speech, and the first and last seven with it, have none.
"""

from __future__ import annotations

import numpy as np
import torch

from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir, c_sorted
from pyasp.features.frontend import FrontendOptions, frontend
from pyasp.network.tdnn import RECEPTIVE_FIELD, Tdnn

HOP, WINDOW = 0.010, 0.025  # seconds
BINS = 96  # rows of a spectrogram
RANGE = 70.0  # dB shown below the loudest point
MARGIN = RECEPTIVE_FIELD // 2  # frames at either end of the speech without a weight


def spectrogram(samples: np.ndarray, rate: int, frames: int) -> np.ndarray:
    """(BINS, frames) uint8, low frequencies first: log power of samples (n,), 255 the loudest, 0 RANGE dB below."""
    size = int(rate * WINDOW)
    centres = ((np.arange(frames) + 0.5) * HOP * rate).astype(np.int64)
    padded = np.pad(samples.astype(np.float64), (size, size + int(frames * HOP * rate)))
    taps = padded[centres[:, None] + np.arange(size) + size - size // 2]
    power = np.abs(np.fft.rfft(taps * np.hanning(size), 512 if rate <= 8000 else 1024)) ** 2
    edges = np.linspace(0, power.shape[1], BINS + 1).astype(np.int64)
    decibel = 10 * np.log10(np.add.reduceat(power, edges[:-1], axis=1) + 1e-3).T
    return np.clip(255 * (1 + (decibel - decibel.max()) / RANGE), 0, 255).astype(np.uint8)


@torch.inference_mode()
def frame_weights(net: Tdnn, feats: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """Weights (T,) float32 relative to a plain mean's, NaN without one; feats (V, D) of the V voiced of T frames.

    InputError when the recording has fewer voiced frames than the network sees at once.
    """
    if len(feats) < RECEPTIVE_FIELD:
        raise InputError(
            "attention", f"{len(feats)} voiced frames", f"at least {RECEPTIVE_FIELD}", "Show a longer recording"
        )
    device = next(net.parameters()).device
    h, _ = net.eval().frame_level(torch.from_numpy(np.ascontiguousarray(feats, np.float32))[None].to(device))
    alpha = net.pooling.weights(h)[0].float().cpu().numpy()
    alpha = alpha.mean(axis=1) if alpha.ndim == 2 else alpha  # of several heads: their mean
    result = np.full(len(voiced), np.nan, np.float32)
    result[np.flatnonzero(voiced)[MARGIN : len(feats) - MARGIN]] = alpha * len(alpha)
    return result


def network_weights(net: Tdnn, options: FrontendOptions, feats: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """`frame_weights` from stored features (T, D) and the VAD's decisions (T,) bool."""
    return frame_weights(net, frontend(feats, voiced, options), voiced)


def choose(data: DataDir, count: int, seed: int, longest: int = 1500) -> list[str]:
    """Recordings to show: a seeded draw among the longer half, none over `longest` frames if that can be."""
    voiced = {utt: int(number) for utt, number in data.read("utt2num_voiced").items()}
    frames = {utt: int(number) for utt, number in data.read("utt2num_frames").items()}
    fit = [utt for utt in c_sorted(voiced) if voiced[utt] >= 2 * RECEPTIVE_FIELD]
    fit = [utt for utt in fit if frames[utt] <= longest] or fit
    middle = np.median([voiced[utt] for utt in fit]) if fit else 0
    fit = [utt for utt in fit if voiced[utt] >= middle]
    order = np.random.default_rng([seed, 7]).permutation(len(fit))[:count]
    return c_sorted(fit[k] for k in order)
