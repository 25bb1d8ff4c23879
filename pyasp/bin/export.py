"""Exports the network of a bundle for other programs: ONNX."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Callable

import numpy as np
import torch

from pyasp import cli
from pyasp.bundle import read_bundle
from pyasp.embed import EmbedOptions
from pyasp.errors import InputError
from pyasp.extractors import load_tdnn, network_options
from pyasp.onnx_export import require, save, to_onnx
from pyasp.tdnn import Tdnn

FRAMES, REPEATS = (300, 1000), 5     # of the recordings that the two programs are compared on; timed runs


@dataclass(frozen=True)
class Options:
    """Options of export."""
    onnx: bool = cli.option(False, "write ONNX (the only format so far)")
    compare: bool = cli.option(True, "run the file with onnxruntime and compare")


def seconds_of(run: Callable[[], object]) -> float:
    """The shortest of a few runs, after one that warms up."""
    run()
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


def compare(net: Tdnn, path: str) -> str:
    """Largest difference of the embeddings of a padded batch in torch and onnxruntime, and the speed of both."""
    session = require("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    lengths = np.array(FRAMES, np.int64)
    features = np.random.default_rng(0).standard_normal((len(FRAMES), max(FRAMES), net.in_dim), np.float32)
    inputs = {"features": features, "lengths": lengths}
    with torch.inference_mode():
        ours = seconds_of(lambda: net.embed(torch.from_numpy(features), torch.from_numpy(lengths)))
        expected = net.embed(torch.from_numpy(features), torch.from_numpy(lengths)).numpy()
    theirs = seconds_of(lambda: session.run(None, inputs))
    difference = np.abs(session.run(None, inputs)[0] - expected).max()
    rate = features.shape[0] * features.shape[1]
    return (f"embeddings differ by at most {difference:.2g} (of {np.abs(expected).max():.3g}); frames a second: "
            f"onnxruntime {rate / theirs:.3g}, torch {rate / ours:.3g}")


@cli.command(Options, "MODEL", "OUT")
def main(options: Options, model: str, out: str) -> None:
    """Writes the network of the bundle MODEL, pooling included, to OUT (x.onnx), and says its size and speed.

    Inputs: features (batch, frames, D) float32, voiced and normalised, and lengths (batch,) int64; output: embedding.
    Needs the extra: pip install 'pyasp[onnx]'. What comes before and after the network stays with SpeakerModel.
    """
    if not options.onnx:
        raise InputError("command line", "no format", "--onnx", "Give --onnx: it is the only format so far")
    bundle = read_bundle(model)
    if bundle.kind != "network":
        raise InputError(model, f"a bundle of kind {bundle.kind}", "a network", "i-vectors have no network to export")
    settings = cli.read_conf(bundle.files["network.conf"], network_options())
    net = load_tdnn(bundle, settings)
    frames = cli.subset(settings, EmbedOptions)
    facts = {"system": str(bundle.facts.get("system", "")), "pooling": settings.pooling, "bundle": bundle.identity,
             "min_frames": str(frames.extract_min_frames), "max_frames": str(frames.extract_chunk)}
    save(to_onnx(net, facts), out)
    print(f"{out}: {settings.pooling} network, {Path(out).stat().st_size / 1e6:.2f} MB")
    if options.compare:
        print(compare(net, out))


if __name__ == "__main__":
    raise SystemExit(main())
