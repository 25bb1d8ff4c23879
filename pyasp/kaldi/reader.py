"""One Kaldi object, binary or text: tokens, integers, floats, vectors, matrices, packed symmetric matrices.

A binary object starts with `\\0B`; then tokens end with one space, a number is a size byte and its little-endian bytes,
`FV FM FP` (float32) and `DV DM DP` (float64) are followed by dimensions and data. A text object has the same tokens,
numbers with 7 significant digits, and `[ ... ]` around vectors and matrices. Models are read token by token:

    with open_object("final.dubm") as reader:
        reader.expect("<DiagGMM>")
        ...
"""

from __future__ import annotations

import contextlib
import io
import math
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from pyasp.kaldi import compress
from pyasp.kaldi.names import parse_location
from pyasp.kaldi.source import SPACE, SPACES, Buffer, Source, open_location
from pyasp.kaldi.writer import BINARY, DTYPES, FLOATS, INTEGERS

PLAIN = {kind: ("entries",) if kind[1] == "V" else ("rows", "columns") for kind in ("FV", "DV", "FM", "DM")}
Number = TypeVar("Number", int, float)
LONGEST_TOKEN = 200  # bytes; Kaldi's are below 40
LONGEST_HEAD = 64  # bytes; no head of a binary array is longer


@dataclass(frozen=True)
class Plain:
    """Head of an uncompressed vector or matrix. kind: FV, DV, FM or DM; shape: (n,) or (rows, columns)."""

    kind: str
    shape: tuple[int, ...]

    @property
    def dtype(self) -> np.dtype:
        """float32 or float64, little-endian."""
        return DTYPES[self.kind[0]]

    @property
    def body_bytes(self) -> int:
        """Bytes of the data."""
        return math.prod(self.shape) * self.dtype.itemsize

    def decode(self, body: Buffer, start: int = 0, end: int | None = None) -> np.ndarray:
        """Rows (of a vector: elements) start..end, half open, as a view of `body`."""
        return np.frombuffer(body, self.dtype, math.prod(self.shape)).reshape(self.shape)[start:end]


class Reader:
    """Reads one object from a Source. Every failed expectation is an InputError naming file, key and byte.

    binary: True when the object started with the binary mark (which is consumed).
    """

    def __init__(self, source: Source):
        self.source = source
        source.refuse_foreign()
        self.binary = source.peek(2) == BINARY
        if self.binary:
            source.take(2, "binary mark")

    # tokens

    def token(self) -> str:
        """The next token, without the white space that ends it."""
        if not self.binary:
            self.source.skip_space()
        start = self.source.tell()
        text = self.source.until(SPACE, "token", LONGEST_TOKEN)
        if text is None:  # the last token of a text file may end without a space
            text = self.source.rest() if len(self.source.peek(LONGEST_TOKEN)) < LONGEST_TOKEN else b""
        if not text or not text.isascii() or b"\0" in text:
            raise self.source.error("no token", "a token such as <DiagGMM>", offset=start)
        return text.decode("ascii")

    def peek(self) -> str:
        """The next token when one that starts with `<` follows, else the empty string; nothing is consumed."""
        if not self.binary:
            self.source.skip_space()
        ahead = self.source.peek(LONGEST_TOKEN)
        if not ahead.startswith(b"<"):
            return ""
        text = SPACE.split(ahead, 1)[0]
        return text.decode("ascii") if text.isascii() else ""

    def expect(self, *tokens: str) -> str:
        """Reads one token that must be among `tokens`, and returns it."""
        start = self.source.tell()
        found = self.token()
        if found not in tokens:
            raise self.source.error(found, " or ".join(tokens), offset=start)
        return found

    def after(self, *tokens: str) -> Reader:
        """Itself, once these tokens have been read, which must follow."""
        for token in tokens:
            self.expect(token)
        return self

    def at_end(self) -> bool:
        """True when only white space (text) or nothing (binary) is left."""
        if not self.binary:
            self.source.skip_space()
        return self.source.at_end()

    # numbers

    def _number(self, kind: type[Number], formats: dict[int, str], what: str) -> Number:
        start = self.source.tell()
        if self.binary:
            size = struct.unpack("b", self.source.take(1, what))[0]
            if size not in formats:
                raise self.source.error(f"size byte {size}", f"{what} of one of {sorted(formats)} bytes", offset=start)
            return struct.unpack(formats[size], self.source.take(abs(size), what))[0]
        text = self.token()
        try:
            return kind(text)
        except ValueError:
            raise self.source.error(repr(text), what, offset=start) from None

    def integer(self) -> int:
        """A signed or unsigned integer of 1, 2, 4 or 8 bytes."""
        return self._number(int, INTEGERS, "an integer")

    def int32(self) -> int:
        """A signed 4-byte integer."""
        return self._number(int, {4: "<i"}, "an int32")

    def float64(self) -> float:
        """A float of 4 or 8 bytes, as stored."""
        return self._number(float, FLOATS, "a float")

    float32 = float64  # either precision is accepted, as in Kaldi

    def dimension(self, what: str) -> int:
        """An int32 that must not be negative."""
        start, size = self.source.tell(), self.int32()
        if size < 0:
            raise self.source.error(f"{size} {what}", "0 or more", offset=start)
        return size

    # arrays

    def _brackets(self) -> list[bytes]:
        """Rows of numbers between `[` and `]`; the rest of the last line is consumed."""
        self.source.skip_space()
        start = self.source.tell()
        if self.source.peek(1) != b"[":
            raise self.source.error(repr(self.source.peek(12)), "[", offset=start)
        text = self.source.until(b"]", "numbers in brackets")
        if text is None:
            raise self.source.error("the end of the file", "] after the numbers", offset=start)
        self._end_line()
        return text[1:].replace(b";", b"\n").split(b"\n")

    def _end_line(self) -> None:
        """Consumes blanks and the newline after an array."""
        while (ahead := self.source.peek(1)) and ahead in SPACES:
            self.source.take(1, "line end")
            if ahead == b"\n":
                return

    def _parse(self, words: list[bytes], dtype: np.dtype) -> np.ndarray:
        try:
            return np.array(words, "S").astype(np.float64).astype(dtype) if words else np.zeros(0, dtype)
        except ValueError:
            bad = next(word for word in words if not _is_number(word))
            raise self.source.error(repr(bad.decode("latin-1")), "a number") from None

    def text_array(self, dtype: np.dtype | type = np.float32) -> np.ndarray:
        """A text vector (numbers on one line) or matrix (one line a row), told apart by the line breaks."""
        lines = self._brackets()
        rows = [row for row in (line.split() for line in lines) if row]
        if len(lines) == 1:
            return self._parse(rows[0] if rows else [], np.dtype(dtype))
        widths = {len(row) for row in rows}
        if len(widths) > 1:
            raise self.source.error(f"rows of {min(widths)} and {max(widths)} numbers", "rows of equal length")
        values = self._parse([word for row in rows for word in row], np.dtype(dtype))
        return values.reshape(len(rows), widths.pop() if widths else 0)

    def head(self) -> Plain | compress.Compressed:
        """Type and sizes of the binary array that follows; its body comes next."""
        start, kind = self.source.tell(), self.token()
        if kind in compress.CODES:
            return compress.read_header(self.source, kind)
        if kind not in PLAIN:
            raise self.source.error(kind, " ".join(PLAIN) + " or " + " ".join(compress.CODES), offset=start)
        return Plain(kind, tuple(self.dimension(what) for what in PLAIN[kind]))

    def array(self, dtype: np.dtype | type | None = None) -> np.ndarray:
        """A vector or a matrix, whichever follows: (n,) or (rows, columns), float32 or float64 as stored.

        Compressed matrices come as float32. Text has no type: float32 unless `dtype` says otherwise.
        """
        if not self.binary:
            return self.text_array(dtype or np.float32)
        head = self.head()
        result = head.decode(self.source.take(head.body_bytes, f"{head.kind} of {head.shape}"))
        return result if dtype is None else result.astype(dtype, copy=False)

    def vector(self, dtype: np.dtype | type | None = None) -> np.ndarray:
        """(n,) float32 or float64 as stored; text: float32, or `dtype`."""
        start, result = self.source.tell(), self.array(dtype)
        if result.ndim != 1:
            raise self.source.error(f"a {result.shape[0]} x {result.shape[1]} matrix", "a vector", offset=start)
        return result

    def matrix(self, dtype: np.dtype | type | None = None) -> np.ndarray:
        """(rows, columns) float32 or float64 as stored; text: float32, or `dtype`; an empty matrix is (0, 0)."""
        start, result = self.source.tell(), self.array(dtype)
        if result.ndim == 1 and not self.binary:  # one line of text: a matrix of one row, or an empty one
            return result.reshape(min(len(result), 1), len(result))
        if result.ndim != 2:
            raise self.source.error(f"a vector of {len(result)}", "a matrix", offset=start)
        return result

    def packed(self, dtype: np.dtype | type | None = None) -> tuple[int, np.ndarray]:
        """(n, values): a symmetric (or triangular) n x n matrix as its n(n+1)/2 lower-triangle values, row by row."""
        start = self.source.tell()
        if self.binary:
            stored = DTYPES[self.expect("FP", "DP")[0]]
            size = self.dimension("rows")
            values = np.frombuffer(self.source.take(size * (size + 1) // 2 * stored.itemsize, "packed matrix"), stored)
            return size, values if dtype is None else values.astype(dtype, copy=False)
        values = self._parse(b"\n".join(self._brackets()).split(), np.dtype(dtype or np.float32))
        size = int((2 * len(values) + 0.25) ** 0.5)
        if size * (size + 1) // 2 != len(values):
            raise self.source.error(f"{len(values)} numbers", "n(n+1)/2 numbers of a lower triangle", offset=start)
        return size, values


def head_ahead(
    ahead: bytes, name: str, position: int, size: int | None, key: str | None
) -> tuple[Plain | compress.Compressed, int] | None:
    """Head of the binary array that begins with the bytes `ahead` at a position in a file of some size, and where its
    body begins; None for text. Raises InputError unless its sizes are sane and fit the file."""
    probe = Source(io.BytesIO(ahead), name, position, size)
    probe.key = key
    reader = Reader(probe)
    if not reader.binary:
        return None
    head = reader.head()
    probe.require(head.body_bytes, f"{head.kind} of {head.shape}")
    return head, probe.tell()


def _is_number(word: bytes) -> bool:
    try:
        np.array([word], "S").astype(np.float64)
    except ValueError:
        return False
    return True


@contextlib.contextmanager
def open_object(path: str | os.PathLike) -> Iterator[Reader]:
    """A Reader on `path` (also `path:offset`, gzip, `-`). Raises InputError for a missing file or a command."""
    with open_location(parse_location(path)) as source:
        yield Reader(source)
