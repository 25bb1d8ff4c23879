"""The weights that a network's pooling gives to the frames of one recording, on the time axis of the recording."""

from __future__ import annotations

import numpy as np

from pyasp.audio.recording import Sound
from pyasp.bundle.extractors import load_tdnn, network_options
from pyasp.bundle.format import read_bundle
from pyasp.bundle.speaker_model import SpeakerModel
from pyasp.core.conf import read_conf
from pyasp.core.errors import InputError


def weights_over_time(model_dir: str, sound: Sound) -> tuple[np.ndarray, np.ndarray, str]:
    """(weights (T,), voiced (T,) bool, pooling) of a recording of T frames, by the network of a bundle.

    alpha of the frame-level vector whose context is centred on a frame; NaN on unvoiced frames and where the context
    would reach beyond the voiced frames. They sum to one. Raises InputError for a system without attention, and a
    recording with fewer voiced frames than a context.
    """
    import torch

    from pyasp.network.tdnn import RECEPTIVE_FIELD

    bundle = read_bundle(model_dir)
    if bundle.kind != "network":
        raise InputError(model_dir, f"a bundle of kind {bundle.kind}", "a network with attention", "Give another")
    options = read_conf(bundle.files["network.conf"], network_options())
    net = load_tdnn(bundle, options)
    if net.pooling.attention is None:
        raise InputError(
            model_dir,
            f"{options.pooling} pooling, whose weights are uniform",
            "attention",
            "Give a bundle of an attention or attentive_statistics system",
        )
    features = SpeakerModel.load(model_dir).features(sound)
    if len(features.frames) < RECEPTIVE_FIELD:
        raise InputError(
            sound.name,
            f"{len(features.frames)} voiced frames",
            f"at least {RECEPTIVE_FIELD}",
            "Give a longer recording",
        )
    with torch.inference_mode():
        h, mask = net.frame_level(torch.from_numpy(features.frames)[None])
        alpha = net.pooling.weights(h, mask)[0].numpy()
    weights, times = np.full(len(features.voiced), np.nan), np.flatnonzero(features.voiced)
    weights[times[RECEPTIVE_FIELD // 2 :][: len(alpha)]] = alpha
    return weights, features.voiced, options.pooling
