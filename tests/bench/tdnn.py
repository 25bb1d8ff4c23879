"""Rows of the benchmark: training of the network at the paper's size, against plain Conv1d and BatchNorm1d layers.

All ways take the same number of frames, in chunks of 300, of 1211 speakers; rates are frames per second of forward,
backward and optimiser, the fraction is of the rate of square products in the precision of the network. `tdnn` is the
training itself (sampler, prefetching, clipping, checks); the reference is fed one batch from memory again and again.
"""

from __future__ import annotations

import contextlib
import functools
import io
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from bench.measure import PeakMemory, Row, Setting, seconds, sgemm_rate, torch_threads
from pyasp.core.device import matmul_peak
from pyasp.data.datadir import DataDir
from pyasp.kaldi import ArkWriter, compress
from pyasp.training.compute import autocast, precision_of, training_flop
from pyasp.training.frames import FrameSource, coded_reader, decode, encode, open_source, relative_error
from pyasp.training.options import NetworkOptions
from pyasp.training.run import NOTHING_DONE, Run, Watch, prepare
from pyasp.training.trainer import train_epoch, train_step

SPEAKERS, DIM, CHUNK = 1211, 40, 300
VOXCELEB_FRAMES = 122_000_000
WORKERS = 2  # of the DataLoader


def options_of(setting: Setting) -> NetworkOptions:
    """The paper's network, batches of 64 chunks (24 where small)."""
    return NetworkOptions(
        batch_size=setting.size(24, 64),
        min_chunk=CHUNK,
        max_chunk=CHUNK,
        steps_per_epoch=setting.size(1, 2),
        device=setting.device.type,
        checkpoint_minutes=0.0,
    )


class PlainNetwork(nn.Module):
    """The same network as one writes it with Conv1d and BatchNorm1d: channels before frames."""

    def __init__(self) -> None:
        super().__init__()
        sizes, kernels, dilations = (DIM, 512, 512, 512, 512, 1500), (5, 3, 3, 1, 1), (1, 2, 3, 1, 1)
        self.frames = nn.Sequential(
            *(
                part
                for n_in, n_out, kernel, dilation in zip(sizes, sizes[1:], kernels, dilations)
                for part in (nn.Conv1d(n_in, n_out, kernel, dilation=dilation), nn.ReLU(), nn.BatchNorm1d(n_out))
            )
        )
        self.attention = nn.Sequential(nn.Conv1d(1500, 64, 1), nn.ReLU(), nn.BatchNorm1d(64), nn.Conv1d(64, 1, 1))
        hidden = [part for n_in in (3000, 512) for part in (nn.Linear(n_in, 512), nn.ReLU(), nn.BatchNorm1d(512))]
        self.rest = nn.Sequential(*hidden, nn.Linear(512, SPEAKERS))

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> logits (B, speakers)."""
        h = self.frames(x.transpose(1, 2))
        weights = self.attention(h).softmax(2)
        mean = (weights * h).sum(2)
        variance = (weights * h * h).sum(2) - mean * mean
        return self.rest(torch.cat([mean, variance.clamp(min=1e-6).sqrt()], 1))


class Plain:
    """Training of the plain network without the trainer."""

    def __init__(self, options: NetworkOptions, device: torch.device):
        self.options, self.net = options, PlainNetwork().to(device)
        self.optimiser = torch.optim.AdamW(self.net.parameters(), lr=1e-3)

    def step(self, x: Tensor, labels: Tensor, net: Callable[[Tensor], Tensor] | None = None) -> None:
        """One step; net: the network in another form."""
        with autocast(self.options, x.device):
            output = (net or self.net)(x)
        loss = functional.cross_entropy(output.float(), labels)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(self.net.parameters(), self.options.clip_norm)
        self.optimiser.step()


def arks(folder: Path, recordings: int, frames: int) -> DataDir:
    """A data directory of normal features, nine tenths voiced, one recording a speaker."""
    rng, data, utts = np.random.default_rng(1), DataDir(folder), [f"u{number:05d}" for number in range(recordings)]
    folder.mkdir(parents=True)
    with (
        ArkWriter(folder / "feats.ark", folder / "feats.scp", compression_method=2) as feats,
        ArkWriter(folder / "vad.ark", folder / "vad.scp") as vad,
    ):
        for utt in utts:
            feats.write(utt, rng.standard_normal((frames, DIM)).astype(np.float32))
            vad.write(utt, (rng.random(frames) < 0.9).astype(np.float32))
    data.write_speakers(dict(zip(utts, utts)))
    return data


def resident(setting: Setting) -> FrameSource:
    """VoxCeleb1-size features that are not there: random codes on the device, 1000 frames a recording."""
    count = VOXCELEB_FRAMES // 1000
    codes = torch.randint(256, (count * 1000, DIM), dtype=torch.uint8, device=setting.device)
    starts, lengths = torch.arange(count) * 1000, torch.full((count,), 1000)
    ranges = torch.stack([torch.full((count, DIM), -3.0), torch.full((count, DIM), 6 / 255)])
    read = coded_reader(codes, starts, lengths, ranges, setting.device)
    return FrameSource([f"u{k}" for k in range(count)], np.arange(count) % SPEAKERS, lengths.numpy(), DIM, read, "byte")


def epoch_of(run: Run) -> dict[str, float]:
    """One epoch of the trainer on a run that starts anew."""
    run.within, run.step, run.sums = 0, 0, dict(NOTHING_DONE)
    with contextlib.redirect_stderr(io.StringIO()):
        return train_epoch(run, Watch(0), Path("last.pt"))


def compiled(plain: Plain, x: Tensor, labels: Tensor) -> Callable[[Tensor], Tensor] | None:
    """The plain network under torch.compile; None where it does not compile."""
    net = torch.compile(plain.net)
    try:
        plain.step(x, labels, net)
    except Exception as problem:  # no compiler, or one that fails: a row less
        print(f"torch.compile: {(str(problem).strip() or type(problem).__name__).splitlines()[0][:120]}")
        return None
    return net


def tdnn(setting: Setting) -> Iterator[Row]:
    """Training end to end, its kernels alone, the plain layers, a compiler, a DataLoader; data wait; 8 bits."""
    options, memory = options_of(setting), PeakMemory(setting.device)
    data = arks(setting.folder / "tdnn", setting.size(100, 1000), 800)
    utts = sorted(data.utt2spk)
    start = time.perf_counter()
    sources = {
        "tdnn": open_source(data, utts, utts, options, 32.0, "bench", "float"),
        "tdnn_8_bits": open_source(data, utts, utts, options, 32.0, "bench", "byte", setting.device),
    }
    load = 2 * int(sources["tdnn"].lengths.sum()) / (time.perf_counter() - start)
    if setting.device.type == "cuda":
        sources = {"tdnn": resident(setting)}
    runs = {name: prepare(source, [f"s{k}" for k in range(SPEAKERS)], options, 1) for name, source in sources.items()}
    for threads in setting.threads:
        yield from contest(setting, options, threads, runs, data)
    flop = training_flop(runs["tdnn"].net, CHUNK)
    yield Row("tdnn_flop_per_frame", flop, "operations", None, None, memory.bytes())
    yield Row("tdnn_load_features", load, "frames/s", None, None, memory.bytes(), torch.get_num_threads())
    yield from errors(memory)


def peak_of(setting: Setting, threads: int, options: NetworkOptions) -> float:
    """Floating point operations per second of square products in the network's precision."""
    if setting.device.type == "cuda":
        return matmul_peak(setting.device, precision_of(options, setting.device))
    return sgemm_rate(setting, threads)


def contest(
    setting: Setting, options: NetworkOptions, threads: int, runs: dict[str, Run], data: DataDir
) -> Iterator[Row]:
    """All rows for one number of threads, measured in turns: the best of some."""
    run, steps, plain = runs["tdnn"], options.steps_per_epoch, Plain(options, setting.device)
    batch = next(iter(run.phase.sampler))
    x, labels = batch.features.to(setting.device), batch.labels.to(setting.device)

    def kernels() -> None:
        run.step = 0
        run.net.train()
        for _ in range(steps):
            train_step(run, batch, Watch(0))

    def many(net: Callable[[Tensor], Tensor] | None = None) -> None:
        for _ in range(steps):
            plain.step(x, labels, net)

    works: dict[str, Callable[[], Any]] = {name: functools.partial(epoch_of, each) for name, each in runs.items()}
    works |= {"tdnn_kernels": kernels, "tdnn_conv1d": many}
    if setting.full and (net := compiled(plain, x, labels)):
        works["tdnn_conv1d_compiled"] = functools.partial(many, net)
    memory, best, peak = PeakMemory(setting.device), dict.fromkeys(works, float("inf")), 0.0
    with torch_threads(threads):
        for name, work in setting.size(2, 3) * list(works.items()):
            best[name] = min(best[name], seconds(work, threads, setting.device))
            peak = max(peak, peak_of(setting, threads, options))
        done = epoch_of(run)
        loaded = dataloader_seconds(data, plain, setting.device)
    frames, flop = steps * options.batch_size * CHUNK, training_flop(run.net, CHUNK)
    for name, least in {**best, "tdnn_conv1d_dataloader": loaded}.items():
        plainly = None if name == "tdnn_conv1d" else best["tdnn_conv1d"] / least
        against = "" if plainly is None else "Conv1d, BatchNorm1d"
        rate = frames / least
        yield Row(name, rate, "frames/s", plainly, rate * flop / peak, memory.bytes(), threads, against)
    waited = 1e6 * done["waited"] / done["seconds"]
    yield Row("tdnn_data_wait", waited, "ppm of time", None, None, memory.bytes(), threads)


class ArkChunks(torch.utils.data.Dataset):
    """Batches of random chunks read from the arks, made in a worker process."""

    def __init__(self, source: FrameSource, batch: int, steps: int):
        self.source, self.batch, self.steps = source, batch, steps

    def __len__(self) -> int:
        return self.steps

    def __getitem__(self, number: int) -> Tensor:
        rng = np.random.default_rng(number)
        which = rng.integers(len(self.source.utts), size=self.batch)
        return self.source.gather(which, rng.integers(0, 300, self.batch), CHUNK)


def dataloader_seconds(data: DataDir, plain: Plain, device: torch.device) -> float:
    """Seconds (wall) of an epoch of the plain network fed by a DataLoader with two workers from the same arks."""
    utts, options = sorted(data.utt2spk), plain.options
    source = open_source(data, utts, utts, options, 0.0, "bench", "archive")
    batches = ArkChunks(source, options.batch_size, options.steps_per_epoch + 2)
    start = 0.0
    for number, x in enumerate(torch.utils.data.DataLoader(batches, batch_size=None, num_workers=WORKERS)):
        if number == 2:  # the workers have started
            start = time.perf_counter()
        plain.step(x.to(device), torch.zeros(len(x), dtype=torch.int64, device=device))
    return time.perf_counter() - start


def errors(memory: PeakMemory) -> Iterator[Row]:
    """What 8 bits cost, resident and as Kaldi stores them: RMS error over the deviation of the coefficient."""
    x = np.random.default_rng(2).standard_normal((800, DIM)).astype(np.float32)
    header, body = compress.encode(x, 2)
    found = {"tdnn_error_resident": decode(*encode(x)), "tdnn_error_kaldi_ark": header.decode(body)}
    for name, approximation in found.items():
        yield Row(name, 1e6 * relative_error(x, approximation), "ppm of dev.", None, None, memory.bytes())
