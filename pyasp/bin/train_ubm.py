"""Trains the universal background model."""

import sys
from dataclasses import dataclass

from pyasp.core.command import command
from pyasp.core.conf import read_conf, write_conf
from pyasp.core.device import device_of
from pyasp.core.errors import InputError
from pyasp.core.options import option, subset
from pyasp.core.processes import rank, together
from pyasp.core.records import Iterations
from pyasp.data.datadir import DataDir
from pyasp.features.frontend import FrontendOptions
from pyasp.features.stored import Recordings
from pyasp.gmm.files import write_gmm
from pyasp.gmm.train import UbmOptions, complaints, summary, train
from pyasp.ivector.train import IvectorOptions


@dataclass(frozen=True)
class Options(UbmOptions):
    """Options of train_ubm."""

    frontend_config: str = option("", "ivector.conf: its front-end options are used")
    seed: int = option(1, "seed of the random start")
    force: bool = option(False, "make again what is out of date")


def frontend_of(path: str) -> FrontendOptions:
    """Front-end options out of an i-vector conf file."""
    if not path:
        cure = "Give --frontend-config conf/<corpus>/ivector.conf"
        raise InputError("command line", "no --frontend-config", "the conf file of the i-vector system", cure)
    return subset(read_conf(path, IvectorOptions), FrontendOptions)


@command(Options, "DATA", "UBM_DIR")
def main(options: Options, data: str, ubm_dir: str) -> None:
    """Trains a GMM-UBM on the voiced frames of DATA: diagonal (UBM_DIR/0.dubm .. final.dubm), then full covariance
    (0.ubm .. final.ubm). Continues where a killed run stopped; likelihood.json has the log-likelihoods per frame.
    `torchrun --nproc-per-node=N -m pyasp.bin.train_ubm ...` shares the recordings among N processes.

    Example, after ./run.sh:
        pyasp train_ubm --frontend-config conf/toy/ivector.conf --num-gauss 8 data/toy/train_ubm my_ubm
    """
    source, frontend, ubm_options = DataDir(data), frontend_of(options.frontend_config), subset(options, UbmOptions)
    recordings = Recordings(source, frontend, options.allow_fail_fraction)
    inputs, how = source.require("utt2spk", "feats.scp", "vad.scp"), (options.seed, options.force, write_gmm)
    iterations = Iterations(ubm_dir, "train_ubm", [ubm_options, frontend], inputs, *how)
    with together(device_of(options.device).type):
        train(recordings, ubm_options, iterations, options.seed)
        if rank() == 0:
            history = iterations.history()
            warnings = [f"warning: {ubm_dir}: {text}" for text in complaints(history, ubm_options)]
            print("\n".join([summary(history), *warnings]), file=sys.stderr)
            write_conf(iterations.directory / "options.conf", ubm_options, frontend)


if __name__ == "__main__":
    raise SystemExit(main())
