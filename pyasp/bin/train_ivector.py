"""Trains the total variability model."""

import sys
from dataclasses import dataclass
from pathlib import Path

from pyasp.core.command import command
from pyasp.core.conf import write_conf
from pyasp.core.device import device_of
from pyasp.core.options import Share, option, subset
from pyasp.core.processes import rank, together
from pyasp.core.records import Iterations
from pyasp.data.datadir import DataDir
from pyasp.features.frontend import FrontendOptions
from pyasp.features.stored import Recordings
from pyasp.ivector.files import write_extractor
from pyasp.ivector.train import IvectorOptions, summary, train


@dataclass(frozen=True)
class Options(IvectorOptions):
    """Options of train_ivector."""

    allow_fail_fraction: Share = option(0.0, "part of the recordings that may be unusable")
    seed: int = option(1, "seed of the random start")
    force: bool = option(False, "make again what is out of date")


@command(Options, "DATA", "UBM_DIR", "IVECTOR_DIR")
def main(options: Options, data: str, ubm_dir: str, ivector_dir: str) -> None:
    """Trains an i-vector extractor on the recordings of DATA with UBM_DIR/final.ubm: IVECTOR_DIR/0.ie .. final.ie.

    Continues where a killed run stopped; likelihood.json has the objective per frame of every iteration.
    `torchrun --nproc-per-node=N -m pyasp.bin.train_ivector ...` shares the recordings among N processes.

    Example, after ./run.sh:
        pyasp train_ivector --config conf/toy/ivector.conf --num-iters 1 data/toy/train_ubm exp/toy/ubm my_ivector
    """
    source, ivector_options = DataDir(data), subset(options, IvectorOptions)
    recordings = Recordings(source, subset(options, FrontendOptions), options.allow_fail_fraction)
    inputs = [*source.require("utt2spk", "feats.scp", "vad.scp"), Path(ubm_dir) / "final.ubm"]
    how = options.seed, options.force, write_extractor
    iterations = Iterations(ivector_dir, "train_ivector", [ivector_options], inputs, *how)
    with together(device_of(options.device).type):
        train(recordings, ubm_dir, ivector_options, iterations, options.seed)
        if rank() == 0:
            print(summary(iterations.history()), file=sys.stderr)
            write_conf(iterations.directory / "options.conf", ivector_options)


if __name__ == "__main__":
    raise SystemExit(main())
