"""Kaldi tables in one place: what the rest of the recipe imports.

    read_scp, ScpReader           script files; lazy random access, row slices through memory maps
    read_ark, load                archives in order; one vector or matrix
    ArkWriter, save               archives with script files; one vector or matrix; nothing half-written
    read_posteriors, read_gselect, read_int_vectors, read_scalars   and their write_ counterparts

Extended names: `x.ark:12[0:9]`, gzip, `-`; tables also `ark:...` and `scp:...` (https://kaldi-asr.org/doc/io.html).
Commands, pickles, NPY and AUDIO entries are refused: see `tables`.
"""

from pyasp.kaldi.archives import ArkWriter, save, serialise
from pyasp.kaldi.posteriors import (
    read_gselect,
    read_int_vectors,
    read_posteriors,
    read_scalars,
    write_gselect,
    write_int_vectors,
    write_posteriors,
    write_scalars,
)
from pyasp.kaldi.scripts import ScpReader
from pyasp.kaldi.tables import load, read_ark, read_array, read_entries, read_scp
