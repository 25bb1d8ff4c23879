"""A trained system in memory: waves in, embeddings and log-likelihood ratios out.

    wave   (n,)  float in [-1, 1], or int16                rate   samples a second of it
    E            size of an embedding (or i-vector)        N      recordings of one speaker

    from pyasp import SpeakerModel
    m = SpeakerModel.load("model/")
    m.score(m.embed(wave, rate), m.embed(other, rate))

There is no global state; a loaded model is read only and may be used from any number of threads.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyasp.audio.recording import Sound
from pyasp.audio.resample import INT16, check_rate, resample
from pyasp.backend.files import read_back_end_files
from pyasp.backend.model import enroll
from pyasp.backend.options import BackendOptions, ScoreOptions
from pyasp.backend.scoring import SCORERS
from pyasp.bundle.extractors import EXTRACTORS
from pyasp.bundle.format import CALIBRATION, MANIFEST, Bundle, read_bundle
from pyasp.bundle.kaldi import is_kaldi, read_kaldi
from pyasp.core.conf import read_conf
from pyasp.core.errors import InputError
from pyasp.core.options import subset
from pyasp.core.text import read_json
from pyasp.features.fbank import Fbank, FbankOptions
from pyasp.features.frontend import FrontendOptions, frontend
from pyasp.features.mfcc import MelFeatures, Mfcc, MfccOptions
from pyasp.features.vad import VadOptions, energy_vad

Extract = Callable[[Iterable[tuple[str, np.ndarray]]], Iterator[tuple[str, np.ndarray]]]


@dataclass(frozen=True)
class Features:
    """frames: (V, D) float32, voiced and normalised; voiced: (T,) bool; seconds: of the voiced frames."""

    frames: np.ndarray
    voiced: np.ndarray
    seconds: float


@dataclass(frozen=True)
class Calibration:
    """Affine map of a raw score to a natural-log likelihood ratio: scale s + offset."""

    scale: float
    offset: float


def as_int16_scale(wave: np.ndarray) -> np.ndarray:
    """(n,) float32 on the int16 scale, of int16 samples or floats in [-1, 1]. Raises InputError for anything else."""
    wave = np.asarray(wave)
    if wave.ndim != 1 or not len(wave):
        raise InputError("wave", f"shape {wave.shape}", "one channel: (samples,)", "Choose a channel: wave[:, 0]")
    if wave.dtype == np.int16:
        return wave.astype(np.float32)
    if not np.issubdtype(wave.dtype, np.floating) or not np.isfinite(wave).all():
        raise InputError(
            "wave",
            f"{wave.dtype} samples" if wave.dtype.kind != "f" else "samples that are not finite",
            "int16, or floats in [-1, 1]",
            "Convert the samples",
        )
    if np.abs(wave).max() > 4.0:
        raise InputError(
            "wave",
            f"floats up to {np.abs(wave).max():.4g}",
            "floats in [-1, 1], or int16",
            "Divide by 32768, or give int16",
        )
    return wave.astype(np.float32) * INT16


class SpeakerModel:
    """Front end, extractor, back end and calibration of one system. Use `SpeakerModel.load`."""

    def __init__(self, bundle: Bundle, extract: Extract, frontend_options: FrontendOptions):
        self.bundle = bundle
        self._extract, self._frontend = extract, frontend_options
        self._mfcc_options = read_conf(bundle.files["mfcc.conf"], MfccOptions)
        self._vad_options = read_conf(bundle.files["vad.conf"], VadOptions)
        self._score_options = (
            subset(read_conf(bundle.files["backend.conf"], BackendOptions), ScoreOptions)
            if "backend.conf" in bundle.files
            else ScoreOptions()
        )
        self._back_end = read_back_end_files(*(bundle.files[name] for name in ("mean.vec", "transform.mat", "plda")))
        self.calibration = read_calibration(bundle)
        self._fbank_options = self._read_fbank_options()
        self._local = threading.local()  # extractors have scratch memory: one of each for each thread

    @classmethod
    def load(cls, path: str | Path, device: str = "cpu") -> SpeakerModel:
        """The model in a bundle, or in a Kaldi i-vector directory. device: auto, cpu or cuda.

        Raises InputError when it is neither, or its files do not belong together.
        """
        kaldi = not (Path(path) / MANIFEST).is_file() and is_kaldi(path)
        bundle = read_kaldi(path) if kaldi else read_bundle(path)
        extract, frontend_options = EXTRACTORS[bundle.kind](bundle, device)
        return cls(bundle, extract, frontend_options)

    @property
    def rate(self) -> int:
        """Samples a second that the features are computed at; other waves are resampled."""
        return int(self._mfcc_options.sample_frequency)

    @property
    def top_frequency(self) -> float:
        """Upper limit of the mel bins in Hz."""
        high = self._mfcc_options.high_freq
        return high if high > 0 else self.rate / 2 + high

    @property
    def dim(self) -> int:
        """E."""
        return len(self._back_end.mean)

    @property
    def calibrated(self) -> bool:
        """True when scores are log-likelihood ratios that held-out recordings have checked."""
        return self.calibration is not None

    def _read_fbank_options(self) -> FbankOptions | None:
        """Those of a network that reads filter banks. Raises InputError when they are missing, or of another rate."""
        if self._frontend.feature_type == "mfcc":
            return None
        if "fbank.conf" not in self.bundle.files:
            raise InputError(self.bundle.path, "no fbank.conf", "the filter banks' options", "Make the bundle again")
        options = read_conf(self.bundle.files["fbank.conf"], FbankOptions)
        if options.sample_frequency != self._mfcc_options.sample_frequency:
            raise InputError(
                self.bundle.files["fbank.conf"],
                f"--sample-frequency={options.sample_frequency:g}",
                f"{self.rate}, as in mfcc.conf",
                "Make the bundle again",
            )
        return options

    def _extractor(self, name: str) -> MelFeatures:
        """This thread's extractor of `mfcc` or `fbank`."""
        if not hasattr(self._local, name):
            made = Mfcc(self._mfcc_options) if name == "mfcc" else Fbank(self._fbank_options)
            setattr(self._local, name, made)
        return getattr(self._local, name)

    # waves to embeddings

    def mfcc(self, sound: Sound) -> np.ndarray:
        """Raw MFCC (T, C) float32 of a recording, resampled to the model's rate where that differs."""
        return self._stored(self._samples(sound), sound, "mfcc")

    def _samples(self, sound: Sound) -> np.ndarray:
        """The recording's samples at the model's rate."""
        check_rate(sound.rate, self.rate, True, True, sound.name)
        return resample(sound.samples, sound.rate, self.rate)

    def _stored(self, samples: np.ndarray, sound: Sound, kind: str) -> np.ndarray:
        """Features (T, C) float32 of a kind as the recipe stores them."""
        matrix = self._extractor(kind).compute(samples, sound.name)
        if not len(matrix):
            raise InputError(sound.name, f"{sound.seconds:.3f} s", "at least one frame of 25 ms", "Give more audio")
        if not np.isfinite(matrix).all():
            raise InputError(sound.name, "features that are not finite", "samples in [-1, 1]", "Replace the recording")
        return matrix

    def features(self, sound: Sound) -> Features:
        """Voiced, normalised frames of a recording. Raises InputError when nothing in it is voiced."""
        samples, shift, kind = self._samples(sound), self._mfcc_options.frame_shift / 1000, self._frontend.feature_type
        matrix = self._stored(samples, sound, "mfcc")
        voiced = energy_vad(matrix[:, 0], self._vad_options)
        if not voiced.any():
            raise InputError(
                sound.name,
                f"no voiced frame in {sound.seconds:.2f} s",
                "speech",
                "It is silent, or too quiet for the model's vad.conf",
            )
        matrix = matrix if kind == "mfcc" else self._stored(samples, sound, kind)
        return Features(frontend(matrix, voiced, self._frontend), voiced, float(voiced.sum()) * shift)

    def embed_features(self, features: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
        """(name, (V, D) frames) -> (name, (E,) float32), in batches: for many recordings."""
        return self._extract(features)

    def embed(self, wave: np.ndarray, rate: int) -> np.ndarray:
        """Embedding (E,) float32 of a wave (n,) at `rate` samples a second.

        Raises InputError for a wave without speech, of several channels, or on an unknown scale.
        """
        sound = Sound("wave", as_int16_scale(wave), int(rate))
        ((_, vector),) = self._extract([("wave", self.features(sound).frames)])
        return vector

    # embeddings to scores

    def raw_scores(self, enrol: np.ndarray, tests: np.ndarray) -> np.ndarray:
        """Scores (M,) float64 of the back end before calibration; shapes as `score`."""
        enrol, tests = np.atleast_2d(enrol), np.atleast_2d(tests)
        model = enroll(self._back_end, enrol, [np.arange(len(enrol))], self._score_options.average)
        scorer = SCORERS[self._score_options.scoring](
            model, np.array([len(enrol)]), self._back_end.process(tests), self._back_end.plda, self._score_options
        )
        return scorer.pairs(np.zeros(len(tests), np.int64), np.arange(len(tests)))

    def score(self, enrol: np.ndarray, test: np.ndarray) -> float | np.ndarray:
        """Log-likelihood ratio (natural logarithm) that one speaker spoke `enrol` and `test`, over two speakers.

        enrol: an embedding (E,), or N recordings of a speaker (N, E); test: (E,) -> a float, (M, E) -> (M,) float64.
        Calibrated when `calibrated`; else the back end's own ratio, which may be too sure of itself.
        """
        scores = self.raw_scores(enrol, test)
        if self.calibration is not None:
            scores = self.calibration.scale * scores + self.calibration.offset
        return float(scores[0]) if np.ndim(test) == 1 else scores


def read_calibration(bundle: Bundle) -> Calibration | None:
    """Scale and offset of a bundle's calibration.json; None when it has none. InputError when they are missing."""
    path = bundle.files.get(CALIBRATION)
    if path is None:
        return None
    try:
        values = read_json(path, "scale and offset", "Calibrate again")
        return Calibration(float(values["scale"]), float(values["offset"]))
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(path, f"no usable calibration ({error})", "scale and offset", "Calibrate again") from None
