"""The read-time front end: first coefficients, deltas, sliding mean normalisation, voiced frames; Kaldi's
add-deltas | apply-cmvn-sliding | select-voiced-frames, as matrix operations over all frames.

    T, D   frames and stored coefficients of a recording;  D' = D (order + 1) after deltas
    x_t    (D,) stored coefficients, replicated beyond both ends of the file: x_t = x_0 for t < 0, x_{T-1} for t >= T
    w, N   half window of the deltas;  window of the mean normalisation, in frames

    deltas         d_t = sum_{j=1..w} j (x_{t+j} - x_{t-j}) / (2 sum_j j^2), each order being the slope of the one below
                   over the replicated x (at the file's ends this differs from replicating d, which is what torchaudio
                   and lhotse do)
    sliding CMN    y_t = x_t - mean of x over the window of t; optionally divided by the window's standard deviation

Digital silence (zeros) is no recording, but where a gate put it there was background, which the mean of other
recordings holds. Of each run of such frames the first BRIDGE stand for it, as the mean of the file's quietest
twentieth; the rest are left out as if the file did not hold them (conf/folder/measurements.md has the figures).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np

from pyasp.core.errors import InputError, rerun
from pyasp.core.options import Count, Natural, check_options, option
from pyasp.features.vad import recorded

GROUP_ELEMENTS = 1 << 22  # frames x columns normalised at a time: bounds the double-precision copies of a 3-hour file
VARIANCE_FLOOR = 1e-10  # Kaldi's
BRIDGE = 30  # frames of a run of digital silence that stand for background
QUIETEST = 0.05  # part of a file's frames that background is taken from
FEATURE_TYPES = ("mfcc", "fbank")  # those of kinds.KINDS; all but the first lie in a directory of their own


@dataclass(frozen=True)
class FrontendOptions:
    """What is done to stored features when they are read. Kaldi's names; defaults of its speaker recipes."""

    feature_type = "mfcc"  # no option here: i-vectors know no other

    num_ceps: Natural = option(0, "use the first so many stored coefficients; 0 = all")
    delta_order: Annotated[int, "[0, 1000)"] = option(2, "order of the deltas appended; 0 = none")
    delta_window: Annotated[int, "[1, 1000)"] = option(3, "frames on either side that a delta is computed from")
    cmn_window: Natural = option(300, "window of the sliding mean normalisation in frames; 0 = none")
    min_cmn_window: Count = option(100, "smallest window at the start of a file when --center=false")
    center: bool = option(True, "the window is centred on the frame; false: it ends there")
    norm_vars: bool = option(False, "also divide by the standard deviation of the window")

    def __post_init__(self) -> None:
        check_options(self, "front end options")
        if 0 < self.cmn_window < self.min_cmn_window:  # Kaldi aborts here, with --center=true too
            found, expected = f"--cmn-window={self.cmn_window}", f"at least --min-cmn-window={self.min_cmn_window}"
            raise InputError("front end options", found, expected, "Lower --min-cmn-window")

    @property
    def table(self) -> str:
        """Where in a data directory the stored features are listed."""
        return "feats.scp" if self.feature_type == "mfcc" else f"{self.feature_type}/feats.scp"


@dataclass(frozen=True)
class NetworkFrontendOptions(FrontendOptions):
    """The same for networks: without deltas, as the paper's, and of any kind of features."""

    delta_order: Annotated[int, "[0, 1000)"] = option(
        0, "order of the deltas appended; 0 = none, as in the paper's network"
    )
    feature_type: str = option("mfcc", "stored features that are read", choices=FEATURE_TYPES)


def output_dim(stored: int, options: FrontendOptions) -> int:
    """Dimension after the front end of features stored with `stored` coefficients."""
    return (min(options.num_ceps, stored) if options.num_ceps else stored) * (options.delta_order + 1)


def _slope(feats: np.ndarray, window: int) -> np.ndarray:
    """Regression slope (T - 2 window, D) float32 at every frame of (T, D) that has a whole window."""
    length = len(feats) - 2 * window
    total = np.zeros((length, feats.shape[1]), dtype=np.float32)
    for j in range(1, window + 1):
        total += np.float32(j) * (feats[window + j : window + j + length] - feats[window - j : window - j + length])
    return total / np.float32(2 * sum(j * j for j in range(1, window + 1)))


def _deltas_inside(padded: np.ndarray, window: int, order: int) -> np.ndarray:
    """[x, slope, slope of slope ...] (T, D (order + 1)) of x (T + 2 order window, D) that brings its own context."""
    frames = len(padded) - 2 * order * window
    parts, current = [padded[order * window : order * window + frames]], padded
    for above in range(order - 1, -1, -1):
        current = _slope(current, window)
        parts.append(current[above * window : above * window + frames])
    return np.concatenate(parts, axis=1)


def cmn_windows(times: np.ndarray, frames: int, options: FrontendOptions) -> tuple[np.ndarray, np.ndarray]:
    """First frame and end (exclusive) of the window of each of `times`, in a file of `frames` frames; int arrays.

    Kaldi: SlidingWindowCmn. At the ends a centred window is shifted, not shrunk; a left window (which holds
    cmn_window + 1 frames) starts with min_cmn_window frames.
    """
    if options.center:
        first = times - options.cmn_window // 2
        shift = np.maximum(-first, 0)
        first, end = first + shift, first + options.cmn_window + shift
    else:
        first = np.maximum(times - options.cmn_window, 0)
        end = np.maximum(times + 1, options.min_cmn_window)
    beyond = np.maximum(end - frames, 0)
    return np.maximum(first - beyond, 0), end - beyond


def _normalise(slab: np.ndarray, rows: np.ndarray, first: np.ndarray, end: np.ndarray, norm_vars: bool) -> np.ndarray:
    """Rows of slab (S, C) minus the means of slab[first:end], in double precision from cumulative sums."""
    x = slab.astype(np.float64)
    x -= x.mean(axis=0)  # changes nothing but round-off: sums of squares must not cancel
    count = (end - first)[:, None]

    def window_mean(values: np.ndarray) -> np.ndarray:
        """Means (R, C) of values (S, C) over the window of each row."""
        sums = np.zeros((len(values) + 1, values.shape[1]))
        np.cumsum(values, axis=0, out=sums[1:])
        return (sums[end] - sums[first]) / count

    mean = window_mean(x)
    out = x[rows] - mean
    if norm_vars:
        variance = np.maximum(window_mean(x * x) - mean * mean, VARIANCE_FLOOR)
        out *= np.where(count == 1, 0.0, 1.0 / np.sqrt(variance))  # one frame has no variance: Kaldi gives 0
    return out


def _normalise_columns(
    slab: np.ndarray, offset: int, times: np.ndarray, frames: int, options: FrontendOptions
) -> np.ndarray:
    """Normalised frames `times` (V, C) float32; slab holds the frames of the file from `offset` on."""
    if options.cmn_window == 0:
        return slab[times - offset]
    first, end = cmn_windows(times, frames, options)
    out = np.empty((len(times), slab.shape[1]), dtype=np.float32)
    group = max(1, GROUP_ELEMENTS // max(1, len(slab)))
    for start in range(0, slab.shape[1], group):
        columns = slice(start, start + group)
        out[:, columns] = _normalise(slab[:, columns], times - offset, first - offset, end - offset, options.norm_vars)
    return out


def frontend(feats: np.ndarray, voiced: np.ndarray, options: FrontendOptions) -> np.ndarray:
    """Stored features (T, D) and decisions (T,) -> voiced, normalised features (V, D') float32.

    voiced: bool, or the decisions of vad.scp, whose digital silence (-0) is bridged as the module says.

    The one read-time function of UBM, extractor, TDNN and extraction. Raises InputError when the lengths differ, when
    no frame is voiced, or when fewer than --num-ceps coefficients are stored.
    """
    if len(voiced) != len(feats):
        expected, cure = "one decision per frame", rerun("features", "feats.scp and vad.scp are of different runs")
        raise InputError("front end", f"{len(voiced)} voicing decisions for {len(feats)} frames", expected, cure)
    if not np.any(voiced):
        found, expected = f"no voiced frame among {len(feats)}", "at least one voiced frame"
        raise InputError("front end", found, expected, "Leave the recording out, or lower --vad-energy-threshold")
    return frontend_chunk(lambda start, end: feats[start:end], voiced, options)


def frontend_chunk(
    rows: Callable[[int, int], np.ndarray],
    voiced: np.ndarray,
    options: FrontendOptions,
    start: int = 0,
    end: int | None = None,
) -> np.ndarray:
    """Frames `start` to `end` (exclusive) of `frontend(...)`, from the stored rows they depend on and no more.

    rows(a, b): stored frames a to b (exclusive) of the recording, (b - a, D); voiced: (T,) decisions of all its frames.
    """
    if not (there := recorded(voiced)).all():
        rows, voiced = _bridged(rows(0, len(voiced)), there, voiced, options)
    frames, times = len(voiced), np.flatnonzero(voiced)[start:end]
    if len(times) == 0:
        found, cure = f"no voiced frame in {start}:{end}", "Choose a chunk inside the recording"
        raise InputError("front end", found, "at least one", cure)
    first, last = times[0], times[-1] + 1
    if options.cmn_window:
        firsts, ends = cmn_windows(times[[0, -1]], frames, options)
        first, last = min(first, firsts[0]), max(last, ends[-1])
    context = options.delta_order * options.delta_window
    below, above = min(context, first), min(context, frames - last)
    stored = _first_ceps(rows(int(first - below), int(last + above)), options.num_ceps)
    padded = np.pad(stored, ((context - below, context - above), (0, 0)), mode="edge")
    slab = _deltas_inside(padded, options.delta_window, options.delta_order)
    return _normalise_columns(slab, int(first), times, frames, options)


def _bridged(
    stored: np.ndarray, there: np.ndarray, voiced: np.ndarray, options: FrontendOptions
) -> tuple[Callable[[int, int], np.ndarray], np.ndarray]:
    """`rows` and decisions of the recording whose runs of digital silence, not `there` (T,), are BRIDGE frames of its
    background at most."""
    level = stored[there, 0] if options.feature_type == "mfcc" else stored[there].mean(1)
    since = np.arange(len(there)) - np.maximum.accumulate(np.where(there, np.arange(len(there)), -1))
    kept, bridged = since <= BRIDGE, stored.copy()
    bridged[~there] = stored[there][level <= np.quantile(level, QUIETEST)].mean(0)
    bridged = bridged[kept]
    return (lambda start, end: bridged[start:end]), voiced[kept]


def _first_ceps(stored: np.ndarray, num_ceps: int) -> np.ndarray:
    if num_ceps > stored.shape[1]:
        cure = rerun("features", "Lower --num-ceps, or store more coefficients (mfcc.conf)")
        raise InputError("front end", f"{stored.shape[1]} stored coefficients", f"at least --num-ceps={num_ceps}", cure)
    return np.asarray(stored[:, : num_ceps or None], dtype=np.float32)
