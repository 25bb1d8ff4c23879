"""Statistics of Gaussian mixtures as Kaldi's files (<GMMACCS>: gmm-global-acc-stats, fgmm-global-acc-stats)."""

from __future__ import annotations

import os

import numpy as np

from pyasp.core.errors import InputError
from pyasp.gmm.model import stacked
from pyasp.kaldi.reader import Writer, open_object

ALL_FLAGS = 0x007  # means, variances, weights: what gmm-global-acc-stats accumulates


def read_accumulators(path: str | os.PathLike, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Counts, first order and second order (diagonal rows or packed triangles) of a <GMMACCS> file.

    Raises InputError when they do not fit together."""
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
        second = (
            reader.matrix()
            if kind == "<DIAGVARACCS>"
            else stacked(path, kind, [reader.packed()[1] for _ in range(num_gauss)])
        )
        reader.expect("</GMMACCS>")
    if count.shape != (num_gauss,) or first.shape != (num_gauss, dim) or len(second) != num_gauss:
        raise InputError(
            path, f"{first.shape} first-order statistics", f"({num_gauss}, {dim})", "Accumulate them again"
        )
    return count, first, second


def write_head(writer: Writer, count: np.ndarray, first: np.ndarray) -> None:
    """What a <GMMACCS> file says before its second-order statistics. count (C,), first (C, D)."""
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
