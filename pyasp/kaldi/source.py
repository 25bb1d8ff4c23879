"""Where the bytes of a Kaldi table come from: files, offsets, gzip, standard input, commands.

`Source` reads forward and never trusts a size found in the data: what a header claims is compared with what the file
holds, and where that is unknown (gzip, pipes) bytes are taken in bounded pieces. Every error names file, key and
offset.
"""

import contextlib
import gzip
import io
import os
import re
import stat
import subprocess
import sys
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Protocol

from pyasp.core.errors import InputError, Rerun, rerun
from pyasp.core.records import load_record, made_path
from pyasp.kaldi.names import Location

PIECE = 1 << 16  # bytes read at a time when looking for text
LARGEST_PIECE = 1 << 24  # bytes allocated at a time when the total cannot be checked beforehand
GZIP_MAGIC = b"\x1f\x8b"
SPACES = b" \t\n\r\f\v"
NOT_SPACE = re.compile(rb"[^ \t\n\r\f\v]")
SPACE = re.compile(rb"[ \t\n\r\f\v]")
FOREIGN = {b"PKL": "a pickled object", b"NPY": "a NumPy object", b"AUDIO": "an audio object"}


ANEW = "where it is gone, what is damaged is made anew"
STAGES = {  # by how the names of tools begin
    "make_": "features",
    "compute_vad": "features",
    "copy_vad": "augment",
    "train_ubm": "ubm",
    "train_ivector": "extractor",
    "extract_": "embeddings",
    **dict.fromkeys(("train_backend", "adapt_backend", "score", "normalise_scores", "calibrate"), "scores"),
}


def remade(path: str) -> str:
    """The way out of a file of the recipe's own that is damaged, or of an archive that is gone: a stage takes it for
    complete while it, or its script file, is there. "" for files of others."""
    place = Path(path).with_suffix(".scp") if path.endswith(".ark") else Path(path)
    if not path or not (place.is_file() and (record := made_path(place)).is_file()):
        return ""
    tool = str(load_record(record).get("tool"))
    stage = next((stage for start, stage in STAGES.items() if tool.startswith(start)), "")
    return rerun(stage, f"Delete {place}: {ANEW}", then=True)


def remade_all(reasons: Iterable[str]) -> Rerun | None:
    """The same of all files that some reasons tell of; None where there is none."""
    found = [re.findall(f"Delete (.+?): {ANEW}[.] Then run (?:the )?stage (\\w*)", reason) for reason in reasons]
    scripts = {script: stage for each in found for script, stage in each}
    stage = "features" if "features" in scripts.values() else next(iter(scripts.values()), "")
    return rerun(stage, f"Delete {', '.join(sorted(scripts))}: {ANEW}", then=True) if scripts else None


Buffer = bytes | bytearray | memoryview


class Bytes(Protocol):
    """What bytes are read from: an open binary file, or one that is unpacked."""

    def read(self, count: int, /) -> bytes:
        """At most `count` bytes; none at the end."""
        ...


class Source:
    """Bytes read forward from a binary file object, with their place in it.

    name: shown in errors. key: of the present table entry, or None. size: total bytes when known, else None.
    """

    def __init__(self, file: Bytes, name: str, position: int = 0, size: int | None = None):
        self.file, self.name, self.size = file, name, size
        self.key: str | None = None
        self._buffer, self._start, self._base = b"", 0, position

    def tell(self) -> int:
        """Offset of the next byte in the (decompressed) file."""
        return self._base + self._start

    def error(self, found: str, expected: str, cure: str = "", offset: int | None = None) -> InputError:
        """An InputError naming file, key and byte offset."""
        key = "" if self.key is None else f"key {self.key}, "
        place = self.tell() if offset is None else offset
        told = cure or remade(self.name) or "Make the file again; it is damaged or of another kind"
        return InputError(self.name, found, expected, told, item=f"{key}byte {place}")

    def _read(self, count: int) -> bytes:
        try:
            return self.file.read(count) or b""
        except (EOFError, zlib.error, gzip.BadGzipFile) as problem:
            raise self.error(f"broken gzip data ({problem})", "a complete gzip file") from None

    def _fill(self, wanted: int) -> bool:
        """Makes at least `wanted` bytes available in the buffer; False at the end of the file."""
        while (missing := wanted - len(self._buffer) + self._start) > 0:
            more = self._read(max(PIECE, missing))
            if not more:
                return False
            self._base += self._start
            self._buffer, self._start = self._buffer[self._start :] + more, 0
        return True

    def peek(self, count: int) -> bytes:
        """The next `count` bytes, or fewer at the end of the file; they stay unread."""
        self._fill(count)
        return self._buffer[self._start : self._start + count]

    def at_end(self) -> bool:
        """True when no byte is left."""
        return not self.peek(1)

    def require(self, count: int, what: str) -> None:
        """Raises InputError when `count` bytes cannot be there; silent where the size of the file is not known."""
        if count < 0 or (self.size is not None and count > self.size - self.tell()):
            left = "" if self.size is None else f" in the {self.size - self.tell()} bytes left"
            raise self.error(f"{what} of {count} bytes{left}", "a size that fits the file")

    def take(self, count: int, what: str) -> bytearray:
        """Exactly `count` bytes of `what`, writable. Raises InputError, without allocating, when they are not there."""
        self.require(count, what)
        start = self.tell()
        data = bytearray(self._buffer[self._start : self._start + count])
        self._start += len(data)
        while len(data) < count:
            more = self._read(min(count - len(data), LARGEST_PIECE))
            if not more:
                found = f"the end of the file after {len(data)} of {count} bytes of {what}"
                raise self.error(found, "a complete file", offset=start)
            data += more
            self._base += len(more)
        return data

    def skip(self, count: int) -> None:
        """Passes over `count` bytes; InputError when the file is shorter."""
        while count:
            count -= len(self.take(min(count, PIECE), "data before the object"))

    def read(self, count: int) -> bytearray:
        """File-object form of `take`: lets a library read from here, with the same checks."""
        return self.take(count, "data")

    def skip_space(self) -> None:
        """Moves to the next byte that is not white space, or to the end."""
        while self._fill(1):
            found = NOT_SPACE.search(self._buffer, self._start)
            self._start = found.start() if found else len(self._buffer)
            if found:
                return

    def until(self, end: bytes | re.Pattern, what: str, limit: int | None = None) -> bytes | None:
        """Bytes up to `end` (a literal or a pattern of one byte), which is consumed. None: not found before the end of
        the file (nothing consumed) or within `limit` bytes."""
        pattern = end if isinstance(end, re.Pattern) else re.compile(re.escape(end))
        seen = 0
        while True:
            found = pattern.search(self._buffer, self._start + seen)
            if found:
                text, self._start = self._buffer[self._start : found.start()], found.end()
                return text
            seen = len(self._buffer) - self._start
            if (limit is not None and seen > limit) or not self._fill(seen + max(1, min(seen, LARGEST_PIECE))):
                found = pattern.search(self._buffer, self._start + seen)
                if not found:
                    return None

    def rest(self) -> bytes:
        """Everything up to the end of the file."""
        pieces = [self._buffer[self._start :]]
        self._start = len(self._buffer)
        while more := self._read(PIECE):
            pieces.append(more)
            self._base += len(more)
        return b"".join(pieces)

    def refuse_foreign(self) -> None:
        """Raises InputError when a pickle, a NumPy file or audio follows (kaldiio would unpickle or decode it)."""
        start = self.peek(5)
        for flag, what in FOREIGN.items():
            if start.startswith(flag):
                cure = "It is never opened here: convert it with the program that made it"
                raise self.error(f"{what} ({flag.decode()})", "a Kaldi matrix or vector", cure)


@contextlib.contextmanager
def open_location(location: Location) -> Iterator[Source]:
    """A Source at the location's offset. `-` is standard input; gzip is recognised by its first bytes.

    Raises InputError when the file is missing or shorter than the offset, or when the command fails.
    """
    if location.command:
        with _running(location.path) as source:
            yield source
    elif location.path == "-":
        yield _decompressed(Source(sys.stdin.buffer, "standard input"))
    else:
        with contextlib.closing(_open_file(location.path)) as file:
            yield _positioned(file, location)


def _open_file(path: str) -> IO[bytes]:
    try:
        return open(path, "rb", buffering=0)
    except (OSError, ValueError) as problem:  # ValueError: a name with a zero byte
        reason = getattr(problem, "strerror", None) or problem
        cure = "Check the path (relative paths start at the current directory) and the stage that makes it"
        cure = (isinstance(problem, FileNotFoundError) and remade(path)) or cure
        raise InputError(path, f"it cannot be opened ({reason})", "a readable file", cure) from None


def _positioned(file: IO[bytes], location: Location) -> Source:
    status = os.fstat(file.fileno())
    size = status.st_size if stat.S_ISREG(status.st_mode) else None
    if size is not None and file.read(2) == GZIP_MAGIC:
        file.seek(0)
        unpacked = gzip.GzipFile(fileobj=file)
        source = Source(unpacked, location.path)
        source.skip(location.offset)
        return source
    if size is None:
        return _decompressed(Source(file, location.path))
    if location.offset >= max(size, 1):
        expected, cure = f"more than the offset {location.offset}", "Make the archive and its scp again"
        raise InputError(location.path, f"{size} bytes", expected, cure, item=f"byte {location.offset}")
    file.seek(location.offset)
    return Source(file, location.path, location.offset, size)


def _decompressed(source: Source) -> Source:
    """The same source, or one that unpacks it when it starts like gzip."""
    if source.peek(2) != GZIP_MAGIC:
        return source
    return Source(gzip.GzipFile(fileobj=_Forward(source)), source.name)


class _Forward(io.BufferedIOBase):
    """A file for gzip that reads from a Source, which cannot seek."""

    def __init__(self, source: Source):
        self.source = source

    def read(self, count: int | None = -1, /) -> bytes:
        """At most `count` bytes; none at the end."""
        assert count is not None and count >= 0, "gzip asks for so many bytes"
        return bytes(self.source.take(min(count, len(self.source.peek(count))), "gzip data"))


@contextlib.contextmanager
def _running(command: str) -> Iterator[Source]:
    """Output of a shell command that the user admitted with --allow-commands; its failure is an InputError."""
    with subprocess.Popen(["/bin/sh", "-c", command], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield _decompressed(Source(process.stdout, f"{command} |"))
        except InputError:
            _check_exit(command, process, process.stdout)
            raise
        if not process.stdout.read(1):  # a reader that stops early ends the command by a closed pipe: no failure
            _check_exit(command, process, process.stdout)


def _check_exit(command: str, process: subprocess.Popen, output: IO[bytes]) -> None:
    output.close()
    code = process.wait()
    if code > 0:
        raise InputError(f"{command} |", f"exit code {code}", "0", "Run the command alone and repair it")
