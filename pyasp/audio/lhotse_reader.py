"""Audio files through lhotse's libsndfile reader, with what it and libsndfile let pass: truncation and false headers.

libsndfile reads pcm, mu-law and A-law SPHERE; lhotse's own choice for `.sph` is one sph2pipe shell command per read.
Here only shorten-compressed SPHERE goes through sph2pipe, and AAC through ffmpeg, each as a process without a shell.
"""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from lhotse.audio.backend import LibsndfileBackend, LibsndfileCompatibleAudioInfo
from lhotse.utils import compute_num_samples

from pyasp.audio.checks import check_header, read_frames
from pyasp.audio.decoders import decode, foreign_format
from pyasp.audio.sphere import AGAIN
from pyasp.core.errors import InputError

SIXTEEN_BIT = ("PCM_16", "ULAW", "ALAW")  # libsndfile's names of what decodes to whole numbers of 16 bit


def _name(path_or_fd: Any) -> str:
    return str(path_or_fd) if isinstance(path_or_fd, (str, Path)) else "audio of a command"


def _unreadable(path_or_fd: Any, error: Exception) -> InputError:
    return InputError(
        _name(path_or_fd), str(error), "audio that libsndfile reads", "Convert it to wav or flac, or remove it"
    )


def _load(source: Any, offset: float, duration: float | None) -> tuple[np.ndarray, int]:
    """As lhotse's soundfile_load. 16-bit samples are read as such and scaled here: libsndfile is many times slower."""
    with soundfile.SoundFile(source) as stream:
        rate = int(stream.samplerate)
        if offset > 0:
            stream.seek(compute_num_samples(offset, rate))
        frames = stream.frames - stream.tell() if duration is None else compute_num_samples(duration, rate)
        if stream.subtype in SIXTEEN_BIT:
            return read_frames(stream, frames, "int16").T * np.float32(1.0 / 32768.0), rate
        return read_frames(stream, frames, "float32").T, rate


class CheckedBackend(LibsndfileBackend):
    """lhotse's libsndfile reader that raises InputError where a file does not hold what its header says."""

    def read_audio(
        self,
        path_or_fd: Any,
        offset: float = 0.0,
        duration: float | None = None,
        force_opus_sampling_rate: int | None = None,
    ) -> tuple[np.ndarray, int]:
        """(channels, samples) float32 in [-1, 1] and the rate in Hz; fewer samples than asked for are an error."""
        samples, rate = self.read_some(path_or_fd, offset, duration)
        first = compute_num_samples(offset, rate)
        told = self.info(path_or_fd).frames - first if duration is None else compute_num_samples(duration, rate)
        if samples.shape[1] < told:
            raise InputError(_name(path_or_fd), f"{samples.shape[1]} samples from sample {first} on", f"{told}", AGAIN)
        return samples, rate

    def read_some(self, path_or_fd: Any, offset: float, duration: float | None) -> tuple[np.ndarray, int]:
        """As read_audio, for callers who know how many samples there must be: counting them is left to the caller."""
        try:
            return _load(self._source(path_or_fd), offset, duration)
        except soundfile.SoundFileError as error:  # not audio, or FLAC that is damaged
            raise _unreadable(path_or_fd, error) from None

    def info(self, path_or_fd: Any, force_opus_sampling_rate: int | None = None) -> LibsndfileCompatibleAudioInfo:
        """Channels, frames, samplerate, duration; with the same checks."""
        source = self._source(path_or_fd)
        try:
            found = soundfile.info(source)
        except soundfile.SoundFileError as error:
            raise _unreadable(path_or_fd, error) from None
        if found.frames == 0:
            raise InputError(_name(path_or_fd), "no samples", "audio", AGAIN)
        return LibsndfileCompatibleAudioInfo(found.channels, found.frames, found.samplerate, found.duration)

    def _source(self, path_or_fd: Any) -> Any:
        """What libsndfile can open: the checked path, or a decoded copy in memory."""
        if not isinstance(path_or_fd, (str, Path)):
            path_or_fd.seek(0)
            return path_or_fd
        if foreign_format(path_or_fd):
            return io.BytesIO(decode(path_or_fd))
        check_header(path_or_fd)
        return str(path_or_fd)
