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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from pyasp.audio.recording import Sound
from pyasp.audio.resample import HIGHEST_RATE, INT16, LOWEST_RATE, check_rate, resample
from pyasp.backend.calibration import Trained, trained_on
from pyasp.backend.files import read_back_end
from pyasp.backend.model import enroll
from pyasp.backend.options import BackendOptions, ScoreOptions
from pyasp.backend.scoring import SCORERS
from pyasp.bundle.enrolled import claimed, load_speakers, save_speaker
from pyasp.bundle.extractors import EXTRACTORS, Extract
from pyasp.bundle.format import BACKEND, CALIBRATION, MANIFEST, Bundle, read_bundle
from pyasp.bundle.kaldi import is_kaldi, read_kaldi
from pyasp.bundle.verify import DecisionOptions, check_decides, threshold
from pyasp.core.conf import read_conf
from pyasp.core.errors import InputError
from pyasp.core.files import file_sha256
from pyasp.core.options import subset
from pyasp.core.text import read_json
from pyasp.features.frontend import FrontendOptions, frontend
from pyasp.features.kinds import KINDS
from pyasp.features.mfcc import MelOptions, MfccOptions
from pyasp.features.vad import VadOptions, decisions, recorded

Waves = Iterable[tuple[np.ndarray, float]]  # samples (n,), and how many there are a second


@dataclass(frozen=True)
class Features:
    """frames: (V, D) float32, voiced and normalised; voiced: (T,) bool; seconds: of the voiced frames; silent: seconds
    of digital silence, left out."""

    frames: np.ndarray
    voiced: np.ndarray
    seconds: float
    silent: float = 0.0


@dataclass(frozen=True)
class AffineMap:
    """Affine map of a raw score to a natural-log likelihood ratio: scale s + offset; what it was trained on, and what
    is to be said against it, where the bundle knows; other: that it is not the one that the bundle was made with."""

    scale: float
    offset: float
    trained: Trained | None = None
    doubts: tuple[str, ...] = ()
    other: bool = False


def as_int16_scale(wave: np.ndarray) -> np.ndarray:
    """(n,) float32 on the int16 scale, of int16 samples or floats in [-1, 1]. Raises InputError for anything else."""
    wave = np.asarray(wave)
    if wave.ndim != 1 or not len(wave):
        first = "wave[0]" if wave.ndim == 2 and wave.shape[0] <= wave.shape[1] else "wave[:, 0]"
        cure = f"Choose a channel: {first}" if wave.ndim == 2 else "Give the samples of one recording"
        raise InputError("wave", f"shape {wave.shape}", "one channel: (samples,)", cure)
    if wave.dtype == np.int16:
        return wave.astype(np.float32)
    if not np.issubdtype(wave.dtype, np.floating) or not np.isfinite(wave).all():
        found = f"{wave.dtype} samples" if wave.dtype.kind != "f" else "samples that are not finite"
        raise InputError("wave", found, "int16, or floats in [-1, 1]", "Convert the samples")
    if (most := np.abs(wave).max()) > 4.0:
        cure = "Divide by 32768, or give int16"
        raise InputError("wave", f"floats up to {most:.4g}", "floats in [-1, 1], or int16", cure)
    return wave.astype(np.float32) * INT16


def sound_of(wave: np.ndarray, rate: float) -> Sound:
    """A wave (n,) of int16 samples or floats in [-1, 1] at `rate` Hz as a recording. Raises InputError otherwise."""
    if np.ndim(rate) and not np.ndim(wave):
        raise InputError("wave", "a rate before the samples", "(wave, rate)", "Turn the two about", item="rate")
    if not isinstance(rate, Real) or not LOWEST_RATE <= rate <= HIGHEST_RATE or rate != int(rate):
        raise InputError("wave", f"a rate of {rate!r}", "samples a second, such as 16000", "Give it in Hz", item="rate")
    return Sound("wave", as_int16_scale(wave), int(rate))


@dataclass(frozen=True)
class Identity:
    """speaker: the closest enrolled one, None when he is below the threshold; scores: {speaker: ratio}, closest
    first."""

    speaker: str | None
    scores: dict[str, float]
    threshold: float


class SpeakerModel:
    """Front end, extractor, back end and calibration of one system. Use `SpeakerModel.load`."""

    def __init__(self, bundle: Bundle, extract: Extract, frontend_options: FrontendOptions):
        self.bundle = bundle
        self._extract, self._frontend = extract, frontend_options
        self._mfcc_options = read_conf(bundle.files["mfcc.conf"], MfccOptions)
        self._vad_options = read_conf(bundle.files["vad.conf"], VadOptions)
        backend = bundle.files.get("backend.conf")
        self._score_options = subset(read_conf(backend, BackendOptions) if backend else BackendOptions(), ScoreOptions)
        self._back_end = read_back_end("", (bundle.files[name] for name in BACKEND))
        self.calibration = read_calibration(bundle)
        self._kinds = {"mfcc": self._mfcc_options, **self._other_features()}
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

    @property
    def decides(self) -> bool:
        """False when scores have no threshold: cosines, unless calibrated."""
        return self.calibrated or self._score_options.scoring != "cosine"

    def _other_features(self) -> dict[str, MelOptions]:
        """{kind: options} of what the network reads besides MFCC. InputError on a lack of them, or on another rate."""
        kind, cure = self._frontend.feature_type, "Make the bundle again"
        if kind == "mfcc":
            return {}
        path = self.bundle.files.get(f"{kind}.conf")
        if path is None:
            raise InputError(self.bundle.path, f"no {kind}.conf", "the options of its features", cure)
        options = read_conf(path, KINDS[kind].options)
        if options.sample_frequency != self._mfcc_options.sample_frequency:
            found = f"--sample-frequency={options.sample_frequency:g}"
            raise InputError(path, found, f"{self.rate}, as in mfcc.conf", cure)
        return {kind: options}

    # waves to embeddings

    def _samples(self, sound: Sound) -> np.ndarray:
        """The recording's samples at the model's rate. Raises InputError for less than one frame."""
        if sound.seconds < (least := self._mfcc_options.frame_length / 1000):
            expected = f"at least one frame of {1000 * least:g} ms"
            raise InputError(sound.name, f"{sound.seconds:.3f} s", expected, "Give more audio")
        check_rate(sound.rate, self.rate, True, True, sound.name)
        return resample(sound.samples, sound.rate, self.rate)

    def _stored(self, samples: np.ndarray, sound: Sound, kind: str) -> np.ndarray:
        """Features (T, C) float32 of a kind as the recipe stores them."""
        if not hasattr(self._local, kind):
            setattr(self._local, kind, KINDS[kind].extractor(self._kinds[kind]))
        matrix = getattr(self._local, kind).compute(samples, sound.name)
        if not np.isfinite(matrix).all():
            raise InputError(sound.name, "features that are not finite", "samples in [-1, 1]", "Replace the recording")
        return matrix

    def features(self, sound: np.ndarray | Sound, rate: float = 0) -> Features:
        """Voiced, normalised frames of a wave (n,) at `rate` Hz, or of a Sound. InputError when nothing is voiced."""
        sound = sound if isinstance(sound, Sound) else sound_of(sound, rate)
        samples, shift, kind = self._samples(sound), self._mfcc_options.frame_shift / 1000, self._frontend.feature_type
        matrix = self._stored(samples, sound, "mfcc")
        decided = decisions(matrix[:, 0], self._vad_options)
        voiced = decided > 0
        if not voiced.any():
            cure = "It is silent, or too quiet for the model's vad.conf"
            raise InputError(sound.name, f"no voiced frame in {sound.seconds:.2f} s", "speech", cure)
        matrix = matrix if kind == "mfcc" else self._stored(samples, sound, kind)
        frames, silent = frontend(matrix, decided, self._frontend), ~recorded(decided)
        return Features(frames, voiced, float(voiced.sum()) * shift, float(silent.sum()) * shift)

    def embed_features(self, features: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
        """(name, (V, D) frames) -> (name, (E,) float32), in batches: for many recordings."""
        return self._extract(features)

    def embed(self, wave: np.ndarray, rate: float) -> np.ndarray:
        """Embedding (E,) float32 of a wave (n,) at `rate` samples a second.

        Raises InputError for a wave without speech, of several channels, or on an unknown scale.
        """
        ((_, vector),) = self._extract([("wave", self.features(wave, rate).frames)])
        return vector

    # embeddings to scores

    def score(self, enrol: ArrayLike, test: ArrayLike) -> float | np.ndarray:
        """Log-likelihood ratio (natural logarithm) that one speaker spoke `enrol` and `test`, over two speakers.

        enrol: an embedding (E,), or N recordings of a speaker (N, E); test: (E,) -> a float, (M, E) -> (M,) float64.
        Calibrated when `calibrated`; else the back end's own ratio, which may be too sure of itself.
        """
        how = self._score_options
        try:
            vectors, tests = np.atleast_2d(enrol), np.atleast_2d(test)
        except ValueError:
            what = "recordings of several lengths", "embeddings of one length", "Give those of `embed`"
            raise InputError("embeddings", *what) from None
        if not all(each.dtype.kind in "fiu" and np.isfinite(each).all() for each in (vectors, tests)):
            raise InputError("embeddings", "values that are no finite numbers", "those of `embed`", "Embed again")
        model = enroll(self._back_end, vectors, [np.arange(len(vectors))], how.average)
        given = model, np.array([len(vectors)]), self._back_end.process(tests), self._back_end.plda, how
        scores = SCORERS[how.scoring](*given).pairs(np.zeros(len(tests), np.int64), np.arange(len(tests)))
        if self.calibration is not None:
            scores = self.calibration.scale * scores + self.calibration.offset
        return float(scores[0]) if np.ndim(test) == 1 else scores

    # enrolled speakers: a directory of embeddings, the one of `pyasp enroll`

    def enroll(self, directory: str | Path, name: str, waves: Waves, add: bool = False, force: bool = False) -> int:
        """Enrols a speaker from recordings (wave, rate); returns of how many he is enrolled now.

        add: to those that he has; force: in place of them. Raises InputError as `embed`, when the speaker is there
        already (or, with add, is not), and when the others of the directory are of another model.
        """
        pairs = list(waves)
        if not pairs or not all(isinstance(pair, (tuple, list)) and len(pair) == 2 for pair in pairs):
            found = "something else than pairs" if pairs else "no recording"
            raise InputError("waves", found, "pairs (wave, rate)", "Give a list: [(wave, rate)]", item=name)
        vectors = [("wave", self.embed(wave, rate)) for wave, rate in pairs]
        return save_speaker(directory, name, vectors, self, add, force)[0]

    def speakers(self, directory: str | Path) -> dict[str, np.ndarray]:
        """{speaker: embeddings (N, E)} of the enrolled. InputError when there is none, or they are of another model."""
        return load_speakers(directory, self)

    def claim(self, directory: str | Path, name: str, wave: np.ndarray, rate: float) -> float:
        """Log-likelihood ratio that an enrolled speaker spoke a wave. InputError when nobody of this name is there."""
        return float(self.score(claimed(directory, name, self), self.embed(wave, rate)))

    def identify(
        self,
        directory: str | Path,
        wave: np.ndarray,
        rate: float,
        prior: float = 0.5,
        c_miss: float = 1.0,
        c_fa: float = 1.0,
    ) -> Identity:
        """Which of the enrolled speakers spoke a wave, or none; `prior` that it is any of them, each as likely.

        Raises InputError when the model has no threshold (`decides`).
        """
        check_decides(self)
        speakers, costs = self.speakers(directory), DecisionOptions(prior, c_miss, c_fa)
        return self.closest(speakers, self.embed(wave, rate), threshold(costs, len(speakers)))

    def closest(self, speakers: dict[str, np.ndarray], vector: np.ndarray, limit: float) -> Identity:
        """The speaker {name: (N, E)} of the greatest ratio for an embedding (E,), when that reaches the limit."""
        scores = {name: float(self.score(vectors, vector)) for name, vectors in speakers.items()}
        ranked = dict(sorted(scores.items(), key=lambda item: -item[1]))
        name, score = next(iter(ranked.items()))
        return Identity(name if score >= limit else None, ranked, limit)


def read_calibration(bundle: Bundle) -> AffineMap | None:
    """Scale and offset of a bundle's calibration.json; None when it has none. InputError when they are missing."""
    path = bundle.files.get(CALIBRATION)
    if path is None:
        return None
    try:
        values = read_json(path, "scale and offset", "Calibrate again")
        doubts = tuple(map(str, values.get("doubts", ())))
        known = bundle.facts.get("files", {}).get(CALIBRATION)
        other = known is not None and known != file_sha256(path)
        return AffineMap(float(values["scale"]), float(values["offset"]), trained_on(values), doubts, other)
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(path, f"no usable calibration ({error})", "scale and offset", "Calibrate again") from None
