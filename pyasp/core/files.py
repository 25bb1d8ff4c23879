"""Complete or absent: a file under its final name is complete (temporary name in the same directory, fsync, rename)."""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO

from pyasp.core.errors import InputError, refusal


def absent(path: str | Path) -> str:
    """What is found where a file is expected and is none."""
    path = Path(path)
    return "a directory" if path.is_dir() else "a pipe or a device" if path.exists() else "no such file"


def check_output(path: str | Path, suffixes: Iterable[str], inputs: Iterable[str | Path] = ()) -> None:
    """InputError for a name that does not end in one of `suffixes`, and for one of the inputs: a word that was left out
    or turned about must not cost a file."""
    if Path(path).suffix not in suffixes:
        expected = "a name ending in " + " or ".join(suffixes)
        raise InputError("command line", f"{str(path)!r} as the output", expected, "Correct it")
    if any(os.path.realpath(path) == os.path.realpath(each) for each in inputs):
        raise InputError(path, "an input as the output, too", "a name of its own", "Name another output")


def temporary_name(path: str | Path) -> Path:
    """A name beside `path` that no reader takes for a finished file (one per process)."""
    path = Path(path)
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def sync(path: str | Path) -> None:
    """Flushes a closed file's data to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yields a temporary path in the same directory; renamed to `path` on success, removed on failure.

    Raises InputError when the system refuses: a full disk, no permission, too many open files.
    """
    path = Path(path)
    temporary = temporary_name(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        sync(temporary)
        os.replace(temporary, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        refused = refusal(error, path) if isinstance(error, OSError) else None
        if refused:
            raise refused from error
        raise


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike, mode: str = "wb") -> Iterator[IO]:
    """An open stream whose content appears under `path` only when the block ends without an exception."""
    with replacing(path) as temporary:
        text = "b" not in mode
        with open(temporary, mode, encoding="utf-8" if text else None, newline="\n" if text else None) as stream:
            yield stream


@contextlib.contextmanager
def whole_or_none(directory: Path) -> Iterator[None]:
    """What a block writes into a directory, a new one as a rule, goes again where the block fails."""
    there = {directory, *directory.rglob("*")} if directory.is_dir() else set()
    try:
        yield
    except BaseException:
        for path in [directory, *sorted(directory.rglob("*"))]:
            if path not in there:
                remove_tree(path)
        raise


def file_sha256(path: str | Path) -> str:
    """Hexadecimal SHA-256 of a file's bytes."""
    with open(path, "rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def link_or_copy(path: str | Path, name: str | Path) -> None:
    """A second name of a file that is only ever replaced, never written into; a copy where there can be no link."""
    try:
        os.link(path, name)
    except OSError:
        shutil.copy2(path, name)


def remove_tree(path: str | Path) -> None:
    """Deletes a directory or file if it is there."""
    path = Path(path)
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
