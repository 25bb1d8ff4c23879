"""Exports the network of a bundle for other programs: ONNX."""

from dataclasses import dataclass
from pathlib import Path

from pyasp.bundle.extractors import load_network
from pyasp.bundle.format import read_bundle
from pyasp.core.command import command
from pyasp.core.errors import InputError
from pyasp.core.files import check_output
from pyasp.core.options import option


@dataclass(frozen=True)
class Options:
    """Options of export."""

    onnx: bool = option(False, "write ONNX (the only format so far)")
    compare: bool = option(True, "run the file with onnxruntime and compare")


@command(Options, "MODEL", "OUT")
def main(options: Options, model: str, out: str) -> None:
    """Writes the network of the bundle MODEL, pooling included, to OUT (x.onnx), and says its size and speed.

    Inputs: features (batch, frames, D) float32, voiced and normalised, and lengths (batch,) int64; output: embedding.
    Recordings of fewer frames than the metadata's min_frames are repeated up to it, as SpeakerModel does; longer ones
    than max_frames are to be cut, and their embeddings averaged by length.
    Needs the extra: pip install '.[onnx]' in the clone. What comes before and after it stays with SpeakerModel.

    Example, after ./run.sh:
        pyasp bundle --force exp/toy/statistics model.st
        pyasp export --onnx model.st statistics.onnx
    """
    if not options.onnx:
        raise InputError("command line", "no format", "--onnx", "Give --onnx: it is the only format so far")
    check_output(out, (".onnx",))
    bundle = read_bundle(model)
    from pyasp.network.model import Network
    from pyasp.network.onnx import compare, save, to_onnx  # with torch, for which --help need not wait

    net, settings = load_network(bundle)
    if bundle.kind == "onnx":
        where = bundle.files["network.onnx"]
        raise InputError(bundle.path, "a network that came as ONNX", "one of the recipe's own", f"Copy {where}")
    assert isinstance(net, Network)
    facts = {
        "system": str(bundle.facts.get("system", "")),
        "pooling": settings.pooling,
        "bundle": bundle.identity,
        "min_frames": str(settings.extract_min_frames),
        "max_frames": str(settings.extract_chunk),
        "sample_rate": str(bundle.facts.get("rate", "")),  # these four are read by sherpa-onnx too
        "output_dim": str(net.embedding_dim),
        "normalize_samples": "0",
        "language": "",
    }
    least = settings.extract_min_frames
    save(to_onnx(net, facts, least), out)
    print(f"{out}: {settings.pooling} network, {Path(out).stat().st_size / 1e6:.2f} MB")
    if options.compare:
        print(compare(net, out, least))


if __name__ == "__main__":
    raise SystemExit(main())
