"""Calibration and fusion: the minimum of a convex function, known parameters recovered, disjoint halves, bad inputs."""

import numpy as np
import pytest
from scipy.optimize import minimize

from pyasp.backend import calibration
from pyasp.backend.calibration import Calibration
from pyasp.core.errors import InputError
from pyasp.evaluation import llr, metrics


def gaussian_scores(seed, targets=4000, nontargets=12000, d=2.0):
    """Scores whose log-likelihood ratio is 0.5 s - 1: the true ratio d x - d^2 / 2, moved and stretched."""
    generator = np.random.default_rng(seed)
    x = np.concatenate([generator.normal(d, 1, targets), generator.normal(0, 1, nontargets)])
    return ((d * x - d * d / 2) + 1.0) / 0.5, np.arange(targets + nontargets) < targets


@pytest.mark.parametrize("prior", [0.5, 0.1, 0.01])
def test_known_parameters_are_recovered_at_any_prior(prior):
    scores, target = gaussian_scores(1, 40_000, 120_000)
    model = calibration.train(scores[:, None], target, ("s",), prior)
    assert model.weights[0] == pytest.approx(0.5, abs=0.03) and model.offset == pytest.approx(-1.0, abs=0.1)


def test_the_error_falls_as_the_trials_grow():
    def error(size):
        found = [calibration.train(*_columns(gaussian_scores(seed, size, 3 * size)), ("s",)) for seed in range(5)]
        return np.mean([abs(model.weights[0] - 0.5) + abs(model.offset + 1) for model in found])

    assert error(20_000) < 0.5 * error(500)


def _columns(pair):
    return pair[0][:, None], pair[1]


@pytest.mark.parametrize("prior", [0.5, 0.05])
def test_the_minimum_is_that_of_a_general_optimiser(prior):
    generator = np.random.default_rng(3)
    target = generator.random(500) < 0.3
    inputs = generator.normal(size=(500, 3)) * [1, 10, 0.1] + target[:, None] * [1.0, 8.0, 0.02] + [0, 100, 5]
    model = calibration.train(inputs, target, ("a", "b", "c"), prior)

    def cost(w):  # J, and a tenth of a trial's worth of ridge on the weights of standardised columns
        ridge = 2 * min(prior, 1 - prior) * 0.1 / target.sum()
        return calibration.objective(inputs @ w[:3] + w[3], target, prior) + ridge / 2 * np.sum(
            (w[:3] * inputs.std(axis=0)) ** 2
        )

    start = np.append(model.weights, model.offset) + generator.normal(size=4) * 0.01
    assert cost(np.append(model.weights, model.offset)) <= minimize(cost, start, method="BFGS").fun + 1e-9


def test_calibrated_scores_cost_nearly_the_minimum_on_other_trials():
    model = calibration.train(*_columns(gaussian_scores(4)), ("s",))
    scores, target = gaussian_scores(5)
    t, u = metrics.split(model.apply(scores[:, None]), target)
    counts = metrics.error_counts(t, u)
    assert llr.cllr(t, u) < 1.05 * llr.min_cllr(counts) and llr.cllr(
        *metrics.split(scores, target)
    ) > 1.3 * llr.min_cllr(counts)
    for p in (0.5, 0.1):
        assert llr.actual_dcf(t, u, p) < 1.1 * metrics.min_dcf(counts, p)[0]


def test_at_prior_one_half_the_objective_is_cllr():
    scores, target = gaussian_scores(6, 50, 80)
    assert calibration.objective(scores, target, 0.5) / np.log(2) == pytest.approx(
        llr.cllr(scores[target], scores[~target])
    )


def test_fusion_is_better_than_either_and_a_useless_system_gets_no_weight():
    generator = np.random.default_rng(7)
    target = generator.random(20_000) < 0.25
    a, b = (generator.normal(size=20_000) + 2 * target for _ in range(2))
    model = calibration.train(np.column_stack([a, b, generator.normal(size=20_000)]), target, ("a", "b", "noise"))
    fused = model.apply(np.column_stack([a, b, np.zeros(20_000)]))
    eers = [metrics.eer_kaldi(*metrics.split(each, target))[0] for each in (a, b, fused)]
    assert eers[2] < 0.75 * min(eers[:2]) and abs(model.weights[2]) < 0.1
    assert model.weights[:2] == pytest.approx([2.0, 2.0], abs=0.2)


def test_a_quality_measure_moves_the_offset():
    """Long trials have larger ratios: the duration's weight takes up a shift that grows with it."""
    generator = np.random.default_rng(80)
    scores, target = gaussian_scores(8, 20_000, 60_000)
    duration = generator.normal(size=scores.size)
    model = calibration.train(np.column_stack([scores - 3 * duration, duration]), target, ("s", "log seconds"))
    assert model.weights == pytest.approx([0.5, 1.5], abs=0.1)


def test_separated_classes_give_finite_weights_and_constant_columns_none():
    inputs = np.column_stack([[1.0, 2, 3, 4], [7.0, 7, 7, 7]])
    model = calibration.train(inputs, np.array([False, False, True, True]), ("s", "constant"))
    assert np.isfinite(model.weights).all() and model.weights[0] > 1 and model.weights[1] == 0
    assert np.all((model.apply(inputs) > 0) == [False, False, True, True])


def mean_cllr(targets, nontargets, ridge, monkeypatch, draws=20):
    """Mean Cllr, on many other trials, of calibrations trained on few."""
    monkeypatch.setattr(calibration, "RIDGE", ridge)
    scores, target = gaussian_scores(90, 4000, 12000, 3.0)
    found = []
    for seed in range(draws):
        model = calibration.train(*_columns(gaussian_scores(seed, targets, nontargets, 3.0)), ("s",))
        found.append(llr.cllr(*metrics.split(model.apply(scores[:, None]), target)))
    return np.mean(found)


@pytest.mark.parametrize("targets, most", [(3, 0.40), (10, 0.28), (100, 0.25)])
def test_a_calibration_from_few_trials_is_still_one(targets, most, monkeypatch):
    """0.24 is possible; without the ridge (1e-6) three target trials give 2.1 and ten 0.31."""
    with_ridge = mean_cllr(targets, 30 * targets, calibration.RIDGE, monkeypatch)
    assert with_ridge < most and with_ridge <= mean_cllr(targets, 30 * targets, 1e-6, monkeypatch) + 1e-3


def test_what_it_was_trained_on_and_what_that_is_worth():
    scores, target = gaussian_scores(2, 3, 200)
    sides = np.arange(203) % 7, np.arange(203) % 5
    model = calibration.train(scores[:, None], target, ("s",), 0.5, sides)
    stored = model.as_dict()
    assert {key: stored[key] for key in ("n_target", "n_nontarget", "speakers")} == {
        "n_target": 3,
        "n_nontarget": 200,
        "speakers": 7,
    }
    assert stored["doubts"][:2] == ["3 target trials, fewer than 30", "7 speakers, fewer than 10"]
    assert Calibration.from_dict(stored).trained == model.trained
    assert calibration.trained_on({"n_target": 3, "n_nontarget": 200}) == calibration.Trained(3, 200)
    assert calibration.trained_on({}) is None
    assert "3 target and 200 nontarget trials of 7 speakers; a ratio below -1.1 or above +5.3" in model.trained.told()
    many = calibration.train(*_columns(gaussian_scores(2, 300, 900)), ("s",), 0.5, (np.arange(1200),) * 2)
    assert many.as_dict()["doubts"] == []


def test_separable_classes_are_told():
    scores = np.concatenate([np.linspace(5, 9, 40), np.linspace(-9, -5, 60)])
    model = calibration.train(scores[:, None], np.arange(100) < 40, ("s",))
    assert model.trained.separable and "without an error" in model.trained.doubts()[0]
    assert np.abs(model.apply(scores[:, None])).max() < 15  # no ratio of a million from a hundred trials


def test_halves_do_not_see_each_other():
    generator = np.random.default_rng(9)
    half = generator.integers(0, 2, 4000), generator.integers(0, 2, 4000)
    target = (half[0] == half[1]) & (generator.random(4000) < 0.4)
    scores = generator.normal(size=4000) + 2 * target + 5 * (half[0] == 1)
    found, models = calibration.train_halves(scores[:, None], target, half, ("s",), 0.5)
    inside = (half[0] == 0) & (half[1] == 0)
    assert [model.trained.speakers for model in models] == [0, 0]
    other = calibration.train(
        scores[(half[0] == 1) & (half[1] == 1), None], target[(half[0] == 1) & (half[1] == 1)], ("s",)
    )
    assert np.allclose(found[inside], other.apply(scores[inside, None]))
    mixed = half[0] != half[1]
    assert np.allclose(found[mixed], np.mean([model.apply(scores[mixed, None]) for model in models], axis=0))


def test_stored_and_read_again():
    model = Calibration(("a", "b"), np.array([0.1, -2.0]), 0.5, 0.1)
    again = Calibration.from_dict(model.as_dict())
    assert again.names == model.names and again.apply(np.eye(2)).tolist() == model.apply(np.eye(2)).tolist()


@pytest.mark.parametrize(
    "inputs, target, prior, message",
    [
        ([[1.0], [2.0]], [True, True], 0.5, "0 nontarget"),
        ([[1.0], [np.inf]], [True, False], 0.5, "not finite"),
        ([[1.0], [2.0]], [True, False], 1.0, "between 0 and 1"),
    ],
)
def test_bad_inputs(inputs, target, prior, message):
    with pytest.raises(InputError, match=message):
        calibration.train(np.array(inputs), np.array(target), ("s",), prior)


def test_inputs_of_another_number():
    with pytest.raises(InputError, match="2 inputs; expected 1: a"):
        Calibration(("a",), np.ones(1), 0.0, 0.5).apply(np.ones((3, 2)))
