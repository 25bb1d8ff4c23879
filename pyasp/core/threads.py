"""Independent parts of a computation in threads, with the same bits for any number of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")


def in_threads(work: Callable[[T], R], parts: Iterable[T]) -> list[R]:
    """work(part) of each part, in order, in as many threads as torch uses.

    Inside, torch has one thread: what a part gives does not depend on how many threads there are. `work` must spend its
    time where Python's lock is free (torch, large numpy operations) and must not write where another part does.
    """
    parts, threads = list(parts), torch.get_num_threads()
    if threads == 1 or len(parts) < 2:
        return _alone(work, parts, threads)
    with ThreadPoolExecutor(min(threads, len(parts)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
        results = list(pool.map(work, parts))
    torch.set_num_threads(threads)  # what threads of others start with
    return results


def _alone(work: Callable[[T], R], parts: list[T], threads: int) -> list[R]:
    torch.set_num_threads(1)
    try:
        return [work(part) for part in parts]
    finally:
        torch.set_num_threads(threads)
