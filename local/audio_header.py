"""Headers of all audio files of a corpus, what could not be read counted and named."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path

from pyasp.audio.decoders import DECODERS, require_program
from pyasp.audio.headers import Header, read_headers
from pyasp.core.errors import InputError


def probe_all(
    paths: Iterable[str], max_bad: float = 0.0, failed: MutableMapping[str, str] | None = None
) -> dict[str, Header]:
    """{path: header} of the readable files. Prints how many failed, and puts {path: reason} of these into `failed`.

    InputError when more than the fraction max_bad did, or when a program that some files need is not on PATH.
    """
    found = read_headers(paths)
    failures = {path: result for path, result in found.items() if isinstance(result, str)}
    told = f"done {len(found) - len(failures)} of {len(found)} audio headers, {len(failures)} failed"
    if failures:
        first, reason = next(iter(failures.items()))
        told += f" (first: {first}: {reason})"
        if len(failures) > max_bad * len(found):
            cure = "Repair them, or allow a fraction with --max-bad: they are left out, and named in dropped.tsv"
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
