"""The steps of the front end one by one, as Kaldi's programs make them: what `frontend` does with all else switched off."""

from dataclasses import replace

import numpy as np

from pyasp.features.frontend import FrontendOptions, frontend

PLAIN = FrontendOptions(delta_order=0, cmn_window=0)


def add_deltas(feats, window, order):
    """feats (T, D) -> (T, D (order + 1)) (add-deltas)."""
    return frontend(feats, np.ones(len(feats), bool), replace(PLAIN, delta_window=window, delta_order=order))


def sliding_cmn(feats, options):
    """feats (T, D) -> (T, D) (apply-cmvn-sliding)."""
    return frontend(feats, np.ones(len(feats), bool), replace(options, delta_order=0, num_ceps=0))


def select_voiced(feats, voiced):
    """feats (T, D), voiced (T,) -> the voiced ones (select-voiced-frames)."""
    return frontend(feats, voiced, PLAIN)
