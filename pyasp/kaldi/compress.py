"""Kaldi's compressed matrices: CM (one byte, percentiles per column), CM2 (two bytes), CM3 (one byte).

Formats: kaldi-asr.org doc "Compressed matrices" / matrix/compressed-matrix.h. All arithmetic is float32 with Kaldi's
rounding (+0.499 or +0.5 in double, then truncation), so that encoded bytes and decoded values are Kaldi's own.

    CM2, CM3:  x = lo + code * (range / (2^bits - 1))
    CM:        per column percentiles p0 <= p25 <= p75 <= p100 as 16-bit codes; byte 0..64 maps [p0, p25], 64..192 maps
               [p25, p75] and 192..255 maps [p75, p100], each linearly

Symbols: lo, range = minimum and width of the whole matrix (header); R x C = rows x columns.
"""

import struct
from dataclasses import dataclass
from typing import IO

import numpy as np

from pyasp.core.errors import InputError
from pyasp.kaldi.source import Buffer, Source

HEADER = struct.Struct("<ffii")  # lo, range, rows, columns
CODES: dict[str, np.dtype] = {"CM": np.dtype("u1"), "CM2": np.dtype("<u2"), "CM3": np.dtype("u1")}
PERCENTILES = np.dtype("<u2")
SHORT = 8  # rows; method 1 uses CM only above this
METHODS = {2: "CM", 3: "CM2", 4: "CM2", 5: "CM3", 6: "CM3", 7: "CM3"}
FIXED = {4: (-32768.0, 65535.0), 6: (0.0, 255.0), 7: (0.0, 1.0)}  # method: lo, range
F32 = np.float32
AT_ONCE = 1 << 14  # values encoded at a time: they stay in the cache


@dataclass(frozen=True)
class Compressed:
    """kind: CM, CM2 or CM3; lo, span: minimum and width of the values; rows, columns."""

    kind: str
    lo: float
    span: float
    rows: int
    columns: int

    @property
    def percentile_bytes(self) -> int:
        """Bytes of the column headers between header and codes (CM only)."""
        return self.columns * 4 * PERCENTILES.itemsize if self.kind == "CM" else 0

    @property
    def body_bytes(self) -> int:
        """Bytes of column headers and codes."""
        return self.percentile_bytes + self.rows * self.columns * CODES[self.kind].itemsize

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.rows, self.columns

    def decode(self, body: Buffer, start: int = 0, end: int | None = None) -> np.ndarray:
        """Rows start..end (half open) as (rows, columns) float32; `body` may be a memory map, only they are decoded."""
        codes = np.frombuffer(body, CODES[self.kind], self.rows * self.columns, self.percentile_bytes)
        if self.kind == "CM":
            percentiles = np.frombuffer(body, PERCENTILES, self.columns * 4).reshape(self.columns, 4)
            return _decode_columns(self, percentiles, codes.reshape(self.columns, self.rows)[:, start:end])
        step = F32(float(F32(self.span)) * (1.0 / np.iinfo(codes.dtype).max))
        return F32(self.lo) + codes.reshape(self.shape)[start:end].astype(F32) * step


# decoding


def read_header(source: Source, kind: str) -> Compressed:
    """The header after the token `kind`. Raises InputError when its sizes or values cannot be."""
    start = source.tell()
    lo, span, rows, columns = HEADER.unpack(source.take(HEADER.size, "compressed header"))
    if rows < 0 or columns < 0 or not np.isfinite(lo) or not np.isfinite(span):
        found = f"a compressed header with {rows} rows, {columns} columns, minimum {lo:g}, range {span:g}"
        raise source.error(found, "sizes of 0 or more and finite values", offset=start)
    return Compressed(kind, lo, span, rows, columns)


def _percentile_values(header: Compressed, percentiles: np.ndarray) -> np.ndarray:
    """16-bit percentile codes as float32 values."""
    return F32(header.lo) + F32(header.span) * F32(1.52590218966964e-05) * percentiles.astype(F32)


def _decode_columns(header: Compressed, percentiles: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """codes: (columns, rows) -> (rows, columns) float32, through a table of the 256 values of each column."""
    p0, p25, p75, p100 = (_percentile_values(header, percentiles)[:, i, None] for i in range(4))
    code = np.arange(256, dtype=F32)
    table = np.empty((header.columns, 256), F32)
    table[:, :65] = p0 + ((p25 - p0) * code[:65]).astype(np.float64) * (1 / 64.0)
    table[:, 65:193] = p25 + ((p75 - p25) * (code[65:193] - 64)).astype(np.float64) * (1 / 128.0)
    table[:, 193:] = p75 + ((p100 - p75) * (code[193:] - 192)).astype(np.float64) * (1 / 63.0)
    return np.ascontiguousarray(np.take_along_axis(table, codes.astype(np.intp), axis=1).T)


# encoding


def write(file: IO[bytes], matrix: np.ndarray, method: int) -> None:
    """Writes token, header and codes of `matrix` (rows, columns), compressed by `method` 1 to 7 (Kaldi's
    --compression-method: 1 automatic, 2 CM, 3 CM2, 4 CM2 of int16, 5 CM3, 6 CM3 of uint8, 7 CM3 of 0..1)."""
    header, body = encode(matrix, method)
    file.write(header.kind.encode("ascii") + b" ")
    file.write(HEADER.pack(header.lo, header.span, header.rows, header.columns) + body)


def encode(matrix: np.ndarray, method: int) -> tuple[Compressed, bytes]:
    """Compressed and body (column headers and codes) of a (rows, columns) matrix.

    Raises InputError for an unknown method and for values that are not finite.
    """
    matrix = np.asarray(matrix).astype(F32, copy=False)
    if method not in (1, *METHODS):
        raise InputError("compression", f"method {method}", "1 to 7 (0: none)", "Choose another compression method")
    if not matrix.size:
        return Compressed("CM", 0.0, 0.0, 0, 0), b""
    if not np.isfinite(matrix).all():
        raise InputError("compression", "infinite or NaN values", "finite values", "Repair the matrix")
    if method == 1:
        method = 2 if len(matrix) > SHORT else 3
    header = Compressed(METHODS[method], *(FIXED.get(method) or _extent(matrix)), *matrix.shape)
    return header, (_encode_columns if header.kind == "CM" else _encode_values)(header, matrix)


def _extent(matrix: np.ndarray) -> tuple[float, float]:
    """Minimum and range in float32; a constant matrix gets the range 1 + |minimum|."""
    lo, hi = matrix.min(), matrix.max()
    if lo == hi:
        hi = F32(float(lo) + (1.0 + abs(float(lo))))
    return float(lo), float(hi - lo)


def _scaled(header: Compressed, values: np.ndarray, top: int) -> np.ndarray:
    """Values as integers 0..top of the header's range."""
    fraction = np.clip((values - F32(header.lo)) / F32(header.span), F32(0), F32(1))
    return ((fraction * F32(top)).astype(np.float64) + 0.499).astype(np.int64)


def _encode_values(header: Compressed, matrix: np.ndarray) -> bytes:
    dtype = CODES[header.kind]
    return _scaled(header, matrix, np.iinfo(dtype).max).astype(dtype).tobytes()


def _percentiles(header: Compressed, columns: np.ndarray) -> np.ndarray:
    """(C, 4) strictly increasing 16-bit codes of minimum, quartiles and maximum of each of the columns (C, R)."""
    rows = columns.shape[1]
    quarter = rows // 4
    places = [0, quarter, 3 * quarter, rows - 1] if rows >= 5 else [min(i, rows - 1) for i in range(4)]
    codes = _scaled(header, np.sort(columns)[:, places].T, 65535)
    codes[rows:] = 0  # fewer than four rows: the missing percentiles just follow on
    codes[0] = np.minimum(codes[0], 65532)
    for i, top in ((1, 65533), (2, 65534), (3, 65535)):
        codes[i] = np.minimum(np.maximum(codes[i], codes[i - 1] + 1), top)
    return codes.T


def _encode_columns(header: Compressed, matrix: np.ndarray) -> bytes:
    columns = np.ascontiguousarray(matrix.T)
    percentiles = _percentiles(header, columns)
    step = max(1, AT_ONCE // len(matrix))
    parts = [
        _column_codes(columns[k : k + step], _percentile_values(header, percentiles[k : k + step]))
        for k in range(0, len(columns), step)
    ]
    return b"".join([percentiles.astype(PERCENTILES).tobytes(), *parts])


def _column_codes(columns: np.ndarray, percentiles: np.ndarray) -> bytes:
    """One byte for each value of columns (C, R), given their percentiles (C, 4)."""
    p0, p25, p75, p100 = percentiles.T[:, :, None]
    inside, upper = (columns >= p25).astype(F32), (columns >= p75).astype(F32)
    first = inside + upper  # codes 0..64, 64..192, 192..255 by range of values
    first += upper
    first *= F32(64)
    width = F32(64) * inside
    width -= F32(65) * upper
    width += F32(64)
    between = inside - upper
    steps = columns - _chosen(inside, between, upper, p0, p25, p75)
    steps /= _chosen(inside, between, upper, p25 - p0, p75 - p25, p100 - p75)
    steps *= width
    codes = np.trunc(steps)
    steps -= codes  # exact, where adding 0.5 in float32 is not
    codes += steps >= F32(0.5)
    np.minimum(np.maximum(codes, 0, out=codes), width, out=codes)
    codes += first
    return codes.astype(np.uint8).tobytes()


def _chosen(
    inside: np.ndarray, between: np.ndarray, upper: np.ndarray, low: np.ndarray, middle: np.ndarray, high: np.ndarray
) -> np.ndarray:
    """Each value's own of low, middle and high. Products with 0 and 1 are exact, and faster than a choice by a mask."""
    result = (1 - inside) * low
    result += between * middle
    result += upper * high
    return result
