"""The back end by evidence: made-up vectors for which the right answer is known, and how a run carries the choice."""

import numpy as np
import pytest

from pyasp import kaldi
from pyasp.backend import choice
from pyasp.backend.choice import candidates, choose, equal_error, evidence
from pyasp.backend.files import read_back_end, resolved
from pyasp.backend.options import BackendTrainOptions, ScoreOptions
from pyasp.bin import score
from pyasp.core.conf import read_conf
from pyasp.data.datadir import write_table


def speech(speakers, recordings, dim=20, within=1.0, loud=0.0, seed=0):
    """Vectors (N, D) of speakers N(0, I) with deviations `within`; `loud`: of three directions that say nothing."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(speakers), recordings)
    vectors = rng.normal(size=(speakers, dim))[labels] + within * rng.normal(size=(len(labels), dim))
    vectors[:, :3] += loud * rng.normal(size=(len(labels), 3))
    return vectors, labels, np.ones(len(labels), bool)


def test_equal_error_is_where_misses_and_false_alarms_meet():
    assert equal_error(np.array([3.0, 4.0]), np.array([1.0, 2.0])) == 0.0
    assert equal_error(np.array([1.0, 2.0]), np.array([3.0, 4.0])) == 1.0
    assert equal_error(np.arange(0.0, 10.0), np.arange(-5.0, 5.0)) == pytest.approx(0.3, abs=0.1)


def test_loud_directions_without_speakers_are_plda_s_to_find():
    (options, scoring), why = choose(*speech(60, 8, loud=8.0), BackendTrainOptions(whitening=False))
    assert scoring == "plda" and "cosine" in why and "of new speakers the report tells" in why


def test_too_few_recordings_for_plda_make_it_cosine():
    """Two dozen vectors in 20 dimensions say nothing about covariances, and all directions are alike."""
    data = speech(12, 2, within=0.5, seed=3)
    found = evidence(*data, BackendTrainOptions(whitening=True))
    assert found["cosine without whitening"][0] < found["PLDA"][0]
    assert choose(*data, BackendTrainOptions())[0][1] == "cosine"


def test_the_settings_stay_unless_another_is_clearly_better():
    """Loud directions, of which cosine without whitening knows nothing."""
    (options, scoring), why = choose(*speech(100, 10, within=1.5, loud=3.0), BackendTrainOptions())
    assert (options, scoring) == (BackendTrainOptions(), "plda") and "no other is clearly better" in why
    (options, scoring), why = choose(*speech(4, 3), BackendTrainOptions())
    assert (options, scoring) == (BackendTrainOptions(), "plda") and "too few training speakers (4)" in why


def test_copies_that_lie_are_left_out():
    vectors, labels, _ = speech(60, 4, within=0.7)
    wrong = np.random.default_rng(5).permutation(labels)  # copies that say nothing of their speakers
    both, clean = np.concatenate([vectors, 3 * vectors]), np.arange(2 * len(labels)) < len(labels)
    found = evidence(both, np.concatenate([labels, wrong]), clean, BackendTrainOptions())
    assert found["PLDA on clean recordings"][0] < 0.9 * found["PLDA"][0]


@pytest.mark.parametrize(
    "plda, without_copies, cosine, chosen",
    [
        (20.0, 19.1, 17.0, "PLDA"),  # neither 5 % nor 20 % lower
        (20.0, 18.9, 17.0, "PLDA on clean recordings"),  # 5 % is enough for the same back end
        (20.0, 18.9, 15.2, "PLDA on clean recordings"),  # cosine is measured against that
        (20.0, 18.9, 15.0, "cosine"),
        (20.0, 25.0, 15.9, "cosine"),
    ],
)
def test_copies_go_for_a_little_and_plda_for_much(monkeypatch, plda, without_copies, cosine, chosen):
    figures = {"PLDA": plda, "PLDA on clean recordings": without_copies, "cosine": cosine}
    monkeypatch.setattr(choice, "evidence", lambda *_: {name: (each, name) for name, each in figures.items()})
    found, why = choose(np.zeros((4, 2)), np.arange(4), np.ones(4, bool), BackendTrainOptions())
    assert found == chosen and f"back end: {chosen}" in why and ("no other" in why) == (chosen != "cosine")


@pytest.mark.parametrize(
    "speakers, cosine, chosen", [(499, 18.9, "cosine without whitening"), (499, 19.1, "PLDA"), (500, 18.9, "PLDA")]
)
def test_cosine_that_trains_the_mean_alone_needs_little(monkeypatch, speakers, cosine, chosen):
    figures = {"PLDA": 20.0, "cosine": 18.0, "cosine without whitening": cosine, "LDA to 9, PLDA": 16.5}
    monkeypatch.setattr(choice, "evidence", lambda *_: {name: (each, name) for name, each in figures.items()})
    data = np.zeros((speakers, 2)), np.arange(speakers), np.ones(speakers, bool)
    assert choose(*data, BackendTrainOptions(whitening=True))[0] == chosen


def test_an_lda_of_the_users_stays():
    every = candidates(BackendTrainOptions(lda_dim=7), 30, 20, True)
    assert {options.lda_dim for options, _ in every.values()} == {7}
    assert not any("LDA to" in name for name in every)


def test_training_writes_the_choice_and_scoring_follows_it(tmp_path, capsys):
    vectors, labels, _ = speech(12, 2, within=0.5, seed=3)
    utts = {f"s{label:02d}-{k}": f"s{label:02d}" for k, label in enumerate(labels)}
    with kaldi.ArkWriter(tmp_path / "e.ark", tmp_path / "e.scp") as writer:
        for utt, vector in zip(utts, vectors.astype(np.float32)):
            writer.write(utt, vector)
    write_table(tmp_path / "utt2spk", utts)
    words = [str(tmp_path / "e.scp"), str(tmp_path / "utt2spk"), str(tmp_path / "b")]
    assert score.main(["train", "--scoring=auto", *words]) == 0
    assert "back end: cosine" in capsys.readouterr().err
    assert resolved(ScoreOptions(scoring="auto"), tmp_path / "b").scoring == "cosine"
    assert resolved(ScoreOptions(scoring="plda"), tmp_path / "b").scoring == "plda"
    assert resolved(ScoreOptions(scoring="auto"), tmp_path).scoring == "plda"  # a back end of Kaldi's
    chosen = read_conf(tmp_path / "b" / "options.conf", BackendTrainOptions)
    assert len(read_back_end(tmp_path / "b").plda.psi) == (chosen.lda_dim or 20)
    assert score.main(["train", "--scoring=auto", *words]) == 0 and "up to date" in capsys.readouterr().err
    assert score.main(["train", "--scoring=plda", *words]) == 1  # another recipe: out of date
