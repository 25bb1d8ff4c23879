"""Text files in words: trials, scores, maps, tables with a header, options, JSON."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from pyasp.core.errors import InputError
from pyasp.inspect.description import Lines, View, line, missing, span, span_facts
from pyasp.inspect.kind import LABELS, source_of

SHOWN = 10  # rows of a table
INFO = {
    "utt2spk": "speaker of each utterance",
    "spk2utt": "utterances of each speaker",
    "wav.scp": "audio",
    "feats.scp": "features",
    "vad.scp": "voice activity",
    "utt2num_frames": "frames",
    "utt2dur": "seconds",
    "model2utts": "enrolment recordings of each model",
    "segments": "pieces of recordings",
    "spk2gender": "gender",
    "utt2clean": "clean original",
    "utt2speed": "speed and original",
    "utt2num_voiced": "voiced frames",
    "utt2num_silent": "frames of digital silence",
    "embedding.scp": "embeddings",
    "reco2file_and_channel": "file and channel",
    "valid_utts": "held-out utterances",
}


def lines_of(path: str) -> Iterator[str]:
    """Lines of a text file (gzip too), without line ends. Raises InputError for bytes that are not UTF-8."""
    with source_of(path) as source:
        while True:
            raw = source.until(b"\n", "line")
            found = source.rest() if raw is None else raw
            if raw is None and not found:
                return
            try:
                yield found.decode("utf-8")
            except UnicodeDecodeError:
                raise source.error("bytes that are not UTF-8", "text") from None


def text_lines(path: str, key: str | None, allow_commands: bool) -> Iterable[str]:
    """The file as it is, or the lines whose first field is `key`."""
    found = False
    for each in lines_of(path):
        if key is None or each.split(None, 1)[:1] == [key]:
            found = True
            yield each + "\n"
    if key is not None and not found:
        raise missing(path, key)


def table_entry(path: str, key: str, allow_commands: bool) -> Lines:
    """Lines of a text table whose first field is `key`."""
    for text in text_lines(path, key, allow_commands):
        name, *rest = text.split(None, 1)
        yield line(text.rstrip("\n"), key=name, value=rest[0].rstrip("\n") if rest else "")


def first_lines(path: str) -> Lines:
    """The beginning of a table, as it is."""
    return (line(text) for text in islice(lines_of(path), SHOWN))


def _trials(path: str) -> Lines:
    models, tests, total = set(), set(), 0
    labels: Counter[str] = Counter()
    for total, text in enumerate(lines_of(path), 1):
        fields = text.split()
        if len(fields) != 3 or fields[2] not in LABELS:
            raise InputError(
                path, repr(text[:80]), "<model> <test> target|nontarget", "Repair the list", f"line {total}"
            )
        labels[fields[2]] += 1
        models.add(fields[0])
        tests.add(fields[1])
    yield line(
        f"{path}: trial list, {total} trials, {labels['target']} target, {labels['nontarget']} nontarget, "
        f"{len(models)} models, {len(tests)} test recordings",
        kind="trials",
        count=total,
        target=labels["target"],
        nontarget=labels["nontarget"],
        models=len(models),
        tests=len(tests),
    )
    yield from first_lines(path)


def _numbers(path: str, column: int, what: str) -> tuple[np.ndarray, Counter]:
    """The numbers in one column, and how often each value of the last column occurs."""
    values: list[float] = []
    last: Counter[str] = Counter()
    for number, text in enumerate(lines_of(path), 1):
        try:
            fields = text.split()
            values.append(float(fields[column]))
            last[fields[-1]] += fields[-1] in LABELS
        except (ValueError, IndexError):
            raise InputError(path, repr(text[:80]), what, "Make the file again", f"line {number}") from None
    return np.array(values), last


def _scores(path: str) -> Lines:
    values, _ = _numbers(path, 2, "<model> <test> <score>")
    yield line(
        f"{path}: scores, {len(values)} trials, {span(values)}", kind="scores", count=len(values), **span_facts(values)
    )
    yield from first_lines(path)


def _labelled(path: str) -> Lines:
    values, labels = _numbers(path, 0, "<score> target|nontarget")
    counts = ", ".join(f"{labels[label]} {label}" for label in LABELS)
    yield line(
        f"{path}: labelled scores, {len(values)} ({counts}), {span(values)}",
        kind="labelled scores",
        count=len(values),
        **labels,
        **span_facts(values),
    )
    yield from first_lines(path)


def _table(path: str) -> Lines:
    keys, previous, ordered, count = set(), b"", True, 0
    fields: Counter[int] = Counter()
    values: list[str] = []
    for count, text in enumerate(lines_of(path), 1):
        words = text.split()
        key = words[0] if words else ""
        ordered, previous = ordered and previous <= key.encode(), key.encode()
        keys.add(key)
        fields[len(words)] += 1
        values += words[1:2] if len(words) == 2 else []
    name = INFO.get(Path(path).name)
    widths = " or ".join(str(width) for width in sorted(fields)[:6]) + (" ..." if len(fields) > 6 else "")
    yield line(
        f"{path}: text table{f' ({name})' if name else ''}, {count} lines, {widths} fields",
        kind="table",
        what=name,
        count=count,
    )
    yield line(
        f"{len(keys)} different keys, {'sorted' if ordered else 'NOT sorted in C order'}",
        keys=len(keys),
        sorted=ordered,
    )
    numbers = _as_numbers(values)
    if len(numbers):
        yield line(
            f"values {span(numbers)}, sum {numbers.sum():.9g}{_hours(path, numbers)}",
            sum=float(numbers.sum()),
            **span_facts(numbers),
        )
    elif values:
        yield line(f"{len(set(values))} different values", different_values=len(set(values)))
    yield from first_lines(path)


HOURS = {"utt2dur": 3600.0, "utt2num_frames": 360000.0, "utt2num_voiced": 360000.0}  # units of an hour: s, 10 ms


def _hours(path: str, numbers: np.ndarray) -> str:
    unit = HOURS.get(Path(path).name)
    return f" ({numbers.sum() / unit:.2f} h)" if unit else ""


def _as_numbers(words: list[str]) -> np.ndarray:
    try:
        return np.array([float(word) for word in words])
    except ValueError:
        return np.zeros(0)


def _tsv(path: str) -> Lines:
    rows = (text.split("\t") for text in lines_of(path))
    header = next(rows, [])
    columns: list[Counter] = [Counter() for _ in header]
    count = 0
    for count, row in enumerate(rows, 1):
        if len(row) != len(header):
            raise InputError(
                path,
                f"{len(row)} columns",
                f"{len(header)}, as in the header",
                "Make the file again",
                f"line {count + 1}",
            )
        for column, value in zip(columns, row):
            column[value] += 1
    yield line(f"{path}: table with a header, {count} rows, {len(header)} columns", kind="tsv", count=count)
    for name, column in zip(header, columns):
        common = ", ".join(f"{value} ({times})" for value, times in column.most_common(5))
        yield line(
            f"  {name}: {len(column)} different values: {common}",
            key=name,
            different_values=len(column),
            common=dict(column.most_common(5)),
        )


def _conf(path: str) -> Lines:
    yield line(f"{path}: options", kind="conf")
    for text in lines_of(path):
        key, equals, value = text.split("#")[0].strip().partition("=")
        yield line(text, **({"key": key.removeprefix("--"), "value": value} if equals else {}))


def flat(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """(dotted name, leaf) of nested dictionaries, lists of them included."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from flat(inner, f"{name}.{key}" if name else str(key))
    elif isinstance(value, (list, tuple)) and any(isinstance(inner, (dict, list, tuple)) for inner in value):
        for number, inner in enumerate(value):
            yield from flat(inner, f"{name}.{number}")
    else:
        yield name, value


# JSON


def _json_text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        what = "keys" if isinstance(value, dict) else "elements"
        return f"{type(value).__name__} of {len(value)} {what}" + (
            f": {' '.join(list(value)[:8])}" if isinstance(value, dict) else ""
        )
    return json.dumps(value)


def load_json(path: str) -> Any:
    """What a JSON file holds. InputError when it is broken."""
    try:
        return json.loads("\n".join(lines_of(path)))
    except ValueError as problem:
        raise InputError(path, f"broken JSON ({problem})", "JSON", "Make the file again") from None


def _json(path: str) -> Lines:
    value = load_json(path)
    yield line(f"{path}: JSON, {_json_text(value)}", kind="json")
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield line(f"  {key}", _json_text(inner), key=str(key), value=inner)


def _json_entry(path: str, key: str, allow_commands: bool) -> Lines:
    """`a.b.c` walks into the value; keys with dots are tried whole first."""
    value, rest = load_json(path), key
    while rest:
        if isinstance(value, list) and rest.split(".")[0].isdigit():
            value = dict(zip(map(str, range(len(value))), value))
        inside = value if isinstance(value, dict) else {}
        names = [name for name in inside if rest == name or rest.startswith(f"{name}.")]
        if not names:
            raise missing(path, key)
        name = max(names, key=len)
        value, rest = value[name], rest[len(name) + 1 :]
    yield line(json.dumps(value, indent=1), name=key, value=value)


def _objects(path: str) -> Iterator[Any]:
    """The value on each line. Raises InputError for a line that is not JSON."""
    for number, text in enumerate(lines_of(path), 1):
        try:
            yield json.loads(text)
        except ValueError:
            raise InputError(
                path, "broken JSON", "one JSON object a line", "Make the file again", f"line {number}"
            ) from None


def _jsonl(path: str) -> Lines:
    count, last = 0, None
    keys: Counter[str] = Counter()
    for count, last in enumerate(_objects(path), 1):
        keys.update(last if isinstance(last, dict) else [])
    yield line(f"{path}: JSON lines, {count} objects", kind="jsonl", count=count)
    yield from (line(f"  {key} in {times}", key=key, objects=times) for key, times in keys.items())
    yield line(f"last: {json.dumps(last)[:300]}", last=last)


def _jsonl_entry(path: str, key: str, allow_commands: bool) -> Lines:
    """The object whose `id` is `key`, or the key-th line (from 1)."""
    for number, value in enumerate(_objects(path), 1):
        if str(number) == key or isinstance(value, dict) and value.get("id") == key:
            yield line(json.dumps(value, indent=1), name=key, value=value)
            return
    raise missing(path, key)


VIEWS: dict[str, View] = {
    "conf": View(_conf, None, text_lines),
    "trials": View(_trials, table_entry, text_lines),
    "scores": View(_scores, table_entry, text_lines),
    "labelled scores": View(_labelled, table_entry, text_lines),
    "table": View(_table, table_entry, text_lines),
    "tsv": View(_tsv, table_entry, text_lines),
    "json": View(_json, _json_entry, text_lines),
    "jsonl": View(_jsonl, _jsonl_entry, text_lines),
}
