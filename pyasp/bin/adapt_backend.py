"""Adapts a back end to unlabelled vectors of another domain."""

from dataclasses import dataclass
from pathlib import Path

from pyasp import kaldi
from pyasp.backend import files
from pyasp.backend.files import read_back_end
from pyasp.backend.lists import load_embeddings
from pyasp.backend.model import adapt
from pyasp.backend.options import BackendOptions
from pyasp.core.command import command
from pyasp.core.errors import CannotBeMade
from pyasp.core.options import option
from pyasp.core.records import describe, is_current
from pyasp.data.scores import optional


@dataclass(frozen=True)
class Options(BackendOptions):
    """Options of adapt_backend; it takes a whole backend.conf and uses --adapt-within and --adapt-between."""

    force: bool = option(False, "make again what is out of date")


@command(Options, "BACKEND_DIR", "EMBEDDING_SCP", "OUT_BACKEND_DIR")
def main(options: Options, backend_dir: str, scp: str, out: str) -> None:
    """Writes OUT_BACKEND_DIR: the mean of the vectors in EMBEDDING_SCP, and PLDA adapted to them
    (ivector-adapt-plda)."""
    with optional(Path(out).parent, options.force):
        make(options, backend_dir, scp, out)


def make(options: Options, backend_dir: str, scp: str, out: str) -> None:
    """The adapted back end, unless it is up to date."""
    if not Path(scp).is_file():
        cure = "Hold dev speakers out (--dev-fraction in select.conf, and select again), or choose another --adapt-to"
        raise CannotBeMade(scp, "no such file", "unlabelled vectors to adapt to", cure)
    names, settings = files.FILES, {name: getattr(options, name) for name in ("adapt_within", "adapt_between")}
    made = describe("adapt_backend", settings, [*(Path(backend_dir) / name for name in names), scp])
    if all([is_current(Path(out) / name, made, options.force) for name in names]):
        return
    reader = kaldi.ScpReader(scp)
    vectors = load_embeddings(reader, reader, scp)
    adapted = adapt(read_back_end(backend_dir), vectors, options.adapt_within, options.adapt_between)
    files.write_back_end(out, adapted, made)
    print(f"{out}: adapted to {len(vectors)} unlabelled vectors")


if __name__ == "__main__":
    raise SystemExit(main())
