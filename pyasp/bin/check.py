"""Checks what a run stands on: environment, augmentation, variants, data, stages before; tells its time."""

import hashlib
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyasp.audio import augment
from pyasp.audio.folders import musan_noises, responses_of, some
from pyasp.backend import variants
from pyasp.backend.calibration import lacking_in_halves
from pyasp.backend.options import BackendOptions
from pyasp.bin import _stale as stale
from pyasp.core import environment, records
from pyasp.core.command import action_of, command
from pyasp.core.conf import conf_values, read_conf
from pyasp.core.errors import InputError, rerun
from pyasp.core.files import atomic_write
from pyasp.core.options import Share, option
from pyasp.data.checks import LEAVE_OUT, Checker
from pyasp.data.datadir import DataDir, read_reasons, read_table, write_reasons
from pyasp.data.fit import EXTREMES
from pyasp.data.parts import DROPPED
from pyasp.data.selection import SelectOptions
from pyasp.data.trials import read_trials, trial_lists
from pyasp.evaluation.conditions import Evaluation

UNUSABLE = "unusable.tsv"  # in a data directory, while too many of its utterances cannot be used
FEW_TARGETS = 300  # with fewer an EER of 10 % has fewer than 30 misses


@dataclass(frozen=True)
class Options(augment.AugmentOptions):
    """Options of check."""

    musan: str = option("", "augment, settings, made: folder of noises that the copies will take")
    rirs: str = option("", "augment, settings, made: folder of impulse responses that the copies will take")
    select: str = option("", "variants: select.conf of the run, which may hold dev speakers out")
    max_dropped_fraction: Share = option(0.05, "data: share of a directory's utterances that may be dropped")
    conf: str = option("", "made, time: conf directory of the run")
    seed: int = option(1, "made: seed of the run")
    corpus: str = option("toy", "made: name of the corpus")
    systems: str = option("", "settings, variants, made, time: systems of the run, with spaces between")
    skipped: str = option("", "made: stages before the first of the run, whose artefacts are looked at")
    kaldi_ivector: str = option("", "settings, made, time: UBM and extractor given in place of trained ones")
    kaldi_backend: str = option("", "made, variants: back end given in place of a trained one")
    stages: str = option("", "time: stages to come, with spaces between")
    device: str = option("auto", "device, time: where networks, UBM and extractor compute", ("auto", "cpu", "cuda"))


def check_environment(options: Options, requirements: str) -> None:
    """Every `name==version` of a requirements file against what is installed; another version is an error."""
    print(f"{requirements}: all {environment.check(requirements)} packages are of the pinned versions", file=sys.stderr)


def check_device(options: Options) -> None:
    """Fails now, not after hours of features, where the device asked for is not there."""
    from pyasp.core.device import device_of  # and torch

    print(f"--device {options.device}: {device_of(options.device)}", file=sys.stderr)


def check_augment(options: Options) -> list[tuple[str, list[Path]]]:
    """Fails now, not after hours, when the augmentation asked for cannot be done: a codec without its encoder, a folder
    without sounds. Returns (folder, its sounds) of those that copies will take."""
    found = augment.check(options)
    if found:
        print(f"codec of the augmented copies: {found}", file=sys.stderr)
    folders = [(options.musan, musan_noises), (options.rirs, responses_of)] if options.copies else []
    sounds = [(folder, find(folder)) for folder, find in folders if folder]
    for folder, files in sounds:
        print(f"{folder}: {len(files)} sounds for the augmented copies", file=sys.stderr)
    return sounds


def check_settings(options: Options, conf: str, data: str, exp: str) -> None:
    """Fails now, not after hours, for what a later stage would refuse of the conf files, for an EXP that was made from
    other data, and as `check_augment`; for noises and responses that are silent, too.

    Whoever changed nothing of it since it was last found good waits for no torch, and for no sound to be read.
    """
    sounds = check_augment(options)
    check_fusions(options, Path(conf), Path(exp))
    systems, good = options.systems.split(), Path(exp) / "log" / ".settings"
    run = stale.Request(Path(data), Path(exp), tuple(systems), conf, ivector=options.kaldi_ivector)
    stale.require_data(run)
    given = [options.kaldi_ivector, *map(str, [*sorted(Path(conf).rglob("*.conf")), *sorted(stale.SYSTEMS.iterdir())])]
    given += [hashlib.sha256("\n".join(map(str, files)).encode()).hexdigest() for _, files in sounds]
    asked = records.digest_of(good, given)
    found_good = {line for line in good.read_text().splitlines() if asked in line} if good.is_file() else set()
    if not found_good >= (marks := {f"{asked} {each}" for each in systems}):
        from pyasp.bin import _settings as settings  # with torch

        settings.check(run)
        for folder, files in sounds:
            augment.require_sound(folder, files)
        good.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(good, "w") as stream:
            stream.write("\n".join(sorted(found_good | marks)) + "\n")


def check_fusions(options: Options, conf: Path, exp: Path) -> None:
    """Says which fusions of backend.conf a run leaves out. InputError for a system that there is none of, and as
    `variants.check`."""
    settings = read_conf(conf / "backend.conf", BackendOptions)
    variants.check(settings)
    for text in settings.fuse:
        others = [each for each in text.split("+") if each not in options.systems.split()]
        others = [each for each in others if not (exp / each / "scores").is_dir()]
        for each in others:
            if each != "ivector" and not stale.system_conf(conf, each).is_file():
                expected, cure = f"a system of {conf}/systems or conf/systems, or ivector", "Correct --fuse"
                raise InputError(conf / "backend.conf", repr(each), expected, cure, item=f"--fuse={text}")
        if others:
            told = f"{' and '.join(others)} not among --systems, nor scored before"
            print(f"warning: {conf / 'backend.conf'}: --fuse={text} will be left out: {told}", file=sys.stderr)


def split_of(options: Options, train: Path) -> tuple[int, int]:
    """How many speakers of the training set select.conf will hold out, and how many are left to train on at most; 1 and
    0 where that is not known.

    Raises InputError where it leaves fewer than two to train on, and the run is to train.
    """
    if not (options.select and (train / "utt2spk").is_file()):
        return 1, 0
    known = conf_values(options.select, SelectOptions, EXTREMES[0])  # what the training set decides comes later
    fraction = known.get("dev_fraction", SelectOptions.dev_fraction)
    least = known.get("min_utts", SelectOptions.min_utts)
    counts = Counter(read_table(train / "utt2spk").values())
    held = round(fraction * len(counts))
    left = min(sum(count >= least for count in counts.values()), len(counts) - held)
    if left < 2 and not (options.kaldi_backend and options.systems == "ivector"):
        found = f"{left} speakers with {least} recordings or more (--min-utts) to train on"
        more = f"; {held} of {len(counts)} are held out (--dev-fraction)" if held else ""
        ways = ["Bring recordings of more speakers, who are in no trial"]
        ways += ["lower --dev-fraction"] * (held > 0) + ["lower --min-utts"] * (len(counts) - held > 1)
        cure = f"{', or '.join(ways)}{f' ({options.select})' * (len(ways) > 1)}: networks and back ends need two"
        raise InputError(train, found + more, "at least 2", rerun("prepare", cure, force=True, then=True))
    return held, left


def check_lda(conf: str, dim: int, speakers: int) -> None:
    """Raises InputError where --lda-dim of a backend.conf is more than so many speakers allow; each other speed of
    augment.conf beside it makes speakers of its own."""
    beside = Path(conf).with_name("augment.conf")
    speakers *= 1 + len(augment.speeds_of(read_conf(beside, augment.AugmentOptions))) if beside.is_file() else 1
    if dim >= speakers:
        expected, cure = f"at most {speakers - 1}, one less than the speakers to train on", "Lower it, or bring more"
        raise InputError(conf, str(dim), expected, cure, item="--lda-dim")


def check_variants(options: Options, conf: str, data: str) -> None:
    """Tells, before any model is trained, which variants of backend.conf cannot be made of DATA; unknown ones, and too
    few speakers to train on, or for --lda-dim, are an error."""
    settings, evaluation = read_conf(conf, BackendOptions), Evaluation(data)
    held, left = split_of(options, Path(data) / "train")
    if left and not options.kaldi_backend:
        check_lda(conf, settings.lda_dim, left)
    found = variants.impossible(settings, held)
    lacking = [f"+{chain}: {why}" for chain, why in found.items()]
    halves = any(chain.split("+")[-1] == "calhalf" for chain in variants.check(settings))
    for name in trial_lists(Path(data) / "trials") if evaluation.known and halves else ():
        trials = read_trials(Path(data) / "trials" / name, say=False)  # as the preparation has
        half = evaluation.halves(trials, settings.variant_seed)
        lacking += [f"+calhalf of {name}: {why}" for why in lacking_in_halves(trials.target, half)]
    for why in lacking:
        print(f"warning: {why}; it will be left out")


def check_data(options: Options, data: str) -> None:
    """Fixes what can be fixed in DATA/{train,enroll,test}, lists what is dropped, and reads DATA/trials/*."""
    for name in ("train", "enroll", "test"):
        checker = Checker(Path(data) / name)
        checker.check()
        checker.require_audio()
        require_few_dropped(checker, options.max_dropped_fraction)
        checker.fix()
        print(f"{checker.data.path}: {checker.told()}", file=sys.stderr)
    check_trial_lists(Path(data))


def require_few_dropped(checker: Checker, most: float) -> None:
    """Raises InputError, with all reasons in unusable.tsv, where more than a share of the utterances would be dropped:
    before any is, since the next check would know of none."""
    path, total = checker.data / UNUSABLE, len(checker.data.utt2spk)
    path.unlink(missing_ok=True)
    if len(checker.dropped) > most * total:
        write_reasons(path, checker.dropped)
        reasons = some(f"{utt}: {why}" for utt, why in checker.dropped.items())
        found = f"{len(checker.dropped)} of {total} utterances unusable ({reasons}; all of them in {path})"
        cure = rerun("prepare", "Repair them, or take them out of the corpus", force=True, then=True)
        raise InputError(checker.data.path, found, f"at most {most:.0%}", cure)


def check_trial_lists(data: Path) -> None:
    """Reads every list of data/trials: known ids only, both classes, well-formed lines. Raises InputError."""
    models, tests = list(DataDir(data / "enroll").model2utts), list(DataDir(data / "test").utt2spk)
    dropped = {utt: why for utt, why in read_reasons(data / "test" / DROPPED).items() if utt not in set(tests)}
    names = trial_lists(data / "trials") if (data / "trials").is_dir() else []
    if not names:
        cure = rerun("prepare", "Give own lists with --trials FILE", then=True)
        raise InputError(data / "trials", "no trial list", "at least one", cure)
    for name in names:
        trials = read_trials(data / "trials" / name, models, [*tests, *dropped])
        lost = [trials.tests[test] for test in np.unique(trials.test[trials.test >= len(tests)])]
        refuse(data / "trials" / name, {utt: dropped[utt] for utt in lost})
        targets = int(trials.target.sum())
        print(f"{data / 'trials' / name}: {len(trials)} trials, {targets} of them target", file=sys.stderr)
        if targets < FEW_TARGETS:
            told = f"{targets} target trials are few: an EER of 10 % would be {targets // 10} misses"
            print(f"warning: {name}: {told}, where fewer than 30 say little; bring more speakers", file=sys.stderr)


def refuse(where: Path, unusable: dict[str, str], cure: str = LEAVE_OUT) -> None:
    """Raises InputError where trials have recordings {utterance: why they cannot be used}."""
    if unusable:
        reasons = some(f"{utt}: {why}" for utt, why in unusable.items())
        found = f"{len(unusable)} recordings that cannot be used ({reasons})"
        raise InputError(where, found, "recordings with speech", cure)


def check_voiced(options: Options, data: str) -> None:
    """Every recording of DATA/{enroll,test} has a voiced frame: without one its vector cannot be made, hours later."""
    for directory in (DataDir(Path(data) / name) for name in ("enroll", "test")):
        silent, audio = directory.read_if_there("utt2num_silent"), directory.read_if_there("wav.scp")
        kinds = {True: "digital silence (all zeros)", False: "no voiced frame: silent, or too quiet for vad.conf"}
        voiced, frames = directory.read("utt2num_voiced"), directory.read("utt2num_frames")
        unvoiced = [utt for utt, count in voiced.items() if count == "0"]
        why = {utt: kinds[silent.get(utt) == frames[utt]] for utt in unvoiced}
        quiet = sum(each == kinds[False] for each in why.values())
        told = f"Voice activity finds no speech in {quiet} of {len(voiced)} recordings: lower --vad-energy-threshold"
        lower = rerun("features", f"{told} (vad.conf) where they hold some", force=True, then=True)
        cure = lower if 2 * quiet > len(voiced) else LEAVE_OUT
        refuse(directory.path, {utt: f"{audio[utt]}: {why[utt]}" if utt in audio else why[utt] for utt in why}, cure)


def check_made(options: Options, data: str, exp: str, *prep_options: str) -> None:
    """Every record X.made.json that the --skipped stages left under DATA and EXP: made with other settings, another
    seed or from other inputs, it is an error that names the stage to re-run from."""
    for name, place in zip(prep_options, prep_options[1:]):
        if name.startswith("--") and (why := stale.not_there(place)):
            print(f"warning: {name} is {place}{why}: the run goes on with what was prepared of it", file=sys.stderr)
    systems = stale.with_variants(tuple(options.systems.split()), Path(exp), options.conf)
    given = options.kaldi_ivector, options.kaldi_backend
    asked = systems, options.conf, options.seed, options.corpus, prep_options, *given
    stale.refuse(stale.Request(Path(data), Path(exp), *asked, options.musan, options.rirs), options.skipped.split())


def check_time(options: Options, data: str, exp: str) -> None:
    """Says about how long what is left of a run will take on this machine, once its voice activity is known."""
    ends = {each: ("metrics.json", "final.ie" if each == "ivector" else "final.pt") for each in options.systems.split()}
    if all((Path(exp) / each / name).is_file() for each, names in ends.items() for name in names):
        return
    from pyasp.bin import _estimate as estimate  # with torch, as most tools: the others of this verb need none
    from pyasp.core.costs import in_words, seconds_since_start
    from pyasp.core.device import device_of, pace

    start, plan = estimate.STARTED * seconds_since_start(), estimate.Plan.of(options.conf, data)
    systems, stages = options.systems.split(), options.stages.split()
    work = estimate.parts(plan, Path(data), Path(exp), systems, stages, bool(options.kaldi_ivector))
    if not work:
        return
    rate = pace(device_of(options.device))
    told = in_words({name: each.seconds(start, rate) for name, each in work.items()})
    why = f"{plan.ubm.frames / 360000:.2f} h of voice, {rate / 1e9:.0f} GFLOP/s and {start:.1f} s a program's start now"
    print(f"time left on this machine, an estimate: {told} ({why})", file=sys.stderr)


CHECKS = {  # what: function, its arguments
    "environment": (check_environment, "REQUIREMENTS"),
    "device": (check_device, ""),
    "augment": (check_augment, ""),
    "settings": (check_settings, "CONF DATA EXP"),
    "variants": (check_variants, "BACKEND_CONF DATA"),
    "data": (check_data, "DATA"),
    "voiced": (check_voiced, "DATA"),
    "made": (check_made, "DATA EXP"),
    "time": (check_time, "DATA EXP"),
}


@command(Options, "WHAT", "[ARGUMENT]...", "--", "[PREP_OPTION]...")
def main(options: Options, what: str, words: list[str] | None, prep_options: list[str] | None) -> None:
    """Checks one of: environment REQUIREMENTS, device, augment, settings CONF DATA EXP,
    variants BACKEND_CONF DATA, data DATA, voiced DATA, made DATA EXP [-- PREP_OPTION...], time DATA EXP.

    environment: installed packages are the pinned ones. device: the one asked for is there. augment: the copies that
    augment.conf asks for can be made. settings: the same, and the conf files that --systems need can be read and agree.
    variants: those of backend.conf; which of them the data will not allow. data: directories and trial lists; what can
    be fixed is fixed. voiced: recordings of trials have voice. made: what earlier stages left was made with the present
    settings; PREP_OPTION: words of run.sh for the preparation. time: about how long the stages to come take.

    Example, after ./run.sh:
        pyasp check environment conf/requirements.txt
    """
    check = action_of("check", CHECKS, what, words or [])
    check(options, *((prep_options or []) if what == "made" else []))


if __name__ == "__main__":
    raise SystemExit(main())
