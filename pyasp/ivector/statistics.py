"""Recordings to Baum-Welch statistics to i-vectors, in blocks of recordings bounded by memory.

B recordings, T frames of all of them one after the other, D dimensions, C Gaussians, R i-vector dimensions
count  N (B, C),  first  F (B, C, D)      float64
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np
import torch

from pyasp.features.stored import Block, Recording, blocks
from pyasp.gmm.posteriors import Aligner, Alignment
from pyasp.ivector.model import Estimator

BLOCK_BYTES = {"cpu": 1 << 30, "cuda": 8 << 30}  # of the statistics and precisions of one block of recordings
MAX_FRAMES = {"cpu": 1 << 19, "cuda": 1 << 21}  # of a block, in memory: 240 bytes each at 60 dimensions
BLOCK_FRAMES = {"cpu": 1 << 16, "cuda": 1 << 19}  # frames aligned at a time: about 1 kB each
MAX_RECORDINGS = 256  # of a block: products over more of them gain nothing


def recordings_per_block(num_gauss: int, dim: int, ivector_dim: int, device: torch.device) -> int:
    """How many recordings' statistics and (R, R) matrices fit into BLOCK_BYTES."""
    each = 8 * (2 * num_gauss * dim + ivector_dim * ivector_dim)
    return max(1, min(MAX_RECORDINGS, BLOCK_BYTES[device.type] // each))


def weighted_sums_cpu(
    rows: torch.Tensor, frame: torch.Tensor, weight: torch.Tensor, keys: torch.Tensor, size: int
) -> torch.Tensor:
    """sum of weight_p rows[frame_p] over the pairs p of each key: (size, D). rows: (T, D) float64; the others (P,)."""
    from scipy import sparse  # here, so that networks do not wait for its import

    member = sparse.csr_matrix((weight.numpy(), (keys.numpy(), frame.numpy())), shape=(size, len(rows)))
    return torch.from_numpy(member @ rows.numpy())


def weighted_sums_cuda(
    rows: torch.Tensor, frame: torch.Tensor, weight: torch.Tensor, keys: torch.Tensor, size: int
) -> torch.Tensor:
    """The same in an order that is fixed: CUDA's index_add_ adds in any order, which would not repeat bit for bit."""
    order = torch.argsort(keys, stable=True)
    values = rows[frame[order]] * weight[order, None]
    return torch.segment_reduce(
        values, "sum", lengths=torch.bincount(keys, minlength=size), axis=0, initial=0.0, unsafe=True
    )


WEIGHTED_SUMS: dict[str, Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, int], torch.Tensor]] = {
    "cpu": weighted_sums_cpu,
    "cuda": weighted_sums_cuda,
}


def add_recording_stats(
    count: torch.Tensor, first: torch.Tensor, x: torch.Tensor, recording: torch.Tensor, alignment: Alignment
) -> None:
    """Adds frames to count (B, C) and first (B, C, D). x: (T, D); recording: (T,) int64 in 0 .. B-1, not falling."""
    num_gauss, dim = count.shape[1], x.shape[1]
    begin, end = int(recording[0]), int(recording[-1]) + 1
    keys = (recording[alignment.frame] - begin) * num_gauss + alignment.gauss
    rows = torch.cat([x, x.new_ones(len(x), 1)], 1).double()
    sums = WEIGHTED_SUMS[x.device.type](rows, alignment.frame, alignment.weight, keys, (end - begin) * num_gauss)
    sums = sums.reshape(end - begin, num_gauss, dim + 1)
    count[begin:end] += sums[..., dim]
    first[begin:end] += sums[..., :dim]


def recording_stats(
    block: Block, aligner: Aligner, observe: Callable[[torch.Tensor, Alignment], None] = lambda x, alignment: None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Statistics (count, first) of a block's recordings on the aligner's device; `observe` also sees each alignment."""
    device = aligner.device
    count = torch.zeros((len(block.names), aligner.num_gauss), dtype=torch.float64, device=device)
    first = torch.zeros((*count.shape, aligner.dim), dtype=torch.float64, device=device)
    recording = torch.repeat_interleave(torch.arange(len(block.names)), torch.tensor(block.lengths)).to(device)
    for start in range(0, len(block.x), BLOCK_FRAMES[device.type]):
        part = slice(start, start + BLOCK_FRAMES[device.type])
        x = block.x[part].to(device)
        alignment = aligner(x)
        observe(x, alignment)
        add_recording_stats(count, first, x, recording[part], alignment)
    return count, first


def scale_stats(
    count: torch.Tensor, first: torch.Tensor, acoustic_weight: float = 1.0, max_count: float = 0.0
) -> tuple[torch.Tensor, torch.Tensor]:
    """Statistics times `acoustic_weight`, then scaled down to a total count of at most `max_count` (0 = no limit)."""
    scale = torch.full_like(count[:, 0], acoustic_weight)
    total = count.sum(1) * acoustic_weight
    if max_count > 0:
        scale = torch.where(total > max_count, scale * max_count / total, scale)
    return count * scale[:, None], first * scale[:, None, None]


def extract(
    recordings: Iterable[Recording],
    aligner: Aligner,
    estimator: Estimator,
    acoustic_weight: float = 1.0,
    max_count: float = 0.0,
) -> Iterator[tuple[str, np.ndarray]]:
    """(id, i-vector (R,) float32) of each recording: posterior mean minus the prior's mean (Kaldi's ivector-extract).

    recordings: (id, (V, D) float32), V > 0. How recordings fall into blocks changes results by round-off only.
    Raises InputError when feature dimensions do not fit the models.
    """
    limit = recordings_per_block(estimator.num_gauss, estimator.dim, estimator.ivector_dim, estimator.device)
    for block in blocks(recordings, MAX_FRAMES[estimator.device.type], limit, estimator.dim):
        count, first = scale_stats(*recording_stats(block, aligner), acoustic_weight, max_count)
        means = estimator.means(count, first).cpu().numpy().astype(np.float32)
        yield from zip(block.names, means)
