"""Time and memory of the tools of a run: a line each in the file named by PYASP_USAGE, which run.sh sets.

  EXP/log/usage.jsonl    {"stage", "title", "tool", "cpu_seconds", "peak_mb", "open_files"} of each tool, at its end
  EXP/log/stages.jsonl   {"stage", "title", "start", "seconds"} of each stage run, written by steps/common.sh; start in
                         seconds since 1970
A run that was resumed, or given again, adds lines; seconds add up, and a peak is that of the largest process.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import resource
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

UNITS = (60, "minutes"), (3600, "hours"), (86400, "days")
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes in a unit of ru_maxrss


def record_costs(tool: str) -> None:
    """Appends this process's CPU seconds, largest resident memory and open files, when a run asks for it."""
    path = os.environ.get("PYASP_USAGE")
    if not path or not Path(path).parent.is_dir():
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    line = {
        "stage": os.environ.get("PYASP_STAGE", ""),
        "title": os.environ.get("PYASP_STAGE_TITLE", ""),
        "tool": tool,
        "cpu_seconds": round(used.ru_utime + used.ru_stime, 3),
        "peak_mb": round(used.ru_maxrss * MAXRSS_UNIT / 2**20, 1),
    }
    if Path("/proc/self/fd").is_dir():
        line["open_files"] = len(os.listdir("/proc/self/fd")) - 1  # without the directory that is being listed
    with contextlib.suppress(OSError):  # a full disk is the tool's to tell; it must not hide the tool's own message
        with open(path, "a", encoding="utf-8") as stream:  # one short write: lines of parallel jobs do not mix
            stream.write(json.dumps(line) + "\n")


@dataclass(frozen=True)
class Work:
    """What a part of a run asks of a machine: programs to start one after another, and floating point operations, or
    as many as it could do meanwhile."""

    starts: float = 0.0
    operations: float = 0.0

    def __add__(self, other: Work) -> Work:
        return Work(self.starts + other.starts, self.operations + other.operations)

    def seconds(self, start: float, pace: float) -> float:
        """On a machine that takes `start` seconds to start a program and does `pace` operations a second."""
        return self.starts * start + self.operations / pace


def seconds_since_start() -> float:
    """Since this process began, as far as the system tells: what a program takes until it works, with its imports."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        ticks = int(Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        now = float(Path("/proc/uptime").read_text().split()[0])
        return max(0.0, now - ticks / os.sysconf("SC_CLK_TCK"))
    return time.process_time()


def in_words(seconds: Mapping[str, float]) -> str:
    """A time and its parts in one unit: "about 12 minutes: features 2, networks 10"."""
    total = sum(seconds.values())
    unit, name = next((u, n) for u, n in UNITS if total < 90 * u or n == UNITS[-1][1])

    def number(value: float) -> str:
        value /= unit
        return "less than 1" if value < 0.5 else f"{value:.0f}"

    parts = ", ".join(f"{part} {number(each)}" for part, each in seconds.items())
    return f"about {number(total)} {name if total >= 1.5 * unit else name[:-1]}: {parts}"


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines that are whole; one that a killed run left torn is passed over."""
    found = []
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def by_stage(exp: str | Path) -> list[dict[str, Any]]:
    """Of every stage and title in EXP/log: {"stage", "title", "seconds", "runs"}; of its tools "cpu_seconds", "peak_mb"
    (of the largest process) and "tool" (whose it is). seconds: None where a stage has not ended (killed, or this
    one). spans: [(start, end)] of its runs, where they are known."""
    log = Path(exp) / "log"
    stages: dict[tuple[str, str], dict[str, Any]] = {}
    for line in _lines(log / "stages.jsonl"):
        row = stages.setdefault((line["stage"], line["title"]), {**line, "seconds": 0.0, "runs": 0, "spans": []})
        row["spans"] += [(line["start"], line["start"] + line["seconds"])] if "start" in line else []
        row["seconds"] += line["seconds"]
        row["runs"] += 1
    used = _lines(log / "usage.jsonl")
    for key in dict.fromkeys((line["stage"], line.get("title", "")) for line in used):
        mine = [line for line in used if (line["stage"], line.get("title", "")) == key]
        largest = max(mine, key=lambda line: line["peak_mb"])
        row = stages.setdefault(key, {"stage": key[0], "title": key[1], "seconds": None, "runs": 0})
        row.update(
            cpu_seconds=sum(line["cpu_seconds"] for line in mine), peak_mb=largest["peak_mb"], tool=largest["tool"]
        )
    return list(stages.values())


def covered(spans: Iterable[tuple[float, float]], start: float = -math.inf, end: float = math.inf) -> float:
    """Seconds between `start` and `end` in which at least one of the spans was running."""
    seconds = 0.0
    for first, last in sorted((max(a, start), min(b, end)) for a, b in spans):
        seconds += max(0.0, last - max(first, start))
        start = max(start, last)
    return seconds


def hidden(row: Mapping[str, Any], rows: Iterable[Mapping[str, Any]]) -> float:
    """Seconds of a stage of by_stage in which a longer one was running too: without it the run would not be shorter."""
    longer = [span for each in rows if (each["seconds"] or 0.0) > row["seconds"] for span in each.get("spans", ())]
    return sum(covered(longer, *span) for span in row.get("spans", ()))
