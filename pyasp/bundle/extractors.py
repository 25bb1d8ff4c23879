"""The two kinds of extractor of a bundle: voiced, normalised frames to one vector a recording.

frames (V, D) float32 of a recording -> vector (E,) float32: an embedding of the network, or an i-vector
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from pyasp.bundle.format import Bundle
from pyasp.core.conf import read_conf
from pyasp.core.errors import InputError
from pyasp.core.options import subset
from pyasp.features.frontend import FrontendOptions, NetworkFrontendOptions

if TYPE_CHECKING:  # torch takes seconds to import
    from pyasp.network.embed import ExtractionOptions
    from pyasp.network.model import Network
    from pyasp.network.onnx import OnnxModel

Extract = Callable[[Iterable[tuple[str, np.ndarray]]], Iterator[tuple[str, np.ndarray]]]


def load_network(bundle: Bundle) -> tuple[Network | OnnxModel, ExtractionOptions]:
    """The network of a bundle up to its embedding, in evaluation mode, and the options of its network.conf.

    Raises InputError when the bundle has none, or its weights are not those of the network in network.conf.
    """
    if bundle.kind not in ("network", "onnx"):
        raise InputError(bundle.path, f"a bundle of kind {bundle.kind}", "a network", "Give the bundle of a network")
    import torch

    from pyasp.network.checkpoint import read_weights
    from pyasp.network.embed import ExtractionOptions
    from pyasp.network.model import ArchitectureOptions, Network

    options = read_conf(bundle.files["network.conf"], ExtractionOptions)
    if bundle.kind == "onnx":
        from pyasp.network.onnx import OnnxModel

        path = bundle.files["network.onnx"]
        lowered = options.normalize_samples and not options.cmn_window
        return OnnxModel(path.read_bytes(), str(path), lowered, (options.input_dim, options.embedding_dim)), options
    weights = read_weights(bundle.files["network.ark"], bundle.facts.get("shapes", {}))
    with torch.random.fork_rng(devices=[]):  # the numbers that it begins with are replaced at once
        net = Network(subset(options, ArchitectureOptions), options.input_dim)
    counters = {name: value for name, value in net.state_dict().items() if not value.is_floating_point()}
    try:
        net.load_state_dict({**counters, **weights})
    except RuntimeError as error:
        told, expected = " ".join(str(error).split())[:200], "the weights of the network in network.conf"
        raise InputError(bundle.files["network.ark"], told, expected, "Make the bundle again") from None
    return net.eval(), options


def network_extractor(bundle: Bundle, device: str) -> tuple[Extract, FrontendOptions]:
    """Embeddings by the bundle's network."""
    from pyasp.core.device import device_of
    from pyasp.network.embed import Embedder

    (net, options), place = load_network(bundle), device_of(device)
    net.to(place)

    def extract(recordings: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
        return Embedder(net, options, place).stream(recordings)  # which counts: one for each call

    return extract, subset(options, NetworkFrontendOptions)


def ivector_extractor(bundle: Bundle, device: str) -> tuple[Extract, FrontendOptions]:
    """i-vectors by the bundle's UBM and total variability model."""
    from pyasp.ivector.statistics import extract as ivectors
    from pyasp.ivector.train import IvectorOptions, load_aligner, load_estimator

    options = read_conf(path, IvectorOptions) if (path := bundle.files.get("ivector.conf")) else IvectorOptions()
    options = dataclasses.replace(options, device=device)
    ubm, aligner = load_aligner(bundle.files["final.ubm"].parent, options)
    estimator = load_estimator(bundle.files["final.ie"], ubm, options)

    def extract(recordings: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
        return ivectors(recordings, aligner, estimator, options.acoustic_weight, options.max_count)

    return extract, subset(options, FrontendOptions)


EXTRACTORS: dict[str, Callable[[Bundle, str], tuple[Extract, FrontendOptions]]] = {
    "network": network_extractor,
    "onnx": network_extractor,
    "ivector": ivector_extractor,
}
