"""The attention weights of the networks on a few test recordings, for the report."""

import json
import sys
from pathlib import Path

import numpy as np
import torch

from pyasp.audio.cut_files import read_cuts
from pyasp.audio.cuts import read_samples
from pyasp.core.files import remove_tree
from pyasp.core.records import describe, is_current, making
from pyasp.data.datadir import DataDir
from pyasp.features.frontend import NetworkFrontendOptions, frontend
from pyasp.kaldi import ScpReader
from pyasp.network.attention import RANGE, choose, frame_weights, spectrogram
from pyasp.network.checkpoint import load_network, options_from
from pyasp.network.model import Network

RECORDINGS, SEED = 4, 1  # how many recordings are shown, and the seed of their draw


def samples_of(data: DataDir, utts: list[str]) -> dict[str, tuple[np.ndarray, int]]:
    """{utterance: (samples, rate)} of some recordings, at their own rate."""
    wanted, found = set(utts), {}
    for utt, line in read_cuts(data / "cuts.jsonl.gz"):
        if utt in wanted:
            item = json.loads(line)
            recording = item["tracks"][0]["cut"]["recording"] if "tracks" in item else item["recording"]
            found[utt] = read_samples(item, recording["sampling_rate"]), recording["sampling_rate"]
    return found


Loaded = dict[str, tuple[Network, NetworkFrontendOptions]]


def attending(exp: Path) -> Loaded:
    """The networks EXP/<system>/final.pt whose pooling has weights, by system, each with its front end."""
    found: Loaded = {}
    for path in sorted(exp.glob("*/final.pt")):
        net, options = load_network(path, torch.device("cpu"))
        if isinstance(net, Network) and net.attends:
            found[path.parent.name] = net, options_from(options, NetworkFrontendOptions, path)
    return found


def tables_of(networks: Loaded) -> list[str]:
    """Where the features that some of the networks read are listed."""
    return sorted({front.table for _, front in networks.values()})


def shown(data: DataDir, networks: Loaded, utts: list[str]) -> dict[str, np.ndarray]:
    """The arrays of attention.npz: `<number>/<name>` for each recording."""
    vad, audio = ScpReader(data / "vad.scp"), samples_of(data, utts)
    feats = {table: ScpReader(data / table) for table in tables_of(networks)}
    arrays: dict[str, np.ndarray] = {"utterances": np.array(utts), "systems": np.array(list(networks))}
    for number, utt in enumerate(utts):
        samples, rate = audio[utt]
        decided = np.asarray(vad[utt])
        voiced = decided > 0
        arrays[f"{number}/spectrogram"] = (255 * (1 + spectrogram(samples, rate, len(voiced)) / RANGE)).astype(np.uint8)
        arrays[f"{number}/voiced"], arrays[f"{number}/highest"] = voiced, np.array(rate / 2)
        for name, (net, front) in networks.items():
            arrays[f"{number}/{name}"] = frame_weights(net, frontend(feats[front.table][utt], decided, front), voiced)
    return arrays


def take(data: str | Path, exp: str | Path) -> None:
    """Writes EXP/attention.npz: of a few recordings of DATA/test the spectrogram, the VAD, and the weights of the
    networks EXP/<system>/final.pt that have an attention."""
    networks = attending(Path(exp))
    path, test = Path(exp) / "attention.npz", DataDir(Path(data) / "test")
    if not networks:
        print(f"{exp}: no network with an attention, nothing to show", file=sys.stderr)
        remove_tree(path)
        return
    tables = test.require("cuts.jsonl.gz", *tables_of(networks), "vad.scp")
    test.require("utt2num_frames", "utt2num_voiced")
    inputs = [*tables, *(Path(exp) / name / "final.pt" for name in networks)]
    made = describe("attention", {"recordings": RECORDINGS}, inputs, SEED)
    if is_current(path, made, True):  # a picture follows what it shows, without --force
        return
    least = 2 * max(net.shortest for net, _ in networks.values())
    arrays = shown(test, networks, choose(test, RECORDINGS, SEED, least))
    with making(path, made) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
    print(f"{path}: {', '.join(networks)} on {len(arrays['utterances'])} recordings")
