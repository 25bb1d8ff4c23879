"""What libsndfile is given of a recording: the file, or what makes it readable. For the formats that it cannot read
these are programs, each run as a process without a shell (shorten, AAC); MP3 gets the number of its frames, a wav file
without a length its length.
"""

import functools
import io
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

from pyasp.audio import frames
from pyasp.audio.headers import AGAIN, NO_LENGTH, Header, with_length
from pyasp.core.errors import InputError


class Decoder(NamedTuple):
    """name: of the format; command: program and arguments, with places for IN, OUT and TRIM; package: where to get it.

    cut_short: what the program says of a file that ends too early while it makes up the rest and exits with code 0.
    """

    name: str
    command: str
    package: str
    cut_short: str = ""


# By the encoding in the header. Of MP4's edit list and padded last frame versions of ffmpeg make different things: here
# the priming and the padding are cut off by the header.
DECODERS = {
    "shorten": Decoder(
        "shorten-compressed SPHERE",
        "sph2pipe -p -f wav IN OUT",
        "https://github.com/burrmill/sph2pipe",
        "premature EOF",
    ),
    "m4a": Decoder(
        "AAC in MP4",
        "ffmpeg -nostdin -v error -y -ignore_editlist 1 -i IN -af TRIM -c:a pcm_s16le OUT",
        "Debian, Ubuntu: apt install ffmpeg",
    ),
    "aac": Decoder(
        "AAC in ADTS",
        "ffmpeg -nostdin -v error -y -f aac -i IN -af TRIM -c:a pcm_s16le OUT",
        "Debian, Ubuntu: apt install ffmpeg",
    ),
}


def require_program(encoding: str, path: str | Path) -> str:
    """The program that decodes a key of DECODERS. Raises InputError, naming the file, when it is not on PATH."""
    decoder = DECODERS[encoding]
    program = decoder.command.split()[0]
    if shutil.which(program) is None:
        cure = f"Install {program} ({decoder.package}) so that it is on PATH, or convert the file"
        raise InputError(path, f"{decoder.name}, and no {program} on PATH", "a format that libsndfile reads", cure)
    return program


def decode(path: str | Path, header: Header) -> str | io.BytesIO:
    """What libsndfile reads of a recording: its path, or an open file in memory.

    Raises InputError when a program is missing or fails.
    """
    if header.encoding == NO_LENGTH:
        return with_length(Path(path).read_bytes())
    if header.encoding not in DECODERS and header.encoding != "MP3":
        return str(path)
    status = os.stat(path)
    key = os.path.abspath(path), header, status.st_size, status.st_mtime_ns
    return io.BytesIO(_counted(*key) if header.encoding == "MP3" else _decode(*key))


@functools.lru_cache(maxsize=1)  # stretches of a recording follow each other
def _counted(path: str, header: Header, size: int, changed: int) -> bytes:
    with open(path, "rb") as stream:
        stream.seek(frames.id3_length(stream))
        return frames.counted_mp3(stream.read())


@functools.lru_cache(maxsize=1)  # the two sides of a call follow each other
def _decode(path: str, header: Header, size: int, changed: int) -> bytes:
    program, decoder = require_program(header.encoding, path), DECODERS[header.encoding]
    with tempfile.TemporaryDirectory() as folder:
        target = os.path.join(folder, "decoded.wav")
        trim = f"atrim=start_sample={header.priming}:end_sample={header.priming + header.samples}"
        places = {"IN": path, "OUT": target, "TRIM": trim}
        command = [places.get(word, word) for word in decoder.command.split()]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        said = done.stderr.decode(errors="replace").strip().splitlines()
        cut_short = decoder.cut_short and any(decoder.cut_short in line for line in said)
        if done.returncode != 0 or cut_short or not os.path.isfile(target):
            told = f"{program} exit code {done.returncode} ({said[-1] if said else 'no message'})"
            raise InputError(path, told, "a file that it can decode", AGAIN)
        return Path(target).read_bytes()


# ---------------------------------------------------------------- commands of a wav.scp that only decode


def words_of(command: str) -> list[str]:
    """The words of a shell command, quotes taken off, operators words of their own; [] where quotes do not pair."""
    try:
        lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
        lexer.whitespace_split, lexer.commenters = True, ""
        return list(lexer)
    except ValueError:
        return []


def file_of(entry: str) -> str | None:
    """The file that an entry of a wav.scp names, or that its command only decodes; None of other commands."""
    if not entry.endswith("|"):
        return entry
    return found[0] if (found := decoded_file(entry[:-1])) else None


def decoded_file(command: str) -> tuple[str, int | None] | None:
    """(path, channel, None where it names none) of a command that does nothing but decode one file to its standard
    output; None for others.

    sph2pipe, flac, cat, and the sox and ffmpeg that the recipe's own wav.scp says.
    """
    program, *words = words_of(command) or [""]
    match os.path.basename(program), words:
        case "cat", [path] if not path.startswith("-"):
            return path, None
        case "flac", [*options, path] if options and set(options) <= {"-c", "-d", "-s", "-dc", "-cd", "-cds", "-dcs"}:
            return path, None
        case "sph2pipe", [*options, path]:
            text = " ".join(options).replace("-f wav", "").replace("-p", "")
            if text.split() in ([], ["-c", "1"], ["-c", "2"]):
                return path, int(text.split()[-1]) - 1 if text.split() else None
        case "sox", [path, "-t", "wav", "-", "remix", number] if number.isdigit() and int(number):
            return path, int(number) - 1
        case "ffmpeg", ["-v", "8", "-i", path, "-map_channel", side, "-f", "wav", "-acodec", "pcm_s16le", "-"]:
            if side.startswith("0.0.") and side[4:].isdigit():
                return path, int(side[4:])
    return None
