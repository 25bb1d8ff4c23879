"""Makes the augmented training set: clean recordings and lazy augmented copies."""

from __future__ import annotations

import heapq
import json
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from pyasp.audio.augment import (
    Augmenter,
    AugmentOptions,
    at_speed,
    check,
    generate_noises,
    generate_responses,
    json_line,
    renamed,
    require_sound,
    speeds_of,
)
from pyasp.audio.cut_files import read_cuts, write_cuts
from pyasp.audio.folders import Listing, musan_noises, responses_of
from pyasp.core.command import command
from pyasp.core.errors import InputError, rerun
from pyasp.core.files import atomic_write
from pyasp.core.options import option, subset
from pyasp.core.progress import bar
from pyasp.core.records import describe, is_current, making, with_beside
from pyasp.data.datadir import DataDir

if TYPE_CHECKING:
    from lhotse.cut import MonoCut

LISTING = "sources.files.gz"  # the noises and responses of the given folders, with their size and time


class Entry(NamedTuple):
    """One utterance of the augmented set; `line` is its cut as JSON."""

    utt: str
    clean: str  # utterance without noise that it was made from: itself when it has none
    source: str  # recording of the clean set
    kind: str
    line: str
    speed: str = "1"


@dataclass(frozen=True)
class Options(AugmentOptions):
    """Options of augment."""

    musan: str = option("", "folder of noises (MUSAN or any); generated noises without it")
    rirs: str = option("", "folder of impulse responses (RIRS_NOISES or any); simulated rooms without it")
    seed: int = option(1, "seed of the draws")
    force: bool = option(False, "make again what is out of date")


def given(options: Options) -> tuple[list[Path], list[Path]]:
    """Noises and impulse responses of the given folders; none of those that copies will not take."""
    noises = musan_noises(options.musan) if options.musan and options.copies else []
    return noises, responses_of(options.rirs) if options.rirs and options.copies else []


def sources(options: Options, folder: Path, rate: int, found: tuple[list[Path], list[Path]]) -> tuple[Augmenter, str]:
    """The augmenter at `rate` Hz, with noises and responses found in folders, or generated ones, and what they are."""
    chosen = subset(options, AugmentOptions)
    made = folder / str(rate), chosen, rate, options.seed
    noises, responses = found[0] or generate_noises(*made), found[1] or generate_responses(*made)
    noise, room = options.musan or "a generator", options.rirs or "simulated rooms"
    told = f"{len(noises)} noises from {noise}, {len(responses)} impulse responses from {room} ({rate} Hz)"
    print(told, file=sys.stderr)
    return Augmenter(chosen, noises, responses, options.seed), told


class CopiesOfCuts:
    """Each clean cut and what is made of it; told: what noises and responses the copies have."""

    def __init__(self, options: Options, clean: DataDir, folder: Path, found: tuple[list[Path], list[Path]]):
        """found: of `given`."""
        self.options, self.clean, self.folder, self.found = options, clean, folder, found
        self.speeds, self.voiced = speeds_of(options), clean.read("vad.scp")
        self.augmenters: dict[int, Augmenter] = {}  # by rate
        self.told: list[str] = []

    def __iter__(self) -> Iterator[list[Entry]]:
        """A group for each clean cut, in file order: the cut, its copies, all of it at the other speeds."""
        from lhotse.serialization import deserialize_item  # seconds, which whoever finds all up to date need not wait

        from pyasp.audio.cuts import use_libsndfile

        use_libsndfile()
        for utt, line in bar(read_cuts(self.clean / "cuts.jsonl.gz"), len(self.clean.utt2spk), "augment", "utt"):
            if utt not in self.voiced:  # dropped in stage features, and listed there
                continue
            group = [Entry(utt, utt, utt, "clean", line)]
            if self.options.copies or self.speeds:
                cut, item = deserialize_item(json.loads(line)), json.loads(line)  # lhotse empties what it is given
                group += [Entry(copy.id, utt, utt, kind, json_line(copy, item)) for copy, kind in self.copies(cut, 0)]
                for turn, speed in enumerate(self.speeds, 1):
                    group += self.changed(cut, turn, speed)
            yield group

    def copies(self, cut: MonoCut, turn: int) -> Iterator[tuple[MonoCut, str]]:
        """The augmented copies of a cut, and their kinds; each turn draws others."""
        count, rate = self.options.copies, cut.sampling_rate
        if count and rate not in self.augmenters:
            self.augmenters[rate], what = sources(self.options, self.folder, rate, self.found)
            self.told.append(what)
        for number in range(turn * count + 1, (turn + 1) * count + 1):
            yield self.augmenters[rate].copy(cut, number, self.voiced[cut.id])

    def changed(self, cut: MonoCut, turn: int, speed: str) -> Iterator[Entry]:
        """A cut at another speed, and copies of it: noise and room change with it."""
        speaker = self.clean.utt2spk[cut.id]
        clean, _ = renamed(cut.id, speaker, speed)
        for copy, kind in [(cut, "clean"), *self.copies(cut, turn)]:
            utt, _ = renamed(copy.id, speaker, speed)
            line = json.dumps(at_speed(copy, speed, utt).to_dict(), ensure_ascii=False)
            yield Entry(utt, clean, cut.id, f"{kind} at speed {speed}", line, speed)


def in_order(parts: Iterable[list[Entry]], where: Path) -> Iterator[Entry]:
    """Entries in C-locale order, from groups whose first ids are in that order and the least of their group.

    No more is held than what a later group may still have to precede. Raises InputError for groups out of order.
    """
    waiting: list[tuple[bytes, Entry]] = []
    last = b""
    for part in parts:
        first = part[0].utt.encode()
        if first <= last:
            found = f"{part[0].utt!r} after {last.decode()!r}"
            raise InputError(where, found, "unique ids in C-locale order", rerun("check"), item=part[0].utt)
        while waiting and waiting[0][0] < first:
            yield heapq.heappop(waiting)[1]
        for entry in part:
            heapq.heappush(waiting, (entry.utt.encode(), entry))
        last = first
    yield from (entry for _, entry in sorted(waiting))


class Tables:
    """The tables of the augmented set, filled as its cuts go by."""

    def __init__(self, clean: DataDir):
        self.speaker = clean.utt2spk
        self.kinds: Counter[str] = Counter()
        self.gender = clean.read_if_there("spk2gender")
        self.utt2spk: dict[str, str] = {}
        self.utt2clean: dict[str, str] = {}
        self.utt2speed: dict[str, str] = {}
        self.spk2gender = dict(self.gender)

    def take(self, entry: Entry) -> str:
        """Enters an utterance. Returns its cut's line."""
        person = speaker = self.speaker[entry.source]
        if entry.speed != "1":
            _, speaker = renamed(entry.source, person, entry.speed)
            self.utt2speed[entry.utt] = f"{entry.speed} {entry.source}"
            if person in self.gender:
                self.spk2gender[speaker] = self.gender[person]
        self.utt2spk[entry.utt], self.utt2clean[entry.utt] = speaker, entry.clean
        self.kinds[entry.kind] += 1
        return entry.line

    def write(self, target: DataDir) -> None:
        """utt2spk, spk2utt, utt2clean; utt2speed and spk2gender where there are any."""
        for name, table in {"utt2speed": self.utt2speed, "spk2gender": self.spk2gender}.items():
            if table:
                target.write(name, table)
            else:
                (target / name).unlink(missing_ok=True)
        target.write("utt2clean", self.utt2clean)
        target.write_speakers(self.utt2spk)


@command(Options, "CLEAN", "AUGMENTED")
def main(options: Options, clean: str, augmented: str) -> None:
    """Writes AUGMENTED = the utterances of CLEAN and their copies: utt2spk, spk2utt, utt2clean, cuts.jsonl.gz, and
    utt2speed (speed and recording of CLEAN) where --speeds changes it.

    augment.txt says in a sentence what the copies are.

    Example, after ./run.sh:
        pyasp augment --config conf/toy/augment.conf data/toy/train my_copies
    """
    codec = check(subset(options, AugmentOptions))
    source, target = DataDir(clean), DataDir(augmented)
    inputs = source.require("utt2spk", "cuts.jsonl.gz", "vad.scp")
    found, listing = given(options), Listing(target.path, LISTING)
    files = [str(path) for each in found for path in each]
    made = describe("augment", options, inputs, options.seed)
    if files:
        made["options"]["listing"] = listing.digest(files)
    changed = {"listing": lambda: listing.what_changed(files) if listing.old else ""}  # older releases kept no list
    if is_current(target / "cuts.jsonl.gz", made, options.force, changed):
        return
    for folder, sounds in zip((options.musan, options.rirs), found):
        require_sound(folder, sounds)
    groups, tables = CopiesOfCuts(options, source, target / "sources", found), Tables(source)
    names = ("utt2clean", "utt2spk", "spk2utt", "augment.txt")
    with making(target / "cuts.jsonl.gz", with_beside(made, there=[target / name for name in names])) as temporary:
        write_cuts(temporary, (tables.take(entry) for entry in in_order(groups, inputs[1])))
        tables.write(target)
        (target / "cuts.jsonl.gz").unlink(missing_ok=True)  # which the new list would call up to date
        listing.write(files) if files else listing.path.unlink(missing_ok=True)
        counts = ", ".join(f"{count} {kind}" for kind, count in tables.kinds.items())
        told = [f"{counts} (noise levels over the voiced frames)", *groups.told]
        with atomic_write(target / "augment.txt", "w") as stream:
            stream.write("; ".join([*told, *([f"codec: {codec}"] if codec else [])]) + "\n")
    print(f"{augmented}: {len(tables.utt2spk)} utterances: {counts}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
