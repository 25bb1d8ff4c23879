"""Measures the speed of every classical stage against its reference and the machine's limits."""

import os
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # `python tests/bench` finds the package bench

for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[_name] = "1"  # before numpy is loaded: references run on one thread; ours sets torch's itself

import dataclasses
import json
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bench import features, gmm, ivector, scoring, tdnn
from bench.measure import Row, Setting, bandwidth, long_vectors, sgemm_rate
from pyasp.core.command import command
from pyasp.core.device import device_of
from pyasp.core.files import atomic_write
from pyasp.core.options import option

ROWS: dict[str, Callable[[Setting], Iterator[Row]]] = {
    "mfcc": features.mfcc,
    "mfcc_short_files": features.short_files,
    "mfcc_two_jobs": features.two_jobs,
    "gaussian_selection": gmm.selection,
    "pruned_posteriors": gmm.posteriors,
    "selection_and_posteriors": gmm.alignment,
    "ubm_em_iteration": gmm.ubm_em,
    "ivector_extraction": ivector.extraction,
    "ivector_estep": ivector.estep,
    "ivector_estep_covariances": ivector.covariance_estep,
    "wav_to_ivector": features.chain,
    "plda_listed_trials": scoring.listed,
    "plda_cross_product": scoring.cross,
    "plda_stream_from_arrays": scoring.stream_arrays,
    "plda_stream_from_text": scoring.stream_text,
    "growth": ivector.growth,
    "tdnn": tdnn.tdnn,
}
CELLS = "{:28} {:>7} {:>12} {:14} {:>8} {:>8} {:>6} {:>14}"
HEAD = CELLS.format("row", "threads", "rate", "unit", "ratio", "of peak", "GiB", "ref. bandwidth")


@dataclass(frozen=True)
class Options:
    """Options of bench."""

    full: bool = option(False, "the paper's size: 2048 Gaussians, 60 dimensions, i-vectors of 400")
    device: str = option("cpu", "where ours computes what can run there", ("cpu", "cuda"))
    only: str = option("", "one row", ROWS)
    json: str = option("", "also write the rows to this file, one object each")


def line(row: Row) -> str:
    """A row of the table on the screen."""
    parts = row.ratio, row.fraction_of_peak, row.reference_bandwidth
    ratio, peak, stream = ("-" if part is None else f"{part:.2f}" for part in parts)
    gib = f"{row.peak_memory_bytes / 2**30:.2f}"
    text = CELLS.format(row.name, row.threads, f"{row.rate:,.0f}", row.unit, ratio, peak, gib, stream)
    return f"{text}  vs {row.reference}" if row.reference else text


@command(Options)
def main(options: Options) -> None:
    """Prints rate, ratio to the reference, fraction of the machine's peak and peak memory of every row.

    References are single-threaded; on one thread times are processor times, on two wall times (measure on an idle
    machine). The peak is the rate of single-precision products, for listed trials the memory's bandwidth.
    """
    chosen = {options.only: ROWS[options.only]} if options.only else ROWS
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        two = options.device == "cpu" and (os.cpu_count() or 1) > 1  # cores
        setting = Setting(options.full, device_of(options.device), (1, 2) if two else (1,), Path(folder))
        rates = " and ".join(f"{sgemm_rate(setting, threads) / 1e9:.0f}" for threads in setting.threads)
        print(
            f"sgemm on {' and '.join(map(str, setting.threads))} thread(s): {rates} GFLOP/s; "
            f"memory, one thread: {bandwidth(long_vectors()) / 1e9:.1f} GB/s\n{HEAD}",
            flush=True,
        )
        for make in chosen.values():
            for row in make(setting):
                rows.append(row)
                print(line(row), flush=True)
    if options.json:
        with atomic_write(options.json, "w") as stream:
            json.dump([dataclasses.asdict(row) for row in rows], stream, indent=1)
            stream.write("\n")


if __name__ == "__main__":
    raise SystemExit(main())
