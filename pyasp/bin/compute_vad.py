"""Energy VAD of a data directory, shard by shard."""

from dataclasses import dataclass

import numpy as np

from pyasp import cli
from pyasp.datadir import DataDir
from pyasp.kaldi_io import ScpReader
from pyasp.shards import JobOptions, run_shards
from pyasp.vad import VadOptions, energy_vad


@dataclass(frozen=True)
class Options(JobOptions, VadOptions):
    """Options of compute_vad: compute-vad's own and the job's."""


def decisions(options: Options, feats: ScpReader, utts: list[str]):
    """(utterance, (T,) float32 of 0 and 1, tables) of each utterance of a shard."""
    for utt in utts:
        voiced = energy_vad(feats[utt][:, 0], cli.subset(options, VadOptions))
        yield utt, voiced.astype(np.float32), {"utt2num_voiced": str(int(voiced.sum()))}


@cli.command(Options, "DATA", "PREFIX")
def main(options: Options, data: str, prefix: str) -> None:
    """Writes decisions (1 = voiced) for this job's shards S of DATA: PREFIX.S.ark, PREFIX.S.scp, PREFIX.S.utt2num_voiced."""
    source = DataDir(data)
    source.require("utt2spk", "feats.scp")
    feats = ScpReader(source / "feats.scp")
    recipe = {"tool": "compute_vad", "options": cli.subset(options, VadOptions), "inputs": [source / "feats.scp"]}
    run_shards(source, options, prefix, lambda: recipe, lambda utts: decisions(options, feats, utts))


if __name__ == "__main__":
    raise SystemExit(main())
