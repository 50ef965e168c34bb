"""Estimates of sites put together: columns of the summary, floors, limits, and a planted variance between sites."""

import numpy as np
import pytest

from stratiome import tables
from stratiome.survival.meta import random_effects
from stratiome.survival.sites import summarise


def rows(estimates, errors):
    return [{"estimate": e, "standard_error": s, "n": 50, "events": 20} for e, s in zip(estimates, errors, strict=True)]


def test_columns_are_those_of_the_random_effects_summary():
    y, errors = np.array([1.0, 4.0, -2.0, 3.0]), np.array([1.0, 1.5, 0.8, 2.0])
    found = summarise(rows(y, errors), "months", 0.9)
    expected = random_effects(y, errors, 0.9)
    assert (found["estimate"], found["lower"], found["upper"]) == (expected.estimate, expected.lower, expected.upper)
    assert (found["prediction_lower"], found["prediction_upper"]) == (expected.low, expected.high)
    assert found["spread"] == pytest.approx(expected.tau2**0.5)
    assert (found["sites"], found["of"], found["n"], found["events"]) == (4, 4, 200, 80)
    assert "90 % intervals" in found["method"]
    table = tables.from_rows([found | {"held_out": True}], tables.SiteSummary)
    tables.SiteSummary.validate(table)


def test_sites_without_an_estimate_or_an_error_are_counted_and_left_out():
    given = rows([1.0, None, 2.0, 3.0, 4.0], [1.0, None, 0.0, 1.0, 1.0])
    found = summarise(given, "months", 0.95)
    assert (found["sites"], found["of"], found["n"]) == (3, 5, 150)
    few = summarise(given[:4], "months", 0.95)
    assert few["estimate"] is None
    assert few["prediction_lower"] is None
    assert few["method"].startswith("not estimable: 2 of 4 sites have an estimate, 3 are needed; months")
    assert summarise([], "months", 0.95)["of"] == 0


def test_intervals_end_where_estimates_do():
    found = summarise(rows([0.9, 0.95, 0.3], [0.1, 0.1, 0.1]), "share", 0.95, (-1.0, 1.0))
    assert found["prediction_upper"] == 1.0
    assert found["prediction_lower"] == -1.0


def test_a_planted_variance_between_sites_is_found_and_none_is_not():
    rng = np.random.default_rng(4)
    spreads = {}
    for tau in (0.0, 3.0):
        made = []
        for _ in range(60):
            errors = rng.uniform(1.0, 2.0, 8)
            found = summarise(rows(rng.normal(rng.normal(2.0, tau, 8), errors), errors), "months", 0.95)
            made.append(found["spread"])
        spreads[tau] = np.array(made)
    assert np.median(spreads[3.0]) == pytest.approx(3.0, abs=0.6)
    assert np.median(spreads[0.0]) < 0.5
    # Errors have a mean square of 2.3: of the variance of 8 estimates, 11.3 or 2.3, chi-squared says that it is beyond
    # 3.3 in 96 % and in 19 %; bounds leave three standard errors of 60 draws.
    assert (spreads[3.0] > 1.0).mean() >= 0.88
    assert (spreads[0.0] > 1.0).mean() <= 0.34
