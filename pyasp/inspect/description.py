"""What a description is made of: lines for people that carry the same facts for programs; how one kind of file is
described (`View`); how lines are printed.

A `Line` is text with `cells`, the columns that are aligned with those of its neighbours, and `facts`. Lines whose facts
have a `key` are entries of a file (or of a directory); the other facts are of the file as a whole.
"""

import json
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import IO, Any

import numpy as np

from pyasp.core.errors import InputError

BLOCK = 200  # lines looked at for the widths of columns before they are printed; widths only grow after that
WIDEST = 48  # cells longer than this do not push the columns to their right
ALARM = re.compile(r"\d+ NaN and \d+ infinite|NOT sorted[^,]*|\d+ NaN or infinite values")
NONE = re.compile(r"\b0 NaN")


class Line(str):
    """Text with `cells` (columns; one: the whole line) and `facts` ({name: plain value})."""

    cells: tuple[str, ...]
    facts: dict[str, Any]


Lines = Iterator[Line]


@dataclass(frozen=True)
class View:
    """How to show one kind of file: all of it, one entry (None: it holds one object), as text, and as an array (None:
    it has no such form). Told the path and the key (None: all of it)."""

    describe: Callable[[str], Lines]
    entry: Callable[[str, str], Lines] | None = None
    text: Callable[[str, str | None], Iterable[str]] | None = None
    array: Callable[[str, str | None], np.ndarray] | None = None


def missing(path: str, key: str) -> InputError:
    """The error for a key that a file does not have."""
    return InputError(path, f"no entry {key!r}", "one of its keys", "List the keys by leaving KEY out")


def line(*cells: str, **facts: Any) -> Line:
    """A line of one or more columns."""
    made = Line("  ".join(cell for cell in cells if cell))
    made.cells, made.facts = cells, facts
    return made


def span(values: np.ndarray) -> str:
    """`min .. max, mean m`, and the number of values that are not finite if there are any."""
    found = span_facts(values)
    bad = found["nan"] + found["infinite"]
    alarm = f", {found['nan']} NaN and {found['infinite']} infinite" if bad else ""
    if found["mean"] is None:
        return f"no {'finite values' if bad else 'values'}{alarm}"
    return f"{found['min']:.5g} .. {found['max']:.5g}, mean {found['mean']:.5g}{alarm}"


def span_facts(values: np.ndarray) -> dict[str, Any]:
    """min, max, mean of the finite values (None without any), and the numbers of NaN and of infinite ones."""
    values = np.asarray(values)
    finite = values[np.isfinite(values)]
    some = finite.size > 0
    return {
        "min": finite.min().item() if some else None,
        "max": finite.max().item() if some else None,
        "mean": float(finite.mean(dtype=np.float64)) if some else None,
        "nan": int(np.isnan(values).sum()),
        "infinite": int(np.isinf(values).sum()),
    }


def shape_text(array: np.ndarray) -> str:
    """`260 x 20` or `50`."""
    return " x ".join(str(size) for size in array.shape)


def array_facts(kind: str, array: np.ndarray) -> dict[str, Any]:
    """Type, shape and range of an array."""
    return {"type": kind, "shape": list(array.shape), **span_facts(array)}


def array_line(head: str, stored: str, array: np.ndarray, **facts: Any) -> Line:
    """`head`, shape and range of an array on one line. stored: its type, for programs."""
    return line(f"{head} {shape_text(array)}  {span(array)}", **facts, **array_facts(stored, array))


def row_lines(array: np.ndarray) -> Lines:
    """Every row of a small array, the ends of a large one."""
    rows = array if array.ndim == 2 else array[None]
    for number in [i for i in range(len(rows)) if i < 5 or i >= len(rows) - 2]:
        values = " ".join(f"{value:.5g}" for value in rows[number][:8])
        yield line(f"  [{number}] {values}{' ...' if rows.shape[1] > 8 else ''}")


# ---------------------------------------------------------------- for people


def aligned(lines: Iterable[Line]) -> Iterator[str]:
    """The same lines with the columns of neighbours one below the other; a huge listing starts at once.

    Lines without text, which carry facts alone, are left out.
    """
    source, widths = (each for each in lines if each), [0]
    while block := list(islice(source, BLOCK)):
        rows = [each for each in block if len(each.cells) > 1]
        for each in rows:
            widths += [0] * (len(each.cells) - len(widths))
            for column, cell in enumerate(each.cells):
                widths[column] = max(widths[column], min(len(cell), WIDEST))
        for each in block:
            yield each if len(each.cells) == 1 else "  ".join(map(str.ljust, each.cells, widths)).rstrip()


def fitted(text: str, width: int) -> str:
    """The text, cut to a terminal's width."""
    return text if len(text) <= width else f"{text[: width - 1]}…"


def coloured(text: str, first: bool) -> str:
    """What a terminal shows in bold (the first line) and in red (what is wrong)."""
    text = text if NONE.search(text) else ALARM.sub(lambda found: f"\x1b[31m{found.group()}\x1b[0m", text)
    return f"\x1b[1m{text}\x1b[0m" if first else text


def show(lines: Iterable[Line], stream: IO[str]) -> None:
    """Prints a description: cut to the width and coloured on a terminal (not with NO_COLOR), plain elsewhere."""
    terminal = stream.isatty()
    width = shutil.get_terminal_size().columns
    colour = terminal and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    for number, text in enumerate(aligned(lines)):
        text = "\n".join(fitted(each, width) for each in text.split("\n")) if terminal else text
        stream.write((coloured(text, number == 0) if colour else text) + "\n")


# ---------------------------------------------------------------- for programs


def as_json(path: str, lines: Iterable[Line], stream: IO[str]) -> None:
    """One JSON object: `file`, the facts of the file, `entries`; not a number is null, as JSON has no NaN."""
    facts: dict[str, Any] = {"file": path}
    entries: list[dict[str, Any]] = []
    for each in lines:
        if "key" in each.facts:
            entries.append(each.facts)
        else:
            facts.update(each.facts)
    json.dump(_plain({**facts, "entries": entries}), stream, indent=1, ensure_ascii=False, allow_nan=False)
    stream.write("\n")


def _plain(value: Any) -> Any:
    """JSON has no infinities: they become text, NaN null."""
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return None if np.isnan(value) else str(value)
    return value
