"""Threads: independent parts of a computation, with the same bits for any number of threads, and reading ahead."""

import os
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import torch

from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write

T = TypeVar("T")
R = TypeVar("R")

TILE = {"cpu": 1 << 22, "cuda": 1 << 28}  # values at most: 16 MB in single precision
PROBE_SECONDS = 1.0
CLEARLY = 0.9  # of the time with all threads: one alone must be faster than that
TILES = {"cpu": 16, "cuda": 1}  # at least, so that threads end together


def in_threads(work: Callable[[T], R], parts: Iterable[T]) -> list[R]:
    """work(part) of each part, in order, in as many threads as torch uses.

    Inside, torch has one thread: what a part gives does not depend on how many threads there are. `work` must spend its
    time where Python's lock is free (torch, large numpy operations) and must not write where another part does.
    """
    parts, threads = list(parts), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        if threads == 1 or len(parts) < 2:
            return [work(part) for part in parts]
        with ThreadPoolExecutor(min(threads, len(parts)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            return list(pool.map(work, parts))
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


def faster(work: Callable[[], object], counts: tuple[int, int], seconds: float, clock: Callable[[], float]) -> int:
    """Which of two numbers of threads does `work` sooner, in turns for some seconds; the first where they are alike.

    Several threads wait for one another: where another process takes a core, all of them run at its pace.
    """
    spent: dict[int, list[float]] = {count: [] for count in counts}
    end = clock() + seconds
    while clock() < end or not spent[counts[1]]:
        for count in counts:
            torch.set_num_threads(count)
            start = clock()
            work()
            spent[count].append(clock() - start)
    mean = {count: sum(times[1:] or times) / len(times[1:] or times) for count, times in spent.items()}
    return counts[1] if mean[counts[1]] < CLEARLY * mean[counts[0]] else counts[0]


def settle_threads(
    note: Path, work: Callable[[], object] | None, clock: Callable[[], float] = time.perf_counter
) -> int:
    """Sets torch's threads to the number in the file `note`, from an earlier start: another makes other round-off.

    At the first start to what does `work` sooner now: as many as there are, or one; says so, and keeps the number.
    Without `work`, and where OMP_NUM_THREADS is the user's choice, not path.sh's (PYASP_THREADS), it stays as it is.
    Raises InputError for a file that holds no number.
    """
    most = chosen = torch.get_num_threads()
    if note.is_file():
        text = note.read_text(encoding="utf-8", errors="replace").strip()
        if not re.fullmatch("[1-9][0-9]{0,3}", text):
            cure = "Restore it; without it the present number is taken, which may round otherwise"
            raise InputError(note, repr(text), "the number of threads that a training began with", cure)
        chosen = int(text)
        if chosen != most:
            print(f"threads: {chosen}, as when it began (another number rounds otherwise)", file=sys.stderr)
    else:
        if work and most > 1 and os.environ.get("OMP_NUM_THREADS") == os.environ.get("PYASP_THREADS"):
            chosen = faster(work, (most, 1), PROBE_SECONDS, clock)
            why = f"one is faster: the {most} cores are shared with others" if chosen == 1 else "faster than one"
            print(f"threads: {chosen} ({why}, measured now; OMP_NUM_THREADS sets another number)", file=sys.stderr)
        with atomic_write(note, "w") as stream:
            stream.write(f"{chosen}\n")
    torch.set_num_threads(chosen)
    return chosen


def prefetched(items: Iterable[T], ahead: int = 8) -> Iterator[T]:
    """The same items in the same order, made in a thread while the consumer computes; exceptions come through.

    At most `ahead` items wait. A consumer that stops early waits for the item in the making, and no thread is left.
    Where the garbage collector ends it, in whichever thread that is, the maker's own cannot wait for itself: it ends
    after the item in the making.
    """
    makers: list[int] = []
    maker = ThreadPoolExecutor(1, initializer=lambda: makers.append(threading.get_ident()))
    source, end = iter(items), object()
    try:
        waiting: deque[Future[Any]] = deque(maker.submit(next, source, end) for _ in range(ahead))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(maker.submit(next, source, end))
            yield item
    finally:
        maker.shutdown(wait=threading.get_ident() not in makers, cancel_futures=True)
