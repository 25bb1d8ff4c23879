"""Draws features, attention, embeddings, training curves or DET curves: PNG or SVG."""

import sys
from dataclasses import dataclass
from functools import partial
from typing import Any

from pyasp.core.command import action_of, command
from pyasp.core.errors import InputError
from pyasp.core.options import Channel, option


@dataclass(frozen=True)
class Options:
    """Options of plot."""

    out: str = option("", "the picture to write: x.png or x.svg")
    model: str = option("", "attention: the bundle")
    channel: Channel = option(-1, "attention: channel of a recording with several, from 0")
    projection: str = option("pca", "embeddings: how they come to the plane", choices=("pca", "lda"))
    speakers: int = option(20, "embeddings: so many speakers, those with most recordings")


PLOTS = {  # of inspect.plot: name, the words that it draws
    "features": "DATA UTT",
    "attention": "FILE",
    "embeddings": "EMBEDDING_SCP UTT2SPK",
    "training": "EXP/SYSTEM...",
    "det": "EXP/SYSTEM...",
}


def draw(what: str, options: Options, *words: Any) -> Any:
    """The plot of some words, with its own options."""
    from pyasp.inspect import plot  # here: --help needs no matplotlib

    own = {"attention": (options.model, options.channel), "embeddings": (options.projection, options.speakers)}
    return getattr(plot, what)(*words, *own.get(what, ()))


@command(Options, "WHAT", "ARGUMENT...", closed_pipe=0)
def main(options: Options, what: str, words: list[str]) -> None:
    """Draws one of: features DATA UTT, attention --model MODEL FILE, embeddings EMBEDDING_SCP UTT2SPK,
    training EXP/SYSTEM..., det EXP/SYSTEM...

    features: coefficients and voice activity over time; attention: a network's weights under the spectrogram;
    embeddings: projected to the plane, by speaker. --out names the picture.

    Example, after ./run.sh:
        pyasp plot det exp/toy/ivector exp/toy/statistics --out det.png
    """
    action = action_of("plot", {name: (partial(draw, name), names) for name, names in PLOTS.items()}, what, words)
    if not options.out:
        raise InputError("command line", "no --out", "x.png or x.svg", "Say where to write the picture")
    if what == "attention" and not options.model:
        raise InputError("command line", "no --model", "a bundle", "pyasp plot attention --model MODEL FILE")
    action(options).save(options.out)
    print(options.out, file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
