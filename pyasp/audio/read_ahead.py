"""Asking the system for files before they are read: the disk or the network works while the processor computes.

A thread opens the files of the next items and asks for their contents (posix_fadvise); who reads them later finds them
in memory. It decodes nothing, so that it hardly ever wants Python's lock: decoding in a second thread cost half as much
processor time again, on files of one second. Faults are left to the reader, and come with their own item.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

MOST_BYTES = 64 << 20  # of a file that are asked for
T = TypeVar("T")


def ask_for(path: str) -> None:
    """Asks the system to read a file into its memory; nothing happens where that is not possible."""
    if not hasattr(os, "posix_fadvise"):
        return
    try:
        opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:  # the reader will say so
        return
    try:
        os.posix_fadvise(opened, 0, MOST_BYTES, os.POSIX_FADV_WILLNEED)
    except OSError:  # a pipe
        pass
    finally:
        os.close(opened)


def asked_ahead(items: Iterable[T], paths: Callable[[T], Iterable[str]], ahead: int) -> Iterator[T]:
    """The same items in the same order; the files `paths(item)` of the next `ahead` and more are asked for meanwhile.

    An exception of `items` comes after the items before it. When the iteration ends, for whatever reason, no thread is
    left.
    """
    wanted: queue.SimpleQueue[list[str] | None] = queue.SimpleQueue()
    worker = threading.Thread(target=_serve, args=(wanted,), daemon=True)
    worker.start()
    try:
        before: list[T] = []
        for group, fault in _groups(items, ahead):
            wanted.put([path for item in group for path in paths(item)])
            yield from before
            before = group
        yield from before
        if fault is not None:
            raise fault
    finally:
        wanted.put(None)
        worker.join()


def _groups(items: Iterable[T], size: int) -> Iterator[tuple[list[T], Exception | None]]:
    """The items, so many at a time, each with the exception that came behind them; the last may be empty."""
    source, fault, group = iter(items), None, None
    while fault is None and group != []:
        group = []
        try:
            group.extend(itertools.islice(source, size))
        except Exception as problem:
            fault = problem
        yield group, fault


def _serve(wanted: queue.SimpleQueue[list[str] | None]) -> None:
    last = ""
    while (paths := wanted.get()) is not None:
        for path in paths:
            if path != last:  # stretches of one recording follow each other
                ask_for(path)
            last = path
