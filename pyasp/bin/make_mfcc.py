"""MFCCs of a data directory, shard by shard."""

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from pyasp.audio.cut_files import CutStream, cut_mark
from pyasp.audio.cuts import duration_text, read_samples, use_libsndfile
from pyasp.core.command import command
from pyasp.core.errors import InputError
from pyasp.core.options import option, subset
from pyasp.core.records import describe
from pyasp.data.datadir import DataDir
from pyasp.data.shards import MARKS, Earlier, JobOptions, Result, run_shards
from pyasp.features.mfcc import MelFeatures, Mfcc, MfccOptions


@dataclass(frozen=True)
class StoreOptions(JobOptions):
    """The job, and how its features are stored."""

    compress: bool = option(True, "store compressed matrices, as Kaldi's make_mfcc.sh")
    compression_method: int = option(2, "Kaldi's method 1 to 7 of --compress; 2 keeps a byte per element")
    allow_commands: bool = option(False, "run commands that cuts name as their audio source")


@dataclass(frozen=True)
class Options(StoreOptions, MfccOptions):
    """Options of make_mfcc: compute-mfcc-feats' own and the job's."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.check_counted()


def features(options: Any, extractor: MelFeatures, item: dict[str, Any]) -> tuple[np.ndarray, str]:
    """((T, C) float32, seconds as text) of a cut's JSON object. Raises InputError when there is nothing to store."""
    utt = item["id"]
    how = options.channel, options.allow_downsample, options.allow_upsample, options.allow_commands
    samples = read_samples(item, int(options.sample_frequency), *how)
    seconds = duration_text(len(samples), options.sample_frequency)
    if len(samples) < options.min_duration * options.sample_frequency:
        expected, cure = f"at least --min-duration={options.min_duration}", "Lower it, or leave it out"
        raise InputError(utt, f"{seconds} s", expected, cure)
    matrix = extractor.compute(samples, utt)
    if not np.isfinite(matrix).all():  # samples of 1e19 and more: their energy is no number any more
        raise InputError(utt, "features that are not finite", "samples in [-1, 1]", "Replace it, or leave it out")
    if len(matrix) == 0:
        raise InputError(utt, f"{seconds} s", "at least one frame", "Use --snip-edges=false, or leave it out")
    return matrix, seconds


Compute = Callable[[dict[str, Any]], tuple[np.ndarray, str]]  # as `features` of a cut


def process(compute: Compute, cuts: CutStream, marks: Any, earlier: Earlier, utts: list[str]) -> Iterator[Result]:
    """(utterance, (T, C) float32 or None, tables) of each utterance of a shard; what is as it was is not computed.

    marks: what decides the results of `compute` beside the cuts."""
    for utt, item in cuts.take(utts):
        mark = cut_mark(item, marks)
        if kept := earlier.get(utt, mark):
            yield kept
            continue
        try:
            matrix, seconds = compute(item)
        except (InputError, OSError) as error:
            yield utt, None, {"failed": " ".join(str(error).split())}
        else:
            tables = {"utt2num_frames": str(len(matrix)), "utt2dur": seconds}
            yield utt, matrix, tables | ({MARKS: mark} if mark else {})


def store(options: Any, extractor: MelFeatures, data: str, prefix: str) -> None:
    """The shards of a job. options: StoreOptions and the extractor's, in one."""
    use_libsndfile()
    source = DataDir(data)
    _, table = source.require("utt2spk", "cuts.jsonl.gz")
    method = options.compression_method if options.compress else 0
    settings, tool = {**vars(extractor.options), "compression_method": method}, f"make_{extractor.options.kind}"
    recipe = {"tool": tool, "options": settings, "inputs": [table]}
    cuts, earlier = CutStream(table), Earlier(prefix, describe(tool, settings, [table]))
    shard = functools.partial(process, functools.partial(features, options, extractor), cuts, [tool, settings], earlier)
    run_shards(source, options, prefix, lambda: recipe, shard, method)


@command(Options, "DATA", "PREFIX")
def main(options: Options, data: str, prefix: str) -> None:
    """Reads the audio of this job's shards S of DATA and writes PREFIX.S.ark, PREFIX.S.scp, PREFIX.S.utt2num_frames.

    Recordings that cannot be used are listed with their reasons in PREFIX.S.failed; merge_shards lets the count decide.

    Example, after ./run.sh:
        pyasp make_mfcc --config conf/toy/mfcc.conf data/toy/enroll my_mfcc/enroll
    """
    store(options, Mfcc(subset(options, MfccOptions)), data, prefix)


if __name__ == "__main__":
    raise SystemExit(main())
