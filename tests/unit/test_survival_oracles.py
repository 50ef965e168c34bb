"""Survival library against frozen values of R packages (`tests/fixtures/survival/make_oracles.R`).

`fine` has few ties, `ties` about twenty distinct times with events tied with each other and with censorings. Where a
package's convention at tied times is another than ours, both are tested: that the package agrees where no time is tied
with the horizon, and that at a tied horizon our documented definition, written out in R, is what we compute.
"""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from lifelines import CoxPHFitter
from lifelines.statistics import proportional_hazard_test

from stratiome.prognosis.decision import net_benefit, treat_all, treat_none
from stratiome.prognosis.metrics import auc, brier
from stratiome.survival.compare import restricted_mean_difference
from stratiome.survival.competing import aalen_johansen, incidence_error
from stratiome.survival.concordance import Sample, harrell_c, uno_c
from stratiome.survival.cox import fit_cox
from stratiome.survival.curves import kaplan_meier
from stratiome.survival.efron import PartialLikelihood
from stratiome.survival.proportional import proportional_hazards
from stratiome.survival.pseudo import pseudo_risks

FOLDER = Path(__file__).parents[1] / "fixtures" / "survival"
ORACLES = json.loads((FOLDER / "oracles.json").read_text(encoding="utf-8"))
PSEUDO = json.loads((FOLDER / "pseudo.json").read_text(encoding="utf-8"))
COHORTS = {name: pl.read_csv(FOLDER / f"{name}.csv") for name in ("fine", "ties")}
CASES = [(name, case) for name in COHORTS for case in ("plain", "strata", "weights", "entry", "all")]
TRANSFORMS = ("km", "identity", "log", "rank")

cohorts = pytest.mark.parametrize("name", COHORTS)
cases = pytest.mark.parametrize(("name", "case"), CASES)


def _column(name: str, column: str) -> np.ndarray:
    return COHORTS[name][column].to_numpy().astype(np.float64)


def _outcome(name: str) -> tuple[np.ndarray, np.ndarray]:
    return _column(name, "time"), COHORTS[name]["event"].to_numpy().astype(bool)


def _covariates(name: str) -> np.ndarray:
    return COHORTS[name].select("x1", "x2", "x3").to_numpy().astype(np.float64)


def _options(name: str, case: str) -> dict[str, np.ndarray]:
    every = {"strata": "stratum", "weights": "weight", "entry": "entry"}
    return {key: _column(name, column) for key, column in every.items() if case in (key, "all")}


def _sample(name: str) -> Sample:
    return Sample.make(*_outcome(name), min_survival=0.0)


def _predicted(name: str, times: list[float]) -> np.ndarray:
    hazard = np.exp(0.8 * _column(name, "score")) / ORACLES[name]["accuracy"]["scale"]
    return np.exp(-np.outer(hazard, times))


def test_fixtures_are_small_and_tied_and_say_their_versions():
    assert set(ORACLES["versions"]) > {"R", "survival", "cmprsk", "survRM2", "timeROC", "riskRegression", "dcurves"}
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 200_000
    time, event = _outcome("ties")
    assert len(np.unique(time)) < 25
    assert len(np.intersect1d(time[event], time[~event])) > 10
    assert len(np.unique(_column("fine", "score"))) < len(time)  # scores tie


@cases
def test_cox_is_coxph(name, case):
    time, event = _outcome(name)
    found, expected = fit_cox(_covariates(name), time, event, **_options(name, case)), ORACLES[name]["cox"][case]
    np.testing.assert_allclose(found.coefficients, expected["coefficients"], rtol=0, atol=1e-8)
    np.testing.assert_allclose(found.standard_errors, expected["standard_errors"], rtol=0, atol=1e-8)
    assert found.log_likelihood == pytest.approx(expected["log_likelihood"], abs=1e-8)
    # A fit by Breslow ties is another one.
    distance = np.abs(found.coefficients - expected["breslow_coefficients"]).max()
    assert distance > (1e-2 if name == "ties" else 1e-5)


@cases
def test_log_likelihood_of_no_effect_is_that_of_coxph(name, case):
    likelihood = PartialLikelihood.make(_covariates(name), *_outcome(name), **_options(name, case))
    expected = ORACLES[name]["cox"][case]["null_log_likelihood"]
    assert likelihood.at(np.zeros(3)).value == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize(("name", "case"), [c for c in CASES if c[1] in ("plain", "weights", "entry")])
def test_baseline_is_that_of_survfit(name, case):
    time, event = _outcome(name)
    found = fit_cox(_covariates(name), time, event, **_options(name, case))
    expected = ORACLES[name]["cox"][case]["baseline"]
    np.testing.assert_allclose(found.times, expected["times"], rtol=1e-14)
    np.testing.assert_allclose(found.cumulative_hazard, expected["cumulative_hazard"], rtol=0, atol=1e-8)


@pytest.mark.parametrize("transform", TRANSFORMS)
@cases
def test_proportional_hazards_is_cox_zph(name, case, transform):
    options = _options(name, case)
    found = proportional_hazards(_covariates(name), *_outcome(name), transform=transform, **options)
    tests, expected = [*found.terms.values(), found.overall], ORACLES[name]["cox"][case]["zph"][transform]
    np.testing.assert_allclose([t.statistic for t in tests], expected["chisq"], rtol=0, atol=1e-6)
    np.testing.assert_allclose([t.p_value for t in tests], expected["p"], rtol=0, atol=1e-6)
    assert [t.df for t in tests] == expected["df"]


@pytest.mark.parametrize("transform", TRANSFORMS)
@cohorts
def test_columns_of_one_class_variable_are_one_term_of_cox_zph(name, transform):
    level = COHORTS[name]["level"].to_numpy()
    x = np.column_stack([_column(name, "x1"), level == "b", level == "c"]).astype(np.float64)
    found = proportional_hazards(x, *_outcome(name), transform=transform, terms=["x1", "level", "level"])
    tests, expected = [*found.terms.values(), found.overall], ORACLES[name]["zph_terms"][transform]
    assert list(found.terms) == ["x1", "level"]
    np.testing.assert_allclose([t.statistic for t in tests], expected["chisq"], rtol=0, atol=1e-6)
    assert [t.df for t in tests] == expected["df"]


@cohorts
def test_test_of_lifelines_would_be_told_from_cox_zph(name):
    frame = COHORTS[name].select("time", "event", "x1", "x2", "x3").to_pandas()
    fitter = CoxPHFitter().fit(frame, "time", "event")
    theirs = proportional_hazard_test(fitter, frame, time_transform="km").summary["test_statistic"].to_numpy()
    assert np.abs(theirs - ORACLES[name]["cox"]["plain"]["zph"]["km"]["chisq"][:3]).max() > 1e-3


@pytest.mark.parametrize("which", [0, 1])
@cohorts
def test_difference_in_restricted_means_is_that_of_survrm2(name, which):
    expected, arm = ORACLES[name]["rmst"][which], _column(name, "arm")
    found = restricted_mean_difference(*_outcome(name), arm, expected["tau"])
    for part in ("estimate", "error", "lower", "upper", "p_value"):
        assert getattr(found, part) == pytest.approx(expected[part], abs=1e-6)
    swapped = restricted_mean_difference(*_outcome(name), 1 - arm, expected["tau"])
    assert swapped.estimate == -found.estimate


@pytest.mark.parametrize("which", ["plain", "weighted"])
@cohorts
def test_cumulative_incidences_and_their_errors_are_those_of_survfit(name, which):
    time, cause, expected = _column(name, "time"), _column(name, "cause"), ORACLES[name]["competing"][which]
    weights = _column(name, "weight") if which == "weighted" else None
    found, states = aalen_johansen(time, cause, weights), np.array(expected["states"])
    np.testing.assert_allclose(found.survival_at(expected["times"])[0], states[:, 0], rtol=0, atol=1e-10)
    np.testing.assert_allclose(found.at(expected["times"])[0].T, states[:, 1:], rtol=0, atol=1e-10)
    errors = incidence_error(time, cause, expected["times"], weights)
    np.testing.assert_allclose(errors.T, np.array(expected["errors"])[:, 1:], rtol=0, atol=1e-10)


@cohorts
def test_cumulative_incidences_are_those_of_cuminc_and_below_one_minus_kaplan_meier(name):
    time, cause, expected = _column(name, "time"), _column(name, "cause"), ORACLES[name]["competing"]["cuminc"]
    found = aalen_johansen(time, cause).at(expected["times"])[0]
    np.testing.assert_allclose(found, expected["estimate"], rtol=0, atol=1e-10)
    late = np.array([time.max()])
    alone = [1.0 - kaplan_meier(time, cause == k, late)[0] for k in (1, 2)]
    assert (np.array(alone) > aalen_johansen(time, cause).at(late)[0, :, 0] + 0.05).all()


@cohorts
def test_pseudo_values_are_those_of_r(name):
    time, cause, expected = _column(name, "time"), COHORTS[name]["cause"].to_numpy(), PSEUDO[name]
    rows = expected["rows"]
    for k, horizon in enumerate(expected["horizons"]):
        given = (
            ("any", pseudo_risks(time, cause > 0, horizon)),
            ("first", pseudo_risks(time, cause == 1, horizon, competing=cause == 2)),
            ("second", pseudo_risks(time, cause == 2, horizon, competing=cause == 1)),
        )
        for key, found in given:
            np.testing.assert_allclose(found[0, rows], np.array(expected[key])[:, k], rtol=0, atol=1e-10)
        leaving_one_out = _leave_one_out(name, horizon)
        assert 1e-5 < np.abs(given[0][1][0, rows] - leaving_one_out).max() < 0.02  # the jackknife proper is another


def _leave_one_out(name: str, horizon: float) -> np.ndarray:
    time, event = _outcome(name)
    every, n, rows = np.arange(len(time)), len(time), PSEUDO[name]["rows"]
    whole = kaplan_meier(time, event, np.array([horizon]))[0]
    left = [kaplan_meier(time[every != i], event[every != i], np.array([horizon]))[0] for i in rows]
    return 1.0 - (n * whole - (n - 1) * np.array(left))


@cohorts
def test_harrell_c_is_concordance(name):
    expected = ORACLES[name]["accuracy"]["harrell"]
    assert harrell_c(_sample(name), _column(name, "score"))[0] == pytest.approx(expected, abs=1e-10)


@cohorts
def test_auc_is_timeroc_between_times(name):
    values, score = ORACLES[name]["accuracy"], _column(name, "score")
    found = [auc(_sample(name), score, t)[0] for t in values["between"]]
    np.testing.assert_allclose(found, values["auc"], rtol=0, atol=1e-6)


@cohorts
def test_auc_at_an_event_time_counts_that_event_which_timeroc_does_not(name):
    # timeROC: cases T < t, controls T > t. Ours: cases T <= t, controls T > t or censored at t.
    values, score = ORACLES[name]["accuracy"], _column(name, "score")
    found = [auc(_sample(name), score, t)[0] for t in values["tied"]]
    np.testing.assert_allclose(found, values["auc_defined"], rtol=0, atol=1e-6)
    assert np.abs(np.array(found) - values["auc_tied"]).min() > 1e-4


@cohorts
def test_uno_c_is_concordance_with_weights_n_over_g2(name):
    values, score = ORACLES[name]["accuracy"], _column(name, "score")
    found = [uno_c(_sample(name), score, t)[0] for t in values["between"]]
    np.testing.assert_allclose(found, values["uno"], rtol=0, atol=1e-6)


@cohorts
def test_uno_c_leaves_out_events_at_tau_which_concordance_counts(name):
    # concordance(ymax = tau) counts events with T <= tau, Uno et al. (2011) those with T < tau.
    values, score = ORACLES[name]["accuracy"], _column(name, "score")
    found = np.array([uno_c(_sample(name), score, t)[0] for t in values["tied"]])
    np.testing.assert_allclose(found, values["uno_just_before"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(found, values["uno_defined"], rtol=0, atol=1e-6)
    assert np.abs(found - values["uno_tied"]).min() > 1e-4


@cohorts
def test_brier_is_that_of_riskregression(name):
    values = ORACLES[name]["accuracy"]
    found = brier(_sample(name), _predicted(name, values["between"]), np.array(values["between"]))[0]
    np.testing.assert_allclose(found, values["brier"], rtol=0, atol=1e-6)


@cohorts
def test_brier_at_an_event_time_is_the_definition(name):
    values = ORACLES[name]["accuracy"]
    found = brier(_sample(name), _predicted(name, values["tied"]), np.array(values["tied"]))[0]
    np.testing.assert_allclose(found, values["brier_defined"], rtol=0, atol=1e-6)


def test_censorings_taken_before_events_at_the_same_time_would_be_told():
    time, event = _outcome("ties")
    late = Sample.make(time + 1e-6 * event, event, min_survival=0.0)  # an event after the censorings that it ties
    values, score = ORACLES["ties"]["accuracy"], _column("ties", "score")
    for k, t in enumerate(values["between"]):
        assert abs(uno_c(late, score, t)[0] - values["uno"][k]) > 1e-5
        assert abs(auc(late, score, t)[0] - values["auc"][k]) > 1e-5
        assert abs(brier(late, _predicted("ties", [t]), np.array([t]))[0, 0] - values["brier"][k]) > 1e-5


@cohorts
def test_net_benefit_is_that_of_dcurves(name):
    values, risk = ORACLES[name]["net_benefit"], _column(name, "risk")
    thresholds, horizon = np.array(values["thresholds"]), values["horizon"]
    found = net_benefit(_sample(name), risk, horizon, thresholds)[0]
    # Both cannot tell where nobody above a threshold is followed to the horizon.
    np.testing.assert_allclose(found, np.array(values["model"], dtype=np.float64), rtol=0, atol=1e-6)
    np.testing.assert_allclose(treat_all(_sample(name), horizon, thresholds)[0], values["all"], rtol=0, atol=1e-6)
    np.testing.assert_array_equal(treat_none(_sample(name), thresholds)[0], values["none"])
    time, event = _outcome(name)
    naive = net_benefit(Sample.make(time, event | (time < horizon)), risk, horizon, thresholds)[0]
    assert np.nanmax(np.abs(naive - found)) > 1e-2  # censorings taken for events
