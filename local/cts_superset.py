"""NIST CTS superset as a training corpus: `docs/cts_superset_segment_key.tsv` and `data/<segment>.sph`."""

from __future__ import annotations

import os
from pathlib import Path

from local.common import Utterance, prefixed
from local.sre12_tables import GENDERS, Recordings
from pyasp.core.errors import InputError
from pyasp.core.text import read_lines

KEY = "docs/cts_superset_segment_key.tsv"
POSITIONS = {"segment": 1, "speaker": 3, "corpus": 7}  # when the header does not say
HEADER_NAMES = {
    "segment": ("segment", "segmentid", "segment_id"),
    "speaker": ("speaker", "speakerid", "speaker_id"),
    "corpus": ("corpus", "corpusid", "corpus_id"),
    "gender": ("gender", "sex"),
}


def columns_of(header: list[str], path: Path) -> dict[str, int]:
    """{name: column} from the header's words, else by position. Raises InputError when neither fits."""
    words = [word.strip().lower() for word in header]
    found = {name: words.index(word) for name, known in HEADER_NAMES.items() for word in known if word in words}
    found = {**POSITIONS, **found}
    if max(found.values()) >= len(words):
        raise InputError(
            path,
            f"{len(words)} columns ({' '.join(words)})",
            f"column {max(found.values()) + 1}, or names segment, speaker, corpus",
            "Fetch the key again",
        )
    return found


def read_cts(root: str) -> list[Utterance]:
    """Every segment of the key. Raises InputError for a missing key, a ragged line and a segment without a file."""
    path = Path(root) / KEY
    if not path.is_file():
        raise InputError(path, "no such file", "the segment key", "Point --cts at the unpacked CTS superset")
    header, *lines = read_lines(path) or [""]
    columns = columns_of(header.split("\t"), path)
    files, utterances = _Files(root), []
    for number, line in enumerate(lines, 2):
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) <= max(columns.values()):
            raise InputError(
                path,
                f"{len(cells)} fields",
                f"{len(header.split(chr(9)))}, as in the header",
                "Fetch the key again",
                item=f"line {number}",
            )
        utterances.append(_utterance({name: cells[column] for name, column in columns.items()}, files, path, number))
    return utterances


class _Files:
    """data/<segment>.sph; directories below data/ are searched when it is not there."""

    def __init__(self, root: str):
        self.data = os.path.join(os.path.abspath(root), "data")
        self.below: Recordings | None = None

    def find(self, segment: str) -> str | None:
        path = os.path.join(self.data, segment if segment.endswith(".sph") else f"{segment}.sph")
        if os.path.isfile(path):
            return path
        self.below = self.below or Recordings([self.data])
        return self.below.find(segment)


def _utterance(row: dict[str, str], files: _Files, key: Path, number: int) -> Utterance:
    segment = row["segment"].removesuffix(".sph")
    path = files.find(segment)
    if path is None:
        raise InputError(
            key,
            f"segment {segment} without a file in {files.data}",
            "data/<segment>.sph",
            "Unpack all of data/, or check that the segment column is the right one",
            item=f"line {number}",
        )
    gender = GENDERS.get(row.get("gender", "").lower(), "")
    return Utterance(prefixed(segment, row["speaker"]), row["speaker"], path, gender, info={"corpus": row["corpus"]})
