"""DET curves, drawn without a display.

Reference: Martin et al., "The DET curve in assessment of detection task performance" (Eurospeech 1997).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.stats import norm

TICKS = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8)  # shares that are labelled, in percent
LOWEST, HIGHEST = 5e-5, 0.9  # shares at the ends of both axes

Curves = Mapping[str, Mapping[str, Mapping[str, list[float]]]]  # {list: {system: {"p_fa": [...], "p_miss": [...]}}}


def draw(curves: Curves, path: str | Path) -> None:
    """One panel per trial list, one line per system, both axes in normal deviates; a PNG at `path`."""
    columns = min(3, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(4.8 * columns, 4.6 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    for number, (name, systems) in enumerate(curves.items(), 1):
        _panel(figure.add_subplot(rows, columns, number), name, systems)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})


def _panel(axes, name: str, systems: Mapping[str, Mapping[str, list[float]]]) -> None:
    for system, curve in systems.items():
        p_fa, p_miss = (norm.ppf(np.clip(curve[key], LOWEST / 10, 1 - LOWEST / 10)) for key in ("p_fa", "p_miss"))
        axes.plot(p_fa, p_miss, label=system, linewidth=1.2)
    ticks, labels = norm.ppf(TICKS), [f"{100 * share:g}" for share in TICKS]
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)
    limits = norm.ppf([LOWEST, HIGHEST])
    axes.plot(limits, limits, color="0.7", linewidth=0.6)
    axes.set(
        title=name, xlabel="false alarms (% of nontargets)", ylabel="misses (% of targets)", xlim=limits, ylim=limits
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")
