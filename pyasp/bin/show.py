"""Shows what is in a file or directory."""

import re
import sys
from dataclasses import dataclass

import numpy as np

from pyasp.core.command import command
from pyasp.core.errors import InputError
from pyasp.core.options import option
from pyasp.inspect.description import as_json, show
from pyasp.inspect.show import array_of, as_text, describe, describe_array


@dataclass(frozen=True)
class Options:
    """Options of show."""

    text: bool = option(False, "print Kaldi's text form instead of a description")
    json: bool = option(False, "print one JSON object instead of a description")
    npy: bool = option(False, "write the array (of KEY, or all vectors as rows) to standard output as .npy")
    frames: str = option("", "rows FIRST:END of the array, from 0, END not included")
    allow_commands: bool = option(False, "run the command that stands in an scp under KEY")

    def __post_init__(self) -> None:
        if self.text + self.json + self.npy > 1 or (self.text and self.frames):
            raise InputError("command line", "several forms at once", "one of --text, --json, --npy", "Choose one")


def sliced(array: np.ndarray, frames: str) -> np.ndarray:
    """Rows FIRST:END of an array. Raises InputError for anything else, and rows that there are none of."""
    found = re.fullmatch(r"(\d*):(\d*)", frames)
    given = zip(found.groups(), (0, len(array))) if found else ()
    ends = [int(text) if text else default for text, default in given] or [1, 0]
    if not ends[0] < ends[1] <= len(array):
        raise InputError("--frames", repr(frames), f"FIRST:END within 0:{len(array)}", "Correct it")
    return array[ends[0] : ends[1]]


@command(Options, "FILE", "[KEY]", closed_pipe=0)
def main(options: Options, file: str, key: str | None) -> None:
    """Says what FILE is, with keys, shapes, types, ranges, NaNs, frames and hours; KEY picks one entry.

    FILE: archive, script file, model, vector, matrix, posteriors, checkpoint, scores, trial list, table, JSON, audio;
    or a data, experiment, system or bundle directory. An scp is listed without reading its data, unless a KEY is given.

    Example, after ./run.sh:
        pyasp show exp/toy/ubm/final.ubm
    """
    array = array_of(file, key, options.allow_commands) if options.npy or options.frames else None
    if array is not None and options.frames:
        array = sliced(array, options.frames)
    if array is not None and options.npy:
        if sys.stdout.isatty():
            raise InputError("standard output", "a terminal", "a file or pipe for .npy", "Add > x.npy")
        np.save(sys.stdout.buffer, array, allow_pickle=False)
    elif options.text:
        sys.stdout.writelines(as_text(file, key, options.allow_commands))
    else:
        lines = describe(file, key, options.allow_commands) if array is None else describe_array(key or file, array)
        as_json(file, lines, sys.stdout) if options.json else show(lines, sys.stdout)


if __name__ == "__main__":
    raise SystemExit(main())
