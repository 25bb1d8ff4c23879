"""Work over a data directory in shards, so that results do not depend on the number of jobs.

The C-sorted utterances are cut into contiguous shards by their number alone; job J of NJ makes the shards J, J+NJ, ...
Each shard is an artefact of its own (`PREFIX.S.ark`, `.scp`, tables), so a killed job loses one shard, and the same
shards come out for any number of jobs. `merge` joins them and lets the counts decide.
"""

import bisect
import dataclasses
import glob
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from pyasp.audio.folders import HEARD
from pyasp.core.errors import InputError, rerun
from pyasp.core.files import link_or_copy, remove_tree
from pyasp.core.options import Count, option
from pyasp.core.progress import bar
from pyasp.core.records import (
    describe,
    is_current,
    load_record,
    lost_beside,
    made_path,
    making,
    with_beside,
    write_made,
)
from pyasp.data.checks import add_dropped
from pyasp.data.datadir import DataDir, c_sorted, read_reasons, read_table, write_table
from pyasp.data.parts import DROPPED
from pyasp.kaldi import ArkWriter, read_scp
from pyasp.kaldi.source import remade_all

MIN_SHARDS = 8  # a small corpus still feeds eight jobs
SHARD_SIZE = 2000  # utterances of a shard of a large one: minutes of work, lost at most once by a kill


@dataclasses.dataclass(frozen=True)
class JobOptions:
    """Which part of the work this process does."""

    job: Count = option(1, "number of this job, from 1")
    num_jobs: Count = option(1, "number of jobs; the result does not depend on it")
    reuse: str = option("", "scp of another set: utterances found there are not computed again")
    force: bool = option(False, "make again what is out of date")
    within: str = option("", "scp of an earlier step: its utterances alone; the others must stand in dropped.tsv")


@dataclasses.dataclass(frozen=True)
class Shard:
    """Utterances `start` (inclusive) to `end` (exclusive) of the C-sorted list; `number` counts from 1."""

    number: int
    start: int
    end: int


def shards(total: int) -> list[Shard]:
    """Cuts `total` utterances into contiguous shards of nearly equal size; depends on `total` alone."""
    count = max(min(total, MIN_SHARDS), -(-total // SHARD_SIZE))
    bounds = [total * k // count for k in range(count + 1)] if count else []
    return [Shard(k + 1, start, end) for k, (start, end) in enumerate(zip(bounds, bounds[1:]))]


def shards_of_job(total: int, options: JobOptions) -> list[Shard]:
    """The shards that job `options.job` of `options.num_jobs` makes. Raises InputError when the job is out of range."""
    if not 1 <= options.job <= options.num_jobs:
        found = f"--job {options.job}"
        raise InputError("command line", found, f"1 to {options.num_jobs}", "Give --job within --num-jobs")
    return shards(total)[options.job - 1 :: options.num_jobs]


def members(data: DataDir, within: str) -> list[str]:
    """C-sorted utterances of a directory that earlier steps have kept: those in the scp `within`, where one is named.

    Raises InputError when one is in neither the scp nor dropped.tsv.
    """
    if not within:
        return c_sorted(data.utt2spk)
    there, dropped = read_scp(within), read_reasons(data / DROPPED)
    lost = [utt for utt in data.utt2spk if utt not in there and utt not in dropped]
    if lost:
        found = f"no entry for {len(lost)} utterances (first: {lost[0]})"
        raise InputError(within, found, "those that dropped.tsv does not list", "Run the stage that makes it again")
    return [utt for utt in c_sorted(data.utt2spk) if utt in there]


def wanted(utts: Iterable[str], reuse: str) -> list[str]:
    """Those of some utterances that have to be computed: those that `reuse` does not hold already."""
    known = read_scp(reuse) if reuse else {}
    return [utt for utt in utts if utt not in known]


Result = tuple[str, np.ndarray | bytes | None, dict[str, str]]
MARKS = "utt2mark"  # table of a shard: digests of all that decides what was made of an utterance


class Earlier:
    """What the shards of an earlier run hold, for utterances of the same mark: nothing that decides them has changed.

    Shards are made anew under their old names. So the first job keeps links to the files of all that are complete in
    PREFIX.earlier.<digest of `made`>; `merge` deletes it when every new shard is there. The stored bytes are copied, so
    that new shards are those of a run that computes everything, and a killed run goes on with what it has.
    """

    def __init__(self, prefix: str, made: Mapping[str, Any]):
        """made: of `describe`; PREFIX is that of the shards that are to be made."""
        self._shards = sorted((scp.read_bytes().partition(b" ")[0], scp) for scp in _set_aside(prefix, made))
        self._scp: Path | None = None  # of the shard that is loaded: utterances are asked for in order

    def get(self, utt: str, mark: str) -> Result | None:
        """The result of an utterance as it was stored; None where there is none with this mark."""
        place = bisect.bisect(self._shards, utt.encode(), key=lambda shard: shard[0])
        if not place or not mark:
            return None
        self._load(scp := self._shards[place - 1][1])
        if self._tables[MARKS].get(utt) != mark or utt not in self._places:
            return None
        start, end = self._places[utt]
        with open(scp.with_suffix(".ark"), "rb") as stream:
            stream.seek(start)
            stored = stream.read(end - start)
        return utt, stored, {name: table[utt] for name, table in self._tables.items() if utt in table}

    def _load(self, scp: Path) -> None:
        if scp == self._scp:
            return
        self._scp = scp
        lines = [(utt, int(line.rpartition(":")[2])) for utt, line in read_table(scp).items()]
        ends = [start - len(f"{utt} ".encode()) for utt, start in lines[1:]]
        self._places = {
            utt: (start, end) for (utt, start), end in zip(lines, [*ends, scp.with_suffix(".ark").stat().st_size])
        }
        tables = (path for path in _files(scp.parent, scp.stem.rpartition(".")[0]) if path.stem == scp.stem)
        self._tables = {path.suffix[1:]: read_table(path) for path in tables if path.suffix not in (".ark", ".scp")}


def _files(directory: Path, name: str) -> list[Path]:
    """The files NAME.S.KIND of shards in a directory."""
    shape = re.compile(rf"{re.escape(name)}\.\d+\.[a-z0-9_]+")
    return [path for path in sorted(directory.iterdir()) if shape.fullmatch(path.name)]


def _set_aside(prefix: str, made: Mapping[str, Any]) -> list[Path]:
    """The scps of complete shards with marks, as they were when the first job of a run came."""
    shape = {name: value for name, value in made.items() if name != "versions"}
    digest = hashlib.sha256(json.dumps(shape, sort_keys=True).encode()).hexdigest()[:16]
    name, target = Path(prefix).name, Path(f"{prefix}.earlier.{digest}")
    target.parent.mkdir(parents=True, exist_ok=True)
    if not target.is_dir():
        older = [path for path in _asides(prefix, ".") if path != target]
        temporary = Path(tempfile.mkdtemp(prefix=f"{name}.earlier-", dir=target.parent))
        try:
            (temporary / "whole").touch()  # a directory that is empty would be replaced by the next job's
            _link_whole_shards(name, temporary)
            temporary.rename(target)
        except OSError:
            if not target.is_dir():
                raise
            older = [temporary]  # another job was first, and makes shards anew by now
        for path in older:
            remove_tree(path)
    return [path for path in _files(target, name) if path.suffix == ".scp"]


def _link_whole_shards(name: str, directory: Path) -> None:
    """Links to the files of the complete shards with marks beside a directory, in it."""
    files = _files(directory.parent, name)
    whole = {path.stem for path in files if path.suffix == ".scp" and _has_all(path)}
    for path in (path for path in files if path.stem in whole):
        link_or_copy(path, directory / path.name)


def _has_all(scp: Path) -> bool:
    """Whether a shard has marks, its archive, and every table that its record tells of."""
    record = made_path(scp)
    there = all(scp.with_suffix(suffix).is_file() for suffix in (".ark", f".{MARKS}"))
    return there and not (record.is_file() and lost_beside(scp, load_record(record)))


def _asides(prefix: str, kind: str) -> list[Path]:
    """PREFIX.earlier.*; of the kind "-": such that are not whole yet, or no more."""
    return list(Path(prefix).parent.glob(f"{glob.escape(Path(prefix).name)}.earlier{kind}*"))


def _end_of_earlier(prefix: str) -> int:
    """Deletes what was kept of earlier shards; returns how many utterances were taken from there."""
    asides, taken = _asides(prefix, "."), 0
    here = [path for path in _files(Path(prefix).parent, Path(prefix).name) if path.suffix == f".{MARKS}"]
    marks = {item for path in here if asides for item in read_table(path).items()}
    for aside in asides:
        taken += sum(len(read_table(path).items() & marks) for path in aside.glob(f"*.{MARKS}"))
        aside.rename(f"{prefix}.earlier-{aside.suffix[1:]}")  # at once: a part would be taken for the whole
    for path in _asides(prefix, "-"):
        remove_tree(path)
    return taken


def run_shards(
    data: DataDir,
    options: JobOptions,
    prefix: str,
    recipe: Callable[[], dict[str, Any]],
    process: Callable[[list[str]], Iterable[Result]],
    compression_method: int = 0,
) -> None:
    """Makes this job's shards: `PREFIX.S.ark/.scp`, one `PREFIX.S.<table>` per table name, `PREFIX.S.failed`.

    recipe: gives tool, options and inputs for `artefact.describe` as keyword arguments.
    process: from a list of utterances to (utterance, array, {table: value}); a None array is a failure, whose reason is
        in the table `failed`; bytes are what `Earlier` has of an array.
    """
    utts = wanted(members(data, options.within), options.reuse)
    mine = shards_of_job(len(utts), options)
    made = describe(**recipe())
    done = failed = 0
    with bar(total=sum(s.end - s.start for s in mine), unit="utt") as progress:
        for shard in mine:
            stem = f"{prefix}.{shard.number}"
            ours = utts[shard.start : shard.end]
            record = {
                **made,
                "options": {**made["options"], "first": ours[0], "last": ours[-1], "utterances": len(ours)},
            }
            if not is_current(f"{stem}.scp", record, options.force) or _to_try_again(stem):
                shard_done, shard_failed = _make_shard(stem, process(ours), record, compression_method, progress)
                done, failed = done + shard_done, failed + shard_failed
            else:
                progress.update(len(ours))
    print(
        f"job {options.job} of {options.num_jobs}: {len(mine)} shards, done {done} of {done + failed} utterances, "
        f"{failed} failed",
        file=sys.stderr,
    )


def _to_try_again(stem: str) -> int:
    """How many utterances of a shard failed, for reasons that may be mended by now; says so."""
    if failed := len(read_table(f"{stem}.failed")):
        print(f"{stem}.scp: made again, since {failed} utterances failed", file=sys.stderr)
    return failed


def _make_shard(
    stem: str, results: Iterable[Result], record: dict[str, Any], method: int, progress: tqdm
) -> tuple[int, int]:
    """Writes one shard; the scp, which is what makes it complete, comes last."""
    tables: dict[str, dict[str, str]] = {"failed": {}}
    Path(f"{stem}.scp").unlink(missing_ok=True)
    write_made(f"{stem}.scp", record)
    done = 0
    with ArkWriter(os.path.abspath(f"{stem}.ark"), f"{stem}.scp", compression_method=method) as writer:
        for utt, array, values in results:
            if array is not None:
                writer.write(utt, array)
                done += 1
            for name, value in values.items():
                tables.setdefault(name, {})[utt] = value
            progress.update()
        for name, table in tables.items():
            write_table(f"{stem}.{name}", table)
        paths = [f"{stem}.{name}" for name in tables]
        write_made(f"{stem}.scp", with_beside(record, *paths, sized={f"{stem}.ark": writer.size}))
    return done, len(tables["failed"])


def _collect(prefix: str, total: int, name: str) -> Iterator[tuple[str, str]]:
    for shard in shards(total):
        path = Path(f"{prefix}.{shard.number}.{name}")
        if not path.is_file():
            expected = f"shard {shard.number} of {len(shards(total))}"
            raise InputError(path, "no such file", expected, rerun("", "A job did not finish"))
        yield from read_table(path).items()


def merge(
    data: DataDir,
    prefix: str,
    reuse: str,
    tables: Mapping[str, str],
    out_scp: str,
    force: bool,
    allow_fail_fraction: float = 0.0,
    within: str = "",
) -> None:
    """Joins the shards into `out_scp` and the named tables ({shard table: output path}); C-sorted.

    Lines of utterances that `reuse` holds are copied from there (tables: from the file of the same name beside it).
    Raises InputError when an utterance is neither done nor failed, or more than the allowed fraction failed.
    """
    utts = members(data, within)
    missing, known = wanted(utts, reuse), read_scp(reuse) if reuse else {}
    lines = {utt: known[utt] for utt in utts if utt in known}
    lines.update(_collect(prefix, len(missing), "scp"))
    failures = dict(_collect(prefix, len(missing), "failed"))
    kept = _end_of_earlier(prefix)
    counts = check_counts(out_scp, utts, lines, failures, allow_fail_fraction)
    parts = [f"{prefix}.{shard.number}.scp" for shard in shards(len(missing))]
    inputs: list[str | Path] = [data / "utt2spk", *filter(None, (reuse, within)), *parts]
    made = describe("merge_shards", {}, inputs)
    if failures:
        add_dropped(data, failures)  # a preparation that was made again has forgotten them
    if is_current(out_scp, made, force):
        return
    print(counts + f", {kept} of them as they were" * (kept > 0), file=sys.stderr)
    for name, path in tables.items():
        table = dict(_collect(prefix, len(missing), name))
        beside = read_table(Path(reuse).parent / Path(path).name) if reuse else {}
        table.update({utt: beside[utt] for utt in utts if utt in beside and utt not in table})
        write_table(path, table)
    ours = [path for path in tables.values() if Path(path).parent == Path(out_scp).parent]
    with making(out_scp, with_beside(made, *ours)) as temporary:
        write_table(temporary, lines)


def check_counts(
    where: str, utts: Collection[str], lines: Mapping[str, str], failures: Mapping[str, str], allowed: float
) -> str:
    """The sentence "done N of M"; raises InputError when utterances are lost or, having printed it, too many failed."""
    lost = [utt for utt in utts if utt not in lines and utt not in failures]
    if lost:
        found = f"{len(lost)} utterances neither done nor failed (first: {lost[0]})"
        raise InputError(where, found, "every utterance accounted for", rerun("", force=True))
    first = next(iter(failures.items()), None)
    note = f" (first: {first[0]}: {first[1]})" if first else ""
    counts = f"{where}: done {len(lines)} of {len(utts)}, {len(failures)} failed{note}"
    if len(failures) > allowed * len(utts):
        print(counts, file=sys.stderr)
        told = f"{len(failures)} of {len(utts)} utterances failed{note}"
        way = "Repair those recordings, or leave them out (the shards' .failed files list them)"
        cure = rerun("prepare", way, force=True, then=True)
        silent = {why.split(": found ")[0] for why in failures.values() if HEARD in why}
        cure = remade_all(failures.values()) or cure
        if silent and all(HEARD in why for why in failures.values()):  # of copies: no recording is at fault
            cure = rerun("augment", f"Repair the noises, or take them out: {', '.join(sorted(silent))}", True, True)
        raise InputError(where, told, f"at most {allowed:.1%}", cure)
    return counts
