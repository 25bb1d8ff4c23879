"""Recordings of a data directory, pass after pass, as blocks of frames bounded by memory."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, MutableMapping
from dataclasses import dataclass

import numpy as np
import torch

from pyasp.core.errors import InputError, rerun
from pyasp.core.processes import rank, world
from pyasp.core.progress import bar
from pyasp.core.threads import prefetched
from pyasp.data.datadir import DataDir, c_sorted
from pyasp.features.frontend import FrontendOptions, frontend
from pyasp.kaldi import ScpReader
from pyasp.kaldi.source import remade_all

Recording = tuple[str, np.ndarray]


@dataclass(frozen=True)
class Block:
    """Some recordings. names: their ids; x: (T, D) float32, all their frames; lengths: frames of each."""

    names: list[str]
    x: torch.Tensor
    lengths: list[int]


def blocks(
    recordings: Iterable[Recording], max_frames: int, max_recordings: int = sys.maxsize, dim: int | None = None
) -> Iterator[Block]:
    """Whole recordings gathered until either bound is reached; a longer recording is a block of its own.

    recordings: (id, (V, D) float32). Raises InputError for features that are not finite, or not of `dim` columns
    (default: those of the first recording).
    """
    names: list[str] = []
    parts: list[np.ndarray] = []
    total = 0
    for name, feats in recordings:
        dim = feats.shape[-1] if dim is None else dim
        check_feats(name, feats, dim)
        if names and (len(names) == max_recordings or total + len(feats) > max_frames):
            yield _block(names, parts)
            names, parts, total = [], [], 0
        names.append(name)
        parts.append(feats)
        total += len(feats)
    if names:
        yield _block(names, parts)


def _block(names: list[str], parts: list[np.ndarray]) -> Block:
    return Block(names, torch.from_numpy(np.concatenate(parts).astype(np.float32, copy=False)), [len(p) for p in parts])


def check_feats(name: str, feats: np.ndarray, dim: int) -> None:
    """Raises InputError unless feats is (frames, dim) and finite."""
    if feats.ndim != 2 or feats.shape[1] != dim:
        found, expected = f"{feats.shape[-1]} dimensions after the front end", f"the model's {dim}"
        cure = "Use the front-end options (--num-ceps, --delta-order) of the model's training"
        raise InputError("features", found, expected, cure, item=name)
    if not np.isfinite(feats).all():
        raise InputError("features", "values that are not finite", "finite features", rerun("features"), item=name)


class Recordings:
    """All recordings of a data directory after the front end; can be gone through again and again, in C order.

    data: needs options.table and vad.scp. The first pass prints how many were used. Each pass raises InputError when
    none, or when more than `allow_fail_fraction` of them, cannot be used.
    """

    def __init__(self, data: DataDir, options: FrontendOptions, allow_fail_fraction: float = 0.0):
        data.require(options.table, "vad.scp")
        self.data, self.options, self.allowed, self.said = data, options, allow_fail_fraction, False
        self.utts = c_sorted(data.utt2spk)

    def passing(self, what: str = "", every: int = 1, shared: bool = True) -> Iterator[Recording]:
        """(id, (V, D) float32) of every usable recording; `what` names the pass in the progress bar.

        every: of so many voiced frames one is kept; shared: of several processes each goes through its part.
        """
        failed: dict[str, str] = {}
        utts = self.utts[rank() :: world()] if shared else self.utts
        stream = prefetched(iterate(self.data, self.options, utts, failed))
        for utt, feats in bar(stream, len(utts), what, "utt"):
            yield utt, feats[::every]
        self._check(len(utts), failed)

    def _check(self, count: int, failed: dict[str, str]) -> None:
        first = next(iter(failed.items()), None)
        note = f" (first: {first[0]}: {first[1]})" if first else ""
        if not self.said:
            told = f"used {count - len(failed)} of {count} recordings, {len(failed)} failed{note}"
            print(f"{self.data.path}: {told}", file=sys.stderr if failed else sys.stdout)
            self.said = True
        if len(failed) == count or len(failed) > self.allowed * count:
            found = f"{len(failed)} of {count} recordings that cannot be used{note}"
            way = "Leave them out, raise --allow-fail-fraction, or make them anew"
            cure = remade_all(failed.values()) or rerun("features", way, force=True)
            raise InputError(self.data.path, found, f"some recordings, and at most {self.allowed:.1%} unusable", cure)


def iterate(
    data: DataDir,
    options: FrontendOptions,
    utts: Iterable[str] | None = None,
    failed: MutableMapping[str, str] | None = None,
) -> Iterator[tuple[str, np.ndarray]]:
    """(utterance, (V, D') float32) of each of `utts` (default: all that have features, in their order).

    Utterances that cannot be used (no voiced frame, no entry) go into `failed` as {utterance: reason} and are left out;
    without `failed` the first of them raises InputError.
    """
    data.require(options.table, "vad.scp")
    feats, vad = ScpReader(data / options.table), ScpReader(data / "vad.scp")
    for utt in feats if utts is None else utts:
        try:
            for table, name in ((feats, options.table), (vad, "vad.scp")):
                if utt not in table:
                    found, expected, cure = "no entry", "an entry of every utterance", rerun("features")
                    raise InputError(data / name, found, expected, cure, item=utt)
            result = frontend(feats[utt], vad[utt], options)
        except InputError as error:
            if failed is None:
                cure = remade_all([f"{error}"]) or rerun("features", "See dropped.tsv")
                raise InputError(data.path, f"{error}", "usable features", cure, item=utt) from error
            failed[utt] = str(error)
        else:
            yield utt, result
