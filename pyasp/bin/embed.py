"""Turns audio files into embeddings: files, folders or a table, to ark and scp or npy."""

import os
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyasp.audio.folders import some
from pyasp.bundle.listing import features_of, list_sounds
from pyasp.bundle.verify import ModelOptions, load_model
from pyasp.core.command import command
from pyasp.core.files import atomic_write, check_output
from pyasp.core.options import Natural, Share, option
from pyasp.core.progress import bar
from pyasp.data.datadir import write_reasons
from pyasp.kaldi import ArkWriter

Vectors = Iterator[tuple[str, np.ndarray]]


@dataclass(frozen=True)
class Options(ModelOptions):
    """Options of embed."""

    threads: Natural = option(0, "threads that read and analyse audio; 0 = one a core")
    max_failed: Share = option(0.0, "share of the recordings that may fail")


def write_ark(path: Path, vectors: Vectors) -> int:
    """OUT.ark with OUT.scp."""
    count = 0
    with ArkWriter(path.absolute().with_suffix(".ark"), path.with_suffix(".scp")) as writer:
        for count, (key, vector) in enumerate(vectors, 1):
            writer.write(key, vector)
    return count


def write_npy(path: Path, vectors: Vectors) -> int:
    """OUT.npy, (N, E) float32, with the keys in OUT.txt, one a line."""
    found = list(vectors)
    with atomic_write(path.with_suffix(".txt"), "w") as stream:
        stream.writelines(f"{key}\n" for key, _ in found)
    with atomic_write(path) as stream:
        np.save(stream, np.stack([vector for _, vector in found]) if found else np.zeros((0, 0), np.float32))
    return len(found)


WRITERS = {".ark": write_ark, ".scp": write_ark, ".npy": write_npy}


@command(Options, "INPUT...", "OUT")
def main(options: Options, inputs: list[str], out: str) -> int:
    """Writes the embedding of every recording of INPUT to OUT: x.ark (with x.scp), or x.npy (with the keys in x.txt).

    INPUT: audio files, folders of them, a wav.scp, or a .tsv with the columns utt and path. Recordings that cannot be
    used are listed in x.failed.tsv; more of them than --max-failed make the exit code 1.

    Example, after ./run.sh:
        pyasp bundle --force exp/toy/ivector model
        pyasp embed --model model data/toy/corpus/test/wav/id20001 vectors.ark
    """
    path = Path(out)
    check_output(path, WRITERS, inputs)
    beside = ".txt" if path.suffix == ".npy" else ".ark" if path.suffix == ".scp" else ".scp"
    check_output(path.with_suffix(beside), (beside,), inputs)
    sounds, model = list_sounds(inputs), load_model(options)
    seconds = 0.0
    silent: list[str] = []
    failed: dict[str, str] = {}

    def frames() -> Vectors:
        nonlocal seconds, silent
        threads = options.threads or len(os.sched_getaffinity(0))
        found = features_of(model, sounds, options.channel, threads, failed)
        for key, features in bar(found, len(sounds), "embed", "file"):
            seconds += features.seconds
            silent += [key] if features.silent else []
            yield key, features.frames

    done = WRITERS[path.suffix](path, model.embed_features(frames()))
    first = next(iter(failed.items()), None)
    listed = path.with_suffix(".failed.tsv")
    listed.unlink(missing_ok=True)
    if failed:
        write_reasons(listed, failed)
    note = f" (first: {first[0]}: {first[1]}; all of them in {listed})" if first else ""
    told = f"done {done} of {len(sounds)}, {len(failed)} failed{note}; {seconds / 3600:.2f} h of voice"
    print(f"{out}: {told}", file=sys.stderr)
    if silent:
        told = f"{len(silent)} recordings hold digital silence, which is left out: {some(silent)}"
        print(f"warning: {told}", file=sys.stderr)
    return int(len(failed) > options.max_failed * len(sounds))


if __name__ == "__main__":
    raise SystemExit(main())
