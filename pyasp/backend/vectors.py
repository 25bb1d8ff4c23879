"""Vectors of recordings, one each, as the back end takes them from an archive."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from pyasp.core.errors import InputError


def load_embeddings(reader: Mapping[str, np.ndarray], utterances: Iterable[str], where: object) -> np.ndarray:
    """Embeddings of `utterances` as rows (N, D) float32.

    Raises InputError when some are missing (count and first ones), differ in dimension or hold a number that is none.
    """
    utterances = list(utterances)
    missing = [utt for utt in utterances if utt not in reader]
    if missing:
        raise InputError(
            where,
            f"no embedding for {len(missing)} of {len(utterances)} utterances (first: {', '.join(missing[:3])})",
            "one for each",
            "Extract them (stage 8) or correct the lists",
        )
    if not utterances:
        raise InputError(where, "no utterances", "at least one", "Check the lists")
    rows = np.empty((len(utterances), np.asarray(reader[utterances[0]]).size), np.float32)
    for row, utt in zip(rows, utterances):
        vector = np.asarray(reader[utt])
        if vector.shape != row.shape or not np.isfinite(vector).all():
            raise InputError(
                where,
                f"shape {vector.shape}, {int((~np.isfinite(vector)).sum())} values not finite",
                f"{len(row)} finite values",
                "Extract this utterance again",
                item=utt,
            )
        row[:] = vector
    return rows


def with_embedding(
    utterances: list[str], reader: Mapping[str, np.ndarray], max_missing: float, where: object
) -> list[str]:
    """Those of `utterances` that have an embedding. InputError when more than the share `max_missing` have none."""
    missing = [utt for utt in utterances if utt not in reader]
    if len(missing) > max_missing * len(utterances):
        raise InputError(
            where,
            f"no embedding for {len(missing)} of {len(utterances)} utterances (first: {', '.join(missing[:3])})",
            f"at most a share of {max_missing:g} missing",
            "Extract them (stage 8), or raise --max-missing",
        )
    extra = len(reader) + len(missing) - len(utterances)
    if extra:
        print(f"{where}: {extra} of {len(reader)} embeddings are not listed for training and not used")
    if missing:
        print(
            f"done {len(utterances) - len(missing)} of {len(utterances)} training utterances, {len(missing)} failed "
            f"(first: {missing[0]}: no embedding)"
        )
    return [utt for utt in utterances if utt in reader]
