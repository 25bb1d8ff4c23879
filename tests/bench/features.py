"""Rows of the benchmark: MFCC from files to an archive, against lhotse and kaldi-native-fbank; short files; two jobs;
the whole chain from a wav file to an i-vector."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib.util
import io
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from lhotse import CutSet, MfccConfig, MonoCut, Recording
from lhotse import Mfcc as LhotseMfcc

from bench import models
from bench.measure import CPU, PeakMemory, Reference, Row, Setting, rows
from pyasp.audio.cuts import read_samples, use_libsndfile
from pyasp.bin import make_mfcc
from pyasp.features.frontend import FrontendOptions, frontend
from pyasp.features.mfcc import Mfcc, MfccOptions
from pyasp.features.vad import VadOptions, energy_vad
from pyasp.gmm.posteriors import Aligner
from pyasp.ivector.model import Estimator
from pyasp.ivector.statistics import extract

RATE, FRAME_FLOP = 16000, 20_000  # samples/s; FFT, mel bins and cosine transform of a frame
OPTIONS = MfccOptions(dither=0.0, num_ceps=40, num_mel_bins=40, high_freq=7600.0, snip_edges=False)
FORMATS = {"wav": {}, "flac": {}, "sph": {"format": "NIST"}}


def corpus(folder: Path, utterances: int, length: float, suffix: str = "wav", files: int = 50) -> Path:
    """A data directory of `utterances` recordings of `length` seconds of noise; they share `files` audio files."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(7)
    paths = [folder / f"audio{k}.{suffix}" for k in range(min(files, utterances))]
    for path in paths:
        level = np.repeat(rng.uniform(50, 3000, int(10 * length) + 1), RATE // 10)[: int(RATE * length)]
        soundfile.write(
            path,
            (rng.standard_normal(len(level)) * level).clip(-32768, 32767).astype(np.int16),
            RATE,
            **FORMATS[suffix],
        )
    first = [Recording.from_file(path) for path in paths]
    names = [f"u{k:07d}" for k in range(utterances)]
    CutSet.from_cuts(
        MonoCut(name, 0, length, 0, recording=dataclasses.replace(first[k % len(first)], id=name))
        for k, name in enumerate(names)
    ).to_file(folder / "cuts.jsonl.gz")
    (folder / "utt2spk").write_text("".join(f"{name} {name}\n" for name in names), encoding="utf-8")
    return folder


def arguments(data: Path, out: Path, job: int = 1, jobs: int = 1, compress: bool = True) -> list[str]:
    """Command line of make_mfcc with OPTIONS."""
    kept = {name: getattr(OPTIONS, name) for name in ("dither", "num_ceps", "num_mel_bins", "high_freq", "snip_edges")}
    every = {**kept, "force": True, "compress": compress, "job": job, "num_jobs": jobs}
    return [*(f"--{key.replace('_', '-')}={str(value).lower()}" for key, value in every.items()), str(data), str(out)]


def _made(data: Path, compress: bool = True) -> Callable[[], None]:
    """make_mfcc over a directory, in this process; every call makes all shards again."""

    def work() -> None:
        for path in data.glob("out.*"):
            path.unlink()
        with contextlib.redirect_stderr(io.StringIO()):
            assert make_mfcc.main(arguments(data, data / "out", compress=compress)) in (None, 0)

    return work


def lhotse_work(samples: np.ndarray, times: int) -> Callable[[], None]:
    """lhotse's extractor over an array in memory, nothing read and nothing written."""
    extractor = LhotseMfcc(
        MfccConfig(num_ceps=40, num_mel_bins=40, low_freq=20, high_freq=7600, use_energy=False, dither=0.0)
    )
    scaled = (samples / 32768.0).astype(np.float32)
    return lambda: [extractor.extract(scaled, RATE) for _ in range(times)]


def native_work(samples: np.ndarray, times: int) -> Callable[[], None]:
    """kaldi-native-fbank over an array in memory. Raises ImportError where it is not installed."""
    import kaldi_native_fbank as native

    options = native.MfccOptions()
    options.frame_opts.dither, options.frame_opts.samp_freq, options.frame_opts.snip_edges = 0.0, RATE, False
    options.mel_opts.num_bins, options.mel_opts.high_freq, options.num_ceps = 40, 7600.0, 40
    values = samples.astype(np.float32)

    def work() -> None:
        for _ in range(times):
            extractor = native.OnlineMfcc(options)
            extractor.accept_waveform(RATE, values.tolist())
            extractor.input_finished()
            for t in range(extractor.num_frames_ready):
                extractor.get_frame(t)

    return work


def mfcc(setting: Setting) -> Iterator[Row]:
    """8-s wav files to an archive, on one core, as it is written by default and uncompressed; and from memory."""
    count, length = setting.size(150, 600), 8.0
    data = corpus(setting.folder / "mfcc", count, length)
    samples = soundfile.read(data / "audio0.wav", dtype="int16")[0].astype(np.float32)
    extractor, one_core = Mfcc(OPTIONS), dataclasses.replace(setting, device=CPU, threads=(1,))
    references = {"lhotse": (lhotse_work(samples, 10), 10)}
    if importlib.util.find_spec("kaldi_native_fbank"):
        references["kaldi-native-fbank"] = native_work(samples, 2), 2
    works = {
        "mfcc_wav_to_compressed_ark": (_made(data), count),
        "mfcc_wav_to_ark": (_made(data, False), count),
        "mfcc_in_memory": (lambda: [extractor.compute(samples) for _ in range(20)], 20),
    }
    for name, (work, files) in works.items():
        for against, (reference, times) in references.items():
            other = Reference(f"{against}, from memory", lambda: reference, times * length)
            yield from rows(one_core, name, "x real time", files * length, work, other, 100 * FRAME_FLOP)


def short_files(setting: Setting) -> Iterator[Row]:
    """Files of one second, of each format: what a file costs beyond its frames."""
    count, one_core = setting.size(400, 3000), dataclasses.replace(setting, threads=(1,))
    for suffix in FORMATS:
        work = _made(corpus(setting.folder / f"short_{suffix}", count, 1.0, suffix, 300))
        yield from rows(one_core, f"mfcc_one_second_files_{suffix}", "files/s", count, work)


def two_jobs(setting: Setting) -> Iterator[Row]:
    """The same directory by one process and by two at once, start-up included: wall time, for an idle machine."""
    count = setting.size(4800, 12000)
    data = corpus(setting.folder / "jobs", count, 8.0)
    one, two = (min(_jobs_wall(data, jobs) for _ in range(setting.size(1, 2))) for jobs in (1, 2))
    yield Row("mfcc_two_jobs", count * 8.0 / two, "x real time", one / two, None, PeakMemory().bytes(), 2, "one job")


def _jobs_wall(data: Path, jobs: int) -> float:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    for path in data.glob("out.*"):
        path.unlink()
    start = time.perf_counter()
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "pyasp.bin.make_mfcc", *arguments(data, data / "out", job, jobs)],
            env=environment,
            stderr=subprocess.DEVNULL,
        )
        for job in range(1, jobs + 1)
    ]
    codes = [process.wait() for process in running]
    assert not any(codes), "a job failed"
    return time.perf_counter() - start


def chain(setting: Setting) -> Iterator[Row]:
    """wav files to i-vectors: reading, MFCC, voice activity, deltas and normalisation, posteriors, i-vector."""
    num_gauss, ivector_dim = setting.size((512, 200), (2048, 400))
    count, length = setting.size(30, 300), 10.0
    data = corpus(setting.folder / "chain", count, length, files=30)
    use_libsndfile()
    ubm = models.ubm(num_gauss, 60)
    aligner = Aligner(ubm.to_diag(), ubm, 20, 0.025, device=setting.device)
    estimator = Estimator(models.extractor(num_gauss, 60, ivector_dim), setting.device, torch.float32)
    extractor = Mfcc(OPTIONS)

    def features() -> Iterator[tuple[str, np.ndarray]]:
        for cut in CutSet.from_file(data / "cuts.jsonl.gz"):
            stored = extractor.compute(read_samples(cut.to_dict(), RATE))
            voiced = energy_vad(stored[:, 0], VadOptions(vad_energy_threshold=5.5))
            yield cut.id, frontend(stored, voiced, FrontendOptions(num_ceps=20))

    def work() -> None:
        assert sum(1 for _ in extract(features(), aligner, estimator)) == count

    yield from rows(setting, "wav_to_ivector", "x real time", count * length, work, turns=2)
