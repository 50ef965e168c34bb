"""Predicted effects where other causes compete: those of a world with them, found, and equal to others without them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

import learner_gates as gates
from stratiome.survival.cox import CoxModel, with_baseline
from stratiome.treatment.arm_models import fit_arm_cox, forest_effects, interaction_effects
from stratiome.treatment.doubly_robust import cross_fit, fit_nuisance, influence
from stratiome.treatment.incidence import mean_free
from stratiome.treatment.learners import COMBINED, CONSTANT, LEARNERS, Training, learn_effects
from stratiome.treatment.standardise import arm_months

COLUMNS = 10


def learn(made, new, **changes):
    training = Training(made.confounders, made.x, replace(made.sample, **changes))
    return learn_effects(training, new, gates.TAU, seed=1)


@pytest.fixture(scope="module")
def cohorts():
    """Training and new patients."""
    return gates.draw_rivals([1, 7], 1000, COLUMNS), gates.draw_rivals([2, 7], 1000, COLUMNS)


def test_the_simulator_has_the_truth_that_it_tells():
    """Patients of each arm lose what the closed form says, as their doubly robust contributions have it."""
    hazard, rival = np.array([0.05]), np.array([0.03])
    grid = np.linspace(0, gates.TAU, 20_001)
    incidence = 0.05 / 0.08 * -np.expm1(-0.08 * grid)
    assert gates.lost_to_event(hazard, rival)[0] == pytest.approx(np.trapezoid(incidence, grid), abs=1e-6)
    made = gates.draw_rivals([3, 7], 8000, COLUMNS)
    assert 0.2 < made.sample.other.mean() < 0.5
    assert not (made.sample.other & made.sample.event).any()
    scores = cross_fit(made.x, made.sample, np.zeros(0), gates.TAU, folds=2, rng=np.random.default_rng(5))
    contrast = scores.contrasts[:, 0]
    off = contrast - made.truth
    for rows in (made.x[:, 1] < 0, made.x[:, 1] >= 0):
        assert abs(off[rows].mean()) < 4 * off[rows].std() / np.sqrt(rows.sum())
    assert made.truth[made.x[:, 1] < 0].mean() > made.truth[made.x[:, 1] >= 0].mean() + 1


def test_mean_times_are_those_of_the_scores_and_areas():
    made = gates.draw_rivals([4, 7], 400, 3)
    nuisance = fit_nuisance(made.x, made.sample)
    scores = influence(nuisance, made.x, made.sample, np.linspace(0, gates.TAU, 4001), gates.TAU)
    months = arm_months(made.x, made.sample, made.x, gates.TAU)
    np.testing.assert_allclose(months, scores.predicted_restricted, atol=1e-9)
    area = np.trapezoid(scores.predicted_survival, dx=gates.TAU / 4000, axis=-1)
    np.testing.assert_allclose(months, area, atol=0.02)
    for model in nuisance.survival:
        nobody = with_baseline(made.x, made.sample.time, np.zeros(400, dtype=bool), np.zeros(3))
        alone = mean_free(model, None, made.x, gates.TAU)
        np.testing.assert_allclose(mean_free(model, nobody, made.x, gates.TAU), alone, atol=1e-9)
        np.testing.assert_allclose(alone, model.restricted_mean(made.x, gates.TAU), atol=1e-12)


def test_mean_times_of_constant_hazards_in_closed_form():
    steps = np.arange(0.01, gates.TAU + 1, 0.01)
    models = [CoxModel(np.ones(1), np.zeros(1), steps, rate * steps) for rate in (0.05, 0.02)]
    x = np.array([[-0.5], [0.0], [0.7]])
    hazard = np.exp(x[:, 0])
    expected = gates.TAU - gates.lost_to_event(0.05 * hazard, 0.02 * hazard)
    np.testing.assert_allclose(mean_free(*models, x, gates.TAU), expected, atol=0.01)


def test_differences_by_other_causes_are_found_and_taking_them_for_censorings_is_seen(cohorts):
    """The mutant tells of a world without other causes: its effects are too large, and miss who has little to gain."""
    train, test = cohorts
    found, mutant = learn(train, test.x), learn(train, test.x, other=None).predicted
    assert set(found.predicted) == {CONSTANT, *LEARNERS, COMBINED}
    base = gates.measures(test.truth, found.predicted[CONSTANT])[0]
    error, slope = gates.measures(test.truth, found.predicted[COMBINED])
    assert error < base
    assert slope > 0.5
    for learner in ("cox", "interactions", "forest"):
        ours, wrong = (np.corrcoef(p[learner], test.truth)[0, 1] for p in (found.predicted, mutant))
        assert ours > wrong + 0.1, learner
    assert gates.measures(test.truth, mutant[COMBINED])[0] > 1.2 * base
    assert mutant[COMBINED].mean() > test.truth.mean() + 1
    moved = mutant[COMBINED] - mutant[COMBINED].mean() - (test.truth - test.truth.mean())
    assert np.sqrt(np.mean(moved**2)) > 0.9 * test.truth.std()  # not by its level alone


def test_without_other_causes_all_is_as_without_competing_risks():
    made = gates.draw_rivals([5, 7], 300, 6, "none")
    assert not made.sample.other.any()
    new = gates.draw_rivals([6, 7], 50, 6).x
    alone = replace(made.sample, other=None)
    two, one = (fit_arm_cox(made.x, s, np.random.default_rng(1)).effect(new, gates.TAU) for s in (made.sample, alone))
    np.testing.assert_allclose(two, one, atol=1e-9)
    two, one = (interaction_effects(made.x, s, new, gates.TAU, np.random.default_rng(1)) for s in (made.sample, alone))
    np.testing.assert_allclose(two, one, atol=1e-9)
    two, one = (forest_effects(made.x, s, new, gates.TAU, 1) for s in (made.sample, alone))
    np.testing.assert_allclose(two, one, atol=1e-9)
    np.testing.assert_allclose(*(arm_months(made.x, s, new, gates.TAU) for s in (made.sample, alone)), atol=1e-9)
    with_none, without = learn(made, new), learn(made, new, other=None)
    assert with_none.reasons == without.reasons
    for name, values in without.predicted.items():
        np.testing.assert_allclose(with_none.predicted[name], values, atol=1e-6, err_msg=name)


def test_few_failures_of_other_causes_and_many_columns():
    few = gates.draw_rivals([8, 7], 220, 5)
    first = np.flatnonzero(few.sample.other & few.sample.treated)[0]
    other = np.arange(220) == first  # the others are censored
    many = gates.draw_rivals([8, 7], 220, 230)
    for found in (learn(few, few.x[:20], other=other), learn(many, many.x[:20])):
        assert found.reasons == {}
        assert all(np.isfinite(v).all() for v in found.predicted.values())
