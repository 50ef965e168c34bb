"""Riley's criteria against the values of pmsampsize 1.1.3 (R), and their definitions."""

from __future__ import annotations

from math import exp, log

import pytest

from stratiome.prognosis.sample_size import MARGIN, interval_of_risk, least_sample_size

# parameters, events per unit of time, mean follow-up, horizon, R squared -> criterion 1, criterion 2, all, events
PMSAMPSIZE = [
    ((30, 0.065, 2.07, 2, 0.051), (5143, 1039, 5143, 691.99, 23.07)),
    ((25, 0.03, 5, 5, 0.1), (2123, 805, 2123, 318.45, 12.74)),
    ((10, 0.005, 60, 60, 0.08), (1075, 257, 1075, 322.5, 32.25)),
    ((12, 0.12, 3, 4, 0.2), (478, 275, 478, 172.08, 14.34)),
]


@pytest.mark.parametrize(("given", "expected"), PMSAMPSIZE)
def test_criteria_are_those_of_pmsampsize(given, expected):
    found = least_sample_size(*given)
    assert (found.shrinkage, found.optimism, found.patients) == expected[:3]
    assert found.events == pytest.approx(expected[3], abs=0.006)
    assert found.events_per_parameter == pytest.approx(expected[4], abs=0.006)


@pytest.mark.parametrize(("rate", "follow_up", "horizon"), [(0.03, 5, 5), (0.005, 60, 60), (0.02, 30, 24)])
def test_the_third_criterion_is_the_smallest_cohort_whose_interval_is_narrow(rate, follow_up, horizon):
    n = least_sample_size(1, rate, follow_up, horizon).risk
    risk = 1 - exp(-rate * horizon)
    assert interval_of_risk(rate, n * follow_up, horizon)[1] - risk <= MARGIN
    assert interval_of_risk(rate, (n - 1) * follow_up, horizon)[1] - risk > MARGIN


def test_default_r_squared_is_a_share_of_the_largest():
    share = 0.005 * 60
    largest = 1 - exp(2 * (share * log(share) - share))
    assert least_sample_size(10, 0.005, 60, 60).r_squared == pytest.approx(0.15 * largest)


def test_more_parameters_need_more_patients_and_a_better_model_fewer():
    few, many = least_sample_size(5, 0.01, 40, 60), least_sample_size(50, 0.01, 40, 60)
    assert many.shrinkage > 9 * few.shrinkage
    assert least_sample_size(5, 0.01, 40, 60, 0.3).shrinkage < few.shrinkage


@pytest.mark.parametrize("given", [(0, 0.1, 5, 5), (5, 0.0, 5, 5), (5, 0.1, 5, 0)])
def test_numbers_must_be_positive(given):
    with pytest.raises(ValueError, match="must be positive"):
        least_sample_size(*given)


def test_an_impossible_r_squared_is_refused():
    with pytest.raises(ValueError, match="largest possible"):
        least_sample_size(5, 0.03, 5, 5, 0.95)
