"""The files of variants: which scored lists a system has, and how a variant's scores are written.

A system's directory holds `scores/<list>`, and `dev/scores` for the trials among the dev speakers. A variant reads
those of another system and writes its own, line by line in the same order.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pyasp.backend import score_files
from pyasp.core.errors import InputError
from pyasp.core.files import atomic_write
from pyasp.core.records import making
from pyasp.data.trials import TrialList, read_scored
from pyasp.evaluation.conditions import Columns, Evaluation
from pyasp.evaluation.evaluate import scored_lists


@dataclass(frozen=True)
class Scored:
    """A list and where its scores lie in a system's directory; enroll, test: names of its data directories."""

    name: str
    trials: Path
    scores: str
    enroll: str
    test: str

    def read(self, system_dir: str | Path) -> tuple[np.ndarray, TrialList]:
        """Scores (N,) float64 of a system, and the trials. InputError when they do not belong together."""
        return read_scored(self.trials, Path(system_dir) / self.scores)


def dev_list(data: str | Path) -> Scored:
    """The trials among the dev speakers."""
    return Scored("dev", Path(data) / "dev" / "trials", "dev/scores", "dev", "dev")


def lists(data: str | Path, system_dir: str | Path) -> list[Scored]:
    """Every list that a system has scored, the dev trials last. InputError when there is none."""
    found = [
        Scored(name, Path(data) / "trials" / name, f"scores/{name}", "enroll", "test")
        for name in scored_lists(Path(data) / "trials", system_dir)
    ]
    dev = dev_list(data)
    return [*found, dev] if dev.trials.is_file() and (Path(system_dir) / dev.scores).is_file() else found


def evaluation_of(data: str | Path, scored: Scored) -> Evaluation:
    """What is known about both sides of a list."""
    return Evaluation(data, scored.enroll, scored.test)


def training_list(data: str | Path, system_dir: str | Path, name: str) -> Scored:
    """The list that calibration is trained on: `name` of the corpus's lists, or the dev trials when it is empty."""
    found = {each.name: each for each in lists(data, system_dir)}
    if (name or "dev") not in found:
        raise InputError(
            system_dir,
            f"no scores of {name or 'trials among dev speakers'}",
            "a scored list to train calibration on",
            "Hold dev speakers out (--dev-fraction in select.conf, then from stage 4 on), or name a list with "
            "--calibration-list, or use calhalf",
        )
    return found[name or "dev"]


def write(
    system_dir: str | Path,
    scored: Scored,
    trials: TrialList,
    scores: np.ndarray,
    made: dict[str, Any],
    columns: Columns | None = None,
) -> None:
    """Writes a variant's scores (N,) of a list, the array beside them, and `<scores>.tsv` when there are columns."""
    path, values = Path(system_dir) / scored.scores, scores.astype(np.float32)
    if columns:
        with atomic_write(f"{path}.tsv", "w") as stream:
            stream.write("\t".join(columns) + "\n")
            stream.writelines(
                "\t".join(row) + "\n" for row in zip(*(np.array(names)[codes] for names, codes in columns.values()))
            )
    score_files.write_array(path, values)
    with making(path, made) as temporary, open(temporary, "w", encoding="utf-8", newline="\n") as stream:
        score_files.write_scores(stream, trials, values)
