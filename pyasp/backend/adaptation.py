"""Adaptation of a back end to another domain without labels.

Reference: Kaldi egs/sre16/v2 (ivector-adapt-plda after subtracting the new domain's mean); plda_em.adapt has the rule.
"""

from __future__ import annotations

import numpy as np

from pyasp.backend import plda_em
from pyasp.backend.model import BackEnd, global_mean


def adapt(back_end: BackEnd, vectors: np.ndarray, within: float, between: float) -> BackEnd:
    """The back end for another domain, from its unlabelled embeddings (N, D), as Kaldi's sre16 uses ivector-adapt-plda.

    Their mean replaces the training mean; PLDA's covariances take up the excess variance (shares `within`, `between`)
    of the vectors so processed. Whitening or LDA stay.
    """
    moved = BackEnd(global_mean(vectors), back_end.transform, back_end.plda)
    return BackEnd(moved.mean, moved.transform, plda_em.adapt(back_end.plda, moved.process(vectors), within, between))
