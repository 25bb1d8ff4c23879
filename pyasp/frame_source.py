"""Where training frames come from: one block in memory, or the feature arks themselves.

    U        recordings               N, D   voiced frames of all of them; coefficients
    lengths  (U,) int64               voiced frames of each recording
    labels   (U,) int64               speaker of each recording, 0..S-1

Both read the stored features in place (memory maps) through the front end, and nothing is written to disk. Reading
every recording once and keeping the frames is fastest: 4 N D bytes (VoxCeleb1 without copies, 40 coefficients: 20 GB; a
toy corpus: megabytes). Where that is more than `--memory-gb`, each chunk is read from the arks when it is drawn, with
the rows around it that the mean normalisation needs: no memory but the voicing decisions, about a millisecond a chunk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Callable

import numpy as np
import torch
from torch import Tensor

from pyasp.datadir import DataDir
from pyasp.errors import InputError
from pyasp.frontend import FrontendOptions, frontend_chunk, iterate, output_dim
from pyasp.kaldi_io import ScpReader
from pyasp.progress import bar


@dataclass(frozen=True)
class FrameSource:
    """Voiced, normalised frames of a list of recordings."""
    utts: list[str]
    labels: np.ndarray      # (U,) int64
    lengths: np.ndarray     # (U,) int64, at least 1
    dim: int                # D
    read: Callable[[np.ndarray, np.ndarray, int], Tensor]

    def gather(self, which: np.ndarray, offsets: np.ndarray, length: int) -> Tensor:
        """Chunks (B, length, D) float32 of recordings `which` (B,) from frame `offsets` (B,) on.

        A recording that ends too early goes on from its beginning.
        """
        return self.read(which, offsets, length)


def open_source(data: DataDir, utts: list[str], speakers: list[str], options: FrontendOptions, memory_gb: float,
                title: str) -> FrameSource:
    """The recordings `utts` of `data`; labels are positions in `speakers`.

    Raises InputError when a recording has no usable frames, or its speaker is not in `speakers`.
    """
    number = {speaker: index for index, speaker in enumerate(speakers)}
    unknown = next((utt for utt in utts if data.utt2spk[utt] not in number), None)
    if unknown is not None:
        raise InputError(data / "valid_utts", f"speaker {data.utt2spk[unknown]}, who has no training recording",
                         "validation recordings of training speakers", "Re-run stage 4", item=unknown)
    labels = np.array([number[data.utt2spk[utt]] for utt in utts], dtype=np.int64)
    decisions = read_decisions(data, utts, title)
    lengths = np.array([voiced.sum() for voiced in decisions], dtype=np.int64)
    dim = output_dim(ScpReader(data / "feats.scp").shape(utts[0])[1], options)
    if 4e-9 * lengths.sum() * dim <= memory_gb:
        return FrameSource(utts, labels, lengths, dim, memory_reader(data, utts, lengths, dim, options, title))
    return FrameSource(utts, labels, lengths, dim, archive_reader(data, utts, decisions, options))


def read_decisions(data: DataDir, utts: list[str], title: str) -> list[np.ndarray]:
    """Voicing decisions (T,) bool of each recording. Raises InputError where one is missing or has no voiced frame."""
    vad, decisions = ScpReader(data / "vad.scp"), []
    for utt in bar(utts, title=f"{title}: voiced frames", unit="utt"):
        if utt not in vad:
            raise InputError(data / "vad.scp", "no entry", "decisions for every recording", "Re-run stage 2", item=utt)
        decisions.append(vad[utt] > 0)
        if not decisions[-1].any():
            raise InputError(data / "vad.scp", "no voiced frame", "at least one", "Re-run stage 4, which leaves it out",
                             item=utt)
    return decisions


def memory_reader(data: DataDir, utts: list[str], lengths: np.ndarray, dim: int, options: FrontendOptions,
                  title: str) -> Callable[[np.ndarray, np.ndarray, int], Tensor]:
    """All frames (N, D) in one block; a batch is one gather of its rows."""
    frames, starts = torch.empty(int(lengths.sum()), dim), lengths.cumsum() - lengths
    reading = bar(iterate(data, options, utts), total=len(utts), title=f"{title}: features", unit="utt")
    for (utt, features), start, length in zip(reading, starts, lengths):
        if features.shape != (length, dim):
            raise InputError(data / "feats.scp", f"{features.shape[1]} coefficients",
                             f"{dim}, as in the first recording", "Re-run stage 2 with --force", item=utt)
        frames[start:start + length] = torch.from_numpy(features)

    def read(which: np.ndarray, offsets: np.ndarray, length: int) -> Tensor:
        steps = (offsets[:, None] + np.arange(length)) % lengths[which][:, None]
        rows = torch.from_numpy((starts[which][:, None] + steps).ravel())
        return frames.index_select(0, rows).view(len(which), length, dim)

    return read


def archive_reader(data: DataDir, utts: list[str], decisions: list[np.ndarray],
                   options: FrontendOptions) -> Callable[[np.ndarray, np.ndarray, int], Tensor]:
    """Each chunk from its rows of the ark."""
    feats = ScpReader(data / "feats.scp")

    def chunk(index: int, offset: int, length: int) -> np.ndarray:
        utt = utts[index]

        def rows(start: int, end: int) -> np.ndarray:
            return feats.rows(utt, start, end)

        available = int(decisions[index].sum())
        if available >= offset + length:
            return frontend_chunk(rows, decisions[index], options, offset, offset + length)
        whole = frontend_chunk(rows, decisions[index], options)
        return whole[(offset + np.arange(length)) % available]

    def read(which: np.ndarray, offsets: np.ndarray, length: int) -> Tensor:
        return torch.from_numpy(np.stack([chunk(int(k), int(offset), length) for k, offset in zip(which, offsets)]))

    return read
