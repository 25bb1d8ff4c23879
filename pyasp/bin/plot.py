"""Draws features, attention, embeddings, training curves or DET curves: PNG or SVG."""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from pyasp.core.command import command
from pyasp.core.errors import InputError
from pyasp.core.options import option


@dataclass(frozen=True)
class Options:
    """Options of plot."""

    out: str = option("", "the picture to write: x.png or x.svg")
    model: str = option("", "attention: the bundle")
    channel: int = option(-1, "attention: channel of a recording with several, from 0")
    projection: str = option("pca", "embeddings: how they come to the plane", choices=("pca", "lda"))
    speakers: int = option(20, "embeddings: so many speakers, those with most recordings")


def _two(what: str, words: list[str], names: str) -> list[str]:
    if len(words) != 2:
        raise InputError("command line", f"{len(words)} arguments", names, f"pyasp plot {what} {names}")
    return words


def _attention(plot: Any, options: Options, words: list[str]) -> Any:
    if not options.model or len(words) != 1:
        raise InputError(
            "command line",
            f"--model {options.model or '(none)'} and {len(words)} files",
            "a bundle and one recording",
            "pyasp plot attention --model MODEL FILE",
        )
    return plot.attention(options.model, words[0], options.channel)


PLOTS: dict[str, Callable] = {  # (module plot, options, words) -> Plot
    "features": lambda plot, options, words: plot.features(*_two("features", words, "DATA UTT")),
    "attention": _attention,
    "embeddings": lambda plot, options, words: plot.embeddings(
        *_two("embeddings", words, "EMBEDDING_SCP UTT2SPK"), options.projection, options.speakers
    ),
    "training": lambda plot, options, words: plot.training(words),
    "det": lambda plot, options, words: plot.det(words),
}


@command(Options, "WHAT", "ARGUMENT...", closed_pipe=0)
def main(options: Options, what: str, words: list[str]) -> None:
    """Draws one of: features DATA UTT, attention --model MODEL FILE, embeddings EMBEDDING_SCP UTT2SPK,
    training EXP/SYSTEM..., det EXP/SYSTEM...

    features: coefficients and voice activity over time; attention: a network's weights under the spectrogram;
    embeddings: projected to the plane, by speaker. --out names the picture.

    Example, after ./run.sh:
        pyasp plot det exp/toy/ivector exp/toy/statistics --out det.png
    """
    if what not in PLOTS:
        raise InputError("command line", repr(what), " or ".join(PLOTS), "Name one of these plots")
    if not options.out:
        raise InputError("command line", "no --out", "x.png or x.svg", "Say where to write the picture")
    from pyasp.inspect import plot  # here: --help needs no matplotlib

    PLOTS[what](plot, options, words).save(options.out)
    print(options.out, file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
