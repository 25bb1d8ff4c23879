"""Extracts embeddings."""

import functools
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from pyasp.core.command import command
from pyasp.core.device import device_of
from pyasp.core.options import check_values, subset
from pyasp.data.datadir import DataDir
from pyasp.data.shards import JobOptions, Result, run_shards
from pyasp.features.frontend import NetworkFrontendOptions
from pyasp.features.stored import iterate
from pyasp.network.checkpoint import load_network, options_from
from pyasp.network.embed import Embedder, EmbedOptions
from pyasp.training.options import NetworkOptions


@dataclass(frozen=True)
class Options(JobOptions, NetworkOptions):
    """Options of extract_embedding: the job's, and tdnn.conf's, of which only --extract-..., --feature-type and
    --device are used."""


@command(Options, "DATA", "MODEL", "PREFIX")
def main(options: Options, data: str, model: str, prefix: str) -> None:
    """Writes the embedding of every recording of DATA by the network MODEL (final.pt): PREFIX.S.ark, .scp for each
    shard S of this job.

    Sizes and front end are those that the network was trained with. A shard is always computed in the same batches:
    with the same number of threads the embeddings are the same bits for any --num-jobs.
    """
    source, settings, table = DataDir(data), subset(options, EmbedOptions), options.table

    @functools.cache
    def tools() -> tuple[Embedder, NetworkFrontendOptions]:
        net, trained_with = load_network(model, device_of(options.device))
        frontend = options_from(trained_with, NetworkFrontendOptions, model)
        check_values(options, model, f"{frontend.feature_type}, as in training", feature_type=frontend.table != table)
        return Embedder(net, settings, device_of(options.device)), frontend

    def recipe() -> dict[str, Any]:
        return {
            "tool": "extract_embedding",
            "options": settings,
            "inputs": [*(source / name for name in ("utt2spk", table, "vad.scp")), model],
        }

    def process(utts: list[str]) -> Iterator[Result]:
        embedder, frontend = tools()
        before, failed = embedder.repeated, {}
        for utt, vector in embedder.stream(iterate(source, frontend, utts, failed)):
            yield utt, vector, {}
        for utt, reason in failed.items():
            yield utt, None, {"failed": reason}
        if embedder.repeated > before:
            print(
                f"{embedder.repeated - before} of {len(utts)} recordings shorter than {settings.extract_min_frames} "
                "frames: repeated up to them",
                file=sys.stderr,
            )

    source.require("utt2spk", table, "vad.scp")
    run_shards(source, subset(options, JobOptions), prefix, recipe, process)


if __name__ == "__main__":
    raise SystemExit(main())
