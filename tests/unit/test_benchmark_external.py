"""Updates of external validation and permutations of outcomes, as `tests/benchmarks` makes them, on known truth."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stratiome.prognosis.evaluate import Predictions, Problem

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import external
import external_cohort
import null_prognosis

GRID = np.linspace(0.0, external.HORIZON, 61)


def cohort(n, hazard, seed):
    """Exponential survival with the given hazards, censored uniformly up to twice the horizon."""
    rng = np.random.default_rng(seed)
    death, censored = rng.exponential(1.0 / hazard, n), rng.uniform(1.0, 2.0 * external.HORIZON, n)
    return np.minimum(death, censored), death <= censored


def test_hazard_ratio_is_observed_over_expected_by_hand():
    time, event = np.array([10.0, 20.0, 90.0, 70.0]), np.array([True, False, True, False])
    survival = np.exp(-0.01 * np.tile(GRID, (4, 1)))
    change = external.hazard_ratio(time, event, survival, GRID)
    ratio = 1 / (0.01 * (10 + 20 + 60 + 60))  # the death at 90 months is after the horizon
    assert np.allclose(change(survival), survival**ratio)


def test_hazard_ratio_finds_the_planted_one_whatever_the_slope():
    x = np.random.default_rng(1).normal(size=4000)
    true = 0.004 * np.exp(0.8 * x)
    time, event = cohort(len(x), 1.7 * true, 2)
    survival = np.exp(-np.outer(true, GRID))
    half = external.hazard_ratio(time, event, survival, GRID)(np.array([[0.5]]))[0, 0]
    assert np.log(half) / np.log(0.5) == pytest.approx(1.7, rel=0.05)


def test_slope_and_baseline_mend_predictions_that_are_too_extreme_and_too_high():
    x = np.random.default_rng(3).normal(size=4000)
    time, event = cohort(len(x), 0.004 * np.exp(0.5 * x), 4)
    wrong = np.exp(-np.outer(0.02 * np.exp(1.0 * x), GRID))
    right = np.exp(-np.outer(0.004 * np.exp(0.5 * x), GRID))
    mended = external.slope_baseline(time, event, wrong, GRID)(wrong)
    assert np.abs(mended[:, -1] - right[:, -1]).mean() < 0.02
    ratio_alone = external.hazard_ratio(time, event, wrong, GRID)(wrong)
    assert np.abs(ratio_alone[:, -1] - right[:, -1]).mean() > 0.04  # one parameter cannot mend the slope


def test_the_same_prediction_for_all_becomes_kaplan_meier():
    time, event = np.array([10.0, 20.0, 30.0, 70.0]), np.array([True, True, False, False])
    flat = np.tile(np.exp(-0.01 * GRID), (4, 1))
    assert np.allclose(external.slope_baseline(time, event, flat, GRID)(flat)[:, -1], 0.5)


@pytest.mark.parametrize("update", list(external.UPDATES))
def test_nobody_is_judged_by_an_update_that_saw_them(update):
    x = np.random.default_rng(5).normal(size=60)
    time, event = cohort(len(x), 0.01 * np.exp(x), 6)
    curves = np.exp(-np.outer(0.005 * np.exp(0.5 * x), GRID))
    rows, fold = np.arange(len(x)), np.zeros(len(x), dtype=int)

    def made(times):
        problem = Problem(times, event, GRID, (external.HORIZON,), external.HORIZON)
        given = Predictions(rows, fold, ("external",), {"m": x}, {"m": curves})
        return external.updated(problem, given, update, 1, seed=7).repeats[0]

    patient = int(np.flatnonzero(event & (time < external.HORIZON - 20))[0])
    later = time.copy()
    later[patient] += 15.0
    before, after = made(time), made(later)
    assert np.array_equal(before.fold, after.fold)
    same = before.fold == before.fold[patient]
    assert np.array_equal(before.survival["m"][same], after.survival["m"][same])
    assert not np.allclose(before.survival["m"][~same], after.survival["m"][~same])


def test_normal_scores_keep_order_and_missing_cells_whatever_the_tails():
    values = np.array([[1.0], [np.nan], [3e4], [2.0], [-1.0]])
    scores = external_cohort.normal_scores(values)[:, 0]
    assert np.isnan(scores[1])
    assert np.array_equal(np.argsort(scores[[0, 2, 3, 4]]), np.argsort(values[[0, 2, 3, 4], 0]))
    assert np.nansum(scores) == pytest.approx(0.0, abs=1e-12)
    assert np.nanmax(scores) < 1.1


def test_outcomes_are_dealt_anew_together_and_within_sites():
    n = 40
    table = pl.DataFrame(
        {
            "patient_id": [f"P{i}" for i in range(n)],
            "site": ["a"] * 25 + ["b"] * 15,
            "age": list(range(n)),
            "os_months": [float(i + 1) for i in range(n)],
            "os_event": [i % 3 == 0 for i in range(n)],
        }
    )
    made = null_prognosis.permuted(table, np.random.default_rng(1))
    assert made.select("patient_id", "site", "age").equals(table.select("patient_id", "site", "age"))
    assert not made["os_months"].equals(table["os_months"])
    keys = ["site", "os_months", "os_event"]
    assert made.select(keys).sort(keys).equals(table.select(keys).sort(keys))


def test_the_screening_mutant_finds_the_features_that_go_with_the_outcome():
    rng = np.random.default_rng(8)
    x = rng.normal(size=(300, 50))
    time, event = cohort(300, 0.01 * np.exp(x[:, :3].sum(axis=1)), 9)
    assert {0, 1, 2} <= set(null_prognosis.strongest(x, time, event))
