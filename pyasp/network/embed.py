"""Embeddings of whole recordings: long ones in chunks averaged by length, short ones repeated, in masked batches.

    x_1..x_n   chunks of a recording, of at most `extract_chunk` frames (Kaldi: --chunk-size), n_i frames each
    a_i        embedding of chunk i (affine output of the first fully connected layer)
    result     sum_i n_i a_i / sum_i n_i

As in Kaldi's sid/nnet3/xvector/extract_xvectors.sh all chunks but the last have `extract_chunk` frames, and a last one
shorter than `extract_min_frames` is left out. A recording shorter than that is repeated from its beginning up to it, as
the training repeats recordings that are shorter than its chunk; `Embedder.repeated` counts them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import torch

from pyasp.core.errors import InputError
from pyasp.core.options import Count, check_options, check_values, option, subset
from pyasp.features.frontend import NetworkFrontendOptions
from pyasp.network.contract import Embeds
from pyasp.network.model import ArchitectureOptions

WINDOW = 8  # batches' worth of frames read ahead, to find chunks of similar length


@dataclass(frozen=True)
class EmbedOptions:
    """How recordings become embeddings."""

    extract_chunk: Count = option(10000, "extraction: longest chunk in frames; its embeddings are averaged by length")
    extract_min_frames: Count = option(25, "extraction: shorter recordings are repeated up to so many frames")
    extract_batch_frames: Count = option(16000, "extraction: frames of a batch, padding included")

    def __post_init__(self) -> None:
        check_options(self, "extraction options")
        short = self.extract_chunk < self.extract_min_frames
        check_values(self, "extraction options", "at least --extract-min-frames", extract_chunk=short)


@dataclass(frozen=True)
class ExtractionOptions(NetworkFrontendOptions, ArchitectureOptions, EmbedOptions):
    """What of a tdnn.conf extraction needs, and the network's input dimension: network.conf of a bundle."""

    input_dim: int = option(0, "coefficients of a frame that enters the network")

    def __post_init__(self) -> None:
        for part in ExtractionOptions.__bases__:
            subset(self, part)  # checks what is its own


def check_frames(name: str, options: object, shortest: int) -> None:
    """Raises InputError when an option, a number of frames, is below what the network's encoder needs."""
    expected = f"at least {shortest}, the frames that the encoder sees at once"
    check_values(options, "network options", expected, **{name: getattr(options, name) < shortest})


def chunk_bounds(frames: int, options: EmbedOptions) -> list[tuple[int, int]]:
    """First frame and end (exclusive) of each chunk of a recording of `frames` >= 1 frames."""
    bounds = [(start, min(start + options.extract_chunk, frames)) for start in range(0, frames, options.extract_chunk)]
    return [(start, end) for start, end in bounds if start == 0 or end - start >= options.extract_min_frames]


def repeat_to(feats: np.ndarray, frames: int) -> np.ndarray:
    """feats (T, D), T >= 1, repeated from its beginning until it has `frames` rows; as it is when it has enough."""
    return feats if len(feats) >= frames else feats[np.arange(frames) % len(feats)]


@dataclass
class Recording:
    """One recording on its way: its chunks' lengths, and the sum of their embeddings weighted by length."""

    utt: str
    chunks: list[np.ndarray]
    total: np.ndarray

    def result(self) -> np.ndarray:
        """The embedding (E,) float32."""
        return (self.total / sum(map(len, self.chunks))).astype(np.float32)


class Embedder:
    """Embeddings of a stream of recordings by one network, in the stream's order."""

    def __init__(self, net: Embeds, options: EmbedOptions, device: torch.device):
        """InputError for an `extract_min_frames` that the network's context does not fit into."""
        check_frames("extract_min_frames", options, net.shortest)
        self.net, self.options, self.device = net.train(False), options, device
        self.repeated = 0  # recordings shorter than extract_min_frames so far

    def stream(self, recordings: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
        """(utterance, (T, D) float32), T >= 1 -> (utterance, (E,) float32).

        Raises InputError for features of another dimension than the network's, or an embedding that is not finite.
        """
        window: list[Recording] = []
        frames = 0
        for utt, feats in recordings:
            window.append(self._prepare(utt, feats))
            frames += len(feats)
            if frames >= WINDOW * self.options.extract_batch_frames:
                yield from self._finish(window)
                window, frames = [], 0
        yield from self._finish(window)

    def _prepare(self, utt: str, feats: np.ndarray) -> Recording:
        if feats.ndim != 2 or feats.shape[1] != self.net.in_dim:
            found, expected = f"shape {feats.shape}", f"frames of {self.net.in_dim} coefficients, as in training"
            cure = "Use features of the same mfcc.conf as the network's"
            raise InputError("features", found, expected, cure, item=utt)
        self.repeated += len(feats) < self.options.extract_min_frames
        feats = repeat_to(feats, self.options.extract_min_frames)
        chunks = [feats[start:end] for start, end in chunk_bounds(len(feats), self.options)]
        return Recording(utt, chunks, np.zeros(self.net.embedding_dim))

    def _finish(self, window: list[Recording]) -> Iterator[tuple[str, np.ndarray]]:
        """Embeds the chunks of a window, shortest first, and gives the recordings in their order."""
        chunks = [(recording, chunk) for recording in window for chunk in recording.chunks]
        chunks.sort(key=lambda item: len(item[1]))
        for batch in self._batches(chunks):
            for (recording, chunk), vector in zip(batch, self._embed([chunk for _, chunk in batch])):
                recording.total += len(chunk) * vector
        for recording in window:
            if not np.isfinite(recording.total).all():
                found, cure = "a value that is not finite", "Look at the features with pyasp.bin.show, then train again"
                raise InputError("embedding", found, "finite numbers", cure, item=recording.utt)
            yield recording.utt, recording.result()

    def _batches(self, chunks: list[tuple[Recording, np.ndarray]]) -> Iterator[list[tuple[Recording, np.ndarray]]]:
        """Cuts a list sorted by length so that count x longest stays within the batch (one chunk at least)."""
        batch: list[tuple[Recording, np.ndarray]] = []
        for item in chunks:
            if batch and (len(batch) + 1) * len(item[1]) > self.options.extract_batch_frames:
                yield batch
                batch = []
            batch.append(item)
        if batch:
            yield batch

    @torch.inference_mode()
    def _embed(self, chunks: list[np.ndarray]) -> np.ndarray:
        """Embeddings (B, E) float64 of chunks in ascending order of length, padded to the longest and masked."""
        lengths = torch.tensor([len(chunk) for chunk in chunks])
        x = torch.zeros(len(chunks), len(chunks[-1]), self.net.in_dim)
        for row, chunk in zip(x, chunks):
            row[: len(chunk)] = torch.from_numpy(np.asarray(chunk, dtype=np.float32))
        padded = bool((lengths != lengths[-1]).any())
        out = self.net.embed(x.to(self.device), lengths.to(self.device) if padded else None)
        return out.double().cpu().numpy()
