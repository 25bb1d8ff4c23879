"""Fisher English parts 1 and 2: audio and transcripts (with the table of calls) below one directory.

`fe_03_p1_calldata.tbl`: 15 comma fields, header; call 0, PIN and gender of side A 5 and 6, of side B 10 and 11. People
share PINs: a speaker is a PIN and a gender.
"""

from __future__ import annotations

from local.sre12_tables import Recordings
from local.training import Corpus, check_genders, find_table, rows

TABLES = {"fisher1": "fe_03_p1_calldata.tbl", "fisher2": "fe_03_p2_calldata.tbl"}
SIDES = ((5, 6), (10, 11))
FIELDS = 15
BAD = ("01243", "06716", "00446")


def read(name: str, root: str) -> Corpus:
    """Both sides of every call of one part. Raises InputError for missing or foreign tables."""
    table, recordings, corpus = find_table(root, TABLES[name]), Recordings([root]), Corpus(name, "fe_")
    lines = [(number, cells) for number, cells in rows(table, FIELDS) if number > 1 or cells[0].isdigit()]
    check_genders(table, (cells[column][:1] for _, cells in lines for _, column in SIDES))
    for number, cells in lines:
        if cells[0] in BAD:
            corpus.drop("calls known to be bad")
            continue
        for side, (pin, gender) in enumerate(SIDES):
            sex = cells[gender][:1].lower()
            if sex not in ("m", "f") or not cells[pin]:
                corpus.drop("sides without PIN or gender")
                continue
            corpus.add(f"{cells[pin]}{sex}", sex, f"fe_03_{cells[0]}", side, recordings, f"{table}: line {number}")
    return corpus
