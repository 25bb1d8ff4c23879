"""Lists the systems that a backend.conf makes of given ones."""

from dataclasses import dataclass
from pathlib import Path

from pyasp.backend.options import BackendOptions
from pyasp.backend.variants import expand, fusions
from pyasp.core.command import command
from pyasp.core.options import option


@dataclass(frozen=True)
class Options(BackendOptions):
    """Options of variants; it takes a whole backend.conf and uses --variant and --fuse."""

    show: str = option(
        "systems",
        "systems: all names; chains: the chains alone; fusions: each with its members; "
        "lda-dim, adapt-to: these settings",
        choices=("systems", "chains", "fusions", "lda-dim", "adapt-to"),
    )
    exp: str = option("", "experiment directory: a system that has scores there can be fused")


@command(Options, "SYSTEM...")
def main(options: Options, systems: list[str]) -> None:
    """Prints one name a line: each SYSTEM, its variants and the fusions, in the order in which they are made."""
    chains = expand(options.variant)
    there = [path.parent.name for path in Path(options.exp).glob("*/scores")] if options.exp else []
    fused = fusions(options, [*systems, *there, *(f"{system}+{chain}" for system in systems for chain in chains)])
    names = [name for system in systems for name in (system, *(f"{system}+{chain}" for chain in chains))]
    lines = {
        "systems": [*names, *fused],
        "chains": chains,
        "fusions": [" ".join([name, *members]) for name, members in fused.items()],
        "lda-dim": [options.variant_lda_dim],
        "adapt-to": [options.adapt_to],
    }
    print("".join(f"{line}\n" for line in lines[options.show]), end="")


if __name__ == "__main__":
    raise SystemExit(main())
