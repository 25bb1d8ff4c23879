"""Which function reads and writes which model or statistics, for tests over several kinds."""

from kaldi_statistics import read_diag_stats, read_full_stats, read_ivector_stats, write_gmm_stats, write_ivector_stats

from pyasp.backend.files import read_plda, write_plda
from pyasp.backend.plda import Plda
from pyasp.gmm.em import DiagStats, FullStats
from pyasp.gmm.files import read_diag, read_full, write_gmm
from pyasp.gmm.model import DiagGmm, FullGmm
from pyasp.ivector import files
from pyasp.ivector.em import IvectorStats
from pyasp.ivector.model import IvectorExtractor

READERS = {
    DiagGmm: read_diag,
    FullGmm: read_full,
    DiagStats: read_diag_stats,
    FullStats: read_full_stats,
    IvectorExtractor: files.read_extractor,
    IvectorStats: read_ivector_stats,
    Plda: read_plda,
}
WRITERS = {
    DiagGmm: write_gmm,
    FullGmm: write_gmm,
    DiagStats: write_gmm_stats,
    FullStats: write_gmm_stats,
    IvectorExtractor: files.write_extractor,
    IvectorStats: write_ivector_stats,
    Plda: lambda plda, where, binary=True: write_plda(where, plda, binary),
}


def read(kind, path):
    """A model of this class from a file."""
    return READERS[kind](path)


def write(model, where, binary=True):
    """To a path or a stream."""
    WRITERS[type(model)](model, where, binary)
