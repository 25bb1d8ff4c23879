"""Asked to stop, or time to save: what a long training looks at between two steps."""

from __future__ import annotations

import signal
import time
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)  # the end of a job, and a batch system's warning before it


class Watch:
    """A context in which SIGTERM and SIGUSR1 are noted instead of ending the process at once."""

    def __init__(self, minutes: float):
        """minutes: between two checkpoints; 0 = no checkpoint falls due."""
        self.seconds, self.last, self.received = 60 * minutes, time.monotonic(), 0

    def __enter__(self) -> Watch:
        self.before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.received = number

    def due(self) -> bool:
        """True when the last checkpoint is older than the minutes say."""
        return bool(self.seconds) and time.monotonic() - self.last >= self.seconds

    def saved(self) -> None:
        """To be called after each checkpoint."""
        self.last = time.monotonic()
