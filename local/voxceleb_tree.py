"""Where VoxCeleb files lie and what they are called: layouts v1.0 and v1.1, VoxCeleb2, their metadata and archives."""

import hashlib
import os
import re
import shlex
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from local.common import walk_speakers
from pyasp.audio.folders import SUFFIXES, some
from pyasp.core.errors import InputError
from pyasp.core.progress import bar
from pyasp.core.text import read_lines

V11 = re.compile(r"^\d{5}$")  # file name of v1.1 and VoxCeleb2
V10 = re.compile(r"^(.{11})_(\d{7})$")  # v1.0: YouTube id (may hold - and _) and segment, split by position
ARCHIVES = {
    "vox1_dev_wav.zip": "ae63e55b951748cc486645f532ba230b",
    "vox1_test_wav.zip": "185fdc63c3c739954633d50379a3d102",
    "vox2_dev_aac.zip": "bbc063c46078a602ca71605645c2a402",
    "vox2_test_aac.zip": "0d2b3ea430a821c33263b5ea37ede312",
}
PIECE = re.compile(r"^(vox\d_(?:dev|test)_(?:wav|aac))_?part\w+$")  # an archive downloaded in pieces
# Directories that may hold the speakers' directories of one part; {} = dev or test. "" as part: both together.
PLACES = {
    "dev": ("dev/wav", "voxceleb1/dev/wav", "voxceleb1/dev", "dev"),
    "test": ("test/wav", "voxceleb1/test/wav", "voxceleb1/test", "test"),
    "": ("wav", "voxceleb1/wav", "voxceleb1_wav", "voxceleb1", ""),
}
WHERE_TO_ASK = "Ask for access at https://www.robots.ox.ac.uk/~vgg/data/voxceleb/"


@dataclass(frozen=True)
class Clip:
    """One file; part: dev, test or "" (metadata decides)."""

    path: str
    speaker: str
    video: str
    segment: str
    part: str

    @property
    def id(self) -> str:
        return f"{self.speaker}-{self.video}-{self.segment}"


def parse_name(path: str, part: str = "") -> Clip | None:
    """A clip from its path, by position: <speaker>/<video>/<NNNNN>.x or <speaker>/<video>_<NNNNNNN>.x;
    None for any other."""
    parts = path.split("/")
    stem = parts[-1].rsplit(".", 1)[0]
    if len(parts) >= 3 and V11.match(stem):
        return Clip(path, parts[-3], parts[-2], stem, part)
    flat = V10.match(stem)
    if len(parts) >= 2 and flat:
        return Clip(path, parts[-2], flat.group(1), f"{int(flat.group(2)):05d}", part)
    return None


def find_clips(root: str | Path) -> list[Clip]:
    """Every clip of VoxCeleb1 under root, whatever its layout.
    Raises InputError when there is none, with the way out."""
    root = os.path.abspath(root)
    if not os.path.isdir(root):
        raise InputError(root, "no such directory", "the root of VoxCeleb1", f"Check --root. {WHERE_TO_ASK}")
    clips: list[Clip] = []
    for part, places in PLACES.items():
        place = next((place for place in places if _holds_speakers(os.path.join(root, place))), None)
        if place is not None and (part or not clips):
            clips += clips_below([os.path.join(root, place)], part)
    if not clips:
        raise missing_audio(root)
    return clips


def clips_below(places: list[str], part: str = "") -> list[Clip]:
    """Each clip below some directories of speakers, once: of several formats the one that comes first in SUFFIXES."""
    found = [clip for clip in (parse_name(path, part) for path in walk_speakers(*places).files) if clip]
    best: dict[tuple[str, str, str], Clip] = {}
    for clip in sorted(found, key=lambda clip: SUFFIXES.index(os.path.splitext(clip.path)[1].lower())):
        best.setdefault((clip.speaker, clip.video, clip.segment), clip)
    if len(found) > len(best):
        left_out = Counter(os.path.splitext(clip.path)[1] for clip in found)
        left_out.subtract(os.path.splitext(clip.path)[1] for clip in best.values())
        told = ", ".join(f"{count} {suffix}" for suffix, count in left_out.items() if count)
        print(f"{some(places)}: {len(found) - len(best)} clips are there in a second format, not used: {told}")
    chosen = set(best.values())
    return [clip for clip in found if clip in chosen]


def _holds_speakers(directory: str) -> bool:
    """True when some child's child is a clip or a directory of clips: a directory of speakers, not one above it."""
    if not os.path.isdir(directory):
        return False
    for child in sorted(os.listdir(directory))[:8]:
        for grandchild in _listing(os.path.join(directory, child))[:8]:
            if V10.match(grandchild.rsplit(".", 1)[0]):
                return True
            if any(
                V11.match(name.rsplit(".", 1)[0]) for name in _listing(os.path.join(directory, child, grandchild))[:8]
            ):
                return True
    return False


def _listing(directory: str) -> list[str]:
    return sorted(os.listdir(directory)) if os.path.isdir(directory) else []


def missing_audio(root: str, release: int = 1, part: str = "") -> InputError:
    """The error for a root without audio (of a part): names the command that unpacks what lies there, or where to
    ask."""
    names = [name for name in _listing(root) if name.startswith(f"vox{release}_{part}")]
    parts, there = sorted(name for name in names if PIECE.match(name)), shlex.quote(root)
    archives = [name for name in names if name in ARCHIVES]
    places = {
        1: f"{root}/dev/wav/id10001/... (v1.1) or {root}/voxceleb1_wav/<speaker>/... (v1.0)",
        2: f"{root}/dev/aac/id00012/... (m4a) or {root}/dev/wav/id00012/... (converted)",
    }
    cure = f"Expected {places[release]}. {WHERE_TO_ASK}"
    if parts:
        whole = PIECE.match(parts[0]).group(1) + ".zip"
        pieces = re.match(r".*part", parts[0]).group(0)
        join = f"cat {there}/{pieces}* > {there}/{whole}"
        cure = f"Join and unpack: {join} && unzip -q {there}/{whole} -d {there}/{_part_of(whole)}"
    elif archives:
        cure = "Unpack: " + " && ".join(f"unzip -q {there}/{name} -d {there}/{_part_of(name)}" for name in archives)
    but = " but archives" if parts or archives else ""
    found = f"no VoxCeleb audio{but}" + (f" of the part {part}" if part else "")
    return InputError(root, found, "unpacked audio files", cure)


def _part_of(archive: str) -> str:
    return archive.split("_")[1]


def _pieces(root: Path) -> dict[str, list[Path]]:
    """{archive: its file, or the pieces it was downloaded in} of every known archive in a directory."""
    found: dict[str, list[Path]] = {}
    for name in _listing(str(root)):
        piece = PIECE.match(name)
        archive = piece.group(1) + ".zip" if piece else name
        if archive in ARCHIVES and not (piece and (root / archive).is_file()):
            found.setdefault(archive, []).append(root / name)
    return found


def _md5(paths: list[Path]) -> str:
    """MD5 of files one after the other, with a bar: the archives have tens of gigabytes."""
    digest, total = hashlib.md5(usedforsecurity=False), sum(path.stat().st_size for path in paths)
    with bar(total=total >> 20, title=f"md5 {paths[0].name}", unit="MB") as progress:
        for path in paths:
            with open(path, "rb") as stream:
                while block := stream.read(1 << 22):
                    digest.update(block)
                    progress.update(len(block) >> 20)
    return digest.hexdigest()


def check_md5(roots: list[str]) -> list[str]:
    """Verifies every known archive, whole or in pieces, in some directories; returns their names.

    Raises InputError on a wrong sum or when there is none.
    """
    checked: list[str] = []
    for root in roots:
        for name, paths in _pieces(Path(root)).items():
            digest = _md5(paths)
            if digest != ARCHIVES[name]:
                raise InputError(paths[0], f"md5 {digest}", ARCHIVES[name], "Download the archive again")
            checked.append(name)
    if not checked:
        expected = " or ".join(ARCHIVES)
        raise InputError(" ".join(roots), "no archive", expected, "Put the zip files there, or leave out --check-md5")
    return checked


@dataclass(frozen=True)
class Metadata:
    """By speaker id: gender (m, f) and part (dev, test); ids: {celebrity name: id} for v1.0 directories."""

    gender: dict[str, str]
    part: dict[str, str]
    ids: dict[str, str]


def read_metadata(path: Path) -> Metadata:
    """vox1_meta.csv (tabs) or vox2_meta.csv (commas, stray spaces). Raises InputError for a line that is neither.

    VoxCeleb1: id, VGGFace1 id, gender, nationality, set. VoxCeleb2: id, VGGFace2 id, gender, set.
    """
    gender, part, ids = {}, {}, {}
    header, *lines = read_lines(path) or [""]
    separator = "\t" if "\t" in header else ","
    for number, line in enumerate(lines, 2):
        cells = [cell.strip() for cell in line.split(separator)]
        if not line.strip():
            continue
        if len(cells) < 4 or cells[2] not in ("m", "f") or cells[-1] not in ("dev", "test"):
            expected = "id, name, m or f, (nationality), dev or test"
            raise InputError(path, repr(line), expected, "Fetch the file again", item=f"line {number}")
        gender[cells[0]], part[cells[0]], ids[cells[1]] = cells[2], cells[-1], cells[0]
    return Metadata(gender, part, ids)


def find_metadata(root: str | Path, name: str) -> Metadata:
    """The metadata beside or above the audio; empty when there is none."""
    for directory in (Path(root), Path(root) / "voxceleb1", Path(root).parent):
        if (directory / name).is_file():
            return read_metadata(directory / name)
    return Metadata({}, {}, {})
