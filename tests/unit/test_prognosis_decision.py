"""Decision curves: properties, repeated rows and bad input. Values are in `test_survival_oracles.py`."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratiome.prognosis.decision import net_benefit, treat_all, treat_none
from stratiome.survival.concordance import Sample
from stratiome.survival.curves import kaplan_meier

THRESHOLDS = np.linspace(0.0, 0.9, 19)


def _data(seed: int, n: int = 150):
    rng = np.random.default_rng(seed)
    risk = np.round(rng.beta(2, 2, n), 2)
    failed, censored = rng.exponential(-10.0 / np.log1p(-np.clip(risk, 0.01, 0.99))), rng.uniform(2, 40, n)
    return np.round(np.minimum(failed, censored)) + 1, failed <= censored, risk


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_properties(seed):
    time, event, risk = _data(seed)
    sample = Sample.make(time, event)
    found, everybody = net_benefit(sample, risk, 10.0, THRESHOLDS)[0], treat_all(sample, 10.0, THRESHOLDS)[0]
    prevalence = 1.0 - kaplan_meier(time, event, np.array([10.0]))[0]
    assert found[0] == pytest.approx(prevalence, abs=1e-12)
    np.testing.assert_allclose(everybody, net_benefit(sample, np.ones(len(time)), 10.0, THRESHOLDS)[0], atol=1e-12)
    assert treat_none(sample, THRESHOLDS).shape == (1, len(THRESHOLDS))
    crossing = treat_all(sample, 10.0, np.array([min(prevalence, 0.99)]))[0, 0]
    assert crossing == pytest.approx(0.0, abs=1e-12)  # at the prevalence, treating all is worth as much as none


def test_draws_are_cohorts_with_rows_repeated():
    time, event, risk = _data(3)
    weights = np.random.default_rng(1).integers(3, size=(6, len(time)))
    many = net_benefit(Sample.make(time, event, weights=weights), risk, 10.0, THRESHOLDS)
    assert many.shape == (6, len(THRESHOLDS))
    for row, own in enumerate(weights):
        drawn = np.repeat(np.arange(len(time)), own)
        alone = net_benefit(Sample.make(time[drawn], event[drawn]), risk[drawn], 10.0, THRESHOLDS)[0]
        np.testing.assert_allclose(many[row], alone, atol=1e-12)


def test_true_risks_gain_over_both_and_shuffled_ones_do_not():
    time, event, risk = _data(5, n=4000)
    sample = Sample.make(time, event)
    at = np.array([0.4, 0.5, 0.6])
    best = np.maximum(treat_all(sample, 10.0, at)[0], 0.0)
    assert (net_benefit(sample, risk, 10.0, at)[0] > best + 0.02).all()
    shuffled = np.random.default_rng(1).permutation(risk)
    assert (net_benefit(sample, shuffled, 10.0, at)[0] < best + 0.02).all()


def test_what_cannot_be_told_is_nan_and_nobody_treated_is_nothing():
    time, event = np.array([3.0, 5.0, 12.0, 12.0]), np.array([True, False, False, True])
    risk = np.array([0.9, 0.8, 0.2, 0.1])
    found = net_benefit(Sample.make(time, event), risk, 10.0, np.array([0.1, 0.5, 0.95]))[0]
    assert np.isfinite(found[0])
    assert np.isnan(found[1])  # those treated are followed for 5 months
    assert found[2] == 0.0
    # All who are treated have died before the horizon: that is known.
    assert net_benefit(Sample.make(time, event), risk, 10.0, np.array([0.85]))[0, 0] == pytest.approx(0.25)


@pytest.mark.parametrize("thresholds", [[1.0], [-0.1], [20.0], [np.nan]])
def test_thresholds_out_of_bounds_are_refused(thresholds):
    time, event, risk = _data(1)
    with pytest.raises(ValueError, match="thresholds"):
        net_benefit(Sample.make(time, event), risk, 10.0, np.array(thresholds))
    with pytest.raises(ValueError, match="thresholds"):
        treat_all(Sample.make(time, event), 10.0, np.array(thresholds))


def test_scores_that_are_no_probabilities_are_refused():
    time, event, risk = _data(1)
    with pytest.raises(ValueError, match="risks must be probabilities"):
        net_benefit(Sample.make(time, event), risk * 3, 10.0, THRESHOLDS)
