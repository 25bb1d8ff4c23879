"""Which recordings train what: voiced length, recordings per speaker, hold-outs. All draws are seeded.

- `dev_speakers`: a share of the training speakers kept out of UBM, extractor, TDNN and PLDA.
- Of the others all train, or a share of them, for learning curves: a smaller share lies within a larger one.
- UBM and extractor train on clean recordings; the TDNN and PLDA on clean and augmented ones of speakers with enough.
- `valid_utts`: one clean recording of each of some speakers with at least three (two, where nobody has three); it and
  its copies are not trained on. Empty where every speaker has one recording: then networks cannot be trained.
"""

import dataclasses
from collections import Counter
from collections.abc import Mapping

import numpy as np

from pyasp.core.errors import InputError
from pyasp.core.options import Fraction, Natural, Part, Share, check_options, option
from pyasp.data.datadir import c_sorted, invert

MIN_UTTS_FOR_VALIDATION = (3, 2)  # the first that some speaker has
LEFT_OUT = "left_out.tsv"  # in train_ubm and train_sel: how many recordings were left out by which rule


@dataclasses.dataclass(frozen=True)
class SelectOptions:
    """Selection of training material (select.conf)."""

    min_voiced_ubm: int = option(50, "least voiced frames of a recording for UBM and extractor")
    max_utts_ubm: Natural = option(0, "at most so many recordings, the longest, for UBM and extractor; 0 for all")
    min_voiced: int = option(
        400, "least voiced frames of a recording for TDNN and PLDA (Kaldi voxceleb 400, sre16 500)"
    )
    min_utts: int = option(8, "least recordings of a speaker for TDNN and PLDA, after the rule above")
    max_valid_utts: Natural = option(1000, "at most so many recordings held out for validation of the TDNN")
    valid_fraction: Share = option(
        0.5, "share of the speakers with at least 3 recordings (or 2) that give one for validation"
    )
    dev_fraction: Part = option(0.0, "share of the speakers held out as dev_speakers")
    train_fraction: Fraction = option(1.0, "share of the other speakers that train, for learning curves")

    def __post_init__(self) -> None:
        check_options(self, "selection")


@dataclasses.dataclass(frozen=True)
class Augmented:
    """The augmented set, by utterance: speaker, clean original, voiced frames, and the person: a copy at another speed
    is another speaker's, but the same person's."""

    utt2spk: Mapping[str, str]
    utt2clean: Mapping[str, str]
    voiced: Mapping[str, int]
    person: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Selection:
    """Chosen utterances and, for each rule, how many recordings it left out."""

    ubm: list[str]
    train: list[str]
    valid: list[str]
    dev_speakers: list[str]
    left_out_ubm: Counter
    left_out_train: Counter


def draw_dev_speakers(speakers: list[str], fraction: float, seed: int) -> list[str]:
    """A seeded share of the speakers, C-sorted."""
    count = int(round(fraction * len(speakers)))
    return c_sorted(np.random.default_rng([seed, 1]).permutation(np.array(c_sorted(speakers), dtype=object))[:count])


def speakers_out(speakers: set[str], dev: list[str], fraction: float, seed: int) -> dict[str, str]:
    """{speaker: why nothing of his trains}."""
    others = c_sorted(speakers - set(dev))
    order = np.random.default_rng([seed, 8]).permutation(len(others))[int(np.ceil(fraction * len(others))) :]
    unused = dict.fromkeys((others[k] for k in order), "speaker beyond --train-fraction")
    return unused | dict.fromkeys(dev, "speaker held out (dev)")


def long_enough(
    person: Mapping[str, str], voiced: Mapping[str, int], least: int, out: Mapping[str, str]
) -> tuple[list[str], Counter]:
    """Recordings {utterance: person} that may train, and what was left out by which rule; out: as `speakers_out`."""
    short = f"fewer than {least} voiced frames"
    reasons = {utt: out.get(who, short if voiced[utt] < least else "") for utt, who in person.items()}
    return [utt for utt, reason in reasons.items() if not reason], Counter(filter(None, reasons.values()))


def select_ubm(
    utt2spk: Mapping[str, str], voiced: Mapping[str, int], out: Mapping[str, str], options: SelectOptions
) -> tuple[list[str], Counter]:
    """Clean recordings for UBM and extractor, and what was left out by which rule; out: as `speakers_out`."""
    kept, left_out = long_enough(utt2spk, voiced, options.min_voiced_ubm, out)
    if options.max_utts_ubm and len(kept) > options.max_utts_ubm:
        left_out[f"not among the {options.max_utts_ubm} longest"] = len(kept) - options.max_utts_ubm
        kept = sorted(kept, key=lambda utt: (-voiced[utt], utt))[: options.max_utts_ubm]
    return c_sorted(kept), left_out


def select_train(aug: Augmented, out: Mapping[str, str], options: SelectOptions) -> tuple[list[str], Counter]:
    """Clean and augmented recordings for TDNN and PLDA, and what was left out by which rule; out: as `speakers_out`.

    The rule on recordings per speaker counts clean recordings: a copy is no new recording.
    """
    person = {utt: aug.person[utt] for utt in aug.utt2spk}
    usable, left_out = long_enough(person, aug.voiced, options.min_voiced, out)
    counts = Counter(aug.utt2spk[utt] for utt in usable if aug.utt2clean[utt] == utt)
    kept = [utt for utt in usable if counts[aug.utt2spk[utt]] >= options.min_utts]
    left_out[f"speaker with fewer than {options.min_utts} such recordings"] = len(usable) - len(kept)
    return c_sorted(kept), +left_out


def lopsided(utt2spk: Mapping[str, str]) -> str:
    """A sentence where one of several speakers has more than half of the recordings; else nothing."""
    counts = Counter(utt2spk.values()).most_common(1)
    if not counts or counts[0][1] <= len(utt2spk) / 2 or len(set(utt2spk.values())) < 3:
        return ""
    return (
        f"speaker {counts[0][0]} has {counts[0][1]} of {len(utt2spk)} training recordings, so that models are mostly "
        "of that voice; networks draw all speakers alike with --sampling=speaker (tdnn.conf)"
    )


def draw_valid(train: list[str], aug: Augmented, options: SelectOptions, seed: int) -> list[str]:
    """One clean recording of each of some speakers with enough of them, seeded, and every copy of it, C-sorted."""
    rng = np.random.default_rng([seed, 2])
    by_speaker = invert({utt: aug.utt2spk[utt] for utt in train if aug.utt2clean[utt] == utt})
    enough: list[str] = []
    for least in MIN_UTTS_FOR_VALIDATION:
        enough = enough or [spk for spk, utts in by_speaker.items() if len(utts) >= least]
    count = min(options.max_valid_utts, int(np.ceil(options.valid_fraction * len(enough))))
    drawn = [enough[k] for k in rng.permutation(len(enough))[:count]]
    chosen = {by_speaker[spk][rng.integers(len(by_speaker[spk]))] for spk in drawn}
    return c_sorted(utt for utt in train if aug.utt2clean[utt] in chosen)


def select(clean: Mapping[str, str], aug: Augmented, options: SelectOptions, seed: int) -> Selection:
    """Applies every rule. clean: {utterance: speaker} of the clean set.

    Raises InputError when a selection is empty.
    """
    dev_speakers = draw_dev_speakers(sorted(set(clean.values())), options.dev_fraction, seed)
    out = speakers_out(set(clean.values()), dev_speakers, options.train_fraction, seed)
    ubm, left_out_ubm = select_ubm(clean, aug.voiced, out, options)
    train, left_out_train = select_train(aug, out, options)
    for name, utts, left_out in (("train_ubm", ubm, left_out_ubm), ("train_sel", train, left_out_train)):
        if not utts:
            reasons = "; ".join(f"{count} {reason}" for reason, count in left_out.items())
            raise InputError(name, f"no recording left ({reasons})", "at least one", "Loosen the limits in select.conf")
    valid = draw_valid(train, aug, options, seed)
    return Selection(ubm, train, valid, dev_speakers, left_out_ubm, left_out_train)
