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
        reader.expect("<GMMACCS>")
        reader.expect("<VECSIZE>")
        dim = reader.int32()
        reader.expect("<NUMCOMPONENTS>")
        num_gauss = reader.int32()
        reader.expect("<FLAGS>")
        reader.integer()
        reader.expect("<OCCUPANCY>")
        count = reader.vector()
        reader.expect("<MEANACCS>")
        first = reader.matrix()
        reader.expect(kind)
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
        writer.token("<GMMACCS>")
        writer.token("<VECSIZE>")
        writer.int32(first.shape[1])
        writer.token("<NUMCOMPONENTS>")
        writer.int32(first.shape[0])
        writer.token("<FLAGS>")
        writer.integer(ALL_FLAGS, -2)
        writer.token("<OCCUPANCY>")
        writer.vector(count.astype(np.float32))
        writer.token("<MEANACCS>")
        writer.matrix(first.astype(np.float32))
        if isinstance(stats, DiagStats):
            writer.token("<DIAGVARACCS>")
            writer.matrix(second.astype(np.float32))
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
        reader.expect("<IvectorExtractorStats>")
        reader.expect("<TotAuxf>")
        objective = reader.float64()
        reader.expect("<gamma>")
        count = reader.vector(np.float64)
        reader.expect("<Y>")
        linear = stacked(path, "<Y>", [reader.matrix(np.float64) for _ in range(reader.int32())])
        reader.expect("<R>")
        quadratic = reader.matrix(np.float64)
        reader.expect("<Q>")
        reader.matrix()
        reader.expect("<G>")
        reader.matrix()
        reader.expect("<S>")
        triangles = [reader.packed(np.float64)[1] for _ in range(reader.int32())]
        reader.expect("<NumIvectors>")
        recordings = reader.float64()
        reader.expect("<IvectorSum>")
        vector_sum = reader.vector(np.float64)
        reader.expect("<IvectorScatter>")
        scatter = unpack(reader.packed(np.float64)[1])
        reader.expect("</IvectorExtractorStats>")
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
        objective,
    )


def write_ivector_stats(stats: IvectorStats, path: str | os.PathLike | IO[bytes], binary: bool = True) -> None:
    """As Kaldi's accumulator file: the quadratic term float32, the rest float64."""
    with write_object(path, binary) as writer:
        writer.token("<IvectorExtractorStats>")
        writer.token("<TotAuxf>")
        writer.float64(stats.objective)
        writer.token("<gamma>")
        writer.vector(stats.count.cpu().numpy())
        writer.token("<Y>")
        writer.int32(len(stats.linear))
        for matrix in stats.linear.cpu().numpy():
            writer.matrix(matrix)
        writer.token("<R>")
        writer.matrix(stats.quadratic.cpu().numpy().astype(np.float32))
        for token in ("<Q>", "<G>"):
            writer.token(token)
            writer.matrix(np.zeros((0, 0), np.float32 if token == "<Q>" else np.float64))
        writer.token("<S>")
        writer.int32(len(stats.second))
        for matrix in stats.second.cpu().numpy():
            writer.packed(matrix[np.tril_indices(len(matrix))])
        writer.token("<NumIvectors>")
        writer.float64(stats.recordings)
        writer.token("<IvectorSum>")
        writer.vector(stats.vector_sum.cpu().numpy())
        writer.token("<IvectorScatter>")
        scatter = stats.vector_scatter.cpu().numpy()
        writer.packed(scatter[np.tril_indices(len(scatter))])
        writer.token("</IvectorExtractorStats>")
