"""Normalisation with a cohort against loops over single scores, and what it is invariant to."""

import numpy as np
import pytest

from pyasp.backend import norm
from pyasp.backend.lists import draw_cohort
from pyasp.backend.model import BackEnd, enroll, train
from pyasp.backend.norm import FORMULAS, Cohort, Norm, moments
from pyasp.backend.options import BackendOptions
from pyasp.backend.scoring import SCORERS
from pyasp.backend.variants import NORMS
from pyasp.core.errors import InputError

DIM = 6


def corpus(seed=0, speakers=30, each=5):
    generator = np.random.default_rng(seed)
    means = generator.normal(size=(speakers, DIM))
    return np.repeat(means, each, axis=0) + 0.5 * generator.normal(size=(speakers * each, DIM)), np.repeat(
        np.arange(speakers), each
    )


@pytest.fixture(scope="module")
def back_end() -> BackEnd:
    return train(*corpus(), BackendOptions(), log=lambda line: None)


def trials(back_end, scoring):
    """Models of two recordings, single tests, all pairs, and their scores."""
    vectors, _ = corpus(1, 6, 3)
    members = [np.array([3 * k, 3 * k + 1]) for k in range(6)]
    models = enroll(back_end, vectors, members, "normalised"), np.full(6, 2)
    tests = back_end.process(vectors[2::3])
    pairs = tuple(index.ravel() for index in np.meshgrid(np.arange(6), np.arange(6), indexing="ij"))
    options = BackendOptions(scoring=scoring, cohort_top=4)
    return models, tests, pairs, SCORERS[scoring](*models, tests, back_end.plda, options).pairs(*pairs), options


def cohort_of(back_end, options, own=()):
    """Nine cohort speakers; those numbered in `own` have the names of speakers of the trials."""
    vectors, labels = corpus(2, 9, 2)
    names = [f"s{k}" if k in own else f"c{k}" for k in range(9)]
    return Cohort(back_end, vectors, [np.flatnonzero(labels == k) for k in range(9)], names, options)


SPEAKERS = np.array([f"s{k}" for k in range(6)]), np.array([f"s{k}" for k in range(6)])


@pytest.mark.parametrize("scoring", ["plda", "cosine"])
@pytest.mark.parametrize("kind", FORMULAS)
@pytest.mark.parametrize("own", [(), (1, 4)])
def test_against_loops(back_end, kind, scoring, own, monkeypatch):
    """Also where two of the trials' speakers are in the cohort: they are left out of their own models' and tests'
    moments, and of no other's."""
    models, tests, pairs, scores, options = trials(back_end, scoring)
    cohort = cohort_of(back_end, options, own)
    score, plda, everyone = SCORERS[scoring], back_end.plda, np.zeros(9, np.int64)
    expected = []
    for i, j, s in zip(*pairs, scores):
        one_model = models[0][[i]], models[1][[i]]
        z = score(*one_model, cohort.vectors, plda, options).pairs(everyone, np.arange(9))
        t = score(cohort.vectors, cohort.num_utts, tests[[j]], plda, options).pairs(np.arange(9), everyone)
        z, t = (np.delete(each, k) if k in own else each for each, k in ((z, i), (t, j)))
        if FORMULAS[kind].top:
            z, t = np.sort(z)[-4:], np.sort(t)[-4:]
        sides = (FORMULAS[kind].model, z), (FORMULAS[kind].test, t)
        expected.append(np.mean([(s - each.mean()) / each.std() for counts, each in sides if counts]))
    assert np.allclose(cohort.normalise(kind, scores, models, tests, pairs, SPEAKERS), expected)
    monkeypatch.setattr(norm, "AT_ONCE", 20)  # two rows at a time
    assert np.allclose(cohort.normalise(kind, scores, models, tests, pairs, SPEAKERS), expected)


def test_every_name_has_its_formula():
    assert list(FORMULAS) == list(NORMS)
    found = {kind: (each.model, each.test, each.top) for kind, each in FORMULAS.items()}
    assert found["znorm"] == (True, False, False) and found["tnorm"] == (False, True, False)
    assert found["snorm"] == (True, True, False) and found["asnorm"] == (True, True, True)


def test_a_normalisation_of_one_s_own_is_a_line_in_the_table(back_end, monkeypatch):
    """The test's highest scores, and only their mean taken away."""
    models, tests, pairs, scores, options = trials(back_end, "cosine")
    monkeypatch.setitem(
        FORMULAS, "own", Norm(model=False, top=True, formula=lambda scores, mean, deviation: scores - mean)
    )
    found = cohort_of(back_end, options).normalise("own", scores, models, tests, pairs, SPEAKERS)
    shift = (scores - found).reshape(6, 6)  # of model i and test j
    assert np.allclose(shift, shift[0]) and len(set(shift[0].round(9))) == 6
    with pytest.raises(KeyError):
        cohort_of(back_end, options).normalise("none", scores, models, tests, pairs, SPEAKERS)


def test_snorm_undoes_a_shift_and_a_scale_of_all_scores(back_end):
    models, tests, pairs, scores, options = trials(back_end, "cosine")
    before = cohort_of(back_end, options).normalise("snorm", scores, models, tests, pairs, SPEAKERS)
    z = np.array([[1.0, 2, 4]])
    assert moments(3 * z + 7)[0] == 3 * moments(z)[0] + 7 and moments(3 * z + 7)[1] == pytest.approx(3 * moments(z)[1])
    assert np.corrcoef(before, scores)[0, 1] > 0.8


def test_the_best_of_a_row():
    scores = np.array([[5.0, 1, 3, 9], [0.0, -1, -2, 8]])
    assert moments(scores, 2)[0].tolist() == [7.0, 4.0] and moments(scores, 2)[1].tolist() == [2.0, 4.0]
    assert moments(scores, 10)[0].tolist() == scores.mean(axis=1).tolist()
    with pytest.raises(InputError, match="1 models or tests"):
        moments(np.array([[1.0, 1.0], [1.0, 2.0]]))
    with pytest.raises(InputError, match="1 cohort members that are not the trial's own speaker; expected at least 2"):
        moments(np.array([[1.0], [2.0]]))


@pytest.mark.parametrize("kind", FORMULAS)
def test_a_cohort_with_the_trials_own_speakers_normalises_as_one_of_strangers(back_end, kind):
    """Dev trials among 40 speakers, normalised by those 40 and by 40 others: target trials have the same mean. A cohort
    with their own speakers in it draws them down: asnorm from 0.96 to 0.11, the others from 1.74 to 1.64."""
    vectors, labels = corpus(3, 40, 4)
    strangers, theirs = corpus(4, 40, 4)
    rows, target = [np.array([k]) for k in range(160)], np.equal.outer(labels, labels)
    pairs = np.nonzero(~np.eye(160, dtype=bool))
    options = BackendOptions(scoring="cosine", cohort_top=20)
    tests = back_end.process(vectors)
    models, speakers = (tests, np.ones(160, int)), (labels.astype(str),) * 2
    scores = SCORERS["cosine"](*models, tests, back_end.plda, options).pairs(*pairs)

    def means(material, names):
        cohort = Cohort(back_end, material, rows, [str(name) for name in names], options)
        found = cohort.normalise(kind, scores, models, tests, pairs, speakers)
        return found[target[pairs]].mean()

    disjoint = means(strangers, theirs + 100)
    assert means(vectors, labels) == pytest.approx(disjoint, abs=0.06)
    assert means(vectors, labels + 100) < disjoint - (0.7 if FORMULAS[kind].top else 0.08)  # by names that hide them


def test_the_draw_is_seeded_and_bounded():
    utt2spk = {f"s{k}-u{i}": f"s{k}" for k in range(20) for i in range(3)}
    assert len(draw_cohort(utt2spk, 7, "recording", 1)) == 7 and len(draw_cohort(utt2spk, 100, "speaker", 1)) == 20
    speakers = draw_cohort(utt2spk, 5, "speaker", 1)
    assert all(utts == [f"{name}-u{i}" for i in range(3)] for name, utts in speakers.items())
    assert draw_cohort(utt2spk, 5, "speaker", 1) == speakers != draw_cohort(utt2spk, 5, "speaker", 2)
    with pytest.raises(InputError, match="1 speakers; expected at least 2"):
        draw_cohort({"a-1": "a"}, 9, "speaker", 1)
