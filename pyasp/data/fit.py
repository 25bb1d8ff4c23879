"""Sizes that fit the data: what `auto` in a conf file stands for, from the training set's voiced frames.

A rule is a function of the facts below; its measurements stand in conf/folder/measurements.md. What it decides depends
on the training set and its own line alone, so that a resumed run decides the same; an option with another value than
`auto` is the user's and stays. `auto` of an option that knows it itself (--store, --device) is not touched.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

FRAMES_PER_GAUSSIAN = 2600  # voiced frames of 10 ms; a full covariance of 60 dimensions has 1830 numbers
FEWEST_GAUSSIANS, MOST_GAUSSIANS = 4, 2048
IVECTOR_DIMS = {0: 20, 250: 50, 1000: 100, 5000: 200, 50000: 400}  # from so many recordings on
NETWORKS = {0: (128, 384, 128), 1000: (256, 512, 256), 5000: (512, 1500, 512)}  # by speakers; the paper's last
STEPS = 1500  # batches of 64 chunks that a network is trained on, where that is more than an epoch
BATCH = 64
AUTO = re.compile(r"^(\s*--)([a-z0-9-]+)(\s*=\s*)auto\b")


@dataclass(frozen=True)
class Facts:
    """Of the recordings of a training set that are long enough. frames: voiced ones of all; median: of a recording;
    least: voiced frames from which a recording is long enough."""

    speakers: int
    recordings: int
    frames: int
    median: int
    least: int

    @classmethod
    def of(cls, utt2spk: Mapping[str, str], voiced: Mapping[str, int]) -> Facts:
        """Of the recordings that have voiced frames: {utterance: speaker}, {utterance: voiced frames}."""
        lengths = {utt: voiced[utt] for utt in utt2spk if voiced.get(utt, 0) > 0}
        median = int(np.median(list(lengths.values()))) if lengths else 0
        least = shortest(median)
        kept = [utt for utt, frames in lengths.items() if frames >= least]
        frames = sum(lengths[utt] for utt in kept)
        return cls(len({utt2spk[utt] for utt in kept}), len(kept), frames, median, least)

    def __str__(self) -> str:
        return (
            f"{self.speakers} speakers, {self.recordings} recordings, {self.frames / 360000:.2f} h of voice, "
            f"{self.median / 100:.2f} s in the median recording"
        )


def shortest(median: int) -> int:
    """Voiced frames that a recording needs: a quarter of the median's, so that words of a second count."""
    return max(10, min(100, median // 4))


def from_table(table: Mapping[int, object], size: int):
    """The entry of the largest key that `size` reaches."""
    return table[max(key for key in table if key <= size)]


def gaussians(facts: Facts) -> int:
    """The power of two that is nearest to giving every Gaussian its frames, as a ratio."""
    wanted = max(1.0, facts.frames / FRAMES_PER_GAUSSIAN)
    return max(FEWEST_GAUSSIANS, min(MOST_GAUSSIANS, 1 << round(math.log2(wanted))))


def longest_chunk(facts: Facts) -> int:
    """Frames: a good part of most recordings."""
    return max(60, min(300, facts.median))


def epochs(facts: Facts, copies: int = 2) -> int:
    """As many as make STEPS batches, recordings and their copies being drawn about once an epoch."""
    frames_a_batch = BATCH * 0.75 * longest_chunk(facts)
    return max(5, min(60, round(STEPS * frames_a_batch / max(1, copies * facts.frames))))


# What `auto` stands for, by the name of the option.
RULES: dict[str, Callable[[Facts], int]] = {
    "min-voiced-ubm": lambda facts: facts.least,
    "min-voiced": lambda facts: facts.least,
    "num-gauss": gaussians,
    "subsample": lambda facts: from_table({0: 1, 1_000_000: 2, 5_000_000: 5}, facts.frames),
    "ivector-dim": lambda facts: from_table(IVECTOR_DIMS, facts.recordings),
    "frame-dim": lambda facts: from_table(NETWORKS, facts.speakers)[0],
    "pooling-dim": lambda facts: from_table(NETWORKS, facts.speakers)[1],
    "embedding-dim": lambda facts: from_table(NETWORKS, facts.speakers)[2],
    "segment-dim": lambda facts: from_table(NETWORKS, facts.speakers)[2],
    "min-chunk": lambda facts: longest_chunk(facts) // 2,
    "max-chunk": longest_chunk,
    "epochs": epochs,
}


# The same at the smallest and at the largest training set: what fits neither of them will fit none.
EXTREMES = [
    {key: rule(facts) for key, rule in RULES.items()} for facts in (Facts(2, 2, 1, 1, 10), Facts(*[1 << 30] * 5))
]


def fitted(text: str, facts: Facts) -> tuple[str, dict[str, int]]:
    """A conf file's text with the rules' values in place of `auto`, and {option: value} of those."""
    lines, chosen = [], {}
    for line in text.splitlines():
        if (found := AUTO.match(line)) and (key := found[2]) in RULES:
            chosen[key] = RULES[key](facts)
            line = f"{found[1]}{key}{found[3]}{chosen[key]}{line[found.end() :]}"
        lines.append(line)
    return "\n".join(lines) + "\n", chosen
