"""Random access through a script file, with row slices that read only what they need.

Archives are memory-mapped (a bounded number at a time), so a slice of a float or compressed matrix touches only its own
pages. gzip, standard input and commands cannot be mapped; they are read whole and then cut.
"""

import functools
import mmap
import os
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from pyasp.core.errors import InputError
from pyasp.kaldi import compress
from pyasp.kaldi.names import Location, extent, parse_location
from pyasp.kaldi.reader import LONGEST_HEAD, Plain, head_ahead
from pyasp.kaldi.source import GZIP_MAGIC
from pyasp.kaldi.tables import PathLike, load, read_scp

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

    def __getitem__(self, key: str) -> np.ndarray:
        return self.rows(key, 0, None)

    def _location(self, key: str) -> Location:
        if key not in self.entries:
            expected = f"one of its {len(self.entries)} keys"
            raise MissingKey(self.path, "no such key", expected, "Make this table over the same utterances", key)
        return parse_location(self.entries[key], self.allow_commands, self.path, key)

    def __contains__(self, key: object) -> bool:
        return key in self.entries

    def __iter__(self) -> Iterator[str]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)

    def __getstate__(self) -> dict:
        return {name: value for name, value in self.__dict__.items() if name != "_map"}

    @functools.cached_property
    def _map(self) -> Callable[[str], mmap.mmap | None]:
        """The memory map of a file; it is closed when its last array is gone."""
        return functools.lru_cache(MAPS)(_open_map)

    def shape(self, key: str) -> tuple[int, ...]:
        """Shape of the entry, from its head alone where the archive can be mapped."""
        location = self._location(key)
        found = self._mapped_head(location, key)
        if found is None:
            return self[key].shape
        return tuple(each.stop - each.start for each in extent(location, found[0].shape, self.path, key))

    def rows(self, key: str, start: int, end: int | None) -> np.ndarray:
        """Rows start..end (half open, of the entry after its scp range; None: to the last): (end - start, columns), or
        (end - start,).

        Only these rows are read from float and compressed matrices in mapped archives. Raises InputError when they do
        not exist.
        """
        location = self._location(key)
        found = self._mapped_head(location, key)
        if found is None:
            whole = load(self.entries[key], self.allow_commands, self.path, key)
            return whole[self._slice(key, start, end, len(whole))]
        head, mapped, body = found
        rows, *columns = extent(location, head.shape, self.path, key)
        mine = self._slice(key, start, end, rows.stop - rows.start)
        with memoryview(mapped)[body : body + head.body_bytes] as view:
            part = head.decode(view, rows.start + mine.start, rows.start + mine.stop)
            return np.array(part[(slice(None), *columns)])

    def _slice(self, key: str, start: int, end: int | None, size: int) -> slice:
        end = size if end is None else end
        if not 0 <= start <= end <= size:
            found = f"rows {start} to {end} wanted of {size}"
            raise InputError(self.path, found, "rows of the matrix", "Make utt2num_frames and the features again", key)
        return slice(start, end)

    def _mapped_head(self, location: Location, key: str) -> tuple[Head, mmap.mmap, int] | None:
        """Head, map and offset of the body of a binary entry; None when it has to be read as a stream."""
        mapped = None if location.command or location.path == "-" else self._map(location.path)
        if mapped is None:
            return None
        ahead = mapped[location.offset : location.offset + LONGEST_HEAD]
        found = head_ahead(ahead, location.path, location.offset, len(mapped), key)
        return found and (found[0], mapped, found[1])


def _open_map(path: str) -> mmap.mmap | None:
    """The file's memory map, or None for one that cannot be mapped (gzip, empty, missing: load explains)."""
    try:
        with open(path, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError):
        return None
    return None if mapped[:2] == GZIP_MAGIC else mapped
