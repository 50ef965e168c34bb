"""Who the patients are."""

import numpy as np
import polars as pl
import pytest

from stratiome.cohort.baseline import baseline_rows, follow_up


def test_numbers_classes_and_gaps():
    clinical = pl.DataFrame(
        {
            "patient_id": ["a", "b", "c", "d"],
            "age": [50.0, 60.0, None, 70.0],
            "er": ["+", "-", "+", None],
        }
    )
    outcome = pl.DataFrame({"time_months": [10.0, 20.0, 30.0], "event": [0, 1, 0], "competing": [0, 0, 0]})
    rows = baseline_rows(clinical, outcome, ["age", "er"], {"age": True, "er": False}, 0.95)
    age, plus, minus = sorted(rows[:3], key=lambda r: (r["variable"], r["level"] or ""))
    assert (age["kind"], age["value"], age["sd"], age["n"], age["missing"]) == ("mean", 60.0, 10.0, 3, 1)
    assert (plus["level"], plus["count"], plus["n"], plus["missing"]) == ("+", 2, 3, 1)
    assert (minus["level"], minus["count"], minus["value"]) == ("-", 1, pytest.approx(1 / 3))
    assert rows[-1]["variable"] == "follow-up"


def test_median_follow_up_is_that_of_the_censored():
    # Reverse Kaplan-Meier: at 10 one of four is censored (3/4), the death at 20 leaves the risk set, at 30 one of two
    # is censored (3/8 <= 1/2).
    outcome = pl.DataFrame({"time_months": [10.0, 20.0, 30.0, 40.0], "event": [0, 1, 0, 0], "competing": [0] * 4})
    assert follow_up(outcome, 0.95)["value"] == 30.0
    competing = outcome.with_columns(event=pl.Series([0] * 4), competing=pl.Series([0, 1, 0, 0]))
    assert follow_up(competing, 0.95)["value"] == 30.0  # a death of another cause ends follow-up as little
    # Early deaths do not shorten it, as they would the plain median of the times.
    rng = np.random.default_rng(0)
    death, end = rng.exponential(5, 2000), rng.uniform(50, 70, 2000)
    dying = pl.DataFrame({"time_months": np.minimum(death, end), "event": (death < end).astype(int), "competing": 0})
    assert np.median(dying["time_months"].to_numpy()) < 5
    slow = pl.DataFrame(
        {"time_months": np.minimum(20 * death, end), "event": (20 * death < end).astype(int), "competing": 0}
    )
    found = follow_up(slow, 0.95)
    assert found["value"] == pytest.approx(60, abs=1.2)  # four standard errors of the median of U(50, 70)
    assert found["lower"] < found["value"] < found["upper"]
    assert np.median(slow["time_months"].to_numpy()) < 56


def test_nobody_censored_has_no_median_follow_up():
    row = follow_up(pl.DataFrame({"time_months": [1.0, 2.0], "event": [1, 0], "competing": [0, 1]}), 0.95)
    assert (row["value"], row["lower"], row["upper"], row["n"]) == (None, None, None, 2)
    assert follow_up(pl.DataFrame({"time_months": [], "event": [], "competing": []}), 0.95)["n"] == 0
