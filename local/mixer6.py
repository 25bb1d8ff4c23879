"""Mixer 6 (LDC2013S03): its telephone calls, `data/ulaw_sphere/<date>_<time>_<call>.sph`; the interviews are not used.

docs/mx6_calls.csv: call_id, ..., sid_a, ..., sid_b; docs/mx6_subjs.csv: subject, gender. Speakers are Mixer PINs.
"""

from __future__ import annotations

from pathlib import Path

from local.sre12_tables import Recordings
from local.training import Corpus, check_genders, find_table, rows
from pyasp.core.errors import InputError

CALLS, SUBJECTS = "mx6_calls.csv", "mx6_subjs.csv"
COLUMNS = {"call_id": 0, "sid_a": 4, "sid_b": 12}  # where the header does not say


def _columns(header: list[str]) -> dict[str, int]:
    words = [word.lower() for word in header]
    return {name: words.index(name) if name in words else place for name, place in COLUMNS.items()}


def _files(root: str, recordings: Recordings) -> dict[str, str]:
    """{call: file name without suffix}. Raises InputError when no file is named <date>_<time>_<call>."""
    stems = (Path(path).stem for path in recordings.paths)
    found = {parts[2]: "_".join(parts) for parts in (stem.split("_") for stem in stems) if len(parts) == 3}
    if not found:
        raise InputError(
            root,
            "no recording <date>_<time>_<call>.sph",
            "data/ulaw_sphere/ with the telephone calls",
            "Unpack data/ulaw_sphere, and point --mixer6 at the directory with data/ and docs/",
        )
    return found


def read(name: str, root: str) -> Corpus:
    """Both sides of every call. Raises InputError for missing or foreign tables and when there is no audio."""
    table, recordings, corpus = find_table(root, CALLS), Recordings([root]), Corpus(name)
    subjects = find_table(root, SUBJECTS)
    people = {cells[0]: cells[1] for number, cells in rows(subjects, 2) if number > 1}
    check_genders(subjects, people.values())
    files, lines = _files(root, recordings), list(rows(table, max(COLUMNS.values()) + 1))
    columns = _columns(lines[0][1])
    for number, cells in lines[1:]:
        call = cells[columns["call_id"]]
        for side, column in enumerate(("sid_a", "sid_b")):
            pin = cells[columns[column]]
            if not pin:
                corpus.drop("sides without a speaker")
                continue
            corpus.add(pin, people.get(pin, ""), files.get(call, call), side, recordings, f"{table}: line {number}")
    return corpus
