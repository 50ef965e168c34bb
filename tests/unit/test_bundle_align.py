"""Features of another cohort on the scale of a bundle."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratiome.bundle.align import Aligned, Moved
from stratiome.bundle.training import QUANTILES, blurred, column


def _moved(here, there):
    return Moved(np.quantile(here, QUANTILES, axis=0).T, np.quantile(there, QUANTILES, axis=0).T)


def test_the_distribution_of_the_bundle_is_met():
    rng = np.random.default_rng(1)
    here, there = rng.normal(3, 2, (4000, 2)), rng.normal(-1, 0.5, (4000, 2))
    made = _moved(here, there)(here)
    np.testing.assert_allclose(np.quantile(made, QUANTILES, axis=0), np.quantile(there, QUANTILES, axis=0), atol=0.01)
    np.testing.assert_allclose(made.mean(axis=0), there.mean(axis=0), atol=0.05)
    np.testing.assert_allclose(made.std(axis=0), there.std(axis=0), rtol=0.05)


def test_a_linear_change_is_undone_far_out_as_well():
    rng = np.random.default_rng(2)
    there = rng.normal(size=(500, 1))
    far = np.array([[-9.0], [9.0]])
    np.testing.assert_allclose(_moved(5 * there - 2, there)(5 * far - 2), far, rtol=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000))
def test_the_order_of_patients_stays_and_missing_stays_missing(seed):
    rng = np.random.default_rng(seed)
    here, there = rng.gamma(0.3, 50, (200, 1)), rng.normal(size=(200, 1))
    values = np.sort(np.concatenate([here, 10 * here]), axis=0)
    values[::7] = np.nan
    made = _moved(here, there)(values)
    assert (np.isnan(made) == np.isnan(values)).all()
    known = made[np.isfinite(made)]
    assert (np.diff(known) >= -1e-12).all()


def test_each_patient_is_moved_alike():
    rng = np.random.default_rng(3)
    change, values = _moved(rng.normal(size=(99, 4)), rng.normal(size=(99, 4))), rng.normal(size=(10, 4))
    np.testing.assert_array_equal(change(values)[3:4], change(values[3:4]))


def test_constant_features_have_one_value_and_unknown_ones_none():
    change = Moved(np.array([[2.0] * 7, [np.nan] * 7]), np.array([np.linspace(-1, 1, 7), np.linspace(0, 1, 7)]))
    made = change(np.array([[2.0, 1.0], [5.0, 1.0]]))
    assert np.isfinite(made[:, 0]).all()
    assert np.isnan(made[:, 1]).all()
    assert change.known.tolist() == [True, False]


def test_probes_of_one_gene_are_averaged_over_those_that_are_known():
    match = Aligned("rna", np.array([0, 2, -1]), {0: np.array([0, 1])})
    read = np.array([[1.0, 3.0, 5.0], [1.0, np.nan, 6.0], [np.nan, np.nan, 7.0]])
    expected = [[2.0, 5.0, np.nan], [1.0, 6.0, np.nan], [np.nan, 7.0, np.nan]]
    np.testing.assert_array_equal(match.values(read), expected)
    assert (match.asked, match.found) == (3, 2)
    with pytest.raises(IndexError):
        match.values(read[:, :1])


def test_a_bundle_tells_no_small_count_of_missing_values():
    values = np.arange(100.0)
    values[:3] = np.nan
    told = column(values, 10)
    assert (told.n, round(told.missing, 12)) == (95, 0.05)
    assert column(np.arange(100.0), 10).missing == 0
    values[:20] = np.nan
    assert (column(values, 10).n, column(values, 10).missing) == (80, 0.2)
    assert [blurred(n, 10) for n in (0, 1, 9, 10)] == [0, 5, 5, 10]
    assert [blurred(n, 1) for n in (0, 1, 2)] == [0, 1, 2]
