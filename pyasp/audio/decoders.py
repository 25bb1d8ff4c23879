"""Programs for the formats that libsndfile cannot read, each run as a process without a shell: shorten and AAC."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from pyasp.audio import mp4
from pyasp.audio.sphere import AGAIN, MAGIC, read_header
from pyasp.core.errors import InputError

# What libsndfile cannot read -> program and its arguments; found by the file's head or by its suffix. Of MP4's edit
# list
# and padded last frame versions of ffmpeg make different things: here the priming and the padding are cut off by the
# header.
DECODERS = {
    "shorten-compressed SPHERE": ("sph2pipe", "-p", "-f", "wav", "IN", "OUT"),
    "AAC in MP4": (
        "ffmpeg",
        "-nostdin",
        "-v",
        "error",
        "-y",
        "-ignore_editlist",
        "1",
        "-i",
        "IN",
        "-af",
        "TRIM",
        "-c:a",
        "pcm_s16le",
        "OUT",
    ),
}
PACKAGES = {"sph2pipe": "https://github.com/burrmill/sph2pipe", "ffmpeg": "Debian, Ubuntu: apt install ffmpeg"}
AAC_SUFFIXES = (".m4a", ".mp4", ".aac")
# What a program says of a file that ends too early while it ends with exit code 0, the lost samples made up
CUT_SHORT = {"sph2pipe": "premature EOF"}


def head_of(path: str | Path) -> bytes:
    """The first kilobyte of a file. Raises InputError when it is missing or empty."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(1024)
    except OSError as error:
        raise InputError(
            path, error.strerror or str(error), "an audio file", "Check the path in cuts.jsonl.gz, or run stage 0 again"
        ) from None
    if not head:
        raise InputError(path, "an empty file", "audio", AGAIN)
    return head


def foreign_format(path: str | Path) -> str | None:
    """Key of DECODERS when libsndfile cannot read the file."""
    if str(path).lower().endswith(AAC_SUFFIXES):
        return "AAC in MP4"
    sphere = head_of(path).startswith(MAGIC)  # its header may be longer than its first kilobyte
    return "shorten-compressed SPHERE" if sphere and read_header(path).compressed else None


def require_program(form: str, path: str | Path) -> str:
    """The program that decodes a form of DECODERS. Raises InputError, naming the file, when it is not on PATH."""
    program = DECODERS[form][0]
    if shutil.which(program) is None:
        raise InputError(
            path,
            f"{form}, and no {program} on PATH",
            "a format that libsndfile reads",
            f"Install {program} ({PACKAGES[program]}) so that it is on PATH, or convert the file",
        )
    return program


def decode(path: str | Path) -> bytes:
    """A wav file, in memory, of one that libsndfile cannot read. InputError when the program is missing or fails."""
    status = os.stat(path)
    return _decode(os.path.abspath(path), foreign_format(path), status.st_size, status.st_mtime_ns)


def _trim(header: mp4.Header) -> str:
    return f"atrim=start_sample={header.priming}:end_sample={header.priming + header.samples}"


@functools.lru_cache(maxsize=1)  # the two sides of a call follow each other
def _decode(path: str, form: str, size: int, changed: int) -> bytes:
    program = require_program(form, path)
    trim = _trim(mp4.read_header(path)) if form == "AAC in MP4" else ""
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "decoded.wav")
        places = {"IN": path, "OUT": target, "TRIM": trim}
        done = subprocess.run(
            [program, *(places.get(word, word) for word in DECODERS[form][1:])],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
        said = done.stderr.decode(errors="replace").strip().splitlines()
        cut_short = program in CUT_SHORT and any(CUT_SHORT[program] in line for line in said)
        if done.returncode != 0 or cut_short or not os.path.isfile(target):
            raise InputError(
                path,
                f"{program} exit code {done.returncode} ({said[-1] if said else 'no message'})",
                "a file that it can decode",
                AGAIN,
            )
        return Path(target).read_bytes()
