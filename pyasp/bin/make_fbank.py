"""Filter banks of a data directory, shard by shard."""

from dataclasses import dataclass

from pyasp.bin.make_mfcc import StoreOptions, store
from pyasp.core.command import command
from pyasp.core.options import subset
from pyasp.features.fbank import Fbank, FbankOptions


@dataclass(frozen=True)
class Options(StoreOptions, FbankOptions):
    """Options of make_fbank: compute-fbank-feats' own and the job's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_counted()


@command(Options, "DATA", "PREFIX")
def main(options: Options, data: str, prefix: str) -> None:
    """Reads the audio of this job's shards S of DATA and writes PREFIX.S.ark, PREFIX.S.scp, PREFIX.S.utt2num_frames.

    Recordings that cannot be used are listed with their reasons in PREFIX.S.failed; merge_shards lets the count decide.

    Example, after ./run.sh:
        pyasp make_fbank --num-mel-bins 40 data/toy/enroll my_fbank/enroll
    """
    store(options, Fbank(subset(options, FbankOptions)), data, prefix)


if __name__ == "__main__":
    raise SystemExit(main())
