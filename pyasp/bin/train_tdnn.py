"""Trains the network of one pooling."""

import dataclasses
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pyasp import checkpoint, cli
from pyasp.artefact import describe, is_current, making, write_made
from pyasp.chunks import ChunkOptions, Sampler, load_block, split_validation
from pyasp.datadir import DataDir
from pyasp.embed import NetworkConf, TdnnFrontend
from pyasp.gmm_score import device_of
from pyasp.tdnn import Tdnn, TdnnOptions
from pyasp.trainer import TrainerOptions, Training, train, validate

PLACE = ("force", "device")         # where it runs: not part of what makes a network


@dataclass(frozen=True)
class Options(NetworkConf):
    """Options of train_tdnn."""
    device: str = cli.option("auto", "auto: CUDA where there is one", choices=("auto", "cpu", "cuda"))
    seed: int = cli.option(1, "seed of weights, chunks and dropout")
    force: bool = cli.option(False, "make again what is out of date")


@cli.command(Options, "DATA", "SYSTEM_DIR")
def main(options: Options, data: str, system_dir: str) -> None:
    """Trains a network on the recordings of DATA except DATA/valid_utts: SYSTEM_DIR/final.pt, the best by validation loss.

    Also init.pt (untrained), last.pt (the state after each epoch, from which a killed run goes on), train.jsonl (one
    line an epoch) and options.conf. The voiced frames of DATA are held in memory as float32.
    """
    source, directory = DataDir(data), Path(system_dir)
    source.require("utt2spk", "feats.scp", "vad.scp", "utt2num_frames", "valid_utts")
    kept = {key: value for key, value in dataclasses.asdict(options).items() if key not in PLACE}
    inputs = [source / name for name in ("utt2spk", "feats.scp", "vad.scp", "valid_utts")]
    made = describe("train_tdnn", kept, inputs, options.seed)
    if not is_current(directory / "final.pt", made, options.force):
        directory.mkdir(parents=True, exist_ok=True)
        cli.write_conf(directory / "options.conf", options)
        run(options, source, directory, made)


def run(options: Options, source: DataDir, directory: Path, made: dict[str, Any]) -> None:
    """Starts or goes on, and writes final.pt."""
    last = directory / "last.pt"
    resume = is_current(last, made, options.force)
    train_utts, valid_utts, speakers = split_validation(source)
    front, chunks = cli.subset(options, TdnnFrontend), cli.subset(options, ChunkOptions)
    block = load_block(source, train_utts, speakers, front, "training features")
    valid = load_block(source, valid_utts, speakers, front, "validation features")
    torch.manual_seed(options.seed)
    net = Tdnn(cli.subset(options, TdnnOptions), block.frames.shape[1], len(speakers)).to(device_of(options.device))
    training = Training(net, Sampler(block, chunks, options.seed), cli.subset(options, TrainerOptions), made["options"])
    if resume:
        training.load(last)
        checkpoint.truncate_records(directory / "train.jsonl", training.sampler.epoch)
        print(f"{last}: going on after epoch {training.sampler.epoch} of {options.epochs}", file=sys.stderr)
    else:
        start_anew(net, directory, made, speakers, {"epoch": 0, **validate(net, valid, chunks)})
    print(f"{len(speakers)} speakers, {len(train_utts)} recordings, {len(block.frames)} voiced frames; {len(valid_utts)} "
          f"recordings for validation; {sum(p.numel() for p in net.parameters())} parameters, {training.sampler.steps} steps "
          f"an epoch", file=sys.stderr)
    train(training, valid, chunks, directory)
    write_network(directory / "final.pt", net, training.best["model"], made, speakers, training.best)


def start_anew(net: Tdnn, directory: Path, made: dict[str, Any], speakers: list[str], measured: dict[str, Any]) -> None:
    """Removes what an earlier training left and writes init.pt; last.pt's record is there before last.pt is."""
    for name in ("final.pt", "last.pt", "train.jsonl"):
        (directory / name).unlink(missing_ok=True)
    write_network(directory / "init.pt", net, net.state_dict(), made, speakers, measured)
    write_made(directory / "last.pt", made)


def write_network(path: Path, net: Tdnn, weights: dict[str, torch.Tensor], made: dict[str, Any], speakers: list[str],
                  measured: dict[str, Any]) -> None:
    """init.pt or final.pt with its record."""
    weights = {key: value.detach().cpu() for key, value in weights.items()}
    with making(path, made) as temporary, open(temporary, "wb") as stream:
        torch.save(checkpoint.network_state(net, weights, made["options"], speakers, measured), stream)


if __name__ == "__main__":
    raise SystemExit(main())
