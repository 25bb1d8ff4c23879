"""Checks that the installed packages are the pinned ones."""

import sys
from dataclasses import dataclass

from pyasp.core import environment
from pyasp.core.command import command


@dataclass(frozen=True)
class Options:
    """Options of check_environment: none."""


@command(Options, "REQUIREMENTS")
def main(options: Options, requirements: str) -> None:
    """Compares every `name==version` of REQUIREMENTS with what is installed; another version is an error."""
    print(f"{requirements}: all {environment.check(requirements)} packages are of the pinned versions", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
