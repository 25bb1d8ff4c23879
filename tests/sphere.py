"""NIST SPHERE files of any header size, coding and byte order."""

from pathlib import Path

import soundfile

SUBTYPES = {"ulaw": "ULAW", "alaw": "ALAW", "pcm": "PCM_16"}


def write(path, samples, rate, coding="ulaw", header_size=1024, order="01"):
    """int16 samples (T,) or (T, channels); order: `sample_byte_format` of pcm, 01 little endian, 10 big endian."""
    endian = "BIG" if order == "10" else "LITTLE" if coding == "pcm" else "FILE"
    soundfile.write(path, samples, rate, format="NIST", subtype=SUBTYPES[coding], endian=endian)
    content = Path(path).read_bytes()
    head = content[:1024].replace(b"   1024", b"%7d" % header_size, 1).rstrip(b"\0")
    Path(path).write_bytes(head.ljust(header_size) + content[1024:])
