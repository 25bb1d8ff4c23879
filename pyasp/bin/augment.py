"""Makes the augmented training set: clean recordings and lazy augmented copies."""

import json
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from pyasp import cli
from pyasp.artefact import describe, is_current, making
from pyasp.audio import use_libsndfile
from pyasp.augment import Augmenter, AugmentOptions, find_audio, generate, musan_noises, recordings
from pyasp.datadir import DataDir, c_sorted
from pyasp.progress import bar
from pyasp.validate import read_cuts, write_cuts


@dataclass(frozen=True)
class Options(AugmentOptions):
    """Options of augment."""
    musan: str = cli.option("", "folder of noises (MUSAN or any); generated noises without it")
    rirs: str = cli.option("", "folder of impulse responses (RIRS_NOISES or any); simulated rooms without it")
    seed: int = cli.option(1, "seed of the draws")
    force: bool = cli.option(False, "make again what is out of date")


def sources(options: Options, folder: Path, rate: int):
    """Noises and impulse responses at `rate` Hz: from the given folders, else generated, said plainly."""
    noises, responses = generate(folder / str(rate), cli.subset(options, AugmentOptions), rate, options.seed)
    if options.musan:
        noises = musan_noises(options.musan)
    if options.rirs:
        responses = find_audio(options.rirs)
    print(f"noises: {len(noises)} from {options.musan or 'a generator'}; impulse responses: {len(responses)} from "
          f"{options.rirs or 'simulated rooms'} ({rate} Hz)", file=sys.stderr)
    return recordings(noises, rate), recordings(responses, rate)


def copies(options: Options, clean: DataDir, folder: Path):
    """(copy's id, clean id, kind, JSON line) of every augmented copy."""
    from lhotse.serialization import deserialize_item
    augmenters = {}
    for utt, line in bar(read_cuts(clean / "cuts.jsonl.gz"), len(clean.utt2spk), "augment", "utt"):
        cut = deserialize_item(json.loads(line))
        if cut.sampling_rate not in augmenters:
            found = sources(options, folder, cut.sampling_rate)
            augmenters[cut.sampling_rate] = Augmenter(cli.subset(options, AugmentOptions), *found, options.seed)
        for number in range(1, options.copies + 1):
            copy, kind = augmenters[cut.sampling_rate].copy(cut, number)
            yield copy.id, utt, kind, json.dumps(copy.to_dict(), ensure_ascii=False)


@cli.command(Options, "CLEAN", "AUGMENTED")
def main(options: Options, clean: str, augmented: str) -> None:
    """Writes AUGMENTED = the utterances of CLEAN and their copies: utt2spk, spk2utt, utt2clean, cuts.jsonl.gz."""
    use_libsndfile()
    source, target = DataDir(clean), DataDir(augmented)
    source.require("utt2spk", "cuts.jsonl.gz")
    made = describe("augment", options, [source / "utt2spk", source / "cuts.jsonl.gz"], options.seed)
    if is_current(target / "cuts.jsonl.gz", made, options.force):
        return
    lines = dict(read_cuts(source / "cuts.jsonl.gz"))
    utt2clean = {utt: utt for utt in lines}
    kinds = Counter(clean=len(lines))
    for copy, utt, kind, line in copies(options, source, target / "sources") if options.copies else ():
        lines[copy], utt2clean[copy] = line, utt
        kinds[kind] += 1
    target.write("utt2clean", utt2clean)
    target.write_speakers({utt: source.utt2spk[clean] for utt, clean in utt2clean.items()})
    if source.has("spk2gender"):
        target.write("spk2gender", source.read("spk2gender"))
    with making(target / "cuts.jsonl.gz", made) as temporary:
        write_cuts(temporary, [lines[utt] for utt in c_sorted(lines)])
    print(f"{augmented}: {len(lines)} utterances: " + ", ".join(f"{count} {kind}" for kind, count in kinds.items()), file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
