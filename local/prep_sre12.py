"""Prepares NIST SRE12: target speakers with several recordings, trial lists cc1..cc5, a training corpus.

Test durations are classed by the nearest of 30, 100, 300 s in log duration (limits 54.8 and 173.2 s) of the header's
length. Who speaks in a test recording is not used: its speaker is the recording itself.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from local.audio_header import Audio, probe_all
from local.common import PrepOptions, Utterance, index_by_id, listing_digest, recipe, report, start, write_data_dir
from local.cts_superset import read_cts
from local.sre12_tables import CONDITIONS, SIDES, Recordings, Targets, find_key, read_key, read_targets
from local.trial_lists import ListWriter, Trial, open_list
from pyasp import artefact, cli
from pyasp.cli import option
from pyasp.errors import InputError

DURATION_CLASSES = ((54.8, "30"), (173.2, "100"), (float("inf"), "300"))  # (below this many seconds, class)
COLUMNS = ("known", "duration_class")
ENROLMENT = ("sre06", "sre08", "sre10")  # corpora that hold enrolment recordings
NOT_YET = ("sre04", "sre05", "swbd2p1", "swbd2p2", "swbd2p3", "swbcell1", "swbcell2", "fisher1", "fisher2", "mixer6")


@dataclass(frozen=True)
class Sre12Options(PrepOptions):
    """Options of this preparation."""
    root: str = option("", "LDC2016E45_2012_NIST_SRE: data/ and docs/ (enrolment recordings are looked for here too)")
    cts: str = option("", "NIST CTS superset, for training: docs/cts_superset_segment_key.tsv and data/")
    sre06: str = option("", "SRE06: enrolment recordings")
    sre08: str = option("", "SRE08: enrolment recordings")
    sre10: str = option("", "SRE10: enrolment recordings")
    sre04: str = option("", "SRE04: not prepared yet")
    sre05: str = option("", "SRE05: not prepared yet")
    swbd2p1: str = option("", "Switchboard-2 phase 1: not prepared yet")
    swbd2p2: str = option("", "Switchboard-2 phase 2: not prepared yet")
    swbd2p3: str = option("", "Switchboard-2 phase 3: not prepared yet")
    swbcell1: str = option("", "Switchboard Cellular 1: not prepared yet")
    swbcell2: str = option("", "Switchboard Cellular 2: not prepared yet")
    fisher1: str = option("", "Fisher part 1: not prepared yet")
    fisher2: str = option("", "Fisher part 2: not prepared yet")
    mixer6: str = option("", "Mixer 6: not prepared yet")
    max_missing: float = option(
        0.0, "largest fraction of enrolment recordings, and of trials, that may be missing (left out)"
    )


def duration_class(seconds: float) -> str:
    """30, 100 or 300: the nearest in log duration."""
    return next(name for limit, name in DURATION_CLASSES if seconds < limit)


def check_options(options: Sre12Options) -> None:
    """Raises InputError when something needed is not given, or something given cannot be used yet;
    lists what is absent."""
    given = [name for name in NOT_YET if getattr(options, name)]
    if given:
        raise InputError(
            "command line",
            "--" + " --".join(given),
            "--cts, the one training corpus that is prepared so far",
            "Leave these out; the CTS superset stands in for them",
        )
    if not options.root or not options.data or not options.cts:
        raise InputError(
            "command line", "no --root, --data or --cts", "all three", "Give --root=SRE12 and --cts=CTS superset"
        )
    absent = [name for name in (*NOT_YET, *ENROLMENT) if not getattr(options, name)]
    print(f"corpora not given: {' '.join(absent)}; training: CTS superset")


def within(what: str, missing: list[str], total: int, allowed: float, cure: str) -> None:
    """Prints how many are missing; InputError when more than the allowed fraction is."""
    if missing:
        told = f"{len(missing)} of {total} {what} missing (first: {missing[0]})"
        if len(missing) > allowed * total:
            raise InputError(what, told, f"at most {allowed:g} of them missing", cure)
        print(f"left out: {told}")


def enrolment(
    targets: Targets, recordings: Recordings, allowed: float
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
    within("enrolment recordings", missing, sum(map(len, targets.sides.values())), allowed,
           "Give the corpora that hold them (--sre06 --sre08 --sre10), or allow a fraction with --max-missing")
    return index_by_id(utterances, "target speaker tables"), models


@dataclass
class TestSides:
    """Test sides as the key names them: utterance ids, and the utterances themselves."""
    recordings: Recordings
    audio: dict[str, Audio]
    known: dict[tuple[str, str], tuple[str, str]] = field(default_factory=dict)
    utterances: dict[str, Utterance] = field(default_factory=dict)

    def look_up(self, segment: str, side: str) -> tuple[str, str]:
        """(utterance id, duration class) of a side; ("", "") when its file is missing or has no such channel."""
        key = (segment, side)
        if key not in self.known:
            self.known[key] = self._find(segment, side.strip().lower())
        return self.known[key]

    def _find(self, segment: str, side: str) -> tuple[str, str]:
        path = self.recordings.find(f"{segment}_sre12") or self.recordings.find(segment)
        if path not in self.audio or side not in SIDES or SIDES[side] >= self.audio[path].channels:
            return "", ""
        utt, seconds = f"{segment}_sre12-{side or 'a'}", self.audio[path].samples / self.audio[path].rate
        self.utterances[utt] = Utterance(
            utt, utt, path, "", SIDES[side], info={"duration_class": duration_class(seconds)}
        )
        return utt, duration_class(seconds)


def write_lists(data: Path, key: Path, models: dict[str, list[str]], tests: TestSides, gender: dict[str, str],
                allowed: float) -> dict[str, dict[str, int]]:
    """Streams the key into one list a condition; returns their counts.
    A target trial tells the gender of its test side."""
    missing: Counter[str] = Counter()
    total = 0
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(open_list(data, name, COLUMNS, may_be_empty=True)) for name in CONDITIONS]
        for line in read_key(key):
            if not line.conditions:
                continue
            total += 1
            utt, length = tests.look_up(line.segment, line.side)
            if not utt or line.speaker not in models:
                missing[line.speaker if utt else f"{line.segment}:{line.side}"] += 1
                continue
            if line.target:
                tests.utterances[utt].gender = gender.get(line.speaker, "")
            for index in line.conditions:
                writers[index].add(Trial(line.speaker, utt, line.target, (line.known, length)))
        _check_lists(key, writers, missing, total, allowed)
    return {f"trials/{name}": writer.counts for name, writer in zip(CONDITIONS, writers)}


def _check_lists(key: Path, writers: list[ListWriter], missing: Counter[str], total: int, allowed: float) -> None:
    lost = sum(missing.values())
    if missing:
        named = ", ".join(f"{name} in {count} trials" for name, count in missing.most_common(5))
        told = f"{lost} of {total} trials without test file or enrolment ({len(missing)} ids: {named})"
        if lost > allowed * total:
            raise InputError(
                key,
                told,
                f"at most {allowed:g} of the trials",
                "Complete data/, or allow a fraction with --max-missing",
            )
        print(f"left out: {told}")
    if all(writer.empty for writer in writers):
        raise InputError(
            key, "an empty trial list: no trial with a condition's flag Y", "trials of CC1..CC5", "Fetch the key again"
        )


def prepare(options: Sre12Options) -> None:
    """Writes data directories and trial lists. Raises InputError for what the corpora lack."""
    check_options(options)
    root, data = Path(options.root), Path(options.data)
    targets, key = read_targets(root), find_key(root)
    recordings = Recordings([options.root, *filter(None, (getattr(options, name) for name in ENROLMENT))])
    train = index_by_id(read_cts(options.cts), options.cts)
    listing = listing_digest([*recordings.paths, *(utt.path for utt in train.values())])
    made = artefact.describe(
        "prep_sre12", recipe(options, listing=listing), [key, *targets.files], seed=options.seed
    )
    if not start(data, made, options.force):
        return
    enroll, models = enrolment(targets, recordings, options.max_missing)
    used = [path for path in recordings.paths if Path(path).stem.endswith("_sre12")]
    audio = probe_all([*used, *(utt.path for group in (enroll, train) for utt in group.values())], options.max_bad)
    summary: dict[str, Any] = {
        "enrolment": {"target speakers": len(models), "summed recordings dropped": targets.summed}
    }
    tests = TestSides(recordings, audio)
    enroll = {name: utt for name, utt in enroll.items() if utt.path in audio and utt.channel < audio[utt.path].channels}
    models = {model: kept for model, utts in models.items() if (kept := [utt for utt in utts if utt in enroll])}
    summary.update(write_lists(data, key, models, tests, targets.gender, options.max_missing))
    summary["train"] = write_data_dir(
        data / "train", {name: utt for name, utt in train.items() if utt.path in audio}, audio
    )
    summary["enroll"] = write_data_dir(data / "enroll", enroll, audio, models)
    summary["test"] = write_data_dir(data / "test", tests.utterances, audio)
    report(data, made, summary)


@cli.command(Sre12Options)
def main(options: Sre12Options) -> None:
    """Prepares NIST SRE12 as data/<corpus>/{train,enroll,test} and trials cc1..cc5 (CC2 is the headline)."""
    prepare(options)


if __name__ == "__main__":
    raise SystemExit(main())
