"""Calibration on outcomes whose true risk is known, and against lifelines."""

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter, KaplanMeierFitter
from lifelines.utils import survival_table_from_events

from stratiome.prognosis.calibration import calibration_groups, calibration_slope
from stratiome.prognosis.metrics import observed_expected
from stratiome.survival.concordance import Sample

HORIZON = 30.0
PRECISE = {"precision": 1e-12, "r_precision": 1e-14}


def _true(seed: int, n: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Times, events and the true survival at the horizon of a Weibull model with proportional hazards."""
    rng = np.random.default_rng(seed)
    linear = rng.normal(scale=0.8, size=n)
    failed = 40 * (rng.exponential(size=n) / np.exp(linear)) ** (1 / 1.3)
    censored = rng.exponential(90, n)
    survival = np.exp(-np.exp(linear) * (HORIZON / 40) ** 1.3)
    return np.minimum(failed, censored), failed <= censored, survival


def _cloglog(survival: np.ndarray) -> np.ndarray:
    return np.log(-np.log(survival))


def _overfitted(survival: np.ndarray, slope: float) -> np.ndarray:
    x = _cloglog(survival)
    return np.exp(-np.exp(x.mean() + (x - x.mean()) / slope))


def test_slope_is_that_of_lifelines_with_one_baseline_per_fold():
    time, event, survival = _true(1, 400)
    fold = np.arange(400) % 3
    frame = pd.DataFrame({"x": _cloglog(survival), "t": np.minimum(time, HORIZON), "fold": fold})
    frame["e"] = event & (time <= HORIZON)
    expected = CoxPHFitter().fit(frame, "t", "e", strata="fold", fit_options=PRECISE).params_["x"]
    found = calibration_slope(Sample.make(time, event, fold=fold), survival, HORIZON)[0]
    assert found == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("planted", [1.0, 0.7])
def test_planted_slope_is_recovered(planted):
    time, event, survival = _true(2, 6000)
    sample = Sample.make(time, event)
    found = calibration_slope(sample, _overfitted(survival, planted), HORIZON)[0]
    x = _cloglog(_overfitted(survival, planted))
    events = int((event & (time <= HORIZON)).sum())
    error = 1 / (x.std() * np.sqrt(events))
    assert abs(found - planted) < 3.5 * error
    assert error < 0.03  # so that 0.7 and 1 are far apart


def test_true_risks_are_neither_too_high_nor_too_low():
    time, event, survival = _true(3, 6000)
    sample = Sample.make(time, event)
    assert observed_expected(sample, survival, HORIZON)[0] == pytest.approx(1, abs=0.05)
    assert observed_expected(sample, 1 - (1 - survival) / 2, HORIZON)[0] == pytest.approx(2, abs=0.1)


def test_slope_does_not_exist_for_equal_predictions_or_without_events():
    time, event, survival = _true(4, 100)
    fold = np.arange(100) % 2
    sample = Sample.make(time, event, fold=fold)
    assert np.isnan(calibration_slope(sample, 0.5 + 0.1 * fold, HORIZON)[0])
    none = Sample.make(time, np.zeros(100, dtype=bool))
    assert np.isnan(calibration_slope(none, survival, HORIZON)[0])


def test_slope_does_not_exist_where_predictions_separate():
    time = np.arange(1.0, 21.0)
    survival = np.linspace(0.1, 0.9, 20)
    assert np.isnan(calibration_slope(Sample.make(time, np.ones(20, dtype=bool)), survival, HORIZON)[0])


def test_slope_is_defined_for_predictions_of_zero_and_one():
    time, event, survival = _true(5, 200)
    extreme = np.where(survival < 0.3, 0.0, np.where(survival > 0.8, 1.0, survival))
    assert np.isfinite(calibration_slope(Sample.make(time, event), extreme, HORIZON)[0])


def test_groups_are_kaplan_meier_with_its_log_log_interval():
    time, event, survival = _true(6, 800)
    risk = 1 - survival
    groups = calibration_groups(time, event, risk, HORIZON, 10, 0.95)
    assert [g.n for g in groups] == [80] * 10
    order = np.argsort(risk)
    for k, group in enumerate(groups):
        rows = order[80 * k : 80 * (k + 1)]
        km = KaplanMeierFitter(alpha=0.05).fit(time[rows], event[rows])
        at = km.confidence_interval_.loc[:HORIZON].iloc[-1].to_numpy()
        assert group.predicted == pytest.approx(risk[rows].mean(), abs=1e-12)
        assert group.observed == pytest.approx(1 - km.predict(HORIZON), abs=1e-12)
        np.testing.assert_allclose([group.upper, group.lower], 1 - at, atol=1e-9)


def test_true_risks_lie_in_their_intervals():
    time, event, survival = _true(7, 5000)
    groups = calibration_groups(time, event, 1 - survival, HORIZON, 10, 0.99)
    assert sum(g.lower <= g.predicted <= g.upper for g in groups) >= 9


def test_groups_without_or_with_only_events_have_an_exact_interval():
    time = np.concatenate([np.full(20, 50.0), np.linspace(1, 20, 20)])
    event = np.concatenate([np.zeros(20, dtype=bool), np.ones(20, dtype=bool)])
    risk = np.concatenate([np.full(20, 0.1), np.full(20, 0.9)])
    low, high = calibration_groups(time, event, risk, HORIZON, 2, 0.95)
    assert (low.observed, low.lower) == (0.0, 0.0)
    assert low.upper == pytest.approx(1 - 0.025 ** (1 / 20))
    assert (high.observed, high.upper) == (1.0, 1.0)
    assert high.lower == pytest.approx(0.025 ** (1 / 20))


def test_groups_are_made_fewer_until_all_are_followed_to_the_horizon():
    time = np.concatenate([np.full(40, 50.0), np.full(10, 10.0)])
    event, risk = np.zeros(50, dtype=bool), np.linspace(0.1, 0.9, 50)
    groups = calibration_groups(time, event, risk, HORIZON, 5, 0.95)
    assert [g.n for g in groups] == [13, 12, 13, 12]


def test_equal_risks_stay_together_and_nobody_followed_gives_no_group():
    time, event, _ = _true(8, 100)
    assert len(calibration_groups(time, event, np.full(100, 0.3), HORIZON, 10, 0.95)) == 1
    assert calibration_groups(np.full(5, 10.0), np.zeros(5, dtype=bool), np.full(5, 0.2), HORIZON, 1, 0.95) == ()
    assert calibration_groups(np.zeros(0), np.zeros(0, dtype=bool), np.zeros(0), HORIZON, 5, 0.95) == ()


def test_at_risk_counts_agree_with_lifelines():
    time, event, _ = _true(9, 60)
    table = survival_table_from_events(time, event)
    group = calibration_groups(time, event, np.full(60, 0.5), HORIZON, 1, 0.95)[0]
    observed = table.loc[(table.index > 0) & (table.index <= HORIZON)]
    assert group.observed == pytest.approx(1 - np.prod(1 - observed["observed"] / observed["at_risk"]), abs=1e-12)
