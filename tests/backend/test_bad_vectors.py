"""Embeddings and scores that are degenerate or not finite: refused with a reason, or scored finitely."""

import json

import numpy as np
import pytest
from prep_trees import put, refused

from pyasp import kaldi
from pyasp.backend import calibration, norm, plda_em, scoring
from pyasp.backend import model as backend
from pyasp.backend.files import read_back_end, read_plda, write_back_end, write_plda
from pyasp.backend.options import BackendTrainOptions, ScoreOptions
from pyasp.backend.plda import Plda
from pyasp.backend.transforms import lda
from pyasp.bin import evaluate, score
from pyasp.core.errors import InputError
from pyasp.core.records import describe, write_made
from pyasp.data.datadir import write_table
from pyasp.evaluation import llr

RNG = np.random.default_rng(0)

# ---------------------------------------------------------------- back end


def labelled(speakers, utts, dim, spread=1.0):
    labels = np.repeat(np.arange(speakers), utts)
    return RNG.normal(size=(speakers, dim))[labels] + spread * RNG.normal(size=(len(labels), dim)), labels


@pytest.mark.parametrize(
    "case, speakers, utts, dim, spread",
    [
        ("fewer speakers than dimensions", 3, 4, 8, 1.0),
        ("fewer vectors than dimensions", 3, 2, 12, 1.0),
        ("no variation within a speaker", 6, 3, 4, 0.0),
        ("two speakers", 2, 2, 3, 0.5),
    ],
)
def test_degenerate_training_sets_score_finitely(capsys, case, speakers, utts, dim, spread):
    vectors, labels = labelled(speakers, utts, dim, spread)
    trained = backend.train(vectors, labels, BackendTrainOptions())
    told = capsys.readouterr().out
    assert ("no variation within the speakers" in told) == (spread == 0.0)
    if case == "fewer vectors than dimensions":
        assert "reduced dimension" in told
    ready = trained.process(vectors)
    scorer = scoring.plda_scorer(ready, np.ones(len(ready)), ready, trained.plda, ScoreOptions())
    scores = np.concatenate([block for _, block in scorer.cross(np.float64)])
    assert np.isfinite(scores).all()
    same = labels[:, None] == labels
    assert scores[same].mean() > scores[~same].mean()


def test_speakers_with_one_recording_are_counted_and_all_of_them_refused(capsys):
    backend.check_speakers(np.array([0, 0, 1, 2]), "train")
    assert "2 speakers with one recording" in capsys.readouterr().out
    with pytest.raises(InputError, match="one recording for every speaker"):
        backend.check_speakers(np.arange(4), "train")
    with pytest.raises(InputError, match="at least 2"):
        backend.check_speakers(np.zeros(4, int), "train")


def test_identical_vectors_are_refused():
    """Alike within each speaker alone they are floored, as above; LDA has nothing to normalise then."""
    vectors, labels = labelled(4, 2, 3, 0.0)
    with pytest.raises(InputError, match="no variation at all"):
        lda(vectors - vectors.mean(0), labels, 2)
    with pytest.raises(InputError, match="identical vectors"):
        backend.train(np.ones((6, 3)), np.repeat(np.arange(3), 2), BackendTrainOptions())


def test_plda_without_variation_within_or_between_speakers():
    between, labels = labelled(5, 3, 3, 0.0)
    same = RNG.normal(size=(15, 3))
    for vectors in (between, same - same.reshape(5, 3, 3).mean(1)[labels]):
        plda, history = plda_em.train(plda_em.accumulate(vectors, labels), 10)
        assert np.isfinite(plda.psi).all() and np.isfinite(plda.transform).all() and np.isfinite(history).all()


@pytest.mark.parametrize("name", ["mean", "transform", "psi"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_back_end_that_is_not_finite_is_refused(tmp_path, name, value):
    model = Plda.from_covariances(np.zeros(3), np.eye(3), np.diag([3.0, 2.0, 1.0]))
    getattr(model, name)[..., 0] = value
    write_plda(tmp_path / "plda", model)
    with pytest.raises(InputError, match="plda: .*not finite"):
        read_plda(tmp_path / "plda")
    kaldi.save(tmp_path / "transform.mat", np.full((3, 3), value))
    kaldi.save(tmp_path / "mean.vec", np.zeros(3))
    write_plda(tmp_path / "plda", Plda.from_covariances(np.zeros(3), np.eye(3), np.eye(3)))
    with pytest.raises(InputError, match="transform.mat: .*not finite"):
        read_back_end(tmp_path)
    write_made(tmp_path / "plda", describe("train_backend", {}, []))  # the record of all three
    with pytest.raises(InputError, match=f"transform.mat: .*not finite.* Delete {tmp_path}/plda: .* run stage scores"):
        read_back_end(tmp_path)
    (tmp_path / "mean.vec").unlink()
    with pytest.raises(InputError, match=f"mean.vec: found no such file.* Delete {tmp_path}/plda: ") as caught:
        read_back_end(tmp_path)
    assert caught.value.rerun == ("scores", False)


def test_negative_between_speaker_variances_are_refused(tmp_path):
    write_plda(tmp_path / "plda", Plda(np.zeros(2), np.eye(2), np.array([1.0, -0.5])))
    with pytest.raises(InputError, match="-0.5"):
        read_plda(tmp_path / "plda")


# ---------------------------------------------------------------- scores


@pytest.fixture
def scored(tmp_path):
    """Embeddings, back end and a list for the tool `score`."""
    vectors, labels = labelled(6, 4, 5)
    trained = backend.train(vectors, labels, BackendTrainOptions())
    write_back_end(tmp_path / "backend", trained, {"tool": "x", "options": {}, "inputs": {}})
    with kaldi.ArkWriter(tmp_path / "e.ark", tmp_path / "e.scp") as writer:
        for k, vector in enumerate(vectors[:6]):
            writer.write(f"u{k}", vector.astype(np.float32))
    write_table(tmp_path / "model2utts", {"m0": "u0 u1", "m4": "u4"})
    put(tmp_path / "trials", "m0 u2 target", "m0 u5 nontarget", "m4 u5 target", "m4 u3 nontarget")
    return tmp_path


def run_score(where):
    return score.main(
        [
            "list",
            *(str(where / name) for name in ("e.scp", "model2utts", "e.scp", "backend", "trials", "scores/trials")),
        ]
    )


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_embeddings_that_are_not_finite_make_no_score(scored, capsys, value):
    with kaldi.ArkWriter(scored / "e.ark", scored / "e.scp") as writer:
        for k in range(6):
            writer.write(f"u{k}", np.full(5, value if k == 2 else 1.0 + k, np.float32))
    assert run_score(scored) == 1
    refused(capsys, "u2", "5 values not finite")
    assert not (scored / "scores" / "trials").exists()


def test_an_embedding_of_zeros_scores_finitely(scored):
    with kaldi.ArkWriter(scored / "e.ark", scored / "e.scp") as writer:
        for k in range(6):
            writer.write(f"u{k}", (RNG.normal(size=5) * (k != 2)).astype(np.float32))
    assert run_score(scored) == 0
    assert np.isfinite(np.load(scored / "scores" / "trials.f32.npy")).all()


SCORES = {
    "NaN": ("m t nan\nm u 1\n", "not a number"),
    "a word": ("m t high\nm u 1\n", "'high'"),
    "fewer lines": ("m t 1\n", "end of the file"),
    "more lines": ("m t 1\nm u 1\nm v 1\n", "more than 2"),
    "another pair": ("m u 1\nm t 1\n", "'m t' as in the trial list"),
}


@pytest.mark.parametrize("case", SCORES)
def test_score_files_that_cannot_be_measured(tmp_path, capsys, case):
    put(tmp_path / "data/trials/list", "m t target", "m u nontarget")
    (tmp_path / "exp/scores").mkdir(parents=True)
    (tmp_path / "exp/scores/list").write_text(SCORES[case][0])
    assert evaluate.main([str(tmp_path / "data/trials"), str(tmp_path / "exp")]) == 1
    refused(capsys, SCORES[case][1])


@pytest.mark.parametrize(
    "scores, eer",
    [
        ([np.inf, -np.inf, -np.inf, np.inf], 50.0),
        ([np.inf, np.inf, -np.inf, -np.inf], 0.0),
        ([0.0, 0.0, 0.0, 0.0], 50.0),
        ([1e308, -1e308, 1e308, -1e308], 50.0),
    ],
)
def test_infinite_and_equal_scores_have_figures_that_json_can_hold(scores, eer):
    target = np.array([True, True, False, False])
    entry, counts = llr.summarise(np.array(scores), target)
    json.dumps(entry, allow_nan=False)
    assert 0 <= entry["eer_rocch"] <= 50 and 0 <= entry["min_dcf"]["0.01"] <= 1
    assert entry["eer_rocch"] == pytest.approx(eer)


@pytest.mark.parametrize(
    "case, target_scores, other",
    [
        ("separable", [3.0, 4.0], [-1.0, -2.0]),
        ("constant", [1.0, 1.0], [1.0, 1.0]),
        ("huge", [1e12, 2e12], [-1e12, 0.0]),
        ("tiny", [1e-12, 2e-12], [0.0, -1e-12]),
        ("reversed", [-3.0, -4.0], [1.0, 2.0]),
        ("one of each", [1.0], [0.0]),
    ],
)
def test_calibration_stays_finite(case, target_scores, other):
    x = np.concatenate([target_scores, other])[:, None]
    target = np.arange(len(x)) < len(target_scores)
    model = calibration.train(x, target, ("score",))
    found = model.apply(x)
    assert np.isfinite(found).all() and np.isfinite(model.weights).all()
    if case == "constant":
        assert model.weights[0] == 0 and np.allclose(found, 0, atol=1e-6)
    if case == "reversed":
        assert model.weights[0] < 0


def test_a_cohort_without_spread_is_refused():
    """Scores against a cohort that are all equal, or no numbers, have no deviation to divide by."""
    for row in ([1.0, 1.0, 1.0], [np.nan, 1.0, 2.0]):
        with pytest.raises(InputError, match="1 models or tests whose scores"):
            norm.moments(np.array([[1.0, 2.0, 4.0], row]))
    for top in (0, 2):
        assert np.isfinite(norm.moments(np.array([[1.0, 2.0, 4.0]]), top)).all()
