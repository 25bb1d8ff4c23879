"""Text files in words: trials, scores, maps, tables with a header, options, JSON."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from pyasp.core.errors import InputError
from pyasp.inspect.description import Lines, View, line, missing, span, span_facts
from pyasp.inspect.kind import LABELS, source_of

T = TypeVar("T")
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


def text_lines(path: str, key: str | None) -> Iterable[str]:
    """The file as it is, or the lines whose first field is `key`."""
    found = False
    for each in lines_of(path):
        if key is None or each.split(None, 1)[:1] == [key]:
            found = True
            yield each + "\n"
    if key is not None and not found:
        raise missing(path, key)


def table_entry(path: str, key: str) -> Lines:
    """Lines of a text table whose first field is `key`."""
    for text in text_lines(path, key):
        name, *rest = text.split(None, 1)
        yield line(text.rstrip("\n"), key=name, value=rest[0].rstrip("\n") if rest else "")


def first_lines(path: str) -> Lines:
    """The beginning of a table, as it is."""
    return (line(text) for text in islice(lines_of(path), SHOWN))


def parsed(path: str, what: str, read: Callable[[str], T]) -> Iterator[T]:
    """What `read` makes of each line. Raises InputError, naming the line, where that is no `what`."""
    for number, text in enumerate(lines_of(path), 1):
        try:
            yield read(text)
        except (ValueError, IndexError):
            raise InputError(path, repr(text[:80]), what, "Make the file again", f"line {number}") from None


def trial(text: str) -> tuple[str, str, str]:
    """Model, test and label of a line of a trial list."""
    model, test, label = text.split()
    return model, test, LABELS[LABELS.index(label)]


def _trials(path: str) -> Lines:
    models, tests = set(), set()
    labels: Counter[str] = Counter()
    for model, test, label in parsed(path, "<model> <test> target|nontarget", trial):
        labels[label] += 1
        models.add(model)
        tests.add(test)
    target, nontarget = (labels[label] for label in LABELS)
    counts = f"{target + nontarget} trials, {target} target, {nontarget} nontarget"
    facts = {"count": target + nontarget, "target": target, "nontarget": nontarget}
    facts |= {"models": len(models), "tests": len(tests)}
    text = f"{path}: trial list, {counts}, {len(models)} models, {len(tests)} test recordings"
    yield line(text, kind="trials", **facts)
    yield from first_lines(path)


def _scores(path: str) -> Lines:
    values = np.fromiter(parsed(path, "<model> <test> <score>", lambda text: float(text.split()[2])), np.float64)
    text, facts = f"{len(values)} trials, {span(values)}", {"count": len(values), **span_facts(values)}
    yield line(f"{path}: scores, {text}", kind="scores", **facts)
    yield from first_lines(path)


def _labelled(path: str) -> Lines:
    rows = [*parsed(path, "<score> target|nontarget", lambda text: (float(text.split()[0]), text.split()[1]))]
    values, labels = np.array([score for score, _ in rows]), Counter(label for _, label in rows)
    counts = ", ".join(f"{labels[label]} {label}" for label in LABELS)
    text, facts = f"{len(values)} ({counts}), {span(values)}", {"count": len(values), **labels, **span_facts(values)}
    yield line(f"{path}: labelled scores, {text}", kind="labelled scores", **facts)
    yield from first_lines(path)


def _table(path: str) -> Lines:
    rows = [text.split() for text in lines_of(path)]
    keys = [row[0] if row else "" for row in rows]
    fields, values = sorted({len(row) for row in rows}), [row[1] for row in rows if len(row) == 2]
    name, in_order = INFO.get(Path(path).name), all(a.encode() <= b.encode() for a, b in pairwise(keys))
    widths = " or ".join(map(str, fields[:6])) + (" ..." if len(fields) > 6 else "")
    text = f"text table{f' ({name})' if name else ''}, {len(rows)} lines, {widths} fields"
    yield line(f"{path}: {text}", kind="table", what=name, count=len(rows))
    different, order = len(set(keys)), "sorted" if in_order else "NOT sorted in C order"
    yield line(f"{different} different keys, {order}", keys=different, sorted=in_order)
    numbers = _as_numbers(values)
    if len(numbers):
        unit, total = HOURS.get(Path(path).name), float(numbers.sum())
        hours = f" ({total / unit:.2f} h)" if unit else ""
        yield line(f"values {span(numbers)}, sum {total:.9g}{hours}", sum=total, **span_facts(numbers))
    elif values:
        yield line(f"{len(set(values))} different values", different_values=len(set(values)))
    yield from first_lines(path)


HOURS = {"utt2dur": 3600.0, "utt2num_frames": 360000.0, "utt2num_voiced": 360000.0}  # units of an hour: s, 10 ms


def _as_numbers(words: list[str]) -> np.ndarray:
    try:
        return np.array([float(word) for word in words])
    except ValueError:
        return np.zeros(0)


def _tsv(path: str) -> Lines:
    header, count = next(lines_of(path), "").split("\t"), -1
    columns: dict[str, Counter[str]] = {name: Counter() for name in header}

    def cells(text: str) -> list[tuple[str, str]]:
        return list(zip(header, text.split("\t"), strict=True))

    for count, row in enumerate(parsed(path, f"{len(header)} columns, as in the header", cells)):
        for name, value in row if count else ():
            columns[name][value] += 1
    yield line(f"{path}: table with a header, {count} rows, {len(header)} columns", kind="tsv", count=count)
    for name, counts in columns.items():
        common = ", ".join(f"{value} ({times})" for value, times in counts.most_common(5))
        facts = {"different_values": len(counts), "common": dict(counts.most_common(5))}
        yield line(f"  {name}: {len(counts)} different values: {common}", key=name, **facts)


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
    if isinstance(value, dict):
        return f"dict of {len(value)} keys: {' '.join(list(value)[:8])}"
    return f"list of {len(value)} elements" if isinstance(value, list) else json.dumps(value)


def load_json(path: str) -> Any:
    """What a JSON file holds. InputError when it is broken."""
    try:
        return json.loads("\n".join(lines_of(path)))
    except ValueError as problem:
        raise InputError(path, f"broken JSON ({problem})", "JSON", "Make the file again") from None


def _inside(value: Any) -> dict[str, Any]:
    """What a value of JSON holds by name, or by number; nothing in a plain one."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return {str(key): inner for key, inner in pairs}


def _json(path: str) -> Lines:
    value = load_json(path)
    yield line(f"{path}: JSON, {_json_text(value)}", kind="json")
    yield from (line(f"  {key}", _json_text(inner), key=key, value=inner) for key, inner in _inside(value).items())


def _json_entry(path: str, key: str) -> Lines:
    """`a.b.c` walks into the value; keys with dots are tried whole first."""
    value, rest = load_json(path), key
    while rest:
        names = [name for name in _inside(value) if rest == name or rest.startswith(f"{name}.")]
        if not names:
            raise missing(path, key)
        name = max(names, key=len)
        value, rest = _inside(value)[name], rest[len(name) + 1 :]
    yield line(json.dumps(value, indent=1), name=key, value=value)


def objects(path: str) -> Iterator[Any]:
    """The value on each line of a .jsonl file. Raises InputError for a line that is not JSON."""
    return parsed(path, "one JSON object a line", json.loads)


def _jsonl(path: str) -> Lines:
    count, last = 0, None
    keys: Counter[str] = Counter()
    for count, last in enumerate(objects(path), 1):
        keys.update(list(last) if isinstance(last, dict) else [])
    yield line(f"{path}: JSON lines, {count} objects", kind="jsonl", count=count)
    yield from (line(f"  {key} in {times}", key=key, objects=times) for key, times in keys.items())
    yield line(f"last: {json.dumps(last)[:300]}", last=last)


def _jsonl_entry(path: str, key: str) -> Lines:
    """The object whose `id` is `key`, or the key-th line (from 1)."""
    for number, value in enumerate(objects(path), 1):
        if str(number) == key or isinstance(value, dict) and value.get("id") == key:
            yield line(json.dumps(value, indent=1), name=key, value=value)
            return
    raise missing(path, key)


_TABLES = {"trials": _trials, "scores": _scores, "labelled scores": _labelled, "table": _table, "tsv": _tsv}
VIEWS: dict[str, View] = {
    "conf": View(_conf, None, text_lines),
    **{kind: View(describe, table_entry, text_lines) for kind, describe in _TABLES.items()},
    "json": View(_json, _json_entry, text_lines),
    "jsonl": View(_jsonl, _jsonl_entry, text_lines),
}
