"""Joint cohorts and permutations of outcomes, as `tests/benchmarks` makes them, on known truth."""

import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))
import external_cohort
import null_prognosis


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
    drawn = np.random.default_rng(9)
    death, censored = drawn.exponential(100.0 * np.exp(-x[:, :3].sum(axis=1))), drawn.uniform(1.0, 120.0, 300)
    time, event = np.minimum(death, censored), death <= censored
    assert {0, 1, 2} <= set(null_prognosis.strongest(x, time, event))
