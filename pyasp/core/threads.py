"""Threads: independent parts of a computation, with the same bits for any number of threads, and reading ahead."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

T = TypeVar("T")
R = TypeVar("R")

TILE = {"cpu": 1 << 22, "cuda": 1 << 28}  # values at most: 16 MB in single precision
TILES = {"cpu": 16, "cuda": 1}  # at least, so that threads end together


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


def prefetched(items: Iterable[T], ahead: int = 8) -> Iterator[T]:
    """The same items in the same order, made in a thread while the consumer computes; exceptions come through.

    At most `ahead` items wait. A consumer that stops early waits for the item in the making, and no thread is left.
    """
    ready: queue.Queue = queue.Queue(ahead)
    stopped, end = threading.Event(), object()

    def put(item: object) -> None:
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=0.2)
            except queue.Full:
                continue

    def produce() -> None:
        try:
            for item in items:
                put((item, None))
                if stopped.is_set():
                    return
            put((end, None))
        except BaseException as problem:  # handed over: the consumer raises it
            put((end, problem))

    producer = threading.Thread(target=produce, daemon=True)
    producer.start()
    try:
        while True:
            item, problem = ready.get()
            if problem is not None:
                raise problem
            if item is end:
                return
            yield item
    finally:
        stopped.set()
        with contextlib.suppress(queue.Empty):  # room, in case the producer waits for it
            while True:
                ready.get_nowait()
        producer.join()
