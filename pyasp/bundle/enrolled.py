"""Enrolled speakers: a directory with the embeddings of each in NAME.ark, and in model.json what they are.

model.json says of which model the embeddings are ("identity"), and holds a digest of each recording ("recordings"): an
archive of another model or another speaker, put there by hand, is known. A file may be renamed or deleted.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pyasp.audio.folders import some
from pyasp.bundle.verify import is_among
from pyasp.core.errors import InputError, refusal
from pyasp.core.text import read_json, write_json
from pyasp.kaldi import ArkWriter, read_ark

if TYPE_CHECKING:  # it imports torch, for which --help need not wait
    from pyasp.bundle.speaker_model import SpeakerModel

Named = list[tuple[str, np.ndarray]]  # recordings, with their embeddings (E,)
Digests = dict[str, list[str]]  # {speaker: those of his recordings}
MODEL_FILE = "model.json"
LONGEST = 200  # bytes of a name, which is a file's, with a suffix and for a while with more


def speaker_file(directory: str | Path, name: str) -> Path:
    """Where an enrolled speaker's embeddings lie. Raises InputError for a name that is no file name.

    A name is one speaker's however its accents are coded.
    """
    name = unicodedata.normalize("NFC", name)
    if name != name.strip() or name[:1] in ("", ".", "-") or "/" in name or "\\" in name or not name.isprintable():
        expected = "a name on one line, without slashes and a dot or dash at its front"
        raise InputError("command line", f"the speaker name {name!r}", expected, "Choose another name")
    if (length := len(name.encode())) > LONGEST:
        found = f"the speaker name {name[:20]!r}... of {length} bytes"
        raise InputError("command line", found, f"at most {LONGEST}", "Choose a shorter name")
    return Path(directory) / f"{name}.ark"


def _names(directory: Path) -> list[str]:
    return sorted(path.stem for path in directory.glob("*.ark"))


@contextlib.contextmanager
def _alone(directory: Path, how: int = fcntl.LOCK_EX) -> Iterator[None]:
    """No other process or thread changes the speakers of a directory meanwhile."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, how)
        yield
    finally:
        os.close(handle)


def _noted(directory: Path, model: SpeakerModel) -> Digests | None:
    """What model.json says; None of one of before recordings were noted. InputError when it is not there, or says that
    the speakers are another model's."""
    path, names = directory / MODEL_FILE, _names(directory)
    if not path.is_file():
        found = f"speakers ({some(names)}) without {MODEL_FILE}" if names else "no enrolled speakers"
        cure = f"Put {MODEL_FILE} back, or enrol them into a new directory" if names else "Enrol speakers first"
        raise InputError(directory, found, "a directory of pyasp enroll", cure)
    expected, cure = "the model's identity", "Put the file back, or enrol the speakers into a new directory"
    stored = read_json(path, expected, cure)
    if stored.get("identity") != model.bundle.identity:
        expected, cure = f"embeddings of {model.bundle.path}", "Give the model they were enrolled with, or enrol again"
        raise InputError(directory, "speakers enrolled with another model", expected, cure)
    noted = stored.get("recordings")
    if noted is not None and not (isinstance(noted, dict) and all(isinstance(each, list) for each in noted.values())):
        raise InputError(path, "recordings that are no lists", "a list for each speaker", cure)
    return noted


def _digest(vector: np.ndarray) -> str:
    return hashlib.sha256(np.asarray(vector, np.float32).tobytes()).hexdigest()[:16]


def _read(path: Path, noted: Digests | None) -> Named:
    """A speaker's recordings and embeddings. InputError when there is none, or one that was not enrolled here as his
    (under whatever name of the file)."""
    found = list(read_ark(path))
    if not found:
        raise InputError(
            path, "no recording", "at least one", "Enrol this speaker again with --force, or delete the file"
        )
    if noted is not None:
        own = {*noted.get(path.stem, [each for every in noted.values() for each in every])}
        if strange := [key for key, vector in found if _digest(vector) not in own]:
            told = f"{len(strange)} of {len(found)} recordings (first: {strange[0]}) that were not enrolled here"
            cure = "Enrol this speaker again with --force, from his recordings"
            raise InputError(path, f"{told} for {path.stem}", "what pyasp enroll wrote", cure)
    return found


def check_speaker(path: Path, add: bool, force: bool) -> None:
    """InputError when a speaker's file is there and neither replaced nor added to, or is to be added to and missing."""
    if add and force:
        raise InputError("command line", "add and force", "one of them", "Add to the recordings, or replace them")
    if path.exists() and not (add or force):
        cure = "Add to his recordings (--add, add=True), or enrol him anew (--force, force=True)"
        raise InputError(path, "a speaker of this name", "a new name", cure)
    if add and not path.exists():
        there = f"one that is enrolled ({some(_names(path.parent)) or 'none is yet'})"
        raise InputError(path, "no such speaker", there, "Correct the name, or leave --add out")


def _make(directory: Path) -> None:
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except FileExistsError:
        raise InputError(directory, "a file", "a directory of speakers, or none yet", "Choose another name") from None
    except OSError as error:
        raise refusal(error, directory) or error from None


def save_speaker(
    directory: str | Path, name: str, vectors: Named, model: SpeakerModel, add: bool = False, force: bool = False
) -> tuple[int, int]:
    """Writes a speaker's embeddings (recording, (E,)); returns how many he has now and how many of these are new.

    An embedding that he has already does not count twice. InputError as `check_speaker`, and when others of the
    directory are of another model.
    """
    path, directory = speaker_file(directory, name), Path(directory)
    check_speaker(path, add, force)
    _make(directory)
    with _alone(directory):
        check_speaker(path, add, force)
        noted = _current(directory, model)
        kept = _read(path, noted) if add else []
        before = len(kept)
        for recording, vector in vectors:
            if not is_among(vector, (old for _, old in kept)):
                kept.append((f"{len(kept) + 1}-{'_'.join(os.path.basename(recording).split())}", vector))
        new = [_digest(vector) for _, vector in kept]
        _note(directory, model, {**noted, path.stem: [*noted.get(path.stem, ()), *new]})  # whichever file is there
        with ArkWriter(path) as writer:
            for key, vector in kept:
                writer.write(key, vector)
        _note(directory, model, {**noted, path.stem: new})
    return len(kept), len(kept) - before


def _note(directory: Path, model: SpeakerModel, recordings: Mapping[str, list[str]]) -> None:
    write_json(directory / MODEL_FILE, {"identity": model.bundle.identity, "recordings": recordings})


def _current(directory: Path, model: SpeakerModel) -> Digests:
    """The digests of all whose files are there: of a file that is not noted under its name, those of what it holds."""
    if not _names(directory) and not (directory / MODEL_FILE).is_file():
        return {}
    noted = _noted(directory, model)
    files = {name: directory / f"{name}.ark" for name in _names(directory)}
    return {
        name: noted[name] if noted and name in noted else [_digest(vector) for _, vector in _read(path, noted)]
        for name, path in files.items()
    }


def claimed(directory: str | Path, name: str, model: SpeakerModel) -> np.ndarray:
    """Embeddings (N, E) of an enrolled speaker. InputError when nobody of this name is there."""
    with _reading(directory, model) as noted:
        path = speaker_file(directory, name)
        if not path.is_file():
            names = some(_names(Path(directory))) or "no speaker yet"
            raise InputError(directory, f"no speaker {path.stem}", names, "Correct the name, or enrol him")
        return _embeddings(path, noted)


def load_speakers(directory: str | Path, model: SpeakerModel) -> dict[str, np.ndarray]:
    """{speaker: embeddings (N, E)} of a directory. Raises InputError when it or a speaker's file is empty, or it is of
    another model, or holds what was not enrolled there."""
    with _reading(directory, model) as noted:
        speakers = {path.stem: _embeddings(path, noted) for path in sorted(Path(directory).glob("*.ark"))}
    if not speakers:
        raise InputError(directory, "no enrolled speaker", "at least one", "Enrol speakers first")
    return speakers


@contextlib.contextmanager
def _reading(directory: str | Path, model: SpeakerModel) -> Iterator[Digests | None]:
    """What is noted of a directory, which nobody changes meanwhile."""
    if not Path(directory).is_dir():
        raise InputError(directory, "no such directory", "a directory of pyasp enroll", "Enrol speakers first")
    with _alone(Path(directory), fcntl.LOCK_SH):
        yield _noted(Path(directory), model)


def _embeddings(path: Path, noted: Digests | None) -> np.ndarray:
    return np.stack([vector for _, vector in _read(path, noted)])


def enrolled_too(
    directory: str | Path, name: str, vectors: Iterable[np.ndarray], model: SpeakerModel
) -> list[list[str]]:
    """For each embedding (E,) the other speakers of a directory who are enrolled with this very recording."""
    with _alone(Path(directory)):
        known = _current(Path(directory), model)
    others = {speaker: set(digests) for speaker, digests in known.items() if speaker != name}
    return [[speaker for speaker, found in others.items() if _digest(vector) in found] for vector in vectors]
