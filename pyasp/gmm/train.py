"""Training of the UBM: diagonal (Kaldi's sid/train_diag_ubm.sh), then full covariance (sid/train_full_ubm.sh).

Every iteration is an artefact: 0.dubm, 1.dubm, ..., final.dubm, 0.ubm, ..., final.ubm. An iteration starts from the
file of the one before, never from memory, and its random draws from the seed and its number alone: a killed run
continues to the same bits. likelihood.json keeps what each iteration measured. Several processes (torchrun) each go
through their part of the recordings and sum their statistics; the first of them writes.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch

from pyasp.core.device import device_of
from pyasp.core.errors import InputError
from pyasp.core.options import Amount, Count, Fraction, Share, check_options, option
from pyasp.core.processes import sum_statistics
from pyasp.core.records import Iterations
from pyasp.data.fit import FEWEST_GAUSSIANS, FRAMES_PER_GAUSSIAN
from pyasp.features.stored import Recordings, blocks
from pyasp.gmm.em import DiagStats, FullStats, Stats, UpdateOptions, UpdateReport, update
from pyasp.gmm.files import read_diag, read_full
from pyasp.gmm.init import InitOptions, initialise, sample_frames
from pyasp.gmm.model import DiagGmm, FullGmm
from pyasp.gmm.posteriors import DTYPES, Aligner, DiagScorer

MOST_LOST = 0.1  # share of the Gaussians that may go without a warning
MOST_FLOORED = 10  # eigenvalues of a covariance; 3 to 5 are usual with Kaldi's largest condition
BLOCK_FRAMES = {"cpu": 1 << 16, "cuda": 1 << 19}


@dataclass(frozen=True)
class UbmOptions:
    """Options of UBM training; defaults of Kaldi's sid scripts."""

    num_gauss: Count = option(2048, "Gaussians")
    num_frames: Count = option(500000, "frames kept in memory for the start, a random choice")
    num_iters_init: Count = option(20, "EM iterations of the start, over these frames")
    initial_gauss_proportion: Fraction = option(0.5, "part of the Gaussians to start with; the rest come by splitting")
    num_iters_diag: Count = option(4, "EM iterations of the diagonal model over all data")
    num_iters_full: Count = option(4, "EM iterations of the full-covariance model")
    gselect_diag: Count = option(30, "Gaussians used for each frame in the diagonal iterations")
    gselect_full: Count = option(20, "Gaussians used for each frame in the full-covariance iterations")
    subsample: Count = option(5, "every n-th voiced frame is used in the iterations over all data")
    min_gaussian_weight: Amount = option(1e-4, "Gaussians of smaller weight are not updated, and removed at the end")
    min_occupancy_diag: Amount = option(10.0, "frames a Gaussian of the diagonal model needs to be updated")
    min_occupancy_full: Amount = option(100.0, "frames a full covariance needs to be updated")
    min_variance: Amount = option(0.001, "floor of variances and of eigenvalues of covariances")
    max_condition: Annotated[float, "[1, inf)"] = option(
        1e4, "largest ratio of eigenvalues of a covariance; smaller ones are floored"
    )
    remove_low_count_gaussians: bool = option(True, "remove Gaussians with too little data, in last iterations")
    update_flags: str = option("mvw", "what iterations over all data update: letters of m(eans) v(ariances) w(eights)")
    precision: str = option("float32", "arithmetic of the scores; statistics are float64", tuple(DTYPES))
    device: str = option("auto", "where to compute", ("auto", "cpu", "cuda"))
    allow_fail_fraction: Share = option(0.0, "part of the recordings that may be unusable")

    def __post_init__(self) -> None:
        check_options(self, "UBM options")
        if not set(self.update_flags) <= set("mvw"):
            found, expected, cure = self.update_flags, "letters of m, v and w", "Correct ubm.conf"
            raise InputError("UBM options", found, expected, cure, item="--update-flags")


def operations(options: UbmOptions, frames: int, dim: int) -> float:
    """About the floating point operations of a training on so many voiced frames of `dim` dimensions."""
    diag = 8 * dim * options.num_gauss  # a frame's scores and its statistics
    full = diag / 2 + 4 * dim**2 * min(options.gselect_full, options.num_gauss)
    passes = options.num_iters_diag * diag + options.num_iters_full * full
    return options.num_iters_init * diag * min(frames, options.num_frames) + passes * frames / options.subsample


def train(recordings: Recordings, options: UbmOptions, iterations: Iterations, seed: int) -> None:
    """Diagonal, then full-covariance UBM of the recordings.

    recordings: every voiced frame (subsampling is done here). Raises InputError for too little or damaged data.
    """
    device, place = device_of(options.device), iterations.directory
    rest = recordings, options, place, device
    iterations.make("0.dubm", [], lambda: _start(recordings, options, device, seed))
    iterations.go_on("dubm", options.num_iters_diag, lambda number: _diag_iteration(*rest, number), "0.dubm")
    iterations.make("0.ubm", ["final.dubm"], lambda: (FullGmm.from_diag(read_diag(place / "final.dubm")), {}))
    iterations.go_on("ubm", options.num_iters_full, lambda number: _full_iteration(*rest, number), "0.ubm")


def last_iteration(history: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Of likelihood.json {artefact: record} that of the last iteration, full covariance being later; {} before any."""
    done = [name for name, entry in history.items() if "loglike" in entry]
    return history[max(done, key=lambda name: (name.endswith(".ubm"), int(name.split(".")[0])))] if done else {}


def complaints(history: dict[str, dict[str, Any]], options: UbmOptions) -> list[str]:
    """What a user must know of a UBM, each in a sentence, from its likelihood.json."""
    last = last_iteration(history)
    if not last:
        return []
    found = []
    left, frames = last["gaussians"], last["frames"] * options.subsample
    if left < (1 - MOST_LOST) * options.num_gauss:
        found.append(f"{left} of {options.num_gauss} Gaussians are left, {_why(frames, options.num_gauss, 'more')}")
    if last["floored"] > MOST_FLOORED * left:
        floored = f"{last['floored']} eigenvalues of {left} covariances were floored"
        found.append(f"{floored}, {_why(frames, options.num_gauss, 'them')}")
    return found


def _why(frames: int, num_gauss: int, what: str) -> str:
    """Why a UBM of so many Gaussians has too little from these voiced frames, and the way out."""
    if frames >= num_gauss * FRAMES_PER_GAUSSIAN / 2:  # what `auto` may give them, to the nearest power of two and more
        return (
            f"though {frames} frames are enough for {num_gauss} as a rule: those of single Gaussians are few, or vary "
            "little. Recordings of a lower rate, whose upper bands are empty, do this (stage prepare counts them), and "
            "so do few voices or channels that make up most of the speech; leave them out, or bring more of the others"
        )
    cure = "lower --num-gauss, or bring more speech" if num_gauss > FEWEST_GAUSSIANS else "bring more speech"
    return (
        f"too few frames ({frames}) for {what}; about one Gaussian to {FRAMES_PER_GAUSSIAN} voiced frames fits: {cure}"
    )


def summary(history: dict[str, dict[str, Any]]) -> str:
    """What a training came to, in words, from its likelihood.json."""
    last = last_iteration(history)
    if not last:
        return "UBM: no iteration was asked for"
    done = [entry for entry in history.values() if "loglike" in entry]
    removed = sum(entry["removed"] for entry in done)
    return (
        f"UBM: {last['gaussians']} Gaussians ({removed or 'none'} removed for too few frames), log-likelihood "
        f"{last['loglike']:.2f} a frame, {last['frames']} frames, {len(done)} iterations"
    )


def _start(
    recordings: Recordings, options: UbmOptions, device: torch.device, seed: int
) -> tuple[DiagGmm, dict[str, Any]]:
    frames = sample_frames(
        recordings.passing("UBM start", shared=False), options.num_frames, np.random.default_rng([seed, 0])
    )
    init = InitOptions(
        options.num_gauss,
        max(1, int(options.num_gauss * options.initial_gauss_proportion)),
        options.num_iters_init,
        _limits(replace(options, update_flags="mvw"), options.min_occupancy_diag, True),
    )
    model, history = initialise(frames, init, np.random.default_rng([seed, 1]), device, DTYPES[options.precision])
    return model, {"frames": len(frames), "start": history}


def _limits(options: UbmOptions, min_occupancy: float, remove: bool) -> UpdateOptions:
    return UpdateOptions(
        options.min_gaussian_weight,
        min_occupancy,
        options.min_variance,
        options.max_condition,
        remove,
        options.update_flags,
    )


def _diag_iteration(
    recordings: Recordings, options: UbmOptions, directory: Path, device: torch.device, number: int
) -> tuple[DiagGmm, dict[str, Any]]:
    """Frames use the Gaussians that 0.dubm selects for them, as in Kaldi, where the lists are made once."""
    model, dtype = read_diag(directory / f"{number - 1}.dubm"), DTYPES[options.precision]
    scorer, selector = (DiagScorer(m, device, dtype) for m in (model, read_diag(directory / "0.dubm")))
    stats = DiagStats.zeros(model.num_gauss, model.dim, device)
    stream = recordings.passing(f"{number}.dubm", options.subsample)
    for block in blocks(stream, BLOCK_FRAMES[device.type], dim=model.dim):
        stats.accumulate(block.x.to(device), scorer, selector, options.gselect_diag)
    sum_statistics(stats)
    remove = options.remove_low_count_gaussians and number == options.num_iters_diag
    model, report = update(model, stats, _limits(options, options.min_occupancy_diag, remove))
    return model, _measured(stats, report, model.num_gauss)


def _full_iteration(
    recordings: Recordings, options: UbmOptions, directory: Path, device: torch.device, number: int
) -> tuple[FullGmm, dict[str, Any]]:
    """Selection by the diagonal form of 0.ubm in every iteration, as in Kaldi."""
    model, first = read_full(directory / f"{number - 1}.ubm"), read_full(directory / "0.ubm")
    aligner = Aligner(first.to_diag(), model, options.gselect_full, device=device, dtype=DTYPES[options.precision])
    stats = FullStats.zeros(model.num_gauss, model.dim, device)
    stream = recordings.passing(f"{number}.ubm", options.subsample)
    for block in blocks(stream, BLOCK_FRAMES[device.type], dim=model.dim):
        x = block.x.to(device)
        stats.accumulate(x, aligner(x), DTYPES[options.precision])
    sum_statistics(stats)
    remove = options.remove_low_count_gaussians and number == options.num_iters_full
    model, report = update(model, stats, _limits(options, options.min_occupancy_full, remove))
    return model, _measured(stats, report, model.num_gauss)


def _measured(stats: Stats, report: UpdateReport, num_gauss: int) -> dict[str, Any]:
    """loglike: per frame, of the model that the iteration started from."""
    return {
        "frames": stats.frames,
        "loglike": float(stats.loglike) / stats.frames,
        "gaussians": num_gauss,
        **dataclasses.asdict(report),
    }
