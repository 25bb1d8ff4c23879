"""Lists the systems that a backend.conf makes of given ones."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pyasp.backend import variants
from pyasp.backend.calibration import lacking_in_halves
from pyasp.backend.options import BackendOptions
from pyasp.backend.variants import expand, fusions
from pyasp.core.command import command
from pyasp.core.conf import conf_values
from pyasp.core.options import option
from pyasp.data.datadir import read_table
from pyasp.data.selection import SelectOptions
from pyasp.data.trials import read_trials, trial_lists
from pyasp.evaluation.conditions import Evaluation


@dataclass(frozen=True)
class Options(BackendOptions):
    """Options of variants; it takes a whole backend.conf and uses --variant and --fuse."""

    show: str = option(
        "systems",
        "systems: all names; chains: the chains alone; fusions: each with its members; "
        "lda-dim, adapt-to: these settings; impossible: what cannot be made, and why",
        choices=("systems", "chains", "fusions", "lda-dim", "adapt-to", "impossible"),
    )
    select: str = option("", "select.conf of the run: whether it holds dev speakers out")
    data: str = option("", "data directory: whether its lists have speakers enough for calhalf")
    exp: str = option("", "experiment directory: a system that has scores there can be fused")


def held_out(options: Options) -> int:
    """How many speakers select.conf will hold out; 1 where that is not known."""
    train = Path(options.data) / "train" / "utt2spk"
    if not (options.select and options.data and train.is_file()):
        return 1
    known = conf_values(options.select, SelectOptions, undecided="auto")  # what the training set decides comes later
    fraction = known.get("dev_fraction", SelectOptions.dev_fraction)
    return round(fraction * len(set(read_table(train).values())))


def impossible(options: Options) -> list[str]:
    """What will be left out, a sentence each: known before any model is trained."""
    found = [f"+{chain}: {why}" for chain, why in variants.impossible(options, held_out(options)).items()]
    evaluation = Evaluation(options.data)
    if not (evaluation.known and any(chain.split("+")[-1] == "calhalf" for chain in expand(options.variant))):
        return found
    for name in trial_lists(Path(options.data) / "trials"):
        trials = read_trials(Path(options.data) / "trials" / name)
        half = evaluation.halves(trials, options.variant_seed)
        found += [f"+calhalf of {name}: {why}" for why in lacking_in_halves(trials.target, half)]
    return found


@command(Options, "SYSTEM...")
def main(options: Options, systems: list[str]) -> None:
    """Prints one name a line: each SYSTEM, its variants and the fusions, in the order in which they are made.

    Example, after ./run.sh:
        pyasp variants --config conf/toy/backend.conf --show chains ivector
    """
    chains = variants.check(options)
    there = [path.parent.name for path in Path(options.exp).glob("*/scores")] if options.exp else []
    fused = fusions(options, [*systems, *there, *(f"{system}+{chain}" for system in systems for chain in chains)])
    names = [name for system in systems for name in (system, *(f"{system}+{chain}" for chain in chains))]
    lines: dict[str, Iterable[object]] = {
        "systems": [*names, *fused],
        "chains": chains,
        "fusions": [" ".join([name, *members]) for name, members in fused.items()],
        "lda-dim": [options.variant_lda_dim],
        "adapt-to": [options.adapt_to],
        "impossible": [f"warning: {why}; it will be left out" for why in impossible(options)]
        if options.show == "impossible"
        else [],
    }
    print("".join(f"{line}\n" for line in lines[options.show]), end="")


if __name__ == "__main__":
    raise SystemExit(main())
