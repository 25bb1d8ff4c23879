"""Total variability models in Kaldi's files: <IvectorExtractor>, binary or text.

Readers raise InputError for a file that is missing, damaged, or of another kind; writers are atomic.
"""

import os
from typing import IO

import numpy as np

from pyasp.core.errors import InputError
from pyasp.core.packed import triangle_size
from pyasp.gmm.files import check_finite, stacked
from pyasp.ivector.model import IvectorExtractor
from pyasp.kaldi.reader import open_object
from pyasp.kaldi.writer import write_object


def read_extractor(path: str | os.PathLike) -> IvectorExtractor:
    """From a Kaldi file, binary or text. Raises InputError when it is not a usable extractor."""
    with open_object(path) as reader:
        weight_projections = reader.after("<IvectorExtractor>", "<w>").matrix(np.float64)
        weights = reader.after("<w_vec>").vector(np.float64)
        num_gauss = reader.after("<M>").int32()
        projections = stacked(path, "<M>", [reader.matrix(np.float64) for _ in range(num_gauss)])
        reader.after("<SigmaInv>")
        inv_covars = stacked(path, "<SigmaInv>", [reader.packed(np.float64)[1] for _ in range(num_gauss)])
        offset = reader.after("<IvectorOffset>").float64()
        reader.after("</IvectorExtractor>")
    dim = projections.shape[1]
    if inv_covars.shape[1] != dim * (dim + 1) // 2 or num_gauss not in (len(weights), len(weight_projections)):
        found = f"{len(weights)} weights and covariances of {triangle_size(inv_covars.shape[1])}"
        raise InputError(path, found, f"{num_gauss} and {dim}", "The model is damaged: make it again")
    check_finite(path, w=weight_projections, w_vec=weights, m=projections, sigmainv=inv_covars)
    return IvectorExtractor(weights, projections, inv_covars, offset, weight_projections)


def write_extractor(extractor: IvectorExtractor, path: str | os.PathLike | IO[bytes], binary: bool = True) -> None:
    """Writes Kaldi's <IvectorExtractor>, atomically."""
    with write_object(path, binary) as writer:
        writer.put("<IvectorExtractor>", "<w>", extractor.weight_projections, "<w_vec>", extractor.weights)
        writer.put("<M>", extractor.num_gauss, *extractor.projections, "<SigmaInv>")
        for triangle in extractor.inv_covars:
            writer.packed(triangle)
        writer.put("<IvectorOffset>", float(extractor.prior_offset), "</IvectorExtractor>")
