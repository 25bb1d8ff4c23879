"""Chooses material: train_ubm (clean), train_sel (clean and augmented), dev speakers and their trials.

The actions read different conf files: select.conf and backend.conf.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from pyasp.backend.options import BackendOptions
from pyasp.core.command import command, one_of
from pyasp.core.errors import InputError, rerun
from pyasp.core.files import atomic_write, remove_tree
from pyasp.core.options import option, subset
from pyasp.core.records import describe, is_current, making, with_beside
from pyasp.data.datadir import DataDir, read_table, write_list, write_table
from pyasp.data.dev_trials import DevOptions, Material, draw
from pyasp.data.selection import Augmented, SelectOptions, lopsided, much_left_out, select, write_left_out

TRAIN_TABLES = ("feats.scp", "vad.scp", "utt2num_frames", "utt2num_voiced", "utt2clean")
DEV_TABLES = ("feats.scp", "vad.scp", "utt2num_frames", "utt2num_voiced", "utt2dur")


@dataclass(frozen=True)
class TrainingSetOptions(SelectOptions):
    """Options of `select train`."""

    seed: int = option(1, "seed of the draws")
    force: bool = option(False, "make again what is out of date")


ALSO = (
    "spk2utt",
    "valid_utts",
    "dev_speakers",
    "left_out.tsv",
    "trials",
    "model2utts",
)  # of a set, beside tables of its source


def read_candidates(clean: DataDir, aug: DataDir) -> Augmented:
    """The utterances of `aug` that have features."""
    with_feats, speeds = aug.read("feats.scp"), aug.read_if_there("utt2speed")
    person = aug.utt2spk | {utt: clean.utt2spk[line.split(maxsplit=1)[1]] for utt, line in speeds.items()}
    voiced = aug.counts("utt2num_voiced")
    utt2spk = {utt: spk for utt, spk in aug.utt2spk.items() if utt in with_feats}
    return Augmented(utt2spk, aug.read("utt2clean"), voiced, person)


def write_set(source: DataDir, target: DataDir, names: Iterable[str], utt2spk: Mapping[str, str], made: dict) -> None:
    """Writes tables of `source` over some utterances; utt2spk, which completes the directory, comes last."""
    for name in (name for name in names if source.has(name)):
        table = source.read(name)
        target.write(name, {utt: table[utt] for utt in utt2spk})
    target.write_speakers(utt2spk)
    there = [path for name in (*names, *ALSO) if (path := target / name).is_file()]
    with making(target / "utt2spk", with_beside(made, there=there)) as temporary:
        write_table(temporary, utt2spk)


def write_subset(source: DataDir, target: DataDir, utts: list[str], made: dict) -> None:
    """A training set of some utterances."""
    utt2spk = {utt: source.utt2spk[utt] for utt in utts}
    if gender := source.read_if_there("spk2gender"):
        target.write("spk2gender", {spk: gender[spk] for spk in set(utt2spk.values()) if spk in gender})
    write_set(source, target, TRAIN_TABLES, utt2spk, made)


def report(name: str, utts: list[str], utt2spk: dict[str, str], voiced: Mapping[str, int], left_out: Counter) -> None:
    """Prints counts, hours of speech and reasons."""
    hours = sum(voiced[utt] for utt in utts) / 360000
    reasons = "".join(f"; left out {count}: {reason}" for reason, count in left_out.items())
    speakers = len({utt2spk[utt] for utt in utts})
    print(f"{name}: {len(utts)} recordings of {speakers} speakers, {hours:.2f} h voiced{reasons}", file=sys.stderr)


@command(TrainingSetOptions, "CLEAN", "AUGMENTED", "TRAIN_UBM", "TRAIN_SEL", action="train")
def train(options: TrainingSetOptions, clean: str, augmented: str, train_ubm: str, train_sel: str) -> None:
    """Selects from CLEAN the recordings of TRAIN_UBM and from AUGMENTED those of TRAIN_SEL; draws the hold-outs.

    Example, after ./run.sh:
        pyasp select train --config conf/toy/select.conf data/toy/train data/toy/train_aug my_ubm_data my_network_data
    """
    source, aug, ubm, sel = map(DataDir, (clean, augmented, train_ubm, train_sel))
    inputs = [path for each in (source, aug) for path in each.require("utt2spk", "feats.scp", "vad.scp")]
    source.require("utt2num_voiced")
    aug.require("utt2clean", "utt2num_voiced")
    settings = {key: value for key, value in vars(options).items() if key != "force"}
    if options.train_fraction == 1.0:  # records of before it was there stay current
        del settings["train_fraction"]
    made = describe("select_train", settings, inputs, options.seed)
    if is_current(ubm / "utt2spk", made, options.force) and is_current(sel / "utt2spk", made, options.force):
        return
    candidates = read_candidates(source, aug)
    speakers = {utt: spk for utt, spk in source.utt2spk.items() if utt in candidates.utt2spk}
    voiced = candidates.voiced
    chosen = select(speakers, candidates, subset(options, SelectOptions), options.seed)
    write_list(sel / "valid_utts", chosen.valid)
    write_list(sel / "dev_speakers", chosen.dev_speakers)
    write_left_out(ubm, chosen.left_out_ubm, chosen.lost_ubm)
    write_left_out(sel, chosen.left_out_train, chosen.lost_train)
    write_subset(source, ubm, chosen.ubm, made)
    write_subset(aug, sel, chosen.train, made)
    report(train_ubm, chosen.ubm, source.utt2spk, voiced, chosen.left_out_ubm)
    report(train_sel, chosen.train, aug.utt2spk, voiced, chosen.left_out_train)
    much = [lopsided({utt: aug.utt2spk[utt] for utt in chosen.train})]
    for told in filter(None, [*much_left_out(ubm, source), *much_left_out(sel, aug), *much]):
        print(f"warning: {told}", file=sys.stderr)
    told = f"{len(chosen.valid)} recordings for validation, {len(chosen.dev_speakers)} dev speakers"
    print(f"held out: {told}", file=sys.stderr)


@dataclass(frozen=True)
class DevSetOptions(BackendOptions):
    """Options of `select dev`; it takes a whole backend.conf and uses the --dev-... ones."""

    seed: int = option(1, "seed of the draws")
    force: bool = option(False, "make again what is out of date")


def material_of(train: DataDir, speakers: set[str], options: DevOptions) -> Material:
    """The recordings of the dev speakers that are long enough."""
    voiced, feats = train.read("utt2num_voiced"), train.read("feats.scp")
    own = [utt for utt, spk in train.utt2spk.items() if spk in speakers]
    kept = [utt for utt in own if utt in feats and int(voiced[utt]) >= options.dev_min_voiced]
    told = f"{len(own) - len(kept)}: fewer than {options.dev_min_voiced} voiced frames"
    counts = f"{len(kept)} of {len(own)} recordings of {len(speakers)} speakers"
    print(f"dev speakers: {counts}; left out {told}", file=sys.stderr)

    def column(name: str) -> dict[str, str]:
        return {utt: train.info[utt][name] for utt in kept if name in train.info.get(utt, {})}

    if options.dev_differ and not column(options.dev_differ):
        found, expected = f"no column {options.dev_differ!r}", "the column named by --dev-differ"
        raise InputError(train / "utt2info.tsv", found, expected, "Correct backend.conf")
    return Material({utt: train.utt2spk[utt] for utt in kept}, column("session"), column(options.dev_differ))


def write_dev(train: DataDir, dev: DataDir, material: Material, options: DevSetOptions, made: dict) -> None:
    """Writes the directory; utt2spk, which completes it, comes last."""
    models, trials = draw(material, subset(options, DevOptions), options.seed)
    dev.write_models(models)
    with atomic_write(dev / "trials", "w") as stream:
        stream.writelines(f"{model} {test} {'target' if target else 'nontarget'}\n" for model, test, target in trials)
    write_set(train, dev, DEV_TABLES, material.speaker, made)
    targets = sum(target for *_, target in trials)
    print(f"{dev / 'trials'}: {len(trials)} trials of {len(models)} models, {targets} of them target", file=sys.stderr)


@command(DevSetOptions, "TRAIN", "DEV_SPEAKERS", "DEV", action="dev")
def dev(options: DevSetOptions, clean: str, dev_speakers: str, out: str) -> None:
    """Makes DEV from the clean recordings of TRAIN by the speakers listed in DEV_SPEAKERS, with DEV/model2utts and
    DEV/trials; nothing when no speaker is held out.

    Example, after ./run.sh:
        pyasp select dev --config conf/toy/backend.conf data/toy/train data/toy/train_sel/dev_speakers my_dev
    """
    source, target, speakers = DataDir(clean), DataDir(out), set(read_table(dev_speakers))
    if not speakers:
        if Path(out).exists() and not options.force:
            found = "a directory of dev speakers, of whom none is held out now"
            raise InputError(out, found, "no such directory", rerun("select", "Force deletes it", force=True))
        remove_tree(out)
        return
    names = ["utt2spk", "feats.scp", "vad.scp", "utt2num_voiced"]
    names += [name for name in ("utt2info.tsv",) if source.has(name)]
    inputs: list[str | Path] = [dev_speakers, *(source / name for name in names)]
    made = describe("make_dev", subset(options, DevOptions), inputs, options.seed)
    if not is_current(target / "utt2spk", made, options.force):
        write_dev(source, target, material_of(source, speakers, subset(options, DevOptions)), options, made)


main = one_of(train=train, dev=dev)

if __name__ == "__main__":
    raise SystemExit(main())
