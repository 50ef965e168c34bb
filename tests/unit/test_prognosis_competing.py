"""Metrics under competing risks and with Cox-based censoring weights: R, small examples by hand, and known truth."""

import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import competing_gates as gates
from stratiome.prognosis.calibration import calibration_groups, calibration_slope
from stratiome.prognosis.censoring import Observed, brier_given, uno_c_given
from stratiome.prognosis.decision import net_benefit, treat_all
from stratiome.prognosis.metrics import auc, brier, observed_expected
from stratiome.prognosis.stack import stack_weights
from stratiome.survival.censoring import censoring_curve
from stratiome.survival.competing import aalen_johansen, incidence_error
from stratiome.survival.concordance import Sample, harrell_c, uno_c
from stratiome.survival.outcome import OutcomeError

FOLDER = Path(__file__).parents[1] / "fixtures" / "survival"
ORACLES = json.loads((FOLDER / "competing.json").read_text(encoding="utf-8"))
COHORTS = {name: pl.read_csv(FOLDER / f"{name}.csv") for name in ("fine", "ties")}
REPLICATES = 12

cohorts = pytest.mark.parametrize("name", COHORTS)


def _columns(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    table = COHORTS[name]
    return table["time"].to_numpy().astype(float), table["cause"].to_numpy(), table["score"].to_numpy()


def _sample(name: str, **changes) -> Sample:
    time, cause, _ = _columns(name)
    return Sample.make(time, cause == 1, competing=cause == 2, min_survival=0.0, **changes)


def _free(name: str) -> np.ndarray:
    hazard = np.exp(0.8 * _columns(name)[2]) / ORACLES[name]["scale"]
    return 1.0 - 0.6 * -np.expm1(-np.outer(hazard, ORACLES[name]["between"]))


@cohorts
def test_auc_and_brier_are_those_of_riskregression(name):
    values, sample, score = ORACLES[name], _sample(name), _columns(name)[2]
    found = [auc(sample, score, h)[0] for h in values["between"]]
    np.testing.assert_allclose(found, values["auc"], atol=1e-10)
    np.testing.assert_allclose(brier(sample, _free(name), np.array(values["between"]))[0], values["brier"], atol=1e-10)


@cohorts
def test_concordance_is_that_of_pec(name):
    time, cause, score = _columns(name)
    order = np.lexsort((cause == 0, time))  # pec counts tied times in ways of its own
    untied = np.empty_like(time)
    untied[order] = np.sort(time) + 1e-6 * np.arange(1, len(time) + 1)
    sample = Sample.make(untied, cause == 1, competing=cause == 2, min_survival=0.0)
    found = [uno_c(sample, score, h)[0] for h in ORACLES[name]["between"]]
    np.testing.assert_allclose(found, ORACLES[name]["concordance"], atol=1e-10)


@cohorts
def test_slope_is_that_of_finegray_and_coxph(name):
    free, sample = _free(name), _sample(name)
    found = [calibration_slope(sample, free[:, j], h)[0] for j, h in enumerate(ORACLES[name]["between"])]
    np.testing.assert_allclose(found, ORACLES[name]["slope"], atol=1e-9)


@cohorts
def test_deaths_of_other_causes_as_censorings_would_be_told(name):
    time, cause, score = _columns(name)
    wrong, values, free = Sample.make(time, cause == 1, min_survival=0.0), ORACLES[name], _free(name)
    for j, h in enumerate(values["between"]):
        assert abs(auc(wrong, score, h)[0] - values["auc"][j]) > 1e-3
        assert abs(brier(wrong, free[:, [j]], np.array([h]))[0, 0] - values["brier"][j]) > 1e-3
        assert abs(uno_c(wrong, score, h)[0] - values["concordance"][j]) > 1e-3
        assert abs(calibration_slope(wrong, free[:, j], h)[0] - values["slope"][j]) > 1e-3


def test_five_patients_by_hand():
    time, cause = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([2, 1, 0, 1, 0])
    sample = Sample.make(time, cause == 1, competing=cause == 2)
    # One of three at risk is censored at 3: G = 2/3 afterwards.
    np.testing.assert_allclose(sample.uncensored[0], [1, 1, 1, 2 / 3, 2 / 3])
    assert sample.risk_at(4.5)[0] == pytest.approx(1 / 5 + 3 / 5 * 1 / 2)
    risk = np.array([0.9, 0.8, 0.1, 0.7, 0.2])
    # Patient 2 compares with 1 (died otherwise), 3, 4, 5: wrong, right, right, right; weights 1.
    # Patient 4 compares with 1 and 5: wrong with 1 / (G(4-) G(1-)) = 1.5, right with 1 / G(4-)^2 = 2.25.
    assert uno_c(sample, risk, 10.0)[0] == pytest.approx((3 + 2.25) / (4 + 1.5 + 2.25))
    assert harrell_c(sample, risk)[0] == pytest.approx(4 / 6)
    # AUC at 4.5: cases 2 (weight 1) and 4 (1.5), controls 1 (weight 1) and 5 (1 / G(4.5-) = 1.5).
    assert auc(sample, risk, 4.5)[0] == pytest.approx(2.5 * 1.5 / (2.5 * 2.5))
    free = 1.0 - risk
    squares = [risk[0] ** 2, free[1] ** 2, 0.0, 1.5 * free[3] ** 2, 1.5 * risk[4] ** 2]
    assert brier(sample, free[:, None], np.array([4.5]))[0, 0] == pytest.approx(sum(squares) / 5)
    assert observed_expected(sample, free, 4.5)[0] == pytest.approx(0.5 / risk.mean())
    assert treat_all(sample, 4.5, np.array([0.2]))[0, 0] == pytest.approx(0.5 - 0.5 * 0.25)
    # Treated from 0.75 on: patients 1 and 2, one of whom has the event.
    assert net_benefit(sample, risk, 4.5, np.array([0.75]))[0, 0] == pytest.approx(2 / 5 * (0.5 - 0.5 * 3))


def test_a_death_of_another_cause_at_the_time_of_an_event_compares_with_it_once():
    sample = Sample.make(
        np.array([2.0, 2.0]), np.array([True, False]), competing=np.array([False, True]), min_survival=0.0
    )
    assert uno_c(sample, np.array([1.0, 0.0]), 10.0)[0] == 1.0
    assert harrell_c(sample, np.array([0.0, 1.0]))[0] == 0.0


@cohorts
def test_weights_are_repeated_rows(name):
    time, cause, score = _columns(name)
    counts = np.random.default_rng(4).multinomial(len(time), np.full(len(time), 1 / len(time)))
    drawn = np.repeat(np.arange(len(time)), counts)
    weighted = Sample.make(time, cause == 1, competing=cause == 2, weights=counts[None])
    repeated = Sample.make(time[drawn], cause[drawn] == 1, competing=cause[drawn] == 2)
    free, horizon = _free(name)[:, 1], ORACLES[name]["between"][1]
    for metric in (
        lambda s, rows: uno_c(s, score[rows], horizon),
        lambda s, rows: harrell_c(s, score[rows]),
        lambda s, rows: auc(s, score[rows], horizon),
        lambda s, rows: brier(s, free[rows][:, None], np.array([horizon]))[:, 0],
        lambda s, rows: observed_expected(s, free[rows], horizon),
        lambda s, rows: calibration_slope(s, free[rows], horizon),
        lambda s, rows: net_benefit(s, 1 - free[rows], horizon, np.array([0.1, 0.2]))[:, 0],
    ):
        assert metric(weighted, slice(None))[0] == pytest.approx(metric(repeated, drawn)[0], abs=1e-10)


@cohorts
def test_observed_risk_and_brier_score_of_the_aalen_johansen_curve(name):
    time, cause, _ = _columns(name)
    times = np.array(ORACLES[name]["between"])
    risk = aalen_johansen(time, cause).at(times)[0, 0]
    curves = np.repeat(1.0 - risk[None], len(time), axis=0)
    sample = _sample(name)
    np.testing.assert_allclose([sample.risk_at(t)[0] for t in times], risk, atol=1e-12)
    # Schoop's weights give the incidence back, so the Brier score of the curve is its variance.
    np.testing.assert_allclose(brier(sample, curves, times)[0], risk * (1 - risk), atol=1e-12)
    assert observed_expected(sample, curves[:, 0], times[0])[0] == pytest.approx(1, abs=1e-12)


@cohorts
def test_groups_have_the_incidence_of_aalen_johansen_with_its_error(name):
    time, cause, _ = _columns(name)
    horizon, risk = ORACLES[name]["between"][1], 1.0 - _free(name)[:, 1]
    groups = calibration_groups(time, cause == 1, risk, horizon, 4, 0.95, cause == 2)
    assert sum(g.n for g in groups) == len(time)
    lowest = groups[0]
    rows = risk <= np.sort(risk)[lowest.n - 1]
    assert rows.sum() == lowest.n
    assert lowest.observed == pytest.approx(aalen_johansen(time[rows], cause[rows]).at(horizon)[0, 0, 0], abs=1e-12)
    error = incidence_error(time[rows], cause[rows], np.array([horizon]))[0, 0]
    # On the scale of log(-log(1 - F)) the half-width is 1.96 standard errors by the delta method.
    ends = np.log(-np.log1p(-np.array([lowest.lower, lowest.observed, lowest.upper])))
    slope = 1.0 / ((1 - lowest.observed) * -np.log1p(-lowest.observed))
    np.testing.assert_allclose(np.diff(ends), 1.959964 * error * slope, rtol=1e-6)
    assert all(g.lower < g.observed < g.upper for g in groups)


def test_groups_at_the_edges():
    time, none = np.linspace(1, 10, 20), np.zeros(20, dtype=bool)
    risk, others = np.full(20, 0.2), np.arange(20) < 10
    (nobody,) = calibration_groups(time, none, risk, 5.0, 1, 0.95, others)
    assert (nobody.observed, nobody.lower) == (0.0, 0.0)
    assert nobody.upper == pytest.approx(1 - 0.025 ** (1 / 20))  # all are alive at 5 or known to have died otherwise
    assert calibration_groups(time, none, risk, 20.0, 1, 0.95, others) == ()  # nobody is followed to 20, some are alive
    (ended,) = calibration_groups(time, ~others, risk, 20.0, 1, 0.95, others)  # nobody is alive: all is known
    assert ended.observed == pytest.approx(0.5)


def test_stacking_counts_deaths_of_other_causes_as_known_not_to_fail():
    made = gates.draw_competing(800, np.random.default_rng(8))
    right = 1.0 - gates.true_incidence(made.x, gates.GRID)
    wrong = np.exp(-np.outer(gates.hazards(made.x)[0], gates.GRID))  # as if there were no other causes
    args = (made.follow_up, made.first(1), np.stack([right, wrong]), gates.GRID, gates.HORIZON)
    weights, alone = stack_weights(*args, made.first(2))
    sample = Sample.make(made.follow_up, made.first(1), competing=made.first(2))
    for curves, score in zip((right, wrong), alone, strict=True):
        own = np.trapezoid(brier(sample, curves, gates.GRID)[0], gates.GRID) / gates.HORIZON
        assert score == pytest.approx(own, abs=1e-12)
    assert weights[0] > 0.9
    assert stack_weights(*args)[0][0] < 0.5  # as censorings, they make the wrong model look better


def test_both_causes_at_once_and_other_lengths_are_refused():
    time, yes = np.array([1.0, 2.0]), np.array([True, True])
    with pytest.raises(OutcomeError, match="2 patients failed of the event and of another cause"):
        Sample.make(time, yes, competing=yes)
    with pytest.raises(OutcomeError, match="one shape"):
        Sample.make(time, yes, competing=yes[:1])


@cohorts
@pytest.mark.parametrize("rivals", [False, True])
def test_weights_of_a_model_without_covariates_are_those_of_kaplan_meier(name, rivals):
    time, cause, score = _columns(name)
    given = {"competing": cause == 2} if rivals else {}
    event = (cause == 1) if rivals else (cause > 0)
    sample = Sample.make(time, event, **given)
    # A grid of all times and of just before them holds the steps of G(t-).
    times = np.unique(time)
    grid = np.unique(np.concatenate([[0.0], times, times + 1e-9, [200.0]]))
    curve = censoring_curve(time, cause > 0).at(grid, left=True)
    observed = Observed(np.repeat(curve, len(time), axis=0), grid)
    tau = ORACLES[name]["between"][2]
    assert uno_c_given(sample, score, tau, observed)[0] == pytest.approx(uno_c(sample, score, tau)[0], abs=1e-10)
    at = np.array(ORACLES[name]["between"])
    found = brier_given(sample, _free(name), at, observed)
    np.testing.assert_allclose(found, brier(sample, _free(name), at), atol=1e-10)
    assert observed.truncated(sample, tau) == sample.truncated(tau)


def test_small_probabilities_are_truncated_and_counted():
    sample = Sample.make(np.array([1.0, 2.0, 3.0]), np.array([True, True, False]))
    observed = Observed(np.array([[1.0, 1.0], [1.0, 0.0], [1.0, 0.0]]), np.array([0.0, 2.0]))
    assert observed.truncated(sample, 3.0) == 1
    np.testing.assert_allclose(observed.own(sample), [1.0, 0.05, 0.05])
    # Pairs: (1, 2) with G_2(1-) = 1/2, (1, 3) with 1/2, (2, 3) with 1 / 0.05 from both.
    risk = np.array([0.0, 2.0, 1.0])
    assert uno_c_given(sample, risk, 9.0, observed)[0] == pytest.approx(400 / (2 + 2 + 400))
    score = brier_given(sample, np.full((3, 1), 0.5), np.array([1.5]), observed)
    assert score[0, 0] == pytest.approx((0.25 + 2 * 0.25 / 0.25) / 3)


@pytest.mark.parametrize("name", gates.ROWS)
def test_gates(name):
    row, truth = gates.ROWS[name], gates.ROWS[name].truth()
    found = [row.replicate(seed) for seed in range(REPLICATES)]
    ours, mutant = found[0]
    for gate in row.gates:
        mean, error = gates.judge(found, ours, gate.metric)
        assert abs(mean - truth[gate.metric]) < gate.bound + 3.5 * error, gate.metric
        mean, _ = gates.judge(found, mutant, gate.metric)
        assert abs(mean - truth[gate.metric]) > gate.mutant, gate.metric
