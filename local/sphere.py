"""NIST SPHERE files: the ASCII header `NIST_1A`, and a writer for mu-law and pcm (toy corpora, tests).

Header: line 1 `NIST_1A`, line 2 the header's size in bytes (1024 or more), then `name -type value` lines up to
`end_head`. mu-law: ITU-T G.711. Side A of a call is channel 1, side B channel 2.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from pyasp.errors import InputError

CODING_BYTES = {"pcm": 2, "ulaw": 1, "mu-law": 1, "alaw": 1}


@dataclass(frozen=True)
class Header:
    """size: bytes before the samples; rate in Hz; samples per channel; width: bytes a sample;
    coding as written there."""
    size: int
    rate: int
    samples: int
    channels: int
    width: int
    coding: str

    @property
    def compressed(self) -> bool:
        """True for shorten and the like: the data is shorter than the header's count says."""
        return "embedded" in self.coding


def _fields(text: str) -> dict[str, str]:
    fields = {}
    for line in text.splitlines()[2:]:
        if line.strip() == "end_head":
            break
        name, _, rest = line.strip().partition(" ")
        fields[name] = rest.partition(" ")[2].strip()
    return fields


def read_header(path: str | Path) -> Header:
    """The header of a SPHERE file. Raises InputError when it is not one, lacks a field, or the data is cut short."""
    def bad(found: str, cure: str = "Copy the file again from its disc") -> InputError:
        return InputError(path, found, "a NIST SPHERE file with a complete header", cure)
    with open(path, "rb") as stream:
        start = stream.read(16)
        if not start.startswith(b"NIST_1A"):
            raise bad(f"{start[:8]!r} at its start", "Give SPHERE files, or name this one by its real type")
        try:
            size = int(start[7:].split()[0])
            stream.seek(0)
            fields = _fields(stream.read(size).decode("latin-1"))
            coding = fields.get("sample_coding", "pcm")
            width = int(fields.get("sample_n_bytes", CODING_BYTES.get(coding.split(",")[0], 0)))
            header = Header(
                size,
                int(fields["sample_rate"]),
                int(fields["sample_count"]),
                int(fields["channel_count"]),
                width,
                coding,
            )
        except (KeyError, ValueError, IndexError) as error:
            raise bad(f"a header without a usable {error}") from None
        stored = os.fstat(stream.fileno()).st_size - size
    _check_length(header, stored, bad)
    return header


def _check_length(header: Header, stored: int, bad) -> None:
    wanted = header.samples * header.channels * header.width
    if header.samples <= 0 or header.channels <= 0 or header.rate <= 0:
        raise bad(f"{header.samples} samples, {header.channels} channels, {header.rate} Hz")
    if not header.compressed and stored < wanted:
        raise bad(f"{stored} bytes of samples where the header says {wanted} (truncated)")


def encode_ulaw(samples: np.ndarray) -> np.ndarray:
    """G.711 mu-law code words, uint8, of int16 samples (any shape)."""
    magnitude = np.minimum(np.abs(samples.astype(np.int32)), 32635) + 132
    exponent = np.floor(np.log2(magnitude)).astype(np.int32) - 7
    mantissa = (magnitude >> (exponent + 3)) & 0x0F
    return (~((samples < 0) * 0x80 | exponent << 4 | mantissa) & 0xFF).astype(np.uint8)


def _body(samples: np.ndarray, coding: str) -> bytes:
    return encode_ulaw(samples).tobytes() if coding == "ulaw" else samples.astype("<i2").tobytes()


def write(path: str | Path, samples: np.ndarray, rate: int, coding: str = "ulaw", header_size: int = 1024) -> None:
    """Writes int16 samples (T,) or (T, channels) as ulaw or pcm (little endian),
    under a temporary name, then renamed."""
    columns = samples.reshape(len(samples), -1)
    lines = [
        "NIST_1A",
        f"{header_size:7d}",
        f"channel_count -i {columns.shape[1]}",
        f"sample_count -i {len(columns)}",
        f"sample_rate -i {rate}",
        f"sample_n_bytes -i {CODING_BYTES[coding]}",
        f"sample_sig_bits -i {8 * CODING_BYTES[coding]}",
        f"sample_byte_format -s{CODING_BYTES[coding]} {'1' if coding == 'ulaw' else '01'}",
        f"sample_coding -s{len(coding)} {coding}",
        "end_head",
        "",
    ]
    temporary = Path(f"{path}.tmp")
    temporary.write_bytes("\n".join(lines).encode().ljust(header_size) + _body(columns, coding))
    os.replace(temporary, path)
