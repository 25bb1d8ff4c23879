"""Text and JSON files that someone else may have written: UTF-8, with or without byte-order mark and carriage returns;
and numbers and tables as text.

Everything else is an InputError that names the file: no reader of the recipe meets a UnicodeDecodeError, a broken JSON
or a nesting that exhausts Python's stack.
"""

import codecs
import contextlib
import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write

PEEKED = 4096  # bytes looked at for the zeros of UTF-16
Table = list[list[str]]  # a header and rows of cells


@contextlib.contextmanager
def open_text(path: str | Path, cure: str = "Pack or fetch it again") -> Iterator[IO[str]]:
    """A text file, or a gzipped one `*.gz`, as a stream of lines that end with a line feed. Raises InputError for bytes
    that are not UTF-8 and for a broken `*.gz` (whose way out is `cure`).

    A byte-order mark is passed over; UTF-16, with or without one, is no UTF-8. OSError is the caller's.
    """
    try:
        try:
            with _opened(path, "rt", encoding="utf-8-sig") as stream:
                if stream.seekable() and _is_utf16(stream.buffer.peek(PEEKED)[:PEEKED]):
                    raise _not_utf8(path)
                yield stream
        except UnicodeDecodeError:
            raise _not_utf8(path) from None  # which reads the file again, perhaps to where it is cut off
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise InputError(path, f"no whole gzip file ({error})", "gzipped text", cure) from None


def _opened(path: str | Path, mode: str, **how: Any) -> Any:
    return (gzip.open if str(path).endswith(".gz") else open)(path, mode, **how)


def _not_utf8(path: str | Path) -> InputError:
    """The error for a file that is no UTF-8: the first such line, and how to convert the file."""
    with _opened(path, "rb") as stream:
        wide = _is_utf16(stream.peek(PEEKED)[:PEEKED])
        number, bad = next(
            ((n, line) for n, line in enumerate(stream, 1) if wide or line.decode(errors="ignore").encode() != line),
            (1, b""),
        )
    if bad.startswith(b"\x1f\x8b") and not str(path).endswith(".gz"):
        return InputError(path, "a packed file (gzip)", "UTF-8 text", "Give its name the suffix .gz, or unpack it")
    found = "UTF-16: bytes that are not UTF-8" if wide else f"bytes that are not UTF-8 ({bad[:40].rstrip()!r})"
    cure = f"Convert it: iconv -f {'UTF-16' if wide else 'LATIN1'} -t UTF-8 FILE > NEW"
    return InputError(path, found, "UTF-8 text", cure, item=f"line {number}")


def _is_utf16(start: bytes) -> bool:
    return start.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or start.count(0) > len(start) // 4


def read_lines(path: str | Path) -> list[str]:
    """Lines without their ends; the last one need not end with a line feed. Errors as `open_text`.

    Only line feeds (and carriage returns before or instead of them) end lines, not the separators of Unicode.
    """
    with open_text(path) as stream:
        lines = stream.read().split("\n")
    return lines if lines[-1] else lines[:-1]


def between(line: str) -> str:
    """What stands between the fields of a line without tabs that has several, for a message; "" where nothing does."""
    marks = {"commas": ",", "semicolons": ";", "bars": "|", "blanks": " "}
    found = (name for name, mark in marks.items() if mark in line.strip())
    return "" if "\t" in line else next(found, "")


def read_json(path: str | Path, expected: str, cure: str) -> dict[str, Any]:
    """The JSON object in a file. Raises InputError when it is no JSON, or no object; OSError."""
    with open_text(path) as stream:
        return parse_json(stream.read(), path, None, expected, cure)


def read_json_if_there(path: str | Path) -> dict[str, Any]:
    """The JSON object in a file of a run; empty where there is no such file. Raises InputError for anything else."""
    cure = "Delete it and re-run the stage that makes it"
    return read_json(path, "a JSON object", cure) if Path(path).is_file() else {}


def write_json(path: str | Path, value: dict[str, Any], sort_keys: bool = False) -> None:
    """Writes a JSON object, atomically."""
    with atomic_write(path, "w") as stream:
        stream.write(json.dumps(value, indent=1, sort_keys=sort_keys) + "\n")


def parse_json(text: str, where: object, item: object, expected: str, cure: str) -> dict[str, Any]:
    """The JSON object in a text, as a rule a line of a file. Raises InputError naming `where` and `item`."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(where, f"broken JSON ({str(error)[:100]})", expected, cure, item=item) from None
    if not isinstance(value, dict):
        raise InputError(where, f"JSON of type {type(value).__name__}", expected, cure, item=item)
    return value


def beginning_of_text(head: bytes) -> str:
    """The first words of a file that begins with `head` and seems to be text; "" for one that does not."""
    wide = head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    words = " ".join(head.decode("utf-16" if wide else "utf-8-sig", "replace").split())
    return words[:60] if words.isprintable() and "\ufffd" not in words[:-1] else ""


def read_json_lines(path: str | Path, expected: str, cure: str) -> list[dict[str, Any]]:
    """The JSON object on each line that is not blank. Raises InputError naming the line; OSError."""
    lines = enumerate(read_lines(path), 1)
    return [parse_json(line, path, f"line {number}", expected, cure) for number, line in lines if line.strip()]


def c_sorted(keys: Iterable[str]) -> list[str]:
    """Keys in C-locale (byte) order, as every Kaldi table wants them."""
    return sorted(keys, key=str.encode)


def grouped(number: int) -> str:
    """37720 -> '37 720'."""
    return f"{number:,}".replace(",", " ")


def percent(value: float | None) -> str:
    """An EER in percent with two decimals; '-' where there is none (a subset of one class)."""
    return "-" if value is None else f"{value:.2f}"


def cost(value: float | None) -> str:
    """A minDCF with three decimals; '-' where there is none."""
    return "-" if value is None else f"{value:.3f}"


def as_text(table: Table, left: int = 1) -> str:
    """Aligned columns: the first `left` ones to the left, figures to the right."""
    widths = [max(map(len, column)) for column in zip(*table)]
    cells = ([*map(str.ljust, row[:left], widths), *map(str.rjust, row[left:], widths[left:])] for row in table)
    return "\n".join("  ".join(row).rstrip() for row in cells)


def as_markdown(table: Table) -> str:
    """The same cells as a Markdown table."""
    rows = [[cell.replace("|", "\\|") for cell in row] for row in table]
    rule = ["---", *("---:" for _ in table[0][1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], rule, *rows[1:]])
