"""Compares two files or directories: keys only in one, the largest and the mean deviation, and where."""

from dataclasses import dataclass

from pyasp.audio.folders import some
from pyasp.core.command import command
from pyasp.core.options import Amount, option
from pyasp.inspect.diff import Difference, compare, finite

LISTED = 5  # values told that cannot be subtracted


@dataclass(frozen=True)
class Options:
    """Options of diff."""

    tolerance: Amount = option(0.0, "largest deviation of two numbers that counts as equal")
    all: bool = option(False, "of directories: name the files that are equal, too")


def report(found: Difference, a: str, b: str) -> list[str]:
    """One result in words."""
    sides = ((a, found.only_a), (b, found.only_b))
    lines = [f"only in {side}: {len(keys)}: {some(keys)}" for side, keys in sides if keys]
    most, key, place = found.largest
    if most:
        where = f"{key or 'the array'}{list(place) if place else ''}"
        mean = f"mean {finite(found.mean)} over {found.numbers} numbers"
        lines.append(f"largest deviation {finite(most)} at {where}, {mean}")
    told = [f"{key or 'the array'}: {found.reasons[key]}" for key in found.differing if key in found.reasons]
    lines += told[:LISTED] + ([f"... and {len(told) - LISTED} more"] if len(told) > LISTED else [])
    if keys := [key or "the array" for key in found.differing if key not in found.reasons]:
        lines.append(f"{len(keys)} of {found.common} values deviate: {some(keys)}")
    return lines


@command(Options, "A", "B", failure=2)
def main(options: Options, a: str, b: str) -> int:
    """Compares A and B: two archives, script files, models, score files, tables, or two experiment directories.

    Script files are compared by what they lead to, checkpoints and models tensor by tensor; in directories logs, shards
    and records are left out, as are the times in train.jsonl. Exit code 0: equal, 1: different, 2: trouble.

    Example, after ./run.sh:
        pyasp diff exp/toy/ivector/scores/veri_test exp/toy/statistics/scores/veri_test || true
    """
    equal = True
    for found in compare(a, b, options.tolerance):
        equal = equal and found.equal
        lines = report(found, a, b)
        if lines or options.all:
            verdict = "equal" if found.equal and not lines else "within the tolerance" if found.equal else "different"
            print(f"{found.name}: {verdict}, {found.common} in both")
            print("".join(f"  {line}\n" for line in lines), end="")
    print("equal" if equal else "different")
    return int(not equal)


if __name__ == "__main__":
    raise SystemExit(main())
