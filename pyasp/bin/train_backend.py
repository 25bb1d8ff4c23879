"""Trains the back end of one system."""

import sys
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from pyasp import kaldi
from pyasp.backend import choice, files, model
from pyasp.backend.lists import load_embeddings, with_embedding
from pyasp.backend.options import BackendOptions, BackendTrainOptions
from pyasp.core.command import command
from pyasp.core.conf import write_conf
from pyasp.core.errors import InputError
from pyasp.core.options import option, subset
from pyasp.core.records import describe, is_current
from pyasp.data.datadir import c_sorted, read_table
from pyasp.data.scores import optional


@dataclass(frozen=True)
class Options(BackendOptions):
    """Options of train_backend; it takes a whole backend.conf and uses the training part."""

    utt2clean: str = option("", "table of augmented copies, for --train-copies=false")
    force: bool = option(False, "make again what is out of date")


def training_speakers(options: Options, utt2spk: str) -> dict[str, str]:
    """{utterance: speaker} to train on: all of UTT2SPK, or those that are no copies."""
    utt2speaker = read_table(utt2spk)
    if options.train_copies:
        return utt2speaker
    if not options.utt2clean:
        raise InputError(
            "command line", "--train-copies=false alone", "--utt2clean with it", "Give the table of copies"
        )
    original = read_table(options.utt2clean)
    return {utt: speaker for utt, speaker in utt2speaker.items() if original[utt] == utt}


@command(Options, "TRAIN_EMBEDDING_SCP", "UTT2SPK", "BACKEND_DIR")
def main(options: Options, scp: str, utt2spk: str, backend_dir: str) -> None:
    """Trains mean, whitening (or LDA) and PLDA on the embeddings of the utterances in UTT2SPK.

    With --scoring=auto the back end that held-out training speakers favour; scoring.conf says how it scores.
    BACKEND_DIR/mean.vec, transform.mat and plda are Kaldi files: its programs read them, and score reads Kaldi's.

    Example, after ./run.sh:
        pyasp train_backend exp/toy/ivector/train/embedding.scp data/toy/train_sel/utt2spk my_backend
    """
    train_options, directory = subset(options, BackendTrainOptions), Path(backend_dir)
    auto = options.scoring == "auto"
    copies = [options.utt2clean] if options.utt2clean and (auto or not options.train_copies) else []
    made = describe(
        "train_backend", asdict(train_options) | ({"scoring": "auto"} if auto else {}), [scp, utt2spk, *copies]
    )
    if all([is_current(directory / name, made, options.force) for name in files.FILES]):
        return
    utt2speaker, reader = training_speakers(options, utt2spk), kaldi.ScpReader(scp)
    utts = with_embedding(c_sorted(utt2speaker), reader, options.max_missing, scp)
    _, labels = np.unique([utt2speaker[utt] for utt in utts], return_inverse=True)
    model.check_speakers(labels, utt2spk)
    vectors = load_embeddings(reader, utts, scp)
    with optional(directory.parent, options.force):  # the lda variant
        if auto:
            original = read_table(options.utt2clean) if options.utt2clean else {}
            clean = np.array([original.get(utt, utt) == utt for utt in utts])
            (train_options, scoring), why = choice.choose(vectors, labels, clean, train_options)
            print(f"{backend_dir}: {why}", file=sys.stderr)
            files.write_scoring(directory, scoring)
            if not train_options.train_copies:
                vectors, labels = vectors[clean], np.unique(labels[clean], return_inverse=True)[1]
        trained = model.train(vectors, labels, train_options)
        write_conf(directory / "options.conf", train_options)
        files.write_back_end(directory, trained, made)


if __name__ == "__main__":
    raise SystemExit(main())
