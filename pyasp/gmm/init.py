"""Start of a diagonal GMM from frames kept in memory (Kaldi's gmm-global-init-from-feats).

Some random frames become means, the variances are those of all frames; EM runs over the frames in memory, and until
half of the iterations the heaviest Gaussians are split in two, their means moved apart by a random fraction of their
standard deviation. Gaussians with too little data are removed, and made up for by further splits.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import torch

from pyasp.core.errors import InputError
from pyasp.features.stored import Recording, blocks
from pyasp.gmm.em import DiagStats, UpdateOptions, update
from pyasp.gmm.model import DiagGmm
from pyasp.gmm.posteriors import DiagScorer

FRAMES_PER_GAUSSIAN = 10  # Kaldi refuses to start with fewer
PERTURB = 0.1  # of a standard deviation
READ_FRAMES = 1 << 16


@dataclass(frozen=True)
class InitOptions:
    """num_gauss: C reached; num_gauss_init: Gaussians at the start; num_iters: EM iterations; update: limits."""

    num_gauss: int
    num_gauss_init: int
    num_iters: int
    update: UpdateOptions


def sample_frames(recordings: Iterable[Recording], limit: int, rng: np.random.Generator) -> np.ndarray:
    """At most `limit` frames of a stream, each with the same chance: (T, D) float32, reservoir sampling.

    Raises InputError when there are no frames at all.
    """
    kept: list[np.ndarray] = []
    reservoir, seen = np.zeros((0, 0), np.float32), 0
    for block in blocks(recordings, READ_FRAMES):
        x = block.x.numpy()
        fill = x[: max(0, limit - seen)]
        if len(fill):
            kept.append(fill)
            if seen + len(x) >= limit:
                reservoir, kept = np.concatenate(kept), []
        _replace(reservoir, x[len(fill) :], seen + len(fill), limit, rng)
        seen += len(x)
    frames = np.concatenate(kept) if kept else reservoir
    if not len(frames):
        raise InputError("UBM training data", "no frames", "voiced frames", "Check feats.scp and vad.scp")
    return frames


def _replace(reservoir: np.ndarray, x: np.ndarray, seen: int, limit: int, rng: np.random.Generator) -> None:
    """Frame number n (from 1) takes a random place with probability limit / n; later frames overwrite earlier ones."""
    chosen = rng.random(len(x)) * (seen + 1 + np.arange(len(x))) < limit
    places = rng.integers(limit, size=len(x))[chosen]
    last = {int(place): row for row, place in enumerate(places)}
    if last:
        reservoir[list(last)] = x[chosen][list(last.values())]


def initialise(
    frames: np.ndarray, options: InitOptions, rng: np.random.Generator, device: torch.device, dtype: torch.dtype
) -> tuple[DiagGmm, list[dict[str, float]]]:
    """Model of `num_gauss` Gaussians, and per iteration its size, log-likelihood per frame and removed Gaussians.

    frames: (T, D) float32. Raises InputError when there are too few frames or when they do not vary.
    """
    model = random_start(frames, options.num_gauss_init, rng, options.update.variance_floor)
    x, history = torch.from_numpy(frames).to(device), []
    steps = max(1, options.num_iters // 2)
    increment = -(-(options.num_gauss - options.num_gauss_init) // steps)
    target = options.num_gauss_init
    for _ in range(options.num_iters):
        stats = DiagStats.zeros(model.num_gauss, model.dim, device)
        stats.accumulate(x, DiagScorer(model, device, dtype))
        model, report = update(model, stats, options.update)
        history.append(
            {"gaussians": len(stats.count), "loglike": float(stats.loglike) / stats.frames, "removed": report.removed}
        )
        target = min(options.num_gauss, target + increment)
        model = split(model, target, rng)
    return split(model, options.num_gauss, rng), history


def random_start(frames: np.ndarray, num_gauss: int, rng: np.random.Generator, variance_floor: float) -> DiagGmm:
    """Means: distinct random frames; variances: of all frames, floored; equal weights."""
    if len(frames) < FRAMES_PER_GAUSSIAN * num_gauss:
        found = f"{len(frames)} frames for {num_gauss} Gaussians at the start"
        expected, cure = f"at least {FRAMES_PER_GAUSSIAN * num_gauss}", "Use more data, or a smaller --num-gauss"
        raise InputError("UBM training data", found, expected, cure)
    variance = frames.var(0, dtype=np.float64)
    if variance.max() <= 0.0:
        raise InputError("UBM training data", "frames that are all equal", "features that vary", "Check the features")
    means = frames[np.sort(rng.choice(len(frames), num_gauss, replace=False))]
    variances = np.broadcast_to(np.maximum(variance, variance_floor), means.shape)
    return DiagGmm.from_moments(np.full(num_gauss, 1.0 / num_gauss), means, variances)


def split(model: DiagGmm, target: int, rng: np.random.Generator, perturb: float = PERTURB) -> DiagGmm:
    """Splits the heaviest Gaussian in two, again and again, until there are `target` (Kaldi's DiagGmm::Split)."""
    if target <= model.num_gauss:
        return model
    count, dim = model.num_gauss, model.dim
    weights, linear, inverse = (
        np.concatenate([a, np.zeros((target - count, *a.shape[1:]), np.float32)])
        for a in (model.weights, model.linear, model.inverse)
    )
    for new in range(count, target):
        old = int(weights[:new].argmax())
        shift = (perturb * rng.standard_normal(dim) * np.sqrt(inverse[old])).astype(np.float32)  # of S^-1 m
        weights[old] *= np.float32(0.5)
        weights[new], inverse[new] = weights[old], inverse[old]
        linear[new] = linear[old] + shift
        linear[old] -= shift
    return DiagGmm.from_natural(weights, linear, inverse)
