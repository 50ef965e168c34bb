"""Censoring and survival curves against lifelines, closed forms and repeated rows."""

import numpy as np
import pytest
from lifelines import KaplanMeierFitter

from stratiome.survival.censoring import censoring_curve, inverse_weights, survival_curve


def _outcome(seed: int, n: int = 150, decimals: int = 8) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    time, censored = rng.exponential(40, n), rng.exponential(60, n)
    return np.maximum(np.round(np.minimum(time, censored), decimals), 10.0**-decimals), time <= censored


@pytest.mark.parametrize("decimals", [8, 0])
def test_survival_is_that_of_lifelines_with_and_without_weights(decimals):
    time, event = _outcome(1, decimals=decimals)
    weights = np.random.default_rng(2).integers(0, 4, len(time)).astype(float)
    grid = np.linspace(0, time.max() * 1.1, 40)
    plain = KaplanMeierFitter().fit(time, event).predict(grid).to_numpy()
    np.testing.assert_allclose(survival_curve(time, event).at(grid)[0], plain, atol=1e-12)
    drawn = np.repeat(np.arange(len(time)), weights.astype(int))
    again = KaplanMeierFitter().fit(time[drawn], event[drawn]).predict(grid).to_numpy()
    np.testing.assert_allclose(survival_curve(time, event, weights).at(grid)[0], again, atol=1e-12)


def test_censoring_without_ties_is_the_reverse_kaplan_meier():
    time, event = _outcome(3)
    reverse = KaplanMeierFitter().fit(time, ~event).predict(np.sort(time)).to_numpy()
    np.testing.assert_allclose(censoring_curve(time, event).at(np.sort(time))[0], reverse, atol=1e-12)


def test_an_event_precedes_a_censoring_at_the_same_time():
    time, event = np.array([1.0, 2.0, 2.0, 3.0]), np.array([True, True, False, False])
    curve = censoring_curve(time, event)
    # At 2 one event leaves first, then one of the two left is censored.
    np.testing.assert_array_equal(curve.at([0.5, 1.0, 2.0, 3.0])[0], [1.0, 1.0, 0.5, 0.0])
    np.testing.assert_array_equal(curve.at([2.0, 3.0], left=True)[0], [1.0, 0.5])


def test_product_of_survival_and_censoring_is_the_share_under_observation():
    time, event = _outcome(4, decimals=0)
    at = np.unique(time)
    both = survival_curve(time, event).at(at)[0] * censoring_curve(time, event).at(at)[0]
    np.testing.assert_allclose(both, (time[:, None] > at).mean(axis=0), atol=1e-12)


@pytest.mark.parametrize("horizon", [10.0, 30.0, 45.5])
def test_weights_stand_for_all_patients(horizon):
    time, event = _outcome(5, decimals=0)
    weights, truncated = inverse_weights(time, event, horizon)
    assert truncated == 0
    assert weights.sum() == pytest.approx(len(time), abs=1e-9)
    failed = weights[event & (time <= horizon)].sum() / len(time)
    assert failed == pytest.approx(1 - survival_curve(time, event).at(horizon)[0, 0], abs=1e-12)
    assert (weights[~event & (time < horizon)] == 0).all()


def test_administrative_censoring_at_the_horizon_loses_nobody():
    time, event = np.array([5.0, 20.0, 60.0, 60.0]), np.array([True, True, False, False])
    weights, truncated = inverse_weights(time, event, 60.0)
    np.testing.assert_array_equal(weights, 1.0)
    assert truncated == 0


def test_small_probabilities_are_truncated_and_counted():
    n = 100
    time = np.concatenate([np.arange(1.0, n - 1), [200.0, 300.0]])
    event = np.concatenate([np.zeros(n - 2, dtype=bool), [True, True]])
    weights, truncated = inverse_weights(time, event, 400.0)
    assert truncated == 2
    assert weights.max() == pytest.approx(20.0)


def test_nobody():
    assert survival_curve(np.zeros(0), np.zeros(0, dtype=bool)).at([0.0, 5.0]).tolist() == [[1.0, 1.0]]
