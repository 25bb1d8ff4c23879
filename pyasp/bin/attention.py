"""Takes the attention weights of the networks on a few test recordings, for the report."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from pyasp.audio.cut_files import read_cuts
from pyasp.audio.cuts import read_samples
from pyasp.core.command import command
from pyasp.core.files import remove_tree
from pyasp.core.options import option
from pyasp.core.records import describe, is_current, making
from pyasp.data.datadir import DataDir
from pyasp.features.frontend import FrontendOptions
from pyasp.kaldi import ScpReader
from pyasp.network import attention_shown
from pyasp.network.checkpoint import load_network, options_from
from pyasp.network.pooling import POOLINGS

SYSTEMS = tuple(name for name, parts in POOLINGS.items() if parts.attention)


@dataclass(frozen=True)
class Options:
    """Options of attention."""

    recordings: int = option(4, "recordings to show")
    seed: int = option(1, "seed of their draw")
    force: bool = option(False, "make again what is out of date")


def samples_of(data: DataDir, utts: list[str]) -> dict[str, tuple[np.ndarray, int]]:
    """{utterance: (samples, rate)} of some recordings, at their own rate."""
    wanted, found = set(utts), {}
    for utt, line in read_cuts(data / "cuts.jsonl.gz"):
        if utt in wanted:
            item = json.loads(line)
            recording = item["tracks"][0]["cut"]["recording"] if "tracks" in item else item["recording"]
            found[utt] = read_samples(item, recording["sampling_rate"]), recording["sampling_rate"]
    return found


def shown(data: DataDir, networks: dict[str, Path], utts: list[str]) -> dict[str, np.ndarray]:
    """The arrays of attention.npz: `<number>/<name>` for each recording."""
    loaded = {name: load_network(path, torch.device("cpu")) for name, path in networks.items()}
    feats, vad, audio = ScpReader(data / "feats.scp"), ScpReader(data / "vad.scp"), samples_of(data, utts)
    arrays: dict[str, np.ndarray] = {"utterances": np.array(utts), "systems": np.array(list(networks))}
    for number, utt in enumerate(utts):
        samples, rate = audio[utt]
        voiced = np.asarray(vad[utt]) > 0
        arrays[f"{number}/spectrogram"] = attention_shown.spectrogram(samples, rate, len(voiced))
        arrays[f"{number}/voiced"], arrays[f"{number}/highest"] = voiced, np.array(rate / 2)
        for name, (net, options) in loaded.items():
            front = options_from(options, FrontendOptions, networks[name])
            arrays[f"{number}/{name}"] = attention_shown.network_weights(net, front, feats[utt], voiced)
    return arrays


@command(Options, "DATA", "EXP")
def main(options: Options, data: str, exp: str) -> None:
    """Writes EXP/attention.npz: of a few recordings of DATA/test the spectrogram, the VAD, and the weights of the
    networks
    EXP/<system>/final.pt that have an attention."""
    networks = {name: path for name in SYSTEMS if (path := Path(exp) / name / "final.pt").is_file()}
    path, test = Path(exp) / "attention.npz", DataDir(Path(data) / "test")
    if not networks:
        print(f"{exp}: no network with an attention, nothing to show", file=sys.stderr)
        remove_tree(path)
        return
    test.require("cuts.jsonl.gz", "feats.scp", "vad.scp", "utt2num_frames", "utt2num_voiced")
    made = describe(
        "attention",
        {"recordings": options.recordings},
        [*(test / name for name in ("cuts.jsonl.gz", "feats.scp", "vad.scp")), *networks.values()],
        options.seed,
    )
    if is_current(path, made, True):  # a picture follows what it shows, without --force
        return
    arrays = shown(test, networks, attention_shown.choose(test, options.recordings, options.seed))
    with making(path, made) as temporary, open(temporary, "wb") as stream:
        np.savez_compressed(stream, **arrays)
    print(f"{path}: {', '.join(networks)} on {len(arrays['utterances'])} recordings")


if __name__ == "__main__":
    raise SystemExit(main())
