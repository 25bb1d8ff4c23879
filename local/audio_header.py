"""Headers of all audio files of a corpus, what could not be read counted and named."""

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from pyasp.audio.decoders import DECODERS, require_program, words_of
from pyasp.audio.folders import some
from pyasp.audio.headers import Header, read_headers
from pyasp.audio.recording import read_delivered
from pyasp.core.errors import InputError
from pyasp.data.checks import too_short
from pyasp.data.datadir import write_reasons

LIST = "unreadable.tsv"  # in the data directory: every file that could not be read, with the reason
PROGRAM = re.compile(r"/[\w./+-]+|[\w+-][\w.+-]*")  # found from anywhere
THREADS = 16  # commands wait for the disk


def probe_all(
    paths: Iterable[str], max_bad: float = 0.0, data: str | Path | None = None
) -> tuple[dict[str, Header], dict[str, str]]:
    """({path: header} of the readable files, and of what commands (`... |`) deliver, which are run,
    {path: reason} of the others, and of those too short for one frame).

    Prints how many failed, and lists them in unreadable.tsv of `data`. Raises InputError when more than the fraction
    max_bad did, or when a program that some files need is not on PATH.
    """
    wanted = list(dict.fromkeys(paths))
    commands = [path for path in wanted if path.endswith("|")]
    require_programs(commands)
    with ThreadPoolExecutor(THREADS) as pool:
        heard = dict(zip(commands, pool.map(_heard, commands)))
    found = read_headers(path for path in wanted if path not in heard) | heard
    reasons = {path: _fault(result) for path, result in found.items()}
    failures = {path: reason for path, reason in reasons.items() if reason}
    told = f"{len(found) - len(failures)} of {len(found)} audio headers, {len(failures)} failed"
    if data:
        (Path(data) / LIST).unlink(missing_ok=True)
    if failures:
        first, reason = next(iter(failures.items()))
        if data:
            write_reasons(Path(data) / LIST, failures, "file")
        shown = reason if reason.startswith(first) else f"{first}: {reason}"
        told += f" (first: {shown}{f'; all of them in {Path(data) / LIST}' if data else ''})"
        if len(failures) > max_bad * len(found):
            cure = "Repair them, or allow a fraction with --max-bad: they are left out"
            place = "commands of wav.scp" if first.endswith("|") else "recordings"
            raise InputError(place, told, f"at most {max_bad:g} of the files unusable", cure)
    print(f"done {told}", file=sys.stderr)
    audio = {path: result for path, result in found.items() if isinstance(result, Header) and path not in failures}
    first_of = {header.encoding: path for path, header in reversed(audio.items()) if header.encoding in DECODERS}
    for encoding, path in first_of.items():
        require_program(encoding, path)
    return audio, failures


def _fault(found: Header | str) -> str:
    """Why a recording cannot be used, as far as its header tells; "" where it can."""
    return found if isinstance(found, str) else too_short(found.samples / found.rate)


def _heard(entry: str) -> Header | str:
    """The header of the audio that a command of wav.scp delivers, or why there is none."""
    shell = ["bash", "-c", f"set -o pipefail; {entry.rstrip()[:-1]}"]
    done = subprocess.run(shell, stdin=subprocess.DEVNULL, capture_output=True, check=False)
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        return f"exit code {done.returncode} ({said[-1] if said else 'no message'})"
    try:
        samples, rate = read_delivered(done.stdout, entry)
    except InputError as error:
        return str(error)
    return Header(rate, samples.shape[1], samples.shape[0], "command")


def programs_of(command: str) -> list[str]:
    """The programs that a shell command starts, as far as its words show: the first one, and those behind operators;
    none where it sets PATH itself."""
    words = words_of(command) if "PATH=" not in command else []
    begins = [word for before, word in zip(["|", *words], words) if before in ("|", "||", "&&", ";", "(")]
    return [word for word in begins if PROGRAM.fullmatch(word)]


def require_programs(commands: Iterable[str]) -> None:
    """Raises InputError when a program of some commands (`... |`) is not there: before any of them is run."""
    first: dict[str, str] = {}
    for command in commands:
        for program in programs_of(command.rstrip()[:-1]):
            first.setdefault(program, command)
    if not first:
        return
    look = 'for each; do type -t -- "$each" >/dev/null || echo "$each"; done'
    done = subprocess.run(["bash", "-c", look, "bash", *first], capture_output=True, text=True, check=False)
    if lacking := done.stdout.split():
        found, cure = f"no {some(lacking)} on PATH", f"Install {some(lacking)}, or convert the recordings to files"
        raise InputError("wav.scp", found, "the programs of its commands", cure, item=first[lacking[0]])


def by_rate(headers: Iterable[Header]) -> dict[str, int]:
    """{"16000 Hz": how many}, the lowest rate first."""
    return {f"{rate} Hz": count for rate, count in sorted(Counter(header.rate for header in headers).items())}


def rates_of(audio: Mapping[str, Header], wanted: int = 0) -> dict[str, Any]:
    """What a summary says of the rates: how many files have which, and a warning of those lower than `wanted`, the
    features' rate."""
    found: dict[str, Any] = {"recordings by rate": by_rate(audio.values())}
    low = [path for path, header in audio.items() if header.rate < wanted]
    if low:
        counts = sorted(Counter(audio[path].rate for path in low).items())
        tops = some([f"{count} of {rate} Hz nothing above {rate // 2} Hz" for rate, count in counts])
        other = "; give --conf a copy of yours with the mfcc.conf of their rate, such as conf/tel8k's"
        cure = other if len(low) == len(audio) else ""
        found["warning of rates"] = (
            f"{len(low)} of {len(audio)} recordings have a lower rate than the features, {wanted} Hz "
            f"(first: {low[0]}), and hold {tops}{cure}"
        )
    return found
