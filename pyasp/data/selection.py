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
from pyasp.core.text import grouped
from pyasp.data.datadir import DataDir, c_sorted, invert, read_rows, write_rows

MIN_UTTS_FOR_VALIDATION = (3, 2)  # the first that some speaker has
LEFT_OUT = "left_out.tsv"  # in train_ubm and train_sel: how many recordings were left out by which rule
LOOSEN = "Loosen the limits in select.conf, or have voice activity keep more (--vad-energy-threshold of vad.conf)"
MUCH = 0.1  # share of the recordings or speakers that is worth a warning
HELD, BEYOND, LONGEST = "speaker held out (dev)", "speaker beyond --train-fraction", "not among the {} longest"
ASKED_FOR = (HELD, BEYOND, "not among the ")  # how reasons begin that are no loss


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
    """Chosen utterances and, for each rule, how many recordings it left out, and speakers of whom nothing is left."""

    ubm: list[str]
    train: list[str]
    valid: list[str]
    dev_speakers: list[str]
    left_out_ubm: Counter
    left_out_train: Counter
    lost_ubm: Counter
    lost_train: Counter


def draw_dev_speakers(speakers: list[str], fraction: float, seed: int) -> list[str]:
    """A seeded share of the speakers, C-sorted."""
    count = int(round(fraction * len(speakers)))
    return c_sorted(np.random.default_rng([seed, 1]).permutation(np.array(c_sorted(speakers), dtype=object))[:count])


def speakers_out(speakers: set[str], dev: list[str], fraction: float, seed: int) -> dict[str, str]:
    """{speaker: why nothing of his trains}."""
    others = c_sorted(speakers - set(dev))
    order = np.random.default_rng([seed, 8]).permutation(len(others))[int(np.ceil(fraction * len(others))) :]
    return dict.fromkeys((others[k] for k in order), BEYOND) | dict.fromkeys(dev, HELD)


def long_enough(
    person: Mapping[str, str], voiced: Mapping[str, int], least: int, out: Mapping[str, str]
) -> tuple[list[str], dict[str, str]]:
    """Recordings {utterance: person} that may train, and {utterance: why it may not}; out: as `speakers_out`."""
    short = f"fewer than {least} voiced frames"
    reasons = {utt: out.get(who, short if voiced[utt] < least else "") for utt, who in person.items()}
    return [utt for utt, reason in reasons.items() if not reason], {utt: why for utt, why in reasons.items() if why}


def select_ubm(
    utt2spk: Mapping[str, str], voiced: Mapping[str, int], out: Mapping[str, str], options: SelectOptions
) -> tuple[list[str], dict[str, str]]:
    """Clean recordings for UBM and extractor, and {utterance: why not}; out: as `speakers_out`."""
    kept, left_out = long_enough(utt2spk, voiced, options.min_voiced_ubm, out)
    if options.max_utts_ubm and len(kept) > options.max_utts_ubm:
        kept.sort(key=lambda utt: (-voiced[utt], utt))
        left_out |= dict.fromkeys(kept[options.max_utts_ubm :], LONGEST.format(options.max_utts_ubm))
        del kept[options.max_utts_ubm :]
    return c_sorted(kept), left_out


def select_train(aug: Augmented, out: Mapping[str, str], options: SelectOptions) -> tuple[list[str], dict[str, str]]:
    """Clean and augmented recordings for TDNN and PLDA, and {utterance: why not}; out: as `speakers_out`.

    The rule on recordings per speaker counts clean recordings: a copy is no new recording.
    """
    person = {utt: aug.person[utt] for utt in aug.utt2spk}
    usable, left_out = long_enough(person, aug.voiced, options.min_voiced, out)
    counts = Counter(aug.utt2spk[utt] for utt in usable if aug.utt2clean[utt] == utt)
    kept = [utt for utt in usable if counts[aug.utt2spk[utt]] >= options.min_utts]
    few = (utt for utt in usable if counts[aug.utt2spk[utt]] < options.min_utts)
    return c_sorted(kept), left_out | dict.fromkeys(few, f"speaker with fewer than {options.min_utts} such recordings")


def by_reason(utt2spk: Mapping[str, str], left_out: Mapping[str, str]) -> tuple[Counter, Counter]:
    """(recordings, speakers of whom all are left out) by reason: the one of most of their recordings."""
    of_speaker: dict[str, Counter] = {utt2spk[utt]: Counter() for utt in left_out}
    for utt, reason in left_out.items():
        of_speaker[utt2spk[utt]][reason] += 1
    some_left = {speaker for utt, speaker in utt2spk.items() if utt not in left_out}
    lost = Counter(each.most_common(1)[0][0] for speaker, each in of_speaker.items() if speaker not in some_left)
    return Counter(left_out.values()), lost


def write_left_out(directory: DataDir, recordings: Counter, speakers: Counter) -> None:
    """left_out.tsv of a training set, for `left_out_of` and `much_left_out`."""
    rows = ((str(count), reason, str(speakers[reason])) for reason, count in recordings.items())
    write_rows(directory / LEFT_OUT, ("recordings", "reason", "speakers"), rows)


def left_out_of(directory: DataDir) -> dict[str, tuple[int, int]]:
    """{reason: (recordings, speakers of whom nothing is left)} of a training set."""
    rows = read_rows(directory / LEFT_OUT) if directory.has(LEFT_OUT) else ()
    return {row["reason"]: (int(row["recordings"]), int(row.get("speakers", 0))) for row in rows}


def much_left_out(kept: DataDir, before: DataDir) -> list[str]:
    """A sentence for each rule that left out more than a tenth of the recordings or speakers of `before`, which nobody
    asked for by a number."""
    total, people = len(before.utt2spk), len(set(before.utt2spk.values()))
    told = []
    for reason, (recordings, speakers) in left_out_of(kept).items():
        if not reason.startswith(ASKED_FOR) and (recordings > MUCH * total or speakers > MUCH * people):
            there = f"{len(set(kept.utt2spk.values()))} of {people} speakers"
            share = f"{grouped(recordings)} of {grouped(total)} recordings"
            cause = _share_of_voice(before) if "voiced" in reason else ""
            told.append(f"{share} were left out of {kept.path.name}, which has {there}: {reason}{cause}")
    return told


def _share_of_voice(data: DataDir) -> str:
    """What voice activity keeps of the frames, in words; "" where that is not known."""
    names = ("utt2num_voiced", "utt2num_frames")
    voiced, frames = (data.counts(name) if data.has(name) else {} for name in names)
    spoken, total = (sum(table[utt] for utt in voiced.keys() & frames.keys()) for table in (voiced, frames))
    return (
        f" (select.conf); voice activity (vad.conf) keeps {100 * spoken / total:.0f} % of all frames" if total else ""
    )


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
    ubm, reasons_ubm = select_ubm(clean, aug.voiced, out, options)
    train, reasons_train = select_train(aug, out, options)
    (left_out_ubm, lost_ubm), (left_out_train, lost_train) = (
        by_reason(clean, reasons_ubm),
        by_reason(aug.utt2spk, reasons_train),
    )
    for name, utts, why in (("train_ubm", ubm, left_out_ubm), ("train_sel", train, left_out_train)):
        if not utts:
            reasons = "; ".join(f"{count} {reason}" for reason, count in why.items())
            raise InputError(name, f"no recording left ({reasons})", "at least one", LOOSEN)
    valid = draw_valid(train, aug, options, seed)
    return Selection(ubm, train, valid, dev_speakers, left_out_ubm, left_out_train, lost_ubm, lost_train)
