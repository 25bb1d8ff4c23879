"""Mutation of valid files, and what a reader may do with the result: answer, or raise InputError. Nothing else.

A case is a valid file after one to four seeded changes. While it is read, the process may hold MEMORY bytes more than
before (RLIMIT_AS), has SECONDS (SIGALRM), may start no process, unpickle no class of its own choice and open, make,
rename or remove nothing outside its directory (audit hook). Cases are numbered, and each depends on its number alone:
`Fuzzer(target, folder).run(1, first=N)` repeats case N.
"""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from pyasp.core.errors import InputError

MEMORY = 384 << 20  # bytes a case may add; torch and libsndfile want some of them once
SECONDS = 20  # a case takes microseconds to milliseconds; the machine may be busy
NUMBERS = (
    0,
    1,
    -1,
    2,
    4,
    127,
    128,
    255,
    256,
    1000,
    32767,
    65535,
    65536,
    1 << 24,
    2**31 - 1,
    -(2**31),
    2**30,
    0x7FFFF000,
)
TOKENS = (
    b"",
    b" ",
    b"\n",
    b"\r\n",
    b"\t",
    b"\0",
    b"\0B",
    b"|",
    b"| touch ran",
    b"touch ran |",
    b"$(touch ran)",
    b"`touch ran`",
    b"../../escaped",
    b"/",
    b"-",
    b"--help",
    b"nan",
    b"inf",
    b"-inf",
    b"1e999",
    b"-1",
    b"0",
    b"99999999999999999999",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xc3\x28",
    b"\xe2\x80\xa8",
    b"[",
    b"]",
    b"{",
    b"}",
    b'"',
    b"null",
    b"true",
    b"1.5",
    b"PKL",
    b"NPY",
    b"AUDIO",
    b"[0:1]",
    b":18446744073709551616",
    b"FM ",
    b"CM ",
    b"CM2 ",
    b"FP ",
    b"<Plda>",
    b"=",
    b"#",
)
WORD = re.compile(rb"[^\s]+")
PROCESSES = {
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.spawn",
    "os.fork",
    "os.forkpty",
    "pty.spawn",
}
WRITES = {
    "os.rename",
    "os.remove",
    "os.mkdir",
    "os.rmdir",
    "os.link",
    "os.symlink",
    "os.truncate",
    "shutil.rmtree",
    "os.chmod",
}


class Forbidden(BaseException):
    """Something that no reader may do. No Exception: readers must not swallow it."""


@dataclass
class Target:
    """seeds: valid files; read: reads one such file from a path; name: of the file; exts: further allowed errors."""

    seeds: list[bytes]
    read: Callable[[Path], object]
    name: str = "case"
    tokens: tuple[bytes, ...] = ()
    prepare: Callable[[Path], None] = lambda folder: None
    allowed: tuple[type[BaseException], ...] = (InputError,)
    wrap: Callable[[bytes], bytes] = bytes  # from what is mutated to what is stored, such as gzip

    def __post_init__(self) -> None:
        self.words = (*TOKENS, *self.tokens)


@dataclass
class Outcome:
    """How many cases were read and refused, the longest time, and the first of each kind of failure."""

    cases: int = 0
    accepted: int = 0
    refused: int = 0
    seconds: float = 0.0
    longest: float = 0.0
    failures: dict[str, str] = field(default_factory=dict)

    def line(self, name: str) -> str:
        """A row of the page's table."""
        return (
            f"| {name} | {self.cases} | {self.accepted} | {self.refused} | {len(self.failures)} | "
            f"{1e3 * self.seconds / max(1, self.cases):.2f} | {1e3 * self.longest:.0f} |"
        )


# ---------------------------------------------------------------- mutations


def _place(rng: random.Random, size: int) -> int:
    return rng.randrange(size + 1)


def flip(data: bytearray, rng: random.Random, target: Target) -> None:
    """Another bit in one byte."""
    if data:
        data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)


def overwrite(data: bytearray, rng: random.Random, target: Target) -> None:
    """Up to eight random bytes."""
    place, size = _place(rng, len(data)), rng.randrange(1, 9)
    data[place : place + size] = rng.randbytes(size)


def truncate(data: bytearray, rng: random.Random, target: Target) -> None:
    """The end is missing."""
    del data[_place(rng, len(data)) :]


def cut_out(data: bytearray, rng: random.Random, target: Target) -> None:
    """A stretch is missing."""
    start = _place(rng, len(data))
    del data[start : start + rng.randrange(1, 64)]


def repeat(data: bytearray, rng: random.Random, target: Target) -> None:
    """A stretch comes twice."""
    start = _place(rng, len(data))
    data[start:start] = data[start : start + rng.randrange(1, 200)]


def splice(data: bytearray, rng: random.Random, target: Target) -> None:
    """Goes on as another seed does."""
    other = rng.choice(target.seeds)
    data[_place(rng, len(data)) :] = other[_place(rng, len(other)) :]


def length_field(data: bytearray, rng: random.Random, target: Target) -> None:
    """A number of 2, 4 or 8 bytes where any bytes were."""
    size, order = rng.choice((2, 4, 4, 4, 8)), rng.choice(("little", "little", "big"))
    place = _place(rng, max(0, len(data) - size))
    data[place : place + size] = (rng.choice(NUMBERS) % (1 << 8 * size)).to_bytes(size, order)


def insert_token(data: bytearray, rng: random.Random, target: Target) -> None:
    """A word that means something to some reader, anywhere."""
    place = _place(rng, len(data))
    data[place:place] = rng.choice(target.words)


def swap_word(data: bytearray, rng: random.Random, target: Target) -> None:
    """One word replaced by another of the file, or by a token."""
    found = list(WORD.finditer(data, 0, 2048))
    if found:
        word = rng.choice(found)
        other = rng.choice(found).group() if rng.random() < 0.5 else rng.choice(target.words)
        data[word.start() : word.end()] = bytes(other)


MUTATIONS = (
    flip,
    flip,
    overwrite,
    truncate,
    cut_out,
    repeat,
    splice,
    length_field,
    length_field,
    insert_token,
    swap_word,
    swap_word,
)


def mutated(target: Target, number: int) -> bytes:
    """Case `number` of a target."""
    rng = random.Random(number)
    data = bytearray(rng.choice(target.seeds))
    for _ in range(rng.choice((1, 1, 2, 3, 4))):
        rng.choice(MUTATIONS)(data, rng, target)
    return target.wrap(bytes(data))


# ---------------------------------------------------------------- limits


class _Guard:
    """The audit hook, which Python keeps for good: it looks only while a folder is set."""

    folder: str | None = None
    installed = False

    def __call__(self, event: str, arguments: tuple) -> None:
        if self.folder is None:
            return
        if event in PROCESSES:
            raise Forbidden(f"started a process: {event} {arguments[:2]}")
        if event == "open" and _writes(arguments) or event in WRITES:
            path = os.path.abspath(os.fsdecode(arguments[0])) if isinstance(arguments[0], (str, bytes)) else self.folder
            if not path.startswith(self.folder + os.sep) and path != self.folder and path != os.devnull:
                raise Forbidden(f"{event} outside the run's directory: {path}")


def _writes(arguments: tuple) -> bool:
    mode, flags = arguments[1], arguments[2] or 0
    return any(letter in (mode or "") for letter in "wax+") or bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))


GUARD = _Guard()


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _late(*_: object) -> None:
    raise Forbidden(f"no answer in {SECONDS} s")


@contextlib.contextmanager
def limits(folder: Path) -> Iterator[None]:
    """Memory, time, processes and places, for the cases inside."""
    if not GUARD.installed:
        sys.addaudithook(GUARD)
        GUARD.installed = True
    before, handler = resource.getrlimit(resource.RLIMIT_AS), signal.signal(signal.SIGALRM, _late)
    resource.setrlimit(resource.RLIMIT_AS, (_address_space() + MEMORY, before[1]))
    GUARD.folder = str(folder)
    try:
        yield
    finally:
        GUARD.folder = None
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, handler)
        resource.setrlimit(resource.RLIMIT_AS, before)


# ---------------------------------------------------------------- cases


class Fuzzer:
    """Cases of one target in one directory."""

    def __init__(self, target: Target, folder: Path):
        self.target, self.folder = target, folder.resolve()
        target.prepare(self.folder)
        self.path = self.folder / target.name
        with contextlib.chdir(self.folder):
            for seed in target.seeds:  # a seed that is refused would make every case a refusal
                self._store(target.wrap(seed))
                target.read(self.path)

    def run(self, cases: int, first: int = 0, until: float = float("inf")) -> Outcome:
        """Cases first, first + 1, ...; fewer when time.monotonic() passes `until`."""
        result, start = Outcome(), time.monotonic()
        with (
            contextlib.chdir(self.folder),
            limits(self.folder),
            warnings.catch_warnings(),
        ):  # relative names stay inside
            warnings.simplefilter("ignore")
            for number in range(first, first + cases):
                self._case(number, result)
                if time.monotonic() > until:
                    break
        result.seconds = time.monotonic() - start
        assert not (self.folder / "ran").exists() and not list(self.folder.parent.parent.glob("escaped*"))
        return result

    def _case(self, number: int, result: Outcome) -> None:
        self._store(mutated(self.target, number))
        begin = time.perf_counter()
        signal.setitimer(signal.ITIMER_REAL, SECONDS)
        try:
            self.target.read(self.path)
            result.accepted += 1
        except self.target.allowed:
            result.refused += 1
        except (Exception, Forbidden) as error:
            self._note(error, number, result)
        signal.setitimer(signal.ITIMER_REAL, 0)
        result.longest = max(result.longest, time.perf_counter() - begin)
        result.cases += 1

    def _store(self, data: bytes) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.write(descriptor, data)
        os.close(descriptor)

    def _note(self, error: BaseException, number: int, result: Outcome) -> None:
        trace, place = error.__traceback__, ""
        while trace:
            if "/pyasp/" in trace.tb_frame.f_code.co_filename or "/local/" in trace.tb_frame.f_code.co_filename:
                place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"
            trace = trace.tb_next
        kind = f"{type(error).__name__} at {place}"
        result.failures.setdefault(kind, f"case {number}: {str(error)[:200]}")
