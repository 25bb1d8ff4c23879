"""Symmetric matrices as packed lower triangles, row by row, as Kaldi stores them (numpy; pyasp.core.packed: torch)."""

from __future__ import annotations

import math

import numpy as np


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
