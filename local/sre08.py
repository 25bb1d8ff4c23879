"""SRE08: speakers of the segments from the keys of short2 and short3 (both releases below one directory).

Model key: model, gender, segment:channel, speaker. Trial key: model, segment, channel, target, and Y or N for each of
the eight common conditions (header).
"""

from __future__ import annotations

from local import telephone
from local.sre12_tables import GENDERS, Recordings
from local.training import Corpus, check_genders, find_table, rows
from pyasp.core.errors import InputError

MODELS = "NIST_SRE08_short2.model.key"
TRIALS = "NIST_SRE08_short2-short3.trial.key"
CHANNELS = {"a": 0, "b": 1}


def channel_of(text: str, where: str) -> int:
    """0 or 1 of a or b. Raises InputError for anything else."""
    if text.lower() not in CHANNELS:
        raise InputError(where, f"channel {text!r}", "a or b", "Check the key")
    return CHANNELS[text.lower()]


def read(name: str, root: str, keep_microphone: bool = False) -> Corpus:
    """Training sides of the models and test sides of the target trials, those by telephone unless asked for all.

    Raises InputError for missing or foreign keys.
    """
    corpus, recordings, speakers = Corpus(name, keep_microphone=keep_microphone), Recordings([root]), {}
    table, trials = find_table(root, MODELS), find_table(root, TRIALS)
    lines = [(number, cells) for number, cells in rows(table, 4) if number > 1 or cells[1].lower() in GENDERS]
    check_genders(table, (cells[1] for _, cells in lines))
    targets = [(number, cells) for number, cells in rows(trials, 4) if cells[3] == "target"]
    kinds = telephone.Kinds((cells for _, cells in targets), telephone.SRE08)
    for number, (model, gender, side, pin, *_) in lines:
        segment, _, channel = side.partition(":")
        speakers[model] = pin, gender
        where = f"{table}: line {number}"
        channel, kind = channel_of(channel, where), kinds.of_model(model)
        corpus.add_kind(pin, gender, segment, channel, recordings, where, kind)
    for number, (model, segment, channel, *_) in targets:
        if model in speakers:
            where, kind = f"{trials}: line {number}", kinds.of_test(segment)
            channel = channel_of(channel, where)
            corpus.add_kind(*speakers[model], segment, channel, recordings, where, kind)
    return corpus
