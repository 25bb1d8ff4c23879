"""Products over (frame, Gaussian) pairs, gathered by their Gaussian, so that each Gaussian's are matrix products.

    X   (T, W)      frames [x, 1, 0 ...], W = D + 1 padded to a multiple of ALIGNMENT
    A_i (W, W)      a matrix of each Gaussian: distances |A_i^T X_t|^2 of its pairs
    w   (P,)        a weight of each pair: sums  sum_t w_t X_t X_t^T over the pairs of each Gaussian

On a CPU a thread copies the frames of some PART_PAIRS pairs into the cache in the order of their Gaussians, and
multiplies them there, one product of up to RUN_PAIRS pairs at a time; what can wait is done for all of them at once,
since short calls of many threads wait for Python's lock. On CUDA Gaussians of similar counts form one padded batch. No
loop runs over frames.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np
import torch

from pyasp.core.threads import in_threads

ALIGNMENT = 16  # columns: whole vector registers and cache lines
RUN_PAIRS = 512  # pairs of one product on a CPU: beyond them, sums are in float64
PART_PAIRS = 1 << 13  # pairs of the Gaussians that a thread takes at a time: 2 MB of frames
BATCH_PAIRS = 1 << 20  # pairs of one batch on CUDA


def augmented(x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """x (T, D) -> X (T, W)."""
    dim = x.shape[1]
    wide = torch.zeros((len(x), padded(dim)), dtype=dtype, device=x.device)
    wide[:, :dim], wide[:, dim] = x, 1.0
    return wide


def padded(dim: int) -> int:
    """W of D."""
    return -(-(dim + 1) // ALIGNMENT) * ALIGNMENT


def grouped(
    gauss: torch.Tensor, num_gauss: int, limit: int = BATCH_PAIRS
) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Pairs gathered by their Gaussian, a batch of Gaussians of similar counts at a time: the Gaussians (G,), indices
    of their pairs (G, n), and which are pairs, not padding (G, n). Each Gaussian that has pairs comes up exactly once.

    gauss: (P,) int64, the Gaussian of each pair. The order is a function of the input alone.
    """
    order = torch.argsort(gauss, stable=True)
    counts = torch.bincount(gauss, minlength=num_gauss)
    starts = counts.cumsum(0) - counts
    by_count = torch.argsort(counts, descending=True, stable=True)
    sizes = counts[by_count].tolist()
    begin, used = 0, sum(size > 0 for size in sizes)
    while begin < used:
        longest = sizes[begin]
        end = min(used, begin + max(1, limit // longest))
        chosen = by_count[begin:end]
        offsets = torch.arange(longest, device=gauss.device)
        valid = offsets < counts[chosen, None]
        positions = torch.where(valid, starts[chosen, None] + offsets, starts[chosen, None])
        yield chosen, order[positions], valid
        begin = end


def distances_cuda(x: torch.Tensor, matrices: torch.Tensor, frame: torch.Tensor, gauss: torch.Tensor) -> torch.Tensor:
    """|A_i^T X_t|^2 (P,) of pairs (t, i). x (T, W), matrices (C, W, W), frame and gauss (P,) int64."""
    result = x.new_empty(len(gauss))
    for gaussians, pairs, valid in grouped(gauss, len(matrices)):
        y = x[frame[pairs]] @ matrices[gaussians]
        result[pairs[valid]] = y.square().sum(2)[valid]
    return result


class Moments(Protocol):
    """Where sums go: count (C,), first (C, D), second (C, D, D), float64."""

    count: torch.Tensor
    first: torch.Tensor
    second: torch.Tensor


def sums_cuda(x: torch.Tensor, frame: torch.Tensor, gauss: torch.Tensor, weight: torch.Tensor, total: Moments) -> None:
    """Adds sum_t w X_t X_t^T of each Gaussian's pairs, taken apart into their moments."""
    dim = total.first.shape[1]
    for gaussians, pairs, valid in grouped(gauss, len(total.count)):
        frames = x[frame[pairs]]
        weights = torch.where(valid, weight[pairs], 0.0).to(x.dtype)
        sums = (frames * weights[..., None]).mT @ frames
        total.count[gaussians] += sums[:, dim, dim]
        total.first[gaussians] += sums[:, dim, :dim]
        total.second[gaussians] += sums[:, :dim, :dim]


Stretch = tuple[int, int, int]  # Gaussian, first and end of a stretch of its sorted pairs


def _sorted_parts(gauss: torch.Tensor, num_gauss: int) -> tuple[np.ndarray, list[list[Stretch]]]:
    """The order of pairs by their Gaussians (P,), and the parts that threads work on: stretches of at most RUN_PAIRS
    pairs of one Gaussian, in parts of about PART_PAIRS; a Gaussian is in one part."""
    keys, small = gauss.numpy(), np.uint16 if num_gauss <= 1 << 16 else np.int64  # numpy sorts 16 bit by counting
    parts: dict[int, list[Stretch]] = {}
    start = 0
    for number, end in enumerate(np.cumsum(np.bincount(keys, minlength=num_gauss)).tolist()):
        runs = parts.setdefault(start // PART_PAIRS, [])
        runs.extend((number, k, min(k + RUN_PAIRS, end)) for k in range(start, end, RUN_PAIRS))
        start = end
    # behind the last pair there may be Gaussians without any
    return np.argsort(keys.astype(small), kind="stable"), [runs for runs in parts.values() if runs]


def distances_cpu(x: torch.Tensor, matrices: torch.Tensor, frame: torch.Tensor, gauss: torch.Tensor) -> torch.Tensor:
    """As distances_cuda."""
    (order, parts), each, rows = _sorted_parts(gauss, len(matrices)), matrices.unbind(0), x.numpy()
    found = frame.numpy()[order]
    sorted_result = np.empty(len(found), rows.dtype)

    def work(runs: list[Stretch]) -> None:
        first, last = runs[0][1], runs[-1][2]
        inside = torch.from_numpy(rows.take(found[first:last], axis=0, mode="clip"))
        y = torch.empty_like(inside)
        for i, start, end in runs:
            run = slice(start - first, end - first)
            torch.mm(inside[run], each[i], out=y[run])
        np.vecdot(y.numpy(), y.numpy(), out=sorted_result[first:last])

    in_threads(work, parts)
    result = np.empty_like(sorted_result)
    result[order] = sorted_result
    return torch.from_numpy(result)


def sums_cpu(x: torch.Tensor, frame: torch.Tensor, gauss: torch.Tensor, weight: torch.Tensor, total: Moments) -> None:
    """As sums_cuda. Products of up to RUN_PAIRS pairs are in the precision of x, their sums in float64."""
    (order, parts), rows = _sorted_parts(gauss, len(total.count)), x.numpy()
    count, first, second = (a.numpy() for a in (total.count, total.first, total.second))
    dim = first.shape[1]
    found, weights = frame.numpy()[order], weight.numpy().astype(rows.dtype)[order, None]

    def add(gaussians: slice, sums: np.ndarray) -> None:
        """Weighted sums (C, D + 1, D + 1) of products of x with a 1 behind it, of these Gaussians, to the total."""
        count[gaussians] += sums[:, dim, dim]
        first[gaussians] += sums[:, dim, :dim]
        second[gaussians] += sums[:, :dim, :dim]

    def work(runs: list[Stretch]) -> None:
        (low, begin, _), (high, _, last) = runs[0], runs[-1]
        taken = rows.take(found[begin:last], axis=0, mode="clip")
        inside, scaled = torch.from_numpy(taken), torch.from_numpy(taken * weights[begin:last])
        products, before = x.new_zeros((high + 1 - low, *x.shape[1:], x.shape[1])), -1
        for i, start, end in runs:
            if i == before:  # the Gaussian's last run makes room for its next
                add(slice(i, i + 1), products[i - low : i - low + 1].numpy())
            run, before = slice(start - begin, end - begin), i
            torch.mm(scaled[run].T, inside[run], out=products[i - low])
        add(slice(low, high + 1), products.numpy())

    in_threads(work, parts)


Distances = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor]
Sums = Callable[[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor, Moments], None]
DISTANCES: dict[str, Distances] = {"cpu": distances_cpu, "cuda": distances_cuda}
SUMS: dict[str, Sums] = {"cpu": sums_cpu, "cuda": sums_cuda}
