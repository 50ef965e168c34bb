"""Kaplan-Meier curves, restricted means and intervals against lifelines and closed forms."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratiome.survival.censoring import survival_curve
from stratiome.survival.curves import (
    at_risk,
    is_determined,
    kaplan_meier,
    kaplan_meier_interval,
    kaplan_meier_many,
    restricted_mean,
    restricted_mean_many,
    rmst,
    survival_at,
)

GRID = np.array([0.0, 0.5, 1.0, 2.0, 3.0, 5.0, 8.0, 12.0, 20.0, 40.0])


def sample(seed, n=80, ties=True):
    """Right-censored times in months, on whole numbers where ties are wanted."""
    rng = np.random.default_rng(seed)
    time = rng.exponential(8.0, n) + 0.01
    return (np.ceil(time) if ties else time), rng.random(n) < 0.6, rng.uniform(0.1, 3.0, n)


@pytest.mark.parametrize("ties", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
def test_curve_equals_lifelines(ties, weighted):
    from lifelines import KaplanMeierFitter

    time, event, weights = sample(1, ties=ties)
    weights = weights if weighted else np.ones(len(time))
    reference = KaplanMeierFitter().fit(time, event, weights=weights).survival_function_at_times(GRID).to_numpy()
    np.testing.assert_allclose(kaplan_meier(time, event, GRID, weights), reference, rtol=0, atol=1e-10)


def test_restricted_mean_equals_lifelines():
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time

    time, event, weights = sample(2)
    for tau in (3.0, 7.3, 15.0):
        reference = restricted_mean_survival_time(KaplanMeierFitter().fit(time, event, weights=weights), t=tau)
        assert restricted_mean(time, event, tau, weights) == pytest.approx(float(reference), abs=1e-10)


def test_interval_equals_lifelines():
    from lifelines import KaplanMeierFitter

    time, event, _ = sample(3)
    event = event & (time < time.max())
    fitted = KaplanMeierFitter(alpha=0.1).fit(time, event)
    bounds = fitted.confidence_interval_survival_function_
    inner = (fitted.survival_function_.to_numpy()[:, 0] < 1) & (bounds.index.to_numpy() > 0)
    lower, upper = kaplan_meier_interval(time, event, bounds.index.to_numpy()[inner], level=0.9)
    np.testing.assert_allclose(lower, bounds.to_numpy()[inner, 0], atol=1e-10)
    np.testing.assert_allclose(upper, bounds.to_numpy()[inner, 1], atol=1e-10)


def test_interval_at_its_ends():
    time, event = np.array([1.0, 2.0, 3.0]), np.array([True, True, True])
    lower, upper = kaplan_meier_interval(time, event, np.array([0.5, 2.0, 3.0, 9.0]))
    assert (lower[0], upper[0]) == (1.0, 1.0)
    assert lower[2] == lower[3] == 0.0
    assert upper[2] == upper[3] == upper[1] < 1.0


def test_many_equals_one_by_one_and_repeated_rows():
    time, event, _ = sample(4)
    counts = np.random.default_rng(0).multinomial(len(time), np.full(len(time), 1 / len(time)), size=7)
    many, means = kaplan_meier_many(time, event, counts, GRID), restricted_mean_many(time, event, 9.5, counts)
    for row, count in enumerate(counts):
        drawn = np.repeat(np.arange(len(time)), count)
        np.testing.assert_allclose(many[row], kaplan_meier(time[drawn], event[drawn], GRID), atol=1e-12)
        assert means[row] == pytest.approx(restricted_mean(time[drawn], event[drawn], 9.5), abs=1e-12)


def test_many_does_not_depend_on_batches(monkeypatch):
    time, event, _ = sample(5)
    weights = np.random.default_rng(1).random((9, len(time)))
    whole = kaplan_meier_many(time, event, weights, GRID)
    monkeypatch.setattr("stratiome.survival.curves._BATCH", 2 * len(time))
    np.testing.assert_array_equal(kaplan_meier_many(time, event, weights, GRID), whole)


def test_area_is_exact_where_a_grid_is_not():
    # One death of two at month 1: S = 1, then 1/2 from month 1 on; area to 4 is 1 + 3/2.
    time, event = np.array([1.0, 10.0]), np.array([True, False])
    assert restricted_mean(time, event, 4.0) == 2.5
    coarse = np.array([0.0, 2.0, 4.0])
    assert rmst(coarse, kaplan_meier(time, event, coarse), 4.0) == 3.0
    fine = np.array([0.0, 1.0, 4.0])
    assert rmst(fine, kaplan_meier(time, event, fine), 4.0) == 2.5
    assert restricted_mean(time, event, 0.5) == 0.5


def test_curve_of_grid_equals_curve_of_steps():
    time, event, weights = sample(6)
    curve = survival_curve(time, event, weights)
    assert rmst(curve.times, curve.values[0, 1:], 11.5) == pytest.approx(
        restricted_mean(time, event, 11.5, weights), abs=1e-12
    )
    values = survival_at(curve.times, curve.values[:, 1:], GRID)
    np.testing.assert_array_equal(values[0], kaplan_meier(time, event, GRID, weights))


def test_at_risk_counts_those_observed_at_the_time():
    time = np.array([1.0, 2.0, 2.0, 5.0])
    np.testing.assert_array_equal(at_risk(time, np.array([0.0, 1.0, 2.0, 2.5, 5.0, 6.0])), [4, 4, 3, 1, 1, 0])


def test_curve_is_determined_by_follow_up_or_by_the_last_death():
    time = np.array([1.0, 4.0])
    assert is_determined(time, np.array([True, False]), 4.0)
    assert not is_determined(time, np.array([True, False]), 4.1)
    assert is_determined(time, np.array([False, True]), 9.0)
    assert not is_determined(time[:0], np.array([], dtype=bool), 1.0)


def test_tau_must_be_positive():
    with pytest.raises(ValueError, match="tau must be positive"):
        restricted_mean(np.array([1.0]), np.array([True]), 0.0)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 100.0), factor=st.floats(0.1, 40.0))
def test_properties(seed, scale, factor):
    time, event, weights = sample(seed, n=25)
    curve = kaplan_meier(time, event, GRID, weights)
    assert ((curve >= 0) & (curve <= 1)).all()
    assert (np.diff(curve) <= 1e-15).all()
    np.testing.assert_allclose(kaplan_meier(time, event, GRID, weights * scale), curve, atol=1e-12)
    order = np.random.default_rng(seed).permutation(len(time))
    np.testing.assert_allclose(kaplan_meier(time[order], event[order], GRID, weights[order]), curve, atol=1e-12)
    mean = restricted_mean(time, event, 10.0, weights)
    assert 0 < mean <= 10
    assert restricted_mean(time * factor, event, 10.0 * factor, weights) == pytest.approx(mean * factor, rel=1e-12)
