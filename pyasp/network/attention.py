"""Where the attention of a network looks: its weights over the time of a recording, beside what there is to see.

Okabe et al. 2018, eq. 4: alpha_t, one weight for each frame-level vector. It is drawn at the middle of the voiced
frames that the vector sees. Frames without speech, and the voiced ones at either end that are context alone, have none.
"""

import numpy as np
import torch

from pyasp.core.errors import InputError
from pyasp.data.datadir import DataDir, c_sorted
from pyasp.network.contract import Embeds
from pyasp.network.model import Network

HOP, WINDOW = 0.010, 0.025  # seconds
BINS = 96  # rows of a spectrogram
RANGE = 70.0  # dB shown below the loudest point


def spectrogram(samples: np.ndarray, rate: int, frames: int) -> np.ndarray:
    """(BINS, frames) dB from -RANGE to 0, the loudest, low frequencies first: log power of samples (n,)."""
    size = int(rate * WINDOW)
    centres = ((np.arange(frames) + 0.5) * HOP * rate).astype(np.int64)
    padded = np.pad(samples.astype(np.float64), (size, size + int(frames * HOP * rate)))
    taps = padded[centres[:, None] + np.arange(size) + size - size // 2]
    power = np.abs(np.fft.rfft(taps * np.hanning(size), 512 if rate <= 8000 else 1024)) ** 2
    edges = np.linspace(0, power.shape[1], BINS + 1).astype(np.int64)
    decibel = 10 * np.log10(np.add.reduceat(power, edges[:-1], axis=1) + 1e-3).T
    return np.clip(decibel - decibel.max(), -RANGE, 0)


@torch.inference_mode()
def frame_weights(net: Embeds, feats: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """Weights (T,) float32 relative to a plain mean's, NaN without one; feats (V, D) of the V voiced of T frames.

    InputError when the network has no attention, or the recording fewer voiced frames than the network sees at once.
    """
    if len(feats) < net.shortest:
        found, expected, cure = f"{len(feats)} voiced frames", f"at least {net.shortest}", "Give a longer recording"
        raise InputError("attention", found, expected, cure)
    if not (isinstance(net, Network) and net.attends):
        found, cure = "a pooling whose weights are uniform", "Give an attention or attentive_statistics system"
        raise InputError("attention", found, "attention", cure)
    device = next(net.parameters()).device
    alpha = net.eval().attention(torch.from_numpy(np.ascontiguousarray(feats, np.float32))[None].to(device))
    assert alpha is not None  # a pooling that attends has weights
    relative = alpha[0].float().cpu().numpy() * alpha.shape[1]
    lost = net.frames.frames_lost
    middle = np.flatnonzero(voiced)[lost // 2 :][: len(feats) - lost]
    result = np.full(len(voiced), np.nan, np.float32)
    result[middle] = relative[np.arange(len(middle)) * len(relative) // len(middle)]  # an encoder may take steps
    return result


def choose(data: DataDir, count: int, seed: int, least: int, longest: int = 1500) -> list[str]:
    """Recordings to show: a seeded draw among the longer half of those with `least` voiced frames, none over `longest`
    frames if that can be."""
    voiced = data.counts("utt2num_voiced")
    frames = data.counts("utt2num_frames")
    fit = [utt for utt in c_sorted(voiced) if voiced[utt] >= least]
    fit = [utt for utt in fit if frames[utt] <= longest] or fit
    middle = np.median([voiced[utt] for utt in fit]) if fit else 0
    fit = [utt for utt in fit if voiced[utt] >= middle]
    order = np.random.default_rng([seed, 7]).permutation(len(fit))[:count]
    return c_sorted(fit[k] for k in order)
