"""Validates, fixes, cuts, joins, counts and converts data directories."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from pyasp.core.command import command
from pyasp.core.errors import InputError
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


def fresh(path: str) -> Path:
    """A directory to write. Raises InputError when it holds data already."""
    if (Path(path) / "utt2spk").exists() or (Path(path) / manifests.RECORDINGS).exists():
        raise InputError(path, "data already", "a new directory", "Choose another name, or delete it")
    return Path(path)


def validate(options: Options, words: list[str]) -> int:
    """Prints every problem; 1 when there is one."""
    found = [(path, problem) for path in words for problem in problems(existing(path).path)]
    for path, problem in found:
        print(f"{path}: {problem}")
    print(f"{len(words)} directories, {len(found)} problems")
    return int(bool(found))


def fix(options: Options, words: list[str]) -> int:
    """Mends or drops, and says what; 1 when audio is not there, which is no reason to drop it, or ids need a prefix."""
    left = 0
    for path in words:
        existing(path)
        checker = Checker(path)
        checker.check()
        checker.fix()
        print(f"{path}: {checker.told()}")
        left += len(checker.gone) + len(checker.unprefixed)
    return int(bool(left))


def subset(options: Options, words: list[str]) -> int:
    """Writes a part."""
    data = existing(words[0])
    chosen = parts.choose(data, options.utts, options.speakers, options.count, options.per_speaker, options.seed)
    parts.write_part(data, chosen, fresh(words[1]))
    print(f"{words[1]}: {len(chosen)} of {len(data.utt2spk)} utterances")
    return 0


def split(options: Options, words: list[str]) -> int:
    """Writes contiguous parts."""
    if not words[1].isdigit():
        raise InputError("command line", repr(words[1]), "a number of parts", "pyasp data split DIR PARTS [OUT]")
    data, out = existing(words[0]), Path(words[2] if len(words) > 2 else f"{words[0].rstrip('/')}/split{words[1]}")
    for number, utts in enumerate(parts.parts_of(data, int(words[1]), options.by_speaker), 1):
        parts.write_part(data, utts, fresh(str(out / str(number))))
        print(f"{out / str(number)}: {len(utts)} utterances")
    return 0


def combine(options: Options, words: list[str]) -> int:
    """Writes the union."""
    sources = [existing(path) for path in words[1:]]
    parts.combine(sources, fresh(words[0]))
    print(f"{words[0]}: {len(DataDir(words[0]).utt2spk)} utterances of {len(sources)} directories")
    return 0


def stats(options: Options, words: list[str]) -> int:
    """Prints the numbers of each directory."""
    found = {path: parts.statistics(existing(path)) for path in words}
    if options.json:
        print(json.dumps(found, indent=1, ensure_ascii=False))
        return 0
    for path, facts in found.items():
        print(f"{path}:")
        for name, value in facts.items():
            text = ", ".join(f"{key} {each}" for key, each in value.items()) if isinstance(value, dict) else value
            print(f"  {name.replace('_', ' ')}: {text}")
    return 0


def to_lhotse(options: Options, words: list[str]) -> int:
    """Writes the manifests of a directory."""
    recordings, supervisions = manifests.to_lhotse(existing(words[0]), fresh(words[1]), options.rate)
    print(f"{words[1]}: {recordings} recordings, {supervisions} supervisions")
    return 0


def from_lhotse(options: Options, words: list[str]) -> int:
    """Writes the directory of two manifests."""
    left, right = words[:2]
    if len(words) == 2:
        left, right = (f"{words[0]}/{name}" for name in (manifests.RECORDINGS, manifests.SUPERVISIONS))
    recordings, utts = manifests.to_kaldi(left, right, fresh(words[-1]))
    print(f"{words[-1]}: {utts} utterances of {recordings} recordings")
    return 0


MANY = float("inf")
ACTIONS: dict[str, tuple[Callable[[Options, list[str]], int], str, tuple[int, float]]] = {  # (arguments, their number)
    "validate": (validate, "DIR...", (1, MANY)),
    "fix": (fix, "DIR...", (1, MANY)),
    "subset": (subset, "DIR OUT", (2, 2)),
    "split": (split, "DIR PARTS [OUT]", (2, 3)),
    "combine": (combine, "OUT DIR...", (2, MANY)),
    "stats": (stats, "DIR...", (1, MANY)),
    "to-lhotse": (to_lhotse, "DIR OUT", (2, 2)),
    "from-lhotse": (from_lhotse, "(MANIFESTS | RECORDINGS SUPERVISIONS) OUT", (2, 3)),
}


@command(Options, "ACTION", "ARGUMENT...")
def main(options: Options, action: str, words: list[str]) -> int:
    """Works on Kaldi data directories: validate DIR..., fix DIR..., subset DIR OUT, split DIR PARTS [OUT],
    combine OUT DIR..., stats DIR..., to-lhotse DIR OUT, from-lhotse (MANIFESTS | RECORDINGS SUPERVISIONS) OUT.

    validate changes nothing and exits with 1 when something is wrong. to-lhotse and from-lhotse lose nothing: what
    lhotse has no field for is kept in `custom`.

    Example, after ./run.sh:
        pyasp data stats data/toy/train data/toy/test
    """
    if action not in ACTIONS:
        raise InputError("command line", repr(action), " or ".join(ACTIONS), "Name one of these actions")
    run, arguments, (least, most) = ACTIONS[action]
    if not least <= len(words) <= most:
        raise InputError("command line", f"{len(words)} arguments", arguments, f"pyasp data {action} {arguments}")
    return run(options, words)


if __name__ == "__main__":
    raise SystemExit(main())
