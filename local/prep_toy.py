"""Prepares the toy corpus: makes it (make_toy), then goes through the real preparation of VoxCeleb."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from local import make_toy, prep_voxceleb
from local.common import check_corpus
from pyasp.core.command import command
from pyasp.core.options import subset


@dataclass(frozen=True)
class Options(make_toy.ToyOptions, prep_voxceleb.VoxcelebOptions):
    """Sizes of the toy corpus and the options of the real preparation; --root: where the corpus is generated."""


@command(Options)
def main(options: Options) -> None:
    """Makes the toy corpus under --root (default: DATA/corpus) and prepares it as VoxCeleb.

    Nothing must be given.
    """
    placed = dataclasses.replace(options, root=options.root or str(Path(options.data) / "corpus"))
    check_corpus(placed.data, "prep_voxceleb", placed.root)
    make_toy.make("toy", subset(placed, make_toy.ToyOptions))
    prep_voxceleb.main.function(subset(placed, prep_voxceleb.VoxcelebOptions))


if __name__ == "__main__":
    raise SystemExit(main())
