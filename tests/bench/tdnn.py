"""Rows of the benchmark: training of the network at the paper's size, against plain Conv1d and BatchNorm1d layers.

All ways take the same number of frames, in chunks of 300, of 1211 speakers; rates are frames per second of forward,
backward and optimiser, the fraction is of the rate of square products in the precision of the network. `tdnn` is the
training itself (sampler, prefetching, clipping, checks); the reference is fed one batch from memory again and again.
"""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
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


def options_of(setting: Setting, steps: int) -> NetworkOptions:
    """The paper's network, batches of 64 chunks (24 where small)."""
    return NetworkOptions(
        batch_size=setting.size(24, 64),
        min_chunk=CHUNK,
        max_chunk=CHUNK,
        steps_per_epoch=steps,
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
        self.rest = nn.Sequential(
            nn.Linear(3000, 512),
            nn.ReLU(),
            nn.BatchNorm1d(512),
            nn.Linear(512, 512),
            nn.ReLU(),
            nn.BatchNorm1d(512),
            nn.Linear(512, SPEAKERS),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, D) -> logits (B, speakers)."""
        h = self.frames(x.transpose(1, 2))
        weights = self.attention(h).softmax(2)
        mean = (weights * h).sum(2)
        variance = (weights * h * h).sum(2) - mean * mean
        return self.rest(torch.cat([mean, variance.clamp(min=1e-6).sqrt()], 1))


def plain_step(
    net: Callable[[Tensor], Tensor],
    optimiser: torch.optim.Optimizer,
    x: Tensor,
    labels: Tensor,
    options: NetworkOptions,
) -> None:
    """One step without the trainer."""
    with autocast(options, x.device):
        output = net(x)
    loss = functional.cross_entropy(output.float(), labels)
    optimiser.zero_grad(set_to_none=True)
    loss.backward()
    nn.utils.clip_grad_norm_(optimiser.param_groups[0]["params"], options.clip_norm)
    optimiser.step()


def arks(folder: Path, recordings: int, frames: int) -> DataDir:
    """A data directory of normal features, nine tenths voiced, one recording a speaker."""
    rng, data = np.random.default_rng(1), DataDir(folder)
    folder.mkdir(parents=True)
    with (
        ArkWriter(folder / "feats.ark", folder / "feats.scp", compression_method=2) as feats,
        ArkWriter(folder / "vad.ark", folder / "vad.scp") as vad,
    ):
        for number in range(recordings):
            feats.write(f"u{number:05d}", rng.standard_normal((frames, DIM)).astype(np.float32))
            vad.write(f"u{number:05d}", (rng.random(frames) < 0.9).astype(np.float32))
    data.write_speakers({f"u{number:05d}": f"u{number:05d}" for number in range(recordings)})
    return data


def resident(setting: Setting) -> FrameSource:
    """VoxCeleb1-size features that are not there: random codes on the device, 1000 frames a recording."""
    count = VOXCELEB_FRAMES // 1000
    codes = torch.randint(256, (count * 1000, DIM), dtype=torch.uint8, device=setting.device)
    starts, lengths = torch.arange(count) * 1000, torch.full((count,), 1000)
    ranges = torch.stack([torch.full((count, DIM), -3.0), torch.full((count, DIM), 6 / 255)])
    labels = np.arange(count) % SPEAKERS
    return FrameSource(
        [f"u{k}" for k in range(count)],
        labels,
        lengths.numpy(),
        DIM,
        coded_reader(codes, starts, lengths, ranges, setting.device),
        "byte",
    )


@dataclass
class Contest:
    """Everything that is measured, in turns."""

    setting: Setting
    options: NetworkOptions
    threads: int
    frames: int
    flop: float

    def measure(self, works: dict[str, Callable[[], Any]]) -> tuple[dict[str, float], float]:
        """Frames per second of each, the best of some turns; operations per second of products in the same turns."""
        best, peak = dict.fromkeys(works, float("inf")), 0.0
        with torch_threads(self.threads):
            for _ in range(self.setting.size(2, 3)):
                for name, work in works.items():
                    best[name] = min(best[name], seconds(work, self.threads, self.setting.device))
                    peak = max(peak, peak_of(self.setting, self.threads, self.options))
        return {name: self.frames / least for name, least in best.items()}, peak

    def row(self, name: str, rate: float, peak: float, reference: float | None, memory: int) -> Row:
        """A row of frames per second."""
        return Row(
            name,
            rate,
            "frames/s",
            reference and rate / reference,
            rate * self.flop / peak,
            memory,
            self.threads,
            "Conv1d, BatchNorm1d" if reference else "",
        )


def epoch_of(run: Run) -> Callable[[], dict[str, float]]:
    """One epoch of the trainer on a run that starts anew each time it is called; keeps the last result in `done`."""

    def work() -> dict[str, float]:
        run.within, run.step, run.sums = 0, 0, dict(NOTHING_DONE)
        with contextlib.redirect_stderr(io.StringIO()):
            work.done = train_epoch(run, Watch(0), Path("last.pt"))
        return work.done

    return work


def compiled_step(plain: PlainNetwork, step: Callable[[Callable], None]) -> Callable[[], None] | None:
    """A step of the plain network under torch.compile; None where it does not compile."""
    call = torch.compile(plain)
    try:
        step(call)
    except Exception as problem:  # no compiler, or one that fails: a row less
        print(f"torch.compile: {(str(problem).strip() or type(problem).__name__).splitlines()[0][:120]}")
        return None
    return lambda: step(call)


def tdnn(setting: Setting) -> Iterator[Row]:
    """Training end to end, its kernels alone, the plain layers, a compiler, a DataLoader; data wait; 8 bits."""
    steps, memory = setting.size(1, 2), PeakMemory(setting.device)
    options = options_of(setting, steps)
    data = arks(setting.folder / "tdnn", setting.size(100, 1000), 800)
    utts = sorted(data.utt2spk)
    names = [f"s{k}" for k in range(SPEAKERS)]
    start = time.perf_counter()
    sources = {
        "tdnn": open_source(data, utts, utts, options, 32.0, "bench", "float"),
        "tdnn_8_bits": open_source(data, utts, utts, options, 32.0, "bench", "byte", setting.device),
    }
    load = 2 * int(sources["tdnn"].lengths.sum()) / (time.perf_counter() - start)
    if setting.device.type == "cuda":
        sources = {"tdnn": resident(setting)}
    runs = {name: prepare(source, names, options, 1) for name, source in sources.items()}
    for threads in setting.threads:
        yield from contest(setting, options, threads, runs, data, steps)
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
    setting: Setting, options: NetworkOptions, threads: int, runs: dict[str, Run], data: DataDir, steps: int
) -> Iterator[Row]:
    """All rows for one number of threads."""
    run = runs["tdnn"]
    batch = next(iter(run.phase.sampler))
    x, labels = batch.features.to(setting.device), batch.labels.to(setting.device)
    plain = PlainNetwork().to(setting.device)
    optimiser = torch.optim.AdamW(plain.parameters(), lr=1e-3)

    def many(net: Callable[[Tensor], Tensor]) -> None:
        for _ in range(steps):
            plain_step(net, optimiser, x, labels, options)

    def kernels() -> None:
        run.step = 0
        run.net.train()
        for _ in range(steps):
            train_step(run, batch, Watch(0))

    works: dict[str, Callable[[], Any]] = {name: epoch_of(each) for name, each in runs.items()}
    works |= {"tdnn_kernels": kernels, "tdnn_conv1d": lambda: many(plain)}
    if setting.full and (compiled := compiled_step(plain, many)):
        works["tdnn_conv1d_compiled"] = compiled
    memory = PeakMemory(setting.device)
    game = Contest(setting, options, threads, steps * options.batch_size * CHUNK, training_flop(run.net, CHUNK))
    rates, peak = game.measure(works)
    for name, rate in rates.items():
        yield game.row(name, rate, peak, None if name == "tdnn_conv1d" else rates["tdnn_conv1d"], memory.bytes())
    done = works["tdnn"].done
    waited = 1e6 * done["waited"] / done["seconds"]
    yield Row("tdnn_data_wait", waited, "ppm of time", None, None, memory.bytes(), threads)
    with torch_threads(threads):
        loaded = dataloader_rate(data, plain, optimiser, options, steps, setting.device)
    yield game.row("tdnn_conv1d_dataloader", loaded, peak, rates["tdnn_conv1d"], memory.bytes())


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


def dataloader_rate(
    data: DataDir,
    plain: PlainNetwork,
    optimiser: torch.optim.Optimizer,
    options: NetworkOptions,
    steps: int,
    device: torch.device,
) -> float:
    """Frames per second (wall) of the plain network fed by a DataLoader with two workers from the same arks."""
    utts = sorted(data.utt2spk)
    source = open_source(data, utts, utts, options, 0.0, "bench", "archive")
    batches = ArkChunks(source, options.batch_size, steps + 2)
    loader = torch.utils.data.DataLoader(batches, batch_size=None, num_workers=WORKERS)
    start = 0.0
    for number, x in enumerate(loader):
        if number == 2:  # the workers have started
            start = time.perf_counter()
        labels = torch.zeros(len(x), dtype=torch.int64, device=device)
        plain_step(plain, optimiser, x.to(device), labels, options)
    return steps * options.batch_size * CHUNK / (time.perf_counter() - start)


def errors(memory: PeakMemory) -> Iterator[Row]:
    """What 8 bits cost, resident and as Kaldi stores them: RMS error over the deviation of the coefficient."""
    x = np.random.default_rng(2).standard_normal((800, DIM)).astype(np.float32)
    header, body = compress.encode(x, 2)
    found = {"tdnn_error_resident": decode(*encode(x)), "tdnn_error_kaldi_ark": header.decode(body)}
    for name, approximation in found.items():
        yield Row(name, 1e6 * relative_error(x, approximation), "ppm of dev.", None, None, memory.bytes())
