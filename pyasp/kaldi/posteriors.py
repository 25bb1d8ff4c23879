"""Tables that are not matrices: posteriors, Gaussian selections, integer vectors, numbers; binary and text, also gzip.

Binary, every number is a size byte 4 and four bytes: a posterior entry is the number of frames, then per frame the
number of pairs and (Gaussian, weight) pairs; a selection has integers instead of pairs; an integer vector no frames.
Text puts an entry on one line: `[ 0 0.7 3 0.3 ] [ 1 1 ]`, `0 3 ; 1 ;` and `4 5 6`. See hmm/posterior.h and
util/kaldi-holder-inl.h of Kaldi.
"""

import os
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from pyasp.core.errors import InputError
from pyasp.kaldi.archives import open_output
from pyasp.kaldi.source import Source
from pyasp.kaldi.tables import read_entries
from pyasp.kaldi.writer import BINARY

PathLike = str | os.PathLike
Posteriors = list[tuple[np.ndarray, np.ndarray]]  # per frame: Gaussians (k,) int32, weights (k,) float32
COUNT = np.dtype([("size", "u1"), ("value", "<i4")])
REAL = np.dtype([("size", "u1"), ("value", "<f4")])
PAIR = np.dtype([("size", "u1"), ("gauss", "<i4"), ("real_size", "u1"), ("weight", "<f4")])
SIZE = 4  # the size byte of all these numbers


# reading


def read_posteriors(rspecifier: PathLike, allow_commands: bool = False) -> Iterator[tuple[str, Posteriors]]:
    """(key, frames): per frame the Gaussians (k,) int32 and their weights (k,) float32.

    rspecifier: as `read_ark`. Raises InputError naming file, key and byte for anything damaged.
    """
    return read_entries(rspecifier, posteriors, allow_commands)


def read_gselect(rspecifier: PathLike, allow_commands: bool = False) -> Iterator[tuple[str, list[np.ndarray]]]:
    """(key, frames): per frame the selected Gaussians (k,) int32, best first."""
    return read_entries(rspecifier, integer_lists, allow_commands)


def read_int_vectors(rspecifier: PathLike, allow_commands: bool = False) -> Iterator[tuple[str, np.ndarray]]:
    """(key, vector): (n,) int32."""
    return read_entries(rspecifier, integers, allow_commands)


def read_scalars(rspecifier: PathLike, allow_commands: bool = False) -> Iterator[tuple[str, float]]:
    """(key, number) of a table with one number an entry: float32 in binary, as printed in text."""
    return read_entries(rspecifier, scalar, allow_commands)


def posteriors(source: Source) -> Posteriors:
    """One posterior entry at the source."""
    if not _is_binary(source):
        return _text_posteriors(source)
    frames = []
    for _ in range(_count(source)):
        pairs = _records(source, PAIR, _count(source))
        frames.append((pairs["gauss"].copy(), pairs["weight"].copy()))
    return frames


def integer_lists(source: Source) -> list[np.ndarray]:
    """One selection (a vector of integer vectors) at the source."""
    if _is_binary(source):
        return [_records(source, COUNT, _count(source))["value"].copy() for _ in range(_count(source))]
    line = _line(source)
    if line and not line.endswith(b";"):
        raise source.error(repr(line[-20:]), "a ; after each frame")
    return [_parse(source, frame.split(), np.int32) for frame in line.split(b";")[:-1]]


def integers(source: Source) -> np.ndarray:
    """One integer vector at the source: (n,) int32."""
    if _is_binary(source):
        return _records(source, COUNT, _count(source))["value"].copy()
    return _parse(source, _line(source).split(), np.int32)


def scalar(source: Source) -> float:
    """One number at the source."""
    if _is_binary(source):
        return float(_records(source, REAL, 1)["value"][0])
    words = _line(source).split()
    if len(words) != 1:
        raise source.error(f"{len(words)} fields", "one number")
    return float(_parse(source, words, np.float64)[0])


def _is_binary(source: Source) -> bool:
    source.refuse_foreign()
    if source.peek(2) != BINARY:
        return False
    source.take(2, "binary mark")
    return True


def _count(source: Source) -> int:
    start = source.tell()
    count = int(_records(source, COUNT, 1)["value"][0])
    if count < 0:
        raise source.error(f"a count of {count}", "0 or more", offset=start)
    return count


def _records(source: Source, dtype: np.dtype, count: int) -> np.ndarray:
    """`count` numbers (or pairs) with their size bytes, which must be 4."""
    start = source.tell()
    records = np.frombuffer(source.take(count * dtype.itemsize, f"{count} numbers"), dtype)
    for field in ("size", "real_size"):
        if field in (dtype.names or ()) and (records[field] != SIZE).any():
            raise source.error("another size byte", "4-byte numbers in a table of this kind", offset=start)
    return records


def _line(source: Source) -> bytes:
    """The rest of the line, without white space at its ends; only the last one may lack its line end."""
    line = source.until(b"\n", "line")
    if line is None and source.at_end():
        raise source.error("the end of the file", "an entry after the key")
    return (source.rest() if line is None else line).strip()


def _parse(source: Source, words: list[bytes], dtype: type) -> np.ndarray:
    try:
        return np.array([int(word) if dtype is np.int32 else float(word) for word in words], dtype)
    except (ValueError, OverflowError) as problem:
        raise source.error(str(problem), f"{np.dtype(dtype).name} numbers") from None


def _text_posteriors(source: Source) -> Posteriors:
    words, frames, place = _line(source).split(), [], 0
    while place < len(words):
        try:
            end = words.index(b"]", place)
        except ValueError:
            end = place
        if words[place] != b"[" or (end - place) % 2 != 1:
            raise source.error(repr(b" ".join(words[place : place + 5])), "[ Gaussian weight ... ] for each frame")
        gauss = _parse(source, words[place + 1 : end : 2], np.int32)
        frames.append((gauss, _parse(source, words[place + 2 : end : 2], np.float32)))
        place = end + 1
    return frames


# writing


def write_posteriors(path: PathLike, entries: Iterable[tuple[str, Posteriors]], binary: bool = True) -> None:
    """Writes (key, frames) entries as read_posteriors gives them; `.gz` compresses; complete or absent."""
    _write(path, entries, _put_posteriors, print_posteriors, binary)


def write_gselect(path: PathLike, entries: Iterable[tuple[str, list[np.ndarray]]], binary: bool = True) -> None:
    """Writes (key, per-frame Gaussians) entries."""
    _write(path, entries, _put_lists, print_lists, binary)


def write_int_vectors(path: PathLike, entries: Iterable[tuple[str, np.ndarray]], binary: bool = True) -> None:
    """Writes (key, (n,) integers) entries."""
    _write(path, entries, lambda vector: _with_count(_integer_records(vector)), print_integers, binary)


def write_scalars(path: PathLike, entries: Iterable[tuple[str, float]], binary: bool = False) -> None:
    """Writes (key, number) entries; 7 significant digits in text, float32 in binary."""
    _write(path, entries, lambda value: _filled(REAL, 1, value=value).tobytes(), lambda value: f"{value:.7g} ", binary)


def _write(
    path: PathLike, entries: Iterable, to_binary: Callable[..., bytes], to_text: Callable[..., str], binary: bool
) -> None:
    with open_output(path) as file:
        for key, value in entries:
            if not key or key.split() != [key]:
                raise InputError(path, f"the key {key!r}", "a key without white space", "Repair the keys")
            data = BINARY + to_binary(value) if binary else to_text(value).encode("ascii") + b"\n"
            file.write(key.encode("utf-8") + b" " + data)


def _filled(dtype: np.dtype, count: int, **fields: object) -> np.ndarray:
    records = np.empty(count, dtype)
    for name in dtype.names or ():
        records[name] = fields.get(name, SIZE)
    return records


def _integer_records(values: np.ndarray) -> np.ndarray:
    return _filled(COUNT, len(values), value=values)


def _with_count(records: np.ndarray) -> bytes:
    return _filled(COUNT, 1, value=len(records)).tobytes() + records.tobytes()


def _put_posteriors(frames: Posteriors) -> bytes:
    rows = [_with_count(_filled(PAIR, len(gauss), gauss=gauss, weight=weight)) for gauss, weight in frames]
    return _filled(COUNT, 1, value=len(frames)).tobytes() + b"".join(rows)


def _put_lists(frames: list[np.ndarray]) -> bytes:
    return _filled(COUNT, 1, value=len(frames)).tobytes() + b"".join(_with_count(_integer_records(f)) for f in frames)


def print_integers(values: np.ndarray) -> str:
    """Text of one integer vector, without key and line end."""
    return "".join(f"{int(value)} " for value in values)


def print_lists(frames: list[np.ndarray]) -> str:
    """Text of one selection, without key and line end."""
    return "".join(f"{print_integers(frame)}; " for frame in frames)


def print_posteriors(frames: Posteriors) -> str:
    """Text of one posterior entry, without key and line end."""
    return "".join(f"[ {_print_pairs(gauss, weight)}] " for gauss, weight in frames)


def _print_pairs(gauss: np.ndarray, weight: np.ndarray) -> str:
    return "".join(f"{g} {w:.7g} " for g, w in zip(gauss.tolist(), weight.tolist()))
