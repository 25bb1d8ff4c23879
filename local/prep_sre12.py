"""Prepares NIST SRE12: target speakers with several recordings, trial lists cc1..cc5, training corpora.

Test durations are classed by the nearest of 30, 100, 300 s in log duration (limits 54.8 and 173.2 s) of the header's
length. Who speaks in a test recording is not used: its speaker is the recording itself.
"""

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from local.audio_header import probe_all
from local.common import Preparation, Utterance, index_by_id, seen_in_training, unreadable
from local.sre12_tables import CONDITIONS, SIDES, AudioFiles, Targets, TestSide, find_key, read_key, read_targets
from local.sre12_training import ENROLMENT, TRAINING, TrainingOptions, read_training, training_names
from local.training import within
from local.trial_lists import ListWriter, open_list
from pyasp.audio.headers import Header
from pyasp.core.command import command
from pyasp.core.errors import InputError
from pyasp.core.options import Amount, Share, option

DURATION_CLASSES = ((54.8, "30"), (173.2, "100"), (float("inf"), "300"))  # (below this many seconds, class)
COLUMNS = ("known", "duration_class")


@dataclass(frozen=True)
class Sre12Options(TrainingOptions):
    """The evaluation."""

    root: str = option("", "LDC2016E45_2012_NIST_SRE: data/ and docs/ (enrolment recordings are looked for here too)")
    min_enroll_seconds: Amount = option(0.0, "leave out shorter enrolment recordings, such as the 10-second ones (15)")
    max_missing: Share = option(
        0.0, "largest fraction of enrolment recordings, and of trials, that may be missing (left out)"
    )


def duration_class(seconds: float) -> str:
    """30, 100 or 300: the nearest in log duration."""
    return next(name for limit, name in DURATION_CLASSES if seconds < limit)


def training_corpora(options: Sre12Options) -> list[str]:
    """The training corpora; lists those that are absent. Raises InputError when something needed is not given."""
    if not options.root or not options.data:
        raise InputError("command line", "no --root or no --data", "both", "Give --root=LDC2016E45_2012_NIST_SRE")
    names = training_names(options)
    absent = [name for name in (*TRAINING, "cts") if not getattr(options, name)]
    print(f"corpora not given: {' '.join(absent) or 'none'}; training: {' '.join(names)}")
    return names


def enrolment(
    targets: Targets, recordings: AudioFiles, allowed: float
) -> tuple[dict[str, Utterance], dict[str, list[str]]]:
    """({utterance id: utterance}, {speaker: ids}) of the target speakers' recordings that are there."""
    missing, utterances, models = [], [], {}
    for speaker, sides in targets.sides.items():
        for name, side in sides:
            path = recordings.find(name)
            if path is None:
                missing.append(name)
                continue
            utt = f"{speaker}-{Path(path).stem}-{side or 'a'}"
            utterances.append(Utterance(utt, speaker, path, targets.gender.get(speaker, ""), SIDES[side]))
            models.setdefault(speaker, []).append(utt)
    cure = "Give the corpora that hold them (--sre06 --sre08 --sre10), or allow a fraction with --max-missing"
    within("enrolment recordings", missing, sum(map(len, targets.sides.values())), allowed, cure)
    return index_by_id(utterances, "target speaker tables"), models


@dataclass
class TestSides:
    """Test sides as the key names them: utterance ids, and the utterances themselves."""

    recordings: AudioFiles
    audio: dict[str, Header]
    utterances: dict[str, Utterance] = field(default_factory=dict)

    def look_up(self, segment: str, side: str) -> tuple[str, str]:
        """(utterance id, duration class) of a side; ("", "") when its file is missing or has no such channel."""
        path, side = self.recordings.find(f"{segment}_sre12") or self.recordings.find(segment), side.strip().lower()
        if path not in self.audio or side not in SIDES or SIDES[side] >= self.audio[path].channels:
            return "", ""
        utt, length = f"{segment}_sre12-{side or 'a'}", duration_class(self.audio[path].samples / self.audio[path].rate)
        self.utterances.setdefault(utt, Utterance(utt, utt, path, "", SIDES[side], info={"duration_class": length}))
        return utt, length


class PlannedTrial(NamedTuple):
    """What to write for a trial after its model; missing: the test side's name when it cannot be used."""

    writers: list[ListWriter]
    tail: str
    row: str
    target: bool
    utt: str
    missing: str


def plan_of(test: TestSide, tests: TestSides, writers: list[ListWriter]) -> PlannedTrial:
    """The lines that a trial against this test side becomes, but for the model; no writers where no condition holds."""
    utt, length = tests.look_up(test.segment, test.side) if test.conditions else ("", "")
    tail, row = f" {utt} {'target' if test.target else 'nontarget'}\n", f"{test.known}\t{length}\n"
    missing = "" if utt else f"{test.segment}:{test.side}"
    return PlannedTrial([writers[index] for index in test.conditions], tail, row, test.target, utt, missing)


def write_lists(
    data: Path, key: Path, models: dict[str, list[str]], tests: TestSides, gender: dict[str, str], allowed: float
) -> dict[str, dict[str, int]]:
    """Streams the key into one list a condition; returns their counts.
    A target trial tells the gender of its test side."""
    missing: Counter[str] = Counter()
    total = 0
    with contextlib.ExitStack() as stack:
        lists = [stack.enter_context(open_list(data, name, COLUMNS, may_be_empty=True)) for name in CONDITIONS]
        for speaker, line in read_key(key, lambda test: plan_of(test, tests, lists)):
            if not line.writers:
                continue
            total += 1
            if line.missing or speaker not in models:
                missing[line.missing or speaker] += 1
                continue
            if line.target:
                tests.utterances[line.utt].gender = gender.get(speaker, "")
            for writer in line.writers:
                writer.put(speaker + line.tail, line.row, line.target)
        _check_lists(key, lists, missing, total, allowed)
    return {f"trials/{name}": writer.counts for name, writer in zip(CONDITIONS, lists)}


def _check_lists(key: Path, writers: list[ListWriter], missing: Counter[str], total: int, allowed: float) -> None:
    lost = sum(missing.values())
    if missing:
        named = ", ".join(f"{name} in {count} trials" for name, count in missing.most_common(5))
        told = f"{lost} of {total} trials without test file or enrolment ({len(missing)} ids: {named})"
        if lost > allowed * total:
            expected = f"at most {allowed:g} of the trials"
            raise InputError(key, told, expected, "Complete data/, or allow a fraction with --max-missing")
        print(f"left out: {told}")
    if not any(writer.total for writer in writers):
        found = "an empty trial list: no trial with a condition's flag Y"
        raise InputError(key, found, "trials of CC1..CC5", "Fetch the key again")


def usable(
    index: dict[str, Utterance], audio: dict[str, Header], what: str, shortest: float = 0.0
) -> dict[str, Utterance]:
    """Those whose file was readable, has their channel and is long enough; counts and prints the others."""
    reasons: Counter[str] = Counter()
    kept = {}
    for name, utt in index.items():
        header = audio.get(utt.path)
        if header is None:
            reasons["unreadable"] += 1
        elif utt.channel >= header.channels:
            reasons["side b of a one-channel file"] += 1
        elif header.samples / header.rate < shortest:
            reasons[f"shorter than {shortest:g} s"] += 1
        else:
            kept[name] = utt
    if reasons:
        told = ", ".join(f"{count} {reason}" for reason, count in reasons.items())
        print(f"{what}: left out {told} of {len(index)}")
    return kept


@command(Sre12Options)
def main(options: Sre12Options) -> None:
    """Prepares NIST SRE12 as data/<corpus>/{train,enroll,test} and trials cc1..cc5 (CC2 is the headline).

    Must be given: --root, and a corpus to train on (--cts, or any of --sre04 ... --mixer6). Recordings of enrolled
    speakers are looked for in --root, --sre06, --sre08 and --sre10. How they must lie: local/README.md.
    """
    names = training_corpora(options)
    root = Path(options.root)
    targets, key = read_targets(root), find_key(root)
    recordings = AudioFiles([options.root, *filter(None, (getattr(options, name) for name in ENROLMENT))])
    train, summary = read_training(options, names)
    paths = [*recordings.paths, *(utt.path for utt in train.values())]
    prep = Preparation("prep_sre12", options, paths, [key, *targets.files])
    if prep.current():
        return
    enroll, models = enrolment(targets, recordings, options.max_missing)
    used = [path for path in recordings.paths if Path(path).stem.endswith("_sre12")]
    used += [utt.path for group in (enroll, train) for utt in group.values()]
    audio, failed = probe_all(used, options.max_bad)
    tests = TestSides(recordings, audio)
    enroll = usable(enroll, audio, "enrolment", options.min_enroll_seconds)
    models = {model: kept for model, utts in models.items() if (kept := [utt for utt in utts if utt in enroll])}
    summary["enrolment"] = {"target speakers": len(models), "summed recordings dropped": targets.summed}
    prep.begin()
    lists = write_lists(prep.data, key, models, tests, targets.gender, options.max_missing)
    prep.summary = {**summary, **lists}
    prep.write("train", usable(train, audio, "training"), audio, dropped=unreadable(train, failed))
    prep.write("enroll", enroll, audio, models)
    prep.write("test", tests.utterances, audio)
    prep.summary |= seen_in_training(train.values(), [*enroll.values(), *tests.utterances.values()])
    prep.report()


if __name__ == "__main__":
    raise SystemExit(main())
