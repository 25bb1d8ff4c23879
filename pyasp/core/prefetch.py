"""Reading ahead in a thread, so that the disk and the front end work while the consumer computes."""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


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
