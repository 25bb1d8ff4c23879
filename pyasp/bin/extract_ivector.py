"""Extracts i-vectors."""

import dataclasses
import functools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyasp.core.command import command
from pyasp.core.options import subset
from pyasp.core.records import PLACE
from pyasp.core.threads import prefetched
from pyasp.data.datadir import DataDir
from pyasp.data.shards import JobOptions, Result, run_shards
from pyasp.features.frontend import FrontendOptions
from pyasp.features.stored import iterate
from pyasp.ivector.statistics import extract
from pyasp.ivector.train import IvectorOptions, load_aligner, load_estimator


@dataclass(frozen=True)
class Options(JobOptions, IvectorOptions):
    """Options of extract_ivector."""


@command(Options, "DATA", "UBM_DIR", "IVECTOR_DIR", "OUT_PREFIX")
def main(options: Options, data: str, ubm_dir: str, ivector_dir: str, out_prefix: str) -> None:
    """Writes the i-vector of every recording of DATA: OUT_PREFIX.S.ark, .scp for each shard S of this job.

    Needs UBM_DIR/final.ubm and IVECTOR_DIR/final.ie, ours or Kaldi's (whose extractor directory holds both). A shard is
    always computed alone and in the same order: with the same number of threads the i-vectors are the same bits for any
    --num-jobs; other threads, devices or --precision change them by round-off (float32: about 1e-5 relative).
    """
    source, frontend = DataDir(data), subset(options, FrontendOptions)
    models = Path(ubm_dir) / "final.ubm", Path(ivector_dir) / "final.ie"

    @functools.cache
    def tools():
        ubm, aligner = load_aligner(ubm_dir, options)
        return aligner, load_estimator(models[1], ubm, options)

    def recipe() -> dict[str, Any]:
        kept = {key: value for key, value in dataclasses.asdict(options).items() if key not in PLACE}
        return {
            "tool": "extract_ivector",
            "options": kept,
            "inputs": [*(source / name for name in ("utt2spk", "feats.scp", "vad.scp")), *models],
        }

    def process(utts: list[str]) -> Iterator[Result]:
        failed: dict[str, str] = {}
        for utt, vector in extract(
            prefetched(iterate(source, frontend, utts, failed)), *tools(), options.acoustic_weight, options.max_count
        ):
            yield utt, vector, {}
        for utt, reason in failed.items():
            yield utt, None, {"failed": reason}

    run_shards(source, subset(options, JobOptions), out_prefix, recipe, process)


if __name__ == "__main__":
    raise SystemExit(main())
