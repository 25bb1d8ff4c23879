"""What made an artefact: the record `X.made.json` beside each final artefact X.

It says tool, resolved options, fingerprints of the inputs, seed and versions; a step is skipped only while that still
matches. The record of what a run asked for says by which command, too ("asked"): while this code, that command, its
files and all inputs are the same, nothing needs to be imported to know that there is nothing to do (`is_as_asked`).
Where X lay ("path") leads from a copy of a whole directory to the copies of its inputs. What a step writes beside X is
made again with it, when it is gone or another ("beside"); X itself is known by its size, so that one that was cut or
replaced since is not taken for what was made.
"""

import contextlib
import dataclasses
import functools
import hashlib
import importlib.metadata
import json
import os
import platform
import shutil
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pyasp.core.errors import InputError, rerun
from pyasp.core.files import absent, file_sha256, replacing, sync
from pyasp.core.text import read_json, write_json

LARGE_FILE = 1 << 30  # bytes; above this an input is known by size and mtime instead of its SHA-256
PACKAGES = ("numpy", "torch", "scipy", "kaldiio", "lhotse")
HISTORY = "likelihood.json"


def made_path(path: str | Path) -> Path:
    """Name of the record beside an artefact."""
    return Path(f"{path}.made.json")


def fingerprint(path: str | Path) -> str:
    """SHA-256 of a file, or size and mtime above 1 GB; with the digest of its own record when it has one.

    Raises InputError when the file is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(path, absent(path), "an input of this step", "Mend its name, or run the stage that makes it")
    status = path.stat()
    if status.st_size > LARGE_FILE:
        mark = f"size:{status.st_size} mtime:{status.st_mtime_ns}"
    else:
        mark = f"sha256:{file_sha256(path)}"
    record = made_path(path)
    return f"{mark} made:{_recipe_digest(record)}" if record.is_file() else mark


def _recipe_digest(record: Path) -> str:
    """Digest of what a record says about the recipe: versions, command and place do not make an artefact stale."""
    made = load_record(record)
    for part in ("versions", "asked", "path", "beside", "size"):
        made.pop(part, None)
    return hashlib.sha256(json.dumps(made, sort_keys=True).encode()).hexdigest()[:16]


def load_record(record: Path) -> dict[str, Any]:
    """What a record says: "tool", and the dicts "options", "inputs" and perhaps "beside", the latter two of text.

    Raises InputError otherwise.
    """
    expected, cure = "tool, options and inputs", "Delete it and re-run the stage"
    try:
        made = read_json(record, expected, cure)
    except OSError as error:
        raise InputError(record, f"an unreadable record ({error.strerror})", expected, cure) from None
    options, *marked = made.setdefault("options", {}), made.setdefault("inputs", {}), made.get("beside", {})
    if not all(isinstance(part, dict) for part in (options, *marked)):
        raise InputError(record, "options or inputs that are no objects", expected, cure)
    if not all(isinstance(mark, str) for part in marked for mark in part.values()):
        raise InputError(record, "an input without its digest", expected, cure)
    return made


def _plain(options: Any) -> dict[str, Any]:
    """An options object as a JSON-able dict, without --force; a dict as it is."""
    if isinstance(options, dict):
        return options
    values = {key: value for key, value in dataclasses.asdict(options).items() if key != "force"}
    return {key: list(value) if isinstance(value, tuple) else value for key, value in values.items()}


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that compute."""
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def describe(tool: str, options: Any, inputs: Iterable[str | Path], seed: int | None = None) -> dict[str, Any]:
    """What makes an artefact: tool, resolved options, input fingerprints, seed, versions."""
    return {
        "tool": tool,
        "options": _plain(options),
        "inputs": {str(path): fingerprint(path) for path in inputs},
        "seed": seed,
        "versions": versions(),
    }


def with_beside(
    made: dict[str, Any],
    *exact: str | Path,
    sized: Mapping[str | Path, int] | None = None,
    there: Iterable[str | Path] = (),
) -> dict[str, Any]:
    """The record `made` with files of the artefact's directory that are its own, too: known by their bytes, large ones
    by their size, and growing ones (`there`) only by being there."""
    marks = {Path(path).name: file_sha256(path) for path in exact} | {Path(path).name: "" for path in there}
    marks |= {Path(path).name: f"size:{size}" for path, size in (sized or {}).items()}
    return {**made, "beside": marks}


def lost_beside(path: Path, record: dict[str, Any]) -> list[str]:
    """Which of the files that an artefact's record has beside it are gone, or others."""
    marks = {path.with_name(name): mark for name, mark in record.get("beside", {}).items()}
    return [each.name for each, mark in marks.items() if not (each.is_file() and _is_marked(each, mark))]


def has_its_size(path: Path, record: dict[str, Any]) -> bool:
    """Whether an artefact is as long as its record says; one without a size says nothing."""
    return path.stat().st_size == record.get("size", path.stat().st_size)


def _is_marked(path: Path, mark: str) -> bool:
    kind, _, size = mark.partition(":")
    return not mark or (str(path.stat().st_size) == size if kind == "size" else file_sha256(path) == mark)


Told = Mapping[str, Callable[[], str]]  # {option: what to say of its change, instead of both values; "": it is none}


def same_value(old: Any, new: Any) -> bool:
    """True of equal values of an option, and of two names of one place (through a link, `..`, a slash at its end),
    whether or not anything is there still."""
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(map(same_value, old, new))
    places = isinstance(old, str) and isinstance(new, str) and "" not in (old, new)
    if places and os.path.exists(old) and os.path.exists(new):
        return os.path.samefile(old, new)
    return old == new or (places and os.sep in old + new and os.path.realpath(old) == os.path.realpath(new))


def _differences(old: dict[str, Any], new: dict[str, Any], told: Told) -> list[str]:
    changes: list[str] = []
    before, after = old.get("options", {}), json.loads(json.dumps(new["options"]))
    for key in sorted(set(before) | set(after)):
        if not same_value(before.get(key), after.get(key)):
            change = f"--{key.replace('_', '-')}: {before.get(key)} -> {after.get(key)}"
            changes += filter(None, [told[key]() if key in told else change])
    before, after = (
        {os.path.realpath(key): (mark, key) for key, mark in each["inputs"].items()} for each in (old, new)
    )
    moved = defaultdict[tuple[str, str], list[str]](list)  # {(mark, name): places that were no inputs}
    for place in sorted(set(after) - set(before), reverse=True):
        moved[after[place][0], Path(place).name].append(place)
    for place in sorted(set(before) - set(after)):  # the same bytes under another folder are the same input
        if there := moved[before[place][0], Path(place).name]:
            del before[place], after[there.pop()]
    gone = (None, "")
    for place in sorted(set(before) | set(after)):
        (mark, key), (now, name) = before.get(place, gone), after.get(place, gone)
        how = "changed" if mark and now else "is new" if now else "is none now"  # a directory copied: both of these
        changes += [f"input {name or key} {how}"] if mark != now else []
    changes += [f"{key}: {old.get(key)} -> {new[key]}" for key in ("tool", "seed") if old.get(key) != new[key]]
    return changes


def is_current(path: str | Path, made: dict[str, Any], force: bool = False, told: Told | None = None) -> bool:
    """True when `path` is complete and made by the same recipe: the step may be skipped.

    False when it does not exist, lacks what belongs beside it, or is out of date, or not as long as it was made, and
    `force` is true; without force these are an InputError.
    """
    path = Path(path)
    if not path.exists():
        return False
    record = made_path(path)
    old = load_record(record) if record.is_file() else {}
    changes = _differences(old, made, told or {}) if old else ["no record of what made it"]
    if not changes and not has_its_size(path, old):
        found, expected = f"{path.stat().st_size} bytes", f"{old['size']}, as when it was made"
        if not force:
            raise InputError(path, found, expected, rerun("", "Restore it, or delete it: it is made anew", then=True))
        print(f"{path}: made again, since it had {found}; expected {expected}", file=sys.stderr)
        return False
    if not changes and (lost := lost_beside(path, old)):
        print(f"{path}: made again, since {' and '.join(lost[:3])} beside it is gone or another", file=sys.stderr)
        return False
    if not changes:
        if old.get("asked") != (asked := _asked_for(path)) and asked:
            write_made(path, old)
        print(f"{path}: up to date", file=sys.stderr)
        return True
    if force:
        print(f"{path}: out of date, made again ({'; '.join(changes[:4])})", file=sys.stderr)
        return False
    found = f"an out-of-date artefact ({'; '.join(changes[:4])})"
    cure = rerun("", "If you did not mean the change, undo it; if you did, make it anew", force=True)
    raise InputError(path, found, "one made with the present settings", cure)


def write_made(path: str | Path, made: dict[str, Any]) -> None:
    """Writes the record of `path`; call it just before the artefact's own rename."""
    asked = _asked_for(path)
    made = {"path": str(path), **made, **({"asked": asked} if asked else {})}  # its path stays that of its inputs
    write_json(made_path(path), made, sort_keys=True)


@contextlib.contextmanager
def making(path: str | Path, made: dict[str, Any]) -> Iterator[Path]:
    """Yields a temporary path; on success writes the record, then renames: a crash never leaves a false pair.

    An older artefact of the same name is removed before its record is replaced.
    """
    with replacing(path) as temporary:
        yield temporary
        sync(temporary)
        Path(path).unlink(missing_ok=True)
        write_made(path, {**made, "size": temporary.stat().st_size})


def resolve(name: str, near: Path, lay: str) -> Path:
    """A path of the record of an artefact `near`, which lay at `lay` ("": not known) when that was written.

    What moved or was copied along with the artefact is found beside it; else a relative path starts where run.sh ran:
    at a parent of the experiment, or here.
    """
    old, new = moved(lay, near.resolve())
    places = [*near.resolve().parents, Path.cwd()]
    found = [place / name for place in places]
    if lay and Path(name).is_relative_to(old):
        found.insert(0, new / Path(name).relative_to(old))
    return next((place for place in found if place.exists()), Path(name))


def moved(lay: str | Path, lies: Path) -> tuple[Path, Path]:
    """(directory, what it is called now) of a file that lay in the one and lies in the other, below both alike."""
    old, new = list(Path(lay).parts), list(lies.parts)
    while old and new and old[-1] == new[-1]:
        old.pop(), new.pop()
    return Path(*old), Path(*new)


def record_of(path: Path) -> dict[str, Any] | None:
    """The record beside an artefact, its inputs resolved; None when there is none."""
    if not made_path(path).is_file():
        return None
    record = load_record(made_path(path))
    lay = record.get("path", "")
    return {**record, "inputs": {str(resolve(name, path, lay)): mark for name, mark in record["inputs"].items()}}


def ancestors(path: Path, seen: set[Path] | None = None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """(artefact, record) of an artefact, of its inputs, and of theirs, nearest first, each once (`seen`)."""
    seen = set() if seen is None else seen
    record = record_of(path) if path not in seen else None
    seen.add(path)
    if record is not None:
        yield path, record
        for name in record["inputs"]:
            yield from ancestors(Path(name), seen)


def _given(record: dict[str, Any]) -> set[Path]:
    """The inputs of a record that an option names, such as the network of --init, or that lie where it says."""
    places = {Path(value).resolve() for value in record["options"].values() if isinstance(value, str) and value}
    return {path for path in map(Path, record["inputs"]) if places & {path.resolve(), path.resolve().parent}}


def changed_behind(path: Path) -> tuple[Path, str] | None:
    """(artefact, its input that was made again since): an artefact itself, or one that it was made from, however far
    behind it. None where all are as they were; what is no longer there is passed over.

    A file that an option names was given as it is: its own bytes count, and not what it was made from.
    """
    marks, seen = functools.cache(fingerprint), set[Path]()
    for artefact, record in ancestors(path, seen):
        seen |= _given(record)
        for name, mark in record["inputs"].items():
            if Path(name).is_file() and marks(name) != mark:
                return artefact, name
    return None


def maker(path: Path, *tools: str) -> dict[str, Any]:
    """The nearest record of one of some tools. Raises InputError when no record leads there."""
    for _, record in ancestors(path):
        if record.get("tool") in tools:
            return record
    found = f"no record of {' or '.join(tools)} behind it"
    cure = rerun("prepare", "Work from the directory that run.sh lies in, and have it trained and scored")
    raise InputError(path, found, "records (.made.json) of a finished run", cure)


PLACE = ("device", "job", "num_jobs", "reuse", "within", "force")  # options that say where, not what, is computed


# ---------------------------------------------------------------- what a run asks for


def digest_of(path: str | Path, words: Sequence[str]) -> str:
    """Digest of a command that makes an artefact: its words, the files among them but logs, and this package's code."""
    found, code = hashlib.sha256(), Path(__file__).parents[1]
    for each in sorted(code.rglob("*.py")):
        found.update(f"{each.relative_to(code)} {file_sha256(each)}\n".encode())
    for word in words:
        read = os.path.isfile(word) and not word.endswith(".log") and word != str(path)
        found.update(f"{word}\0{fingerprint(word) if read else ''}\n".encode())
    return found.hexdigest()[:16]


def _asked_for(path: Path | str) -> str:
    """The digest of the command that asked for an artefact, from PYASP_ASKED="DIGEST ARTEFACT"; "" if none did."""
    digest, _, artefact = os.environ.get("PYASP_ASKED", "").partition(" ")
    return digest if artefact == str(path) else ""


def is_as_asked(path: str | Path, asked: str) -> bool:
    """True of an artefact that this very command left, while no input of it, or of what it was made from in its own
    directory, has changed: the command would find it up to date."""
    try:
        return load_record(made_path(path)).get("asked") == asked and _is_whole(Path(path), set())
    except (InputError, OSError):  # which the command itself will tell
        return False


def _is_whole(path: Path, seen: set[Path]) -> bool:
    """Whether an artefact is there and whole, its inputs are as they were, and so on with those that lie below its
    directory."""
    seen.add(path)
    record = load_record(made_path(path))
    inputs = record["inputs"]
    ours = {Path(name).resolve() for name in inputs if made_path(name).is_file()}
    below = [name for name in ours if name.is_relative_to(path.resolve().parent) and name not in seen]
    same = path.exists() and all(fingerprint(name) == mark for name, mark in inputs.items())
    same = same and has_its_size(path, record) and not lost_beside(path, record)
    return same and all(_is_whole(name, seen) for name in below)


def ask(path: str, words: Sequence[str]) -> int:
    """Exit code 0, and a line on stderr, when an artefact is as a command's `words` would leave it; else 1, and what
    PYASP_ASKED is to be for that command."""
    asked = digest_of(path, words)
    if is_as_asked(path, asked):
        print(f"{path}: up to date", file=sys.stderr)
        return 0
    print(f"{asked} {path}")
    return 1


class Iterations:
    """The artefacts of an iterated training in one directory, each made from files, each with its record."""

    def __init__(
        self,
        directory: str | Path,
        tool: str,
        options: list[Any],
        inputs: Sequence[str | Path],
        seed: int,
        force: bool,
        write: Callable[[Any, Path], None],
    ):
        """write: writes a model to a path."""
        self.directory, self.tool, self.inputs, self.seed, self.force = Path(directory), tool, inputs, seed, force
        self.write = write
        self.options = {
            key: value for each in options for key, value in dataclasses.asdict(each).items() if key not in PLACE
        }
        self.directory.mkdir(parents=True, exist_ok=True)
        from pyasp.core import processes  # and torch, which takes seconds, for who only looks at a record

        self.processes = processes

    def make(self, name: str, sources: list[str], build: Callable[[], tuple[Any, dict[str, Any]]]) -> None:
        """Makes directory/name from the files `sources` beside it, unless it is there and current.

        build: gives the model and what to keep of it in likelihood.json.
        """
        made = self._made(name, sources)
        if self._current(name, made):
            return
        model, record = build()
        if self.processes.rank() == 0:
            self._note(name, record)
            with making(self.directory / name, made) as temporary:
                self.write(model, temporary)
            print(f"{self.directory / name}: {json.dumps(record)}")  # a detail: for the log
        self.processes.wait_for_all()

    def go_on(self, suffix: str, count: int, build: Callable[[int], tuple[Any, dict[str, Any]]], *start: str) -> None:
        """Makes 1.<suffix> to <count>.<suffix>, each from the one before and the files `start`, and final.<suffix>."""
        for number in range(1, count + 1):
            self.make(f"{number}.{suffix}", [f"{number - 1}.{suffix}", *start], lambda: build(number))
        self.copy(f"final.{suffix}", f"{count}.{suffix}")

    def copy(self, name: str, source: str) -> None:
        """Makes directory/name as a copy of the artefact `source`."""
        made = self._made(name, [source])
        if not self._current(name, made) and self.processes.rank() == 0:
            with making(self.directory / name, made) as temporary:
                shutil.copyfile(self.directory / source, temporary)
        self.processes.wait_for_all()

    def _current(self, name: str, made: dict[str, Any]) -> bool:
        """Whether the artefact may be skipped; every process has looked before the first of them makes it."""
        current = is_current(self.directory / name, made, self.force)
        self.processes.wait_for_all()
        return current

    def _made(self, name: str, sources: list[str]) -> dict[str, Any]:
        inputs = [*self.inputs, *(self.directory / source for source in sources)]
        return describe(self.tool, {**self.options, "artefact": name}, inputs, self.seed)

    def history(self) -> dict[str, dict[str, Any]]:
        """{artefact: what its iteration measured}, from likelihood.json; empty before the first."""
        path, cure = self.directory / HISTORY, "Restore it, or train again with --force"
        return read_json(path, "a record an iteration", cure) if path.is_file() else {}

    def _note(self, name: str, record: dict[str, Any]) -> None:
        """Keeps the record of an iteration; written before its model, so it is never missing."""
        write_json(self.directory / HISTORY, {**self.history(), name: record}, sort_keys=True)


if __name__ == "__main__":
    raise SystemExit(ask(sys.argv[1], sys.argv[2:]))
