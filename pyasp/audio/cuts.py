"""Samples of a lhotse cut on the int16 scale, at the configured rate; faults are found, not padded over.

lhotse reads the audio, through the checked reader of `recording`. Its samples in [-1, 1] times 32768 are
int16 values exactly. Where a recording's length differs a little from its manifest lhotse pads by reflection or cuts;
here that is an error. Resampling is `scipy.signal.resample_poly` in double precision, rounded and clipped to 16 bit.
"""

import copy
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from lhotse.audio.backend import LibsndfileBackend, LibsndfileCompatibleAudioInfo, set_current_audio_backend
from lhotse.audio.utils import set_audio_duration_mismatch_tolerance
from lhotse.cut import Cut
from lhotse.serialization import deserialize_item

from pyasp.audio import transforms  # noqa: F401  lhotse finds the transforms of augmented cuts by their names
from pyasp.audio.cut_files import is_plain, sources_of
from pyasp.audio.headers import read_header
from pyasp.audio.recording import read_delivered, read_file
from pyasp.audio.resample import INT16, check_audible, check_rate, resample
from pyasp.core.errors import InputError, rerun

ONE_SAMPLE = 1e-5  # seconds, which lhotse rounds up: its own rounding may put a mixed cut off by one sample


class CheckedBackend(LibsndfileBackend):
    """lhotse's libsndfile reader that raises InputError where a file does not hold what its header says.

    lhotse's own choice for `.sph` is one sph2pipe shell command per read.
    """

    def read_audio(
        self,
        path_or_fd: Any,
        offset: float = 0.0,
        duration: float | None = None,
        force_opus_sampling_rate: int | None = None,
    ) -> tuple[np.ndarray, int]:
        """(channels, samples) float32 in [-1, 1] and the rate in Hz; fewer samples than asked for are an error."""
        if isinstance(path_or_fd, (str, Path)):
            return read_file(path_or_fd, offset, duration)
        path_or_fd.seek(0)
        return read_delivered(path_or_fd.read(), "audio of a command", offset, duration)

    def info(self, path_or_fd: Any, force_opus_sampling_rate: int | None = None) -> LibsndfileCompatibleAudioInfo:
        """Channels, frames, samplerate, duration, of a file's header alone or of a whole stream."""
        if isinstance(path_or_fd, (str, Path)):
            found = read_header(path_or_fd)
            rate, (channels, frames) = found.rate, (found.channels, found.samples)
        else:
            samples, rate = self.read_audio(path_or_fd)
            channels, frames = samples.shape
        return LibsndfileCompatibleAudioInfo(channels, frames, rate, frames / rate)


def use_libsndfile() -> None:
    """Sets lhotse's reader and its tolerance for this process."""
    set_current_audio_backend(CheckedBackend())
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The audio duration mismatch tolerance")  # on purpose
        set_audio_duration_mismatch_tolerance(ONE_SAMPLE)


def read_samples(
    item: dict[str, Any],
    rate: int,
    channel: int = -1,
    allow_downsample: bool = True,
    allow_upsample: bool = False,
    allow_commands: bool = False,
) -> np.ndarray:
    """(n,) float32 on the int16 scale at `rate` Hz, of a cut's JSON object; augmented cuts are not rounded to integers.

    channel: of a cut with several; -1: the cut's own. Raises InputError for audio that cannot be read, is empty, not
    finite, of another length than its header or its cut says, of a rate that may not be converted, or that a command
    would deliver.
    """
    utt, name = item["id"], _check_sources(item, allow_commands)
    plain = is_plain(item)
    try:
        cut = deserialize_item(copy.deepcopy(item))  # lhotse empties the dictionaries it is given
        samples = _read_plain(cut) if plain else _load(cut, name)
    except InputError:
        raise
    except Exception as error:  # lhotse raises many kinds; all mean that this recording cannot be used
        raise _readable(error, name, utt) from None
    mono = _one_channel(cut, samples, channel, name)
    mono = np.multiply(mono, INT16, out=mono if plain else None)  # other arrays may be lhotse's
    check_audible(mono, name, utt)
    check_rate(int(cut.sampling_rate), rate, allow_downsample, allow_upsample, utt)
    return resample(mono, int(cut.sampling_rate), rate, rounded=plain)


def _load(cut: Cut, name: str) -> np.ndarray:
    """What lhotse makes of any other cut: (channels, n) float32. Raises InputError for a cut without audio."""
    samples = cut.load_audio()
    if samples is None:
        raise InputError(name, "a cut without a recording", "audio", rerun("prepare"), item=cut.id)
    return np.atleast_2d(samples)


def _read_plain(cut: Cut) -> np.ndarray:
    """(channels of the cut, n) float32 in [-1, 1]; exactly as many samples as the cut says, or InputError."""
    recording, source = cut.recording, cut.recording.sources[0]
    whole = cut.start == 0 and cut.num_samples == recording.num_samples
    samples, rate = read_file(source.source, cut.start, None if whole else cut.duration)
    if rate != recording.sampling_rate or samples.shape[1] != cut.num_samples:
        found = f"{samples.shape[1]} samples at {rate} Hz"
        expected = f"{cut.num_samples} at {recording.sampling_rate} Hz as its cut says"
        cure = rerun("prepare", "The file has changed; or it is damaged: copy it again", force=True, then=True)
        raise InputError(source.source, found, expected, cure)
    wanted = [cut.channel] if isinstance(cut.channel, int) else list(cut.channel)
    rows = [source.channels.index(channel) for channel in wanted if channel in source.channels]
    if len(rows) < len(wanted) or max(rows) >= samples.shape[0]:
        told = f"{samples.shape[0]} channels"
        raise InputError(source.source, told, f"channel {wanted} as its cut says", rerun("prepare", force=True))
    return samples if rows == list(range(len(samples))) else samples[rows]  # a list of rows would copy


def _one_channel(cut: Cut, samples: np.ndarray, channel: int, name: str) -> np.ndarray:
    """The cut's only channel, or the one that compute-mfcc-feats --channel names; samples (channels of the cut, n)."""
    named = getattr(cut, "channel", None)  # a number, a list, or nothing in mixed cuts, which come as one channel
    channels = list(named) if isinstance(named, (list, tuple)) else [named]
    if len(channels) == len(samples) == 1 and (channel < 0 or channels[0] in (None, channel)):
        return samples[0]
    if channel not in channels or len(channels) != len(samples):
        cure = "Give each side its own utterance, or set --channel"
        raise InputError(name, f"channels {channels}", "one, or --channel to choose among them", cure, item=cut.id)
    return samples[channels.index(channel)]


def duration_text(samples: int, rate: float) -> str:
    """Seconds of so many samples as utt2dur has them: Kaldi divides in single precision and prints 7 digits."""
    return f"{np.float32(samples) / np.float32(rate):.7g}"


def _check_sources(item: Any, allow_commands: bool) -> str:
    """The first source's name. Raises InputError for commands (unless allowed) and addresses, at any depth of a cut."""
    name = ""
    for source in sources_of(item):
        if source["type"] == "url" or (source["type"] == "command" and not allow_commands):
            cures = {"command": "Use --allow-commands true if you trust it", "url": "Download the file first"}
            found = f"a {source['type']} as audio source ({source.get('source')})"
            raise InputError("cuts.jsonl.gz", found, "a file", cures[source["type"]], item=item["id"])
        name = name or (str(source.get("source")) if source["type"] != "memory" else "audio in memory")
    return name


def _readable(error: Exception, name: str, utt: str) -> InputError:
    """An exception of lhotse as InputError: our own reader's, which lhotse turns into others, or its first line."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, InputError):
            return cause
        cause = cause.__context__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    found, expected = f"{type(error).__name__}: {lines[0][:200] if lines else ''}", "audio that lhotse can load"
    cure = rerun("prepare", "Repair the recording, or leave it out", force=True, then=True)
    return InputError(name, found, expected, cure, item=utt)
