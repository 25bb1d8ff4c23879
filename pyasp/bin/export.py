"""Exports the network of a bundle for other programs: ONNX."""

from dataclasses import dataclass
from pathlib import Path

from pyasp.bundle.format import read_bundle
from pyasp.core.command import command
from pyasp.core.conf import read_conf
from pyasp.core.errors import InputError
from pyasp.core.options import option, subset


@dataclass(frozen=True)
class Options:
    """Options of export."""

    onnx: bool = option(False, "write ONNX (the only format so far)")
    compare: bool = option(True, "run the file with onnxruntime and compare")


@command(Options, "MODEL", "OUT")
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
    from pyasp.bundle.extractors import load_tdnn, network_options
    from pyasp.network.embed import EmbedOptions  # from here on with torch, for which --help need not wait
    from pyasp.network.onnx import save, to_onnx

    settings = read_conf(bundle.files["network.conf"], network_options())
    net = load_tdnn(bundle, settings)
    frames = subset(settings, EmbedOptions)
    facts = {
        "system": str(bundle.facts.get("system", "")),
        "pooling": settings.pooling,
        "bundle": bundle.identity,
        "min_frames": str(frames.extract_min_frames),
        "max_frames": str(frames.extract_chunk),
    }
    save(to_onnx(net, facts), out)
    print(f"{out}: {settings.pooling} network, {Path(out).stat().st_size / 1e6:.2f} MB")
    if options.compare:
        from pyasp.network.onnx_compare import compare

        print(compare(net, out))


if __name__ == "__main__":
    raise SystemExit(main())
