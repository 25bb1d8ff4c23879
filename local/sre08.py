"""SRE08: speakers of the segments from the keys of short2 and short3 (both releases below one directory).

Model key: model, gender, segment:channel, speaker. Trial key: model, segment, channel, target, conditions (header).
"""

from __future__ import annotations

from local.sre12_tables import GENDERS, Recordings
from local.training import Corpus, check_genders, find_table, rows
from pyasp.errors import InputError

MODELS = "NIST_SRE08_short2.model.key"
TRIALS = "NIST_SRE08_short2-short3.trial.key"
CHANNELS = {"a": 0, "b": 1}


def channel_of(text: str, where: str) -> int:
    """0 or 1 of a or b. Raises InputError for anything else."""
    if text.lower() not in CHANNELS:
        raise InputError(where, f"channel {text!r}", "a or b", "Check the key")
    return CHANNELS[text.lower()]


def read(name: str, root: str) -> Corpus:
    """Training sides of the models and test sides of the target trials. InputError for missing or foreign keys."""
    corpus, recordings, speakers = Corpus(name), Recordings([root]), {}
    table = find_table(root, MODELS)
    lines = [(number, cells) for number, cells in rows(table, 4) if number > 1 or cells[1].lower() in GENDERS]
    check_genders(table, (cells[1] for _, cells in lines))
    for number, (model, gender, side, pin, *_) in lines:
        segment, _, channel = side.partition(":")
        speakers[model] = pin, gender
        where = f"{table}: line {number}"
        corpus.add(pin, gender, segment, channel_of(channel, where), recordings, where)
    table = find_table(root, TRIALS)
    for number, (model, segment, channel, target, *_) in rows(table, 4):
        if target == "target" and model in speakers:
            where = f"{table}: line {number}"
            corpus.add(*speakers[model], segment, channel_of(channel, where), recordings, where)
    return corpus
