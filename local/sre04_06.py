"""SRE04, SRE05, SRE06: `*.sph` found by name through the public list of speakers (openslr.org/15).

The list has lines `speaker gender sre20YY utterance channel` and covers all three years' releases.
"""

from __future__ import annotations

from pathlib import Path

from local.sre12_tables import Recordings
from local.training import Corpus, check_genders, rows
from pyasp.core.errors import InputError

LIST = "speaker_list"
WHERE = "https://www.openslr.org/resources/15/speaker_list.tgz"
CHANNELS = {"a": 0, "b": 1, "x": 0}


def find_list(given: str, root: str) -> Path:
    """The list of speakers: as given, in the corpus, or beside it. Raises InputError that says where to get it."""
    places = [Path(given)] if given else [Path(root) / LIST, Path(root) / "docs" / LIST, Path(root).parent / LIST]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise InputError(
            places[0],
            "no such file",
            "the list of speakers of SRE04 to SRE06",
            f"Unpack {WHERE} there, or give --speaker-list=FILE (in prep.conf)",
        )
    return found


def read(name: str, root: str, speaker_list: str = "") -> Corpus:
    """One year, `sre04` to `sre06`. Raises InputError for a missing or foreign list and when no recording is there."""
    table, recordings = find_list(speaker_list, root), Recordings([root])
    corpus, year, genders = Corpus(name, table_covers_more=True), f"sre20{name[-2:]}", []
    for number, (pin, gender, edition, segment, channel, *_) in rows(table, 5, None):
        if edition != year:
            continue
        if channel.lower() not in CHANNELS:
            raise InputError(table, f"channel {channel!r}", "A, B or x", "Fetch the list again", item=f"line {number}")
        genders.append(gender)
        corpus.add(pin, gender, segment, CHANNELS[channel.lower()], recordings, f"{table}: line {number}")
    check_genders(table, genders)
    return corpus
