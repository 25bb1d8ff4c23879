"""Trees of recordings: the one walk over them, and the layouts of MUSAN and RIRS_NOISES. No audio library here.

A recording is what is on the disk, not its name: a file is known by its real path (hard links by their inode), so that
links never give one recording twice, and never lead a walk in circles.
"""

import functools
import gzip
import hashlib
import os
import re
import shlex
import sys
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write, file_sha256

SUFFIXES = (  # in the order in which they are preferred where one recording lies in several formats
    *".wav .flac .sph .ogg .opus .mp3 .aiff .aif .au .w64 .caf".split(),  # libsndfile reads them
    *".m4a .mp4 .aac".split(),  # ffmpeg
)
ROOMS = ("simulated_rirs", "real_rirs_isotropic_noises")  # of RIRS_NOISES; the second holds noises too
UNPACK = {".gz": "tar -xzf {} -C {}", ".zip": "unzip -q {} -d {}"}
MIDDLE = 4096  # bytes by which files of one size are told apart
THREADS = 16  # they wait for the disk
LISTED = re.compile(r"(\d+:\d+|-) (\d+:\d+|-|) (.*)")  # a line of a Listing
BREAKS = set("\n\r")
CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f]")
NO_TEXT = {  # what is wrong with names: what is expected, the way out
    "that are not UTF-8": (
        "names in UTF-8",
        "Rename them: convmv -r --notest -f latin1 -t utf8 FOLDER, where the names are Latin-1",
    ),
    "with line breaks": ("names of one line", "Rename them, without line breaks"),
}
HEARD = "a noise that can be heard"  # expected of the sounds that copies take
NAMED, KINDS = 5, 20  # names, and kinds of files, that a message shows


def some(names: Iterable[str], most: int = NAMED) -> str:
    """The first few of some names, as a message shows them; bytes that are not UTF-8, line breaks and what else would
    steer a terminal are escaped."""
    names = list(names)
    texts = (name.encode(errors="backslashreplace").decode() for name in names[:most])
    shown = CONTROLS.sub(lambda sign: sign[0].encode("unicode_escape").decode(), ", ".join(texts))
    return shown + (f", and {len(names) - most} more" if len(names) > most else "")


@dataclass
class Tree:
    """What a walk found below `roots`. files: each recording once, a folder at a time in the order of names.

    again: {second name of a recording: its name in `files`}; folders: {second name: the folder that the walk had been
    in, or was in}; passed: {kind of file, as a rule its suffix: number passed over}, first: {kind: the first of them}.
    """

    roots: list[str]
    files: list[str] = field(default_factory=list)
    again: dict[str, str] = field(default_factory=dict)
    folders: dict[str, str] = field(default_factory=dict)
    passed: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)

    def root_of(self, path: str) -> int:
        """The place in `roots` of the one that a path lies below, or is."""
        return next(i for i, root in enumerate(self.roots) if f"{path}/".startswith(os.path.join(root, "")))

    def below(self, path: str) -> str:
        """A path relative to the root that it lies below, or is."""
        return path[len(os.path.join(self.roots[self.root_of(path)], "")) :] or "."

    def second_names(self) -> Iterator[tuple[str, str]]:
        """(second name of a recording, its name in `files`): by links to it, and to a folder that it lies in."""
        yield from self.again.items()
        links: dict[str, list[str]] = defaultdict(list)
        for name, folder in self.folders.items():
            links[folder].append(name)
        for path in self.files if links else ():
            for folder in map(str, Path(path).parents):
                yield from ((name + path[len(folder) :], path) for name in links.get(folder, ()))

    def say(self) -> None:
        """Prints what was passed over, by suffix, and which names lead to recordings that the walk had already."""
        where = some(self.roots)
        if self.passed:
            kinds = (f"{count} {some([kind])} (first: {self.first[kind]})" for kind, count in self.passed.most_common())
            print(f"{where}: passed over {some(kinds, KINDS)}", file=sys.stderr)
        for kind, names in (("folders", self.folders), ("recordings", self.again)):
            links = [f"{self.below(name)} is {self.below(target)}" for name, target in names.items()]
            if links:
                print(f"{where}: {len(links)} second names of {kind} left out: {some(links)}", file=sys.stderr)


class _Walk:
    """A walk under way. been: {real path of a folder: its name}; found: {real path or inode of a recording: its name};
    links: what is looked at last, so that a recording keeps the name of the place where it lies."""

    def __init__(self, roots: list[str]):
        self.tree = Tree(roots)
        self.been: dict[str, str] = {}
        self.found: dict[str, str] = {}
        self.links: list[str] = []

    def enter(self, path: str, real: str) -> None:
        """Takes a folder and all below it that is reached without links."""
        waiting = [(path, real)]
        while waiting:
            path, real = waiting.pop()
            if self.been.setdefault(real, path) != path:
                self.tree.folders[path] = self.been[real]
                continue
            inner = []
            with os.scandir(path) as entries:
                for entry in sorted(entries, key=lambda entry: os.fsencode(entry.name)):
                    if entry.is_dir(follow_symlinks=False) and not entry.name.startswith("."):
                        inner.append((entry.path, os.path.join(real, entry.name)))
                    elif entry.is_symlink():
                        self.links.append(entry.path)
                    elif not entry.is_file(follow_symlinks=False):
                        kind = "hidden folders" if entry.is_dir(follow_symlinks=False) else "pipes, sockets or devices"
                        self._pass_over(kind, entry.path)
                    elif self._wanted(entry.path):
                        self._take(entry.path, os.path.join(real, entry.name), entry.stat(follow_symlinks=False))
            waiting += reversed(inner)

    def follow(self, link: str) -> None:
        """Takes what a link leads to, unless the walk has it already."""
        real = os.path.realpath(link)
        if os.path.isdir(real) and not os.path.basename(link).startswith("."):
            self.enter(link, real)
        elif not os.path.exists(real):
            self._pass_over("links to nothing", link)
        elif os.path.isfile(real) and self._wanted(link):
            self._take(link, real, os.stat(real))

    def _wanted(self, path: str) -> bool:
        name = os.path.basename(path)
        kind = os.path.splitext(name)[1].lower() or "files without a suffix"
        if kind in SUFFIXES and not name.startswith("."):
            return True
        if not name.startswith("."):
            self._pass_over(kind, path)
        elif kind in SUFFIXES:
            self._pass_over(f"hidden {kind}", path)
        return False

    def _pass_over(self, kind: str, path: str) -> None:
        self.tree.passed[kind] += 1
        self.tree.first.setdefault(kind, some([self.tree.below(path)]))

    def _take(self, path: str, real: str, status: os.stat_result) -> None:
        identity = f"{status.st_dev}:{status.st_ino}" if status.st_nlink > 1 else real
        if self.found.setdefault(identity, path) != path:
            self.tree.again[path] = self.found[identity]
        else:
            self.tree.files.append(path)


def walk(*roots: str | Path) -> Tree:
    """Every recording below some folders, links followed, each once, under the name of the place where it lies.

    Hidden files and folders are passed over; a root that is not there holds nothing. Raises InputError for names of
    recordings that are not UTF-8 or have line breaks; OSError.
    """
    going = _Walk([str(root) for root in roots])
    for root in filter(os.path.isdir, going.tree.roots):
        going.enter(root, os.path.realpath(root))
    while going.links:
        links, going.links = sorted(going.links, key=os.fsencode), []
        for link in links:
            going.follow(link)
    tree = going.tree
    check_text(some(tree.roots), map(tree.below, tree.files))
    tree.files.sort(key=lambda path: (tree.root_of(path), os.path.dirname(path).split(os.sep), os.path.basename(path)))
    return tree


def check_text(where: object, names: Iterable[str]) -> None:
    """Raises InputError for names that no table could hold: their bytes are not UTF-8, or they have line breaks."""
    odd: dict[str, list[str]] = {fault: [] for fault in NO_TEXT}
    for name in names:
        if fault := _no_text(name):
            odd[fault].append(name)
    if faults := [fault for fault, each in odd.items() if each]:
        told = (f"{len(odd[fault])} names of files or folders {fault} ({some(odd[fault])})" for fault in faults)
        expected, cures = zip(*map(NO_TEXT.__getitem__, faults))
        raise InputError(where, " and ".join(told), " and ".join(expected), ". ".join(cures))


def _no_text(name: str) -> str:
    """What is wrong with a name, a key of NO_TEXT; "" where nothing is."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "that are not UTF-8"
    return "with line breaks" if set(name) & BREAKS else ""


def audio_below(*roots: str | Path) -> list[str]:
    """The recordings of some folders; prints what was passed over."""
    tree = walk(*roots)
    tree.say()
    return tree.files


def file_below(root: str | Path, name: str) -> Path | None:
    """The first file of this name below a folder, links followed, no folder entered twice; None without one."""
    been: set[str] = set()
    for folder, children, files in os.walk(root, followlinks=True):
        if name in files:
            return Path(folder) / name
        real = {child: os.path.realpath(os.path.join(folder, child)) for child in sorted(children)}
        children[:] = [child for child, place in real.items() if place not in been]
        been.update(real.values())
    return None


def copies_of(paths: Iterable[str]) -> dict[str, str]:
    """{file: the first with the same bytes} of files that are copies of others; what cannot be read is none.

    Only where sizes agree is a file opened, for MIDDLE bytes; it is read where these agree too.
    """
    keys: dict[str, tuple] = dict.fromkeys(paths, ())
    with ThreadPoolExecutor(THREADS) as pool:
        for mark in (os.path.getsize, _middle, file_sha256):
            work = map if mark is os.path.getsize else pool.map
            keys = {
                path: (*keys[path], found)
                for path, found in zip(keys, work(functools.partial(_if_readable, mark), keys))
            }
            counts = Counter(keys.values())
            keys = {path: key for path, key in keys.items() if counts[key] > 1 and None not in key}
    first: dict[tuple, str] = {}
    return {path: first[key] for path, key in keys.items() if first.setdefault(key, path) != path}


def _middle(path: str) -> bytes:
    """Some bytes in the middle of a file: what lies there is seldom silence."""
    with open(path, "rb", buffering=0) as stream:
        stream.seek(max(0, (os.fstat(stream.fileno()).st_size - MIDDLE) // 2))
        return hashlib.sha256(stream.read(MIDDLE)).digest()


def _if_readable(mark: Callable[[str], object], path: str) -> object:
    try:
        return mark(path)
    except OSError:
        return None


class RealPaths:
    """Real paths of many files in few folders: each folder and each file is looked up once."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}
        self._sounds: dict[tuple[str, int], tuple[str, int]] = {}

    def of(self, path: str) -> str:
        """The path without links; that of a file which is not there, as far as it is; no name has a zero."""
        if path not in self._known and "\0" not in path:
            folder, name = os.path.split(path)
            if folder not in self._known:
                self._known[folder] = os.path.realpath(folder)
            linked = os.path.islink(path)
            self._known[path] = os.path.realpath(path) if linked else os.path.join(self._known[folder], name)
        return self._known.get(path, path)

    def take_for(self, copies: Mapping[str, str]) -> None:
        """From now on copies {path: another} go by the real path of the other."""
        self._known.update({path: self.of(other) for path, other in copies.items()})

    def sound(self, path: str, channel: int) -> tuple[str, int]:
        """Which sound a channel of a file is: the same for those with the same samples, as `same_sounds` was told."""
        place = self.of(path), channel
        return self._sounds.get(place, place)

    def same_sounds(self, copies: Mapping[tuple[str, int], tuple[str, int]]) -> None:
        """From now on channels {(path, channel): another} are the sound that the other is."""
        self._sounds.update({(self.of(path), side): self.sound(*other) for (path, side), other in copies.items()})


class Seen(NamedTuple):
    """What is known of a file beside its name. status: its size and time ("-": none, of a command or a file that is not
    there); since: "" of one that is as it was first found, else the status of what came in its place."""

    status: str
    since: str = ""


class Listing:
    """The files that something was made of, as they were then: what DIRECTORY/NAME holds, in lines `STATUS SINCE PATH`.

    A file replaced by one of the same size and time is not seen, as make and rsync do not see it.
    """

    def __init__(self, directory: str | Path, name: str):
        """Nothing is known where there is no such file yet."""
        self.path = Path(directory) / name
        self.old: dict[str, Seen] = {}
        if self.path.is_file():
            with gzip.open(self.path, "rt", encoding="utf-8") as stream:
                lines = [LISTED.fullmatch(line) or line for line in stream.read().split("\n")[:-1]]
            self.old = dict(
                (line, Seen("")) if isinstance(line, str) else (line[3], Seen(line[1], line[2])) for line in lines
            )  # status "" where an older release did not note it

    def since(self) -> dict[str, str]:
        """{file: what came in its place} of those that were replaced."""
        return {path: seen.since for path, seen in self.old.items() if seen.since}

    def seen(self, paths: Iterable[str]) -> dict[str, Seen]:
        """Files as they are now; since: against what is listed."""
        paths, known, found = list(paths), dict(zip(_in_real_folders(self.old), self.old.values())), {}
        for path, place in zip(paths, _in_real_folders(paths)):
            now, before = _status(path), known.get(place) if self.old else Seen("")
            same = before and before.status in ("", now)
            found[path] = Seen(now, before.since if before and same else now)
        return found

    def digest(self, paths: Iterable[str]) -> str:
        """Digest of the names of files and of what came in place of others."""
        digest = hashlib.sha256()
        for path, seen in self.seen(paths).items():
            digest.update(f"{path}{seen.since and ' '}{seen.since}\n".encode())
        return digest.hexdigest()[:16]

    def what_changed(self, paths: list[str]) -> str:
        """In which files these differ from those that are listed; "" where only the name of their place is another."""
        if not self.old:
            return "other files in the tree"
        before = dict(zip(_in_real_folders(self.old), self.old.values()))
        now = {place: Seen(_status(path)) for path, place in zip(paths, _in_real_folders(paths))}
        others = {name for name in set(now) & set(before) if before[name].status not in ("", now[name].status)}
        root = os.path.commonpath([*before, *now]) if before or now else ""
        kinds = ((set(now) - set(before), "more"), (set(before) - set(now), "fewer"), (others, "replaced"))
        told = [_told(names, how, root) for names, how in kinds if names]
        return "; ".join(told) or ("" if list(before) == list(now) else "the same files in another order")

    def replaced(self) -> str:
        """Which of the listed files are others now; "" where none is. One that is not there is none: its disk may be
        away."""
        now = {path: _status(path) for path, seen in self.old.items() if ":" in seen.status}
        others = {path for path, status in now.items() if status not in ("-", self.old[path].status)}
        return _told(others, "replaced", os.path.commonpath(map(os.path.dirname, now))) if others else ""

    def write(self, paths: Iterable[str]) -> None:
        """Lists these files as they are now; the same bytes for the same files."""
        seen = self.seen(paths)
        with atomic_write(self.path) as raw, gzip.GzipFile("", "wb", 3, raw, mtime=0) as stream:
            stream.writelines(f"{each.status} {each.since} {path}\n".encode() for path, each in seen.items())


def replaced_of(directory: Path) -> list[str]:
    """Which files of the listings in a directory are others now, in sentences."""
    listings = (Listing(directory, path.name) for path in sorted(directory.glob("*.files.gz")))
    return [told for listing in listings if (told := listing.replaced())]


def _told(names: Collection[str], how: str, root: str) -> str:
    """How many files are more, fewer or replaced, and which."""
    below = some(os.path.relpath(name, root) for name in sorted(names))
    return f"{len(names)} file{'s' * (len(names) > 1)} {how}: {below}"


def _status(path: str) -> str:
    try:
        status = os.stat(path)
    except OSError:
        return "-"
    return f"{status.st_size}:{status.st_mtime_ns}"


def _in_real_folders(paths: Iterable[str]) -> list[str]:
    """Paths with the links on the way to their files' folders followed, not those of the files themselves."""
    real = functools.cache(os.path.realpath)
    return [os.path.join(real(folder), name) for folder, name in map(os.path.split, paths)]


def find_audio(*folders: str | Path) -> list[Path]:
    """The recordings below some folders, in their order. Raises InputError when there is none."""
    files = [Path(path) for path in audio_below(*folders)]
    if not files:
        packed = [path for path in sorted(Path(folders[0]).glob("*")) if path.suffix in UNPACK]
        command = (
            UNPACK[packed[0].suffix].format(*map(shlex.quote, (str(packed[0]), str(folders[0])))) if packed else ""
        )
        cure = f"Unpack it: {command}" if packed else "Give the unpacked corpus' folder"
        raise InputError(some(map(str, folders)), "no audio file", f"{' '.join(SUFFIXES)} below it", cure)
    return files


def musan_noises(root: str | Path) -> list[Path]:
    """MUSAN's noise and music when the folder has that layout, else every audio file below it."""
    return find_audio(*(parts_of(root, "noise", "music") or [Path(root)]))


def parts_of(root: str | Path, *names: str) -> list[Path]:
    """Those of some folders that a root has."""
    return [Path(root) / name for name in names if (Path(root) / name).is_dir()]


def responses_of(root: str | Path) -> list[Path]:
    """Impulse responses of RIRS_NOISES (its noises left out) when the folder has that layout, else every audio file."""
    parts = parts_of(root, *ROOMS) or parts_of(Path(root) / "RIRS_NOISES", *ROOMS)
    files = find_audio(*(parts or [Path(root)]))
    return [path for path in files if not parts or path.parent.name != ROOMS[1] or "_noise_" not in path.name]
