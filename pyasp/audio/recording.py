"""One recording from a file, and what may be wrong with it: for scoring single files, without lhotse.

x    (n,)  samples on the int16 scale at the file's rate
X_f        mean power spectrum of the voiced stretch of x
edge       the frequency above which less than EDGE_POWER of the power lies: what lies above was never recorded
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyasp.audio.resample import INT16, is_audible
from pyasp.core.errors import InputError

FULL_SCALE = 32767.0
CLIPPED_RUN = 3  # neighbouring samples at one extreme value: a clipped peak
CLIPPED_SHARE = 1e-3  # of all samples, in such runs
QUIET_PEAK = 0.005 * FULL_SCALE  # -46 dB: speech this quiet is mostly quantisation and line noise
SPECTRUM_FRAME = 512  # samples of a frame of the mean spectrum
SPECTRUM_SECONDS = 60  # looked at
EDGE_POWER = 1e-6  # share of the power: -60 dB
TELEPHONE_RATE = 8000  # Hz
NARROWER, WIDER = 0.7, 1.2  # of the model's band: where a recording counts as of another bandwidth


@dataclass(frozen=True)
class Sound:
    """name: for messages; samples: (n,) float32 on the int16 scale; rate: Hz."""

    name: str
    samples: np.ndarray
    rate: int

    @property
    def seconds(self) -> float:
        """Duration."""
        return len(self.samples) / self.rate


def read_sound(path: str | Path, channel: int = -1) -> Sound:
    """The recording in a file that libsndfile reads (or sph2pipe, ffmpeg: see pyasp.audio.decoders).

    channel: from 0, needed where there are several, of no matter where there is one. Raises InputError for a file that
    is missing, no audio, cut short, empty, of several channels without a choice, or with samples that are not finite.
    """
    import soundfile  # a twentieth of a second that callers with samples of their own need not spend

    from pyasp.audio.checks import check_header, read_frames
    from pyasp.audio.decoders import decode, foreign_format

    if not Path(path).is_file():
        raise InputError(path, "no such file", "an audio file", "Check the path")
    check_header(path)
    source = io.BytesIO(decode(path)) if foreign_format(path) else str(path)
    try:
        with soundfile.SoundFile(source) as stream:
            told, rate = stream.frames, stream.samplerate
            samples = read_frames(stream, told, "float32")
    except soundfile.SoundFileError as error:
        raise InputError(path, str(error), "audio that libsndfile reads", "Convert it to wav or flac") from None
    if len(samples) < told:
        raise InputError(
            path, f"{len(samples)} samples", f"{told}, as its header says", "Copy the recording again from its source"
        )
    return Sound(str(path), one_channel(samples, channel, path), rate)


def one_channel(samples: np.ndarray, channel: int, name: object) -> np.ndarray:
    """(n, channels) in [-1, 1] -> (n,) on the int16 scale of the chosen channel (-1: the only one). Raises InputError as read_sound."""
    channels = samples.shape[1]
    if channels > 1 and not 0 <= channel < channels:
        raise InputError(
            name,
            f"{channels} channels",
            "one, or --channel to choose among them",
            f"Give --channel 0 to {channels - 1}",
        )
    mono = samples[:, channel if channels > 1 else 0] * INT16
    if not len(mono) or not is_audible(mono):
        raise InputError(
            name,
            "samples that are not finite, or huge" if len(mono) else "no samples",
            "audio",
            "Replace the recording",
        )
    return mono


def clipped_share(samples: np.ndarray) -> float:
    """Share of the samples that stand in runs of CLIPPED_RUN or more at the largest or the smallest value."""
    peak = np.abs(samples).max(initial=0.0)
    if peak < 0.5 * FULL_SCALE:
        return 0.0
    at_top = np.concatenate([[False], (samples == samples.max()) | (samples == samples.min()), [False]])
    edges = np.flatnonzero(at_top[1:] != at_top[:-1])
    lengths = edges[1::2] - edges[::2]
    return float(lengths[lengths >= CLIPPED_RUN].sum() / len(samples))


def band_edge(samples: np.ndarray, rate: int) -> float:
    """The frequency in Hz above which less than EDGE_POWER of the power lies; half the rate when there is no power."""
    frames = min(len(samples), SPECTRUM_SECONDS * rate) // SPECTRUM_FRAME
    if not frames:
        return rate / 2
    framed = np.asarray(samples[: frames * SPECTRUM_FRAME], np.float64).reshape(frames, SPECTRUM_FRAME)
    power = (np.abs(np.fft.rfft(framed * np.blackman(SPECTRUM_FRAME), axis=1)) ** 2).sum(axis=0)
    power[:2] = 0.0  # direct current
    above = np.cumsum(power[::-1])[::-1]
    if not above[0]:
        return rate / 2
    return float(np.flatnonzero(above >= EDGE_POWER * above[0])[-1] * rate / SPECTRUM_FRAME)


def complaints(sound: Sound, voiced_seconds: float, rate: int, top: float, shortest: float) -> list[str]:
    """What a listener should be told before believing a score, each in a phrase.

    rate, top: the model's sampling rate and the upper limit of its mel bins in Hz; shortest: voiced seconds below which
    it was hardly tried.
    """
    peak = float(np.abs(sound.samples).max(initial=0.0))
    edge, clipped = band_edge(sound.samples, sound.rate), clipped_share(sound.samples)
    level = 20 * np.log10(max(peak, 1e-9) / FULL_SCALE)
    found = {
        f"nearly silent: its peak is {level:.0f} dB of full scale": peak < QUIET_PEAK,
        f"short: {voiced_seconds:.2f} s of voice, under {shortest:.2f} s": voiced_seconds < shortest,
        f"clipped: {100 * clipped:.1f} % of its samples stand at the limit": clipped > CLIPPED_SHARE,
        f"recorded at {sound.rate} Hz for a model of {rate} Hz: the upper band is missing": sound.rate < rate,
        f"wide-band, with voice up to {edge / 1000:.1f} kHz, for a telephone model of {rate} Hz": rate <= TELEPHONE_RATE
        and edge > WIDER * rate / 2,
        f"nothing above {edge / 1000:.1f} kHz for a model that looks up to {top / 1000:.1f} kHz": sound.rate >= rate
        and edge < NARROWER * top,
    }
    return [text for text, true in found.items() if true]
