"""Plots as PNG or SVG, by matplotlib without a display."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from pyasp.core.errors import InputError
from pyasp.evaluation.det import HIGHEST, LOWEST, TICKS
from pyasp.inspect.plots import Curves, Image, Plot, Points, Strip

WIDTH = 9.0  # inches
HEIGHTS = {Image: 3.0, Strip: 1.2, Curves: 3.0, Points: 6.0}  # inches
FORMATS = {".png": {"metadata": {"Software": None}, "dpi": 110}, ".svg": {"metadata": {"Date": None}}}
MOST_LABELS = 24  # in a legend


def save(plot: Plot, path: str | Path) -> None:
    """Writes a plot to x.png or x.svg. Raises InputError for another suffix."""
    path = Path(path)
    if path.suffix not in FORMATS:
        raise InputError("--out", repr(path.name), " or ".join(FORMATS), "Name the output x.png or x.svg")
    heights = [5.0 if isinstance(panel, Curves) and panel.deviates else HEIGHTS[type(panel)] for panel in plot.panels]
    square = any(isinstance(panel, Points) or isinstance(panel, Curves) and panel.deviates for panel in plot.panels)
    figure = Figure(figsize=(6.5 if square else WIDTH, sum(heights) + 0.6), layout="constrained")
    axes = figure.subplots(len(heights), 1, squeeze=False, height_ratios=heights)[:, 0]
    for number, (panel, axis) in enumerate(zip(plot.panels, axes)):
        DRAW[type(panel)](panel, axis)
        if isinstance(panel, (Image, Strip)) and number < len(heights) - 1:
            axis.set_xlabel("")
    figure.suptitle(plot.title, fontsize="medium")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, format=path.suffix[1:], **FORMATS[path.suffix])


def _image(panel: Image, axes: Any) -> None:
    low, high = np.percentile(panel.values, (1, 99))
    axes.imshow(
        panel.values,
        origin="lower",
        aspect="auto",
        extent=(*panel.x, *panel.y),
        cmap="magma",
        vmin=low,
        vmax=high,
        interpolation="nearest",
    )
    axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
    axes.set_title(panel.title, fontsize="small", loc="left")


def _strip(panel: Strip, axes: Any) -> None:
    """Bars from the lowest value, or from zero."""
    values = panel.values
    bottom = min(0.0, float(np.nanmin(values)))
    edges = np.linspace(*panel.x, len(values) + 1)
    axes.stairs(np.nan_to_num(values, nan=bottom), edges, baseline=bottom, fill=True, color="tab:blue")
    axes.set(xlabel=panel.xlabel, xlim=panel.x)
    axes.set_title(panel.title, fontsize="small", loc="left")


def _curves(panel: Curves, axes: Any) -> None:
    for label, (x, y) in panel.curves.items():
        if panel.deviates:
            x, y = deviates(x), deviates(y)
        axes.plot(x, y, label=label, linewidth=1.3, marker="." if len(x) < 40 else None)
    if panel.deviates:
        ticks, limits = deviates(np.array(TICKS)), deviates(np.array([LOWEST, HIGHEST]))
        labels = [f"{100 * share:g}" for share in TICKS]
        axes.set_xticks(ticks, labels)
        axes.set_yticks(ticks, labels)
        axes.set(xlim=limits, ylim=limits)
    elif panel.xlabel == "epoch":
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
    axes.set_title(panel.title, fontsize="small", loc="left")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def deviates(shares: np.ndarray) -> np.ndarray:
    """Normal deviates of shares, kept within what a DET plot shows."""
    from scipy.special import ndtri

    return ndtri(np.clip(shares, LOWEST / 10, 1 - LOWEST / 10))


def _points(panel: Points, axes: Any) -> None:
    for number, (label, xy) in enumerate(panel.groups.items()):
        axes.plot(
            xy[:, 0],
            xy[:, 1],
            linestyle="none",
            marker="os^vD*PX"[number // 10 % 8],
            markersize=4,
            label=label,
            color=f"C{number % 10}",
        )
    axes.set(xlabel=panel.xlabel, ylabel=panel.ylabel)
    axes.grid(alpha=0.3)
    if len(panel.groups) <= MOST_LABELS:
        axes.legend(fontsize="x-small", ncols=2)


DRAW: dict[type, Callable[[Any, Any], None]] = {Image: _image, Strip: _strip, Curves: _curves, Points: _points}
