"""Pseudo-values, smooth calibration, D-calibration and the distribution of risks."""

import dataclasses

import numpy as np
import pytest
from scipy.optimize import least_squares
from scipy.stats import kstest

from stratiome.prognosis import calibration_curve as smooth
from stratiome.prognosis.calibration_summary import SUMMARIES, calibrate
from stratiome.prognosis.d_calibration import contributions, d_calibration
from stratiome.prognosis.evaluate import Predictions, Problem
from stratiome.prognosis.risk_distribution import OUTCOMES, risk_distribution
from stratiome.survival.censoring import survival_curve
from stratiome.survival.competing import aalen_johansen
from stratiome.survival.outcome import OutcomeError
from stratiome.survival.pseudo import pseudo_risks

HORIZON, TAU = 30.0, 60.0
GRID = np.linspace(0.0, TAU, 61)


def _cohort(seed: int, n: int, follow_up: float = 90.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    linear = rng.normal(scale=0.8, size=n)
    failed = 40 * (rng.exponential(size=n) / np.exp(linear)) ** (1 / 1.3)
    censored = follow_up * rng.exponential(size=n)
    return np.minimum(failed, censored), failed <= censored, linear


def _survival(linear: np.ndarray, times: np.ndarray | float) -> np.ndarray:
    return np.exp(-np.exp(linear) * (np.asarray(times) / 40) ** 1.3)


def _problem(seed: int, n: int, **curves: np.ndarray) -> tuple[Problem, Predictions]:
    time, event, linear = _cohort(seed, n)
    true = _survival(linear[:, None], GRID)
    every = {"kaplan_meier": np.tile(true.mean(axis=0), (n, 1)), "clinical": true, **curves}
    risk = dict.fromkeys(every, linear)
    predictions = Predictions(np.arange(n), np.arange(n) % 3, ("a", "b", "c"), risk, every)
    return Problem(time, event, GRID, (15.0, HORIZON), TAU), predictions


def _weights(n: int, draws: int, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=draws).astype(float)


# --- pseudo-values ---------------------------------------------------------------------------------------------------


def test_pseudo_values_without_censoring_are_the_outcome():
    time, _, _ = _cohort(1, 80)
    found = pseudo_risks(time, np.ones(80, dtype=bool), HORIZON)[0]
    np.testing.assert_allclose(found, time <= HORIZON, atol=1e-12)


def test_weighted_mean_of_pseudo_values_is_the_estimate_of_each_draw():
    time, event, _ = _cohort(2, 120)
    time, weights = np.ceil(time / 3), _weights(120, 7)
    cause = np.where(event, 1 + np.arange(120) % 2, 0)
    means = (pseudo_risks(time, event, 10.0, weights) * weights).sum(axis=1) / 120
    np.testing.assert_allclose(means, 1 - survival_curve(time, event, weights).at(10.0)[:, 0], atol=1e-12)
    found = pseudo_risks(time, cause == 1, 10.0, weights, competing=cause == 2)
    expected = aalen_johansen(time, cause, weights).at(10.0)[:, 0, 0]
    np.testing.assert_allclose((found * weights).sum(axis=1) / 120, expected, atol=1e-12)


def test_a_weight_is_as_many_patients():
    time, event, _ = _cohort(3, 60)
    weights = _weights(60, 1)[0]
    rows = np.repeat(np.arange(60), weights.astype(int))
    found = pseudo_risks(time, event, HORIZON, weights)[0][rows]
    np.testing.assert_allclose(found, pseudo_risks(time[rows], event[rows], HORIZON)[0], atol=1e-12)


def test_pseudo_values_end_with_the_follow_up_and_refuse_two_failures():
    time, event = np.array([5.0, 10.0, 12.0]), np.array([True, False, False])
    assert np.isnan(pseudo_risks(time, event, 20.0)).all()
    assert np.isfinite(pseudo_risks(time, event, 12.0)).all()
    np.testing.assert_allclose(pseudo_risks(time[:1], event[:1], 20.0), 1.0)
    with pytest.raises(OutcomeError, match="1 patients have the event and a competing one"):
        pseudo_risks(time, event, 6.0, competing=event)


# --- the curve -------------------------------------------------------------------------------------------------------


def test_spline_is_straight_beyond_its_knots_and_bends_within():
    risk = np.linspace(0.02, 0.95, 400)
    spline = smooth.Spline.make(risk, 500)
    x, basis = smooth.cloglog(risk), spline.basis(risk)
    assert basis.shape == (400, 4)
    for rows in (x < spline.knots[0], x > spline.knots[-1]):
        for column in basis[rows].T:
            fitted = np.polyval(np.polyfit(x[rows], column, 1), x[rows])
            np.testing.assert_allclose(column, fitted, atol=1e-10)
    assert np.abs(np.diff(basis[:, 2], 2)).max() > 1e-6
    assert smooth.Spline.make(risk, 50).basis(risk).shape == (400, 3)
    assert smooth.Spline.make(np.repeat([0.2, 0.4], 20), 50).basis(np.array([0.2])).shape == (1, 2)


def test_fit_is_least_squares_of_scipy_in_every_draw():
    time, event, linear = _cohort(4, 150)
    risk, weights = 1 - _survival(linear, HORIZON), _weights(150, 4)
    pseudo = pseudo_risks(time, event, HORIZON, weights)
    basis = smooth.Spline.make(risk, 60).basis(risk)
    found = smooth.risks(basis, smooth.fit(basis, pseudo, weights))
    for k in range(4):

        def apart(b: np.ndarray, k: int = k) -> np.ndarray:
            return np.sqrt(weights[k]) * (pseudo[k] + np.expm1(-np.exp(basis @ b)))

        best = least_squares(apart, np.array([0.0, 1.0, 0.0]), xtol=1e-14, ftol=1e-14, gtol=1e-14)
        np.testing.assert_allclose(found[k], -np.expm1(-np.exp(basis @ best.x)), atol=1e-4)
    assert np.isnan(smooth.fit(basis, pseudo * np.nan, weights)).all()


def test_agreement_is_that_of_repeated_patients():
    rng = np.random.default_rng(5)
    curve, risk, weights = rng.random((3, 40)), rng.random(40), _weights(40, 3)
    found = smooth.agreement(curve, risk, weights)
    for k in range(3):
        distance = np.abs(curve[k] - risk)[np.repeat(np.arange(40), weights[k].astype(int))]
        assert found.ici[k] == pytest.approx(distance.mean())
        for share, value in ((0.5, found.e50[k]), (0.9, found.e90[k])):
            assert value == np.quantile(distance, share, method="inverted_cdf")


def test_a_curve_follows_what_no_slope_can_show():
    """Risks right in the middle and too low at both ends: slope 1, intercept near 0, but the curve bends."""
    n = 20_000
    rng = np.random.default_rng(6)
    risk = rng.uniform(0.05, 0.6, n)
    true = risk + 1.2 * (risk - 0.325) ** 2 - 0.03
    time = np.where(rng.random(n) < true, HORIZON * rng.random(n), 2 * HORIZON)
    left = 100 * rng.exponential(size=n)
    pseudo = pseudo_risks(np.minimum(time, left), time <= np.minimum(left, HORIZON), HORIZON)
    basis = smooth.Spline.make(risk, 1000).basis(risk)
    curve = smooth.risks(basis, smooth.fit(basis, pseudo, np.ones((1, n))))[0]
    assert np.abs(curve - true).max() < 0.04
    assert np.abs(curve - true).mean() < 0.01


def test_intercept_is_that_of_poisson_regression_and_hazards_are_interpolated():
    time, event, linear = _cohort(7, 300)
    curves, until = _survival(linear[:, None], GRID), np.minimum(time, HORIZON)
    hazard = smooth.hazard_at(curves, GRID, until)
    np.testing.assert_allclose(hazard, np.exp(linear) * (until / 40) ** 1.3, atol=0.02)
    np.testing.assert_allclose(smooth.hazard_at(curves, GRID, np.full(300, 30.0)), -np.log(curves[:, 30]), atol=1e-12)
    failed, weights = event & (time <= HORIZON), _weights(300, 2)
    found = smooth.intercept(failed, hazard, weights)
    for k in range(2):
        score = weights[k] @ (failed - np.exp(found[k]) * hazard)  # of a Poisson regression with offset log hazard
        assert abs(score) < 1e-9
    assert np.isnan(smooth.intercept(np.zeros(300, dtype=bool), hazard, weights)).all()
    none = np.zeros((2, 5))  # predicted survival of zero
    assert np.isfinite(smooth.hazard_at(none, np.linspace(0, 4, 5), np.array([1.0, 9.0]))).all()


# --- D-calibration ---------------------------------------------------------------------------------------------------


def test_contributions_add_up_and_are_spread_over_what_is_left():
    edges = np.array([0.0, 0.2, 0.5, 1.0])
    parts = contributions(np.array([True, False, False, True]), np.array([0.5, 0.4, 1.0, 0.9]), edges)
    np.testing.assert_allclose(parts, [[0, 1, 0], [0.5, 0.5, 0], [0.2, 0.3, 0.5], [0, 0, 1]])


def test_p_values_of_the_true_model_are_uniform():
    found = []
    for seed in range(200):
        time, event, linear = _cohort(1000 + seed, 300, 45.0)
        found.append(d_calibration(time, event, _survival(linear, np.minimum(time, HORIZON)), HORIZON).p_value)
    assert kstest(found, "uniform").pvalue > 0.01


def test_without_censoring_it_is_a_chi_squared_test_of_counts():
    time, _, linear = _cohort(8, 1000, np.inf)
    every = np.ones(1000, dtype=bool)
    found = d_calibration(time, every, _survival(linear, time), np.inf)
    counts = np.histogram(_survival(linear, time), np.linspace(0, 1, 11))[0]
    assert (found.df, found.bins, found.spread) == (9, 10, 0.0)
    assert found.statistic == pytest.approx(np.sum((counts - 100) ** 2 / 100), rel=0.1)


def test_d_calibration_says_nothing_where_few_fail():
    time, event, linear = _cohort(9, 200)
    few = event & (np.cumsum(event) <= 15)
    found = d_calibration(time, few, _survival(linear, np.minimum(time, HORIZON)), HORIZON)
    assert (found.statistic, found.df, found.p_value) == (None, None, None)
    nobody = d_calibration(np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0), HORIZON)
    assert (nobody.statistic, nobody.spread) == (None, 1.0)


# --- all models ------------------------------------------------------------------------------------------------------

SETTINGS = {"by_site": False, "bootstraps": 60, "level": 0.95, "seed": 1}


def test_every_model_has_every_measure_or_a_reason():
    problem, predictions = _problem(10, 400)
    points, found = calibrate(problem, predictions, **SETTINGS)
    keys = [(m.model, m.metric, m.horizon) for m in found]
    wanted = [*((s, h) for h in problem.horizons for s in SUMMARIES), ("d_calibration", TAU)]
    assert keys == [(model, *key) for model in ("kaplan_meier", "clinical") for key in wanted]
    for m in found:
        assert (m.estimate is None) == m.method.startswith("not estimable: ")
        assert m.metric != "intercept" or m.lower <= m.estimate <= m.upper
        assert (m.p_value is None) == (m.df is None) == (m.metric != "d_calibration" or m.estimate is None)
        assert (m.chance is None) == (m.metric != "ici" or m.estimate is None)
    flat = [m for m in found if m.model == "kaplan_meier" and m.metric == "ici"]
    assert all("predictions do not differ within folds" in m.method for m in flat)
    assert {p.model for p in points} == {"clinical"}
    line = [p for p in points if p.horizon == HORIZON]
    risk = 1 - predictions.survival["clinical"][:, problem.column(HORIZON)]
    assert line[0].predicted >= np.quantile(risk, 0.01) - 1e-3
    assert line[-1].predicted <= np.quantile(risk, 0.99) + 1e-3
    assert all(p.lower <= p.observed <= p.upper for p in line)
    inside = [p.lower <= p.predicted <= p.upper for p in line]
    assert np.mean(inside) > 0.8


def test_true_predictions_are_called_right_and_shifted_ones_too_low():
    linear = _cohort(11, 1500)[2]
    low = _survival(linear[:, None], GRID) ** np.exp(-0.5)
    problem, predictions = _problem(11, 1500, deep=low)
    found = {(m.model, m.metric, m.horizon): m for m in calibrate(problem, predictions, **SETTINGS)[1]}
    right, wrong = found["clinical", "intercept", HORIZON], found["deep", "intercept", HORIZON]
    assert right.lower < 0 < right.upper
    assert wrong.lower < 0.5 < wrong.upper
    assert wrong.lower > 0.2
    assert found["clinical", "ici", HORIZON].estimate < found["clinical", "ici", HORIZON].chance_upper
    assert found["deep", "ici", HORIZON].estimate > found["deep", "ici", HORIZON].chance_upper
    assert found["clinical", "d_calibration", TAU].p_value > 0.01
    assert found["deep", "d_calibration", TAU].p_value < 1e-4


def test_competing_risks_are_judged_by_their_incidence():
    rng = np.random.default_rng(12)
    n, rate = 3000, np.exp(0.8 * rng.normal(size=3000)) / 60
    other = np.full(n, 1 / 60)
    failed, left = rng.exponential(1 / (rate + other)), rng.exponential(120, n)
    first = rng.random(n) < rate / (rate + other)
    time, event = np.minimum(failed, left), (failed <= left) & first
    competing = (failed <= left) & ~first
    total = (rate + other)[:, None]
    incidence = rate[:, None] / total * (1 - np.exp(-total * GRID))
    curves = {"incidence": 1 - incidence, "alone": np.exp(-rate[:, None] * GRID)}
    problem = Problem(time, event, GRID, (HORIZON,), TAU)
    predictions = Predictions(np.arange(n), np.zeros(n, dtype=int), ("a",), dict.fromkeys(curves, rate), curves)
    found = calibrate(problem, predictions, competing=competing, **SETTINGS)[1]
    kept = {(m.model, m.metric): m for m in found}
    assert kept["incidence", "intercept"].lower < 0 < kept["incidence", "intercept"].upper
    assert kept["alone", "intercept"].upper < 0  # as if nobody could die of anything else
    assert kept["incidence", "ici"].estimate < kept["alone", "ici"].estimate - 0.02
    assert "Aalen-Johansen" in kept["incidence", "ici"].method
    assert kept["incidence", "d_calibration"].estimate is None
    rows = risk_distribution(problem, predictions, competing)
    assert sum(r.n for r in rows if r.model == "alone") == n
    assert sum(r.n for r in rows if r.outcome == OUTCOMES[3]) == 2 * (competing & (time <= HORIZON)).sum()


def test_sites_have_pseudo_values_of_their_own():
    problem, predictions = _problem(13, 600)
    time = np.where(predictions.fold == 0, np.minimum(problem.time, 20.0), problem.time)
    event = problem.event & (time == problem.time)
    short = dataclasses.replace(problem, time=time, event=event)
    kept = {
        (m.metric, m.horizon): m
        for m in calibrate(short, predictions, **SETTINGS | {"by_site": True})[1]
        if m.model == "clinical"
    }
    assert kept["ici", 15.0].estimate is not None
    assert "by site" in kept["ici", 15.0].method
    assert "in one of the sites no held-out patient is followed to 30 months" in kept["ici", HORIZON].method
    assert kept["intercept", HORIZON].estimate is not None


def test_models_that_were_not_fitted_or_for_few_give_a_reason():
    problem, predictions = _problem(14, 90)
    gone = dataclasses.replace(predictions, stand_in={"clinical": np.ones(90, dtype=bool)})
    found = [m for m in calibrate(problem, gone, **SETTINGS)[1] if m.model == "clinical"]
    assert len(found) == 9
    assert all("the model was fitted in no training set" in m.method for m in found)
    most = dataclasses.replace(predictions, stand_in={"clinical": np.arange(90) > 4})
    found = [m for m in calibrate(problem, most, **SETTINGS)[1] if m.model == "clinical"]
    assert all("fewer than 10 patients" in m.method for m in found)
    assert not [r for r in risk_distribution(problem, most) if r.model == "clinical"]


def test_the_same_seed_gives_the_same_numbers():
    problem, predictions = _problem(15, 200)
    assert calibrate(problem, predictions, **SETTINGS) == calibrate(problem, predictions, **SETTINGS)


def test_risks_are_counted_by_what_became_of_patients():
    problem, predictions = _problem(16, 500)
    rows = [r for r in risk_distribution(problem, predictions) if (r.model, r.horizon) == ("clinical", HORIZON)]
    assert sum(r.n for r in rows) == 500
    failed = sum(r.n for r in rows if r.outcome == "failed")
    assert failed == (problem.event & (problem.time <= HORIZON)).sum()
    assert all(r.n > 0 and r.upper - r.lower == pytest.approx(0.05) for r in rows)
    mean = {
        o: np.average([r.lower for r in rows if r.outcome == o], weights=[r.n for r in rows if r.outcome == o])
        for o in OUTCOMES[:2]
    }
    assert mean["failed"] > mean["alive"] + 0.1
