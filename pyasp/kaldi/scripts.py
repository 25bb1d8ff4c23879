"""Random access through a script file, with row slices that read only what they need.

Archives are memory-mapped (a bounded number at a time), so a slice of a float or compressed matrix touches only its own
pages. gzip, standard input and commands cannot be mapped; they are read whole and then cut.
"""

from __future__ import annotations

import io
import mmap
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping

import numpy as np

from pyasp.core.errors import InputError
from pyasp.kaldi import compress
from pyasp.kaldi.names import ROW_TOLERANCE, Location, parse_location, resolve_range
from pyasp.kaldi.reader import Plain, Reader
from pyasp.kaldi.source import GZIP_MAGIC, Source
from pyasp.kaldi.tables import LONGEST_HEAD, PathLike, load, read_scp

MAPS = 64  # archives mapped at a time
Head = Plain | compress.Compressed


class MissingKey(InputError, KeyError):
    """A key that a table does not have: bad input for a user, a KeyError for a mapping."""

    __str__ = Exception.__str__


class ScpReader(Mapping):
    """Key -> vector (n,) or matrix (rows, columns), float32 or float64 as stored, read when asked for.

    entries: {key: rxfilename}. May be pickled and shared by forked workers: maps are opened where they are used.
    Raises InputError as read_scp and load; an unknown key is a MissingKey (InputError and KeyError).
    """

    def __init__(self, path: PathLike, allow_commands: bool = False):
        self.path, self.allow_commands = os.fspath(path), allow_commands
        self.entries = read_scp(path, allow_commands)
        self._maps: OrderedDict[str, mmap.mmap | None] = OrderedDict()

    def __getitem__(self, key: str) -> np.ndarray:
        location = self._location(key)
        found = self._mapped_head(location, key)
        return self._whole(key) if found is None else self._part(found, *self._extent(found[0], location, key))

    def _whole(self, key: str) -> np.ndarray:
        """The entry read as a stream: for what cannot be mapped."""
        return load(self._entry(key), self.allow_commands, self.path, key)

    @staticmethod
    def _part(found: tuple[Head, mmap.mmap, int], rows: slice, columns: slice) -> np.ndarray:
        """A copy of some rows and columns of a mapped entry."""
        head, mapped, body = found
        with memoryview(mapped)[body : body + head.body_bytes] as view:
            part = head.decode(view, rows.start, rows.stop)
            return np.array(part if part.ndim == 1 else part[:, columns])

    def _entry(self, key: str) -> str:
        if key not in self.entries:
            raise MissingKey(
                self.path,
                "no such key",
                f"one of its {len(self.entries)} keys",
                "Make this table over the same utterances",
                key,
            )
        return self.entries[key]

    def __contains__(self, key: object) -> bool:
        return key in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getstate__(self) -> dict:
        return {**self.__dict__, "_maps": OrderedDict()}

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of the entry, from its head alone where the archive can be mapped."""
        location = self._location(key)
        found = self._mapped_head(location, key)
        if found is None:
            return self._whole(key).shape
        rows, columns = self._extent(found[0], location, key)
        return (rows.stop - rows.start, columns.stop - columns.start)[: len(found[0].shape)]

    def rows(self, key: str, start: int, end: int) -> np.ndarray:
        """Rows start..end (half open, of the entry after its scp range): (end - start, columns), or (end - start,).

        Only these rows are read from float and compressed matrices in mapped archives. Raises InputError when they do
        not exist.
        """
        location = self._location(key)
        found = self._mapped_head(location, key)
        if found is None:
            whole = self._whole(key)
            self._check_slice(key, start, end, len(whole))
            return whole[start:end]
        rows, columns = self._extent(found[0], location, key)
        self._check_slice(key, start, end, rows.stop - rows.start)
        return self._part(found, slice(rows.start + start, rows.start + end), columns)

    def _location(self, key: str) -> Location:
        return parse_location(self._entry(key), self.allow_commands, self.path, key)

    def _extent(self, head: Head, location: Location, key: str) -> tuple[slice, slice]:
        if location.columns is not None and len(head.shape) != 2:
            raise InputError(self.path, "a column range of a vector", "a range [first:last]", "Repair the range", key)
        rows = resolve_range(location.rows, head.shape[0], ROW_TOLERANCE, "row", self.path, key)
        return rows, resolve_range(location.columns, head.shape[-1], 0, "column", self.path, key)

    def _check_slice(self, key: str, start: int, end: int, size: int) -> None:
        if not 0 <= start <= end <= size:
            raise InputError(
                self.path,
                f"rows {start} to {end} wanted of {size}",
                "rows of the matrix",
                "Make utt2num_frames and the features again",
                key,
            )

    def _mapped_head(self, location: Location, key: str) -> tuple[Head, mmap.mmap, int] | None:
        """Head, map and offset of the body of a binary entry; None when it has to be read as a stream."""
        mapped = None if location.command or location.path == "-" else self._map(location.path)
        if mapped is None:
            return None
        ahead = mapped[location.offset : location.offset + LONGEST_HEAD]
        source = Source(io.BytesIO(ahead), location.path, location.offset, len(mapped))
        source.key = key
        reader = Reader(source)
        if not reader.binary:
            return None
        head = reader.head()
        source.require(head.body_bytes, f"{head.kind} of {head.shape}")
        return head, mapped, source.tell()

    def _map(self, path: str) -> mmap.mmap | None:
        """The file's memory map, or None for one that cannot be mapped (gzip, empty, missing: load explains)."""
        if path not in self._maps:
            self._maps[path] = _open_map(path)
            if len(self._maps) > MAPS:
                self._maps.popitem(last=False)  # closed when its last array is gone
        self._maps.move_to_end(path)
        return self._maps[path]


def _open_map(path: str) -> mmap.mmap | None:
    try:
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    return None if mapped[:2] == GZIP_MAGIC else mapped
