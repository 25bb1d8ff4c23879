"""Change of sampling rate: `scipy.signal.resample_poly` in double precision over signals of any length, in blocks."""

import math

import numpy as np

from pyasp.core.errors import InputError

INT16 = np.float32(32768.0)
LOUDEST = 2.0**40  # on the int16 scale: 25 bits over full scale, which no recording reaches
LOWEST_RATE, HIGHEST_RATE = 1000, 768000  # Hz; outside a header is wrong, or a rate in kHz
LARGEST_RATIO = 50000  # of the whole numbers that two rates are in proportion to: the filter has 20 times as many taps
RESAMPLE_BLOCK = 1 << 22  # samples resampled at a time: bounds the double-precision copies of long recordings


def check_audible(samples: np.ndarray, name: object, item: object | None = None) -> None:
    """Raises InputError for samples (n,) that are none, not finite or louder than LOUDEST: sums of their squares are
    numbers too."""
    if not len(samples) or not -LOUDEST < float(samples.min()) <= float(samples.max()) < LOUDEST:  # false for NaN
        found = "samples that are not finite, or huge" if len(samples) else "no samples"
        raise InputError(name, found, "audio", "Replace the recording, or leave it out", item=item)


def check_rate(source: int, target: int, allow_downsample: bool, allow_upsample: bool, utt: str) -> None:
    """Raises InputError when audio of `source` Hz may not be brought to `target` Hz."""
    factor = max(source, target) // math.gcd(source, target)
    if not LOWEST_RATE <= source <= HIGHEST_RATE or (source != target and factor > LARGEST_RATIO):
        found, cure = f"audio at {source} Hz", "The header is wrong: mend it, or leave the recording out"
        raise InputError("mfcc.conf", found, f"a rate that can be brought to {target} Hz", cure, item=utt)
    down = source > target
    name, allowed = ("--allow-downsample", allow_downsample) if down else ("--allow-upsample", allow_upsample)
    if source != target and not allowed:
        way_out = f"Use a conf of that rate, or set {name}=true"
        raise InputError("mfcc.conf", f"audio at {source} Hz", f"--sample-frequency={target}", way_out, item=utt)


def resample(samples: np.ndarray, source: int, target: int, rounded: bool = True) -> np.ndarray:
    """(n,) on the int16 scale at `source` Hz -> (ceil(n target / source),) float32 at `target` Hz.

    Equal to resample_poly over the whole signal, in blocks with context; `rounded`: to integers, clipped to 16 bit.
    """
    if source == target:
        return samples
    from scipy.signal import resample_poly  # most recordings do without it, and it takes half a second to import

    up, down = target // math.gcd(source, target), source // math.gcd(source, target)
    context = down * (10 * max(up, down) // (up * down) + 2)  # the filter reaches 10 max(up, down) / up samples
    block = max(RESAMPLE_BLOCK // down, 1) * down
    parts = []
    for start in range(0, len(samples), block):
        first, end = max(start - context, 0), min(start + block, len(samples))
        converted = resample_poly(samples[first : end + context].astype(np.float64), up, down)
        parts.append(converted[(start - first) // down * up : -(-(end - first) * up // down)])
    whole = np.concatenate(parts)
    return (np.clip(np.rint(whole), -32768, 32767) if rounded else whole).astype(np.float32)
