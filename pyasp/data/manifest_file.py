"""lhotse's manifests as files: one JSON object a line, compressed, each with the fields of its kind."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pyasp.audio.cut_files import MAX_SECONDS, read_cut_lines, write_cuts
from pyasp.core.errors import InputError
from pyasp.core.text import parse_json

Json = dict[str, Any]

# what a manifest's objects must hold, and of which types: (name, types, whether it may be absent)
RECORDING = (
    ("id", str, False),
    ("sources", list, False),
    ("sampling_rate", int, False),
    ("num_samples", int, False),
    ("duration", (int, float), False),
    ("channel_ids", list, True),
)
SUPERVISION = (
    ("id", str, False),
    ("recording_id", str, False),
    ("start", (int, float), False),
    ("duration", (int, float), False),
    ("channel", (int, list), False),
    ("speaker", str, True),
    ("gender", str, True),
    ("text", str, True),
    ("custom", dict, True),
)
SOURCE = {"source": str, "type": str, "channels": list}


def read_jsonl(path: str | Path) -> Iterator[Json]:
    """The objects of a .jsonl.gz. Raises InputError on a missing or damaged file."""
    if not Path(path).is_file():
        raise InputError(path, "no such file", "a lhotse manifest (.jsonl.gz)", "Check the path")
    for number, text in enumerate(read_cut_lines(path), 1):
        yield parse_json(text, path, f"line {number}", "one object a line", "Write it again")


def write_jsonl(path: Path, objects: list[Json]) -> None:
    """Writes objects as .jsonl.gz, atomically; the same objects give the same bytes."""
    write_cuts(path, [json.dumps(each, ensure_ascii=False) for each in objects])


def check_fields(each: Json, fields: tuple, path: object) -> None:
    """Raises InputError unless a manifest's object has these fields, of their types and finite."""
    for name, types, optional in fields:
        value = each.get(name)
        if optional and value is None:
            continue
        if not isinstance(value, types) or (isinstance(value, float) and not abs(value) < MAX_SECONDS):
            raise InputError(
                path,
                f"{name} {value!r}"[:80],
                "the field of a lhotse manifest",
                "Write the manifest again",
                item=each.get("id"),
            )
    for source in each.get("sources", ()):
        if not isinstance(source, dict) or not all(isinstance(source.get(name), kind) for name, kind in SOURCE.items()):
            raise InputError(
                path,
                f"source {source!r}"[:80],
                "type, channels and source",
                "Write the manifest again",
                item=each["id"],
            )


def read_manifest(path: str | Path, fields: tuple) -> dict[str, Json]:
    """{id: object} of a manifest. Raises InputError for an id twice or none, and for wrong `fields`."""
    found: dict[str, Json] = {}
    for each in read_jsonl(path):
        check_fields(each, fields, path)
        if each.get("id") in found or "id" not in each:
            raise InputError(
                path,
                f"the id {each.get('id')!r} {'twice' if 'id' in each else ''}",
                "each id once",
                "Write the manifest again",
            )
        found[each["id"]] = each
    return found
