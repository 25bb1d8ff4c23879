"""Training of the total variability model (Kaldi's sid/train_ivector_extractor.sh): 0.ie, 1.ie, ..., final.ie.

The frames' posteriors come from the UBM alone and are the same in every iteration; they are computed again instead of
stored. Iterations, resuming and likelihood.json as in pyasp.gmm.train; the objective is per frame.
"""

import dataclasses
import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pyasp.core.device import device_of
from pyasp.core.errors import InputError
from pyasp.core.options import Amount, Count, Fraction, Part, Positive, option, subset
from pyasp.core.processes import sum_statistics
from pyasp.core.records import Iterations
from pyasp.features.frontend import FrontendOptions
from pyasp.features.stored import Recordings, blocks
from pyasp.gmm.em import FullStats
from pyasp.gmm.files import read_full
from pyasp.gmm.model import FullGmm
from pyasp.gmm.posteriors import DTYPES, Aligner
from pyasp.ivector.em import IvectorStats
from pyasp.ivector.files import read_extractor
from pyasp.ivector.model import Estimator, IvectorExtractor
from pyasp.ivector.mstep import EstimationOptions, update
from pyasp.ivector.statistics import MAX_FRAMES, recording_stats, recordings_per_block


@dataclass(frozen=True)
class IvectorOptions(FrontendOptions):
    """Options of the i-vector system: front end, extractor training, extraction. Kaldi's names and recipe values."""

    ivector_dim: Count = option(400, "dimension of the i-vector")
    num_iters: Count = option(5, "EM iterations of the extractor")
    gselect: Count = option(20, "Gaussians selected for each frame, by the diagonal form of the UBM")
    min_post: Part = option(0.025, "smaller posteriors are dropped and the rest scaled to sum to one")
    posterior_scale: Positive = option(1.0, "posteriors are multiplied by this, in training and extraction")
    update_variances: bool = option(True, "also estimate the covariances")
    gaussian_min_count: Amount = option(100.0, "Gaussians with fewer frames keep their parameters")
    variance_floor_factor: Fraction = option(0.1, "covariances are floored at this part of their average")
    diagonalize: bool = option(True, "rotate i-vectors so that their average precision is diagonal")
    acoustic_weight: Positive = option(1.0, "extraction: statistics are multiplied by this")
    max_count: Amount = option(0.0, "extraction: statistics are scaled down to at most so many frames; 0 = no limit")
    precision: str = option(
        "float32", "arithmetic of scores, large products and their factors; else float64", tuple(DTYPES)
    )
    device: str = option("auto", "where to compute", ("auto", "cpu", "cuda"))


def operations(options: IvectorOptions, num_gauss: int, recordings: int, frames: int, dim: int) -> float:
    """About the floating point operations of the i-vectors of so many recordings, `frames` voiced ones in all."""
    posteriors = 4 * dim * num_gauss + 2 * dim**2 * min(options.gselect, num_gauss)
    return frames * posteriors + recordings * recording_operations(num_gauss, options.ivector_dim, dim)


def training_operations(options: IvectorOptions, num_gauss: int, recordings: int, frames: int, dim: int) -> float:
    """About those of the extractor's training: in each iteration, beside i-vectors, the sums over their products."""
    sums = recordings * (recording_operations(num_gauss, options.ivector_dim, dim) + options.ivector_dim**3)
    return options.num_iters * (operations(options, num_gauss, recordings, frames, dim) + sums)


def recording_operations(num_gauss: int, ivector_dim: int, dim: int) -> float:
    """Of one i-vector given its statistics: both products, Cholesky factor and two triangular solutions."""
    return 2 * num_gauss * (ivector_dim * (ivector_dim + 1) / 2 + dim * ivector_dim) + ivector_dim**3 / 3


def load_aligner(ubm_dir: str | Path, options: IvectorOptions) -> tuple[FullGmm, Aligner]:
    """final.ubm of a directory and the posteriors it gives, for training and extraction.

    Selection is by its own diagonal form, as in Kaldi, whose extractor directories hold it as final.dubm; the
    final.dubm of a UBM's training is another model and is not read.
    """
    ubm = read_full(Path(ubm_dir) / "final.ubm")
    computed = device_of(options.device), DTYPES[options.precision]
    return ubm, Aligner(ubm.to_diag(), ubm, options.gselect, options.min_post, options.posterior_scale, *computed)


def load_estimator(path: str | Path, ubm: FullGmm, options: IvectorOptions) -> Estimator:
    """An extractor ready for extraction. Raises InputError when it does not fit the UBM."""
    extractor = read_extractor(path)
    if (extractor.num_gauss, extractor.dim) != (ubm.num_gauss, ubm.dim):
        found = f"an extractor of {extractor.num_gauss} Gaussians of {extractor.dim} dimensions"
        expected, cure = f"the UBM's {ubm.num_gauss} of {ubm.dim}", "Give the UBM the extractor was trained with"
        raise InputError(path, found, expected, cure)
    return Estimator(extractor, device_of(options.device), DTYPES[options.precision])


def train(
    recordings: Recordings, ubm_dir: str | Path, options: IvectorOptions, iterations: Iterations, seed: int
) -> None:
    """Extractor of the recordings, given ubm_dir/final.ubm. Raises InputError for too little or unfitting data."""
    ubm, aligner = load_aligner(ubm_dir, options)
    iterations.make("0.ie", [], lambda: (IvectorExtractor.from_ubm(ubm, options.ivector_dim, [seed, 2]), {}))
    iterations.go_on(
        "ie", options.num_iters, lambda number: _iteration(recordings, aligner, options, iterations.directory, number)
    )


def summary(history: dict[str, dict[str, Any]]) -> str:
    """What a training came to, in words, from its likelihood.json {artefact: record of the iteration}."""
    done = [name for name, entry in history.items() if "objective" in entry]
    if not done:
        return "extractor: no iteration was asked for"
    last = history[max(done, key=lambda name: int(name.split(".")[0]))]
    return (
        f"extractor: objective {last['objective']:.2f} a frame, {last['recordings']:.0f} recordings, "
        f"{last['frames'] / 360000:.2f} h voiced, {len(done)} iterations"
    )


def _iteration(
    recordings: Recordings, aligner: Aligner, options: IvectorOptions, directory: Path, number: int
) -> tuple[IvectorExtractor, dict[str, Any]]:
    extractor = read_extractor(directory / f"{number - 1}.ie")
    stats = expectation(recordings.passing(f"{number}.ie"), aligner, extractor, DTYPES[options.precision])
    sum_statistics(stats)
    frames = float(stats.count.sum())
    extractor, report = update(extractor, stats, subset(options, EstimationOptions))
    return extractor, {
        "frames": frames,
        "objective": float(stats.objective) / max(frames, 1.0),
        "recordings": stats.recordings,
        **dataclasses.asdict(report),
    }


def expectation(recordings, aligner: Aligner, extractor: IvectorExtractor, dtype: torch.dtype) -> IvectorStats:
    """E-step over (id, (V, D) float32) recordings, on the aligner's device."""
    device, shape = aligner.device, (extractor.num_gauss, extractor.dim)
    estimator = Estimator(extractor, device, dtype)
    stats = IvectorStats.zeros(*shape, extractor.ivector_dim, device)
    frames = FullStats.zeros(*shape, device)
    limit = recordings_per_block(*shape, extractor.ivector_dim, device)
    observe = functools.partial(frames.accumulate, dtype=dtype)
    for block in blocks(recordings, MAX_FRAMES[device.type], limit, extractor.dim):
        count, first = recording_stats(block, aligner, observe)
        stats.accumulate(estimator, count, first)
    stats.add_frames(frames, extractor)
    return stats
