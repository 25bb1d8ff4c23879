"""SRE10: speakers of the segments from the keys of the extended core condition.

keys/coreext.modelkey.csv: model, speaker (or NOT_SCORED). train/coreext.trn: `model gender path:A|B`.
keys/coreext-coreext.trialkey.csv: model, segment, side, target, is_scored, and Y or N for each of the nine common
conditions. Audio lies in data/{phonecall,interview}/{tel,mic}/.
"""

from __future__ import annotations

from local import telephone
from local.sre08 import channel_of
from local.sre12_tables import Recordings
from local.training import Corpus, check_genders, find_table, rows

MODELS, TRAIN, TRIALS = "coreext.modelkey.csv", "coreext.trn", "coreext-coreext.trialkey.csv"
NOT_SCORED = "NOT_SCORED"


def read(name: str, root: str, keep_microphone: bool = False) -> Corpus:
    """Training sides of the models and test sides of the target trials, those by telephone unless asked for all.

    Raises InputError for missing or foreign keys.
    """
    corpus, recordings, genders = Corpus(name, keep_microphone=keep_microphone), Recordings([root]), {}
    speakers = {model: pin for _, (model, pin, *_) in rows(find_table(root, MODELS), 2) if pin != NOT_SCORED}
    table, trials = find_table(root, TRAIN), find_table(root, TRIALS)
    targets = [(number, cells) for number, cells in rows(trials, 4) if cells[3] == "target"]
    kinds = telephone.Kinds((cells for _, cells in targets), telephone.SRE10)
    lines = list(rows(table, 3, None))
    check_genders(table, (cells[1] for _, cells in lines))
    for number, (model, gender, side, *_) in lines:
        genders[model] = gender
        if model not in speakers:
            corpus.drop("models without a speaker in the key")
            continue
        path, _, channel = side.split(",")[0].rpartition(":")
        where = f"{table}: line {number}"
        channel, kind = channel_of(channel, where), kinds.of_model(model)
        corpus.add_kind(speakers[model], gender, path, channel, recordings, where, kind)
    for number, (model, segment, channel, *_) in targets:
        if model in speakers:
            where, kind = f"{trials}: line {number}", kinds.of_test(segment)
            pin, gender, channel = speakers[model], genders.get(model, ""), channel_of(channel, where)
            corpus.add_kind(pin, gender, segment, channel, recordings, where, kind)
    return corpus
