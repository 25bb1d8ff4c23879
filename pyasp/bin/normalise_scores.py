"""Normalises the scores of a system with a cohort."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pyasp.backend import model
from pyasp.backend.files import FILES, read_back_end, resolved
from pyasp.backend.lists import check_missing, draw_cohort, load_embeddings, load_models, load_tests
from pyasp.backend.model import BackEnd
from pyasp.backend.norm import Cohort
from pyasp.backend.options import BackendOptions, ScoreOptions
from pyasp.backend.variants import NORMS
from pyasp.core.command import command
from pyasp.core.options import option, subset
from pyasp.core.records import describe, is_current
from pyasp.data.datadir import DataDir, read_table
from pyasp.data.scores import Scored, scored_lists, write_scores
from pyasp.kaldi import ScpReader


@dataclass(frozen=True)
class Options(BackendOptions):
    """Options of normalise_scores; it takes a whole backend.conf."""

    kind: str = option("snorm", "which normalisation", choices=NORMS)
    force: bool = option(False, "make again what is out of date")


COHORTS = {"train": ("train_sel/utt2spk", "train_sel/utt2clean", "train"), "dev": ("dev/utt2spk", "", "dev")}


def cohort_files(data: str, vectors: str, options: Options) -> tuple[Path, Path | None, Path]:
    """utt2spk, utt2clean (None: no copies) and embeddings of the cohort."""
    utt2spk, utt2clean, place = COHORTS[options.cohort]
    return Path(data) / utt2spk, Path(data) / utt2clean if utt2clean else None, Path(vectors) / place / "embedding.scp"


def read_cohort(files: tuple[Path, Path | None, Path], back_end: BackEnd, options: Options) -> Cohort:
    """The cohort's vectors: clean recordings alone, in C order."""
    utt2spk, scp = read_table(files[0]), ScpReader(files[2])
    clean = read_table(files[1]) if files[1] else {utt: utt for utt in utt2spk}
    chosen = draw_cohort(
        {utt: spk for utt, spk in utt2spk.items() if clean[utt] == utt and utt in scp},
        options.cohort_size,
        options.cohort_unit,
        options.variant_seed,
    )
    utts = [utt for each in chosen.values() for utt in each]
    row, members = {utt: number for number, utt in enumerate(utts)}, []
    for each in chosen.values():
        members.append(np.array([row[utt] for utt in each]))
    return Cohort(back_end, load_embeddings(scp, utts, files[2]), members, options)


def normalise_list(data: str, vectors: str, system: str, scored: Scored, cohort: Cohort, options: Options) -> tuple:
    """The trials of a list and their normalised scores."""
    scores, trials = scored.read(system)
    model2utts = DataDir(Path(data) / scored.enroll).model2utts
    scps = [Path(vectors) / place / "embedding.scp" for place in (scored.enroll, scored.test)]
    enroll, members, missing_models = load_models(trials, model2utts, ScpReader(scps[0]), scps[0])
    tests, missing_tests = load_tests(trials, ScpReader(scps[1]), scps[1])
    check_missing(trials, missing_models, missing_tests, 0.0, scps[0])
    models = (
        model.enroll(cohort.back_end, enroll, members, options.average),
        np.array([len(rows) for rows in members]),
    )
    return trials, cohort.normalise(
        options.kind, scores, models, cohort.back_end.process(tests), (trials.model, trials.test)
    )


@command(Options, "DATA", "EMBEDDINGS_DIR", "BACKEND_DIR", "SYSTEM_DIR", "OUT_SYSTEM_DIR")
def main(options: Options, data: str, vectors: str, backend_dir: str, system: str, out: str) -> None:
    """Writes OUT_SYSTEM_DIR/scores/<list> from SYSTEM_DIR/scores/<list>, the dev trials' scores too.

    EMBEDDINGS_DIR/{train,enroll,test,dev}/embedding.scp are the vectors that BACKEND_DIR and SYSTEM_DIR's scores are
    of.
    """
    options = replace(options, scoring=resolved(options, backend_dir).scoring)
    files = cohort_files(data, vectors, options)
    back_end_files = [Path(backend_dir) / name for name in FILES]
    settings = {
        **vars(subset(options, ScoreOptions)),
        "kind": options.kind,
        "cohort": options.cohort,
        **{name: getattr(options, name) for name in ("cohort_size", "cohort_unit", "cohort_top")},
    }
    cohort = None
    for each in scored_lists(data, system):
        scps = {Path(vectors) / place / "embedding.scp" for place in (each.enroll, each.test)}
        inputs = [
            each.trials,
            Path(system) / each.scores,
            *back_end_files,
            *(path for path in files if path),
            *sorted(scps),
        ]
        made = describe("normalise_scores", settings, list(dict.fromkeys(inputs)), options.variant_seed)
        if is_current(Path(out) / each.scores, made, options.force):
            continue
        cohort = cohort or read_cohort(files, read_back_end(backend_dir), options)
        trials, scores = normalise_list(data, vectors, system, each, cohort, options)
        write_scores(Path(out) / each.scores, trials, scores, made)
        print(f"{out} {each.name}: {len(trials)} scores, {options.kind} with {len(cohort.vectors)} cohort vectors")


if __name__ == "__main__":
    raise SystemExit(main())
