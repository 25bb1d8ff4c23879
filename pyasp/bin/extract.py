"""Extracts one vector per recording: embeddings by a network, or i-vectors."""

import dataclasses
import functools
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyasp.core.command import command, one_of
from pyasp.core.device import device_of
from pyasp.core.options import check_values, subset
from pyasp.core.records import PLACE
from pyasp.core.threads import prefetched
from pyasp.data.datadir import DataDir
from pyasp.data.shards import JobOptions, Result, run_shards
from pyasp.features.frontend import FrontendOptions, NetworkFrontendOptions
from pyasp.features.stored import iterate
from pyasp.gmm.posteriors import Aligner
from pyasp.ivector.model import Estimator
from pyasp.ivector.statistics import extract as extract_ivectors
from pyasp.ivector.train import IvectorOptions, load_aligner, load_estimator
from pyasp.network.checkpoint import load_network, options_from
from pyasp.network.embed import Embedder, EmbedOptions
from pyasp.training.options import NetworkOptions


@dataclass(frozen=True)
class IvectorJobOptions(JobOptions, IvectorOptions):
    """Options of i-vectors: the job's and ivector.conf's."""


def results_of(vectors: Iterable[tuple[str, np.ndarray]], failed: dict[str, str]) -> Iterator[Result]:
    """What a shard gives: its vectors, then the recordings {utterance: reason} that failed meanwhile."""
    yield from ((utt, vector, {}) for utt, vector in vectors)
    yield from ((utt, None, {"failed": reason}) for utt, reason in failed.items())


@command(IvectorJobOptions, "DATA", "UBM_DIR", "IVECTOR_DIR", "PREFIX")
def ivector(options: IvectorJobOptions, data: str, ubm_dir: str, ivector_dir: str, prefix: str) -> None:
    """Writes the i-vector of every recording of DATA: PREFIX.S.ark, .scp for each shard S of this job.

    Needs UBM_DIR/final.ubm and IVECTOR_DIR/final.ie, ours or Kaldi's (whose extractor directory holds both). A shard is
    always computed alone and in the same order: with the same number of threads the i-vectors are the same bits for any
    --num-jobs; other threads, devices or --precision change them by round-off (float32: about 1e-5 relative).

    Example, after ./run.sh:
        pyasp extract --config conf/toy/ivector.conf data/toy/enroll exp/toy/ubm exp/toy/ivector my_vectors/enroll
    """
    source, frontend = DataDir(data), subset(options, FrontendOptions)
    tables = source.require("utt2spk", "feats.scp", "vad.scp")
    models = Path(ubm_dir) / "final.ubm", Path(ivector_dir) / "final.ie"

    @functools.cache
    def tools() -> tuple[Aligner, Estimator]:
        ubm, aligner = load_aligner(ubm_dir, options)
        return aligner, load_estimator(models[1], ubm, options)

    def recipe() -> dict[str, Any]:
        kept = {key: value for key, value in dataclasses.asdict(options).items() if key not in PLACE}
        return {"tool": "extract_ivector", "options": kept, "inputs": [*tables, *models]}

    def process(utts: list[str]) -> Iterator[Result]:
        failed: dict[str, str] = {}
        read, how = prefetched(iterate(source, frontend, utts, failed)), (options.acoustic_weight, options.max_count)
        return results_of(extract_ivectors(read, *tools(), *how), failed)

    run_shards(source, subset(options, JobOptions), prefix, recipe, process)


@dataclass(frozen=True)
class NetworkJobOptions(JobOptions, NetworkOptions):
    """Options of a network: the job's, and tdnn.conf's, of which only --extract-..., --feature-type and
    --device are used."""


@command(NetworkJobOptions, "DATA", "MODEL", "PREFIX")
def network(options: NetworkJobOptions, data: str, model: str, prefix: str) -> None:
    """Writes the embedding of every recording of DATA by the network MODEL (final.pt): PREFIX.S.ark, .scp for each
    shard S of this job.

    Sizes and front end are those that the network was trained with. A shard is always computed in the same batches:
    with the same number of threads the embeddings are the same bits for any --num-jobs.

    Example, after ./run.sh:
        pyasp extract data/toy/enroll exp/toy/statistics/final.pt my_vectors/enroll_st
    """
    source, settings, table = DataDir(data), subset(options, EmbedOptions), options.table
    tables = source.require("utt2spk", table, "vad.scp")

    @functools.cache
    def tools() -> tuple[Embedder, NetworkFrontendOptions]:
        net, trained_with = load_network(model, device_of(options.device))
        frontend = options_from(trained_with, NetworkFrontendOptions, model)
        check_values(options, model, f"{frontend.feature_type}, as in training", feature_type=frontend.table != table)
        return Embedder(net, settings, device_of(options.device)), frontend

    def recipe() -> dict[str, Any]:
        return {"tool": "extract_embedding", "options": settings, "inputs": [*tables, model]}

    def process(utts: list[str]) -> Iterator[Result]:
        (embedder, frontend), failed = tools(), dict[str, str]()
        before = embedder.repeated
        yield from results_of(embedder.stream(iterate(source, frontend, utts, failed)), failed)
        if short := embedder.repeated - before:
            told = f"shorter than {settings.extract_min_frames} frames: repeated up to them"
            print(f"{short} of {len(utts)} recordings {told}", file=sys.stderr)

    run_shards(source, subset(options, JobOptions), prefix, recipe, process)


def by_model(words: list[str]) -> str:
    """Which of the two a command line asks for: a .pt file is a network, directories are UBM and extractor."""
    return "network" if any(word.endswith(".pt") for word in words if not word.startswith("--")) else "ivector"


main = one_of(by_model, ivector=ivector, network=network)

if __name__ == "__main__":
    raise SystemExit(main())
