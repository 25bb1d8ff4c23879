"""The back end that held-out training speakers favour: `--scoring=auto`.

The speakers fall into folds by their numbers' random order. Each back end is trained on the other folds' recordings and
scores every pair of the fold's own; copies are never scored. Its figure is the mean over the folds of their equal error
rates, weighted by their target pairs. The settings as they are (PLDA), without copies where that has a slightly lower
figure, stay unless another back end has a clearly lower one: with few speakers differences are mostly chance. For
cosine without whitening, of which only the mean is trained, slightly lower is enough with less than FEW_SPEAKERS
(conf/folder/measurements.md has the figures).

Speakers that a network was trained on are easier to tell apart than others; figures of a network's vectors are lower
than those of new speakers, whatever the back end, and flatter the one most in which most is trained.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from pyasp.backend import model
from pyasp.backend.options import BackendTrainOptions, ScoreOptions
from pyasp.backend.scoring import SCORERS
from pyasp.core.errors import InputError

FOLDS = 5
FEWEST_SPEAKERS = 10  # with fewer nothing can be told from held-out ones
MOST_SPEAKERS = 300  # enough to tell, and soon done
CLEARLY = 0.8  # of the figure of the settings as they are
SLIGHTLY = 0.95  # of that figure, for the same back end without copies
FEW_SPEAKERS = 500  # with fewer a slight lead is enough for cosine that trains the mean alone; with 1000 PLDA is better
WITHOUT_COPIES = "PLDA on clean recordings"

Choice = tuple[BackendTrainOptions, str]


def candidates(options: BackendTrainOptions, speakers: int, dim: int, copies: bool) -> dict[str, Choice]:
    """{name: (training options, scoring)}; the first are the settings as they are. An LDA of the user's stays."""
    found = {"PLDA": (options, "plda")}
    if copies and options.train_copies:
        found[WITHOUT_COPIES] = (replace(options, train_copies=False), "plda")
    found["cosine"] = (options, "cosine")
    if options.lda_dim:
        return found
    other = replace(options, whitening=not options.whitening)
    name = "without" if options.whitening else "with"
    found[f"PLDA {name} whitening"], found[f"cosine {name} whitening"] = (other, "plda"), (other, "cosine")
    reduced = min(dim, speakers - 1) // 2
    if reduced >= 2:
        lda = replace(options, lda_dim=reduced)
        found[f"LDA to {reduced}, PLDA"], found[f"LDA to {reduced}, cosine"] = (lda, "plda"), (lda, "cosine")
    return found


def equal_error(targets: np.ndarray, nontargets: np.ndarray) -> float:
    """Where the shares of targets below and of nontargets at or above a threshold meet, in [0, 1]."""
    thresholds = np.sort(targets)
    miss = np.arange(len(thresholds)) / len(thresholds)
    false = 1.0 - np.searchsorted(np.sort(nontargets), thresholds) / len(nontargets)
    return float(np.maximum(miss, false).min())


def fold_error(choice: Choice, train: tuple[np.ndarray, np.ndarray], test: tuple[np.ndarray, np.ndarray]) -> float:
    """The error of a back end trained on (vectors, labels) over all pairs of other speakers' (vectors, labels)."""
    options, scoring = choice
    _, labels = np.unique(train[1], return_inverse=True)
    back_end = model.train(train[0], labels, options, log=lambda *_: None)
    ready, ones = back_end.process(test[0]), np.ones(len(test[0]), np.int64)
    rows, columns = np.triu_indices(len(ready), 1)
    scores = SCORERS[scoring](ready, ones, ready, back_end.plda, ScoreOptions()).pairs(rows, columns)
    same = test[1][rows] == test[1][columns]
    return equal_error(scores[same], scores[~same])


def folds(labels: np.ndarray, clean: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """(rows to train on, clean rows to score) of each fold in which there are pairs of both kinds."""
    speakers = np.random.default_rng(1).permutation(np.unique(labels))[:MOST_SPEAKERS]
    for fold in range(FOLDS):
        ours = np.isin(labels, speakers[fold::FOLDS])
        counts = np.unique(labels[ours & clean], return_counts=True)[1]
        if len(counts) > 1 and counts.max() > 1:
            yield np.isin(labels, speakers) & ~ours, ours & clean


def evidence(
    vectors: np.ndarray, labels: np.ndarray, clean: np.ndarray, options: BackendTrainOptions
) -> dict[str, tuple[float, Choice]]:
    """{name: (error in percent on held-out speakers, back end)}; without those that cannot be trained on a fold.

    vectors (N, D), labels (N,) numbers of the speakers, clean (N,) false for augmented copies.
    """
    parts = list(folds(labels, clean))
    if len(np.unique(labels)) < FEWEST_SPEAKERS or not parts:
        return {}
    fewest = min(len(np.unique(labels[train])) for train, _ in parts)
    weights = [sum(n * (n - 1) / 2 for n in np.unique(labels[test], return_counts=True)[1]) for _, test in parts]
    found = {}
    for name, choice in candidates(options, fewest, vectors.shape[1], not clean.all()).items():
        try:
            errors = []
            for train, test in parts:
                train = train if choice[0].train_copies else train & clean
                errors.append(fold_error(choice, (vectors[train], labels[train]), (vectors[test], labels[test])))
            found[name] = 100 * float(np.average(errors, weights=weights)), choice
        except InputError:  # too few recordings for it in some fold
            continue
    return found


def choose(
    vectors: np.ndarray, labels: np.ndarray, clean: np.ndarray, options: BackendTrainOptions
) -> tuple[Choice, str]:
    """The back end for these training vectors, and the sentence that tells why; arguments as `evidence`."""
    found, speakers = evidence(vectors, labels, clean, options), len(np.unique(labels))
    if "PLDA" not in found:
        return (options, "plda"), f"back end: PLDA; too few training speakers ({speakers}) to compare others"

    def lower(name: str, share: float, other: str) -> bool:
        return name in found and found[name][0] < share * found[other][0]

    usual = WITHOUT_COPIES if lower(WITHOUT_COPIES, SLIGHTLY, "PLDA") else "PLDA"
    best = min(found, key=lambda name: (found[name][0], name))
    least_trained = "cosine without whitening" if options.whitening else "cosine"
    name = usual
    if lower(best, CLEARLY, usual):
        name = best
    elif speakers < FEW_SPEAKERS and lower(least_trained, SLIGHTLY, usual):
        name = least_trained
    figures = ", ".join(f"{each} {error:.1f} %" for each, (error, _) in found.items())
    kept = "" if name != usual else ", no other is clearly better"
    why = f"{kept}. EER of training speakers held out of the back end, not of what made the vectors: {figures}"
    return found[name][1], f"back end: {name}{why}. They compare back ends; of new speakers the report tells"
