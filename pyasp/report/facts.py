"""What a run left about itself, read for the report: data, training curves, likelihoods, options, seeds, versions.

Everything is optional: a run of the i-vector system alone has no training curve, a resumed one may lack times.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from pyasp.core import text as plain_text
from pyasp.core.errors import rerun
from pyasp.core.text import Table, grouped
from pyasp.data.checks import read_dropped
from pyasp.data.datadir import DataDir

SETS = ("train", "train_aug", "train_ubm", "train_sel", "dev", "enroll", "test")
FRAMES_PER_SECOND = 100


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file of the run, or nothing. Raises InputError for anything else."""
    return (
        plain_text.read_json(path, "a JSON object", "Delete it and re-run the stage that makes it")
        if path.is_file()
        else {}
    )


def training_curves(exp: Path) -> dict[str, list[dict[str, float]]]:
    """{system: the lines of its train.jsonl}."""
    return {
        path.parent.name: [
            plain_text.parse_json(line, path, f"line {number}", "the JSON line of an epoch", rerun("networks"))
            for number, line in enumerate(plain_text.read_lines(path), 1)
            if line.strip()
        ]
        for path in sorted(exp.glob("*/train.jsonl"))
    }


def likelihoods(exp: Path) -> dict[str, list[float]]:
    """{curve: value after each iteration}: mean log-likelihood a frame of the UBM's EM, diagonal and full, and the
    extractor's objective a frame."""
    found: dict[str, list[float]] = {}
    ubm, extractor = read_json(exp / "ubm" / "likelihood.json"), read_json(exp / "ivector" / "likelihood.json")
    for title, source, suffix, key in (
        ("diagonal UBM", ubm, ".dubm", "loglike"),
        ("full UBM", ubm, ".ubm", "loglike"),
        ("extractor", extractor, ".ie", "objective"),
    ):
        steps = sorted(
            (int(name.removesuffix(suffix)), values[key])
            for name, values in source.items()
            if name.endswith(suffix)
            and name.removesuffix(suffix).isdecimal()
            and isinstance(values, dict)
            and isinstance(values.get(key), (int, float))
        )
        found[title] = [value for _, value in steps]
    return {title: values for title, values in found.items() if values}


def durations(data: Path) -> dict[str, np.ndarray]:
    """{set: seconds of its recordings}, of the sets that are people's recordings."""
    return {
        name: np.array([float(text) for text in DataDir(data / name).read("utt2dur").values()])
        for name in ("train", "enroll", "test")
        if (data / name / "utt2dur").is_file()
    }


def _row(directory: DataDir) -> list[str]:
    """Speakers, recordings, hours, median seconds, voiced share of one data directory."""

    def column(name: str) -> np.ndarray | None:
        return np.array([float(text) for text in directory.read(name).values()]) if directory.has(name) else None

    frames, voiced, seconds = column("utt2num_frames"), column("utt2num_voiced"), column("utt2dur")
    if seconds is None and frames is not None:
        seconds = frames / FRAMES_PER_SECOND
    share = (
        f"{100 * voiced.sum() / frames.sum():.1f}"
        if voiced is not None and frames is not None and frames.sum()
        else "-"
    )
    hours, middle = ("-", "-") if seconds is None else (f"{seconds.sum() / 3600:.2f}", f"{np.median(seconds):.2f}")
    return [grouped(len(set(directory.utt2spk.values()))), grouped(len(directory.utt2spk)), hours, middle, share]


def data_table(data: Path) -> Table:
    """Speakers, recordings, hours, median seconds, voiced share, and how many were dropped, of every data directory."""
    table = [["set", "speakers", "recordings", "hours", "median s", "voiced %", "dropped"]]
    for name in SETS:
        directory = DataDir(data / name)
        if directory.has("utt2spk"):
            table.append([name, *_row(directory), grouped(sum(dropped(data, name).values()))])
    return table


def dropped(data: Path, name: str) -> Counter[str]:
    """{reason: recordings} of a directory's dropped.tsv."""
    return Counter(read_dropped(data / name / "dropped.tsv").values())


def dropped_table(data: Path) -> Table:
    """Reasons for which recordings were dropped, by directory."""
    rows = [[name, reason, grouped(count)] for name in SETS for reason, count in dropped(data, name).items()]
    return [["set", "reason", "recordings"], *rows] if rows else []


def options(exp: Path, conf: Path | None) -> list[tuple[str, str]]:
    """(name, text) of every resolved options.conf of the run, and of the conf directory's files."""
    found = [
        (str(path.relative_to(exp)), path.read_text(encoding="utf-8")) for path in sorted(exp.glob("**/options.conf"))
    ]
    files = sorted(conf.glob("*.conf")) if conf else []
    return [(f"{path.parent.name}/{path.name}", path.read_text(encoding="utf-8")) for path in files] + found


def seeds(exp: Path, data: Path) -> dict[str, int]:
    """{artefact: the seed it was made with}."""
    places = [
        (exp, "ubm/final.ubm"),
        (exp, "ivector/final.ie"),
        (data, "train_sel/utt2spk"),
        (data, "dev/utt2spk"),
        (data, "train_aug/cuts.jsonl.gz"),
        *((exp, f"{path.parent.name}/final.pt") for path in sorted(exp.glob("*/final.pt"))),
    ]
    records = {name: read_json(Path(f"{root / name}.made.json")) for root, name in places}
    return {name: record["seed"] for name, record in records.items() if record.get("seed") is not None}


def versions(exp: Path) -> dict[str, str]:
    """Versions of Python and packages that made the results."""
    return read_json(exp / "results.json.made.json").get("versions", {})


def stages_table(rows: list[dict[str, Any]]) -> Table:
    """Stages with wall-clock and CPU seconds and the largest process's memory (rows of costs.by_stage)."""
    table = [["stage", "seconds", "CPU seconds", "peak MB", "of tool"]]
    for row in rows:
        table.append(
            [
                f"{row['stage']} {row['title']}".strip(),
                "-" if row["seconds"] is None else f"{row['seconds']:.1f}",
                f"{row['cpu_seconds']:.1f}" if "cpu_seconds" in row else "",
                grouped(round(row["peak_mb"])) if "peak_mb" in row else "",
                row.get("tool", ""),
            ]
        )
    return table if rows else []
