"""SRE10: speakers of the segments from the keys of the extended core condition.

keys/coreext.modelkey.csv: model, speaker (or NOT_SCORED). train/coreext.trn: `model gender path:A|B`.
keys/coreext-coreext.trialkey.csv: model, segment, side, target, is_scored, conditions.
"""

from __future__ import annotations

from local.sre08 import channel_of
from local.sre12_tables import Recordings
from local.training import Corpus, check_genders, find_table, rows

MODELS, TRAIN, TRIALS = "coreext.modelkey.csv", "coreext.trn", "coreext-coreext.trialkey.csv"
NOT_SCORED = "NOT_SCORED"


def read(name: str, root: str) -> Corpus:
    """Training sides of the models and test sides of the target trials. InputError for missing or foreign keys."""
    corpus, recordings = Corpus(name), Recordings([root])
    speakers = {model: pin for _, (model, pin, *_) in rows(find_table(root, MODELS), 2)}
    table, genders = find_table(root, TRAIN), {}
    lines = list(rows(table, 3, None))
    check_genders(table, (cells[1] for _, cells in lines))
    for number, (model, gender, side, *_) in lines:
        genders[model] = gender
        if speakers.get(model, NOT_SCORED) == NOT_SCORED:
            corpus.drop("models without a speaker in the key")
            continue
        path, _, channel = side.split(",")[0].rpartition(":")
        where = f"{table}: line {number}"
        corpus.add(speakers[model], gender, path, channel_of(channel, where), recordings, where)
    table = find_table(root, TRIALS)
    for number, (model, segment, channel, target, *_) in rows(table, 4):
        if target == "target" and speakers.get(model, NOT_SCORED) != NOT_SCORED:
            where = f"{table}: line {number}"
            corpus.add(speakers[model], genders.get(model, ""), segment, channel_of(channel, where), recordings, where)
    return corpus
