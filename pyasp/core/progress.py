"""Progress bars: one rule for when they show, and what several systems at once show on one terminal.

PYASP_PROGRESS=1: the output is passed on to a terminal, bars are drawn. PYASP_PROGRESS=lines: to `paint`, for which
each state is a line that begins with a carriage return. Otherwise bars show on a terminal alone.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TextIO

if TYPE_CHECKING:
    from tqdm import tqdm


class _States(io.TextIOBase):
    """Passes on what a bar draws as lines for `paint`."""

    def write(self, text: str) -> int:
        if state := text.strip():
            sys.stderr.write(f"\r{state}\n")
        return len(text)


def bar(items: Iterable[Any] | None = None, total: int | None = None, title: str = "", unit: str = "it") -> tqdm:
    """A tqdm bar on stderr, shown on a terminal, or where PYASP_PROGRESS says that the output is passed on to one.

    items: what to iterate over, or None for a bar that is advanced with `update()`.
    """
    from tqdm import tqdm

    way = os.environ.get("PYASP_PROGRESS")
    disable = False if way in ("1", "lines") else None
    file, pause = (_States(), 0.5) if way == "lines" else (None, 0.1)
    return tqdm(
        items,
        total=total,
        desc=title or None,
        unit=unit,
        disable=disable,
        dynamic_ncols=way != "lines",
        mininterval=pause,
        file=file,
    )


def paint(lines: Iterable[str], screen: TextIO, size: Callable[[], tuple[int, int]]) -> None:
    """Lines `<system>: <text>` on a terminal of (columns, rows) = size(): a text that begins with a carriage return is
    where the system is, shown in its line at the bottom until the next one, an empty one takes the line away; all
    others are written above, as they are."""
    states: dict[str, str] = {}
    shown = 0
    for line in lines:
        name, _, text = line.rstrip("\n").partition(": ")
        if text.startswith("\r"):
            states[name], line = text[1:], ""
        columns, rows = (given or usual for given, usual in zip(size(), (80, 24)))  # 0: the terminal does not know
        bottom = [f"{each}: {state}"[: columns - 1] + "\n" for each, state in states.items() if state][: rows - 1]
        screen.write(f"{_up(shown)}{line}{''.join(bottom)}")
        screen.flush()
        shown = len(bottom)
    screen.write(_up(shown))  # of systems that were killed: what run.sh says of it stands above
    screen.flush()


def _up(lines: int) -> str:
    """Takes the lowest lines of a terminal away."""
    return f"\x1b[{lines}A\r\x1b[J" if lines else ""


if __name__ == "__main__":
    sys.stdin.reconfigure(errors="replace", newline="\n")  # type: ignore[union-attr]
    paint(sys.stdin, sys.stderr, lambda: os.get_terminal_size(sys.stderr.fileno()))
