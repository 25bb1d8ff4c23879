"""A source-filter synthesiser of speech-like audio: seeded, numpy and scipy only.

References: KLGLOTT88 glottal flow (D. H. Klatt and L. C. Klatt, JASA 87, 1990), here with a skewness exponent; cascade
of digital resonators, nasal pole and zero, and parallel frication branches (Klatt 1980); formants from toy_phones.py.
It is meant to train and test a speaker-verification recipe, not to be understood.

Symbols: N frames of HOP seconds, fs sample rate in Hz, p in [0, 1) phase within a glottal cycle, OQ open quotient.
    u'(p) = a x^(a-1) - (a+1) x^a, x = p / OQ    (derivative of the flow; 0 while the glottis is closed)
    resonator 1 / (1 - b z^-1 - c z^-2), c = -exp(-2 pi B / fs), b = 2 exp(-pi B / fs) cos(2 pi F / fs)
    speech = sum over frames of (window x source) filtered by the frame's tract (FFT overlap-add)
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import convolve1d
from scipy.signal import resample_poly

from local.toy_phones import (
    CODAS,
    CONSONANTS,
    FEMALE_CONSONANT_SCALE,
    FRICATION_CENTRES,
    FRICATION_WIDTHS,
    NASAL_BANDWIDTH,
    NASAL_POLE,
    NASAL_ZERO,
    ONSETS,
    PHONES,
    VOWEL_BANDWIDTHS,
    VOWELS,
    VOWELS_MEN,
    VOWELS_WOMEN,
    Part,
)

HOP = 0.008  # seconds between frames: formants move at this rate
# Population means by sex: pitch in Hz, and standard deviations (log domain unless said) over speakers of one sex.
PITCH = {"m": 118.0, "f": 200.0}
SPREAD = {"pitch": 0.15, "tract": 0.045, "phone": (0.05, 0.04, 0.03), "upper": 0.03, "rate": 0.10}


def stream(seed: int, *names: str) -> np.random.Generator:
    """A generator of its own for each name, so that results do not depend on the order of the work."""
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


@dataclass(frozen=True)
class Speaker:
    """Traits of one speaker. pitch Hz; pitch_range semitones; tilt Hz (corner of the source's low-pass); breath
    relative to voicing; formants {phone: (3,) Hz}; upper (5,) Hz = F4..F8; width scales bandwidths;
    rate and glide are factors."""

    sex: str
    pitch: float
    pitch_range: float
    jitter: float
    shimmer: float
    open_quotient: float
    skew: float
    tilt: float
    breath: float
    tract: float
    formants: dict[str, np.ndarray]
    upper: np.ndarray
    width: float
    frication: float
    rate: float
    glide: int


def draw_speaker(rng: np.random.Generator, sex: str) -> Speaker:
    """A speaker from distributions that overlap between speakers of one sex. sex: "m" or "f"."""
    tract = float(np.exp(rng.normal(0, SPREAD["tract"])))
    offsets = np.exp(rng.normal(0, 1, (len(PHONES), 3)) * SPREAD["phone"])
    upper_scale = tract * (1.15 if sex == "f" else 1.0) * np.exp(rng.normal(0, SPREAD["upper"], 5))
    return Speaker(
        sex=sex,
        pitch=PITCH[sex] * float(np.exp(rng.normal(0, SPREAD["pitch"]))),
        pitch_range=float(rng.uniform(1.5, 4.0)),
        jitter=float(rng.uniform(0.004, 0.02)),
        shimmer=float(rng.uniform(0.02, 0.12)),
        open_quotient=float(np.clip(rng.normal(0.6 if sex == "m" else 0.68, 0.08), 0.4, 0.85)),
        skew=float(rng.uniform(1.7, 3.2)),
        tilt=float(np.exp(rng.normal(np.log(1800 if sex == "m" else 1300), 0.35))),
        breath=float(np.exp(rng.normal(np.log(0.04 if sex == "m" else 0.06), 0.5))),
        tract=tract,
        formants={phone: _reference(phone, sex) * tract * offset for phone, offset in zip(PHONES, offsets)},
        upper=np.array([3500.0, 4500.0, 5500.0, 6500.0, 7500.0]) * upper_scale,
        width=float(np.exp(rng.normal(0, 0.15))),
        frication=float(np.exp(rng.normal(0, 0.3))),
        rate=float(np.exp(rng.normal(0, SPREAD["rate"]))),
        glide=int(rng.integers(6, 12)),
    )


def _reference(phone: str, sex: str) -> np.ndarray:
    """(3,) F1..F3 in Hz of the tables."""
    if phone in VOWELS_MEN:
        return np.array((VOWELS_WOMEN if sex == "f" else VOWELS_MEN)[phone], float)
    return np.array(CONSONANTS[phone].formants) * (FEMALE_CONSONANT_SCALE if sex == "f" else 1.0)


@dataclass(frozen=True)
class Manner:
    """How a speaker talks in one session: factors on pitch, rate, spectral tilt; shift of the open quotient."""

    pitch: float = 1.0
    rate: float = 1.0
    tilt: float = 1.0
    open_quotient: float = 0.0
    formants: float = 1.0


def draw_manner(rng: np.random.Generator) -> Manner:
    """Session-to-session variation of the voice itself."""
    return Manner(
        pitch=float(np.exp(rng.normal(0, 0.05))),
        rate=float(np.exp(rng.normal(0, 0.06))),
        tilt=float(np.exp(rng.normal(0, 0.2))),
        open_quotient=float(rng.normal(0, 0.03)),
        formants=float(np.exp(rng.normal(0, 0.008))),
    )


@dataclass
class Tracks:
    """Control tracks, one row a frame: formants (N, 3) Hz, bandwidths (N, 3) Hz, voice, aspiration, nasal and pitch
    (N,), frication (N, 6) amplitudes of the branches A2..A6, AB."""

    formants: np.ndarray
    bandwidths: np.ndarray
    voice: np.ndarray
    aspiration: np.ndarray
    nasal: np.ndarray
    pitch: np.ndarray
    frication: np.ndarray


class _Plan:
    """Collects parts of phones as target rows, then turns them into tracks."""

    def __init__(self, speaker: Speaker, manner: Manner, rng: np.random.Generator):
        self.speaker, self.manner, self.rng = speaker, manner, rng
        self.rows: list[tuple[float, ...]] = []
        self.lengths: list[int] = []

    @property
    def frames(self) -> int:
        return sum(self.lengths)

    def add(
        self, phone: str, bandwidths: tuple, part: Part, branches: tuple, nasal: bool, gain: float, tone: float
    ) -> None:
        """One part of a phone; gain scales its amplitudes, tone is pitch in semitones."""
        seconds = part.seconds * float(self.rng.uniform(0.8, 1.25)) / (self.speaker.rate * self.manner.rate)
        amplitudes = [
            10 ** ((db - 60) / 20) * self.speaker.frication if db and part.frication else 0.0 for db in branches
        ]
        self.rows.append(
            (
                *np.log(self.speaker.formants[phone] * self.manner.formants),
                *bandwidths,
                part.voice * gain,
                part.aspiration * gain,
                float(nasal),
                tone,
                *(gain * a for a in amplitudes),
            )
        )
        self.lengths.append(max(1, round(seconds / HOP)))

    def consonant(self, name: str, gain: float, tone: float) -> None:
        phone = CONSONANTS[name]
        for part in phone.parts:
            self.add(name, phone.bandwidths, part, phone.branches, phone.nasal, gain, tone)

    def syllable(self, stressed: bool, tone: float, gain: float) -> None:
        """(consonant) vowel (consonant); a stressed vowel is longer, louder and higher."""
        tone += self.speaker.pitch_range * (float(self.rng.uniform(0.5, 1.3)) if stressed else 0.0)
        gain *= (1.25 if stressed else 0.9) * float(np.exp(self.rng.normal(0, 0.12)))
        if self.rng.random() < 0.9:
            self.consonant(ONSETS[self.rng.integers(len(ONSETS))], gain, tone)
        vowel = VOWELS[self.rng.integers(len(VOWELS))]
        self.add(vowel, VOWEL_BANDWIDTHS, Part(0.15 if stressed else 0.1, voice=1.0), (0,) * 6, False, gain, tone)
        if self.rng.random() < 0.35:
            self.consonant(CODAS[self.rng.integers(len(CODAS))], 0.8 * gain, tone)

    def pause(self, seconds: float) -> None:
        self.add("ah", VOWEL_BANDWIDTHS, Part(seconds), (0,) * 6, False, 0.0, 0.0)

    def phrase(self) -> None:
        """Four to nine syllables with falling pitch and level, then a pause."""
        count = int(self.rng.integers(4, 10))
        for index in range(count):
            fall = index / count
            self.syllable(self.rng.random() < 0.4, self.speaker.pitch_range * (0.6 - 1.2 * fall), 1.1 - 0.35 * fall)
        self.pause(float(self.rng.uniform(0.15, 0.45)))

    def tracks(self, frames: int) -> Tracks:
        """The first `frames` frames; targets glide into each other (coarticulation;
        short vowels do not reach theirs)."""
        targets = np.repeat(np.array(self.rows), self.lengths, axis=0)[:frames]
        smooth = _smooth(targets[:, :6], self.speaker.glide)
        wander = _smooth(self.rng.normal(0, 1.5, (len(targets), 1)), 25)[:, 0]
        semitones = _smooth(targets[:, 9:10], 15)[:, 0] + wander
        return Tracks(
            np.exp(smooth[:, :3]),
            smooth[:, 3:] * self.speaker.width,
            _smooth(targets[:, 6:7], 4)[:, 0],
            _smooth(targets[:, 7:8], 3)[:, 0],
            _smooth(targets[:, 8:9], 4)[:, 0],
            self.speaker.pitch * self.manner.pitch * 2 ** (semitones / 12),
            _smooth(targets[:, 10:], 2),
        )


def _smooth(track: np.ndarray, width: int) -> np.ndarray:
    """Columns of track (N, k) convolved with a Hann window of `width` frames."""
    kernel = np.hanning(width + 2)[1:-1]
    return convolve1d(track, kernel / kernel.sum(), axis=0, mode="nearest")


def plan(speaker: Speaker, manner: Manner, seconds: float, rng: np.random.Generator) -> Tracks:
    """Random phrases of about `seconds`: control tracks of N = seconds / HOP frames. Raises nothing."""
    frames = max(1, round(seconds / HOP))
    collected = _Plan(speaker, manner, rng)
    collected.pause(float(rng.uniform(0.05, 0.25)))
    while collected.frames < frames:
        collected.phrase()
    return collected.tracks(frames)


def _per_sample(track: np.ndarray, samples: int, hop: int) -> np.ndarray:
    """Linear interpolation of a track (N,) at frame centres to `samples` values, float32."""
    return np.interp(np.arange(samples), (np.arange(len(track)) + 0.5) * hop, track).astype(np.float32)


def glottal(tracks: Tracks, speaker: Speaker, manner: Manner, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Voice source: flow derivative plus aspiration noise, float32, N * HOP * rate samples.

    Made at twice the rate and decimated, since the pulse's closure is a step that would alias.
    """
    hop = round(HOP * rate) * 2
    samples = len(tracks.voice) * hop
    pitch = _per_sample(tracks.pitch, samples, hop).astype(np.float64) / (2 * rate)
    cycle = np.cumsum(pitch).astype(np.int64)
    phase = np.cumsum(pitch * (1 + speaker.jitter * rng.standard_normal(cycle[-1] + 1))[cycle])
    cycle = phase.astype(np.int64)
    shimmer = (1 + speaker.shimmer * rng.standard_normal(cycle[-1] + 1)).astype(np.float32)
    quotient = float(np.clip(speaker.open_quotient + manner.open_quotient, 0.35, 0.9))
    x = np.minimum((phase - cycle).astype(np.float32) / np.float32(quotient), np.float32(1))
    power = x ** np.float32(speaker.skew - 1)
    flow = np.where(x < 1, speaker.skew * power - (speaker.skew + 1) * power * x, 0).astype(np.float32)
    voice = _per_sample(tracks.voice, samples, hop)
    noise = rng.standard_normal(samples, np.float32) * np.where(x < 1, np.float32(1), np.float32(0.3))
    source = flow * shimmer[cycle] * voice + noise * (
        speaker.breath * voice + 0.12 * _per_sample(tracks.aspiration, samples, hop)
    )
    return resample_poly(source, 1, 2).astype(np.float32)


def _polynomial(frequencies: np.ndarray, bandwidths: np.ndarray, rate: int) -> np.ndarray:
    """(N, 2K + 1) coefficients in z^-1 of the product of K resonator denominators, each divided by its sum (gain 1 at 0
    Hz)."""
    product = np.ones((len(frequencies), 1))
    for f, w in zip(frequencies.T, bandwidths.T):
        radius = np.exp(-np.pi * w / rate)
        quadratic = np.stack([np.ones_like(f), -2 * radius * np.cos(2 * np.pi * f / rate), radius**2], 1)
        quadratic /= quadratic.sum(1, keepdims=True)
        longer = np.zeros((len(f), product.shape[1] + 2))
        for k in range(3):
            longer[:, k : k + product.shape[1]] += product * quadratic[:, k : k + 1]
        product = longer
    return product


def tract(tracks: Tracks, speaker: Speaker, manner: Manner, rate: int, size: int) -> np.ndarray:
    """(N, size // 2 + 1) complex64 frequency response of the vocal tract and of the source's spectral tilt."""
    frames = len(tracks.voice)
    upper = speaker.upper[speaker.upper < 0.47 * rate]
    frequencies = np.hstack([tracks.formants, np.tile(upper, (frames, 1)), np.full((frames, 1), NASAL_POLE)])
    widths = np.hstack(
        [tracks.bandwidths, np.tile(0.045 * upper * speaker.width, (frames, 1)), np.full((frames, 1), NASAL_BANDWIDTH)]
    )
    zero = NASAL_POLE + (NASAL_ZERO - NASAL_POLE) * tracks.nasal[:, None]
    poles = np.fft.rfft(_polynomial(np.minimum(frequencies, 0.47 * rate), widths, rate), size)
    zeros = np.fft.rfft(_polynomial(zero, np.full((frames, 1), NASAL_BANDWIDTH), rate), size)
    grid = np.fft.rfftfreq(size, 1 / rate)
    return (zeros / poles / (1 + 1j * grid / (speaker.tilt * manner.tilt))).astype(np.complex64)


def frication(amplitudes: np.ndarray, speaker: Speaker, rate: int, size: int) -> np.ndarray:
    """(N, size // 2 + 1) response of the parallel branches; amplitudes: (N, 6) of A2..A6 and AB."""
    grid = np.fft.rfftfreq(size, 1 / rate)
    branches = [
        sign / (1 + 2j * (grid - centre * speaker.tract) / width)
        for sign, centre, width in zip((1, -1, 1, -1, 1), FRICATION_CENTRES, FRICATION_WIDTHS)
    ]
    bypass = np.full(len(grid), 0.15)
    return sum(
        a[:, None] * b[None, :]
        for a, b in zip(amplitudes.T.astype(np.float32), np.array([*branches, bypass], np.complex64))
    )


def speak(speaker: Speaker, manner: Manner, seconds: float, rate: int, rng: np.random.Generator) -> np.ndarray:
    """Clean speech-like audio, float32 (samples,), vowels of about unit RMS. rate: Hz, a multiple of 125."""
    tracks = plan(speaker, manner, seconds, rng)
    hop = round(HOP * rate)
    size = 6 * hop  # 48 ms: the slowest resonance has fallen by 50 dB
    spectrum = _frames(glottal(tracks, speaker, manner, rate, rng), hop, size)
    spectrum *= tract(tracks, speaker, manner, rate, size)
    rough = np.flatnonzero(tracks.frication.sum(1) > 0)
    noise = rng.standard_normal((len(rough), 2 * hop), np.float32) * np.float32(1.2)
    window = np.hanning(2 * hop + 1)[:-1].astype(np.float32)
    spectrum[rough] += np.fft.rfft(noise * window, size) * frication(tracks.frication[rough], speaker, rate, size)
    return _overlap_add(spectrum, hop, size)[: round(seconds * rate)]


def _frames(signal: np.ndarray, hop: int, size: int) -> np.ndarray:
    """(N, size // 2 + 1) spectra of half-overlapping Hann windows of 2 hop samples, centred in frame n at (n + 0.5)
    hop."""
    padded = np.pad(signal, (hop // 2, 2 * hop - hop // 2))
    count = len(signal) // hop
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * hop)[::hop][:count]
    return np.fft.rfft(windows * np.hanning(2 * hop + 1)[:-1].astype(np.float32), size).astype(np.complex64)


def _overlap_add(spectrum: np.ndarray, hop: int, size: int) -> np.ndarray:
    """Sum of the frames' filtered windows, float32 ((N + size / hop) hop,)."""
    blocks = np.fft.irfft(spectrum, size).astype(np.float32).reshape(len(spectrum), size // hop, hop)
    total = np.zeros((len(spectrum) + size // hop, hop), np.float32)
    for k in range(size // hop):
        total[k : k + len(spectrum)] += blocks[:, k]
    return total.reshape(-1)[hop // 2 :]
