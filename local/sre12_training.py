"""Training corpora of SRE12: which are given, their readers, one set of utterances with one label a person."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from local import sre12_corpora as corpora
from local.common import PrepOptions, Utterance, index_by_id
from local.training import Corpus, label, within
from pyasp.core.errors import InputError
from pyasp.core.options import Share, option

ENROLMENT = ("sre06", "sre08", "sre10")  # corpora that hold enrolment recordings
TRAINING: dict[str, Callable[..., Corpus]] = {
    **dict.fromkeys(corpora.LISTED, corpora.read_listed),
    **dict.fromkeys(corpora.EVALUATIONS, corpora.read_evaluation),
    **dict.fromkeys(corpora.CALLS, corpora.read_calls),
    "mixer6": corpora.read_mixer6,
}


@dataclass(frozen=True)
class TrainingOptions(PrepOptions):
    """Where the training corpora lie, and what becomes of them."""

    cts: str = option("", "NIST CTS superset, for training alone: docs/cts_superset_segment_key.tsv and data/")
    sre04: str = option("", "SRE04 (LDC2006S44): training")
    sre05: str = option("", "SRE05 (LDC2011S01, S04 below one directory): training")
    sre06: str = option("", "SRE06 (LDC2011S09, S10, LDC2012S01 below one directory): training, enrolment recordings")
    sre08: str = option("", "SRE08 (LDC2011S05, S08 below one directory): training, enrolment recordings")
    sre10: str = option("", "SRE10 (LDC2017S06): training, enrolment recordings")
    swbd2p1: str = option("", "Switchboard-2 phase 1 (LDC98S75): training")
    swbd2p2: str = option("", "Switchboard-2 phase 2 (LDC99S79): training")
    swbd2p3: str = option("", "Switchboard-2 phase 3 (LDC2002S06): training")
    swbcell1: str = option("", "Switchboard Cellular 1 (LDC2001S13): training")
    swbcell2: str = option("", "Switchboard Cellular 2 (LDC2004S07): training")
    fisher1: str = option("", "Fisher part 1 (LDC2004S13, LDC2004T19 below one directory): training")
    fisher2: str = option("", "Fisher part 2 (LDC2005S13, LDC2005T19 below one directory): training")
    mixer6: str = option("", "Mixer 6 (LDC2013S03): training on its telephone calls")
    speaker_list: str = option("", f"{corpora.LIST} of SRE04 to SRE06; default: in the corpus, or beside it")
    train_on: str = option(
        "auto",
        "training corpora, comma between; auto = the CTS superset where it is given (then SRE06, "
        "SRE08 and SRE10 serve enrolment alone), and every other that is given",
    )
    merge_pins: bool = option(True, "one speaker label a Mixer PIN across SRE04 to SRE10 and Mixer 6")
    keep_microphone: bool = option(
        False, "train on SRE08's and SRE10's microphone recordings too; the paper trains on telephone recordings"
    )
    max_missing_train: Share = option(0.05, "largest fraction of a training corpus's recordings that may be missing")


def training_names(options: TrainingOptions) -> list[str]:
    """Corpora to train on. Raises InputError for an unknown one, one without its directory, and for none at all."""
    given = [name for name in (*TRAINING, "cts") if getattr(options, name)]
    if options.train_on == "auto":
        names = [name for name in given if not options.cts or name not in ENROLMENT]
    else:
        names = [name.strip() for name in options.train_on.split(",")]
    wrong = [name for name in names if name not in given]
    if wrong:
        found, expected = f"{wrong[0]!r}, which is not given", f"some of: {' '.join(given) or 'none given'}"
        raise InputError("--train-on", found, expected, f"Give --{wrong[0]}=DIR, or leave it out")
    if not names:
        told = "no training corpus"
        cure = "Give the directories of the corpora you have; the CTS superset (--cts) can stand in for all"
        raise InputError("command line", told, "at least one of --" + " --".join((*TRAINING, "cts")), cure)
    return names


def _read(name: str, options: TrainingOptions) -> Corpus:
    reader = TRAINING[name]
    own = {corpora.read_listed: (options.speaker_list,), corpora.read_evaluation: (options.keep_microphone,)}
    return reader(name, getattr(options, name), *own.get(reader, ()))


def read_training(options: TrainingOptions, names: list[str]) -> tuple[dict[str, Utterance], dict[str, Any]]:
    """({utterance id: utterance}, {corpus: counts, "merging": counts}). Raises InputError for what a corpus lacks."""
    read, summary = [], {}
    for name in names:
        if name == "cts":
            continue
        corpus = _read(name, options)
        allowed = 1.0 if corpus.table_covers_more else options.max_missing_train
        cure = f"Complete --{name}, or allow a fraction with --max-missing-train"
        within(f"{name}: recordings", corpus.missing, len(corpus.missing) + len(corpus.sides), allowed, cure)
        if not corpus.sides:
            found = "no recording of its tables"
            raise InputError(getattr(options, name), found, f"the audio of {name} below it", f"Check --{name}")
        summary[f"train/{name}"] = corpus.counts()
        read.append(corpus)
    utterances, counts = label(read, options.merge_pins)
    if read:
        summary["train/merging"] = counts
    if "cts" in names:
        own = "cts_" if read else ""
        segments = [
            replace(utt, id=f"{own}{utt.id}", speaker=f"{own}{utt.speaker}") for utt in corpora.read_cts(options.cts)
        ]
        summary["train/cts"] = {"sides": len(segments)}
        utterances += segments
    return index_by_id(utterances, "training corpora"), summary
