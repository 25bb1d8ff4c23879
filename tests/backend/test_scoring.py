"""Scores of listed trials: one route or the other, any block size, any mix of recordings."""

import itertools

import numpy as np
import pytest

from pyasp.backend import scoring
from pyasp.backend.lists import check_missing, load_models, load_tests, score_list
from pyasp.backend.options import ScoreOptions
from pyasp.backend.plda import Plda
from pyasp.core.errors import InputError
from pyasp.data.scores import write_scores
from pyasp.data.trials import TrialList


@pytest.fixture
def parts():
    generator = np.random.default_rng(0)
    factors = generator.normal(size=(2, 6, 6))
    plda = Plda.from_covariances(generator.normal(size=6), *(f @ f.T + np.eye(6) for f in factors))
    return plda, generator.normal(size=(40, 6)), generator.integers(1, 5, 40), generator.normal(size=(30, 6))


def one_by_one(plda, models, counts, tests, options, pairs):
    """Every trial alone, so that no block, group or product is shared."""
    return np.array(
        [
            scoring.plda_scorer(models[i : i + 1], counts[i : i + 1], tests[j : j + 1], plda, options).pairs(
                np.array([0]), np.array([0])
            )[0]
            for i, j in pairs
        ]
    )


@pytest.mark.parametrize(
    "options",
    [
        ScoreOptions(),
        ScoreOptions(normalize_length=False),
        ScoreOptions(smoothing=0.3),
        ScoreOptions(simple_length_normalization=True),
        ScoreOptions(num_utts=False),
    ],
)
@pytest.mark.parametrize("block", [7, 1 << 20])
def test_blocks_and_groups_do_not_matter(parts, options, block):
    plda, models, counts, tests = parts
    pairs = np.random.default_rng(1).integers(0, (40, 30), (200, 2))
    scorer = scoring.plda_scorer(models, counts, tests, plda, options)
    found = np.concatenate(list(scoring.score_blocks(scorer, pairs[:, 0], pairs[:, 1], block)))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, one_by_one(plda, models, counts, tests, options, pairs), rtol=1e-5, atol=1e-5)


def test_options_change_the_scores(parts):
    plda, models, counts, tests = parts
    pairs = np.indices((40, 30)).reshape(2, -1)
    scores = [
        scoring.plda_scorer(models, counts, tests, plda, options).pairs(*pairs)
        for options in (
            ScoreOptions(),
            ScoreOptions(normalize_length=False),
            ScoreOptions(smoothing=0.3),
            ScoreOptions(simple_length_normalization=True),
            ScoreOptions(num_utts=False),
        )
    ]
    assert all(np.abs(a - b).max() > 0.01 for a, b in itertools.combinations(scores, 2))


@pytest.mark.parametrize("dense_enough", [0, 10**9])
@pytest.mark.parametrize("per_product", [1, 50, 1 << 22])
def test_dense_and_gathered_routes_agree(parts, monkeypatch, dense_enough, per_product):
    plda, models, counts, tests = parts
    pairs = np.random.default_rng(2).integers(0, (40, 30), (300, 2))
    scorer = scoring.plda_scorer(models, counts, tests, plda, ScoreOptions())
    every = scorer.left @ scorer.right.T + scorer.model[:, None] + scorer.test[scorer.group]
    expected = every[pairs[:, 0], pairs[:, 1]]
    monkeypatch.setattr(scoring, "DENSE_ENOUGH", dense_enough)
    monkeypatch.setattr(scoring, "PAIRS_PER_PRODUCT", per_product)
    np.testing.assert_allclose(scorer.pairs(pairs[:, 0], pairs[:, 1]), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("dtype, tolerance", [(np.float32, 1e-4), (np.float64, 1e-12)])
def test_the_cross_product_has_every_pair(parts, monkeypatch, dtype, tolerance):
    plda, models, counts, tests = parts
    scorer = scoring.plda_scorer(models, counts, tests, plda, ScoreOptions())
    monkeypatch.setattr(scoring, "PAIRS_PER_PRODUCT", 7 * len(tests))
    blocks = {start: block.copy() for start, block in scorer.cross(dtype)}  # the array is used again
    assert list(blocks) == list(range(0, len(models), 7)) and blocks[0].dtype == dtype
    every = scorer.pairs(*np.indices((len(models), len(tests))).reshape(2, -1)).reshape(len(models), -1)
    np.testing.assert_allclose(np.concatenate(list(blocks.values())), every, rtol=tolerance, atol=tolerance)


def test_cosine(parts):
    plda, models, counts, tests = parts
    scorer = scoring.cosine_scorer(models, counts, tests, plda, ScoreOptions(scoring="cosine"))
    expected = [models[i] @ tests[i] / np.linalg.norm(models[i]) / np.linalg.norm(tests[i]) for i in range(30)]
    np.testing.assert_allclose(scorer.pairs(np.arange(30), np.arange(30)), expected)


def test_dense_scores_without_pca_are_the_scores_of_all_pairs(parts):
    plda, models, _, _ = parts
    pairs = np.indices((40, 40)).reshape(2, -1)
    scorer = scoring.plda_scorer(models, np.ones(40, int), models, plda, ScoreOptions())
    dense = scoring.dense_scores(plda, models, 1.0).ravel()
    np.testing.assert_allclose(dense, scorer.pairs(*pairs), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("energy, kept", [(0.0, 2), (0.5, 2), (0.7, 3), (0.95, 4)])
def test_recording_pca_keeps_one_axis_more_than_needed(energy, kept):
    deviations = np.diag(np.sqrt([6.0, 3.0, 0.8, 0.2]))  # 60, 30, 8 and 2 % of the variance
    vectors = np.repeat(deviations, 2, axis=0) * np.tile([1, -1], 4)[:, None]
    axes = scoring.recording_pca(vectors, energy)
    assert axes.shape == (kept, 4)
    np.testing.assert_allclose(np.abs(axes), np.eye(4)[:kept], atol=1e-12)


def trial_list():
    return TrialList(
        ["m1", "m2", "m3"],
        ["a", "b"],
        np.array([0, 1, 0, 1], np.int32),
        np.array([0, 0, 1, 1], np.int32),
        np.array([True, False, False, True]),
    )


def test_only_what_the_list_needs_is_loaded():
    """m3 is not in the list: its missing recording is nobody's business."""
    reader = {"x": np.array([1.0, 2.0]), "y": np.array([3.0, 4.0])}
    model2utts = {"m1": ["x", "y"], "m2": ["y"], "m3": ["z"]}
    vectors, members, missing = load_models(trial_list(), model2utts, reader, "scp")
    assert missing == [] and [vectors[rows].tolist() for rows in members[:2]] == [[[1, 2], [3, 4]], [[3, 4]]]


def test_missing_embeddings(capsys):
    trials = trial_list()
    vectors, members, missing = load_models(
        trials, {"m1": ["x", "q"], "m2": ["y"], "m3": ["x"]}, {"x": np.ones(2), "y": np.ones(2)}, "scp"
    )
    tests, absent = load_tests(trials, {"a": np.ones(2)}, "scp")
    assert missing == [0] and absent == [1] and tests.tolist() == [[1, 1], [0, 0]]
    with pytest.raises(InputError, match=r"3 of 4 trials without an embedding: 2 ids \(first: m1, b\)"):
        check_missing(trials, missing, absent, 0.7, "scp")
    mask = check_missing(trials, missing, absent, 0.75, "scp")
    assert mask.tolist() == [True, False, True, True] and "done 1 of 4 trials, 3 failed" in capsys.readouterr().out
    scores = score_list(trials, scoring.dot_scorer(np.arange(6.0).reshape(3, 2), tests), mask)
    assert scores.tolist() == [5.0, 5.0, 5.0, 5.0]  # the only score there is, and the lowest


def test_scores_that_are_not_finite_name_the_trial():
    scorer = scoring.dot_scorer(np.array([[1.0], [np.inf], [1.0]]), np.array([[1.0], [0.5]]))
    with pytest.raises(InputError, match="m2 a: found 2 that are not finite"):
        score_list(trial_list(), scorer, np.zeros(4, bool))


def test_written_scores_give_the_same_numbers_back(tmp_path):
    values = np.array([1 / 3, -1e-20, 123456.79, 0.1], np.float32)
    write_scores(tmp_path / "s", trial_list(), values, {})
    lines = [line.split() for line in (tmp_path / "s").read_text().splitlines()]
    assert [line[:2] for line in lines] == [["m1", "a"], ["m2", "a"], ["m1", "b"], ["m2", "b"]]
    assert np.array_equal(np.array([line[2] for line in lines]).astype(np.float32), values) and lines[3][2] == "0.1"
    assert np.array_equal(np.load(tmp_path / "s.f32.npy"), values)
