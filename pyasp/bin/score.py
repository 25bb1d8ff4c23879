"""Scores one trial list."""

import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from pyasp.backend import model
from pyasp.backend.files import APART, FILES, by_trial, resolved
from pyasp.backend.lists import check_missing, load_models, load_tests, score_list
from pyasp.backend.model import BackEnd
from pyasp.backend.options import BackendOptions, ScoreOptions
from pyasp.backend.scoring import SCORERS, Scorer
from pyasp.core.command import command
from pyasp.core.options import option
from pyasp.core.records import describe, is_current
from pyasp.data.datadir import read_model2utts
from pyasp.data.scores import array_path, write_scores
from pyasp.data.trials import TrialList, read_trials
from pyasp.kaldi import ScpReader


@dataclass(frozen=True)
class Options(BackendOptions):
    """Options of score; it takes a whole backend.conf and uses the scoring part."""

    force: bool = option(False, "make again what is out of date")


def prepare(
    trials: TrialList, scps: tuple[str, str], model2utts: dict, back_end: BackEnd, options: ScoreOptions
) -> tuple[Scorer, np.ndarray]:
    """The scorer of a list and the mask of its trials without embeddings. scps: enrolment, test."""
    enroll, members, missing_models = load_models(trials, model2utts, ScpReader(scps[0]), scps[0])
    tests, missing_tests = load_tests(trials, ScpReader(scps[1]), scps[1])
    missing = check_missing(trials, missing_models, missing_tests, options.max_missing_trials, scps[0])
    num_utts = np.array([len(rows) for rows in members])
    models = model.enroll(back_end, enroll, members, options.average)
    scorer = SCORERS[options.scoring](models, num_utts, back_end.process(tests), back_end.plda, options)
    return scorer, missing


@command(Options, "ENROLL_EMBEDDING_SCP", "MODEL2UTTS", "TEST_EMBEDDING_SCP", "BACKEND_DIR", "TRIALS", "SCORES")
def main(options: Options, enroll: str, model2utts: str, test: str, backend_dir: str, trials: str, scores: str) -> None:
    """Writes `<model> <test> <score>` for every line of TRIALS, in its order; SCORES.f32.npy has the scores alone.

    The back end's three files may be ours or Kaldi's. A PLDA score is a natural-log likelihood ratio.

    Example, after ./run.sh:
        X=exp/toy/ivector D=data/toy E=embedding.scp
        pyasp score $X/enroll/$E $D/enroll/model2utts $X/test/$E $X/backend $D/trials/veri_test my_scores
    """
    files = [Path(backend_dir) / name for name in FILES]
    files += [path for path in (Path(backend_dir) / APART,) if path.is_file()]
    how = resolved(options, backend_dir)
    made = describe("score", how, [enroll, model2utts, test, *files, trials])
    if is_current(scores, made, options.force) and array_path(scores).exists():
        return
    models = read_model2utts(model2utts)
    listed = read_trials(trials, models=list(models))
    result, lacking = np.empty(len(listed), np.float32), np.zeros(len(listed), bool)
    first = [models[name][0] for name in listed.models]
    places = (Path(model2utts).parent.name, first), (Path(test).parent.name, listed.tests)
    for mask, back_end in by_trial(backend_dir, listed, *places):  # one, but for a back end adapted to their speakers
        arrays = {name: getattr(listed, name)[mask] for name in ("model", "test", "target")} if not mask.all() else {}
        part = replace(listed, **arrays)
        scorer, lacking[mask] = prepare(part, (enroll, test), models, back_end, how)
        result[mask] = score_list(part, scorer, lacking[mask])
    if lacking.any() and not lacking.all():
        result[lacking] = result[~lacking].min()
    write_scores(scores, listed, result, made)
    used = len(np.unique(listed.model))
    print(f"{scores}: {len(listed)} trials of {used} models and {len(listed.tests)} test recordings", file=sys.stderr)


if __name__ == "__main__":
    raise SystemExit(main())
