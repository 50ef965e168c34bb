"""Models applied to another cohort: updates on known truth, what has seen whom, and subgroups that are found again."""

import numpy as np
import pytest

from stratiome.audit import transport
from stratiome.prognosis.evaluate import Predictions, Problem

HORIZON = 60.0
GRID = np.linspace(0.0, HORIZON, 61)


def cohort(n, hazard, seed):
    """Exponential survival with the given hazards, censored uniformly up to twice the horizon."""
    rng = np.random.default_rng(seed)
    death, censored = rng.exponential(1.0 / hazard, n), rng.uniform(1.0, 2.0 * HORIZON, n)
    return np.minimum(death, censored), death <= censored


def test_hazard_ratio_is_observed_over_expected_by_hand():
    time, event = np.array([10.0, 20.0, 90.0, 70.0]), np.array([True, False, True, False])
    survival = np.exp(-0.01 * np.tile(GRID, (4, 1)))
    change = transport.baseline(time, event, survival, GRID)
    ratio = 1 / (0.01 * (10 + 20 + 60 + 60))  # the death at 90 months is after the horizon
    assert np.allclose(change(survival), survival**ratio)


def test_hazard_ratio_finds_the_planted_one_whatever_the_slope():
    x = np.random.default_rng(1).normal(size=4000)
    true = 0.004 * np.exp(0.8 * x)
    time, event = cohort(len(x), 1.7 * true, 2)
    survival = np.exp(-np.outer(true, GRID))
    assert transport.hazard_ratio(time, event, survival, GRID) == pytest.approx(1.7, rel=0.05)


def test_slope_and_baseline_mend_predictions_that_are_too_extreme_and_too_high():
    x = np.random.default_rng(3).normal(size=4000)
    time, event = cohort(len(x), 0.004 * np.exp(0.5 * x), 4)
    wrong = np.exp(-np.outer(0.02 * np.exp(1.0 * x), GRID))
    right = np.exp(-np.outer(0.004 * np.exp(0.5 * x), GRID))
    mended = transport.slope_and_baseline(time, event, wrong, GRID)(wrong)
    assert np.abs(mended[:, -1] - right[:, -1]).mean() < 0.02
    ratio_alone = transport.baseline(time, event, wrong, GRID)(wrong)
    assert np.abs(ratio_alone[:, -1] - right[:, -1]).mean() > 0.04  # one parameter cannot mend the slope


def test_the_same_prediction_for_all_becomes_kaplan_meier():
    time, event = np.array([10.0, 20.0, 30.0, 70.0]), np.array([True, True, False, False])
    flat = np.tile(np.exp(-0.01 * GRID), (4, 1))
    assert np.allclose(transport.slope_and_baseline(time, event, flat, GRID)(flat)[:, -1], 0.5)


@pytest.mark.parametrize("update", transport.UPDATES)
def test_nobody_is_judged_by_an_update_that_saw_them(update):
    x = np.random.default_rng(5).normal(size=60)
    time, event = cohort(len(x), 0.01 * np.exp(x), 6)
    curves = np.exp(-np.outer(0.005 * np.exp(0.5 * x), GRID))
    rows, fold = np.arange(len(x)), np.zeros(len(x), dtype=int)

    def made(times):
        problem = Problem(times, event, GRID, (HORIZON,), HORIZON)
        given = Predictions(rows, fold, ("external",), {"m": x}, {"m": curves})
        return transport.updated(problem, given, update, 1, seed=7).repeats[0]

    patient = int(np.flatnonzero(event & (time < HORIZON - 20))[0])
    later = time.copy()
    later[patient] += 15.0
    before, after = made(time), made(later)
    assert np.array_equal(before.fold, after.fold)
    same = before.fold == before.fold[patient]
    assert np.array_equal(before.survival["m"][same], after.survival["m"][same])
    assert not np.allclose(before.survival["m"][~same], after.survival["m"][~same])


def _problem(time, event):
    return Problem(time, event, GRID, (HORIZON,), HORIZON)


def _found(rows, update, metric):
    return next(e for name, e in rows if name == update and e.metric == metric and e.versus is None)


def test_an_update_mends_calibration_and_leaves_the_order():
    x = np.random.default_rng(8).normal(size=3000)
    time, event = cohort(len(x), 0.004 * np.exp(0.5 * x), 9)
    wrong = np.exp(-np.outer(0.02 * np.exp(1.0 * x), GRID))
    given = Predictions(np.arange(len(x)), np.zeros(len(x), dtype=int), ("external",), {"clinical": x},
                        {"clinical": wrong})  # fmt: skip
    rows = transport.evaluate_external(_problem(time, event), given, bootstraps=50, level=0.95, seed=1, halvings=2)
    slopes = [_found(rows, update, "calibration_slope").estimate for update in (transport.AS_IS, *transport.UPDATES)]
    ratios = [_found(rows, update, "observed_expected").estimate for update in (transport.AS_IS, *transport.UPDATES)]
    assert slopes[0] < 0.6
    assert slopes[2] == pytest.approx(1.0, abs=0.15)
    assert ratios[0] < 0.6
    assert ratios[2] == pytest.approx(1.0, abs=0.05)
    order = [_found(rows, update, "uno_c").estimate for update in (transport.AS_IS, transport.BASELINE)]
    assert order[0] == pytest.approx(order[1], abs=1e-3)


def test_with_other_causes_models_are_judged_as_they_are_alone():
    x = np.random.default_rng(8).normal(size=300)
    time, event = cohort(len(x), 0.01 * np.exp(0.5 * x), 9)
    other = ~event & (np.arange(len(x)) % 2 == 0)
    curves = np.exp(-np.outer(0.01 * np.exp(0.5 * x), GRID))
    given = Predictions(np.arange(len(x)), np.zeros(len(x), dtype=int), ("external",), {"m": x}, {"m": curves})
    problem = Problem(time, event, GRID, (HORIZON,), HORIZON, other)
    rows = transport.evaluate_external(problem, given, bootstraps=50, level=0.95, seed=1)
    assert {name for name, _ in rows} == {transport.AS_IS}


def test_curves_between_their_times_are_linear():
    curves = np.array([[1.0, 0.8, 0.4]])
    found = transport.on_grid(curves, np.array([0.0, 10.0, 20.0]), np.array([0.0, 5.0, 10.0, 15.0, 20.0]))
    np.testing.assert_allclose(found, [[1.0, 0.9, 0.8, 0.6, 0.4]])


def test_in_group_proportion_by_hand():
    places = np.array([[0.0], [1.0], [10.0], [10.5], [11.5]])
    group = np.array([1, 1, 2, 2, 1])
    assert transport.in_group_proportion(places, group) == {1: pytest.approx(2 / 3), 2: 1.0}


def _sides(places):
    """Two groups by the first coordinate, with the probabilities of two normal distributions at -3 and 3."""
    one = 1 / (1 + np.exp(-6 * places[:, 0]))
    return np.column_stack([1 - one, one])


def test_groups_that_are_there_are_told_from_one_cloud_that_is_cut():
    rng = np.random.default_rng(3)
    apart = rng.normal(size=(160, 3))
    apart[:, 0] += np.where(np.arange(160) < 80, -3, 3)
    found = transport.sharpness_test(apart, _sides, 99, rng)
    assert max(p for _, p in found.values()) <= 0.02
    null = []
    for _ in range(150):
        cloud = rng.normal(size=(80, 3)) * [3.2, 1, 1]
        null += [p for _, p in transport.sharpness_test(cloud, _sides, 39, rng).values()]
    assert 0.01 < np.mean(np.array(null) <= 0.05) < 0.11
    # Neighbours on the same side prove nothing: a cut through one cloud has them too.
    cloud = rng.normal(size=(80, 3)) * [3.2, 1, 1]
    assert min(transport.in_group_proportion(cloud, _sides(cloud).argmax(axis=1)).values()) > 0.9


def _wrong_sign(n, seed):
    """Patients whose second column matters here, by a model that knows the first one only."""
    x = np.random.default_rng(seed).normal(size=(n, 2))
    time, event = cohort(n, 0.006 * np.exp(0.3 * x[:, 0] + 1.0 * x[:, 1]), seed + 1)
    curves = np.exp(-np.outer(0.006 * np.exp(0.3 * x[:, 0]), GRID))
    given = Predictions(
        np.arange(n), np.zeros(n, dtype=int), ("external",), {"clinical": 0.3 * x[:, 0]}, {"clinical": curves}
    )
    return Problem(time, event, GRID, (HORIZON,), HORIZON), given, x


def test_a_refit_finds_what_the_bundle_did_not_know():
    problem, given, x = _wrong_sign(1200, 21)
    found = transport.evaluate_external(problem, given, bootstraps=50, level=0.95, seed=1, halvings=2, columns=x)
    c = {update: e.estimate for update, e in found if e.metric == "uno_c" and e.versus is None}
    slope = {update: e.estimate for update, e in found if e.metric == "calibration_slope"}
    assert c["refit"] > c["as is"] + 0.1
    assert 0.85 < slope["refit"] < 1.15
    assert set(c) == {"as is", "baseline", "slope and baseline", "refit"}


def test_nobody_is_judged_by_a_refit_that_saw_them():
    problem, given, x = _wrong_sign(200, 22)
    patient = int(np.flatnonzero(problem.event & (problem.time < HORIZON - 20))[0])
    later = problem.time.copy()
    later[patient] += 15.0
    before, after = (
        transport.refitted(_problem(time, problem.event), given, x, 1, 3).repeats[0] for time in (problem.time, later)
    )
    assert np.array_equal(before.fold, after.fold)
    same = before.fold == before.fold[patient]
    assert np.array_equal(before.survival["clinical"][same], after.survival["clinical"][same])
    assert not np.allclose(before.survival["clinical"][~same], after.survival["clinical"][~same])


def test_a_refit_is_not_pulled_by_what_comes_after_the_horizon():
    n = 1200
    x = np.random.default_rng(24).normal(size=(n, 2))
    rng = np.random.default_rng(25)
    early = rng.exponential(1.0 / (0.004 * np.exp(0.8 * x[:, 0])))
    late = HORIZON + rng.exponential(1.0 / (0.03 * np.exp(-1.5 * x[:, 0])))  # who lived long with x dies last
    death, end = np.where(early <= HORIZON, early, late), rng.uniform(200.0, 300.0, n)
    problem = _problem(np.minimum(death, end), death <= end)
    _, given, _ = _wrong_sign(n, 26)
    found = transport.evaluate_external(problem, given, bootstraps=50, level=0.95, seed=1, halvings=2, columns=x)
    (c,) = [e.estimate for update, e in found if (update, e.metric, e.versus) == ("refit", "uno_c", None)]
    (slope,) = [e.estimate for update, e in found if (update, e.metric) == ("refit", "calibration_slope")]
    assert c > 0.65
    assert 0.8 < slope < 1.2


def test_columns_that_say_nothing_give_no_refit():
    problem, given, x = _wrong_sign(100, 23)
    assert transport.refitted(problem, given, np.zeros_like(x), 1, 1) is None
