"""Any Kaldi model or accumulator file as a list of named items, without knowing the model: to look at and to copy.

A file is a chain of tokens, each followed by nothing, numbers, vectors, matrices or packed symmetric matrices. Binary
says what comes next; text does not say its types, so a few names are known (from the models' Write functions): which
tokens are followed by packed matrices or counts, and which models hold doubles.
"""

import os
from dataclasses import dataclass

import numpy as np

from pyasp.core.errors import InputError
from pyasp.kaldi.reader import Reader, open_object
from pyasp.kaldi.writer import INTEGERS, Writer, write_object

MODELS = {
    "<DiagGMM>": "diagonal-covariance GMM",
    "<FullGMM>": "full-covariance GMM",
    "<Plda>": "PLDA model",
    "<IvectorExtractor>": "i-vector extractor",
    "<IvectorExtractorStats>": "i-vector extractor accumulators",
    "<GMMACCS>": "GMM accumulators",
}
DOUBLE = {"<Plda>", "<IvectorExtractor>", "<IvectorExtractorStats>"}  # models of float64; the others hold float32
PACKED = {"<INV_COVARS>", "<SigmaInv>", "<FULLVARACCS>", "<S>", "<IvectorScatter>"}  # before packed matrices (text)
MATRICES = {"<w>", "<Q>", "<G>"}  # tokens before a matrix that may be empty (text cannot tell it from a vector)
COUNTS = {"<M>", "<Y>", "<S>", "<VECSIZE>", "<NUMCOMPONENTS>"}  # tokens before an int32 (text)
FLAGS = "<FLAGS>"  # before an unsigned 16-bit set of flags
NUMBER_SIZES = {size % 256 for size in INTEGERS}


@dataclass(frozen=True)
class Item:
    """kind: token, int, float, array or packed. name: the last token before it, or the token itself."""

    kind: str
    name: str


@dataclass(frozen=True)
class Number(Item):
    """size: bytes of an integer, as stored (negative: unsigned)."""

    value: float
    size: int


@dataclass(frozen=True)
class Array(Item):
    """value: (n,) or (rows, columns); of a packed matrix its lower triangle (n(n+1)/2,)."""

    value: np.ndarray


def read_items(path: str | os.PathLike) -> tuple[bool, list[Item]]:
    """(binary, items) of a model file. Raises InputError naming file and byte for anything that is not one."""
    with open_object(path) as reader:
        items = [_token(reader)]
        if items[0].name not in MODELS:
            raise reader.source.error(items[0].name, " or ".join(MODELS), "Give a model of one of these kinds")
        following = _binary_item if reader.binary else _text_item
        while not reader.at_end():
            items.append(following(reader, items[-1].name, items[0].name))
    end = items[0].name.replace("<", "</")
    if items[-1].kind != "token" or items[-1].name != end:
        raise InputError(path, "the end of the file", end, "The model is cut off: copy it again")
    return reader.binary, items


def _token(reader: Reader) -> Item:
    return Item("token", reader.token())


def _binary_item(reader: Reader, name: str, model: str) -> Item:
    ahead = reader.source.peek(4)
    if ahead[:1] == b"<":
        return _token(reader)
    if ahead[:3] in (b"FP ", b"DP "):
        return Array("packed", name, reader.packed()[1])
    if ahead[:1] in b"FDC":
        return Array("array", name, reader.array())
    if ahead[0] not in NUMBER_SIZES:
        raise reader.source.error(f"byte {ahead[0]}", "a token, an array or a number")
    size = int.from_bytes(ahead[:1], "little", signed=True)
    if size == 8:
        return Number("float", name, reader.float64(), 8)
    return Number("int", name, reader.integer(), size)


def _text_item(reader: Reader, name: str, model: str) -> Item:
    ahead, dtype = reader.source.peek(1), np.float64 if model in DOUBLE else np.float32
    if ahead == b"<":
        return _token(reader)
    if ahead == b"[":
        if name in PACKED:
            return Array("packed", name, reader.packed(dtype)[1])
        return Array("array", name, reader.matrix(dtype) if name in MATRICES else reader.array(dtype))
    if name in COUNTS or name == FLAGS:
        return Number("int", name, reader.integer(), -2 if name == FLAGS else 4)
    return Number("float", name, reader.float64(), 8)


def write_items(writer: Writer, items: list[Item]) -> None:
    """Writes items in the writer's form; what Kaldi wrote comes out byte for byte."""
    for item in items:
        if isinstance(item, Array):
            (writer.packed if item.kind == "packed" else writer.array)(item.value)
        elif isinstance(item, Number):
            writer.integer(int(item.value), item.size) if item.kind == "int" else writer.float64(item.value)
        else:
            writer.token(item.name)


def copy_model(source: str | os.PathLike, target: str | os.PathLike, binary: bool = True) -> None:
    """Copies a model file, in binary or text (Kaldi's gmm-global-copy, ivector-copy-plda, ...)."""
    _, items = read_items(source)
    with write_object(target, binary) as writer:
        write_items(writer, items)
