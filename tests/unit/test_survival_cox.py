"""Cox's partial likelihood, strata, left truncation and the test of proportional hazards: properties and bad input.

Values are in `test_survival_oracles.py`.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import approx_fprime

from stratiome.survival.cox import CoxError, fit_cox, within_strata
from stratiome.survival.efron import PartialLikelihood
from stratiome.survival.proportional import proportional_hazards


def _data(seed: int, n: int = 120, decimals: int = 0):
    rng = np.random.default_rng(seed)
    x, stratum = np.column_stack([rng.normal(size=n), rng.random(n) < 0.4]), rng.integers(3, size=n)
    failed = rng.exponential(10 * np.exp(-0.7 * x[:, 0]) / (1 + stratum))
    censored = rng.uniform(1, 30, n)
    time = np.round(np.minimum(failed, censored), decimals) + 1
    return x, time, failed <= censored, stratum, rng.choice([0.5, 1.0, 2.0], n), np.floor(rng.uniform(0, 0.8, n) * time)


def _by_hand(coefficients, x, time, event, strata, weights, entry) -> float:
    """Efron's log partial likelihood, death by death."""
    total, hazard = 0.0, weights * np.exp(x @ coefficients)
    for stratum in np.unique(strata):
        here = strata == stratum
        for t in np.unique(time[here & event]):
            dead, at_risk = here & event & (time == t), here & (time >= t) & (entry < t)
            total += float(weights[dead] @ (x[dead] @ coefficients))
            for step in range(dead.sum()):
                left = hazard[at_risk].sum() - step / dead.sum() * hazard[dead].sum()
                total -= float(weights[dead].mean() * np.log(left))
    return total


@pytest.mark.parametrize("seed", range(3))
def test_likelihood_is_the_definition_and_its_derivatives_are_its_slopes(seed):
    x, time, event, strata, weights, entry = _data(seed)
    likelihood = PartialLikelihood.make(x, time, event, strata=strata, weights=weights, entry=entry)
    at = np.array([0.4, -0.3])
    found = likelihood.at(at)
    assert found.value == pytest.approx(_by_hand(at, x, time, event, strata, weights, entry), abs=1e-9)
    np.testing.assert_allclose(found.score, approx_fprime(at, lambda b: likelihood.at(b).value, 1e-6), atol=1e-3)
    slopes = approx_fprime(at, lambda b: likelihood.at(b).score, 1e-6)
    np.testing.assert_allclose(found.information, -slopes, atol=1e-3)
    moving = tuple(np.ones(len(times)) for times in likelihood.times)
    score, mixed, own = likelihood.over_time(at, moving)  # along a constant it is the coefficient itself
    for part, same in ((score, found.score), (mixed, found.information), (own, found.information)):
        np.testing.assert_allclose(part, same, atol=1e-10)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_strata_have_clocks_of_their_own(seed):
    x, time, event, strata, *_ = _data(seed)
    other = np.where(strata == 1, time**2, np.where(strata == 2, np.log1p(time), time))
    one, two = fit_cox(x, time, event, strata=strata), fit_cox(x, other, event, strata=strata)
    np.testing.assert_allclose(one.coefficients, two.coefficients, atol=1e-9)
    np.testing.assert_allclose(one.standard_errors, two.standard_errors, atol=1e-9)
    assert np.abs(one.coefficients - fit_cox(x, time, event).coefficients).max() > 1e-4


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_follow_up_in_two_pieces_is_follow_up_in_one(seed):
    x, time, event, *_ = _data(seed)
    whole = fit_cox(x, time, event)
    cut = time > 5
    pieces = fit_cox(
        np.vstack([x, x[cut]]),
        np.append(np.minimum(time, 5.0), time[cut]),
        np.append(event & ~cut, event[cut]),
        entry=np.append(np.zeros(len(time)), np.full(cut.sum(), 5.0)),
    )
    np.testing.assert_allclose(pieces.coefficients, whole.coefficients, atol=1e-9)
    np.testing.assert_allclose(pieces.standard_errors, whole.standard_errors, atol=1e-9)
    # The baseline is another one, since its patient is at the mean of the rows; predictions are the same.
    grid = np.linspace(0, 20, 30)
    np.testing.assert_allclose(pieces.survival(x[:5], grid), whole.survival(x[:5], grid), atol=1e-9)


def test_without_ties_a_weight_of_two_halves_the_variance():
    x, time, event, *_ = _data(1, decimals=10)
    one, two = fit_cox(x, time, event), fit_cox(x, time, event, weights=np.full(len(time), 2.0))
    np.testing.assert_allclose(two.coefficients, one.coefficients, atol=1e-9)
    np.testing.assert_allclose(two.standard_errors, one.standard_errors / np.sqrt(2), atol=1e-9)


def test_a_column_that_varies_between_strata_only_is_left_out():
    x, time, event, strata, *_ = _data(2)
    fitted = fit_cox(np.column_stack([x, strata]), time, event, strata=strata)
    assert fitted.aliased == (2,)
    assert fitted.coefficients[2] == 0
    np.testing.assert_allclose(within_strata(x, strata).sum(axis=0), 0, atol=1e-10)


def test_a_stratified_fit_predicts_no_survival():
    x, time, event, strata, *_ = _data(1)
    with pytest.raises(CoxError, match="keeps no baseline"):
        fit_cox(x, time, event, strata=strata).survival(x, time)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": np.zeros(120)}, "positive"),
        ({"weights": np.full(120, np.nan)}, "positive"),
        ({"weights": np.ones(119)}, "as long as"),
        ({"entry": np.full(120, 5.0)}, "enter at or after"),
        ({"strata": np.zeros((120, 1))}, "as long as"),
    ],
)
def test_bad_options_are_refused(options, message):
    x, time, event, *_ = _data(1)
    with pytest.raises(CoxError, match=message):
        fit_cox(x, time, event, **options)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100.0))
def test_units_change_no_test_of_proportional_hazards(seed, scale):
    x, time, event, *_ = _data(seed)
    one = proportional_hazards(x, time, event, transform="identity")
    for other in (
        proportional_hazards(x * scale + 3.0, time, event, transform="identity"),
        proportional_hazards(x, time * scale, event, transform="identity"),
    ):
        assert other.overall.statistic == pytest.approx(one.overall.statistic, rel=1e-6)
        assert 0 <= other.overall.p_value <= 1


def test_an_effect_that_turns_is_found_and_a_steady_one_is_not_by_more_than_chance():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(400, 1))
    early = rng.exponential(np.exp(-1.0 * x[:, 0]))
    turning = np.where(early < 0.7, early, 0.7 + rng.exponential(np.exp(1.0 * x[:, 0])))
    assert proportional_hazards(x, turning, np.ones(400, dtype=bool)).overall.p_value < 1e-6
    steady = [
        proportional_hazards(
            (z := rng.normal(size=(150, 1))), rng.exponential(np.exp(-z[:, 0])), rng.random(150) < 0.8
        ).overall.p_value
        for _ in range(100)
    ]
    # Four standard errors of a share of 0.05 and of the mean of a uniform.
    assert np.mean(np.array(steady) < 0.05) < 0.05 + 0.087
    assert abs(np.mean(steady) - 0.5) < 0.115


def test_tests_of_proportional_hazards_that_cannot_be_done_say_why():
    x, time, event, *_ = _data(1)
    aliased = proportional_hazards(np.column_stack([x, x[:, 0] * 2]), time, event)
    assert aliased.terms[2].p_value is None
    assert "left out" in aliased.terms[2].reason
    assert aliased.overall.df == 2
    constant = proportional_hazards(np.ones_like(x), time, event)
    assert constant.overall.reason == "all covariates are constant in training"
    separated = proportional_hazards(event[:, None].astype(float), np.arange(1.0, len(time) + 1), event)
    assert separated.overall.p_value is None
    assert separated.overall.reason
    rare = proportional_hazards(x, time, np.arange(len(time)) == 3)  # one event
    assert rare.overall.p_value is None
    assert rare.overall.reason
    with pytest.raises(ValueError, match="is not known"):
        proportional_hazards(x, time, event, transform="sqrt")
    with pytest.raises(ValueError, match="one label per column"):
        proportional_hazards(x, time, event, terms=["a"])
