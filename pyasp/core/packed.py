"""Symmetric matrices as packed lower triangles, row by row, as Kaldi stores them: numpy, and many at once in torch.

    packed  (B, n(n+1)/2)         full  (B, n, n)

On CUDA one gather moves them; on a CPU rows are copied one after the other over the whole batch, several times faster
than by an index of every element.
"""

import math
from collections.abc import Callable

import numpy as np
import torch


def unpack(packed: np.ndarray) -> np.ndarray:
    """Lower triangles (..., n(n+1)/2), row by row -> symmetric matrices (..., n, n), same dtype."""
    size = triangle_size(packed.shape[-1])
    rows, columns = np.tril_indices(size)
    full = np.empty((*packed.shape[:-1], size, size), packed.dtype)
    full[..., rows, columns] = packed
    full[..., columns, rows] = packed
    return full


def pack(matrices: np.ndarray) -> np.ndarray:
    """Matrices (..., n, n) -> their lower triangles (..., n(n+1)/2), row by row, same dtype."""
    rows, columns = np.tril_indices(matrices.shape[-1])
    return matrices[..., rows, columns]


def triangle_size(length: int) -> int:
    """n of a lower triangle of `length` = n(n+1)/2 values."""
    size = (math.isqrt(8 * length + 1) - 1) // 2
    assert size * (size + 1) // 2 == length, "not a lower triangle"
    return size


def lower_positions(size: int, device: torch.device) -> torch.Tensor:
    """Flat positions in an (n, n) matrix of its packed lower triangle: (n(n+1)/2,)."""
    rows, columns = torch.tril_indices(size, size, device=device)
    return rows * size + columns


def packed_from_full(matrices: torch.Tensor) -> torch.Tensor:
    """(B, n, n) -> lower triangles (B, n(n+1)/2)."""
    size = matrices.shape[1]
    packed = matrices.new_empty((len(matrices), size * (size + 1) // 2))
    PACK[matrices.device.type](matrices, packed)
    return packed


def full_from_packed(packed: torch.Tensor) -> torch.Tensor:
    """(B, n(n+1)/2) -> symmetric (B, n, n), one gather."""
    size = triangle_size(packed.shape[1])
    lower = lower_positions(size, packed.device)
    positions = torch.zeros((size, size), dtype=torch.int64, device=packed.device)
    positions.view(-1)[lower] = torch.arange(len(lower), device=packed.device)
    positions = torch.maximum(positions, positions.T)  # the upper triangle holds zeros
    return packed.gather(1, positions.reshape(-1).expand(len(packed), -1)).reshape(len(packed), size, size)


def lower_from_packed(packed: torch.Tensor) -> torch.Tensor:
    """(B, n(n+1)/2) -> (B, n, n) whose lower triangle is right; the upper one holds zeros or its mirror."""
    return LOWER[packed.device.type](packed)


def _pack_rows(matrices: torch.Tensor, packed: torch.Tensor) -> None:
    source, target, start = matrices.numpy(), packed.numpy(), 0
    for row in range(source.shape[1]):
        target[:, start : start + row + 1] = source[:, row, : row + 1]
        start += row + 1


def _pack_gather(matrices: torch.Tensor, packed: torch.Tensor) -> None:
    flat = matrices.reshape(len(matrices), -1)
    packed.copy_(flat.gather(1, lower_positions(matrices.shape[1], matrices.device).expand(len(flat), -1)))


def _lower_rows(packed: torch.Tensor) -> torch.Tensor:
    size, source, start = triangle_size(packed.shape[1]), packed.numpy(), 0
    full = packed.new_zeros((len(packed), size, size))
    target = full.numpy()
    for row in range(size):
        target[:, row, : row + 1] = source[:, start : start + row + 1]
        start += row + 1
    return full


# matrices (B, n, n) -> into `packed` (B, n(n+1)/2), whose dtype the values take
PACK: dict[str, Callable[[torch.Tensor, torch.Tensor], None]] = {"cpu": _pack_rows, "cuda": _pack_gather}
LOWER: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {"cpu": _lower_rows, "cuda": full_from_packed}
