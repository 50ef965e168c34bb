"""Cumulative incidence: properties, closed forms and bad input. Values are in `test_survival_oracles.py`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratiome.survival.compare import restricted_mean_difference
from stratiome.survival.competing import aalen_johansen, incidence_error
from stratiome.survival.curves import kaplan_meier
from stratiome.survival.outcome import OutcomeError

GRID = np.linspace(0.0, 30.0, 61)


def _data(seed: int, n: int = 40, causes: int = 3):
    rng = np.random.default_rng(seed)
    time = np.round(rng.exponential(8, n)) + 1  # rounded, so that times tie
    return time, rng.integers(causes + 1, size=n), rng.integers(4, size=n).astype(np.float64)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100.0))
def test_properties(seed, scale):
    time, cause, weights = _data(seed)
    found = aalen_johansen(time, cause, weights, causes=3)
    incidence, survival = found.at(GRID)[0], found.survival_at(GRID)[0]
    np.testing.assert_allclose(incidence.sum(axis=0) + survival, 1.0, atol=1e-12)
    assert (np.diff(incidence, axis=1) >= 0).all()
    assert (incidence >= 0).all()
    np.testing.assert_allclose(survival, kaplan_meier(time, cause > 0, GRID, weights), atol=1e-12)
    rows = np.repeat(np.arange(len(time)), weights.astype(int))
    np.testing.assert_allclose(aalen_johansen(time[rows], cause[rows], causes=3).at(GRID)[0], incidence, atol=1e-12)
    np.testing.assert_allclose(
        aalen_johansen(time, cause, weights * scale, causes=3).at(GRID)[0], incidence, atol=1e-12
    )
    for k in (1, 2, 3):
        assert (1.0 - kaplan_meier(time, cause == k, GRID, weights) >= incidence[k - 1] - 1e-12).all()


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_of_one_cause_it_is_one_minus_kaplan_meier_with_the_variance_of_greenwood(seed):
    time, cause, _ = _data(seed, causes=1)
    curve = kaplan_meier(time, cause > 0, GRID)
    np.testing.assert_allclose(aalen_johansen(time, cause, causes=1).at(GRID)[0, 0], 1.0 - curve, atol=1e-12)
    terms = np.zeros(len(GRID))
    for t in np.unique(time[cause > 0]):
        deaths, risk = ((time == t) & (cause > 0)).sum(), (time >= t).sum()
        if risk > deaths:
            terms += (t <= GRID) * deaths / (risk * (risk - deaths))
    errors = incidence_error(time, cause, GRID, causes=1)[0]
    np.testing.assert_allclose(errors, curve * np.sqrt(terms), atol=1e-12)


def test_without_censoring_it_is_a_share_with_the_error_of_a_share():
    time, cause, _ = _data(5, n=60)
    cause = np.maximum(cause, 1)
    share = ((time[:, None] <= GRID) & (cause == 2)[:, None]).mean(axis=0)
    np.testing.assert_allclose(aalen_johansen(time, cause).at(GRID)[0, 1], share, atol=1e-12)
    np.testing.assert_allclose(incidence_error(time, cause, GRID)[1], np.sqrt(share * (1 - share) / 60), atol=1e-12)


def test_error_is_the_spread_of_repeated_cohorts():
    rng = np.random.default_rng(7)
    estimates, errors = [], []
    for _ in range(600):
        failed, censored = rng.exponential(10, 100), rng.exponential(15, 100)
        cause = np.where(failed <= censored, rng.integers(1, 3, 100), 0)
        time = np.minimum(failed, censored)
        estimates.append(aalen_johansen(time, cause, causes=2).at(8.0)[0, 0, 0])
        errors.append(incidence_error(time, cause, np.array([8.0]), causes=2)[0, 0])
    assert np.mean(estimates) == pytest.approx((1 - np.exp(-0.8)) / 2, abs=4 * np.std(estimates) / np.sqrt(600))
    assert np.mean(errors) == pytest.approx(np.std(estimates), rel=0.12)


def test_many_draws_at_once_are_one_draw_each():
    time, cause, _ = _data(2)
    weights = np.random.default_rng(1).integers(3, size=(5, len(time)))
    many = aalen_johansen(time, cause, weights).at(GRID)
    for row, own in enumerate(weights):
        np.testing.assert_array_equal(aalen_johansen(time, cause, own).at(GRID)[0], many[row])
    assert aalen_johansen(time, cause, np.zeros(len(time))).at(GRID).max() == 0.0


@pytest.mark.parametrize(
    ("cause", "options", "message"),
    [
        ([0, 1, 4], {"causes": 2}, "recode"),
        ([0, -1, 1], {}, "recode"),
        ([0, 0.5, 1], {}, "recode"),
        ([0, np.nan, 1], {}, "recode"),
        ([0, 0, 0], {}, "nobody fails"),
        ([0, 1], {}, "one length"),
    ],
)
def test_bad_causes_are_refused(cause, options, message):
    with pytest.raises(OutcomeError, match=message):
        aalen_johansen(np.array([1.0, 2.0, 3.0]), np.array(cause), **options)


def test_nobody_failing_has_no_incidence():
    found = aalen_johansen(np.array([1.0, 2.0]), np.zeros(2), causes=2)
    assert found.at(GRID).shape == (1, 2, len(GRID))
    assert found.at(GRID).max() == 0.0


def test_arms_that_cannot_be_compared_are_refused():
    time, event = np.array([1.0, 2.0, 3.0, 9.0]), np.array([True, False, True, True])
    arm = np.array([0, 0, 1, 1])
    with pytest.raises(OutcomeError, match="arm 0 ends before 4 months"):
        restricted_mean_difference(time, event, arm, 4.0)
    with pytest.raises(OutcomeError, match="both present"):
        restricted_mean_difference(time, event, np.ones(4), 1.0)
    nothing = restricted_mean_difference(time, event, arm, 0.5)
    assert nothing.estimate == 0.0
    assert np.isnan(nothing.p_value)
