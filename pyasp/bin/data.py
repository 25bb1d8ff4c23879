"""Validates, fixes, cuts, joins, counts and converts data directories."""

import contextlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pyasp.core.command import action_of, command
from pyasp.core.errors import InputError
from pyasp.core.files import whole_or_none
from pyasp.core.options import Natural, option
from pyasp.data import manifests, parts
from pyasp.data.checks import Checker, problems
from pyasp.data.datadir import DataDir


@dataclass(frozen=True)
class Options:
    """Options of data."""

    utts: str = option("", "subset: file with utterances, the first field of each line")
    speakers: str = option("", "subset: file with speakers, or their names with commas between")
    count: Natural = option(0, "subset: draw so many utterances; 0 = all")
    per_speaker: Natural = option(0, "subset: draw so many of each speaker; 0 = all")
    seed: int = option(1, "subset: seed of the draws")
    by_speaker: bool = option(True, "split: no speaker in two parts")
    rate: Natural = option(0, "to-lhotse: samples a second of what commands in wav.scp deliver")
    json: bool = option(False, "stats: print JSON")


def existing(path: str) -> DataDir:
    """A data directory. Raises InputError when it has no utt2spk."""
    if not (Path(path) / "utt2spk").is_file():
        raise InputError(path, "no utt2spk", "a Kaldi data directory", "Check the path")
    return DataDir(path)


@contextlib.contextmanager
def writing(path: str) -> Iterator[Path]:
    """A directory to write: whole, or not at all. Raises InputError when it holds data already."""
    if (Path(path) / "utt2spk").exists() or (Path(path) / manifests.RECORDINGS).exists():
        raise InputError(path, "data already", "a new directory", "Choose another name, or delete it")
    with whole_or_none(Path(path)):
        yield Path(path)


def validate(options: Options, paths: list[str]) -> int:
    """Prints every problem; 1 when there is one."""
    found = [(path, problem) for path in paths for problem in problems(existing(path).path)]
    for path, problem in found:
        print(f"{path}: {problem}")
    print(f"{len(paths)} directories, {len(found)} problems")
    return int(bool(found))


def fix(options: Options, paths: list[str]) -> int:
    """Mends or drops, and says what; 1 when something that `validate` names is left: audio that is not there, which is
    no reason to drop it, ids that need a prefix, scripts that lead nowhere."""
    left = 0
    for path in paths:
        checker = Checker(existing(path).path)
        checker.check()
        checker.fix()
        print(f"{path}: {checker.told()}")
        for problem in problems(path):
            print(f"{path}: not mended: {problem}")
            left += 1
    return int(bool(left))


def subset(options: Options, path: str, out: str) -> None:
    """Writes a part."""
    data = existing(path)
    chosen = parts.choose(data, options.utts, options.speakers, options.count, options.per_speaker, options.seed)
    with writing(out) as target:
        parts.write_part(data, chosen, target)
    print(f"{out}: {len(chosen)} of {len(data.utt2spk)} utterances")


def split(options: Options, path: str, count: str, out: str | None) -> None:
    """Writes contiguous parts."""
    if not count.isdigit():
        raise InputError("command line", repr(count), "a number of parts", "pyasp data split DIR PARTS [OUT]")
    data, top = existing(path), out or f"{path.rstrip('/')}/split{count}"
    with whole_or_none(Path(top)):
        for number, utts in enumerate(parts.parts_of(data, int(count), options.by_speaker), 1):
            with writing(f"{top}/{number}") as target:
                parts.write_part(data, utts, target)
            print(f"{top}/{number}: {len(utts)} utterances")


def combine(options: Options, out: str, paths: list[str]) -> None:
    """Writes the union."""
    once = {os.path.realpath(path): path for path in paths}.values()
    if len(once) < len(paths):
        print(f"{len(paths) - len(once)} of {len(paths)} directories given a second time: they count once")
    sources = [existing(path) for path in once]
    with writing(out) as target:
        parts.combine(sources, target)
    print(f"{out}: {len(DataDir(out).utt2spk)} utterances of {len(sources)} directories")


def stats(options: Options, paths: list[str]) -> None:
    """Prints the numbers of each directory."""
    found = {path: parts.statistics(existing(path)) for path in paths}
    if options.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return
    for path, facts in found.items():
        print(f"{path}:")
        for name, value in facts.items():
            text = ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else value
            print(f"  {name.replace('_', ' ')}: {text}")


def to_lhotse(options: Options, path: str, out: str) -> None:
    """Writes the manifests of a directory."""
    with writing(out) as target:
        recordings, supervisions = manifests.to_lhotse(existing(path), target, options.rate)
    print(f"{out}: {recordings} recordings, {supervisions} supervisions")


def from_lhotse(options: Options, left: str, right: str | None, out: str) -> None:
    """Writes the directory of two manifests, or of those in a directory."""
    if right is None:
        left, right = (f"{left}/{name}" for name in (manifests.RECORDINGS, manifests.SUPERVISIONS))
    with writing(out) as target:
        recordings, utts = manifests.to_kaldi(left, right, target)
    print(f"{out}: {utts} utterances of {recordings} recordings")


ACTIONS = {
    "validate": (validate, "DIR..."),
    "fix": (fix, "DIR..."),
    "subset": (subset, "DIR OUT"),
    "split": (split, "DIR PARTS [OUT]"),
    "combine": (combine, "OUT DIR..."),
    "stats": (stats, "DIR..."),
    "to-lhotse": (to_lhotse, "DIR OUT"),
    "from-lhotse": (from_lhotse, "MANIFESTS|RECORDINGS [SUPERVISIONS] OUT"),
}


@command(Options, "ACTION", "ARGUMENT...")
def main(options: Options, action: str, words: list[str]) -> int | None:
    """Works on Kaldi data directories: validate DIR..., fix DIR..., subset DIR OUT, split DIR PARTS [OUT],
    combine OUT DIR..., stats DIR..., to-lhotse DIR OUT, from-lhotse (MANIFESTS | RECORDINGS SUPERVISIONS) OUT.

    validate changes nothing and exits with 1 when something is wrong. to-lhotse and from-lhotse lose nothing: what
    lhotse has no field for is kept in `custom`.

    Example, after ./run.sh:
        pyasp data stats data/toy/train data/toy/test
    """
    return action_of("data", ACTIONS, action, words)(options)


if __name__ == "__main__":
    raise SystemExit(main())
