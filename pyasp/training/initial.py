"""Where a training begins: with the weights of a trained network in place of random ones (--init).

FILE     init.pt, last.pt or final.pt of any training; a directory EXP/SYSTEM means its final.pt
BUNDLE   weights up to the embedding; what lies behind it is new

Weights are taken by name. The encoder must be taken as a whole, and nothing may differ in shape. A pooling that the
other network does not have is new. The output layer is taken when the speakers are the same, in a training of more
epochs; else it is new. Nothing here knows one encoder from another.
"""

import dataclasses
import itertools
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from pyasp.core.conf import value_text
from pyasp.core.errors import InputError
from pyasp.core.files import file_sha256
from pyasp.core.processes import rank
from pyasp.core.records import ancestors
from pyasp.core.text import grouped, read_json, read_lines
from pyasp.features.frontend import NetworkFrontendOptions
from pyasp.features.kinds import KINDS
from pyasp.network import checkpoint
from pyasp.network.model import HEAD, Network

ENCODER, OUTPUT = "frames", HEAD[-1]
ELSE = ("dither", "allow_downsample", "allow_upsample", "channel", "min_duration")  # make no other features
SAME = {field.name for kind in KINDS.values() for field in dataclasses.fields(kind.options)}.difference(ELSE)
CURE = "Give encoder, sizes and features of the network that --init names (options.conf beside it), or no --init"


@dataclass(frozen=True)
class Donor:
    """A trained network's weights; its speakers (none of a bundle), options as text, and its checkpoint's facts."""

    path: Path
    weights: dict[str, Tensor]
    speakers: list[str]
    options: dict[str, str]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Taken:
    """names: parameters that were taken; facts: what a checkpoint keeps of it (`init`)."""

    names: frozenset[str]
    facts: dict[str, Any]


def weights_file(init: str, directory: Path) -> Path:
    """The file of weights that --init names. InputError when there is none, or a training into `directory` made it."""
    path, names = Path(init), ("network.ark", "final.pt")
    if path.is_dir():
        path = next((path / name for name in names if (path / name).is_file()), path)
    if not path.is_file():
        found = f"a directory without {' and '.join(names)}" if path.is_dir() else "no such file"
        expected = "a checkpoint (final.pt), or the bundle of a network"
        raise InputError(path, found, expected, "Correct --init", item="--init")
    if path.resolve().parent == directory.resolve():
        cure = "Train more epochs into a directory of their own: a system with a name of its own"
        raise InputError(path, "the network that is to be trained", "another one's weights", cure, item="--init")
    return path


def read_source(path: Path) -> Donor:
    """What `weights_file` named. InputError when it is no network."""
    if path.suffix == ".ark":
        manifest = read_json(path.with_name("bundle.json"), "a bundle's manifest", "Make the bundle again")
        weights = checkpoint.read_weights(path, manifest.get("shapes", {}))
        known = {"epoch": manifest.get("epoch"), "init": manifest.get("init")}
        options = settings(path, "network")
        return Donor(path, weights, [], {**options, **settings(path, kind_of(options), "stored ")}, known)
    state = checkpoint.load(path, *checkpoint.NETWORK)
    options = {key: value_text(value) for key, value in state["options"].items()}
    return Donor(path, state["model"], state["speakers"], {**options, **behind(path, kind_of(options))}, state)


def kind_of(options: dict[str, str]) -> str:
    """The kind of features among the options of a network."""
    return options.get("feature_type", "mfcc")  # before there were others


def settings(weights: Path, name: str, prefix: str = "") -> dict[str, str]:
    """{option: text} of a conf file of the bundle that weights lie in."""
    lines = (line.removeprefix("--").partition("=") for line in read_lines(weights.with_name(f"{name}.conf")))
    return {prefix + key.replace("-", "_"): text for key, _, text in lines}


def layers(names: Any) -> list[str]:
    """The layers that parameters belong to, in order, each once."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name in names))


def _fitting(source: Donor, own: dict[str, Tensor], speakers: list[str]) -> dict[str, Tensor]:
    """The weights of `own` that are taken. InputError on another shape, and on an encoder of other layers."""
    every = {**own, **source.weights}
    theirs, ours = (
        {name: f"a shape of {tuple(each[name].shape)}" if name in each else "no such layer" for name in every}
        for each in (source.weights, own)
    )
    outputs = [name for name in every if name.split(".")[0] == OUTPUT]  # its rows are the training speakers
    same = source.speakers == speakers and all(theirs[name] == ours[name] for name in outputs)
    found = {name: source.weights[name] for name in own if name in source.weights and (same or name not in outputs)}
    for name, value in every.items():
        of_encoder = name.split(".")[0] == ENCODER and value.is_floating_point()
        if (name in found or of_encoder) and theirs[name] != ours[name]:
            raise InputError(source.path, theirs[name], ours[name], CURE, item=name)
    return found


def behind(path: Path, kind: str) -> dict[str, str]:
    """How the features behind a data directory's file, or a checkpoint, were computed, where records lead there."""
    made: dict[str, Any] = next((each["options"] for _, each in ancestors(path) if each["tool"] == f"make_{kind}"), {})
    return {f"stored {key}": value_text(value) for key, value in made.items() if key in SAME}


def take(net: Network, path: Path, speakers: list[str], options: NetworkFrontendOptions, data: Path) -> Taken:
    """Puts the weights of a file into `net`. `speakers`, `options`, `data`: of the training that begins.

    Raises InputError, naming the layer, when they are of another network.
    """
    source, own = read_source(path), net.state_dict()
    found = _fitting(source, own, speakers)
    net.load_state_dict({**own, **found})
    names = [name for name, _ in net.named_parameters()]
    facts = {
        "file": str(path),
        "sha256": file_sha256(path),
        "epoch": source.facts.get("epoch"),
        "taken": layers(name for name in names if name in found),
        "new": layers(name for name in names if name not in found),
        "left": layers(name for name in source.weights if name not in found),
        "init": source.facts.get("init"),
    }
    mine = {each.name: value_text(getattr(options, each.name)) for each in dataclasses.fields(NetworkFrontendOptions)}
    tell(facts, sum(value.numel() for name, value in found.items() if name in names))
    warn(source.options, {**mine, **behind(data / "utt2spk", kind_of(mine))})
    return Taken(frozenset(name for name in names if name in found), facts)


def shortly(chosen: list[str], rest: list[str]) -> list[str]:
    """Names of layers; a part of the network (`frames`) alone, with a count, where none of its layers is in `rest`."""
    words, broken = list[str](), {name.split(".")[0] for name in rest}
    for part, group in itertools.groupby(chosen, lambda name: name.split(".")[0]):
        names = list(group)
        words += [f"{part} ({len(names)} layers)"] if part not in broken and len(names) > 1 else names
    return words


def tell(facts: dict[str, Any], count: int) -> None:
    """Says what was taken and what was not."""
    lines = [f"{grouped(count)} weights of {len(facts['taken'])} layers of {facts['file']}"]
    for what, title in (("taken", "taken"), ("new", "new, of random weights"), ("left", "not taken")):
        rest = facts["new" if what == "taken" else "taken"]
        lines.append(f"{title}: {', '.join(shortly(facts[what], rest)) or 'none'}")
    if rank() == 0:
        print("\n".join(f"--init: {line}" for line in lines), file=sys.stderr)


def plain(text: str) -> str:
    """A value as text, numbers in their shortest form: 8000.0 is 8000."""
    try:
        return f"{float(text):g}"
    except ValueError:
        return text


def warn(then: dict[str, str], now: dict[str, str]) -> None:
    """Says where the features are others than those that the network was trained on, as far as that is known."""
    for key in sorted(then.keys() & now.keys()):
        old, new = plain(then[key]), plain(now[key])
        if old != new and rank() == 0:
            told = f"trained on features of --{key.split()[-1].replace('_', '-')}={old}, which is {new} here"
            print(f"--init: warning: {told}: weights of other features are worth little", file=sys.stderr)
