"""Writing one Kaldi object, binary or text, byte for byte as Kaldi does (`reader` reads it).

Text is what a C++ stream of precision 7 prints: 7 significant digits, a space after every number and token.
"""

import contextlib
import os
import struct
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write

BINARY = b"\0B"
DTYPES: dict[str, np.dtype] = {"F": np.dtype("<f4"), "D": np.dtype("<f8")}
LETTERS = {np.dtype(np.float32): "F", np.dtype(np.float64): "D"}
INTEGERS = {1: "<b", 2: "<h", 4: "<i", 8: "<q", -1: "<B", -2: "<H", -4: "<I", -8: "<Q"}  # size byte < 0: unsigned
FLOATS = {4: "<f", 8: "<d"}
LINES = {"<DiagGMM>", "</DiagGMM>", "<FullGMM>", "</FullGMM>"}  # tokens that end a line of text


class Output(Protocol):
    """What bytes are written to: an open binary file, or one that packs them."""

    def write(self, data: bytes | memoryview, /) -> int:
        """All of them."""
        ...


def numbers(values: np.ndarray) -> str:
    """Values as Kaldi prints them: 7 significant digits, each followed by a space."""
    flat = values.tolist()
    return "%.7g " * len(flat) % tuple(flat)


class Writer:
    """Writes one object to an open binary file. The dtype of an array decides between float32 and float64 forms."""

    def __init__(self, file: Output, binary: bool = True):
        self.file, self.binary = file, binary
        if binary:
            file.write(BINARY)

    def put(self, *values: str | float | np.ndarray) -> None:
        """Tokens, int32 and float64 numbers, vectors and matrices, one after the other, as their types say."""
        for value in values:
            match value:
                case str():
                    self.token(value)
                case int():
                    self.int32(value)
                case float():
                    self.float64(value)
                case _:
                    self.array(value)

    def token(self, token: str) -> None:
        """`token` and a space; in text a line break behind one of LINES."""
        ending = b" \n" if token in LINES and not self.binary else b" "
        self.file.write(token.encode("ascii") + ending)

    def integer(self, value: int, size: int = 4) -> None:
        """An integer of `size` bytes (negative size: unsigned)."""
        data = struct.pack("b", size) + struct.pack(INTEGERS[size], value) if self.binary else b"%d " % value
        self.file.write(data)

    def int32(self, value: int) -> None:
        """A signed 4-byte integer."""
        self.integer(int(value), 4)

    def float32(self, value: float) -> None:
        """A 4-byte float."""
        self._float(np.float32(value), 4)

    def float64(self, value: float) -> None:
        """An 8-byte float."""
        self._float(np.float64(value), 8)

    def _float(self, value: np.floating, size: int) -> None:
        packed = struct.pack("b", size) + struct.pack(FLOATS[size], value)
        self.file.write(packed if self.binary else f"{value:.7g} ".encode("ascii"))

    def _head(self, kind: str, array: np.ndarray) -> None:
        self.token(LETTERS[array.dtype] + kind)
        for size in array.shape:
            self.int32(size)

    def vector(self, vector: np.ndarray) -> None:
        """(n,) float32 or float64."""
        vector = _checked(vector, 1)
        if self.binary:
            self._head("V", vector)
            self.file.write(np.ascontiguousarray(vector, DTYPES[LETTERS[vector.dtype]]).data)
        else:
            self.file.write(f" [ {numbers(vector)}]\n".encode("ascii"))

    def matrix(self, matrix: np.ndarray) -> None:
        """(rows, columns) float32 or float64. Without columns there are no rows either, as in Kaldi."""
        matrix = _checked(matrix, 2)
        if not matrix.size:
            matrix = matrix.reshape(-1)[:0].reshape(0, 0)
        if self.binary:
            self._head("M", matrix)
            self.file.write(np.ascontiguousarray(matrix, DTYPES[LETTERS[matrix.dtype]]).data)
        elif not matrix.size:
            self.file.write(b" [ ]\n")
        else:
            self.file.write(b" [" + "".join(f"\n  {numbers(row)}" for row in matrix).encode("ascii") + b"]\n")

    def array(self, array: np.ndarray) -> None:
        """A vector or a matrix, by its number of dimensions."""
        {1: self.vector, 2: self.matrix}.get(np.ndim(array), lambda bad: _checked(bad, 2))(array)

    def packed(self, values: np.ndarray) -> None:
        """(n(n+1)/2,) lower triangle, row by row, float32 or float64."""
        values = _checked(values, 1)
        size = int((2 * len(values) + 0.25) ** 0.5)
        assert size * (size + 1) // 2 == len(values), "not a lower triangle"
        if self.binary:
            self.token(LETTERS[values.dtype] + "P")
            self.int32(size)
            self.file.write(np.ascontiguousarray(values, DTYPES[LETTERS[values.dtype]]).data)
        else:
            rows = [numbers(values[i * (i + 1) // 2 : (i + 1) * (i + 2) // 2]) for i in range(size)]
            self.file.write(("[\n" + "\n".join(rows) + "]\n" if rows else "[ ]\n").encode("ascii"))


def _checked(array: np.ndarray, dimensions: int) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype not in LETTERS or array.ndim != dimensions:
        found, expected = f"{array.dtype} with shape {array.shape}", f"{dimensions}-dimensional float32 or float64"
        raise InputError("Kaldi object", found, expected, "Convert the array before writing it")
    return array


@contextlib.contextmanager
def write_object(path: str | os.PathLike | Output, binary: bool = True) -> Iterator[Writer]:
    """A Writer on `path`, which appears when complete; an open binary file is written to as it is."""
    if isinstance(path, (str, os.PathLike)):
        with atomic_write(path) as file:
            yield Writer(file, binary)
    else:
        yield Writer(path, binary)
