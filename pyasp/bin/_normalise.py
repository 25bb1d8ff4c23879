"""Normalisation of the scores of a system with a cohort, as files: what `pyasp score normalise` does."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from pyasp.backend import model
from pyasp.backend.files import APART, FILES, by_trial, resolved
from pyasp.backend.lists import check_missing, draw_cohort, load_embeddings, load_models, load_tests
from pyasp.backend.norm import FORMULAS, Cohort
from pyasp.backend.options import BackendOptions, ScoreOptions
from pyasp.core.errors import CannotBeMade
from pyasp.core.options import subset
from pyasp.core.records import describe, is_current
from pyasp.data.datadir import DataDir, read_table
from pyasp.data.scores import Scored, optional, scored_lists, write_scores
from pyasp.data.trials import TrialList
from pyasp.evaluation.conditions import Evaluation
from pyasp.kaldi import ScpReader

HOLD_OUT = "Hold dev speakers out (--dev-fraction in select.conf, and select again)"
Material = tuple[np.ndarray, list[np.ndarray], list[str]]
COHORTS = {"train": ("train_sel/utt2spk", "train_sel/utt2clean", "train"), "dev": ("dev/utt2spk", "", "dev")}


def cohort_files(data: str, vectors: str, options: BackendOptions) -> tuple[Path, Path | None, Path]:
    """utt2spk, utt2clean (None: no copies) and embeddings of the cohort."""
    utt2spk, utt2clean, place = COHORTS[options.cohort]
    return Path(data) / utt2spk, Path(data) / utt2clean if utt2clean else None, Path(vectors) / place / "embedding.scp"


def read_cohort(files: tuple[Path, Path | None, Path], options: BackendOptions) -> Material:
    """The cohort's vectors, the rows of each member, its speaker: clean recordings alone, in C order."""
    utt2spk, scp = read_table(files[0]), ScpReader(files[2])
    clean = read_table(files[1]) if files[1] else {utt: utt for utt in utt2spk}
    known = {utt: spk for utt, spk in utt2spk.items() if clean[utt] == utt and utt in scp}
    chosen = draw_cohort(known, options.cohort_size, options.cohort_unit, options.variant_seed).values()
    utts = [utt for each in chosen for utt in each]
    members = np.split(np.arange(len(utts)), np.cumsum([len(each) for each in chosen])[:-1])
    return load_embeddings(scp, utts, files[2]), members, [utt2spk[each[0]] for each in chosen]


def normalise_list(
    data: str,
    vectors: str,
    backend_dir: str,
    system: str,
    scored: Scored,
    material: Material,
    kind: str,
    options: BackendOptions,
) -> tuple[TrialList, np.ndarray]:
    """The trials of a list and their normalised scores."""
    scores, trials = scored.read(system)
    model2utts = DataDir(Path(data) / scored.enroll).model2utts
    scps = [Path(vectors) / place / "embedding.scp" for place in (scored.enroll, scored.test)]
    enroll, members, missing_models = load_models(trials, model2utts, ScpReader(scps[0]), scps[0])
    tests, missing_tests = load_tests(trials, ScpReader(scps[1]), scps[1])
    check_missing(trials, missing_models, missing_tests, 0.0, scps[0])
    num_utts, result = np.array([len(rows) for rows in members]), np.empty(len(trials))
    names, *sides = Evaluation(data, scored.enroll, scored.test).speakers(trials)
    speakers = tuple(np.array(names)[side] for side in sides)
    places = (scored.enroll, [model2utts[name][0] for name in trials.models]), (scored.test, trials.tests)
    for mask, back_end in by_trial(backend_dir, trials, *places):
        models = model.enroll(back_end, enroll, members, options.average), num_utts
        pairs = trials.model[mask], trials.test[mask]
        cohort = Cohort(back_end, *material, options)
        result[mask] = cohort.normalise(kind, scores[mask], models, back_end.process(tests), pairs, speakers)
    return trials, result


def normalise(
    options: BackendOptions, kind: str, data: str, vectors: str, backend_dir: str, system: str, out: str, force: bool
) -> None:
    """OUT/scores/<list> from SYSTEM/scores/<list>, the dev trials' scores too, where they are not up to date.

    kind: one of NORMS. A cohort that is not there is noted beside OUT's scores.
    """
    with optional(out, force):
        options = replace(options, scoring=resolved(options, backend_dir).scoring)
        files = cohort_files(data, vectors, options)
        missing = [path for path in (files[0], files[2]) if not path.is_file()]
        if missing:
            expected, cure = f"the speakers of --cohort={options.cohort}", f"{HOLD_OUT}, or use --cohort=train"
            raise CannotBeMade(missing[0], "no such file", expected, cure)
        back_end_files = [path for name in (*FILES, APART) if (path := Path(backend_dir) / name).is_file()]
        cohort_options = ("cohort", "cohort_size", "cohort_unit", "cohort_top")
        settings = {**vars(subset(options, ScoreOptions)), "kind": kind}
        settings |= {name: getattr(options, name) for name in cohort_options}
        cohort = None
        for each in scored_lists(data, system):
            scps = {Path(vectors) / place / "embedding.scp" for place in (each.enroll, each.test)}
            scps |= {Path(data) / place / "utt2spk" for place in (each.enroll, each.test)}  # whom the cohort leaves out
            own = [each.trials, Path(system) / each.scores]
            inputs = [*own, *back_end_files, *(path for path in files if path), *sorted(scps)]
            made = describe("normalise_scores", settings, list(dict.fromkeys(inputs)), options.variant_seed)
            if is_current(Path(out) / each.scores, made, force):
                continue
            cohort = cohort or read_cohort(files, options)
            trials, scores = normalise_list(data, vectors, backend_dir, system, each, cohort, kind, options)
            write_scores(Path(out) / each.scores, trials, scores, made)
            whole = FORMULAS[kind].top and len(cohort[1]) <= options.cohort_top
            told = ", no more than --cohort-top: snorm by another name" if whole else ""
            print(f"{out} {each.name}: {len(trials)} scores, {kind} with {len(cohort[1])} cohort vectors{told}")
