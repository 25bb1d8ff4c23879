"""Shows what is in a file."""

import os
import sys
from dataclasses import dataclass

from pyasp import cli
from pyasp.inspect_file import as_text, describe


@dataclass(frozen=True)
class Options:
    """Options of show."""
    text: bool = cli.option(False, "print Kaldi's text form instead of a description")
    allow_commands: bool = cli.option(False, "run the command that stands in an scp under KEY")


@cli.command(Options, "FILE", "[KEY]")
def main(options: Options, file: str, key: str | None) -> None:
    """Says what FILE is, with keys, shapes, types, ranges, NaNs and frame counts; KEY picks one entry.

    FILE: archive, script file, model, vector, matrix, posteriors, checkpoint, scores, trial list, table, data directory
    or JSON. An scp is listed without reading its data, unless a KEY is given.
    """
    try:
        if options.text:
            sys.stdout.writelines(as_text(file, key, options.allow_commands))
        else:
            sys.stdout.writelines(f"{line}\n" for line in describe(file, key, options.allow_commands))
        sys.stdout.flush()
    except BrokenPipeError:  # `| head` has seen enough; what is buffered goes nowhere
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    raise SystemExit(main())
