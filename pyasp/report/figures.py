"""Drawings of the report as SVG that lives inside a page: lines and text take the page's colour, light or dark.

Reference for DET curves: Martin et al., "The DET curve in assessment of detection task performance" (Eurospeech 1997).
Each drawing is one small panel, legible at the width of a phone; legends stand in the page (`colours`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:  # they take half a second, for which --help need not wait
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Curves = Mapping[str, Mapping[str, Any]]  # {system: {"p_fa": [...], "p_miss": [...], "band": ...}}
Colours = Mapping[str, str]  # {system: colour}
Points = Mapping[str, list[tuple[str, float, float]]]  # {system: [(marker, P_fa, P_miss)]}
Values = Mapping[str, list[float | None]]  # {system: a value a class}
Lines = Mapping[str, tuple[Sequence[float], Sequence[float], str, str]]  # {name: (x, y, colour, line style)}

TICKS = (0.0001, 0.001, 0.01, 0.05, 0.2, 0.4, 0.6, 0.8)  # shares that DET axes label, in percent
LOWEST, HIGHEST = 5e-5, 0.9  # shares at the ends of both DET axes
TRAINING = {  # what a network's training is shown by: values of its train.jsonl, and the rest of the title
    "loss": (("loss", "valid_loss"), ": training (solid) and validation (dashed), nats"),
    "validation accuracy": (("valid_accuracy",), ", share of the recordings"),
    "learning rate": (("learning_rate",), ""),
}
INK = "#010203"  # replaced by the page's text colour
PALETTE = ("#3d8bd4", "#e08a1e", "#22a079", "#c2649a", "#d8572a", "#8a7fd6", "#5fb3d9", "#a0a53a", "#b07b4f", "#7f8c99")
STYLE: dict[Any, object] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pyasp",
    "font.size": 9,
    "font.family": "sans-serif",
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "lines.linewidth": 1.5,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.6,
    "axes.grid": True,
    "axes.axisbelow": True,
}


def colours(names: list[str]) -> dict[str, str]:
    """{name: colour}; names beyond the palette start it again."""
    return {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(names)}


def svg(draw: Callable[[Figure], None], prefix: str, label: str, size: tuple[float, float]) -> str:
    """What `draw` puts on a figure, as an <svg> element of the page; `prefix` keeps its ids apart from other
    figures'."""
    import matplotlib
    from matplotlib.backends.backend_svg import FigureCanvasSVG
    from matplotlib.figure import Figure

    stream, nothing = io.StringIO(), dict.fromkeys(("Date", "Creator", "Format", "Type"))
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        FigureCanvasSVG(figure)
        draw(figure)
        figure.savefig(stream, format="svg", transparent=True, metadata=nothing)
    text = stream.getvalue()
    text = re.sub(r"<metadata>.*?</metadata>", "", text[text.index("<svg") :], flags=re.S)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = re.sub(r'(url\(|href=")#', rf"\1#{prefix}-", text).replace(INK, "currentColor")
    text = re.sub(r"(?<=\.\d\d)\d+", "", text)  # a hundredth of a point is fine enough
    spaces = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    opening = rf'<svg {spaces} viewBox="\1" role="img" aria-label="{label}">'
    return re.sub(r'<svg [^>]*?viewBox="([^"]+)"[^>]*>', opening, text, count=1)


def _probit(shares: Any, low: float = LOWEST / 10, high: float = 1 - LOWEST / 10) -> np.ndarray:
    """Normal deviates of shares, those beyond `low` and `high` on the edge."""
    from scipy.special import ndtri

    return ndtri(np.clip(np.asarray(shares, float), low, high))


def det_panel(
    axes: Axes, curves: Curves, colour: Colours, dashed: Collection[str] = (), points: Points | None = None
) -> None:
    """DET curves with their bands, both axes in normal deviates; `dashed`: variants, drawn without a band."""
    for system, curve in curves.items():
        thin, own = system in dashed, colour[system]
        if (band := curve.get("band")) and not thin:
            x, low, high = (_probit(band[key]) for key in ("p_fa", "low", "high"))
            axes.fill_between(x, low, high, alpha=0.10, linewidth=0, color=own)
        x, y, style = _probit(curve["p_fa"]), _probit(curve["p_miss"]), "--" if thin else "-"
        axes.plot(x, y, style, linewidth=1.0 if thin else 1.5, label=system, color=own)
        for marker, *shares in (points or {}).get(system, ()):
            place = _probit(shares, LOWEST, HIGHEST)  # on the edge where there is no error
            axes.plot(*place, marker, markersize=4.5, markeredgewidth=0.8, clip_on=False, color=own)
    ticks, labels, limits = _probit(TICKS), [f"{100 * share:g}" for share in TICKS], _probit([LOWEST, HIGHEST])
    axes.set_xticks(ticks, labels)
    axes.set_yticks(ticks, labels)
    axes.plot(limits, limits, color=INK, linewidth=0.6, alpha=0.4)
    axes.set(xlabel="false alarms, % of nontargets", ylabel="misses, % of targets", xlim=limits, ylim=limits)


def det(figure: Figure, *drawn: Any) -> None:
    """One `det_panel`."""
    det_panel(figure.add_subplot(), *drawn)


def det_lists(lists: Mapping[str, Curves], figure: Figure, columns: int = 3) -> None:
    """One panel per trial list, one line per system, with legends; lists: {list: {system: curve}}."""
    rows, columns = _grid(lists, columns)
    for number, (name, curves) in enumerate(lists.items(), 1):
        axes = figure.add_subplot(rows, columns, number)
        det_panel(axes, {system: {**curve, "band": None} for system, curve in curves.items()}, colours(list(curves)))
        axes.set_title(name)
        axes.grid(alpha=0.3)
        axes.legend(fontsize="small")


def _grid(lists: Collection[str], columns: int) -> tuple[int, int]:
    """Rows and columns of panels, at most `columns` of these."""
    columns = min(columns, len(lists))
    return -(-len(lists) // columns), columns


def draw_det(lists: Mapping[str, Curves], path: str | Path) -> None:
    """`det_lists` as a PNG at `path`."""
    from matplotlib.figure import Figure

    rows, columns = _grid(lists, 3)
    figure = Figure(figsize=(4.8 * columns, 4.6 * rows), layout="constrained")
    det_lists(lists, figure)
    figure.savefig(path, format="png", dpi=110, metadata={"Software": None})


def histogram(figure: Figure, scores: Mapping[str, list[float]], thresholds: Mapping[str, float], colour: str) -> None:
    """Histograms of target and nontarget scores, thresholds as lines; scores: evaluation.histograms."""
    axes = figure.add_subplot()
    edges = np.array(scores["edges"])
    axes.stairs(scores["nontarget"], edges, color=INK, alpha=0.55, fill=False, linewidth=1.0)
    axes.stairs(scores["target"], edges, color=colour, fill=True, alpha=0.55)
    top = max(max(scores["target"]), max(scores["nontarget"]))
    for name, x in thresholds.items():
        if edges[0] <= x <= edges[-1]:
            axes.axvline(x, color=INK, linewidth=0.8, linestyle=":")
            side = "right" if x <= 0 else "left"  # the two labels leave each other room
            axes.text(x, top * 1.02, f" {name} ", fontsize=7, va="bottom", alpha=0.8, ha=side)
    axes.set(xlabel="score", ylabel="share of the class", yticks=[], ylim=(0, top * 1.12))


def intervals(figure: Figure, rows: list[tuple[str, float, list[float] | None, float | None, str]]) -> None:
    """A dot and a bar for each (name, value, ends, the paper's value, colour), the first on top; hollow: the paper."""
    axes, places = figure.add_subplot(), range(len(rows))[::-1]
    for place, (_, value, ends, paper, colour) in zip(places, rows):
        if ends:
            axes.plot(ends, [place, place], color=colour, linewidth=3, alpha=0.35, solid_capstyle="round")
        axes.plot(value, place, "o", color=colour, markersize=5)
        if paper is not None:
            axes.plot(paper, place, "D", color=colour, markersize=5, fillstyle="none")
    axes.set_yticks(list(places), [name for name, *_ in rows])
    axes.set(xlabel="EER, %", xlim=(0, None), ylim=(-0.6, len(rows) - 0.4))
    axes.grid(axis="y", visible=False)


def by_class(figure: Figure, values: list[str], ours: Values, paper: Values, colour: Colours, label: str) -> None:
    """EER in percent over the classes of a column; the paper's points hollow and dotted."""
    axes, places = figure.add_subplot(), np.arange(len(values))
    for rows, style, fill in ((ours, "o-", "full"), (paper, "D:", "none")):
        for system, row in rows.items():
            y = [np.nan if x is None else x for x in row]
            axes.plot(places, y, style, color=colour[system], markersize=4, fillstyle=fill)
    axes.set_xticks(places, values)
    axes.set(xlabel=label, ylabel="EER, %", ylim=(0, None), xlim=(-0.3, len(values) - 0.7))


def lines(figure: Figure, curves: Lines, x_label: str, y_label: str, log: bool = False) -> None:
    """Curves over whole numbers such as epochs."""
    axes = figure.add_subplot()
    for name, (x, y, colour, style) in curves.items():
        axes.plot(x, y, style, color=colour, marker=".", markersize=4, label=name)
    axes.locator_params(axis="x", integer=True)
    axes.set(xlabel=x_label, ylabel=y_label, **({"yscale": "log"} if log else {}))
    if not log:
        axes.ticklabel_format(axis="y", useOffset=False)


def training_lines(logs: Mapping[str, list[dict[str, float]]], keys: Sequence[str], colour: Colours) -> Lines:
    """Some values of {system: the rows of its train.jsonl} by epoch, for `lines`; the second value dashed."""
    return {
        f"{system} {key}": ([row["epoch"] for row in log], [row[key] for row in log], colour[system], style)
        for system, log in logs.items()
        for key, style in zip(keys, ("-", "--"))
        if all(key in row for row in log)
    }


def duration_histograms(figure: Figure, seconds: Mapping[str, np.ndarray], colour: Colours) -> None:
    """Shares of recordings by seconds, one outline a set; logarithmic where they span a decade."""
    axes = figure.add_subplot()
    everything = np.concatenate(list(seconds.values()))
    low, high = max(everything.min(), 0.05), max(everything.max(), 0.1)
    wide = high >= 10 * low
    edges = (np.geomspace if wide else np.linspace)(low * 0.95, high * 1.05, 40)
    for name, values in seconds.items():
        axes.stairs(np.histogram(values, edges)[0] / values.size, edges, color=colour[name], linewidth=1.4)
    axes.set(xscale="log" if wide else "linear", xlabel="seconds", ylabel="share of the recordings")
    axes.xaxis.set_major_formatter(lambda x, _: f"{x:g}")
    axes.xaxis.set_minor_formatter(lambda x, _: "")


def attention(
    figure: Figure,
    image: np.ndarray,
    voiced: np.ndarray,
    highest: float,
    weights: Mapping[str, np.ndarray],
    colour: Colours,
) -> None:
    """Spectrogram, VAD and attention weights over time; arrays of attention.npz."""
    top, bottom = figure.subplots(2, 1, sharex=True, height_ratios=[1.5, 1])
    seconds = np.arange(len(voiced)) / 100
    extent = 0, len(voiced) / 100, 0, highest / 1000
    top.imshow(image, origin="lower", aspect="auto", extent=extent, cmap="magma", interpolation="nearest")
    top.set(ylabel="kHz")
    top.grid(False)
    peak = max(np.nanmax(row) for row in weights.values())
    bottom.fill_between(seconds, 0, peak * 1.05, where=voiced, step="mid", color=INK, alpha=0.10, linewidth=0)
    for name, row in weights.items():
        bottom.plot(seconds, row, color=colour[name], linewidth=1.1)
    bottom.axhline(1, color=INK, linewidth=0.6, linestyle=":")
    bottom.set(xlabel="seconds", ylabel="weight × frames", ylim=(0, peak * 1.05))
