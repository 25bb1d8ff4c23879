"""Trees of recordings: the one walk over them, and the layouts of MUSAN and RIRS_NOISES. No audio library here."""

from __future__ import annotations

import os
from pathlib import Path

from pyasp.core.errors import InputError

SUFFIXES = (
    *(".wav", ".flac", ".sph", ".ogg", ".opus", ".mp3", ".aiff", ".aif", ".au", ".w64"),  # libsndfile reads them
    *(".m4a", ".mp4", ".aac"),  # ffmpeg
)
ROOMS = ("simulated_rirs", "real_rirs_isotropic_noises")  # of RIRS_NOISES; the second holds noises too
UNPACK = {".gz": "tar -xzf {} -C {}", ".zip": "unzip -q {} -d {}"}


def audio_below(root: str | Path, suffixes: tuple[str, ...] = SUFFIXES) -> list[str]:
    """Every file under root with one of the suffixes, a directory at a time, in the order of names.

    Hidden files and directories are passed over, links followed.
    """
    found = []
    for directory, children, files in os.walk(root, followlinks=True):
        children[:] = sorted(child for child in children if not child.startswith("."))
        found += [
            os.path.join(directory, name)
            for name in sorted(files)
            if name.lower().endswith(suffixes) and not name.startswith(".")
        ]
    return found


def find_audio(folder: str | Path) -> list[Path]:
    """Audio files below a folder. Raises InputError when there is none."""
    files = [Path(path) for path in audio_below(folder)]
    if not files:
        packed = [path for path in sorted(Path(folder).glob("*")) if path.suffix in UNPACK]
        command = UNPACK[packed[0].suffix].format(packed[0], folder) if packed else ""
        cure = f"Unpack it: {command}" if packed else "Give the unpacked corpus' folder"
        raise InputError(folder, "no audio file", f"{' '.join(SUFFIXES)} below it", cure)
    return files


def musan_noises(root: str | Path) -> list[Path]:
    """MUSAN's noise and music when the folder has that layout, else every audio file below it."""
    parts = [Path(root) / name for name in ("noise", "music") if (Path(root) / name).is_dir()]
    return [path for part in parts for path in find_audio(part)] if parts else find_audio(root)


def responses_of(root: str | Path) -> list[Path]:
    """Impulse responses of RIRS_NOISES (its noises left out) when the folder has that layout, else every audio file."""
    for top in (Path(root), Path(root) / "RIRS_NOISES"):
        parts = [top / name for name in ROOMS if (top / name).is_dir()]
        if parts:
            files = [path for part in parts for path in find_audio(part)]
            return [path for path in files if path.parent.name != ROOMS[1] or "_noise_" not in path.name]
    return find_audio(root)
