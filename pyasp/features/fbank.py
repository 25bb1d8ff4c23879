"""Log mel filter banks as Kaldi's compute-fbank-feats makes them: the mel energies of pyasp.features.mfcc, and no DCT.

    e      (M,) mel energies of a frame: triangles times |FFT(z)|^2, or times |FFT(z)| with --use-power=false
    x      (M,) log e, floored as Kaldi's; e itself with --use-log-fbank=false
           (M + 1,) with --use-energy: log energy, x; with --htk-compat x, log energy

Samples on the int16 scale, as Kaldi's. Toolkits that scale them to [-1, 1] have values lower by 2 log 32768 = 20.79, a
constant that every mean normalisation takes away.
"""

from dataclasses import dataclass

import numpy as np

from pyasp.core.options import option
from pyasp.features.mfcc import MelFeatures, MelOptions, logarithm


@dataclass(frozen=True)
class FbankOptions(MelOptions):
    """Options of compute-fbank-feats with Kaldi's names and defaults."""

    kind = "fbank"

    use_energy: bool = option(False, "log energy as a column more, before the mel bins")
    use_log_fbank: bool = option(True, "logarithms of the mel energies")
    use_power: bool = option(True, "mel energies of the squared magnitude; false: of the magnitude")
    htk_compat: bool = option(False, "the energy last")


class Fbank(MelFeatures):
    """Filter banks."""

    options: FbankOptions

    def __init__(self, options: FbankOptions):
        super().__init__(options)
        self.dim = options.num_mel_bins + options.use_energy

    def _squared(self, spectrum: np.ndarray) -> None:
        super()._squared(spectrum)
        if not self.options.use_power:
            spectrum[:, ::2] += spectrum[:, 1::2]
            np.sqrt(spectrum[:, ::2], out=spectrum[:, ::2])
            spectrum[:, 1::2] = 0.0

    def _fill(self, energies: np.ndarray, out: np.ndarray) -> None:
        out[:, int(self.options.use_energy) :] = logarithm(energies) if self.options.use_log_fbank else energies

    def _finish(self, out: np.ndarray) -> np.ndarray:
        if self.options.htk_compat and self.options.use_energy:
            out = np.roll(out, -1, axis=1)
        return super()._finish(out)
