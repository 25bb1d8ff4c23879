"""Progress bars: one rule for when they show."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

from tqdm import tqdm


def bar(items: Iterable[Any] | None = None, total: int | None = None, title: str = "", unit: str = "it") -> tqdm:
    """A tqdm bar on stderr, shown on a terminal, or where PYASP_PROGRESS=1 says that the output is passed on to one.

    items: what to iterate over, or None for a bar that is advanced with `update()`.
    """
    shown = os.environ.get("PYASP_PROGRESS") == "1"
    return tqdm(items, total=total, desc=title or None, unit=unit, disable=False if shown else None, dynamic_ncols=True)
