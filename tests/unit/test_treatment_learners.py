"""Predicted effects of single patients: planted ones found, none made up, nothing learned from held-out patients."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import learner_gates as gates
from stratiome.treatment.doubly_robust import cross_fit
from stratiome.treatment.final_stage import Uncensored
from stratiome.treatment.learners import COMBINED, CONSTANT, LEARNERS, MIN_EVENTS, Training, _nuisance, learn_effects
from stratiome.treatment.stack import stack


def learn(process, seed, n=500, p=10, new=None):
    train = gates.draw(process, [seed, n, p], n, p, randomised=True)
    new = train.x if new is None else new
    return learn_effects(Training(np.zeros((n, 0)), train.x, train.sample), new, gates.TAU, seed=seed)


@pytest.mark.parametrize("process", gates.PROCESSES)
@pytest.mark.parametrize("randomised", [True, False])
def test_simulators_give_the_survival_that_their_truth_is_made_of(process, randomised):
    """By weights of the censoring-free mean: patients drawn without loss live as long as the truth says."""
    made = gates.draw(process, [1, 2], 40_000, 8, randomised=randomised)
    assert 0.4 < made.sample.treated.mean() < 0.6
    kept = 0.1 < (~made.sample.event & (made.sample.time < gates.TAU)).mean() < 0.45
    assert kept
    small = gates.draw(process, [3, 4], 6000, 8, randomised=randomised)
    scores = cross_fit(
        small.confounders, small.sample, np.zeros(0), gates.TAU, folds=3, rng=np.random.default_rng(5)
    ).contrasts[:, 0]
    error = scores.std() / np.sqrt(len(scores))
    assert scores.mean() == pytest.approx(small.truth.mean(), abs=4 * error)


def test_planted_differences_are_found():
    test = gates.draw("linear", [9, 9], 1000, 10, randomised=True)
    found = learn("linear", 11, n=1000, new=test.x)
    assert set(found.predicted) == {CONSTANT, *LEARNERS, COMBINED}
    base = gates.measures(test.truth, found.predicted[CONSTANT])[0]
    error, slope = gates.measures(test.truth, found.predicted[COMBINED])
    assert error < 0.75 * base
    assert 0.6 < slope < 1.6


def test_where_nobody_differs_the_combination_falls_back_to_the_average():
    """A survival forest of each arm (a mutant of this rule) spreads by more than a fifth of the average effect."""
    for seed in (21, 22, 23):
        found = learn("same", seed).predicted
        average = abs(found[CONSTANT][0])
        assert found[COMBINED].std() < 0.2 * average
        assert found["forest"].std() > 0.2 * average


def test_weights_are_right_with_evidence_and_small_without():
    rng = np.random.default_rng(1)
    fold, effect = rng.integers(0, 5, 2000), rng.normal(size=2000)
    contrast = 3.0 + effect + 4.0 * rng.normal(size=2000)
    noise = rng.normal(size=2000)
    found = stack(contrast, np.column_stack([0.5 * effect + fold, noise]), fold)  # half as wide, levels by fold
    assert found[0] == pytest.approx(2.0, abs=0.5)
    assert found[1] < 0.3
    shrunk, free = [], []
    for _ in range(300):  # learners that tell nothing: without the ridge (a mutant) they spread twice as far or more
        null, z = rng.normal(size=400), 0.03 * rng.normal(size=(400, 3))
        shrunk.append((z @ stack(null, z, fold[:400])).std())
        free.append((z @ stack(null, z, fold[:400], spread=1e6)).std())
    assert np.mean(shrunk) < 0.5 * np.mean(free)
    assert not stack(contrast, np.zeros((2000, 2)), fold).any()
    assert not stack(np.ones(2000), noise[:, None], fold).any()


def test_one_weight_is_the_posterior_mode_in_closed_form():
    rng = np.random.default_rng(2)
    fold, z = np.repeat([0, 1], 100), rng.normal(size=(200, 1))
    for slope in (0.4, -0.4):
        y = slope * z[:, 0] + rng.normal(size=200)
        own, other = (v - np.repeat([v[:100].mean(), v[100:].mean()], 100) for v in (y, z[:, 0]))
        expected = max(0.0, own @ other / (other @ other + own.var() / 0.3**2))
        assert stack(y, z, fold, spread=0.3)[0] == pytest.approx(expected, abs=1e-9)


def test_the_outcome_given_to_econml_is_that_of_the_scores():
    made = gates.draw("linear", [6, 6], 600, 6, randomised=False)
    scores = cross_fit(made.confounders, made.sample, np.zeros(0), gates.TAU, folds=3, rng=np.random.default_rng(1))
    data, a = Uncensored.of(scores, made.sample.treated), made.sample.treated
    of_arm = np.where(a, data.propensity, 1 - data.propensity)
    own = data.restricted[a.astype(int), np.arange(600)]
    again = data.restricted[1] - data.restricted[0] + np.where(a, 1, -1) * (data.outcome - own) / of_arm
    np.testing.assert_allclose(again, scores.contrasts[:, 0], atol=1e-9)


def test_the_same_seed_gives_the_same_and_new_patients_do_not_matter_to_each_other():
    train = gates.draw("curved", [7, 7], 300, 6, randomised=True)
    data = Training(np.zeros((300, 0)), train.x, train.sample)
    new = gates.draw("curved", [8, 8], 50, 6, randomised=True).x
    first, again = (learn_effects(data, new, gates.TAU, seed=3).predicted for _ in range(2))
    alone = learn_effects(data, new[:10], gates.TAU, seed=3).predicted
    for name, values in first.items():
        np.testing.assert_array_equal(values, again[name])
        np.testing.assert_allclose(values[:10], alone[name], atol=1e-9)


def test_more_columns_than_patients_and_few_events():
    train = gates.draw("linear", [5, 5], 220, 260, randomised=True)
    data = Training(np.zeros((220, 0)), train.x, train.sample)
    found = learn_effects(data, train.x[:20], gates.TAU, seed=1)
    assert all(np.isfinite(v).all() for v in found.predicted.values())
    events = np.flatnonzero(train.sample.event & train.sample.treated)[MIN_EVENTS - 1 :]
    event = train.sample.event.copy()
    event[events] = False
    few = learn_effects(replace(data, sample=replace(train.sample, event=event)), train.x[:20], gates.TAU, seed=1)
    assert set(few.predicted) == {CONSTANT, COMBINED}
    assert np.ptp(few.predicted[COMBINED]) == 0.0
    assert few.reasons["dr"] == f"fewer than {MIN_EVENTS} events in an arm"


def test_a_flag_that_separates_arms_by_chance_moves_no_propensity_in_a_trial():
    """Of a randomised design the learners know the share treated; of others they learn the propensity."""

    made = gates.draw("linear", [3, 300, 10, 1], 300, 10, randomised=True)
    flag = np.zeros(300)
    flag[np.flatnonzero(made.sample.treated)[:5]] = 1.0
    confounders = np.column_stack([made.confounders, flag])
    trial = replace(made.sample, randomised=True)
    share = float(trial.treated.mean())
    for sample, known in ((trial, True), (replace(trial, randomised=False), False)):
        nuisance, _ = _nuisance(Training(confounders, made.x, sample), np.random.default_rng(1))
        assert np.allclose(nuisance.propensity(confounders), share) is known
