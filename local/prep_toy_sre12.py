"""Prepares the toy SRE12: makes it (make_toy),
then goes through the real preparation of SRE12, trained on its CTS superset."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

from local import make_toy, prep_sre12
from local.common import check_corpus
from pyasp.core.command import command
from pyasp.core.options import subset


@dataclass(frozen=True)
class Options(make_toy.ToyOptions, prep_sre12.Sre12Options):
    """Sizes of the toy corpus and the options of the real preparation; --root: where the corpus is generated."""


@command(Options)
def main(options: Options) -> None:
    """Makes the toy SRE12 under --root (default: DATA/corpus) and prepares it as SRE12.

    Nothing must be given.
    """
    root = Path(options.root or Path(options.data) / "corpus")
    check_corpus(options.data, "prep_sre12", str(root / "sre12"))
    make_toy.make("toy_sre12", subset(dataclasses.replace(options, root=str(root)), make_toy.ToyOptions))
    placed = dataclasses.replace(options, root=str(root / "sre12"), cts=str(root / "cts"))
    prep_sre12.main.function(subset(placed, prep_sre12.Sre12Options))


if __name__ == "__main__":
    raise SystemExit(main())
