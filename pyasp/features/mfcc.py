"""Mel-frequency cepstra as Kaldi's compute-mfcc-feats makes them, for blocks of frames as matrix operations; the mel
energies below them are those of filter banks too (pyasp.features.fbank).

References: S. Davis and P. Mermelstein, IEEE Trans. ASSP 28(4), 1980; Young et al., The HTK Book, ch. 5; Kaldi's
feat/feature-mfcc.

    n, T        samples and frames of a recording           N, S    samples of a frame and of the frame shift
    P           N padded to a power of two (FFT length)     M, C    mel bins and cepstral coefficients
    s           (N,) one frame on the int16 scale, its mean removed;  energy = sum_i s_i^2
    z           (P,) w_i (s_i - a s_{i-1}), s_{-1} = s_0, w the window, a the pre-emphasis, zeros behind
    e           (M,) mel energies: triangles equally spaced in mel, times |FFT(z)|^2
    c           (C,) lifter * DCT-II(log e);  c_0 = log energy when --use-energy

What other toolkits do differently (lhotse 1.33, torchaudio, librosa): samples in [-1, 1] (log energies lower by 20.8),
C0 instead of the raw log energy (lhotse's use_energy=True fails on broadcasting), zero padding or replication instead
of mirroring at the ends of a file, and their own energy floors.
"""

import abc
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch

from pyasp.core.errors import InputError
from pyasp.core.options import option

BLOCK_BYTES = 1 << 20  # of one block of padded frames: fits the caches, and hides the overhead of calls
BANDS = 5  # groups of mel bins with a product of their own: a mel bin needs few of the FFT's
SMALL_MEAN = 0.5  # part of a frame's energy in its mean up to which the difference of sums is exact enough
FLOOR = np.float32(np.finfo(np.float32).eps)  # Kaldi's floor under energies before the logarithm

WINDOWS = {  # of the phase x = 2 pi i / (N - 1), with --blackman-coeff
    "povey": lambda x, b: (0.5 - 0.5 * np.cos(x)) ** 0.85,
    "hamming": lambda x, b: 0.54 - 0.46 * np.cos(x),
    "hanning": lambda x, b: 0.5 - 0.5 * np.cos(x),
    "rectangular": lambda x, b: np.ones_like(x),
    "sine": lambda x, b: np.sin(0.5 * x),
    "blackman": lambda x, b: b - 0.5 * np.cos(x) + (0.5 - b) * np.cos(2 * x),
}


@dataclass(frozen=True)
class MelOptions:
    """What compute-mfcc-feats and compute-fbank-feats share, with Kaldi's names and defaults; where ours differs, the
    help says so."""

    kind = "mfcc"  # of the features, as its conf file is called; no option

    sample_frequency: float = option(16000.0, "samples per second of the waveform")
    frame_length: float = option(25.0, "milliseconds of a frame")
    frame_shift: float = option(10.0, "milliseconds between frames")
    dither: float = option(1.0, "deviation of the noise added to samples, 0 = none; seeded by the samples")
    preemphasis_coefficient: float = option(0.97, "coefficient of the pre-emphasis")
    remove_dc_offset: bool = option(True, "subtract the mean of each frame")
    window_type: str = option("povey", "analysis window", choices=WINDOWS)
    blackman_coeff: float = option(0.42, "constant of the generalised Blackman window")
    round_to_power_of_two: bool = option(True, "pad frames with zeros to a power of two for the FFT")
    snip_edges: bool = option(True, "only frames that lie inside the file; false: ceil-like count, mirrored ends")
    num_mel_bins: int = option(23, "triangular mel bins")
    low_freq: float = option(20.0, "lower limit of the mel bins in Hz")
    high_freq: float = option(0.0, "upper limit of the mel bins in Hz; 0 or below: offset from half the sampling rate")
    vtln_low: float = option(100.0, "lower limit of the VTLN warping (no effect: warping is not supported)")
    vtln_high: float = option(-500.0, "upper limit of the VTLN warping (no effect)")
    vtln_warp: float = option(1.0, "VTLN warping factor: 1 only")
    vtln_map: str = option("", "table of warping factors: not supported")
    utt2spk: str = option("", "speakers of --vtln-map: not supported")
    energy_floor: float = option(0.0, "floor under the energy; 0 = none but the machine's")
    raw_energy: bool = option(True, "energy before pre-emphasis and window")
    subtract_mean: bool = option(False, "subtract the mean of each file (not recommended)")
    channel: int = option(-1, "channel of a recording with several; -1: as the cuts (or the only one)")
    min_duration: float = option(0.0, "shortest recording that is processed, in seconds")
    allow_downsample: bool = option(True, "accept recordings of a higher rate (Kaldi: false)")
    allow_upsample: bool = option(False, "accept recordings of a lower rate")
    max_feature_vectors: int = option(-1, "memory limit of Kaldi's online extraction (no effect)")
    debug_mel: bool = option(False, "Kaldi's debugging output (no effect)")
    output_format: str = option("kaldi", "format of the archive", choices=("kaldi",))
    write_utt2dur: str = option("", "Kaldi's file of durations (no effect: always written)")

    def __post_init__(self) -> None:
        nyquist = self.sample_frequency / 2
        top = self.high_freq if self.high_freq > 0 else nyquist + self.high_freq
        rules = {
            "--num-mel-bins": (self.num_mel_bins >= 3, "at least 3"),
            "--low-freq": (0 <= self.low_freq < top, "from 0 to below --high-freq"),
            "--high-freq": (0 < top <= nyquist, f"at most {nyquist:g} Hz, half of --sample-frequency"),
            "--vtln-warp": (self.vtln_warp == 1.0, "1: warping is not supported"),
            "--vtln-map": (not self.vtln_map and not self.utt2spk, "none: warping is not supported"),
            "--window-type": (self.window_type in WINDOWS, " or ".join(WINDOWS)),
            "--preemphasis-coefficient": (0 <= self.preemphasis_coefficient <= 1, "0 to 1"),
            "--dither": (self.dither >= 0, "0 or more"),
            "--frame-shift": (self.shift >= 1, "at least one sample"),
            "--frame-length": (
                self.length >= 2 and self.padded_length % 2 == 0,
                "at least 2 samples, an even FFT length",
            ),
        }
        for key, (good, wanted) in rules.items():
            self.check(key, good, wanted)

    def check(self, key: str, good: bool, wanted: str) -> None:
        """Raises InputError for the option `key` unless it is good."""
        if not good:
            value = getattr(self, key[2:].replace("-", "_"))
            raise InputError(f"{self.kind} options", f"{key}={value}", wanted, f"Correct {self.kind}.conf", item=key)

    def check_counted(self) -> None:
        """Raises InputError for frames by which a data directory's seconds cannot be told: everything counts 100 of
        them a second, as Kaldi's recipes do."""
        wanted = "10: seconds of voice are counted in frames of 10 ms, by every stage and report"
        self.check("--frame-shift", self.frame_shift == 10.0, wanted)

    @property
    def shift(self) -> int:
        """Samples between frames, truncated as Kaldi truncates."""
        return int(self.sample_frequency * 0.001 * self.frame_shift)

    @property
    def length(self) -> int:
        """Samples of a frame."""
        return int(self.sample_frequency * 0.001 * self.frame_length)

    @property
    def padded_length(self) -> int:
        """Length of the FFT."""
        return 1 << (self.length - 1).bit_length() if self.round_to_power_of_two else self.length

    @property
    def use_energy(self) -> bool:
        """Whether a coefficient is the log energy; an option of each kind, with a default of its own."""
        raise NotImplementedError


@dataclass(frozen=True)
class MfccOptions(MelOptions):
    """Options of compute-mfcc-feats with Kaldi's names and defaults."""

    num_ceps: int = option(13, "cepstral coefficients, the first included")
    cepstral_lifter: float = option(22.0, "liftering of the cepstra; 0 = none")
    use_energy: bool = option(True, "log energy instead of C0 as first coefficient")
    htk_compat: bool = option(False, "first coefficient last, C0 times sqrt(2)")

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check("--num-ceps", 1 <= self.num_ceps <= self.num_mel_bins, f"1 to --num-mel-bins={self.num_mel_bins}")


def num_frames(samples: int, options: MelOptions) -> int:
    """Frames of a recording of so many samples; Kaldi: NumFrames."""
    if options.snip_edges:
        return 0 if samples < options.length else 1 + (samples - options.length) // options.shift
    return (samples + options.shift // 2) // options.shift


def mel(frequency: np.ndarray | float) -> np.ndarray:
    """Mel scale of frequencies in Hz, float64."""
    return 1127.0 * np.log1p(np.asarray(frequency, dtype=np.float64) / 700.0)


def mel_banks(options: MelOptions) -> np.ndarray:
    """Triangles (P / 2, M) float64 over FFT bins 0 .. P/2 - 1. Raises InputError when a triangle holds no FFT bin."""
    half = options.padded_length // 2
    nyquist = options.sample_frequency / 2
    top = options.high_freq if options.high_freq > 0 else nyquist + options.high_freq
    edges = np.linspace(mel(options.low_freq), mel(top), options.num_mel_bins + 2)
    bins = mel(np.arange(half) * options.sample_frequency / options.padded_length)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    banks = np.maximum(np.minimum(rising, falling), 0.0)
    empty = np.flatnonzero(~np.any(banks > 0, axis=0))
    if len(empty):
        found, cure = f"no FFT bin in mel bin {empty[0]}", "Lower --num-mel-bins, or lengthen the frame"
        raise InputError(f"{options.kind} options", found, "at least one in every mel bin", cure, item="--num-mel-bins")
    return banks


def cepstral_transform(options: MfccOptions) -> np.ndarray:
    """Liftered orthonormal DCT-II (M, C) float64."""
    bins, ceps = np.arange(options.num_mel_bins), np.arange(options.num_ceps)
    dct = np.cos(np.pi / options.num_mel_bins * np.outer(bins + 0.5, ceps)) * np.sqrt(2.0 / options.num_mel_bins)
    dct[:, 0] = np.sqrt(1.0 / options.num_mel_bins)
    lifter = options.cepstral_lifter
    return dct * (1.0 + 0.5 * lifter * np.sin(np.pi * ceps / lifter)) if lifter else dct


def mirrored(samples: np.ndarray, start: int, end: int) -> np.ndarray:
    """samples[start:end] of the signal mirrored at both ends as often as needed (x_{-1} = x_0, x_n = x_{n-1})."""
    n = len(samples)
    if 0 <= start and end <= n:
        return samples[start:end]
    outside = [np.arange(start, min(end, 0)) % (2 * n), np.arange(max(start, n), end) % (2 * n)]
    before, after = (samples[np.where(index < n, index, 2 * n - 1 - index)] for index in outside)
    return np.concatenate([before, samples[max(start, 0) : max(end, 0)], after])


def seed_of(samples: np.ndarray) -> int:
    """Seed of the dither of a recording (n,) float32: the first 8 bytes of the SHA-256 of its samples.

    The same recording has the same features under any name and in any place."""
    return int.from_bytes(hashlib.sha256(samples.astype("<f4", copy=False).data).digest()[:8], "big")


def _band(banks: np.ndarray, columns: np.ndarray) -> tuple[slice, slice, np.ndarray]:
    """Rows of the squared spectrum that some mel bins need, these mel bins, their triangles float32.

    Real and imaginary parts are squared side by side, so each FFT bin has two rows.
    """
    used = np.flatnonzero(banks[:, columns].any(axis=1))
    rows, chosen = slice(int(used[0]), int(used[-1]) + 1), slice(int(columns[0]), int(columns[-1]) + 1)
    return slice(2 * rows.start, 2 * rows.stop), chosen, np.repeat(banks[rows, chosen], 2, axis=0).astype(np.float32)


class MelFeatures(abc.ABC):
    """Extractor with its window and mel matrices: for any number of recordings, in one thread at a time."""

    dim: int  # C, columns of the features

    def __init__(self, options: MelOptions):
        self.options = options
        phase = 2 * np.pi * np.arange(options.length) / (options.length - 1)
        window = WINDOWS[options.window_type](phase, options.blackman_coeff)
        self.window = torch.from_numpy(window.astype(np.float32))
        banks = mel_banks(options)
        self.bands = [
            _band(banks, columns) for columns in np.array_split(np.arange(options.num_mel_bins), BANDS) if len(columns)
        ]
        self.block = max(16, BLOCK_BYTES // (4 * options.padded_length))  # frames computed at a time
        # Scratch of every block; the zeros behind each frame stay.
        self._rows = np.zeros((self.block, options.padded_length), dtype=np.float32)
        self._centred = np.empty((self.block, options.length), dtype=np.float32)
        self._ones = np.full(options.length, options.remove_dc_offset, dtype=np.float32)
        self._mel = np.empty((self.block, options.num_mel_bins), dtype=np.float32)

    def compute(self, samples: np.ndarray, utt: str = "") -> np.ndarray:
        """samples (n,) on the int16 scale at --sample-frequency -> (T, C) float32.

        A file without a frame gives (0, 0), as Kaldi writes it. Raises InputError on NaN or infinite samples.
        """
        samples = np.ascontiguousarray(samples, dtype=np.float32)
        if not np.isfinite(samples).all():
            found, expected, cure = "samples that are not finite", "finite samples", "Replace the recording"
            raise InputError(self.options.kind, found, expected, cure, item=utt or None)
        frames = num_frames(len(samples), self.options)
        if frames == 0:
            return np.zeros((0, 0), dtype=np.float32)
        out = np.empty((frames, self.dim), dtype=np.float32)
        random = np.random.default_rng(seed_of(samples)) if self.options.dither else None
        for start, piece, framed in self._framed(samples, frames):
            self._block(piece, framed, out[start : start + len(framed)], random)
        return self._finish(out)

    def _framed(self, samples: np.ndarray, frames: int) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """(first frame, samples, overlapping view (B, N)) of each block; Kaldi: FirstSampleOfFrame, ExtractWindow."""
        shift, length = self.options.shift, self.options.length
        offset = 0 if self.options.snip_edges else shift // 2 - length // 2
        for start in range(0, frames, self.block):
            count = min(self.block, frames - start)
            begin = offset + start * shift
            piece = mirrored(samples, begin, begin + (count - 1) * shift + length)
            yield start, piece, self._overlapping(piece, count)

    def _overlapping(self, piece: np.ndarray, count: int) -> np.ndarray:
        return np.ndarray((count, self.options.length), np.float32, piece, strides=(4 * self.options.shift, 4))

    def _block(
        self, piece: np.ndarray, framed: np.ndarray, out: np.ndarray, random: np.random.Generator | None
    ) -> None:
        """Features `out` (B, C) of frames (B, N), a view into `piece`."""
        options, count = self.options, len(framed)
        if random is not None:
            noise = random.standard_normal(framed.shape, dtype=np.float32)
            framed = framed + np.float32(options.dither) * noise
        mean = (np.vecdot(framed, self._ones) / np.float32(options.length))[:, None]  # exact for constant frames
        energy = self._raw_energy(framed, mean) if options.use_energy and options.raw_energy else None
        speech = self._rows[:count, : options.length]
        self._emphasise(piece if random is None else framed, framed, mean, speech)
        if options.use_energy and energy is None:
            energy = np.vecdot(speech, speech)
        self._fill(self._mel_energies(count), out)
        if energy is not None:
            out[:, 0] = np.log(np.maximum(energy, max(FLOOR, np.float32(options.energy_floor))))

    @abc.abstractmethod
    def _fill(self, energies: np.ndarray, out: np.ndarray) -> None:
        """Features `out` (B, C) of mel energies (B, M), which may be overwritten; column 0 may be the energy's."""

    def _raw_energy(self, framed: np.ndarray, mean: np.ndarray) -> np.ndarray:
        """(B,) energies of frames (B, N) without their means (B, 1), which are subtracted first where they matter."""
        whole = np.vecdot(framed, framed)
        constant = self.options.length * np.square(mean[:, 0])
        if (constant < SMALL_MEAN * whole).all():
            return whole - constant
        centred = np.subtract(framed, mean, out=self._centred[: len(framed)])
        return np.vecdot(centred, centred)

    def _emphasise(self, source: np.ndarray, framed: np.ndarray, mean: np.ndarray, speech: np.ndarray) -> None:
        """speech (B, N) = w_i (s_i - a s_{i-1}), s = framed - mean.

        Consecutive samples differ the same way in every frame, so `source`, the samples behind the view, is gone
        through once; with dither every frame has its own.
        """
        coefficient = np.float32(self.options.preemphasis_coefficient)
        steps = np.empty_like(source)
        np.multiply(source[..., :-1], -coefficient, out=steps[..., 1:])
        steps[..., 1:] += source[..., 1:]
        steps[..., 0] = 0.0
        rows = self._overlapping(steps, len(framed)) if source.ndim == 1 else steps
        left, result = np.float32(1.0) - coefficient, torch.from_numpy(speech)  # left: of a constant
        # Rounded as the steps: 0 for a constant frame. Row by row torch takes a third of numpy's time.
        torch.sub(torch.from_numpy(rows), torch.from_numpy(mean - coefficient * mean), out=result)
        speech[:, 0] = left * (framed[:, 0] - mean[:, 0])
        result.mul_(self.window)

    def _mel_energies(self, count: int) -> np.ndarray:
        """Mel energies (count, M) of the first `count` rows. MKL's FFT takes half the time of pocketfft's."""
        energies = self._mel[:count]
        spectrum = torch.fft.rfft(torch.from_numpy(self._rows[:count])).numpy().view(np.float32)
        self._squared(spectrum)
        for rows, columns, banks in self.bands:
            np.matmul(spectrum[:, rows], banks, out=energies[:, columns])
        return energies

    def _squared(self, spectrum: np.ndarray) -> None:
        """Real and imaginary parts side by side (B, P + 2) to what the mel bins add up, in place: their squares."""
        np.square(spectrum, out=spectrum)

    def _finish(self, out: np.ndarray) -> np.ndarray:
        """--subtract-mean, and what the kind has beside it."""
        if self.options.subtract_mean:
            out -= out.mean(axis=0, dtype=np.float64).astype(np.float32)
        return out


def logarithm(energies: np.ndarray) -> np.ndarray:
    """Logarithms of mel energies, floored as Kaldi's, in their place."""
    np.maximum(energies, FLOOR, out=energies)
    return np.log(energies, out=energies)


class Mfcc(MelFeatures):
    """Cepstra."""

    options: MfccOptions

    def __init__(self, options: MfccOptions):
        super().__init__(options)
        self.transform, self.dim = cepstral_transform(options).astype(np.float32), options.num_ceps

    def _fill(self, energies: np.ndarray, out: np.ndarray) -> None:
        np.matmul(logarithm(energies), self.transform, out=out)

    def _finish(self, out: np.ndarray) -> np.ndarray:
        if self.options.htk_compat:
            first = out[:, :1] if self.options.use_energy else out[:, :1] * np.float32(np.sqrt(2.0))
            out = np.concatenate([out[:, 1:], first], axis=1)
        return super()._finish(out)
