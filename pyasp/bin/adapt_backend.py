"""Adapts a back end to unlabelled vectors of another domain."""

from dataclasses import dataclass
from pathlib import Path

from pyasp.backend.model import model
from pyasp import kaldi
from pyasp.core import files
from pyasp.core import command as cli
from pyasp.backend.adaptation import adapt
from pyasp.backend.model import BackEnd, BackendOptions
from pyasp.backend.vectors import load_embeddings


@dataclass(frozen=True)
class Options(BackendOptions):
    """Options of adapt_backend; it takes a whole backend.conf and uses --adapt-within and --adapt-between."""

    force: bool = cli.option(False, "make again what is out of date")


@cli.command(Options, "BACKEND_DIR", "EMBEDDING_SCP", "OUT_BACKEND_DIR")
def main(options: Options, backend_dir: str, scp: str, out: str) -> None:
    """Writes OUT_BACKEND_DIR: the mean of the vectors in EMBEDDING_SCP, and PLDA adapted to them
    (ivector-adapt-plda)."""
    names, settings = model.FILES, {name: getattr(options, name) for name in ("adapt_within", "adapt_between")}
    made = files.describe("adapt_backend", settings, [*(Path(backend_dir) / name for name in names), scp])
    if all([files.is_current(Path(out) / name, made, options.force) for name in names]):
        return
    reader = kaldi.ScpReader(scp)
    vectors = load_embeddings(reader, reader, scp)
    adapted = adapt(BackEnd.read(backend_dir), vectors, options.adapt_within, options.adapt_between)
    adapted.write(out, made)
    print(f"{out}: adapted to {len(vectors)} unlabelled vectors")


if __name__ == "__main__":
    raise SystemExit(main())
