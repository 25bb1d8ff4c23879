"""Extended file names: `path`, `path:offset`, `path:offset[r0:r1,c0:c1]`, `-`, `command |`.

They follow Kaldi's "rxfilename" and script-file range conventions (https://kaldi-asr.org/doc/io.html). A command is
refused unless the user admitted commands; nothing here runs one.
"""

import os
import re
from dataclasses import dataclass

from pyasp.core.errors import InputError

ROW_TOLERANCE = 3  # a row range may end so many rows past the last one (Kaldi: the length of a feature file may vary)
RANGE = re.compile(r"\[([^\[\]]*)\]$")
SPAN = re.compile(r"(\d+):(\d+)|:?")
OFFSET = re.compile(r":(\d+)$")
Range = tuple[int, int] | None  # inclusive first and last index; None = all


@dataclass(frozen=True)
class Location:
    """A parsed rxfilename: `path:offset[r0:r1,c0:c1]`, or a command (without its `|`)."""

    path: str
    offset: int = 0
    rows: Range = None
    columns: Range = None
    command: bool = False


def parse_location(
    rxfilename: str | os.PathLike,
    allow_commands: bool = False,
    where: object = "rxfilename",
    item: object | None = None,
) -> Location:
    """Splits `path[:offset][range]`; `where` and `item` name the place that it was read from.

    Raises InputError for a command unless `allow_commands`, for a malformed range and for an empty name.
    """
    text = os.fspath(rxfilename).strip()
    rows = columns = None
    found = RANGE.search(text)
    if found:
        rows, columns = _parse_ranges(found.group(1), where, item if item is not None else text)
        text = text[: found.start()].rstrip()
    if is_command(text):
        refuse_command(text, allow_commands, where, item)
        return Location(text.rstrip("|").strip(), 0, rows, columns, True)
    if not text:
        raise InputError(where, "an empty file name", "path, path:offset or path:offset[range]", "Repair it", item)
    found = OFFSET.search(text)
    if found:
        return Location(text[: found.start()], int(found.group(1)), rows, columns)
    return Location(text, 0, rows, columns)


def is_command(text: str) -> bool:
    """True for `command |` and `| command`."""
    return text.startswith("|") or text.rstrip().endswith("|")


def refuse_command(text: str, allow_commands: bool, where: object, item: object | None = None) -> None:
    """Raises InputError for a command, unless it is a reading one (`command |`) and the user admitted commands."""
    if text.startswith("|"):
        found = f"the output command {text!r}"
        raise InputError(where, found, "a file", "Write to a file and run the command on it", item)
    if not allow_commands:
        cure = "Run it and name the file that it makes; if you trust it, some tools take --allow-commands"
        raise InputError(where, f"the command {text!r}", "a file name", cure, item)


def _parse_ranges(text: str, where: object, item: object) -> tuple[Range, Range]:
    spans = [SPAN.fullmatch(part.strip()) for part in text.split(",")]
    found: list[Range] = [(int(each[1]), int(each[2])) if each[1] else None for each in spans if each]
    if len(spans) > 2 or len(found) < len(spans) or any(each and each[0] > each[1] for each in found):
        expected = "[rows] or [rows,columns] of first:last, both included, first <= last"
        raise InputError(where, f"the range [{text}]", expected, "Repair the range", item)
    return found[0], found[1] if len(found) == 2 else None


def extent(location: Location, shape: tuple[int, ...], where: object, item: object) -> tuple[slice, ...]:
    """Rows, and of a matrix columns, that a location's ranges select of an array of this shape, as half-open slices.

    Row ranges may end ROW_TOLERANCE rows behind the last. Raises InputError naming `where` and `item`.
    """
    if location.columns is not None and len(shape) != 2:
        raise InputError(where, "a column range of a vector", "a range [first:last]", "Repair the range", item)
    rows = _resolved(location.rows, shape[0], ROW_TOLERANCE, "row", where, item)
    return (rows, _resolved(location.columns, shape[-1], 0, "column", where, item))[: len(shape)]


def _resolved(wanted: Range, size: int, tolerance: int, what: str, where: object, item: object) -> slice:
    """Half-open slice of an inclusive range on `size` entries; the end may exceed it by `tolerance` and is clipped."""
    if wanted is None:
        return slice(0, size)
    first, last = wanted
    if first >= size or last >= size + tolerance:
        found = f"the {what} range {first}:{last} of {size} {what}s"
        raise InputError(where, found, f"indices below {size}", "Repair the range or make the table again", item)
    return slice(first, min(last + 1, size))
