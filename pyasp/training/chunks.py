"""Training examples: random chunks of voiced, normalised frames.

    U, S     recordings, speakers        B, T   chunks of a batch, frames of each
    labels   (U,)  speaker of each recording, 0..S-1

All chunks of a batch have the same length, and what is drawn depends on (seed, epoch, step) alone, so the place to
resume at is two numbers: the training keeps its own, since a sampler that is read ahead of has gone further. Of several
processes each takes its part of every batch. Where the frames come from is pyasp.training.frames's business.

A recording shorter than the chunk is repeated from its beginning (wrap-around) instead of padded: batches stay
rectangular, every frame of a batch is real speech, and no mask is needed; the seam is no stranger than the seams that
dropping unvoiced frames leaves anyway.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Annotated

import numpy as np
import torch
from torch import Tensor

from pyasp.core.errors import InputError, rerun
from pyasp.core.options import Amount, Count, Natural, check_options, check_values, option
from pyasp.core.processes import part_of, world
from pyasp.data.datadir import DataDir
from pyasp.training.frames import STORES, FrameSource


def split_validation(data: DataDir) -> tuple[list[str], list[str], list[str]]:
    """Training recordings, validation recordings (`valid_utts`), training speakers; C-sorted.

    Raises InputError when valid_utts names a recording that is not there, or nothing is left to train on.
    """
    data.require("utt2spk", "vad.scp", "valid_utts")
    held_out = data.read("valid_utts")
    stranger = next((utt for utt in held_out if utt not in data.utt2spk), None)
    if stranger is not None:
        found, expected = "a recording that is not in utt2spk", "recordings of this directory"
        raise InputError(data / "valid_utts", found, expected, rerun("select"), item=stranger)
    utts = sorted(data.utt2spk, key=str.encode)
    train = [utt for utt in utts if utt not in held_out]
    speakers = sorted({data.utt2spk[utt] for utt in train}, key=str.encode)
    if len(speakers) < 2:
        cure = "Lower --min-utts (select.conf), or bring more speakers, with whom a run begins at stage prepare"
        run = rerun("select", cure, force=True, then=True)
        raise InputError(data.path, f"{len(speakers)} training speakers", "at least two", run)
    if not held_out:
        expected = "speakers with two recordings or more, for the validation that a network needs"
        cure = "Bring more recordings a speaker, loosen --min-voiced in select.conf, or ask for --systems ivector alone"
        raise InputError(data / "valid_utts", "an empty list: every speaker has one recording", expected, cure)
    return train, [utt for utt in utts if utt in held_out], speakers


@dataclass(frozen=True)
class ChunkOptions:
    """What a batch is."""

    batch_size: Annotated[int, "[2, inf)"] = option(64, "chunks of a batch")
    min_chunk: Count = option(200, "shortest chunk in frames")
    max_chunk: Count = option(400, "longest chunk in frames")
    sampling: str = option(
        "utterance",
        "utterance: every recording as often as any other; speaker: every speaker",
        choices=("utterance", "speaker"),
    )
    steps_per_epoch: Natural = option(0, "batches of an epoch; 0 = as many as draw about each frame once")
    memory_gb: Amount = option(32.0, "GB of features kept in memory; more are read from the arks by chunks")
    store: str = option(
        "auto",
        "float, byte: all frames in memory, in 32 or 8 bits; archive: read when drawn; "
        "auto: what fits into --memory-gb, on a GPU 8 bits",
        choices=STORES,
    )
    mask_frames: Natural = option(0, "SpecAugment: a run of up to so many frames of each chunk becomes zero; 0 = none")
    mask_coefficients: Natural = option(0, "SpecAugment: a run of up to so many coefficients becomes zero; 0 = none")

    def __post_init__(self) -> None:
        check_options(self, "chunk options")
        wrong = {"max_chunk": self.max_chunk < self.min_chunk, "mask_frames": self.mask_frames > self.min_chunk}
        check_values(self, "chunk options", "min <= max chunk, masks up to the shortest chunk", **wrong)

    def steps(self, frames: int, recordings: int) -> int:
        """Batches of an epoch over so many training frames and recordings."""
        chunks = max(
            frames / ((self.min_chunk + self.max_chunk) / 2), recordings
        )  # short recordings too are drawn once
        return self.steps_per_epoch or -(-int(chunks) // self.batch_size)


def _passes(rng: np.random.Generator, count: int, total: int) -> np.ndarray:
    """`total` draws from range(count): one random order after another, so that none is drawn twice before all were."""
    return np.concatenate([rng.permutation(count) for _ in range(-(-total // count))])[:total]


def draw_speakers(rng: np.random.Generator, labels: np.ndarray, total: int) -> np.ndarray:
    """Recordings (total,): every speaker equally often, each going through his recordings in random order."""
    order = np.lexsort((rng.random(len(labels)), labels))  # grouped by speaker, shuffled inside
    counts = np.bincount(labels)
    chosen = _passes(rng, len(counts), total)
    turn = np.arange(total) // len(counts)  # how often this speaker was drawn before
    return order[(np.cumsum(counts) - counts)[chosen] + turn % counts[chosen]]


SAMPLINGS: dict[str, Callable[[np.random.Generator, np.ndarray, int], np.ndarray]] = {
    "utterance": lambda rng, labels, total: _passes(rng, len(labels), total),
    "speaker": draw_speakers,
}


@dataclass(frozen=True)
class Batch:
    """One training batch and where it came from."""

    features: Tensor  # (B, T, D) float32
    labels: Tensor  # (B,) int64
    utts: list[str]


SPECAUGMENT = 1  # marks the random numbers of the masks: those of the chunks stay what they are without masks


class Sampler:
    """Batches of an endless sequence of epochs; `epoch` and `step` are its whole state.

    Iterating yields the rest of the present epoch, then moves to the next: a sampler at the same two numbers goes on
    with the same batches.
    """

    def __init__(self, source: FrameSource, options: ChunkOptions, seed: int):
        if options.batch_size % world():
            found, expected = str(options.batch_size), f"a multiple of the {world()} processes"
            cure = "Correct tdnn.conf, or start another number of processes"
            raise InputError("chunk options", found, expected, cure, item="--batch-size")
        self.source, self.options, self.seed = source, options, seed
        self.epoch = self.step = 0
        self.steps = options.steps(int(source.lengths.sum()), len(source.utts))

    def plan(self, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Recordings (steps, B), places in [0, 1) (steps, B) and chunk lengths (steps,) of one epoch."""
        rng = np.random.default_rng([self.seed, epoch])
        shape = (self.steps, self.options.batch_size)
        which = SAMPLINGS[self.options.sampling](rng, self.source.labels, self.steps * self.options.batch_size)
        lengths = rng.integers(self.options.min_chunk, self.options.max_chunk + 1, self.steps)
        return which.reshape(shape), rng.random(shape), lengths

    def __iter__(self) -> Iterator[Batch]:
        which, places, lengths = self.plan(self.epoch)
        mine = part_of(self.options.batch_size)
        while self.step < self.steps:
            batch = make_batch(self.source, which[self.step][mine], places[self.step][mine], int(lengths[self.step]))
            if self.options.mask_frames or self.options.mask_coefficients:
                rng = np.random.default_rng([self.seed, self.epoch, self.step, SPECAUGMENT])
                mask_runs(batch.features, self.options, rng)
            self.step += 1
            yield batch
        self.epoch, self.step = self.epoch + 1, 0


def mask_runs(x: Tensor, options: ChunkOptions, rng: np.random.Generator) -> None:
    """SpecAugment (Park et al. 2019) without warping, in place: in each chunk of x (B, T, D) one run of frames and one
    of coefficients become zero, the mean after normalisation. Widths (from 0 to the options') and places are uniform.
    """
    for axis, widest in ((1, options.mask_frames), (2, options.mask_coefficients)):
        size, total = x.shape[axis], options.batch_size
        widths = rng.integers(0, min(widest, size) + 1, total)
        starts = (rng.random(total) * (size - widths + 1)).astype(np.int64)
        places = np.arange(size)
        hidden = (places >= starts[:, None]) & (places < (starts + widths)[:, None])
        masked = torch.from_numpy(hidden[part_of(total)]).to(x.device).unsqueeze(3 - axis)
        x.masked_fill_(masked, 0.0)


def make_batch(source: FrameSource, which: np.ndarray, places: np.ndarray, length: int) -> Batch:
    """Chunks of `length` frames of recordings `which` (B,), begun at `places` (B,) in [0, 1) of what is possible."""
    available = source.lengths[which]
    room = np.where(available >= length, available - length + 1, available)
    offsets = (places * room).astype(np.int64)
    return Batch(
        source.gather(which, offsets, length), torch.from_numpy(source.labels[which]), [source.utts[u] for u in which]
    )


def validation_batches(source: FrameSource, options: ChunkOptions) -> Iterator[Batch]:
    """One chunk of the longest training length from the middle of every recording, in order."""
    for start in range(0, len(source.utts), options.batch_size):
        which = np.arange(start, min(start + options.batch_size, len(source.utts)))
        yield make_batch(source, which, np.full(len(which), 0.5), options.max_chunk)
