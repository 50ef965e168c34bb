"""The model of the censoring time against R's survival 3.5-3, Kaplan-Meier curves and bad input."""

import numpy as np
import pytest

from stratiome.survival.censoring import censoring_curve
from stratiome.survival.censoring_model import fit_censoring

TIME = np.array([3, 5, 5, 7, 8, 8, 10, 11, 12, 12, 14, 15, 16, 18, 18, 20, 21, 22, 24, 25, 26, 28, 28, 30], dtype=float)
EVENT = np.array([1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 0, 1, 1, 0, 1, 0, 1, 1, 0, 1, 0, 1, 0, 1], dtype=bool)


def _covariates() -> np.ndarray:
    i = np.arange(1, len(TIME) + 1)
    return np.column_stack([np.sin(1.7 * i), i % 3 == 0]).astype(float)


def test_is_the_cox_model_of_r_where_events_precede_censorings_at_the_same_time():
    # coxph(Surv(time - 1e-4 * event, 1 - event) ~ x1 + x2), survfit(stype = 2, ctype = 2) just before each time
    at = np.array([5.0, 5.5, 12.0, 18.5, 28.0, 31.0])
    baseline = [1, 0.94264137344765, 0.81784715447615, 0.60584898205656, 0.28268902715655, 0.11043256335746]
    other = [1, 0.98525278836899, 0.95068236965566, 0.88157779436543, 0.72776994632613, 0.57454142560975]
    model = fit_censoring(_covariates(), TIME, EVENT)
    np.testing.assert_allclose(model.cox.coefficients, [-0.3396853359150, -1.0405538810775], rtol=1e-8)
    np.testing.assert_allclose(model.uncensored(np.array([[0.0, 0.0], [1.0, 1.0]]), at), [baseline, other], rtol=1e-8)
    assert model.note == ""


def test_events_at_the_time_of_a_censoring_after_it_would_give_other_numbers():
    model = fit_censoring(_covariates(), TIME, EVENT)
    swapped = fit_censoring(_covariates(), TIME + 1e-4 * EVENT, EVENT)
    assert np.abs(model.cox.coefficients - swapped.cox.coefficients).max() > 1e-3


@pytest.mark.parametrize("x", [np.zeros((len(TIME), 0)), np.ones((len(TIME), 2))])
def test_without_covariates_it_is_the_kaplan_meier_curve_just_before_each_time(x):
    at = np.array([0.0, 5.0, 5.5, 12.0, 28.0, 40.0])
    model = fit_censoring(x, TIME, EVENT)
    expected = censoring_curve(TIME, EVENT).at(at, left=True)[0]
    np.testing.assert_array_equal(model.uncensored(x[:2], at), [expected, expected])
    assert model.uncensored(x, np.array([28.0]))[0, 0] > model.uncensored(x, np.array([28.5]))[0, 0]
    assert "Kaplan-Meier" in model.note


def test_nobody_censored_and_everybody_censored():
    nobody = fit_censoring(_covariates(), TIME, np.ones(len(TIME), dtype=bool))
    np.testing.assert_array_equal(nobody.uncensored(_covariates(), TIME), 1.0)
    everybody = fit_censoring(_covariates(), TIME, np.zeros(len(TIME), dtype=bool))
    found = everybody.uncensored(_covariates(), TIME)
    assert np.isfinite(found).all()
    assert (np.diff(found, axis=1)[:, 1:] <= 0).all()


def test_a_covariate_that_separates_gives_a_penalised_model():
    x = np.column_stack([~EVENT]).astype(float)
    model = fit_censoring(x, TIME, EVENT)
    assert "ridge" in model.note or "Kaplan-Meier" in model.note
    assert np.isfinite(model.uncensored(x, TIME)).all()
