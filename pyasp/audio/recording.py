"""One recording from a file, and what may be wrong with it: for scoring single files, without lhotse.

x    (n,)  samples on the int16 scale at the file's rate
X_f        mean power spectrum of the voiced stretch of x
edge       the frequency above which less than EDGE_POWER of the power lies: what lies above was never recorded
"""

import hashlib
import io
import os
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from decimal import ROUND_HALF_UP, Decimal
from pathlib import Path
from typing import Any

import numpy as np

from pyasp.audio import flac
from pyasp.audio.decoders import decode
from pyasp.audio.headers import (
    AGAIN,
    FLOATS,
    NO_LENGTH,
    Header,
    check_flac_end,
    check_scale,
    header_of,
    read_header,
    with_length,
)
from pyasp.audio.resample import INT16, check_audible
from pyasp.core.errors import InputError
from pyasp.core.files import absent

Form = tuple[str, int, int, bytes]  # of a file, as `_form` says
Place = tuple[str, int]  # a file and one of its channels, from 0
SIXTEEN_BIT = ("PCM_16", "ULAW", "ALAW")  # libsndfile's names of what decodes to whole numbers of 16 bit
MOST_VALUES = 1 << 24  # read at a time: a header may promise more than there is
ENDLESS = 1 << 40  # samples: libsndfile's answer where a header says none
MP3_BEFORE = 16 * 1152  # samples that a stretch of MP3 is decoded from before it begins: frames draw on earlier ones
OVERSHOOT = 0.5  # seconds that a stretch may end behind its recording: --max-overshoot of Kaldi's extract-segments
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


def count_in(seconds: float, rate: int) -> int:
    """Samples in so many seconds, halves rounded up, as lhotse counts them."""
    return int(Decimal(round(seconds * rate, ndigits=8)).quantize(0, rounding=ROUND_HALF_UP))


def seconds_within(start: float, seconds: float | None, rate: int, samples: int) -> float:
    """Seconds of a stretch (None: to the end) of a recording of so many samples, ended where the recording ends.

    Raises ValueError, with what is wrong, where it ends more than OVERSHOOT behind, or begins there, or ends before it
    begins.
    """
    first = count_in(start, rate)
    over = 0 if seconds is None else first + count_in(seconds, rate) - samples
    if start < 0 or first >= samples or over > OVERSHOOT * rate or (seconds is not None and seconds < 0):
        end = "on" if seconds is None else f"to {start + seconds:.3f} s"
        raise ValueError(f"{start:.3f} s {end} of a recording of {samples / rate:.3f} s")
    return seconds if seconds is not None and over <= 0 else (samples - first) / rate


def read_stream(
    source: Any, name: object, start: float = 0.0, seconds: float | None = None, before: int = 0, digest: Any = None
) -> tuple[np.ndarray, int]:
    """(channels, n) float32 in [-1, 1] and the rate in Hz of what libsndfile opens: a path, or an open file.

    start, seconds: the stretch (None: to the end); before: samples to decode ahead of it; digest: of hashlib, to be
    given what has 16 bits. Raises InputError when it is no audio, or ends before.
    """
    import soundfile  # a twentieth of a second that callers with samples of their own need not spend

    try:
        with soundfile.SoundFile(source) as stream:
            rate, first = int(stream.samplerate), count_in(start, stream.samplerate)
            if stream.frames > ENDLESS:
                raise InputError(name, "audio of unknown length", "a header that says how long it is", AGAIN)
            told = stream.frames - first if seconds is None else count_in(seconds, rate)
            ahead = min(first, before) if stream.seekable() else first  # some codecs are read from their start alone
            if first > ahead:
                stream.seek(first - ahead)
            # 16-bit samples are read as such and scaled here: libsndfile is many times slower
            short = stream.subtype in SIXTEEN_BIT
            samples = read_frames(stream, ahead + told, "int16" if short else "float32").T[:, ahead:]
            if digest and short:
                digest.update(samples.T.tobytes())
            floats = stream.subtype in FLOATS
    except soundfile.SoundFileError as error:  # not audio, or FLAC that is damaged
        cure = "Convert it to wav or flac, or leave it out"
        raise InputError(name, str(error), "audio that libsndfile reads", cure) from None
    if samples.shape[1] < told:
        place = f" from sample {first} on" if first else ""
        raise InputError(name, f"{samples.shape[1]} samples{place} (truncated)", f"{told} as its header says", AGAIN)
    if floats:
        check_scale(name, samples)
    return (samples * np.float32(1.0 / 32768.0) if short else samples), rate


def read_frames(stream: Any, count: int, dtype: str) -> np.ndarray:
    """(n, channels) of the next `count` frames of a soundfile.SoundFile, n fewer where it ends before.

    What a header promises is allocated only as far as it arrives.
    """
    step = max(1, MOST_VALUES // stream.channels)
    parts = [stream.read(min(count, step), dtype=dtype, always_2d=True)]
    while len(parts[-1]) == step and count > step:
        count -= step
        parts.append(stream.read(min(count, step), dtype=dtype, always_2d=True))
    return np.concatenate(parts) if len(parts) > 1 else parts[0]


def read_file(path: str | Path, start: float = 0.0, seconds: float | None = None) -> tuple[np.ndarray, int]:
    """As read_stream, of a file of any format, its header checked first (sph2pipe, ffmpeg: see
    pyasp.audio.decoders); a file that is read to its end holds what its header says, no more and no less."""
    header = read_header(path, to_the_end=False)
    before = MP3_BEFORE if header.encoding == "MP3" else 0
    digest = hashlib.md5(usedforsecurity=False) if header.encoding == "FLAC" else None
    try:
        samples, rate = read_stream(decode(path, header), path, start, seconds, before, digest)
    except InputError:
        if header.encoding == "FLAC":
            check_flac_end(path, header.samples)  # which says how many samples there are
        raise
    _check_count(path, header, samples, rate, start, seconds)
    if digest and not start and seconds is None:
        _check_flac(path, header.samples, digest.digest())
    return samples, rate


def same_samples(audio: Mapping[str, Header], places: Iterable[Place]) -> dict[Place, Place]:
    """{channel of a file: the first with the same samples} of some channels (file, number from 0).

    audio: {file: its header}. Only files are decoded of whose rate and length there is another form, as of a wav there
    is the flac made of it, or the two-channel file that it is a side of; and FLAC files whose MD5 sums are the same.
    """
    alike: dict[Hashable, list[str]] = defaultdict(list)
    for path, each in audio.items():
        alike[each.rate, each.samples].append(path)
    groups = [paths for paths in alike.values() if len(paths) > 1]
    with ThreadPoolExecutor() as pool:
        forms = [[*pool.map(lambda path: _form(path, audio[path]), paths)] for paths in groups]
        asked = {path for paths, group in zip(groups, forms) for path in _to_decode(paths, group)}
        used: dict[str, list[int]] = defaultdict(list)
        for path, channel in places:
            if path in asked and channel not in used[path]:
                used[path].append(channel)
        sums = [*pool.map(lambda path: _sums_of_samples(path, used[path]), used)]
    first: dict[bytes, Place] = {}
    found = ((digest, (path, channel)) for path, each in zip(used, sums) for channel, digest in each.items())
    return {place: first[digest] for digest, place in found if first.setdefault(digest, place) != place}


def _to_decode(paths: list[str], forms: list[Form]) -> Iterable[str]:
    """Files of one length that may hold the same samples: all where there are several forms, else those of one sum."""
    several, counts = len({form[:3] for form in forms}) > 1, Counter(forms)
    return (path for path, form in zip(paths, forms) if several or (form[3] and counts[form] > 1))


def _form(path: str, header: Header) -> Form:
    """Kind, channels, size of a wav file (of another size it has other samples or chunks), MD5 sum of a FLAC file."""
    digest = b""
    if header.encoding == "FLAC":
        with open(path, "rb") as stream:
            digest = flac.md5_sum(stream)
    size = os.path.getsize(path) if header.encoding == "WAV" else 0
    return header.encoding, header.channels, size, digest if any(digest) else b""


def _sums_of_samples(path: str, channels: list[int]) -> dict[int, bytes]:
    """{channel: digest of what is decoded}; none where it cannot be."""
    try:
        samples = read_file(path)[0]
    except (InputError, OSError):
        return {}
    return {channel: hashlib.sha256(samples[channel].tobytes()).digest() for channel in channels}


def read_delivered(
    content: bytes, name: object, start: float = 0.0, seconds: float | None = None
) -> tuple[np.ndarray, int]:
    """As read_file, of what a command delivered: a file that libsndfile reads."""
    stream = io.BytesIO(content)
    header = header_of(name, stream)
    stream.seek(0)
    samples, rate = read_stream(with_length(content) if header.encoding == NO_LENGTH else stream, name, start, seconds)
    _check_count(name, header, samples, rate, start, seconds)
    return samples, rate


def _check_count(
    name: object, header: Header, samples: np.ndarray, rate: int, start: float, seconds: float | None
) -> None:
    """Raises InputError where what was read to the end (channels, n) is not what the header says."""
    count = samples.shape[1] + count_in(start, rate)
    found = replace(header, rate=rate, samples=count, channels=samples.shape[0])
    if seconds is None and found != header:
        raise InputError(name, str(found), f"{header} as its header says", AGAIN)


def _check_flac(path: str | Path, samples: int, found: bytes) -> None:
    """Raises InputError where what was decoded is not all of a FLAC file, or has another MD5 sum than it should."""
    with open(path, "rb") as stream:
        told = flac.md5_sum(stream)
    if found != told or flac.is_joined(path, samples):
        check_flac_end(path, samples)
    if found != told and any(told):  # zeros: its encoder made none
        raise InputError(path, "samples of another MD5 sum (damaged)", "those that its header has the sum of", AGAIN)


def read_sound(path: str | Path, channel: int = -1) -> Sound:
    """The recording in a file, of any format.

    channel: from 0, needed where there are several, of no matter where there is one. Raises InputError for a file that
    is missing, no audio, cut short, empty, of several channels without a choice, or with samples that are not finite.
    """
    if not Path(path).is_file():
        raise InputError(path, absent(path), "an audio file", "Check the path")
    samples, rate = read_file(path)
    channels = len(samples)
    if channels > 1 and not 0 <= channel < channels:
        expected, cure = "one, or --channel to choose among them", f"Give --channel 0 to {channels - 1}"
        raise InputError(path, f"{channels} channels", expected, cure)
    mono = samples[channel if channels > 1 else 0] * INT16
    check_audible(mono, path)
    return Sound(str(path), mono, rate)


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


def complaints(
    sound: Sound,
    voiced_seconds: float,
    rate: int,
    top: float,
    shortest: float,
    silent_seconds: float = 0.0,
    trained: tuple[int, int] = (0, 0),
) -> list[str]:
    """What a listener should be told before believing a score, each in a phrase.

    rate, top: the model's sampling rate and the upper limit of its mel bins in Hz; shortest: voiced seconds below which
    it was hardly tried; silent_seconds: of digital silence, which the features leave out; trained: the lowest and the
    highest usual rate of the training recordings (0: the model's), since what these lacked is no mismatch.
    """
    low, high = (min(rate, each or rate) for each in trained)
    narrow = high < rate or max(trained) <= rate <= TELEPHONE_RATE
    of, telephone = f"a model of {rate} Hz", f"a telephone model of {rate} Hz"
    if low < rate:
        of = telephone = f"a model trained on recordings of {'' if low == high else f'{low} to '}{high} Hz"
    peak = float(np.abs(sound.samples).max(initial=0.0))
    edge, clipped = band_edge(sound.samples, sound.rate), clipped_share(sound.samples)
    level = 20 * np.log10(max(peak, 1e-9) / FULL_SCALE)
    found = {
        f"nearly silent: its peak is {level:.0f} dB of full scale": peak < QUIET_PEAK,
        f"short: {voiced_seconds:.2f} s of voice, under {shortest:.2f} s": voiced_seconds < shortest,
        f"digital silence in {silent_seconds:.2f} s of {sound.seconds:.2f} s, left out as no recording": silent_seconds
        > 0,
        f"clipped: {100 * clipped:.1f} % of its samples stand at the limit": clipped > CLIPPED_SHARE,
        f"recorded at {sound.rate} Hz for {of}: the upper band is missing": sound.rate < low,
        f"wide-band, with voice up to {edge / 1000:.1f} kHz, for {telephone}": narrow and edge > WIDER * high / 2,
        f"nothing above {edge / 1000:.1f} kHz for a model that looks up to {top / 1000:.1f} kHz": sound.rate >= low
        and edge < NARROWER * min(top, low / 2),
    }
    return [text for text, true in found.items() if true]
