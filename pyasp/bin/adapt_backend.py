"""Adapts a back end to unlabelled vectors of another domain."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyasp import kaldi
from pyasp.backend import files
from pyasp.backend.files import read_back_end
from pyasp.backend.lists import load_embeddings
from pyasp.backend.model import adapt, adapt_apart, draw_folds
from pyasp.backend.options import BackendOptions
from pyasp.core.command import command
from pyasp.core.errors import CannotBeMade
from pyasp.core.options import option
from pyasp.core.records import describe, is_current
from pyasp.data.datadir import c_sorted, read_table
from pyasp.data.scores import optional

SETS = ("enroll", "test", "dev")  # whose recordings trials are of


@dataclass(frozen=True)
class Options(BackendOptions):
    """Options of adapt_backend; it takes a whole backend.conf and uses --adapt-within and --adapt-between."""

    data: str = option("", "data directory: its sets say whose the recordings are, so that none scores its own speaker")
    force: bool = option(False, "make again what is out of date")


@command(Options, "BACKEND_DIR", "EMBEDDING_SCP", "OUT_BACKEND_DIR")
def main(options: Options, backend_dir: str, scp: str, out: str) -> None:
    """Writes OUT_BACKEND_DIR: the mean of the vectors in EMBEDDING_SCP, and PLDA adapted to them
    (ivector-adapt-plda).

    With --data also OUT_BACKEND_DIR/apart: back ends adapted to parts of their speakers. A trial of speakers among them
    is scored by one that was adapted to neither.

    Example, after ./run.sh:
        pyasp adapt_backend exp/toy/ivector/backend exp/toy/ivector/test/embedding.scp my_adapted
    """
    with optional(Path(out).parent, options.force):
        make(options, backend_dir, scp, out)


def make(options: Options, backend_dir: str, scp: str, out: str) -> None:
    """The adapted back end, unless it is up to date."""
    if not Path(scp).is_file():
        cure = "Hold dev speakers out (--dev-fraction in select.conf, and select again), or choose another --adapt-to"
        raise CannotBeMade(scp, "no such file", "unlabelled vectors to adapt to", cure)
    names, settings = files.FILES, {name: getattr(options, name) for name in ("adapt_within", "adapt_between")}
    tables = [path for each in SETS if options.data and (path := Path(options.data) / each / "utt2spk").is_file()]
    inputs: list[str | Path] = [*(Path(backend_dir) / name for name in names), scp, *tables]
    made = describe("adapt_backend", settings, inputs, options.variant_seed if tables else None)
    if all([is_current(Path(out) / name, made, options.force) for name in names]):
        return
    reader = kaldi.ScpReader(scp)
    vectors = load_embeddings(reader, reader, scp)
    back_end, shares = read_back_end(backend_dir), (options.adapt_within, options.adapt_between)
    if tables:
        sets = {path.parent.name: read_table(path) for path in tables}
        own = [sets[Path(scp).parent.name][utt] for utt in reader]
        people = c_sorted(set(own))
        part = dict(zip(people, draw_folds(len(people), options.variant_seed).tolist()))
        folds = {(each, utt): part[spk] for each in sets for utt, spk in sets[each].items() if spk in part}
        apart = adapt_apart(back_end, vectors, np.array([part[speaker] for speaker in own]), *shares)
        files.write_apart(out, folds, apart)
    adapted = adapt(back_end, vectors, *shares)
    files.write_back_end(out, adapted, made)
    print(f"{out}: adapted to {len(vectors)} unlabelled vectors")


if __name__ == "__main__":
    raise SystemExit(main())
