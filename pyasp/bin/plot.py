"""Draws features, attention, embeddings, training curves or DET curves: PNG, SVG or text."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

from pyasp.core.command import command
from pyasp.core.errors import InputError
from pyasp.core.options import option
from pyasp.inspect import plot_data
from pyasp.inspect.plots import Plot


@dataclass(frozen=True)
class Options:
    """Options of plot."""

    out: str = option("", "x.png or x.svg; without it the plot is text")
    model: str = option("", "attention: the bundle")
    channel: int = option(-1, "attention: channel of a recording with several, from 0")
    projection: str = option("pca", "embeddings: how they come to the plane", choices=("pca", "lda"))
    speakers: int = option(20, "embeddings: so many speakers, those with most recordings")
    width: int = option(0, "columns of a text plot; 0 = the terminal's")


def _two(what: str, words: list[str], names: str) -> list[str]:
    if len(words) != 2:
        raise InputError("command line", f"{len(words)} arguments", names, f"pyasp plot {what} {names}")
    return words


def _attention(options: Options, words: list[str]) -> Plot:
    if not options.model or len(words) != 1:
        raise InputError(
            "command line",
            f"--model {options.model or '(none)'} and {len(words)} files",
            "a bundle and one recording",
            "pyasp plot attention --model MODEL FILE",
        )
    return plot_data.attention(options.model, words[0], options.channel)


PLOTS: dict[str, Callable[[Options, list[str]], Plot]] = {
    "features": lambda options, words: plot_data.features(*_two("features", words, "DATA UTT")),
    "attention": _attention,
    "embeddings": lambda options, words: plot_data.embeddings(
        *_two("embeddings", words, "EMBEDDING_SCP UTT2SPK"), options.projection, options.speakers
    ),
    "training": lambda options, words: plot_data.training(words),
    "det": lambda options, words: plot_data.det(words),
}


@command(Options, "WHAT", "ARGUMENT...", closed_pipe=0)
def main(options: Options, what: str, words: list[str]) -> None:
    """Draws one of: features DATA UTT, attention --model MODEL FILE, embeddings EMBEDDING_SCP UTT2SPK,
    training EXP/SYSTEM..., det EXP/SYSTEM...

    features: coefficients and voice activity over time; attention: a network's weights under the spectrogram;
    embeddings: projected to the plane, by speaker. Without --out x.png or x.svg it is drawn with block characters.
    """
    if what not in PLOTS:
        raise InputError("command line", repr(what), " or ".join(PLOTS), "Name one of these plots")
    plot = PLOTS[what](options, words)
    if options.out:
        from pyasp.inspect.plot_figure import save

        save(plot, options.out)
        print(options.out, file=sys.stderr)
        return
    from pyasp.inspect.plot_text import render

    print("\n".join(render(plot, options.width or shutil.get_terminal_size().columns)))


if __name__ == "__main__":
    raise SystemExit(main())
