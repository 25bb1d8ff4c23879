"""Trains a network."""

from dataclasses import dataclass
from pathlib import Path

from pyasp.core.command import command
from pyasp.core.options import option, subset
from pyasp.data.datadir import DataDir
from pyasp.training.options import NetworkOptions
from pyasp.training.trainer import train


@dataclass(frozen=True)
class Options(NetworkOptions):
    """Options of train_tdnn."""

    seed: int = option(1, "seed of the initial weights, chunks and dropout")
    force: bool = option(False, "make again what is out of date")


@command(Options, "DATA", "EXP")
def main(options: Options, data: str, exp: str) -> None:
    """Trains a TDNN with the chosen pooling on the recordings of DATA but those in DATA/valid_utts: EXP/final.pt.

    Goes on from EXP/last.pt where a killed run stopped. EXP/train.jsonl has a line an epoch, EXP/init.pt the network
    that it began with: of random weights, or with --init of those of another network (conf/fine_tuning.md).
    `torchrun --nproc-per-node=N -m pyasp.bin.train_tdnn ...` trains with N processes, on one machine or many.

    Example, after ./run.sh:
        pyasp train_tdnn --config conf/toy/tdnn.conf --pooling average --epochs 1 data/toy/train_sel my_network
    """
    train(DataDir(data), Path(exp), subset(options, NetworkOptions), options.seed, options.force)


if __name__ == "__main__":
    raise SystemExit(main())
