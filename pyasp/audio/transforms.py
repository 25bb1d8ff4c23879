"""Augmentation that lhotse lacks, as its transforms: stored in a recording's manifest, applied when audio is loaded.

AddNoise: y = x + g d, with g such that the mean power of the speech x over its voiced frames is `snr` dB above that of
the noise g d over the same frames (lhotse's own mix measures both over the whole recording, pauses included).
Transcode: a telephone codec and back.
"""

import copy
import math
from dataclasses import dataclass

import numpy as np
from lhotse import Recording
from lhotse.augmentation import AudioTransform

from pyasp.audio import codec as codecs
from pyasp.audio.folders import HEARD
from pyasp.audio.resample import resample
from pyasp.core.errors import InputError
from pyasp.kaldi import load

STRETCHES = 8  # stretches of a noise that are tried, evenly apart, when it is silent where the speech is
SILENT = 1e-3  # power over the voiced frames, as a share of the whole stretch's, below which it counts as silent


def voiced_samples(vad: str, samples: int, shift: int) -> np.ndarray:
    """(samples,) bool: samples of the voiced frames of a vad.scp entry; all without an entry, or when none is voiced.

    shift: samples between frames; sample n belongs to frame n // shift.
    """
    if not vad:
        return np.ones(samples, bool)
    mask = np.repeat(load(vad) > 0, shift)[:samples]
    mask = np.pad(mask, (0, samples - len(mask)))
    return mask if mask.any() else ~mask


def _power(samples: np.ndarray) -> float:
    return float(np.mean(np.square(samples, dtype=np.float64)))


class InPlace(AudioTransform):
    """A transform that keeps times: what is read is what is given."""

    def reverse_timestamps(
        self, offset: float, duration: float | None, sampling_rate: int
    ) -> tuple[float, float | None]:
        """(offset, duration) as they are."""
        return offset, duration


@dataclass
class AddNoise(InPlace):
    """Adds a stretch of a noise, repeated where it is too short.

    noise: manifest of a recording at the speech's rate; offset: seconds where the stretch begins; snr: dB; vad: entry
    of vad.scp; frame_shift: milliseconds.
    """

    noise: dict
    offset: float
    snr: float
    vad: str = ""
    frame_shift: float = 10.0

    def stretch(self, recording: Recording, samples: int, offset: float) -> np.ndarray:
        """(samples,) of the noise's first channel from offset on, from its start again when it ends."""
        rate, channel = recording.sampling_rate, recording.channel_ids[0]
        start = round(offset * rate) % recording.num_samples
        if start + samples <= recording.num_samples:
            loaded = recording.load_audio(channels=channel, offset=start / rate, duration=samples / rate)[0]
            return loaded[:samples]
        whole = recording.load_audio(channels=channel)[0]
        times = math.ceil((start + samples) / len(whole))
        return np.tile(whole, times)[start : start + samples]

    def find(self, samples: int, voiced: np.ndarray) -> np.ndarray:
        """(samples,) of noise not silent over the voiced samples: the drawn stretch, or a later one.

        Raises InputError when all of them are.
        """
        recording = Recording.from_dict(copy.deepcopy(self.noise))  # which empties the dictionary it is given
        for number in range(STRETCHES):
            found = self.stretch(recording, samples, self.offset + number * recording.duration / STRETCHES)
            if _power(found[voiced]) > SILENT * _power(found) > 0:
                return found
        told = "silence on its first channel, which is the one that is taken"
        raise InputError(recording.sources[0].source, told, HEARD, "Take it out of the noises")

    def __call__(self, samples: np.ndarray, sampling_rate: int) -> np.ndarray:
        """(1, n) float32 of speech with the noise."""
        voiced = voiced_samples(self.vad, samples.shape[1], round(self.frame_shift * sampling_rate / 1000))
        noise = self.find(samples.shape[1], voiced)
        wanted = _power(samples[:, voiced]) / 10 ** (self.snr / 10)
        return (samples + math.sqrt(wanted / _power(noise[voiced])) * noise).astype(np.float32)


@dataclass
class Transcode(InPlace):
    """A telephone codec at 8 kHz and back; kbits: of AMR-NB. Audio of another rate is resampled and brought back."""

    codec: str
    kbits: str

    def __call__(self, samples: np.ndarray, sampling_rate: int) -> np.ndarray:
        """(1, n) float32 as it comes out of the decoder."""
        narrow = resample(samples[0], sampling_rate, codecs.RATE, rounded=False).astype(np.float64)
        decoded = codecs.round_trip(narrow, self.codec, self.kbits)
        return resample(decoded.astype(np.float32), codecs.RATE, sampling_rate, rounded=False)[None, : samples.shape[1]]
