"""Makes the toy corpora: speech-like audio in the trees of VoxCeleb1 (`toy`) and SRE12 (`toy_sre12`)."""

import dataclasses
import hashlib
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.toy_sre_tree import SreSize, write_sre12_tree
from local.toy_trees import TreeSize, write_voxceleb_tree
from pyasp.core.command import command
from pyasp.core.errors import InputError, refusal
from pyasp.core.options import option
from pyasp.core.records import describe, is_current, making

SIZES: dict[str, dict[str, Any]] = {
    "toy": {
        "full": TreeSize(speakers=80, eval_speakers=20, sessions=5, utterances=2, seconds=(3.0, 5.0), trials=4000),
        "tiny": TreeSize(speakers=8, eval_speakers=4, sessions=3, utterances=2, seconds=(1.5, 2.5), trials=120),
    },
    "toy_sre12": {
        "full": SreSize(
            speakers=100,
            sessions=16,
            eval_speakers=24,
            utterances=3,
            unknowns=8,
            calls=(100, 30, 10),
            seconds=(8.0, 12.0),
        ),
        "tiny": SreSize(
            speakers=8, sessions=3, eval_speakers=6, utterances=2, unknowns=2, calls=(5, 2, 1), seconds=(4.0, 6.0)
        ),
    },
}
WRITERS: dict[str, Callable[..., dict[str, Any]]] = {"toy": write_voxceleb_tree, "toy_sre12": write_sre12_tree}
SOURCES = {
    "toy": ("toy_phones.py", "toy_speech.py", "toy_session.py", "toy_trees.py"),
    "toy_sre12": ("toy_phones.py", "toy_speech.py", "toy_session.py", "toy_trees.py", "toy_sre_tree.py"),
}


@dataclass(frozen=True)
class ToyOptions:
    """The corpus that is made."""

    root: str = option("", "directory of the corpus tree to write")
    size: str = option("full", "preset of all sizes: the recipe's default, or one for tests", choices=("full", "tiny"))
    speakers: int = option(0, "training speakers; 0, here and below = as --size says")
    eval_speakers: int = option(0, "evaluation speakers")
    sessions: int = option(0, "sessions a speaker (toy_sre12: of training)")
    utterances: int = option(0, "utterances a session (toy_sre12: enrolment calls a target)")
    seed: int = option(1, "seed of everything that is drawn")
    nj: int = option(0, "parallel jobs; 0 = one a core (the result does not depend on it)")
    force: bool = option(False, "make the corpus again when options have changed")


BEGUN = ".make_toy"  # says of a corpus that is not whole yet that it is a toy's


@dataclass(frozen=True)
class Options(ToyOptions):
    """The tool's own options."""

    corpus: str = option("toy", "which tree to write", choices=tuple(WRITERS))


def resolve_size(corpus: str, options: ToyOptions) -> Any:
    """The preset with the sizes given on the command line put in. Raises InputError for a size that makes no trials."""
    preset = SIZES[corpus][options.size]
    names = ("speakers", "eval_speakers", "sessions", "utterances")
    size = dataclasses.replace(preset, **{name: getattr(options, name) for name in names if getattr(options, name)})
    if min(getattr(size, name) for name in names) < 1 or size.eval_speakers < 2 or size.sessions < 2:
        found = "too small a size"
        raise InputError("command line", found, "2 evaluation speakers and 2 sessions or more", "Raise the size")
    return size


def make(corpus: str, options: ToyOptions) -> Path:
    """Writes the corpus under options.root unless it is there already; returns the root."""
    if not options.root:
        raise InputError("command line", "no --root", "a directory to write the corpus to", "Give --root=DIR")
    root, size = Path(options.root), resolve_size(corpus, options)
    marker, nj = root / "make_toy.json", options.nj or os.cpu_count() or 1
    texts = [(Path(__file__).parent / name).read_bytes() for name in SOURCES[corpus]]
    sources = hashlib.sha256(b"".join(texts)).hexdigest()[:16]  # another synthesiser is another corpus
    recipe = {"corpus": corpus, **dataclasses.asdict(size), "sources": sources}
    made = describe("make_toy", json.loads(json.dumps(recipe)), [], seed=options.seed)
    if is_current(marker, made, options.force):
        return root
    begun = root / BEGUN
    if root.is_dir() and any(root.iterdir()) and not any(each.exists() for each in (marker, begun)):
        found, expected = (
            "a directory with files that are no toy's",
            "an empty one, or none yet: the toy is written there",
        )
        cure = "Your own recordings are --corpus folder. Nothing was changed"
        raise InputError("command line", found, expected, cure, item=f"--root {root}")
    root.mkdir(parents=True, exist_ok=True)
    begun.touch()
    marker.unlink(missing_ok=True)
    start = time.monotonic()
    try:
        counts = WRITERS[corpus](root, size, options.seed, nj)
    except OSError as error:
        for half in root.rglob("*.tmp"):
            half.unlink(missing_ok=True)
        raise refusal(error, root) or error from error
    print(f"{root}: {counts}; {time.monotonic() - start:.1f} s with {nj} processes")
    with making(marker, made) as temporary:
        temporary.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    begun.unlink()
    return root


@command(Options)
def main(options: Options) -> None:
    """Makes a toy corpus: seeded speech-like audio in the tree of a real corpus (see local/README.md)."""
    make(options.corpus, options)


if __name__ == "__main__":
    raise SystemExit(main())
