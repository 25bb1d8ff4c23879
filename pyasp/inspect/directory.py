"""Directories in words: data directories, experiments, systems, bundles, and any other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyasp.core.text import as_text
from pyasp.evaluation.llr import MARK, marked, metrics_table
from pyasp.inspect.description import Line, Lines, View, line, missing
from pyasp.inspect.texts import INFO, lines_of

HIDDEN = (".made.json",)  # records beside artefacts: counted, not listed


def _kind(path: Path) -> str:
    for name, kind in KINDS.items():
        if (path / name).exists():
            return kind
    return "directory"


def _load(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}


def _results(title: str, entries: dict[str, dict[str, Any]]) -> Lines:
    """A table of metrics: {row: entry of results.json}."""
    if not entries:
        return
    header, *rows = as_text(metrics_table(title, entries)).split("\n")
    yield line(f"  {header}")
    for text, (name, entry) in zip(rows, entries.items()):
        yield line(f"  {text}", key=name, **{key: entry[key] for key in ("eer", "min_dcf", "n_target", "n_nontarget")})
    if any(map(marked, entries.values())):
        yield line(f"  {MARK}")


def _data(path: Path) -> Lines:
    """What a data directory holds: recordings, speakers, hours."""
    speakers = Counter(text.split()[-1] for text in lines_of(str(path / "utt2spk")))
    facts: dict[str, Any] = {"recordings": sum(speakers.values()), "speakers": len(speakers)}
    for name, unit, key in (("utt2dur", 3600.0, "hours"), ("utt2num_voiced", 360000.0, "voiced_hours")):
        if (path / name).is_file():
            facts[key] = round(sum(float(text.split()[1]) for text in lines_of(str(path / name))) / unit, 4)
    hours = f", {facts['hours']:.2f} h" if "hours" in facts else ""
    voiced = f", {facts['voiced_hours']:.2f} h voiced" if "voiced_hours" in facts else ""
    yield line(f"{facts['recordings']} recordings of {facts['speakers']} speakers{hours}{voiced}", **facts)


def _system(path: Path) -> Lines:
    """What a system's directory holds: results, training, vectors."""
    yield from _results("trials", _load(path / "metrics.json").get("trials", {}))
    if (path / "train.jsonl").is_file():
        last = json.loads(list(lines_of(str(path / "train.jsonl")))[-1])
        yield line(
            f"  {last['epoch']} epochs: loss {last['loss']:.4g}, validation loss {last['valid_loss']:.4g}, "
            f"accuracy {100 * last['valid_accuracy']:.1f} %",
            epochs=last["epoch"],
            valid_loss=last["valid_loss"],
        )
    for name in sorted(path.glob("*/embedding.scp")):
        count = sum(1 for _ in lines_of(str(name)))
        short = f"{name.parent.name}/embedding.scp"
        yield line(f"  {short}: {count} vectors", key=short, count=count)


def _experiment(path: Path) -> Lines:
    """The table of an experiment's results."""
    systems = _load(path / "results.json").get("systems", {})
    for trials in sorted({name for system in systems.values() for name in system["trials"]}):
        yield from _results(
            trials, {name: each["trials"][trials] for name, each in systems.items() if trials in each["trials"]}
        )


def _bundle(path: Path) -> Lines:
    """What a bundle says of itself."""
    facts = _load(path / "bundle.json")
    yield line(
        f"  {facts.get('system')}: {facts.get('kind')}, {facts.get('rate')} Hz, "
        f"{'calibrated' if facts.get('calibrated') else 'not calibrated'}",
        **{key: facts.get(key) for key in ("system", "corpus", "rate", "calibrated", "shortest_voiced_seconds")},
    )
    yield from _results("trials", facts.get("results", {}))


KINDS = {
    "utt2spk": "data directory",
    "bundle.json": "bundle",
    "results.json": "experiment",
    "metrics.json": "system",
    "final.pt": "system",
    "scores": "system",
}  # by what lies in it, first match
SUMMARIES: dict[str, Callable[[Path], Lines]] = {
    "data directory": _data,
    "bundle": _bundle,
    "experiment": _experiment,
    "system": _system,
    "directory": lambda path: iter(()),
}


def _entry_line(name: Path) -> Line:
    if name.is_dir():
        return line(f"  {name.name}/", key=name.name, directory=True)
    if name.name in INFO:
        count = sum(1 for _ in lines_of(str(name)))
        what = INFO[name.name]
        return line(f"  {name.name}: {what}, {count} lines", key=name.name, what=what, lines=count)
    size = name.stat().st_size
    return line(f"  {name.name}: {size} bytes", key=name.name, bytes=size)


def _directory(path: str) -> Lines:
    names = sorted(Path(path).iterdir())
    kind = _kind(Path(path))
    yield line(f"{path}: {kind}, {len(names)} entries", kind=kind, count=len(names))
    yield from SUMMARIES[kind](Path(path))
    yield from (_entry_line(name) for name in names if not name.name.endswith(HIDDEN))


def _directory_entry(path: str, key: str, allow_commands: bool) -> Lines:
    """What each table of a data directory says about one utterance or speaker."""
    found = False
    for name in sorted(Path(path).iterdir()):
        if name.name not in INFO or not name.is_file():
            continue
        for text in lines_of(str(name)):
            if text.split(None, 1)[:1] == [key]:
                found = True
                yield line(f"{name.name}: {text}", key=name.name, value=text.partition(" ")[2])
    if not found:
        raise missing(path, key)


VIEWS: dict[str, View] = {"directory": View(_directory, _directory_entry)}
