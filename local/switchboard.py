"""Switchboard-2 phases 1 to 3 and Switchboard Cellular 1 and 2: two-channel calls, speakers `sw_<PIN>` in all parts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from local.sre12_tables import Recordings
from local.training import Corpus, check_genders, find_table, rows
from pyasp.core.errors import InputError


class Layout(NamedTuple):
    """A part's table of calls: its name, columns of the speakers and genders of sides A and B, how a file is called.

    info: a second table with two lines a call, whose first column is the file's name (phase 2).
    """

    table: str
    speakers: tuple[int, int]
    genders: tuple[int, int]
    file: str = "{call}"
    info: str = ""
    bad: tuple[str, ...] = ()


LAYOUTS = {
    "swbd2p1": Layout("callstat.tbl", (2, 3), (5, 6)),
    "swbd2p2": Layout("callstat.tbl", (2, 3), (4, 5), info="callinfo.tbl"),
    "swbd2p3": Layout("callstat.tbl", (3, 4), (5, 6), "sw_{call}"),
    "swbcell1": Layout("swb_callstats.tbl", (1, 2), (3, 4), "sw_{call}", bad=("40019", "45024", "40022")),
    "swbcell2": Layout("swb_callstats.tbl", (1, 2), (3, 4), "sw_{call}", bad=("40019", "45024", "40022")),
}


def _files(layout: Layout, table: Path, calls: list[list[str]]) -> Iterator[str]:
    """The file of each call: named by its own line, or by its two lines of the second table."""
    if not layout.info:
        yield from (layout.file.format(call=cells[0].removesuffix(".sph")) for cells in calls)
        return
    info = table.with_name(layout.info)
    if not info.is_file():
        raise InputError(info, "no such file", "the table with two lines a call", "Copy all of the disc's doc/")
    names = [cells[0] for _, cells in rows(info, 1)]
    pairs = list(zip(names[::2], names[1::2]))
    if len(names) != 2 * len(calls) or any(a != b for a, b in pairs):
        raise InputError(
            info,
            f"{len(names)} lines for {len(calls)} calls",
            f"two lines a call of {layout.table}",
            "The layout has changed: report the first lines of both tables",
        )
    yield from (name.removesuffix(".sph") for name, _ in pairs)


def read(name: str, root: str) -> Corpus:
    """Both sides of every call of one part, `swbd2p1` to `swbcell2`. InputError for missing or foreign tables."""
    layout, recordings, corpus = LAYOUTS[name], Recordings([root]), Corpus(name, "sw_")
    table = find_table(root, layout.table)
    lines = list(rows(table, max(layout.genders) + 1))
    check_genders(table, (cells[column] for _, cells in lines for column in layout.genders))
    for (number, cells), file in zip(lines, _files(layout, table, [cells for _, cells in lines])):
        if cells[0] in layout.bad:
            corpus.drop("calls known to be bad")
            continue
        for side in (0, 1):
            pin, gender = cells[layout.speakers[side]], cells[layout.genders[side]]
            corpus.add(pin, gender, file, side, recordings, f"{table}: line {number}")
    return corpus
