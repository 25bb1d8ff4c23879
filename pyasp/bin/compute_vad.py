"""Energy VAD of a data directory, shard by shard."""

from dataclasses import dataclass

import numpy as np

from pyasp.core.command import command
from pyasp.core.errors import InputError, rerun
from pyasp.core.options import subset
from pyasp.data.datadir import DataDir
from pyasp.data.shards import JobOptions, run_shards
from pyasp.features.vad import VadOptions, decisions, recorded
from pyasp.kaldi import ScpReader


@dataclass(frozen=True)
class Options(JobOptions, VadOptions):
    """Options of compute_vad: compute-vad's own and the job's."""


def decide(options: VadOptions, feats: ScpReader, utt: str) -> np.ndarray:
    """(T,) float32, the decisions on one utterance. Raises InputError when there is nothing to decide on."""
    if utt not in feats:
        raise InputError(
            "feats.scp",
            "no entry",
            "features of every utterance",
            rerun("features", "The log of the features says what failed"),
            item=utt,
        )
    matrix = feats[utt]
    if len(matrix) == 0:
        raise InputError("feats.scp", "an empty matrix", "at least one frame", "Leave the recording out", item=utt)
    voiced = decisions(matrix[:, 0], options)
    if options.omit_unvoiced_utts and not voiced.any():
        raise InputError(
            "feats.scp", "no voiced frame", "at least one (--omit-unvoiced-utts)", "Leave the recording out", item=utt
        )
    return voiced


def process(options: VadOptions, feats: ScpReader, utts: list[str]):
    """(utterance, (T,) decisions or None, tables) of each utterance of a shard."""
    for utt in utts:
        try:
            voiced = decide(options, feats, utt)
        except (InputError, OSError) as error:
            yield utt, None, {"failed": " ".join(str(error).split())}
        else:
            silent = int((~recorded(voiced)).sum())
            yield utt, voiced, {"utt2num_voiced": str(int(voiced.sum())), "utt2num_silent": str(silent)}


@command(Options, "DATA", "PREFIX")
def main(options: Options, data: str, prefix: str) -> None:
    """Writes decisions (1 = voiced) of this job's shards S of DATA: PREFIX.S.ark, .scp, .utt2num_voiced and
    .utt2num_silent, frames of digital silence."""
    source = DataDir(data)
    source.require("utt2spk", "feats.scp")
    feats, settings = ScpReader(source / "feats.scp"), subset(options, VadOptions)
    recipe = {"tool": "compute_vad", "options": settings, "inputs": [source / "feats.scp"]}
    run_shards(source, options, prefix, lambda: recipe, lambda utts: process(settings, feats, utts))


if __name__ == "__main__":
    raise SystemExit(main())
