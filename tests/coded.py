"""Speech of the telephone before and after a codec."""

import numpy as np
from prep_trees import speech as toy_speech
from scipy.signal import correlate

RATE = 8000


def real(seconds=1.0):
    """Toy speech in [-1, 1] at 8 kHz."""
    return toy_speech(RATE, seconds) / 32768


def alike(clean, coded):
    """Lag of the best correlation, and the correlation there."""
    found = correlate(coded, clean)
    return np.argmax(found) - (len(clean) - 1), found.max() / np.sqrt(np.sum(clean**2) * np.sum(coded**2))
