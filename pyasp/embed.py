"""Embeddings of whole recordings by a trained network.

A long recording is cut into chunks of at most `embed_chunk` frames; its embedding is the average of theirs, weighted by
their frames (Kaldi: nnet3-xvector-compute). A piece shorter than `embed_min_chunk` is padded to it by repeating its first
and last frame, half on either side (Kaldi's --pad-input). Pieces of similar length share a padded, masked batch, so an
embedding depends on its batch by round-off only (1e-6 relative); recordings are grouped in the order given, so the same
list gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Iterable, Iterator

import numpy as np
import torch

from pyasp.chunks import ChunkOptions
from pyasp.cli import option
from pyasp.errors import InputError
from pyasp.frontend import FrontendOptions
from pyasp.tdnn import RECEPTIVE_FIELD, Tdnn, TdnnOptions
from pyasp.trainer import TrainerOptions

GROUP_FRAMES = 200_000      # frames of recordings looked at together to find pieces of similar length


@dataclass(frozen=True)
class TdnnFrontend(FrontendOptions):
    """The read-time front end as the networks use it."""
    delta_order: int = option(0, "order of the deltas appended; 0 = none: the network sees neighbouring frames anyway")


@dataclass(frozen=True)
class EmbedOptions:
    """How recordings are cut for extraction."""
    embed_chunk: int = option(10000, "longest chunk in frames; longer recordings are averaged over their chunks")
    embed_min_chunk: int = option(25, "pieces with fewer frames are padded to so many")
    embed_batch: int = option(20000, "most frames of a batch, padding included (a longer piece is a batch of its own)")

    def __post_init__(self) -> None:
        if not RECEPTIVE_FIELD <= self.embed_min_chunk <= self.embed_chunk:
            raise InputError("extraction options", f"{self.embed_min_chunk} and {self.embed_chunk}",
                             f"{RECEPTIVE_FIELD} <= --embed-min-chunk <= --embed-chunk", "Correct tdnn.conf",
                             item="--embed-min-chunk")


@dataclass(frozen=True)
class NetworkConf(TdnnFrontend, TdnnOptions, ChunkOptions, TrainerOptions, EmbedOptions):
    """Everything that tdnn.conf may hold: training and extraction read the same file."""

    def __post_init__(self) -> None:
        for cls in NetworkConf.__bases__:
            cls.__post_init__(self)


@dataclass(frozen=True)
class Piece:
    """A chunk of a recording: `owner` is the recording's place in the group, `weight` its frames before padding."""
    owner: int
    weight: int
    features: np.ndarray


def pieces_of(owner: int, features: np.ndarray, options: EmbedOptions) -> list[Piece]:
    """Chunks of (V, D) features, each padded to the least length."""
    return [Piece(owner, len(part), pad(part, options.embed_min_chunk))
            for part in (features[start:start + options.embed_chunk] for start in range(0, len(features), options.embed_chunk))]


def pad(features: np.ndarray, frames: int) -> np.ndarray:
    """(V, D) repeated at its ends to at least `frames` frames, the odd one at the end."""
    missing = max(0, frames - len(features))
    return np.pad(features, ((missing // 2, missing - missing // 2), (0, 0)), mode="edge")


def batches_of(pieces: list[Piece], limit: int) -> Iterator[list[Piece]]:
    """Pieces of similar length together, at most `limit` frames with padding (or one piece)."""
    batch: list[Piece] = []
    for piece in sorted(pieces, key=lambda piece: len(piece.features)):     # the newest is the longest
        if batch and (len(batch) + 1) * len(piece.features) > limit:
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch


@torch.inference_mode()
def embed_batch(net: Tdnn, batch: list[Piece]) -> np.ndarray:
    """Embeddings (B, E) float32 of pieces that may differ in length."""
    lengths = [len(piece.features) for piece in batch]
    x = torch.zeros(len(batch), max(lengths), batch[0].features.shape[1])
    for row, piece in zip(x, batch):
        row[:len(piece.features)] = torch.from_numpy(np.ascontiguousarray(piece.features))
    device = next(net.parameters()).device
    masked = None if min(lengths) == max(lengths) else torch.tensor(lengths, device=device)
    return net.embed(x.to(device), masked).cpu().numpy()


def embed_group(net: Tdnn, group: list[tuple[str, np.ndarray]], options: EmbedOptions) -> Iterator[tuple[str, np.ndarray]]:
    """(utterance, embedding) of each recording of a group, in its order."""
    pieces = [piece for owner, (_, features) in enumerate(group) for piece in pieces_of(owner, features, options)]
    sums: dict[int, np.ndarray] = {}
    for batch in batches_of(pieces, options.embed_batch):
        for piece, embedding in zip(batch, embed_batch(net, batch)):
            sums[piece.owner] = sums.get(piece.owner, 0.0) + piece.weight * embedding.astype(np.float64)
    for owner, (utt, features) in enumerate(group):
        yield utt, (sums[owner] / len(features)).astype(np.float32)


def embed(net: Tdnn, recordings: Iterable[tuple[str, np.ndarray]], options: EmbedOptions) -> Iterator[tuple[str, np.ndarray]]:
    """(utterance, embedding (E,) float32) of (utterance, features (V, D) float32) recordings, in their order.

    Raises InputError when an embedding is not finite or the features are not of the network's dimension.
    """
    group, frames = [], 0
    for utt, features in recordings:
        if features.shape[1] != net.in_dim:
            raise InputError("embedding", f"features of {features.shape[1]} coefficients", f"{net.in_dim}, as in training",
                             "Use the features and the front end that the network was trained with", item=utt)
        group.append((utt, features))
        frames += len(features)
        if frames >= GROUP_FRAMES:
            yield from _finite(embed_group(net, group, options))
            group, frames = [], 0
    yield from _finite(embed_group(net, group, options))


def _finite(embeddings: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
    for utt, embedding in embeddings:
        if not np.isfinite(embedding).all():
            raise InputError("embedding", "values that are not finite", "finite features and weights",
                             "Look at the recording's features with `python -m pyasp.bin.show`", item=utt)
        yield utt, embedding
