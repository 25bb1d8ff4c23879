"""Checks and fixes data directories and their trial lists."""

from dataclasses import dataclass
from pathlib import Path

from pyasp import cli
from pyasp.datadir import DataDir
from pyasp.errors import InputError
from pyasp.trials import check_trials
from pyasp.validate import Checker


@dataclass(frozen=True)
class Options:
    """Options of check_data."""
    max_dropped_fraction: float = cli.option(0.05, "share of a directory's utterances that may be dropped")


@cli.command(Options, "DATA")
def main(options: Options, data: str) -> None:
    """Validates DATA/{train,enroll,test}, fixes what can be fixed, lists what is dropped, and checks DATA/trials/*."""
    for name in ("train", "enroll", "test"):
        checker = Checker(Path(data) / name)
        checker.check()
        checker.fix()
        checker.report()
        if len(checker.dropped) > options.max_dropped_fraction * len(checker.data.utt2spk):
            raise InputError(checker.data.path, f"{len(checker.dropped)} of {len(checker.data.utt2spk)} utterances unusable",
                             f"at most {options.max_dropped_fraction:.0%}", f"See {checker.data.path}/dropped.tsv for the reasons")
    models, tests = DataDir(Path(data) / "enroll").model2utts, DataDir(Path(data) / "test").utt2spk
    lists = sorted(path for path in (Path(data) / "trials").glob("*") if not path.name.endswith((".tsv", ".json", ".tmp")))
    if not lists:
        raise InputError(Path(data) / "trials", "no trial list", "at least one", "Run stage 0, with --trials FILE for own lists")
    for path in lists:
        check_trials(path, models, tests)


if __name__ == "__main__":
    raise SystemExit(main())
