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


def test_numbers_of_few_values_and_skewed_ones():
    clinical = pl.DataFrame(
        {
            "patient_id": [str(i) for i in range(40)],
            "grade": [1.0, 2.0, 3.0, 3.0] * 10,
            "nodes": [0.0] * 30 + [float(i) for i in range(1, 10)] + [45.0],
        }
    )
    nobody = pl.DataFrame({"time_months": [], "event": [], "competing": []})
    rows = baseline_rows(clinical, nobody, ["grade", "nodes"], {"grade": True, "nodes": True}, 0.95)
    grades = [(r["level"], r["count"], r["kind"]) for r in rows if r["variable"] == "grade"]
    assert grades == [("1", 10, "share"), ("2", 10, "share"), ("3", 20, "share")]
    nodes = next(r for r in rows if r["variable"] == "nodes")
    assert (nodes["kind"], nodes["value"], nodes["lower"], nodes["upper"]) == ("median", 0.0, 0.0, 0.25)


def test_the_same_by_arm():
    clinical = pl.DataFrame({"patient_id": list("abcd"), "drug": [0.0, 1.0, 1.0, None], "sex": ["f", "m", "m", "f"]})
    outcome = pl.DataFrame(
        {"patient_id": list("abc"), "time_months": [9.0, 5.0, 7.0], "event": [0, 0, 0], "competing": [0, 0, 0]}
    )
    rows = baseline_rows(clinical, outcome, ["drug", "sex"], {"drug": False, "sex": False}, 0.95, {"x": "drug"})
    treated = [r for r in rows if (r["treatment"], r["arm"]) == ("x", 1)]
    assert [(r["variable"], r["level"], r["n"]) for r in treated] == [("sex", "m", 2), ("follow-up", None, 2)]
    assert treated[1]["value"] == 5.0
    assert [r["n"] for r in rows if r["arm"] == 0] == [1, 1]
    assert all(r["treatment"] is None for r in rows[: len(rows) - 4])


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
