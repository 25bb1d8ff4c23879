"""Telephone codecs for augmentation: speech at 8 kHz coded and decoded, of the same length, aligned with the original.

AMR-NB (3GPP TS 26.071) needs an encoder: ffmpeg with libopencore_amrnb, or sox with amr-nb. Where there is none the
user may choose a stand-in by name: GSM 06.10 (13 kbit/s) or G.711 mu-law (64 kbit/s), which libsndfile has.
"""

import functools
import io
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from pyasp.core.errors import InputError

RATE = 8000  # Hz, of all three
AMR_DELAY = 40  # samples by which decoded AMR-NB comes late: the 5 ms look-ahead of its encoder
AMR_FRAME = 160  # samples
AMR_MODES = {"4.75": 0, "5.15": 1, "5.9": 2, "6.7": 3, "7.4": 4, "7.95": 5, "10.2": 6, "12.2": 7}  # kbit/s -> mode
# program -> (encoder, decoder), with IN, OUT, RATE (bit/s) and MODE filled in
ENCODERS = {
    "ffmpeg": (
        ("ffmpeg", "-nostdin", "-v", "error", "-y", "-i", "IN", "-c:a", "libopencore_amrnb", "-b:a", "RATE", "OUT"),
        ("ffmpeg", "-nostdin", "-v", "error", "-y", "-i", "IN", "-c:a", "pcm_s16le", "OUT"),
    ),
    "sox": (("sox", "IN", "-t", "amr-nb", "-C", "MODE", "OUT"), ("sox", "-t", "amr-nb", "IN", "OUT")),
}
WHERE = "Debian, Ubuntu: apt install ffmpeg libavcodec-extra, or sox libsox-fmt-all"


def _run(command: tuple[str, ...], source: Path, target: Path, kbits: str) -> None:
    """Raises InputError with the program's last words when it fails."""
    words = {"IN": str(source), "OUT": str(target), "RATE": f"{float(kbits) * 1000:.0f}", "MODE": str(AMR_MODES[kbits])}
    done = subprocess.run(
        [words.get(word, word) for word in command], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode != 0 or not target.is_file():
        said = done.stderr.decode(errors="replace").strip().splitlines()
        found = f"exit code {done.returncode} ({said[-1] if said else 'no message'})"
        raise InputError(command[0], found, f"AMR-NB at {kbits} kbit/s", f"Install an encoder ({WHERE})")


def _through(program: str, samples: np.ndarray, kbits: str) -> np.ndarray:
    """(n,) samples in [-1, 1] through a program's AMR-NB encoder and decoder."""
    encode, decode = ENCODERS[program]
    with tempfile.TemporaryDirectory() as folder:
        clean, coded, decoded = (Path(folder) / name for name in ("clean.wav", "coded.amr", "decoded.wav"))
        padded = np.concatenate([samples, np.zeros(AMR_FRAME)])
        soundfile.write(clean, padded, RATE, subtype="PCM_16")
        _run(encode, clean, coded, kbits)
        _run(decode, coded, decoded, kbits)
        return soundfile.read(decoded)[0][AMR_DELAY : AMR_DELAY + len(samples)]


@functools.cache
def amr_program() -> str | None:
    """The first program of ENCODERS that codes a tenth of a second of silence; None when none does."""
    for program in ENCODERS:
        if shutil.which(program):
            try:
                _through(program, np.zeros(RATE // 10), "4.75")
                return program
            except InputError:
                pass
    return None


def encoder() -> str:
    """The program that encodes AMR-NB. InputError, which names the packages and the stand-ins, when there is none."""
    if program := amr_program():
        return program
    found, expected = "no program that encodes AMR-NB", "ffmpeg with libopencore_amrnb, or sox with amr-nb"
    cure = f"{WHERE}; or choose a stand-in, which the report names: --codec=gsm or --codec=g711"
    raise InputError("augment.conf", found, expected, cure, item="--codec=amr")


def _sndfile(samples: np.ndarray, subtype: str) -> np.ndarray:
    stream = io.BytesIO()
    soundfile.write(stream, samples, RATE, format="WAV", subtype=subtype)
    stream.seek(0)
    return soundfile.read(stream)[0][: len(samples)]


CODECS: dict[str, Callable[[np.ndarray, str], np.ndarray]] = {
    "amr": lambda samples, kbits: _through(encoder(), samples, kbits),
    "gsm": lambda samples, kbits: _sndfile(samples, "GSM610"),
    "g711": lambda samples, kbits: _sndfile(samples, "ULAW"),
}


def named(codec: str, kbits: list[str]) -> str:
    """What the copies go through, for the report. Raises InputError when AMR-NB is wanted and cannot be encoded."""
    if codec != "amr":
        return {"gsm": "GSM 06.10", "g711": "G.711 mu-law"}[codec] + " as a stand-in for AMR-NB"
    return f"AMR-NB at {' or '.join(kbits)} kbit/s through {encoder()}"


def round_trip(samples: np.ndarray, codec: str, kbits: str) -> np.ndarray:
    """(n,) float64 samples in [-1, 1] at 8 kHz, coded and decoded, aligned with the original.

    kbits: of AMR-NB, a key of AMR_MODES. Raises InputError when the codec cannot be had or gives another length.
    """
    decoded = CODECS[codec](np.clip(samples, -1.0, 1.0 - 2.0**-15), kbits)
    if len(decoded) != len(samples):
        raise InputError(codec, f"{len(decoded)} samples", f"{len(samples)}, as the original has", "Report the program")
    return decoded
