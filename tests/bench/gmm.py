"""Rows of the benchmark: Gaussian selection, full-covariance posteriors, an EM iteration of the UBM."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch

from bench import models
from bench.measure import Reference, Row, Setting, rows
from bench.reference import PairReference
from pyasp.gmm.em import FullStats
from pyasp.gmm.posteriors import Aligner, align

DIM, SELECTED, MIN_POST = 60, 20, 0.025
FULL_FLOP = 2 * DIM * DIM  # of one selected covariance


class _Pieces:
    """The same frames for ours and the reference, which takes fewer of them: its time a frame does not depend on it."""

    def __init__(self, setting: Setting, min_post: float = MIN_POST):
        self.setting, self.num_gauss = setting, setting.size(512, 2048)
        model = models.ubm(self.num_gauss, DIM)
        x = models.frames(model, setting.size(1 << 14, 1 << 16))
        self.x = torch.from_numpy(x).to(setting.device)
        self.some = x[: setting.size(1000, 4000)].astype("f8")
        self.aligner = Aligner(model.to_diag(), model, SELECTED, min_post, device=setting.device)
        self.reference = PairReference(model.to_diag(), model, SELECTED, min_post)
        self.chosen = self.reference.select(self.some)
        self.diag_flop = 2 * self.num_gauss * (2 * DIM + 1)  # of a frame
        self.scores = 2 * 8 * self.num_gauss  # bytes that selecting writes and reads again; its product is arithmetic
        self.covariances = self.reference.bytes_per_frame()

    def rows(
        self, name: str, ours: Callable[[], Any], reference: Callable[[], Any], flop: float, traffic: float
    ) -> Iterator[Row]:
        """flop, and traffic (bytes of the reference): per frame."""
        second = models.FRAMES_PER_SECOND
        other = Reference("a frame at a time, BLAS", lambda: reference, len(self.some) / second, traffic * second)
        turns = self.setting.size(3, 5)
        return rows(self.setting, name, "x real time", len(self.x) / second, ours, other, flop * second, turns=turns)


def selection(setting: Setting) -> Iterator[Row]:
    """The 20 best Gaussians of each frame by the diagonal model."""
    p = _Pieces(setting)
    return p.rows(
        "gaussian_selection",
        lambda: p.aligner.selector.select(p.x, SELECTED),
        lambda: p.reference.select(p.some),
        p.diag_flop,
        p.scores,
    )


def posteriors(setting: Setting) -> Iterator[Row]:
    """Full covariances of the selected Gaussians, softmax, pruning."""
    p = _Pieces(setting)
    chosen = p.aligner.selector.select(p.x, SELECTED)[1]
    return p.rows(
        "pruned_posteriors",
        lambda: align(p.aligner.full.loglikes(p.x, chosen), chosen, MIN_POST),
        lambda: p.reference.posteriors(p.some, p.chosen),
        SELECTED * FULL_FLOP,
        p.covariances,
    )


def alignment(setting: Setting) -> Iterator[Row]:
    """Both together: what each frame of the i-vector system costs."""
    p = _Pieces(setting)
    return p.rows(
        "selection_and_posteriors",
        lambda: p.aligner(p.x),
        lambda: p.reference.posteriors(p.some, p.reference.select(p.some)),
        p.diag_flop + SELECTED * FULL_FLOP,
        p.scores + p.covariances,
    )


def ubm_em(setting: Setting) -> Iterator[Row]:
    """E-step of a full-covariance UBM: selection, posteriors without pruning, second-order statistics."""
    p = _Pieces(setting, 0.0)
    stats = FullStats.zeros(p.num_gauss, DIM, setting.device)

    def reference() -> None:
        chosen = p.reference.select(p.some)
        p.reference.accumulate(p.some, chosen, p.reference.posteriors(p.some, chosen))

    return p.rows(
        "ubm_em_iteration",
        lambda: stats.accumulate(p.x, p.aligner(p.x), torch.float32),
        reference,
        p.diag_flop + 2 * SELECTED * FULL_FLOP,
        p.scores + 3 * p.covariances,  # a sum: read and written
    )
