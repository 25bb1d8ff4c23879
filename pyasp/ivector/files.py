"""Total variability models and their statistics in Kaldi's files: <IvectorExtractor>, <IvectorExtractorStats>.

Readers raise InputError for a file that is missing, damaged, or of another kind; writers are atomic.
"""

from __future__ import annotations

import os
from typing import IO

import numpy as np
import torch

from pyasp.core.errors import InputError
from pyasp.core.packed import triangle_size, unpack
from pyasp.gmm.files import check_finite, stacked
from pyasp.ivector.em import IvectorStats
from pyasp.ivector.model import IvectorExtractor
from pyasp.kaldi.reader import open_object
from pyasp.kaldi.writer import write_object


def read_extractor(path: str | os.PathLike) -> IvectorExtractor:
    """From a Kaldi file, binary or text. Raises InputError when it is not a usable extractor."""
    with open_object(path) as reader:
        reader.expect("<IvectorExtractor>")
        reader.expect("<w>")
        weight_projections = reader.matrix(np.float64)
        reader.expect("<w_vec>")
        weights = reader.vector(np.float64)
        reader.expect("<M>")
        num_gauss = reader.int32()
        projections = stacked(path, "<M>", [reader.matrix(np.float64) for _ in range(num_gauss)])
        reader.expect("<SigmaInv>")
        inv_covars = stacked(path, "<SigmaInv>", [reader.packed(np.float64)[1] for _ in range(num_gauss)])
        reader.expect("<IvectorOffset>")
        offset = reader.float64()
        reader.expect("</IvectorExtractor>")
    dim = projections.shape[1]
    if inv_covars.shape[1] != dim * (dim + 1) // 2 or num_gauss not in (len(weights), len(weight_projections)):
        raise InputError(
            path,
            f"{len(weights)} weights and covariances of {triangle_size(inv_covars.shape[1])}",
            f"{num_gauss} and {dim}",
            "The model is damaged: make it again",
        )
    check_finite(path, w=weight_projections, w_vec=weights, m=projections, sigmainv=inv_covars)
    return IvectorExtractor(weights, projections, inv_covars, offset, weight_projections)


def write_extractor(extractor: IvectorExtractor, path: str | os.PathLike | IO[bytes], binary: bool = True) -> None:
    """Writes Kaldi's <IvectorExtractor>, atomically."""
    with write_object(path, binary) as writer:
        writer.token("<IvectorExtractor>")
        writer.token("<w>")
        writer.matrix(extractor.weight_projections)
        writer.token("<w_vec>")
        writer.vector(extractor.weights)
        writer.token("<M>")
        writer.int32(extractor.num_gauss)
        for projection in extractor.projections:
            writer.matrix(projection)
        writer.token("<SigmaInv>")
        for triangle in extractor.inv_covars:
            writer.packed(triangle)
        writer.token("<IvectorOffset>")
        writer.float64(extractor.prior_offset)
        writer.token("</IvectorExtractor>")


def read_stats(path: str | os.PathLike) -> IvectorStats:
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


def write_stats(stats: IvectorStats, path: str | os.PathLike | IO[bytes], binary: bool = True) -> None:
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
