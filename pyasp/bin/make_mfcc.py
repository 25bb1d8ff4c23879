"""MFCCs of a data directory, shard by shard."""

from dataclasses import dataclass

from pyasp import cli
from pyasp.audio import CutStream, read_samples, use_libsndfile
from pyasp.datadir import DataDir
from pyasp.errors import InputError
from pyasp.mfcc import Mfcc, MfccOptions
from pyasp.shards import JobOptions, run_shards


@dataclass(frozen=True)
class Options(JobOptions, MfccOptions):
    """Options of make_mfcc: compute-mfcc-feats' own and the job's."""
    compression_method: int = cli.option(2, "compression of the stored matrices: Kaldi's 1 to 7, or 0 for none")
    allow_commands: bool = cli.option(False, "run commands that cuts name as their source")


def features(options: Options, cuts: CutStream, utts: list[str]):
    """(utterance, (T, C) float32 or None, tables) of each utterance of a shard."""
    mfcc = Mfcc(cli.subset(options, MfccOptions))
    for utt, item in cuts.take(utts):
        try:
            samples = read_samples(item, int(options.sample_frequency), options.channel, options.allow_downsample,
                                   options.allow_upsample, options.allow_commands)
            if len(samples) < options.min_duration * options.sample_frequency:
                raise InputError(utt, f"{len(samples)} samples", f"{options.min_duration} s", "Lower --min-duration")
            matrix = mfcc.compute(samples, utt)
            if len(matrix) == 0:
                raise InputError(utt, f"{len(samples)} samples", "at least one frame", "Use --snip-edges=false, or remove it")
        except (InputError, OSError) as error:
            yield utt, None, {"failed": str(error)}
        else:
            seconds = len(samples) / options.sample_frequency
            yield utt, matrix, {"utt2num_frames": str(len(matrix)), "utt2dur": f"{seconds:.7g}"}


@cli.command(Options, "DATA", "PREFIX")
def main(options: Options, data: str, prefix: str) -> None:
    """Reads the audio of this job's shards S of DATA and writes PREFIX.S.ark, PREFIX.S.scp, PREFIX.S.utt2num_frames."""
    use_libsndfile()
    source = DataDir(data)
    source.require("utt2spk", "cuts.jsonl.gz")
    cuts = CutStream(source / "cuts.jsonl.gz")
    settings = {**vars(cli.subset(options, MfccOptions)), "compression_method": options.compression_method}
    recipe = {"tool": "make_mfcc", "options": settings, "inputs": [source / "cuts.jsonl.gz"]}
    run_shards(source, options, prefix, lambda: recipe, lambda utts: features(options, cuts, utts), options.compression_method)


if __name__ == "__main__":
    raise SystemExit(main())
