"""Chooses the training material: train_ubm (clean) and train_sel (clean and augmented)."""

import sys
from collections import Counter
from dataclasses import dataclass

from pyasp.core.command import command
from pyasp.core.files import atomic_write
from pyasp.core.options import option, subset
from pyasp.core.records import describe, is_current, making
from pyasp.data.datadir import DataDir, write_list, write_table
from pyasp.data.selection import LEFT_OUT, Augmented, SelectOptions, select

TABLES = ("feats.scp", "vad.scp", "utt2num_frames", "utt2num_voiced", "utt2clean")


@dataclass(frozen=True)
class Options(SelectOptions):
    """Options of select_train."""

    seed: int = option(1, "seed of the draws")
    force: bool = option(False, "make again what is out of date")


def read_candidates(clean: DataDir, aug: DataDir) -> Augmented:
    """The utterances of `aug` that have features."""
    with_feats, person = aug.read("feats.scp"), dict(aug.utt2spk)
    if aug.has("utt2speed"):
        person |= {utt: clean.utt2spk[line.split(maxsplit=1)[1]] for utt, line in aug.read("utt2speed").items()}
    voiced = {utt: int(count) for utt, count in aug.read("utt2num_voiced").items()}
    utt2spk = {utt: spk for utt, spk in aug.utt2spk.items() if utt in with_feats}
    return Augmented(utt2spk, aug.read("utt2clean"), voiced, person)


def write_subset(source: DataDir, target: DataDir, utts: list[str], made: dict) -> None:
    """Writes the tables of `source` over some utterances; utt2spk, which completes the directory, comes last."""
    for name in TABLES:
        if source.has(name):
            table = source.read(name)
            target.write(name, {utt: table[utt] for utt in utts})
    utt2spk = {utt: source.utt2spk[utt] for utt in utts}
    target.write_speakers(utt2spk)
    if source.has("spk2gender"):
        gender = source.read("spk2gender")
        target.write("spk2gender", {spk: gender[spk] for spk in set(utt2spk.values()) if spk in gender})
    with making(target / "utt2spk", made) as temporary:
        write_table(temporary, utt2spk)


def report(name: str, utts: list[str], utt2spk: dict[str, str], voiced: dict[str, int], left_out: Counter) -> None:
    """Prints counts, hours of speech and reasons."""
    hours = sum(voiced[utt] for utt in utts) / 360000
    reasons = "".join(f"; left out {count}: {reason}" for reason, count in left_out.items())
    speakers = len({utt2spk[utt] for utt in utts})
    print(f"{name}: {len(utts)} recordings of {speakers} speakers, {hours:.2f} h voiced{reasons}", file=sys.stderr)


@command(Options, "CLEAN", "AUGMENTED", "TRAIN_UBM", "TRAIN_SEL")
def main(options: Options, clean: str, augmented: str, train_ubm: str, train_sel: str) -> None:
    """Selects from CLEAN the recordings of TRAIN_UBM and from AUGMENTED those of TRAIN_SEL; draws the hold-outs."""
    source, aug, ubm, sel = map(DataDir, (clean, augmented, train_ubm, train_sel))
    source.require("utt2spk", "feats.scp", "vad.scp", "utt2num_voiced")
    aug.require("utt2spk", "utt2clean", "feats.scp", "vad.scp", "utt2num_voiced")
    inputs = [d / name for d in (source, aug) for name in ("utt2spk", "feats.scp", "vad.scp")]
    settings = {key: value for key, value in vars(options).items() if key != "force"}
    if options.train_fraction == 1.0:  # records of before it was there stay current
        del settings["train_fraction"]
    made = describe("select_train", settings, inputs, options.seed)
    if is_current(ubm / "utt2spk", made, options.force) and is_current(sel / "utt2spk", made, options.force):
        return
    candidates = read_candidates(source, aug)
    clean = {utt: spk for utt, spk in source.utt2spk.items() if utt in candidates.utt2spk}
    voiced = candidates.voiced
    chosen = select(clean, candidates, subset(options, SelectOptions), options.seed)
    write_list(sel / "valid_utts", chosen.valid)
    write_list(sel / "dev_speakers", chosen.dev_speakers)
    for directory, left_out in ((ubm, chosen.left_out_ubm), (sel, chosen.left_out_train)):
        with atomic_write(directory / LEFT_OUT, "w") as stream:  # for the report
            stream.write("recordings\treason\n" + "".join(f"{n}\t{reason}\n" for reason, n in left_out.items()))
    write_subset(source, ubm, chosen.ubm, made)
    write_subset(aug, sel, chosen.train, made)
    report(train_ubm, chosen.ubm, source.utt2spk, voiced, chosen.left_out_ubm)
    report(train_sel, chosen.train, aug.utt2spk, voiced, chosen.left_out_train)
    print(
        f"held out: {len(chosen.valid)} recordings for validation, {len(chosen.dev_speakers)} dev speakers",
        file=sys.stderr,
    )


if __name__ == "__main__":
    raise SystemExit(main())
