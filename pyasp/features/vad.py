"""Energy-based voice activity detection: Kaldi's compute-vad (ivector/voice-activity-detection), all frames at once.

e_t        log energy of frame t (coefficient 0 of the raw MFCC, before any mean normalisation), t = 0 .. T-1
threshold  = energy_threshold + mean_scale * mean_t(e_t)
frame t is voiced  <=>  #{s in window: e_s > threshold} >= proportion * #{s in window}
window     = [t-c, t+c] within [0, T), c the context

Digital silence (zeros of VoIP, editing, noise gates, padding) is no recording: such frames are in no mean and no
window here, as if they had been cut out (the front end: pyasp.features.frontend). A decision is 1 (voiced), 0
(unvoiced) or -0 (digital silence), which every reader of Kaldi's decisions takes for unvoiced.
"""

from dataclasses import dataclass

import numpy as np

from pyasp.core.options import Amount, Natural, OpenShare, check_options, option

SILENT = 2.0  # log energy on the int16 scale: a frame below it has an rms under a sixth of a 16-bit step


@dataclass(frozen=True)
class VadOptions:
    """Options of compute-vad, with Kaldi's names and defaults."""

    vad_energy_threshold: float = option(5.0, "constant term of the threshold on the log energy")
    vad_energy_mean_scale: Amount = option(0.5, "times the mean log energy of the file, added to the threshold")
    vad_proportion_threshold: OpenShare = option(
        0.6, "voiced when at least this part of the window is above the threshold"
    )
    vad_frames_context: Natural = option(0, "frames of the window on either side of a frame")
    omit_unvoiced_utts: bool = option(False, "write no decisions for an utterance without a voiced frame")
    digital_silence: bool = option(True, "take frames of digital silence out of everything; false: as Kaldi")

    def __post_init__(self) -> None:
        check_options(self, "vad options")


def energy_vad(log_energy: np.ndarray, options: VadOptions) -> np.ndarray:
    """Voicing decisions (T,) bool of log energies (T,), natural logarithm; Kaldi: ComputeVadEnergy.

    The threshold is single precision, as Kaldi's: a product like 5 * 0.6f must round to 3, or ties go the other way.
    """
    frames = len(log_energy)
    if frames == 0:
        return np.zeros(0, dtype=bool)
    mean = np.mean(log_energy, dtype=np.float64)
    threshold = np.float32(options.vad_energy_threshold + options.vad_energy_mean_scale * mean)
    above = np.concatenate([[0], np.cumsum(np.asarray(log_energy, np.float32) > threshold)])  # counts up to frame t
    first = np.maximum(np.arange(frames) - options.vad_frames_context, 0)
    end = np.minimum(np.arange(frames) + options.vad_frames_context + 1, frames)
    needed = (end - first).astype(np.float32) * np.float32(options.vad_proportion_threshold)
    return (above[end] - above[first]).astype(np.float32) >= needed


def decisions(log_energy: np.ndarray, options: VadOptions) -> np.ndarray:
    """(T,) float32 of log energies (T,): 1 voiced, 0 unvoiced, -0 digital silence; `energy_vad` of the other frames.

    Without digital silence, or with --digital-silence=false, these are Kaldi's decisions. A file that is all silence
    has none voiced.
    """
    log_energy = np.asarray(log_energy)
    there = log_energy >= SILENT if options.digital_silence else np.ones(len(log_energy), bool)
    result = np.full(len(log_energy), -0.0, np.float32)
    result[there] = energy_vad(log_energy[there], options)
    return result


def recorded(decided: np.ndarray) -> np.ndarray:
    """(T,) bool: the frames of a file that are a recording, by its decisions (T,): all but those marked -0."""
    return ~np.signbit(decided) if np.issubdtype(decided.dtype, np.floating) else np.ones(len(decided), bool)


def at_speed(voiced: np.ndarray, speed: float, frames: int) -> np.ndarray:
    """Decisions (T,) of a recording -> (frames,) of the same one `speed` times as fast: those of the frames'
    middles."""
    return voiced[np.minimum(((np.arange(frames) + 0.5) * speed).astype(np.int64), len(voiced) - 1)]
