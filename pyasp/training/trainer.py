"""Training of a network, read from top to bottom: `train` below is the whole of it.

    loss    cross entropy of the speakers (mean over the chunks of a batch), softmax over the training speakers
    step    one batch;  epoch: `Sampler.steps` batches, then validation, a line in train.jsonl and last.pt
    rate    learning rate of step k of K: options.learning_rate x SCHEDULES[...](k / K), after a linear warm-up

Files in the system's directory: those of pyasp.training.run, train.jsonl, options.conf; final.pt is the best epoch by
validation loss. A run that was killed goes on after its last checkpoint and ends with the same bits as one that was
not, on a CPU with the same number of threads. Several processes (torchrun) share every batch and give what one gives,
up to the order of sums; the first of them writes.
"""

import dataclasses
import functools
import itertools
import math
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from pyasp.core.conf import write_conf
from pyasp.core.device import Later, device_of, matmul_peak, synchronise
from pyasp.core.errors import InputError
from pyasp.core.options import check_values, subset
from pyasp.core.processes import rank, sum_over, together, wait_for_all, world
from pyasp.core.progress import bar
from pyasp.core.records import describe, is_current, maker, making
from pyasp.core.threads import prefetched, settle_threads
from pyasp.data.datadir import DataDir
from pyasp.features.frontend import output_dim
from pyasp.features.kinds import MAKERS
from pyasp.kaldi import ScpReader
from pyasp.network import checkpoint
from pyasp.network.embed import EmbedOptions
from pyasp.network.loss import logits_of, loss_of
from pyasp.network.model import ONNX
from pyasp.network.onnx import OnnxModel
from pyasp.training.chunks import Batch, split_validation, validation_batches
from pyasp.training.compute import autocast, explained_memory, precision_of, training_flop, training_work
from pyasp.training.frames import FrameSource, open_source
from pyasp.training.initial import weights_file
from pyasp.training.options import CheckpointOptions, NetworkOptions, learning_rate
from pyasp.training.run import NOTHING_DONE, Run, Watch, drop_epochs, keep_epoch, mean_network, prepare, start_or_resume

# Options that make no other network.
ELSEWHERE = {"device", *(field.name for cls in (EmbedOptions, CheckpointOptions) for field in dataclasses.fields(cls))}

THREADS = "threads"  # in the system's directory: the number of threads it is trained with
LONG_WORK = 1e13  # operations: about a minute
USUAL_SHARE = 0.5  # of the rate of square products


def recipe_of(data: DataDir, options: NetworkOptions, seed: int, init: Path | None = None) -> dict[str, Any]:
    """What makes the network, of the weights `init` if any: the record beside init.pt, last.pt and final.pt."""
    every = dataclasses.asdict(subset(options, NetworkOptions))
    kept = {key: value for key, value in every.items() if key not in ELSEWHERE and checkpoint.LATER.get(key) != value}
    inputs = [data / name for name in ("utt2spk", options.table, "vad.scp", "valid_utts")]
    inputs += [init] if init else []
    inputs += [Path(options.model)] if options.encoder == ONNX else []
    return describe("train_tdnn", kept, inputs, seed)


def check_finite(values: dict[str, float], batch: Batch, run: Run) -> None:
    """Raises InputError, naming utterances and the last good checkpoint, when one of `values` is not finite."""
    if all(map(math.isfinite, values.values())):
        return
    broken = [utt for utt, x in zip(batch.utts, batch.features) if not torch.isfinite(x).all()]
    what = "features that are not finite in" if broken else "a batch of"
    found, utts = ", ".join(f"{name} {value}" for name, value in values.items()), dict.fromkeys(broken or batch.utts)
    raise InputError(
        f"training, epoch {run.epoch + 1}",
        f"{found}; {what} {' '.join(utts)}",
        "finite numbers",
        f"Last good checkpoint: {run.saved}. Repair these recordings, or lower --learning-rate or "
        "--clip-norm and train again with --force",
    )


def train_step(run: Run, batch: Batch, watch: Watch) -> Tensor:
    """One step. Returns (4,) on the device: loss and gradient norm; more than 0: to stop, to save; of all processes."""
    phase = run.phase
    x, labels = batch.features.to(run.device), batch.labels.to(run.device)
    rate = learning_rate(phase.options, run.step - phase.first_step, phase.steps)
    for group in run.optimiser.param_groups:
        group["lr"] = rate
    with autocast(run.options, run.device):
        output = run.model(x)
    choice = run.options.loss, phase.options.margin, run.options.logit_scale
    loss = loss_of(output, labels, *choice)
    run.optimiser.zero_grad(set_to_none=True)
    loss.backward()
    norm = nn.utils.clip_grad_norm_(run.net.parameters(), run.options.clip_norm)
    run.optimiser.step()
    flags = torch.tensor([float(bool(watch.received)), float(watch.due())], device=run.device)
    return sum_over(torch.cat([torch.stack([loss.detach(), norm]) / world(), flags]))


def settle(values: Later, batch: Batch, run: Run) -> tuple[bool, bool]:
    """Counts the loss of a step when loss and gradient norm are finite. Returns whether to stop and to save."""
    loss, norm, stop, save = values.tolist()
    check_finite({"loss": loss, "gradient norm": norm}, batch, run)
    run.sums["loss"] += loss
    return stop > 0, save > 0


def train_epoch(run: Run, watch: Watch, last: Path) -> dict[str, float]:
    """The rest of the sampler's pass. Returns mean loss, frames, seconds and seconds waited for data of the epoch."""
    sampler, sums = run.phase.sampler, run.sums
    sampler.epoch, sampler.step = run.epoch, run.within
    synchronise(run.device)
    pending, before, start = None, sums["seconds"], time.perf_counter()
    mark = start
    run.choose_trained()
    title = f"epoch {run.epoch + 1} of {run.epochs}"
    for batch in bar(prefetched(sampler), sampler.steps - run.within, title, "batch"):
        sums["waited"] += time.perf_counter() - mark
        values = train_step(run, batch, watch)
        run.step, run.within = run.step + 1, run.within + 1
        sums["frames"] += batch.features.shape[0] * batch.features.shape[1] * world()
        # looked at one step late, so that an accelerator never waits for it
        stop, save = settle(*pending, run) if pending else (False, False)
        pending, mark = (Later(values), batch), time.perf_counter()
        if (stop or save) and run.within < sampler.steps:
            settle(*pending, run)
            pending, sums["seconds"] = None, before + time.perf_counter() - start
            interrupt(run, watch, last, stop)
    if pending:
        settle(*pending, run)
    return {
        "loss": sums["loss"] / sampler.steps,
        "frames": sums["frames"],
        "waited": sums["waited"],
        "seconds": before + time.perf_counter() - start,
    }


def interrupt(run: Run, watch: Watch, last: Path, stop: bool) -> None:
    """A checkpoint in mid-epoch; SystemExit with the signal's exit code when one asked to stop."""
    run.save(last)
    watch.saved()
    if stop:
        print(
            f"stopped by signal {watch.received or 'to another process'} after step {run.step}, which is in {last}: "
            "the same command goes on from there",
            file=sys.stderr,
        )
        raise SystemExit(128 + watch.received if watch.received else 1)


@torch.inference_mode()
def validate(run: Run, batches: Iterable[Batch]) -> tuple[float, float]:
    """Mean cross entropy (without margin) and share of chunks whose speaker is found, over all held-out recordings."""
    run.net.eval()
    sums = torch.zeros(3, dtype=torch.float64)  # loss, found, chunks
    for batch in itertools.islice(batches, rank(), None, world()):
        labels = batch.labels.to(run.device)
        with autocast(run.options, run.device):
            output = run.net(batch.features.to(run.device))
        logits = logits_of(output, labels, run.options.loss, 0.0, run.options.logit_scale)
        loss = float(functional.cross_entropy(logits, labels, reduction="sum"))
        check_finite({"validation loss": loss}, batch, run)
        sums += torch.tensor([loss, float((logits.argmax(dim=1) == labels).sum()), len(labels)], dtype=torch.float64)
    loss, found, count = sum_over(sums.to(run.device)).tolist()
    return loss / count, found / count


def record_of(
    run: Run, done: dict[str, float], valid: tuple[float, float], peak: float, seconds: float
) -> dict[str, Any]:
    """The epoch's line in train.jsonl. data_wait is the share of the training time spent waiting for batches."""
    rate, options, phase = done["frames"] / done["seconds"], run.phase.options, run.phase
    flop = training_flop(run.net, (options.min_chunk + options.max_chunk) // 2)
    learned = learning_rate(options, run.step - 1 - phase.first_step, phase.steps)
    return {
        "epoch": run.epoch + 1,
        "step": run.step,
        "loss": done["loss"],
        "valid_loss": valid[0],
        "valid_accuracy": valid[1],
        "learning_rate": learned,
        "frames_per_second": rate,
        "flop_per_frame": flop,
        "peak_fraction": rate * flop / (peak * world()),
        "data_wait": done["waited"] / done["seconds"],
        "seconds": seconds,
    }


def finish_epoch(
    run: Run, directory: Path, done: dict[str, float], valid: tuple[float, float], peak: float, seconds: float
) -> None:
    """The log's line, the best network so far, last.pt."""
    record = record_of(run, done, valid, peak, seconds)
    if run.epoch == run.phase.first_epoch:  # fine-tuning is judged on chunks of another length
        run.best = {}
    run.epoch, run.within, run.sums = run.epoch + 1, 0, dict(NOTHING_DONE)
    if valid[0] < run.best.get("valid_loss", math.inf):
        run.best = {"epoch": run.epoch, "valid_loss": valid[0], "valid_accuracy": valid[1], "model": run.weights()}
    if rank() == 0:
        checkpoint.append_record(directory / "train.jsonl", record)
        print(
            "epoch {epoch}: loss {loss:.3f}, validation loss {valid_loss:.3f}, accuracy {valid_accuracy:.1%}, "
            "{frames_per_second:.0f} frames/s, {seconds:.1f} s".format(**record)
        )  # a detail: for the log
    run.save(directory / "last.pt")
    keep_epoch(run, directory)


def average(run: Run, directory: Path, held_out: FrameSource) -> None:
    """The mean of the last epochs' networks becomes the best one when its validation loss is lower."""
    wait_for_all()  # the first process has written them
    count = min(run.options.average_epochs, run.phase.options.epochs)
    if not count:
        return
    mean = mean_network(directory, range(run.epoch - count + 1, run.epoch + 1))
    checkpoint.load_weights(run.net, mean, directory / "last.pt")
    loss, accuracy = validate(run, validation_batches(held_out, run.phase.options))
    print(
        f"mean of the last {count} epochs: validation loss {loss:.3f}, best epoch's {run.best['valid_loss']:.3f}",
        file=sys.stderr,
    )
    if loss < run.best["valid_loss"]:
        run.best = {"epoch": run.epoch, "valid_loss": loss, "valid_accuracy": accuracy, "model": mean}


def init_of(options: NetworkOptions, directory: Path) -> Path | None:
    """The file that --init names, for a training into `directory`. InputError where it, or that of --model, is not."""
    missing = options.encoder == ONNX and not Path(options.model or "/").is_file()
    check_values(options, "network options", "the file of a network, for --encoder=onnx", model=missing)
    useless = options.encoder == ONNX and bool(options.init)
    check_values(options, "training options", "none: --encoder=onnx takes a whole network from --model", init=useless)
    return weights_file(options.init, directory) if options.init else None


def train(data: DataDir, directory: Path, options: NetworkOptions, seed: int, force: bool = False) -> None:
    """Trains one network on `data` (as stage select leaves it) into `directory`; goes on where a killed run stopped.

    Raises InputError for unusable data, options that changed since last.pt or final.pt, a loss that is not finite, and
    too little memory; SystemExit after a checkpoint when SIGTERM or SIGUSR1 came.
    """
    init = init_of(options, directory)
    data.require("utt2spk", options.table, "vad.scp", "valid_utts")  # names the stage; a fingerprint would not
    made = recipe_of(data, options, seed, init)
    device = device_of(options.device)
    with together(device.type):
        current = is_current(directory / "final.pt", made, force)
        wait_for_all()
        if not current and options.encoder == ONNX:
            adopt(data, directory, options, made)
        elif not current:
            train_here(data, directory, options, seed, made, force, init)


def adopt(data: DataDir, directory: Path, options: NetworkOptions, made: dict[str, Any]) -> None:
    """final.pt of --encoder=onnx: the bytes of --model, with the options that they decide. Nothing is trained."""
    if rank() != 0:
        return
    content = Path(options.model).read_bytes()
    net = OnnxModel(content, options.model)
    stored = ScpReader(data / options.table)
    dim = output_dim(stored.shape(next(iter(stored)))[1], options)
    rate = rate_of(data / options.table)
    options = dataclasses.replace(options, **net.settings(dim, rate), embedding_dim=net.embedding_dim)
    directory.mkdir(parents=True, exist_ok=True)
    write_conf(directory / "options.conf", subset(options, NetworkOptions))
    weights = {ONNX: torch.frombuffer(bytearray(content), dtype=torch.uint8)}
    with making(directory / "final.pt", made) as temporary:
        checkpoint.save(temporary, checkpoint.network_state(dim, weights, dataclasses.asdict(options), []))
    print(
        f"{directory / 'final.pt'}: {net.description} of {options.model}; features at {rate or 'an unknown'} Hz",
        file=sys.stderr,
    )


def rate_of(table: Path) -> int | None:
    """Samples a second that stored features were made from, by the records behind them; None where there are none."""
    try:
        return int(maker(table, *MAKERS)["options"]["sample_frequency"])
    except InputError:
        return None


def product_of_a_layer(options: NetworkOptions) -> Callable[[], torch.Tensor]:
    """What most of a training's time goes into, for one batch."""
    frames, width = options.batch_size * options.min_chunk, options.frame_dim
    return functools.partial(torch.mm, torch.ones(frames, 3 * width), torch.ones(3 * width, width))


def tell_work(run: Run, directory: Path) -> float:
    """Operations a second of the machine's fastest product. On a CPU it settles the number of threads first, and says
    about how long a long training will take."""
    work = sum(training_work(run.net, phase.options, phase.steps) for phase in run.phases)
    alone, long = run.device.type == "cpu" and world() == 1, work >= LONG_WORK
    if alone:
        threads = settle_threads(directory / THREADS, product_of_a_layer(run.options) if long else None)
    peak = matmul_peak(run.device, precision_of(run.options, run.device))
    if alone and long:
        steps, minutes = sum(phase.steps for phase in run.phases), work / (USUAL_SHARE * peak) / 60
        told = f"{steps} batches, about {max(1, round(minutes))} minutes on {threads} threads"
        print(f"{directory.name}: {told}", file=sys.stderr)
    return peak


def train_here(
    data: DataDir,
    directory: Path,
    options: NetworkOptions,
    seed: int,
    made: dict[str, Any],
    force: bool,
    init: Path | None,
) -> None:
    """The training proper, in this process as one of those that were joined."""
    train_utts, valid_utts, speakers = split_validation(data)
    rest = options, options.memory_gb
    source = open_source(data, train_utts, speakers, *rest, "training", options.store, device_of(options.device))
    held_out = open_source(data, valid_utts, speakers, *rest, "validation", options.store, device_of(options.device))
    run = prepare(source, speakers, options, seed, init, data.path)
    directory.mkdir(parents=True, exist_ok=True)
    if rank() == 0:
        write_conf(directory / "options.conf", subset(options, NetworkOptions))
    if force:
        (directory / THREADS).unlink(missing_ok=True)
    start_or_resume(run, directory, made, force)
    peak = tell_work(run, directory)
    longest = max(phase.options.max_chunk for phase in run.phases)
    sizes = options.batch_size // world(), longest, options, run.device
    with Watch(options.checkpoint_minutes) as watch, explained_memory(run.net, *sizes):
        while run.epoch < run.epochs:
            start = time.perf_counter()
            done = train_epoch(run, watch, directory / "last.pt")
            valid = validate(run, validation_batches(held_out, run.phase.options))
            finish_epoch(run, directory, done, valid, peak, time.perf_counter() - start)
            watch.saved()
        average(run, directory, held_out)
    if rank() == 0:
        run.save_network(directory / "final.pt", made, run.best)
        print(
            f"{directory.name}: best after epoch {run.best['epoch']} of {run.epoch}: validation loss "
            f"{run.best['valid_loss']:.3f}, {run.best['valid_accuracy']:.1%} of the held-out recordings recognised",
            file=sys.stderr,
        )
        drop_epochs(directory, run.epoch - options.keep_epochs)
    wait_for_all()
