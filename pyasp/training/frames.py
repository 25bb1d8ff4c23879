"""Where training frames come from: memory, the memory of the GPU, or the feature arks themselves.

    U        recordings               N, D   voiced frames of all of them; coefficients
    lengths  (U,) int64               voiced frames of each recording
    labels   (U,) int64               speaker of each recording, 0..S-1

All read the stored features in place (memory maps) through the front end; nothing is written to disk. STORES:

    float    every frame in memory, 4 N D bytes (VoxCeleb1 without copies, 40 coefficients: 20 GB)
    byte     every frame in 8 bits, N D bytes (4.9 GB), with a range per recording and coefficient, as Kaldi's
             compressed matrices keep one a column: in the memory of the GPU where it fits there, else in the host's,
             from where batches go over pinned; numbers are made on the device
    archive  each chunk is read from the arks when it is drawn, with the rows around it that the mean normalisation
             needs: no memory but the voicing decisions, about a millisecond a chunk

`auto` takes, on a CPU, the first of them that fits into `--memory-gb`, and `byte` before `float` on a GPU.
"""

import functools
import threading
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pyasp.core.errors import InputError, rerun
from pyasp.core.progress import bar
from pyasp.core.threads import in_threads
from pyasp.data.datadir import DataDir
from pyasp.features.frontend import FrontendOptions, frontend_chunk, output_dim
from pyasp.features.stored import iterate
from pyasp.kaldi import ScpReader

STORES = ("auto", "float", "byte", "archive")
FREE_SHARE = 0.5  # of a GPU's free memory that features may take: the rest is the network's
CPU = torch.device("cpu")

# (which (B,), offsets (B,), length) -> chunks (B, length, D) float32 of recordings `which` from frame `offsets` on. A
# recording that ends too early goes on from its beginning.
Reader = Callable[[np.ndarray, np.ndarray, int], Tensor]
Put = Callable[[int, slice, np.ndarray], None]  # takes a recording's number, the rows of its frames, and these (T, D)


@dataclass(frozen=True)
class FrameSource:
    """Voiced, normalised frames of a list of recordings."""

    utts: list[str]
    labels: np.ndarray  # (U,) int64
    lengths: np.ndarray  # (U,) int64, at least 1
    dim: int  # D
    gather: Reader
    kind: str = "float"  # one of STORES but auto


def open_source(
    data: DataDir,
    utts: list[str],
    speakers: list[str],
    options: FrontendOptions,
    memory_gb: float,
    title: str,
    store: str = "auto",
    device: torch.device = CPU,
) -> FrameSource:
    """The recordings `utts` of `data`; labels are positions in `speakers`; chunks of 8 bits come out on `device`.

    Raises InputError when a recording has no usable frames, or its speaker is not in `speakers`.
    """
    number = {speaker: index for index, speaker in enumerate(speakers)}
    unknown = next((utt for utt in utts if data.utt2spk[utt] not in number), None)
    if unknown is not None:
        found, cure = f"speaker {data.utt2spk[unknown]}, who has no training recording", rerun("select")
        raise InputError(data / "valid_utts", found, "validation recordings of training speakers", cure, item=unknown)
    labels = np.array([number[data.utt2spk[utt]] for utt in utts], dtype=np.int64)
    decisions = read_decisions(data, utts, title)
    lengths = np.array([voiced.sum() for voiced in decisions], dtype=np.int64)
    dim = output_dim(ScpReader(data / options.table).shape(utts[0])[1], options)
    kind = choose_store(store, int(lengths.sum()) * dim, memory_gb, device)
    if kind == "archive":
        return FrameSource(utts, labels, lengths, dim, archive_reader(data, utts, decisions, options), kind)
    fill = functools.partial(each_recording, data, utts, lengths, dim, options, title)
    gather = byte_reader(fill, lengths, dim, device) if kind == "byte" else memory_reader(fill, lengths, dim)
    return FrameSource(utts, labels, lengths, dim, gather, kind)


def choose_store(store: str, values: int, memory_gb: float, device: torch.device) -> str:
    """One of STORES for `values` numbers; `auto` is resolved."""
    if store != "auto":
        return store
    fitting = [kind for kind, size in (("float", 4), ("byte", 1)) if 1e-9 * size * values <= memory_gb]
    if device.type == "cuda" and ("byte" in fitting or values <= FREE_SHARE * torch.cuda.mem_get_info(device)[0]):
        return "byte"
    return fitting[0] if fitting else "archive"


def read_decisions(data: DataDir, utts: list[str], title: str) -> list[np.ndarray]:
    """Decisions (T,) float32 of each recording. Raises InputError where one is missing or has no voiced frame."""
    vad, decisions = ScpReader(data / "vad.scp"), []
    for utt in bar(utts, title=f"{title}: voiced frames", unit="utt"):
        if utt not in vad:
            raise InputError(data / "vad.scp", "no entry", "decisions for every recording", rerun("features"), item=utt)
        decisions.append(vad[utt])
        if not decisions[-1].any():
            found, expected, cure = "no voiced frame", "at least one", rerun("select", "It leaves such recordings out")
            raise InputError(data / "vad.scp", found, expected, cure, item=utt)
    return decisions


def starts_of(lengths: np.ndarray) -> np.ndarray:
    """Row of each recording's first frame (U,) when all lie one behind the other."""
    return lengths.cumsum() - lengths


def each_recording(
    data: DataDir, utts: list[str], lengths: np.ndarray, dim: int, options: FrontendOptions, title: str, put: Put
) -> None:
    """Calls `put` for every recording, from as many threads as torch has.

    Raises InputError for features of another dimension.
    """
    starts, failed = starts_of(lengths), threading.Event()  # in one thread: the others need not go on

    def work(part: np.ndarray) -> None:
        try:
            for index, (utt, features) in zip(part, iterate(data, options, [utts[k] for k in part])):
                if failed.is_set():
                    return
                if features.shape != (lengths[index], dim):
                    found, expected = f"{features.shape[1]} coefficients", f"{dim}, as in the first recording"
                    raise InputError(data / options.table, found, expected, rerun("features", force=True), item=utt)
                put(int(index), slice(starts[index], starts[index] + lengths[index]), features)
                progress.update()
        except BaseException:
            failed.set()
            raise

    with bar(total=len(utts), title=f"{title}: features", unit="utt") as progress:
        in_threads(work, np.array_split(np.arange(len(utts)), min(torch.get_num_threads(), len(utts))))


def rows_of(starts: Tensor, lengths: Tensor, which: Tensor, offsets: Tensor, length: int) -> Tensor:
    """Row numbers (B * length,) of chunks that go on from the recording's beginning where it ends too early."""
    steps = (offsets[:, None] + torch.arange(length, device=offsets.device)) % lengths[which][:, None]
    return (starts[which][:, None] + steps).flatten()


def memory_reader(fill: Callable[[Put], None], lengths: np.ndarray, dim: int) -> Reader:
    """All frames (N, D) in one block; a batch is one gather of its rows."""
    frames = torch.empty(int(lengths.sum()), dim)
    starts, counts = torch.from_numpy(starts_of(lengths)), torch.from_numpy(lengths)

    def put(index: int, rows: slice, features: np.ndarray) -> None:
        frames[rows] = torch.from_numpy(features)

    def read(which: np.ndarray, offsets: np.ndarray, length: int) -> Tensor:
        rows = rows_of(starts, counts, torch.from_numpy(which), torch.from_numpy(offsets), length)
        return frames.index_select(0, rows).view(len(which), length, dim)

    fill(put)
    return read


def byte_reader(fill: Callable[[Put], None], lengths: np.ndarray, dim: int, device: torch.device) -> Reader:
    """All frames in 8 bits, on `device` where they fit, else on the host; batches are decoded on `device`."""
    codes = torch.empty(int(lengths.sum()), dim, dtype=torch.uint8)
    ranges = torch.empty(2, len(lengths), dim)

    def put(index: int, rows: slice, features: np.ndarray) -> None:
        codes[rows], ranges[0, index], ranges[1, index] = map(torch.from_numpy, encode(features))

    fill(put)
    return coded_reader(codes, torch.from_numpy(starts_of(lengths)), torch.from_numpy(lengths), ranges, device)


def coded_reader(codes: Tensor, starts: Tensor, lengths: Tensor, ranges: Tensor, device: torch.device) -> Reader:
    """Chunks of codes (N, D) uint8 with ranges (2, U, D): low and step. float32 on `device`."""
    if device.type == "cuda" and codes.numel() <= FREE_SHARE * torch.cuda.mem_get_info(device)[0]:
        codes = codes.to(device)
    on_the_way = codes.device != device
    starts, lengths, ranges = starts.to(codes.device), lengths.to(codes.device), ranges.to(device)

    def read(which: np.ndarray, offsets: np.ndarray, length: int) -> Tensor:
        chosen = torch.from_numpy(which).to(codes.device)
        rows = rows_of(starts, lengths, chosen, torch.from_numpy(offsets).to(codes.device), length)
        picked = codes.index_select(0, rows).view(len(which), length, -1)
        picked = picked.pin_memory().to(device, non_blocking=True) if on_the_way else picked
        low, step = ranges[:, chosen.to(device)].unsqueeze(2)
        return torch.addcmul(low, picked.float(), step)

    return read


def archive_reader(data: DataDir, utts: list[str], decisions: list[np.ndarray], options: FrontendOptions) -> Reader:
    """Each chunk from its rows of the ark."""
    feats = ScpReader(data / options.table)

    def chunk(index: int, offset: int, length: int) -> np.ndarray:
        rows = functools.partial(feats.rows, utts[index])
        available = int(decisions[index].sum())
        if available >= offset + length:
            return frontend_chunk(rows, decisions[index], options, offset, offset + length)
        whole = frontend_chunk(rows, decisions[index], options)
        return whole[(offset + np.arange(length)) % available]

    def read(which: np.ndarray, offsets: np.ndarray, length: int) -> Tensor:
        return torch.from_numpy(np.stack([chunk(int(k), int(offset), length) for k, offset in zip(which, offsets)]))

    return read


def encode(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x (T, D) float32, T >= 1 -> code (T, D) uint8, low (D,) and step (D,) float32: x ~ low + code step, wrong by at
    most step / 2; step is (largest - least) / 255.

    A coefficient that is not finite somewhere comes back as NaN everywhere: the training names the recording.
    """
    low, high = x.min(axis=0), x.max(axis=0)
    bad = ~np.isfinite(low + high)
    low, step = np.where(bad, np.nan, low).astype(np.float32), ((high - low) / np.float32(255)).astype(np.float32)
    scale = np.where(bad | (step == 0), 1, step)
    code = np.rint((np.nan_to_num(x, posinf=0, neginf=0) - np.where(bad, 0, low)) / scale)
    return np.clip(code, 0, 255).astype(np.uint8), low, np.where(bad, 0, step).astype(np.float32)
