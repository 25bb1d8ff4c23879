"""Plots as text: block characters, for any terminal that knows UTF-8, a pipe or a log."""

from __future__ import annotations

import string
from collections.abc import Callable

import numpy as np

from pyasp.evaluation.det import HIGHEST, LOWEST
from pyasp.inspect.plots import Curves, Image, Panel, Plot, Points, Strip

SHADES = " ░▒▓█"
BARS = " ▁▂▃▄▅▆▇█"
MARKS = "*o+x#@%&=~" + string.ascii_uppercase + string.ascii_lowercase
MARGIN = 9  # columns of the axis labels at the left
HEIGHT = 16  # lines of an image, of curves or of points


def render(plot: Plot, width: int) -> list[str]:
    """Lines of at most `width` columns (at least 40)."""
    columns = max(width, 40) - MARGIN - 1
    lines = [plot.title[: max(width, 40)]]
    for panel in plot.panels:
        lines += ([panel.title[: max(width, 40)]] if panel.title else []) + DRAW[type(panel)](panel, columns)
    return lines


def resized(values: np.ndarray, columns: int) -> np.ndarray:
    """Means of (..., n) over `columns` stretches of the last axis (repeated where n is smaller); NaN left out."""
    n = values.shape[-1]
    edges = np.linspace(0, n, columns + 1)
    first = np.floor(edges[:-1]).astype(int)
    last = np.maximum(np.ceil(edges[1:]).astype(int), first + 1)
    real = np.isfinite(values)
    sums, counts = (
        np.concatenate([np.zeros((*values.shape[:-1], 1)), np.cumsum(each, axis=-1)], axis=-1)
        for each in (np.where(real, values, 0.0), real.astype(np.float64))
    )
    with np.errstate(invalid="ignore"):
        return (sums[..., last] - sums[..., first]) / (counts[..., last] - counts[..., first])


def _levels(values: np.ndarray, characters: str, low: float, high: float) -> np.ndarray:
    """Characters for values between low and high; blank for NaN."""
    scaled = np.clip((values - low) / (high - low if high > low else 1.0), 0.0, 1.0)
    number = np.where(np.isfinite(values), np.nan_to_num(scaled) * (len(characters) - 1) + 0.5, 0).astype(int)
    return np.array(list(characters))[np.minimum(number, len(characters) - 1)]


def _framed(
    rows: list[str], y: tuple[float, float], x: tuple[float, float], xlabel: str, columns: int, ylabel: str = ""
) -> list[str]:
    """Rows (the top one first) with the ends of both axes."""
    labels = [""] * len(rows)
    labels[0], labels[-1] = f"{y[1]:.4g}", f"{y[0]:.4g}"
    if len(rows) > 2:
        labels[len(rows) // 2] = ylabel[: MARGIN - 1]
    lines = [f"{label[:MARGIN].rjust(MARGIN)}▕{row}" for label, row in zip(labels, rows)]
    left, right = f"{x[0]:.4g}", f"{x[1]:.4g}"
    middle = xlabel[: max(columns - len(left) - len(right) - 2, 0)].center(columns - len(left) - len(right))
    return [*lines, " " * (MARGIN + 1) + left + middle + right]


def _image(panel: Image, columns: int) -> list[str]:
    height = min(HEIGHT, panel.values.shape[0])
    small = resized(resized(panel.values, columns).T, height).T
    low, high = np.nanpercentile(small, (5, 98))
    rows = ["".join(_levels(row, SHADES, low, high)) for row in small[::-1]]
    return _framed(rows, panel.y, panel.x, panel.xlabel, columns, panel.ylabel)


def _strip(panel: Strip, columns: int) -> list[str]:
    """Bars two lines high."""
    values = resized(panel.values, columns)
    low, high = min(0.0, float(np.nanmin(values))), float(np.nanmax(values))
    half = (high - low) / 2 if high > low else 0.5
    rows = ["".join(_levels(values, BARS, low + half, low + 2 * half)), "".join(_levels(values, BARS, low, low + half))]
    return _framed(rows, (low, high), panel.x, panel.xlabel, columns)


def _scatter(
    groups: dict[str, tuple[np.ndarray, np.ndarray]],
    columns: int,
    x_range: tuple[float, float],
    y_range: tuple[float, float],
) -> list[str]:
    """A grid of marks, one for each group; the last one drawn wins."""
    grid = np.full((HEIGHT, columns), " ")
    for mark, (x, y) in zip(_marks(len(groups)), groups.values()):
        inside = (x >= x_range[0]) & (x <= x_range[1]) & (y >= y_range[0]) & (y <= y_range[1])
        places = [
            np.round((values[inside] - start) / (end - start if end > start else 1.0) * (size - 1)).astype(int)
            for values, (start, end), size in ((x, x_range, columns), (y, y_range, HEIGHT))
        ]
        grid[HEIGHT - 1 - places[1], places[0]] = mark
    return ["".join(row) for row in grid]


def _marks(count: int) -> str:
    """One character a group, from MARKS again when they are used up."""
    return (MARKS * (count // len(MARKS) + 1))[:count]


def _legend(labels: list[str], columns: int) -> list[str]:
    """Marks and their labels, in lines."""
    lines, current = [], ""
    for mark, label in zip(_marks(len(labels)), labels):
        item = f"{mark} {label}"
        if current and len(current) + 3 + len(item) > columns:
            lines, current = [*lines, current], item
        else:
            current = f"{current}   {item}" if current else item
    return [" " * (MARGIN + 1) + text[:columns] for text in [*lines, current]]


def _range(values: list[np.ndarray]) -> tuple[float, float]:
    every = np.concatenate(values)
    return float(every.min()), float(every.max())


def _curves(panel: Curves, columns: int) -> list[str]:
    curves, x_range, y_range = panel.curves, None, None
    if panel.deviates:
        from pyasp.inspect.plot_figure import deviates

        curves = {label: (deviates(x), deviates(y)) for label, (x, y) in curves.items()}
        x_range = y_range = tuple(deviates(np.array([LOWEST, HIGHEST])))
    dense = {label: _dense(x, y, columns) for label, (x, y) in curves.items()}
    x_range = x_range or _range([x for x, _ in dense.values()])
    y_range = y_range or _range([y for _, y in dense.values()])
    rows = _scatter(dense, columns, x_range, y_range)
    ends = (100 * LOWEST, 100 * HIGHEST) if panel.deviates else None
    return [
        *_framed(rows, ends or y_range, ends or x_range, panel.xlabel, columns, "" if panel.deviates else panel.ylabel),
        *_legend(list(curves), columns),
    ]


def _dense(x: np.ndarray, y: np.ndarray, columns: int) -> tuple[np.ndarray, np.ndarray]:
    """Points along the curve, near enough to each other for the grid."""
    if len(x) < 2:
        return np.asarray(x, np.float64), np.asarray(y, np.float64)
    steps = np.linspace(0, len(x) - 1, max(4 * columns, len(x)))
    return np.interp(steps, np.arange(len(x)), x), np.interp(steps, np.arange(len(y)), y)


def _points(panel: Points, columns: int) -> list[str]:
    groups = {label: (xy[:, 0], xy[:, 1]) for label, xy in panel.groups.items()}
    x_range, y_range = (_range([pair[axis] for pair in groups.values()]) for axis in (0, 1))
    rows = _scatter(groups, columns, x_range, y_range)
    return [*_framed(rows, y_range, x_range, panel.xlabel, columns), *_legend(list(groups), columns)]


DRAW: dict[type, Callable[[Panel, int], list[str]]] = {Image: _image, Strip: _strip, Curves: _curves, Points: _points}
