"""Compressed audio counted frame by frame, each from the place where the one before it ends; nothing is searched for.

MP3    frames of 1152 samples (MPEG-1) or 576 (MPEG-2 and 2.5), ISO/IEC 11172-3 and 13818-3; the first may be a tag
       (Xing, Info, VBRI) with their number. Without one libsndfile takes a number from the length of the file.
AAC    ADTS frames of 1024 samples a block, ISO/IEC 14496-3.
Ogg    pages, RFC 3533: a whole stream has a first and a last page, which say so.
All raise ValueError, with what is wrong, for a file that does not end where a frame, or a page, ends.
"""

import struct
from typing import BinaryIO

MP3_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}  # by version
MP3_KBITS = {
    True: (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),  # MPEG-1
    False: (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
AAC_RATES = (96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350)
MP3_DELAY = 529  # samples that mpg123 leaves out of a file whose number of frames it knows: a decoder's own
TAG_BYTES = 200  # of the frame that is to hold a count
LEAST_TAG = 116  # bytes from a tag's flags to the end of its frame: with fewer mpg123 does not look at it


def id3_length(stream: BinaryIO) -> int:
    """Bytes of the ID3v2 tags that a file begins with."""
    end = 0
    while True:
        stream.seek(end)
        head = stream.read(10)
        if len(head) < 10 or not head.startswith(b"ID3"):
            return end
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        end += 10 + size + (10 if head[5] & 0x10 else 0)


# ---------------------------------------------------------------- MP3


def _mp3_frame(head: bytes) -> tuple[int, int, int, int] | None:
    """(bytes, samples, rate in Hz, channels) of a layer III frame by its first four bytes, or None."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, kbits, rates = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version == 1 or kbits in (0, 15) or rates == 3:
        return None
    rate = MP3_RATES[version][rates]
    size = (144000 if version == 3 else 72000) * MP3_KBITS[version == 3][kbits] // rate + (head[2] >> 1 & 1)
    return size, 1152 if version == 3 else 576, rate, 1 if head[3] >> 6 == 3 else 2


def _known_frame(head: bytes) -> tuple[int, int, int, int]:
    """As `_mp3_frame`, of what has been found to be one."""
    found = _mp3_frame(head[:4])
    assert found
    return found


def _side_bytes(head: bytes) -> int:
    """Bytes of side information behind a frame's first four: by version and channels."""
    _, samples, _, channels = _known_frame(head)
    return {(1152, 2): 32, (1152, 1): 17, (576, 2): 17, (576, 1): 9}[samples, channels]


def _is_tags(rest: bytes) -> bool:
    """True when bytes behind the last frame are tags (ID3v1, APE, Lyrics3, ID3v2.4 at the end), zeros, or none."""
    end = len(rest)
    while end > 0 and rest[:end].strip(b"\0"):
        if rest[max(end - 128, 0) : end].startswith(b"TAG"):
            size = 128
        elif rest[max(end - 32, 0) : end].startswith(b"APETAGEX"):
            size, flags = struct.unpack_from("<I4xI", rest, end - 20)
            size += 32 if flags >> 31 else 0
        elif rest[:end].endswith(b"LYRICS200") and rest[max(end - 15, 0) : end - 9].isdigit():
            size = int(rest[end - 15 : end - 9]) + 15
        elif rest[max(end - 10, 0) : end].startswith(b"3DI"):
            size = 20 + (rest[end - 4] << 21 | rest[end - 3] << 14 | rest[end - 2] << 7 | rest[end - 1])
        else:
            return False
        end -= size
    return end >= 0


def _mp3_frames(data: bytes) -> tuple[list[int], int]:
    """(places of the frames, end of the last) of layer III frames from the start of `data` on, of one rate."""
    first = _mp3_frame(data[:4])
    if not first:
        raise ValueError("no frame of MP3 (layer III, at a bit rate that is said) where the first belongs")
    places, place, like = [], 0, first[1:]
    while frame := _mp3_frame(data[place : place + 4]):
        if frame[1:3] != like[:2]:
            raise ValueError(f"MP3 of {like[0]} Hz and, from byte {place} on, {frame[2]} Hz")
        if place + frame[0] > len(data):
            break
        places.append(place)
        place += frame[0]
    if not places or not _is_tags(data[place:]):
        whole = sum(_known_frame(data[each : each + 4])[1] for each in places)
        raise ValueError(f"{whole} samples of MP3, then {len(data) - place} bytes that are no frame (truncated)")
    return places, place


def _tag_of(frame: bytes) -> tuple[int, int, int] | None:
    """(place, number of frames, bytes of all) of the Xing or Info tag in an MP3 frame, of VBRI's (place -1), or None;
    0 for what it does not say.

    The place is that of its flags, behind the side information and a checksum if there is one.
    """
    size, side = _known_frame(frame)[0], _side_bytes(frame)
    if frame[36:40] == b"VBRI" and size >= 54:
        return -1, struct.unpack_from(">I", frame, 50)[0], struct.unpack_from(">I", frame, 46)[0]
    for place in (4 + side, 6 + side):
        if frame[place : place + 4] in (b"Xing", b"Info") and size >= place + 12 and not any(frame[6:place]):
            flags, number = struct.unpack_from(">II", frame, place + 4)
            length = struct.unpack_from(">I", frame, place + 12)[0] if flags & 3 == 3 and size >= place + 16 else 0
            return place + 4, number if flags & 1 else 0, length
    return None


def _tag_frames(head: bytes, number: int) -> bytes:
    """Two silent frames like that of `head`, without a checksum, to put in front of as many.

    The first bears an Info tag with their number and LAME's delay: of a file with a number mpg123 leaves out MP3_DELAY
    samples and those of the delay, here the second silent frame and nothing else.
    """
    starts = [bytes([0xFF, head[1] | 1, kbits << 4 | head[2] & 0x0C, head[3]]) for kbits in range(1, 15)]
    tag = next(start for start in starts if _known_frame(start)[0] >= TAG_BYTES)
    samples = _known_frame(tag)[1]
    info = b"Info" + struct.pack(">II", 1, number + 1) + b"LAME".ljust(21, b"\0")
    delay = (samples - MP3_DELAY << 12).to_bytes(3, "big")
    return b"".join(
        (start + bytes(_side_bytes(start)) + content).ljust(_known_frame(start)[0], b"\0")
        for start, content in ((tag, info + delay), (starts[0], b""))
    )


def counted_mp3(data: bytes) -> bytes:
    """An MP3 file, from its first frame on, with the number of its frames in front, so that libsndfile knows it.

    A tag of the encoder stays, with the samples that it says to leave out at both ends (LAME); one that does not agree
    with the frames is an error.
    """
    places, end = _mp3_frames(data)
    first = data[: places[1]] if len(places) > 1 else data[:end]
    tag = _tag_of(first)
    number = len(places) - (1 if tag else 0)
    short = tag and tag[1] == number + 1 and tag[2] > end  # some count the tag's own frame: then no byte is missing
    if tag and tag[1] and (short or not number <= tag[1] <= number + 1):
        fault = "truncated" if number < tag[1] else "more than one recording"
        raise ValueError(f"{number} frames of MP3 ({fault}) where its own count says {tag[1]}")
    if tag and tag[1] and tag[0] == _side_bytes(first) + 8 and len(first) >= tag[0] + LEAST_TAG:
        kept = bytearray(first)
        struct.pack_into(">I", kept, tag[0] + 4, number)
        return bytes(kept) + data[len(first) : end]
    return _tag_frames(first, number) + data[len(first) if tag else 0 : end]


# ---------------------------------------------------------------- AAC in ADTS


def is_adts(data: bytes) -> bool:
    """True of bytes that begin as an ADTS frame does: the layer, which MPEG audio gives as 1 to 3, is 0."""
    return len(data) > 1 and data[0] == 0xFF and data[1] & 0xF6 == 0xF0


def adts(data: bytes) -> tuple[int, int, int]:
    """(rate in Hz, samples a channel, channels) of ADTS frames from the start of `data` on."""
    place, samples, like = 0, 0, None
    while place + 7 <= len(data) and is_adts(data[place : place + 2]):
        head = data[place : place + 7]
        size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
        rates, channels = head[2] >> 2 & 15, (head[2] & 1) << 2 | head[3] >> 6
        like = like or (rates, channels)
        if size < 7 or rates >= len(AAC_RATES) or like != (rates, channels):
            raise ValueError(f"a frame of AAC at byte {place} that is not like the first")
        if place + size > len(data):
            break
        samples += 1024 * ((head[6] & 3) + 1)
        place += size
    if not like or not samples or not _is_tags(data[place:]):
        raise ValueError(f"{samples} samples of AAC, then {len(data) - place} bytes that are no frame (truncated)")
    return AAC_RATES[like[0]], samples, {7: 8}.get(like[1], like[1])


# ---------------------------------------------------------------- Ogg


def check_ogg(stream: BinaryIO, size: int) -> None:
    """Raises ValueError unless the pages of an Ogg file fill it, from one stream's first page to its last."""
    place, serial, last = 0, None, False
    while place < size:
        stream.seek(place)
        head = stream.read(27)
        if len(head) < 27 or not head.startswith(b"OggS"):
            raise ValueError(f"{size - place} bytes that are no page of Ogg at byte {place} (truncated)")
        table = stream.read(head[26])
        number = head[14:18]
        if serial not in (None, number) or (place and head[5] & 2):  # 2: the first page of a stream, 4: the last
            raise ValueError("an Ogg file of several streams")
        serial, last = number, bool(head[5] & 4)
        place += 27 + head[26] + sum(table)
        if place > size:
            raise ValueError("an Ogg file that ends within a page (truncated)")
    if not last:
        raise ValueError("an Ogg file without its last page (truncated)")
