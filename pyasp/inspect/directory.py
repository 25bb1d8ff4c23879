"""Directories in words: data directories, experiments, systems, bundles, and any other."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pyasp.core.errors import rerun
from pyasp.core.text import as_text, read_json_if_there, read_json_lines
from pyasp.data.datadir import DataDir
from pyasp.data.parts import statistics
from pyasp.evaluation.llr import MARK, marked, metrics_table
from pyasp.inspect.description import Line, Lines, View, line, missing
from pyasp.inspect.texts import INFO, lines_of
from pyasp.report.results import entries, list_names

COUNTED = ("recordings", "speakers", "hours", "voiced_hours")  # of the statistics of a data directory
HIDDEN = (".made.json",)  # records beside artefacts: counted, not listed


def _results(title: str, found: dict[str, dict[str, Any]]) -> Lines:
    """A table of metrics: {row: entry of results.json}."""
    if not found:
        return
    header, *rows = as_text(metrics_table(title, found)).split("\n")
    yield line(f"  {header}")
    for text, (name, entry) in zip(rows, found.items()):
        yield line(f"  {text}", key=name, **{key: entry[key] for key in ("eer", "min_dcf", "n_target", "n_nontarget")})
    if any(map(marked, found.values())):
        yield line(f"  {MARK}")


def _data(path: Path) -> Lines:
    """What a data directory holds: recordings, speakers, hours."""
    facts = {name: fact for name, fact in statistics(DataDir(path)).items() if name in COUNTED}
    text = f"{facts['recordings']} recordings of {facts['speakers']} speakers"
    for name, unit in (("hours", "h"), ("voiced_hours", "h voiced")):
        text += f", {facts[name]:.2f} {unit}" if name in facts else ""
    yield line(text, **facts)


def _system(path: Path) -> Lines:
    """What a system's directory holds: results, training, vectors."""
    yield from _results("trials", read_json_if_there(path / "metrics.json").get("trials", {}))
    if (path / "train.jsonl").is_file():
        last = read_json_lines(path / "train.jsonl", "the JSON line of an epoch", rerun("networks"))[-1]
        losses = f"loss {last['loss']:.4g}, validation loss {last['valid_loss']:.4g}"
        text = f"  {last['epoch']} epochs: {losses}, accuracy {100 * last['valid_accuracy']:.1f} %"
        yield line(text, epochs=last["epoch"], valid_loss=last["valid_loss"])
    for name in sorted(path.glob("*/embedding.scp")):
        count = sum(1 for _ in lines_of(str(name)))
        short = f"{name.parent.name}/embedding.scp"
        yield line(f"  {short}: {count} vectors", key=short, count=count)


def _experiment(path: Path) -> Lines:
    """The table of an experiment's results."""
    results = {"systems": {}, **read_json_if_there(path / "results.json")}
    for name in list_names(results):
        yield from _results(name, entries(results, name))


def _bundle(path: Path) -> Lines:
    """What a bundle says of itself."""
    facts = read_json_if_there(path / "bundle.json")
    text = f"{facts.get('kind')}, {facts.get('rate')} Hz, {'' if facts.get('calibrated') else 'not '}calibrated"
    told = {key: facts.get(key) for key in ("system", "corpus", "rate", "calibrated", "shortest_voiced_seconds")}
    yield line(f"  {told['system']}: {text}", **told)
    yield from _results("trials", facts.get("results", {}))


KINDS: dict[str, tuple[str, Callable[[Path], Lines]]] = {  # by what lies in it, first match
    "utt2spk": ("data directory", _data),
    "bundle.json": ("bundle", _bundle),
    "results.json": ("experiment", _experiment),
    **dict.fromkeys(("metrics.json", "final.pt", "scores"), ("system", _system)),
}
OTHER = "directory", lambda path: iter(())


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
    kind, summary = next((each for name, each in KINDS.items() if (Path(path) / name).exists()), OTHER)
    yield line(f"{path}: {kind}, {len(names)} entries", kind=kind, count=len(names))
    yield from summary(Path(path))
    yield from (_entry_line(name) for name in names if not name.name.endswith(HIDDEN))


def _directory_entry(path: str, key: str) -> Lines:
    """What each table of a data directory says about one utterance or speaker."""
    tables = [name for name in sorted(Path(path).iterdir()) if name.name in INFO and name.is_file()]
    found = [(name.name, text) for name in tables for text in lines_of(str(name)) if text.split(None, 1)[:1] == [key]]
    if not found:
        raise missing(path, key)
    yield from (line(f"{name}: {text}", key=name, value=text.partition(" ")[2]) for name, text in found)


VIEWS: dict[str, View] = {"directory": View(_directory, _directory_entry)}
