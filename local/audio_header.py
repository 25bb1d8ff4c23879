"""Headers of all audio files of a corpus (a hundred thousand in minutes), what could not be read counted and named."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

from pyasp.audio.decoders import DECODERS, require_program
from pyasp.audio.headers import Header, read_header
from pyasp.core.errors import InputError

THREADS = 16  # header reads wait for the disk


def _try(path: str) -> Header | str:
    try:
        return read_header(path)
    except (InputError, OSError) as error:
        return str(error)


def probe_all(
    paths: Iterable[str], max_bad: float = 0.0, failed: MutableMapping[str, str] | None = None
) -> dict[str, Header]:
    """{path: header} of the readable files. Prints how many failed, and puts {path: reason} of these into `failed`.

    InputError when more than the fraction max_bad did, or when a program that some files need is not on PATH.
    """
    wanted = list(dict.fromkeys(paths))
    with ThreadPoolExecutor(THREADS) as pool:
        results = pool.map(_try, wanted, chunksize=256)
        found = dict(zip(wanted, tqdm(results, total=len(wanted), desc="audio headers", unit="file", disable=None)))
    failures = {path: result for path, result in found.items() if isinstance(result, str)}
    told = f"done {len(wanted) - len(failures)} of {len(wanted)} audio headers, {len(failures)} failed"
    if failures:
        first, reason = next(iter(failures.items()))
        told += f" (first: {first}: {reason})"
        if len(failures) > max_bad * len(wanted):
            cure = "Repair or delete them, or allow a fraction with --max-bad"
            raise InputError(Path(first).parent, told, f"at most {max_bad:g} of the files unreadable", cure)
    print(told, file=sys.stderr)
    if failed is not None:
        failed.update(failures)
    audio = {path: result for path, result in found.items() if not isinstance(result, str)}
    _need_decoders(audio)
    return audio


def _need_decoders(audio: Mapping[str, Header]) -> None:
    """Raises InputError, naming the first file, when a program that some files need is not on PATH."""
    first = {header.encoding: path for path, header in reversed(audio.items()) if header.encoding in DECODERS}
    for encoding, path in first.items():
        require_program(encoding, path)
