"""Kaldi's accumulator files, <GMMACCS> and <IvectorExtractorStats>: what the golden set compares our statistics with."""

from __future__ import annotations

import os
from typing import IO

import numpy as np
import torch

from pyasp.core.errors import InputError
from pyasp.core.packed import pack, unpack
from pyasp.gmm.em import DiagStats, FullStats
from pyasp.gmm.files import stacked
from pyasp.ivector.em import IvectorStats
from pyasp.kaldi.reader import open_object
from pyasp.kaldi.writer import write_object

ALL_FLAGS = 0x007  # means, variances, weights: what gmm-global-acc-stats accumulates


def _read_stats(path: str | os.PathLike, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """float64 counts, first order and second order (diagonal rows or packed triangles) of a <GMMACCS> file."""
    with open_object(path) as reader:
        dim = reader.after("<GMMACCS>", "<VECSIZE>").int32()
        num_gauss = reader.after("<NUMCOMPONENTS>").int32()
        reader.after("<FLAGS>").integer()
        count = reader.after("<OCCUPANCY>").vector()
        first = reader.after("<MEANACCS>").matrix()
        reader.after(kind)
        diagonal = kind == "<DIAGVARACCS>"
        second = reader.matrix() if diagonal else stacked(path, kind, [reader.packed()[1] for _ in range(num_gauss)])
        reader.expect("</GMMACCS>")
    if count.shape != (num_gauss,) or first.shape != (num_gauss, dim) or len(second) != num_gauss:
        found = f"{first.shape} first-order statistics"
        raise InputError(path, found, f"({num_gauss}, {dim})", "Accumulate them again")
    return count.astype(np.float64), first.astype(np.float64), second.astype(np.float64)


def read_diag_stats(path: str | os.PathLike) -> DiagStats:
    """Statistics of a diagonal GMM (gmm-global-acc-stats)."""
    count, first, second = map(torch.as_tensor, _read_stats(path, "<DIAGVARACCS>"))
    return DiagStats(count, first, second)


def read_full_stats(path: str | os.PathLike) -> FullStats:
    """Statistics of a full-covariance GMM (fgmm-global-acc-stats), which stores scatters around the means."""
    count, first, scatter = _read_stats(path, "<FULLVARACCS>")
    second = unpack(scatter) + _around_zero(count, first)
    return FullStats(torch.as_tensor(count), torch.as_tensor(first), torch.as_tensor(second))


def _around_zero(count: np.ndarray, first: np.ndarray) -> np.ndarray:
    """(C, D, D) F_i F_i^T / N_i: what a scatter around the mean lacks; zero without frames."""
    means = first / np.where(count == 0, 1.0, count)[:, None]
    return means[:, :, None] * first[:, None, :]


def write_gmm_stats(stats: DiagStats | FullStats, path: str | os.PathLike | IO[bytes], binary: bool = True) -> None:
    """As Kaldi's accumulator file, float32; scatters of full covariances around the means."""
    count, first, second = (a.cpu().numpy() for a in (stats.count, stats.first, stats.second))
    with write_object(path, binary) as writer:
        writer.put("<GMMACCS>", "<VECSIZE>", first.shape[1], "<NUMCOMPONENTS>", first.shape[0], "<FLAGS>")
        writer.integer(ALL_FLAGS, -2)
        writer.put("<OCCUPANCY>", count.astype(np.float32), "<MEANACCS>", first.astype(np.float32))
        if isinstance(stats, DiagStats):
            writer.put("<DIAGVARACCS>", second.astype(np.float32))
        else:
            writer.token("<FULLVARACCS>")
            for triangle in pack(second - _around_zero(count, first)).astype(np.float32):
                writer.packed(triangle)
        writer.token("</GMMACCS>")


def read_ivector_stats(path: str | os.PathLike) -> IvectorStats:
    """From Kaldi's accumulator file (ivector-extractor-acc-stats) of an extractor that does not regress weights.

    `second` is empty, (0, D, D), when they were accumulated with --update-variances=false.
    """
    with open_object(path) as reader:
        objective = reader.after("<IvectorExtractorStats>", "<TotAuxf>").float64()
        count = reader.after("<gamma>").vector(np.float64)
        reader.after("<Y>")
        linear = stacked(path, "<Y>", [reader.matrix(np.float64) for _ in range(reader.int32())])
        quadratic = reader.after("<R>").matrix(np.float64)
        reader.after("<Q>").matrix()
        reader.after("<G>").matrix()
        reader.after("<S>")
        triangles = [reader.packed(np.float64)[1] for _ in range(reader.int32())]
        recordings = reader.after("<NumIvectors>").float64()
        vector_sum = reader.after("<IvectorSum>").vector(np.float64)
        scatter = unpack(reader.after("<IvectorScatter>").packed(np.float64)[1])
        reader.after("</IvectorExtractorStats>")
    dim = linear.shape[1]
    second = unpack(stacked(path, "<S>", triangles)) if triangles else np.zeros((0, dim, dim))
    return IvectorStats(
        torch.tensor(count),
        torch.tensor(linear),
        torch.tensor(quadratic),
        torch.tensor(second),
        torch.tensor(vector_sum),
        torch.tensor(scatter),
        recordings,
        torch.tensor(objective, dtype=torch.float64),
    )


def write_ivector_stats(stats: IvectorStats, path: str | os.PathLike | IO[bytes], binary: bool = True) -> None:
    """As Kaldi's accumulator file: the quadratic term float32, the rest float64."""
    with write_object(path, binary) as writer:
        writer.put("<IvectorExtractorStats>", "<TotAuxf>", float(stats.objective), "<gamma>", stats.count.cpu().numpy())
        writer.put("<Y>", len(stats.linear), *stats.linear.cpu().numpy())
        writer.put("<R>", stats.quadratic.cpu().numpy().astype(np.float32))
        writer.put("<Q>", np.zeros((0, 0), np.float32), "<G>", np.zeros((0, 0)), "<S>", len(stats.second))
        for matrix in stats.second.cpu().numpy():
            writer.packed(matrix[np.tril_indices(len(matrix))])
        writer.put("<NumIvectors>", float(stats.recordings), "<IvectorSum>", stats.vector_sum.cpu().numpy())
        writer.token("<IvectorScatter>")
        scatter = stats.vector_scatter.cpu().numpy()
        writer.packed(scatter[np.tril_indices(len(scatter))])
        writer.token("</IvectorExtractorStats>")
