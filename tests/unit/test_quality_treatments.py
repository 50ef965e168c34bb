"""Treatments as recorded: hazard ratios are those of a Cox model, immortal time shows, a good treatment does not."""

import numpy as np
import pandas as pd
import pytest
from lifelines import CoxPHFitter

from stratiome.quality.treatments import FEWEST_EVENTS, log_hazard_ratio, treatment_rows
from stratiome.quality.variables import Variable
from stratiome.tables import QualityTreatment, from_rows


def _cohort(seed, n=600, hazard_ratio=1.0, wait=0.0):
    """Exponential survival of mean 40 months; with `wait`, only who lives till treatment starts counts as treated."""
    rng = np.random.default_rng(seed)
    treated = rng.random(n) < 0.5
    death = rng.exponential(40 / np.where(treated, hazard_ratio, 1.0))
    treated &= death > wait * rng.random(n)
    end = rng.uniform(20, 120, n)
    return np.minimum(death, end), death <= end, treated


def _given(treated, missing=()):
    values = np.where(treated, "1", "0").astype(object)
    values[list(missing)] = None
    return Variable("drug", "treatment", values)


def _rows(time, event, treated, covariates=(), missing=()):
    rows = treatment_rows("drug", _given(treated, missing), covariates, time, event)
    QualityTreatment.validate(from_rows(rows, QualityTreatment), lazy=True)
    return {r["finding"]: r for r in rows}


def test_hazard_ratio_is_that_of_cox():
    time, event, treated = _cohort(0, 3000, 0.6)
    cox = CoxPHFitter().fit(pd.DataFrame({"t": time, "e": event, "x": treated.astype(float)}), "t", "e")
    log_ratio, error = log_hazard_ratio(time, event, treated)
    assert log_ratio == pytest.approx(cox.params_.iloc[0], abs=2e-3)  # Firth's penalty vanishes with the events
    assert error == pytest.approx(cox.standard_errors_.iloc[0], rel=2e-3)
    flipped, same = log_hazard_ratio(time, event, ~treated)
    assert (flipped, same) == pytest.approx((-log_ratio, error), rel=1e-6)


def test_an_arm_without_events_has_a_finite_ratio():
    time, treated = np.arange(1.0, 41.0), np.arange(40) % 2 == 0
    log_ratio, error = log_hazard_ratio(time, ~treated, treated)
    assert -10 < log_ratio < -2
    assert np.isfinite(error)


def test_immortal_time_shows_in_early_events():
    runs = [_rows(*_cohort(seed, wait=12.0)) for seed in range(50)]
    assert np.median([r["crude"]["estimate"] for r in runs]) < 0.9  # of a drug that does nothing
    assert sum(r["early"]["p_value"] < 0.05 for r in runs) >= 40
    assert all(r["early"]["until_months"] == r["later"]["until_months"] <= 12 for r in runs)


def test_a_good_treatment_is_rarely_taken_for_immortal_time():
    called = sum(_rows(*_cohort(seed, hazard_ratio=0.5))["early"]["p_value"] < 0.05 for seed in range(100))
    assert called <= 13  # 5 % of 100: more than 13 less than once in 1000


def test_who_has_no_record_and_what_goes_with_treatment():
    time, event, treated = _cohort(2)
    age = np.where(treated, 50.0, 60.0) + np.random.default_rng(0).normal(size=600)
    sex = np.array(["f", "m"] * 300, dtype=object)
    covariates = [Variable("sex", "covariate", sex), Variable("age", "covariate", age), _given(treated)]
    rows = treatment_rows("drug", _given(treated, range(100)), covariates, time, event)
    assert (rows[0]["n_missing"], rows[0]["n_treated"]) == (100, int(treated[100:].sum()))
    goes = [r for r in rows if r["finding"] == "goes with"]
    assert [r["variable"] for r in goes] == ["age", "sex"]  # the strongest first, never the treatment itself
    assert goes[0]["estimate"] > 0.9
    assert goes[1]["estimate"] < 0.1


def test_nothing_is_estimated_from_few_events_or_one_arm():
    time, event, treated = _cohort(3)
    few = event & (np.cumsum(event) < FEWEST_EVENTS)
    assert _rows(time, few, treated)["crude"]["estimate"] is None
    assert _rows(time, event, np.ones(600, dtype=bool))["crude"]["estimate"] is None
    time[:] = np.nan
    assert set(_rows(time, event, treated)) == {"recorded", "crude"}
