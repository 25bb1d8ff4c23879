"""What a plot shows, apart from how it is drawn: panels of numbers, each with its labels.

Drawn by pyasp.inspect.plot_figure (PNG, SVG) and pyasp.inspect.plot_text (block characters on any terminal).
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class Image:
    """values: (rows, columns), row 0 at the bottom; x: range of the columns, y: of the rows, in the labels' units."""

    title: str
    values: np.ndarray
    x: tuple[float, float]
    y: tuple[float, float]
    xlabel: str = "time (s)"
    ylabel: str = ""


@dataclass(frozen=True)
class Strip:
    """values: (columns,) over the same range as the image above it; NaN where there is none."""

    title: str
    values: np.ndarray
    x: tuple[float, float]
    xlabel: str = "time (s)"


@dataclass(frozen=True)
class Curves:
    """curves: {label: (x (n,), y (n,))}; deviates: both axes are shares, drawn as normal deviates in percent."""

    title: str
    curves: dict[str, tuple[np.ndarray, np.ndarray]]
    xlabel: str = ""
    ylabel: str = ""
    deviates: bool = False


@dataclass(frozen=True)
class Points:
    """groups: {label: (n, 2)}."""

    title: str
    groups: dict[str, np.ndarray]
    xlabel: str = ""
    ylabel: str = ""


Panel = Image | Strip | Curves | Points


@dataclass(frozen=True)
class Plot:
    """A title over panels, one below the other."""

    title: str
    panels: list[Panel] = field(default_factory=list)
