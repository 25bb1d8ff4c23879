"""Extracts embeddings with a trained network."""

import dataclasses
import functools
import sys
from dataclasses import dataclass
from typing import Any, Iterator

import numpy as np

from pyasp import checkpoint, cli
from pyasp.datadir import DataDir
from pyasp.embed import EmbedOptions, NetworkConf, TdnnFrontend, embed
from pyasp.frontend import iterate
from pyasp.gmm_score import device_of
from pyasp.shards import JobOptions, Result, run_shards


@dataclass(frozen=True)
class Options(JobOptions, NetworkConf):
    """Options of extract_embedding; those of training are accepted, so that one tdnn.conf serves both, and not used."""
    device: str = cli.option("auto", "auto: CUDA where there is one", choices=("auto", "cpu", "cuda"))


@cli.command(Options, "DATA", "MODEL", "OUT_PREFIX")
def main(options: Options, data: str, model: str, out_prefix: str) -> None:
    """Writes the embedding of every recording of DATA by the network MODEL: OUT_PREFIX.S.ark, .scp for each shard S.

    Network and front end are those stored in MODEL; of the options, those named --embed-... count.
    """
    source, embed_options = DataDir(data), cli.subset(options, EmbedOptions)

    @functools.cache
    def network():
        net, trained = checkpoint.load_network(model, device_of(options.device))
        return net, checkpoint.options_from(trained, TdnnFrontend, model)

    def recipe() -> dict[str, Any]:
        return {"tool": "extract_embedding", "options": dataclasses.asdict(embed_options),
                "inputs": [source / "feats.scp", source / "vad.scp", model]}

    def process(utts: list[str]) -> Iterator[Result]:
        failed: dict[str, str] = {}
        short: list[str] = []
        net, frontend = network()
        yield from ((utt, vector, {}) for utt, vector in embed(net, noting(iterate(source, frontend, utts, failed),
                                                                           embed_options.embed_min_chunk, short), embed_options))
        yield from ((utt, None, {"failed": reason}) for utt, reason in failed.items())
        if short:
            print(f"{len(short)} of {len(utts)} recordings had fewer than {embed_options.embed_min_chunk} voiced frames and "
                  f"were padded (first: {short[0]})", file=sys.stderr)

    run_shards(source, cli.subset(options, JobOptions), out_prefix, recipe, process)


def noting(recordings: Iterator[tuple[str, np.ndarray]], frames: int, short: list[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Passes recordings on and notes those with fewer than `frames` frames."""
    for utt, features in recordings:
        if len(features) < frames:
            short.append(utt)
        yield utt, features


if __name__ == "__main__":
    raise SystemExit(main())
