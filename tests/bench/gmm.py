"""Rows of the benchmark: Gaussian selection, full-covariance posteriors, an EM iteration of the UBM."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from bench import models
from bench.measure import Row, Setting, in_turns
from bench.reference import PairReference
from pyasp.gmm.em import FullStats
from pyasp.gmm.posteriors import Aligner, align

DIM, SELECTED, MIN_POST = 60, 20, 0.025
FULL_FLOP = 2 * DIM * DIM  # of one selected covariance


class _Pieces:
    """The same frames for ours and the reference, which takes fewer of them: its time a frame does not depend on it."""

    def __init__(self, setting: Setting, min_post: float):
        self.num_gauss = setting.size(512, 2048)
        model = models.ubm(self.num_gauss, DIM)
        x = models.frames(model, setting.size(1 << 14, 1 << 16))
        self.x = torch.from_numpy(x).to(setting.device)
        self.some = x[: setting.size(1000, 4000)].astype("f8")
        self.aligner = Aligner(model.to_diag(), model, SELECTED, min_post, device=setting.device)
        self.reference = PairReference(model.to_diag(), model, SELECTED, min_post)
        self.chosen = self.reference.select(self.some)
        self.weights = self.reference.posteriors(self.some, self.chosen)

    def selection_bytes(self) -> int:
        """Scores of a frame that the reference writes and reads again; the product before is bound by arithmetic."""
        return 2 * 8 * self.num_gauss


def _rows(setting: Setting, name: str, pieces: _Pieces, ours, reference, flop: float, traffic: int) -> Iterator[Row]:
    """One row for each number of threads. flop and traffic (bytes of the reference): per frame."""
    for threads in setting.threads:
        found = in_turns(ours, reference, setting, threads, setting.size(3, 5))
        rate, reference_rate = len(pieces.x) / found.own, len(pieces.some) / found.reference
        yield Row(
            name,
            rate / models.FRAMES_PER_SECOND,
            "x real time",
            rate / reference_rate,
            rate * flop / found.sgemm,
            found.memory,
            threads,
            "a frame at a time, BLAS",
            traffic * reference_rate / found.stream,
        )


def selection(setting: Setting) -> Iterator[Row]:
    """The 20 best Gaussians of each frame by the diagonal model."""
    pieces = _Pieces(setting, MIN_POST)
    yield from _rows(
        setting,
        "gaussian_selection",
        pieces,
        lambda: pieces.aligner.selector.select(pieces.x, SELECTED),
        lambda: pieces.reference.select(pieces.some),
        2 * pieces.num_gauss * (2 * DIM + 1),
        pieces.selection_bytes(),
    )


def posteriors(setting: Setting) -> Iterator[Row]:
    """Full covariances of the selected Gaussians, softmax, pruning."""
    pieces = _Pieces(setting, MIN_POST)
    chosen = pieces.aligner.selector.select(pieces.x, SELECTED)[1]
    yield from _rows(
        setting,
        "pruned_posteriors",
        pieces,
        lambda: align(pieces.aligner.full.loglikes(pieces.x, chosen), chosen, MIN_POST),
        lambda: pieces.reference.posteriors(pieces.some, pieces.chosen),
        SELECTED * FULL_FLOP,
        pieces.reference.bytes_per_frame(),
    )


def alignment(setting: Setting) -> Iterator[Row]:
    """Both together: what each frame of the i-vector system costs."""
    pieces = _Pieces(setting, MIN_POST)
    yield from _rows(
        setting,
        "selection_and_posteriors",
        pieces,
        lambda: pieces.aligner(pieces.x),
        lambda: pieces.reference.posteriors(pieces.some, pieces.reference.select(pieces.some)),
        2 * pieces.num_gauss * (2 * DIM + 1) + SELECTED * FULL_FLOP,
        pieces.selection_bytes() + pieces.reference.bytes_per_frame(),
    )


def ubm_em(setting: Setting) -> Iterator[Row]:
    """E-step of a full-covariance UBM: selection, posteriors without pruning, second-order statistics."""
    pieces = _Pieces(setting, 0.0)
    stats = FullStats.zeros(pieces.num_gauss, DIM, setting.device)

    def reference() -> None:
        chosen = pieces.reference.select(pieces.some)
        pieces.reference.accumulate(pieces.some, chosen, pieces.reference.posteriors(pieces.some, chosen))

    yield from _rows(
        setting,
        "ubm_em_iteration",
        pieces,
        lambda: stats.accumulate(pieces.x, pieces.aligner(pieces.x), torch.float32),
        reference,
        2 * pieces.num_gauss * (2 * DIM + 1) + 2 * SELECTED * FULL_FLOP,
        pieces.selection_bytes() + 3 * pieces.reference.bytes_per_frame(),
    )  # a sum: read and written
