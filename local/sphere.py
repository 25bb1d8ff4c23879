"""A writer of NIST SPHERE files, for toy corpora and tests: pcm in either byte order, mu-law, A-law (ITU-T G.711)."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import soundfile

from pyasp.audio.headers import CODING_BYTES


def encode_ulaw(samples: np.ndarray) -> np.ndarray:
    """G.711 mu-law code words, uint8, of int16 samples (any shape)."""
    magnitude = np.minimum(np.abs(samples.astype(np.int32)), 32635) + 132
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    return (~((samples < 0) * 0x80 | exponent << 4 | mantissa) & 0xFF).astype(np.uint8)


def _alaw(samples: np.ndarray) -> bytes:
    stream = io.BytesIO()
    soundfile.write(stream, samples, 8000, format="RAW", subtype="ALAW")
    return stream.getvalue()


BODIES = {
    "ulaw": lambda samples, order: encode_ulaw(samples).tobytes(),
    "alaw": lambda samples, order: _alaw(samples),
    "pcm": lambda samples, order: samples.astype("<i2" if order == "01" else ">i2").tobytes(),
}


def write(
    path: str | Path, samples: np.ndarray, rate: int, coding: str = "ulaw", header_size: int = 1024, order: str = "01"
) -> None:
    """Writes int16 samples (T,) or (T, channels) as ulaw, alaw or pcm, under a temporary name, then renamed.

    order: `sample_byte_format` of pcm, 01 little endian, 10 big endian.
    """
    columns = samples.reshape(len(samples), -1)
    width = CODING_BYTES[coding]
    lines = [
        "NIST_1A",
        f"{header_size:7d}",
        f"channel_count -i {columns.shape[1]}",
        f"sample_count -i {len(columns)}",
        f"sample_rate -i {rate}",
        f"sample_n_bytes -i {width}",
        f"sample_sig_bits -i {8 * width}",
        f"sample_byte_format -s{width} {'1' if width == 1 else order}",
        f"sample_coding -s{len(coding)} {coding}",
        "end_head",
        "",
    ]
    temporary = Path(f"{path}.tmp")
    temporary.write_bytes("\n".join(lines).encode().ljust(header_size) + BODIES[coding](columns, order))
    os.replace(temporary, path)
