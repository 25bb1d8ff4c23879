"""Writing Kaldi archives with their script files, and single vectors and matrices."""

from __future__ import annotations

import contextlib
import gzip
import io
import os
import sys
from collections.abc import Iterator
from types import TracebackType
from typing import IO

import numpy as np

from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write
from pyasp.kaldi import compress
from pyasp.kaldi.names import is_command, refuse_command
from pyasp.kaldi.writer import Writer, write_object

PathLike = str | os.PathLike


@contextlib.contextmanager
def open_output(path: PathLike) -> Iterator[IO[bytes] | gzip.GzipFile]:
    """A binary stream whose content appears under `path` when complete; `-` is standard output, `.gz` compresses."""
    text = os.fspath(path)
    if is_command(text):
        refuse_command(text, False, "output")
    if text == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
    elif text.endswith(".gz"):
        with atomic_write(text) as file, gzip.GzipFile("", "wb", fileobj=file, mtime=0) as packed:
            yield packed
    else:
        with atomic_write(text) as file:
            yield file


class ArkWriter:
    """Writes an archive, and its script file when `scp_path` is given; use it as a context manager.

    Both are written under temporary names and renamed on success, the archive first; on an exception neither appears.
    The lines of the scp name `ark_path` as it was given. compression_method: 0 none, 1 to 7 as Kaldi's
    --compression-method (matrices only). text: Kaldi's text form. `-` writes to standard output.
    """

    def __init__(
        self, ark_path: PathLike, scp_path: PathLike | None = None, compression_method: int = 0, text: bool = False
    ):
        self.ark_path, self.scp_path = os.fspath(ark_path), scp_path
        if scp_path is not None and (self.ark_path == "-" or self.ark_path.endswith(".gz")):
            cure = "An scp holds byte offsets: write a plain archive"
            raise InputError(self.ark_path, "an scp wanted for it", "an archive in a plain file", cure)
        self.compression_method, self.text = compression_method, text
        self._keys: set[str] = set()
        self._stack = contextlib.ExitStack()
        self._ark: IO[bytes] | gzip.GzipFile | None = None
        self._scp: IO[bytes] | None = None

    def __enter__(self) -> ArkWriter:
        with contextlib.ExitStack() as stack:  # left in reverse order: the archive is renamed before its scp
            self._scp = stack.enter_context(atomic_write(self.scp_path)) if self.scp_path is not None else None
            self._ark = stack.enter_context(open_output(self.ark_path))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return self._stack.__exit__(kind, problem, trace)

    @property
    def size(self) -> int:
        """Bytes that were written so far."""
        assert self._ark is not None, "used outside its with block"
        return self._ark.tell()

    def write(self, key: str, array: np.ndarray | bytes) -> None:
        """Adds one vector (n,) or matrix (rows, columns), float32 or float64, under `key`; or what another archive of
        the same settings holds of it, as it is.

        Raises InputError for a key that is empty, holds white space or came before, and for other arrays.
        """
        if key in self._keys or not key or key.split() != [key]:
            found, expected = f"the key {key!r}", "a new key without white space"
            raise InputError(self.ark_path, found, expected, "Repair the keys", f"entry {len(self._keys) + 1}")
        assert self._ark is not None, "used outside its with block"
        data = array if isinstance(array, bytes) else serialise(array, not self.text, self.compression_method)
        self._keys.add(key)
        self._ark.write(key.encode("utf-8") + b" ")
        if self._scp is not None:
            self._scp.write(f"{key} {self.ark_path}:{self._ark.tell()}\n".encode())
        self._ark.write(data)


def serialise(array: np.ndarray, binary: bool = True, compression_method: int = 0) -> bytes:
    """One vector or matrix as Kaldi's bytes (a compressed one printed as text is decoded first, as in Kaldi)."""
    array = np.asarray(array)
    file = io.BytesIO()
    writer = Writer(file, binary)
    if not compression_method or array.ndim != 2:
        writer.array(array)
    elif binary:
        compress.write(file, array, compression_method)
    else:
        header, body = compress.encode(array, compression_method)
        writer.matrix(header.decode(body))
    return file.getvalue()


def save(path: PathLike, array: np.ndarray, binary: bool = True) -> None:
    """Writes one vector (n,) or matrix (rows, columns), float32 or float64; it appears under `path` when complete."""
    with open_output(path) as file, write_object(file, binary) as writer:
        writer.array(array)
