"""Makes the data directory of the dev speakers, with trials among them."""

import sys
from dataclasses import dataclass
from pathlib import Path

from pyasp.backend.options import BackendOptions
from pyasp.core.command import command
from pyasp.core.errors import InputError, rerun
from pyasp.core.files import atomic_write, remove_tree
from pyasp.core.options import option, subset
from pyasp.core.records import describe, is_current, making
from pyasp.data.datadir import DataDir, read_table, write_table
from pyasp.data.dev_trials import DevOptions, Material, draw

TABLES = ("feats.scp", "vad.scp", "utt2num_frames", "utt2num_voiced", "utt2dur")


@dataclass(frozen=True)
class Options(BackendOptions):
    """Options of make_dev; it takes a whole backend.conf and uses the --dev-... ones."""

    seed: int = option(1, "seed of the draws")
    force: bool = option(False, "make again what is out of date")


def material_of(train: DataDir, speakers: set[str], options: DevOptions) -> Material:
    """The recordings of the dev speakers that are long enough."""
    voiced, feats = train.read("utt2num_voiced"), train.read("feats.scp")
    own = [utt for utt, spk in train.utt2spk.items() if spk in speakers]
    kept = [utt for utt in own if utt in feats and int(voiced[utt]) >= options.dev_min_voiced]
    print(
        f"dev speakers: {len(kept)} of {len(own)} recordings of {len(speakers)} speakers; left out "
        f"{len(own) - len(kept)}: fewer than {options.dev_min_voiced} voiced frames",
        file=sys.stderr,
    )

    def column(name: str) -> dict[str, str]:
        return {utt: train.info[utt][name] for utt in kept if name in train.info.get(utt, {})}

    if options.dev_differ and not column(options.dev_differ):
        raise InputError(
            train / "utt2info.tsv",
            f"no column {options.dev_differ!r}",
            "the column named by --dev-differ",
            "Correct backend.conf",
        )
    return Material({utt: train.utt2spk[utt] for utt in kept}, column("session"), column(options.dev_differ))


def write(train: DataDir, dev: DataDir, material: Material, options: Options, made: dict) -> None:
    """Writes the directory; utt2spk, which completes it, comes last."""
    models, trials = draw(material, subset(options, DevOptions), options.seed)
    for name in (name for name in TABLES if train.has(name)):
        table = train.read(name)
        dev.write(name, {utt: table[utt] for utt in material.speaker})
    dev.write("model2utts", {model: " ".join(utts) for model, utts in models.items()})
    with atomic_write(dev / "trials", "w") as stream:
        stream.writelines(f"{model} {test} {'target' if target else 'nontarget'}\n" for model, test, target in trials)
    dev.write_speakers(material.speaker)
    with making(dev / "utt2spk", made) as temporary:
        write_table(temporary, material.speaker)
    print(
        f"{dev / 'trials'}: {len(trials)} trials of {len(models)} models, {sum(t for *_, t in trials)} of them target",
        file=sys.stderr,
    )


@command(Options, "TRAIN", "DEV_SPEAKERS", "DEV")
def main(options: Options, train: str, dev_speakers: str, dev: str) -> None:
    """Makes DEV from the clean recordings of TRAIN by the speakers listed in DEV_SPEAKERS, with DEV/model2utts and
    DEV/trials; nothing when no speaker is held out."""
    source, target, speakers = DataDir(train), DataDir(dev), set(read_table(dev_speakers))
    if not speakers:
        if Path(dev).exists() and not options.force:
            raise InputError(
                dev,
                "a directory of dev speakers, of whom none is held out now",
                "no such directory",
                rerun("select", "Force deletes it", force=True),
            )
        remove_tree(dev)
        return
    inputs = [dev_speakers, *(source / name for name in ("utt2spk", "feats.scp", "vad.scp", "utt2num_voiced"))]
    inputs += [source / name for name in ("utt2info.tsv",) if source.has(name)]
    made = describe("make_dev", subset(options, DevOptions), inputs, options.seed)
    if not is_current(target / "utt2spk", made, options.force):
        write(source, target, material_of(source, speakers, subset(options, DevOptions)), options, made)


if __name__ == "__main__":
    raise SystemExit(main())
