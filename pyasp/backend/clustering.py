"""Agglomerative clustering of the segments of one recording by average linkage (Kaldi agglomerative-cluster).

Reference: Kaldi agglomerative-clustering.h. The cost of two segments is minus their score; the cost of two clusters is
the mean over their pairs. The cheapest pair is merged until none costs at most the threshold.
"""

from __future__ import annotations

import heapq

import numpy as np


def agglomerate(scores: np.ndarray, threshold: float = 0.0, min_clusters: int = 1) -> np.ndarray:
    """Labels (N,) from 1 for segments with pairwise `scores` (N, N) (the upper triangle is read).

    Clusters are merged while their mean score is at least `threshold` and more than `min_clusters` are left. Labels
    follow the age of the clusters: untouched segments first, then merged clusters in the order they were made.
    """
    costs = {(i, j): -float(scores[i, j]) for i in range(len(scores)) for j in range(i + 1, len(scores))}
    queue = [(cost, pair) for pair, cost in costs.items() if cost <= -threshold]
    heapq.heapify(queue)
    members = {number: [number] for number in range(len(scores))}
    newest = len(scores)
    while queue and len(members) > min_clusters:
        _, (i, j) = heapq.heappop(queue)
        if i in members and j in members:
            _merge(members, costs, queue, (i, j), newest, -threshold)
            newest += 1
    labels = np.empty(len(scores), np.int32)
    for label, number in enumerate(sorted(members), 1):
        labels[members[number]] = label
    return labels


def _merge(
    members: dict[int, list[int]],
    costs: dict[tuple[int, int], float],
    queue: list,
    pair: tuple[int, int],
    new: int,
    limit: float,
) -> None:
    """Replaces the two clusters of `pair` by `new`; `costs` holds sums over pairs of segments."""
    i, j = pair
    merged = members.pop(i) + members.pop(j)
    for other, segments in members.items():
        total = sum(costs[min(k, other), max(k, other)] for k in (i, j))
        costs[other, new] = total
        mean = total / (len(merged) * len(segments))
        if mean <= limit:
            heapq.heappush(queue, (mean, (other, new)))
    members[new] = merged
