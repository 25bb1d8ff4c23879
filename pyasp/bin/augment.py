"""Makes the augmented training set: clean recordings and lazy augmented copies."""

import heapq
import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Iterator

from pyasp import cli
from pyasp.artefact import atomic_write, describe, is_current, making
from pyasp.audio import use_libsndfile
from pyasp.augment import Augmenter, generate, json_line
from pyasp.augment_options import AugmentOptions, check
from pyasp.datadir import DataDir
from pyasp.errors import InputError
from pyasp.progress import bar
from pyasp.sound_folders import musan_noises, responses_of
from pyasp.validate import read_cuts, write_cuts

Entry = tuple[str, str, str, str]  # id, id of its clean utterance, kind, JSON line


@dataclass(frozen=True)
class Options(AugmentOptions):
    """Options of augment."""

    musan: str = cli.option("", "folder of noises (MUSAN or any); generated noises without it")
    rirs: str = cli.option("", "folder of impulse responses (RIRS_NOISES or any); simulated rooms without it")
    seed: int = cli.option(1, "seed of the draws")
    force: bool = cli.option(False, "make again what is out of date")


def sources(options: Options, folder: Path, rate: int) -> tuple[Augmenter, str]:
    """The augmenter at `rate` Hz, with the given folders' or generated noises and responses, and what they are."""
    chosen = cli.subset(options, AugmentOptions)
    noises, responses = generate(folder / str(rate), chosen, rate, options.seed)
    if options.musan:
        noises = musan_noises(options.musan)
    if options.rirs:
        responses = responses_of(options.rirs)
    told = (
        f"{len(noises)} noises from {options.musan or 'a generator'}, {len(responses)} impulse responses from "
        f"{options.rirs or 'simulated rooms'} ({rate} Hz)"
    )
    print(told, file=sys.stderr)
    return Augmenter(chosen, noises, responses, options.seed), told


def groups(options: Options, clean: DataDir, folder: Path, told: list[str]) -> Iterator[list[Entry]]:
    """Each clean cut, in file order, and its augmented copies; told: what the copies are made of."""
    from lhotse.serialization import deserialize_item

    augmenters, voiced = {}, clean.read("vad.scp") if options.copies else {}
    for utt, line in bar(read_cuts(clean / "cuts.jsonl.gz"), len(clean.utt2spk), "augment", "utt"):
        group = [(utt, utt, "clean", line)]
        if options.copies:
            cut, item = deserialize_item(json.loads(line)), json.loads(line)  # lhotse empties what it is given
            if cut.sampling_rate not in augmenters:
                augmenters[cut.sampling_rate], what = sources(options, folder, cut.sampling_rate)
                told.append(what)
            for number in range(1, options.copies + 1):
                copy, kind = augmenters[cut.sampling_rate].copy(cut, number, voiced.get(utt, ""))
                group.append((copy.id, utt, kind, json_line(copy, item)))
        yield group


def in_order(parts: Iterable[list[Entry]], where: Path) -> Iterator[Entry]:
    """Entries in C-locale order, from groups whose first ids are in that order and the least of their group.

    No more is held than what a later group may still have to precede. Raises InputError for groups out of order.
    """
    waiting: list[tuple[bytes, Entry]] = []
    last = b""
    for part in parts:
        first = part[0][0].encode()
        if first <= last:
            raise InputError(where, f"{part[0][0]!r} after {last.decode()!r}", "unique ids in C-locale order",
                             "Run stage 1 again", item=part[0][0])
        while waiting and waiting[0][0] < first:
            yield heapq.heappop(waiting)[1]
        for entry in part:
            heapq.heappush(waiting, (entry[0].encode(), entry))
        last = first
    yield from (entry for _, entry in sorted(waiting))


def describe_copies(kinds: Counter, told: list[str], codec: str) -> str:
    """One sentence for the report: what the copies are, how many of each kind."""
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    return "; ".join(
        [f"{counts} (noise levels over the voiced frames)", *told, *([f"codec: {codec}"] if codec else [])]
    )


@cli.command(Options, "CLEAN", "AUGMENTED")
def main(options: Options, clean: str, augmented: str) -> None:
    """Writes AUGMENTED = the utterances of CLEAN and their copies: utt2spk, spk2utt, utt2clean, cuts.jsonl.gz.

    augment.txt says in a sentence what the copies are.
    """
    use_libsndfile()
    codec = check(cli.subset(options, AugmentOptions))
    source, target = DataDir(clean), DataDir(augmented)
    source.require("utt2spk", "cuts.jsonl.gz", "vad.scp")
    inputs = [source / name for name in ("utt2spk", "cuts.jsonl.gz", "vad.scp")]
    made = describe("augment", options, inputs, options.seed)
    if is_current(target / "cuts.jsonl.gz", made, options.force):
        return
    utt2clean: dict[str, str] = {}
    kinds: Counter = Counter()
    told: list[str] = []

    def lines() -> Iterator[str]:
        for utt, clean_utt, kind, line in in_order(groups(options, source, target / "sources", told), inputs[1]):
            utt2clean[utt] = clean_utt
            kinds[kind] += 1
            yield line

    with making(target / "cuts.jsonl.gz", made) as temporary:
        write_cuts(temporary, lines())
        target.write("utt2clean", utt2clean)
        target.write_speakers({utt: source.utt2spk[clean_utt] for utt, clean_utt in utt2clean.items()})
        if source.has("spk2gender"):
            target.write("spk2gender", source.read("spk2gender"))
        with atomic_write(target / "augment.txt", "w") as stream:
            stream.write(describe_copies(kinds, told, codec) + "\n")
    counts = ", ".join(f"{count} {kind}" for kind, count in kinds.items())
    print(f"{augmented}: {len(utt2clean)} utterances: {counts}", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
