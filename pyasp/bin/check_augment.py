"""Checks augment.conf before any work."""

import sys
from dataclasses import dataclass

from pyasp import cli
from pyasp.augment_options import AugmentOptions, check


@dataclass(frozen=True)
class Options(AugmentOptions):
    """Options of check_augment."""


@cli.command(Options)
def main(options: Options) -> None:
    """Fails now, not after hours, when the augmentation asked for cannot be done: a codec without its encoder."""
    found = check(options)
    if found:
        print(f"codec of the augmented copies: {found}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
