"""Joins the shards of a job array into one table."""

from dataclasses import dataclass

from pyasp.core.command import command
from pyasp.core.errors import InputError
from pyasp.core.options import Share, option
from pyasp.data.datadir import DataDir
from pyasp.data.shards import merge


@dataclass(frozen=True)
class Options:
    """Options of merge_shards."""

    reuse: str = option("", "scp of another set whose lines are copied instead of computed")
    table: tuple[str, ...] = option((), "NAME=PATH: also join the shards' tables PREFIX.S.NAME into PATH")
    within: str = option("", "scp of an earlier step: its utterances alone")
    allow_fail_fraction: Share = option(0.0, "share of the utterances that may fail")
    force: bool = option(False, "make again what is out of date")


@command(Options, "DATA", "PREFIX", "OUT_SCP")
def main(options: Options, data: str, prefix: str, out_scp: str) -> None:
    """Joins PREFIX.S.scp of all shards S of DATA into OUT_SCP, sorted, after checking that no utterance is lost.

    Example, after ./run.sh:
        pyasp merge_shards data/toy/enroll my_mfcc/enroll my_mfcc/feats.scp
    """
    bad = [table for table in options.table if "=" not in table]
    if bad:
        raise InputError("command line", repr(bad[0]), "NAME=PATH", "Correct --table")
    tables = dict(table.split("=", 1) for table in options.table)
    how = options.force, options.allow_fail_fraction, options.within
    merge(DataDir(data), prefix, options.reuse, tables, out_scp, *how)


if __name__ == "__main__":
    raise SystemExit(main())
