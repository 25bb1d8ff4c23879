"""Large products a tile at a time, in threads: what is done to a tile of the result finds it in the cache, and no result of
hundreds of megabytes is asked of the system anew for every batch."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pyasp.core.threads import in_threads

TILE = {"cpu": 1 << 22, "cuda": 1 << 28}  # values at most: 16 MB in single precision
TILES = {"cpu": 16, "cuda": 1}  # at least, so that threads end together


def for_tiles(work: Callable[[slice], None], size: int, values: int, device: torch.device) -> None:
    """work(slice) for slices of 0 .. size - 1, in threads on a CPU; `values` are what one of them stands for."""
    step = max(1, min(TILE[device.type] // values, -(-size // TILES[device.type])))
    parts = [slice(start, min(start + step, size)) for start in range(0, size, step)]
    if device.type == "cpu":
        in_threads(work, parts)
    else:
        for part in parts:
            work(part)


def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """a (n, k) @ b (k, m), m large, some columns of b at a time: the same bits for any number of threads."""
    result = a.new_empty((len(a), b.shape[1]))

    def columns(part: slice) -> None:
        torch.mm(a, b[:, part], out=result[:, part])

    for_tiles(columns, b.shape[1], len(b), a.device)
    return result
