"""Checks and fixes data directories and their trial lists."""

import sys
from dataclasses import dataclass
from pathlib import Path

from pyasp.core.command import command
from pyasp.core.errors import InputError, rerun
from pyasp.core.options import option
from pyasp.data.checks import Checker
from pyasp.data.datadir import DataDir
from pyasp.data.trials import read_trials, trial_lists


@dataclass(frozen=True)
class Options:
    """Options of check_data."""

    max_dropped_fraction: float = option(0.05, "share of a directory's utterances that may be dropped")


def check_trial_lists(data: Path) -> None:
    """Reads every list of data/trials: known ids only, both classes, well-formed lines. Raises InputError."""
    models, tests = list(DataDir(data / "enroll").model2utts), list(DataDir(data / "test").utt2spk)
    names = trial_lists(data / "trials") if (data / "trials").is_dir() else []
    if not names:
        raise InputError(
            data / "trials", "no trial list", "at least one", rerun("prepare", "Give own lists with --trials FILE")
        )
    for name in names:
        trials = read_trials(data / "trials" / name, models, tests)
        print(
            f"{data / 'trials' / name}: {len(trials)} trials, {int(trials.target.sum())} of them target",
            file=sys.stderr,
        )


@command(Options, "DATA")
def main(options: Options, data: str) -> None:
    """Validates DATA/{train,enroll,test}, fixes what can be fixed, lists what is dropped, and checks DATA/trials/*."""
    for name in ("train", "enroll", "test"):
        checker = Checker(Path(data) / name)
        checker.check()
        checker.require_audio()
        checker.fix()
        print(f"{checker.data.path}: {checker.told()}", file=sys.stderr)
        if len(checker.dropped) > options.max_dropped_fraction * len(checker.data.utt2spk):
            raise InputError(
                checker.data.path,
                f"{len(checker.dropped)} of {len(checker.data.utt2spk)} utterances unusable",
                f"at most {options.max_dropped_fraction:.0%}",
                f"See {checker.data.path}/dropped.tsv for the reasons",
            )
    check_trial_lists(Path(data))


if __name__ == "__main__":
    raise SystemExit(main())
