"""Trains the back end of one system."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyasp import artefact, backend, cli, kaldi_io
from pyasp.backend import BackEnd, BackendOptions, TrainOptions
from pyasp.datadir import c_sorted, read_table


@dataclass(frozen=True)
class Options(BackendOptions):
    """Options of train_backend; it takes a whole backend.conf and uses the training part."""
    force: bool = cli.option(False, "make again what is out of date")


def save(result: BackEnd, directory: Path, made: dict) -> None:
    """Writes the three files, plda last: it tells that all are there."""
    with artefact.making(directory / backend.MEAN, made) as path:
        kaldi_io.save(path, result.mean)
    with artefact.making(directory / backend.TRANSFORM, made) as path:
        kaldi_io.save(path, np.asarray(result.transform, np.float32))
    with artefact.making(directory / backend.PLDA, made) as path:
        result.plda.write(path)


@cli.command(Options, "TRAIN_EMBEDDING_SCP", "UTT2SPK", "BACKEND_DIR")
def main(options: Options, scp: str, utt2spk: str, backend_dir: str) -> None:
    """Trains mean, whitening (or LDA) and PLDA on the embeddings of the utterances in UTT2SPK.

    BACKEND_DIR/mean.vec, transform.mat and plda are Kaldi files: its programs read them, and score reads Kaldi's.
    """
    train_options, directory = cli.subset(options, TrainOptions), Path(backend_dir)
    made = artefact.describe("train_backend", train_options, [scp, utt2spk])
    names = (backend.MEAN, backend.TRANSFORM, backend.PLDA)
    if all([artefact.is_current(directory / name, made, options.force) for name in names]):
        return
    utt2speaker, reader = read_table(utt2spk), kaldi_io.ScpReader(scp)
    utts = backend.with_embedding(c_sorted(utt2speaker), reader, options.max_missing, scp)
    _, labels = np.unique([utt2speaker[utt] for utt in utts], return_inverse=True)
    backend.check_speakers(labels, utt2spk)
    save(backend.train(backend.load_embeddings(reader, utts, scp), labels, train_options), directory, made)
    cli.write_conf(directory / "options.conf", train_options)


if __name__ == "__main__":
    raise SystemExit(main())
