"""Propensities against statsmodels, exact balance and its mutants, separation and collinearity."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stratiome.treatment.emulate import TreatmentError
from stratiome.treatment.weight import (
    effective_sample_size,
    fit_logistic,
    fit_propensity,
    independent_columns,
    overlap_weights,
    standardised_differences,
)


def confounded(seed, n=200, p=4):
    rng = np.random.default_rng(seed)
    design = rng.normal(size=(n, p))
    design[:, -1] = rng.random(n) < 0.3
    treated = rng.random(n) < 1 / (1 + np.exp(-(design @ np.linspace(1.0, -0.8, p))))
    return design, treated


def with_ones(design):
    return np.column_stack([np.ones(len(design)), design])


def test_batched_fit_equals_statsmodels():
    import statsmodels.api as sm

    design, treated = confounded(0)
    rng = np.random.default_rng(1)
    weights = np.vstack([np.ones(len(design)), rng.multinomial(len(design), np.full(len(design), 1 / len(design)), 4)])
    fit = fit_logistic(with_ones(design), treated, weights.astype(float))
    logit = sm.Logit(treated.astype(float), with_ones(design)).fit(method="newton", tol=1e-14, disp=0)
    np.testing.assert_allclose(fit.coefficients[0], logit.params, atol=1e-8)
    np.testing.assert_allclose(fit.probability[0], logit.predict(), atol=1e-8)
    for row in range(1, len(weights)):
        drawn = np.repeat(np.arange(len(design)), weights[row].astype(int))
        again = sm.Logit(treated[drawn].astype(float), with_ones(design)[drawn]).fit(method="newton", tol=1e-14, disp=0)
        np.testing.assert_allclose(fit.coefficients[row], again.params, atol=1e-8)
    assert fit.settled.all()


def test_start_does_not_matter():
    design, treated = confounded(2)
    ones = np.ones((1, len(design)))
    cold = fit_logistic(with_ones(design), treated, ones)
    warm = fit_logistic(with_ones(design), treated, ones, start=np.full(design.shape[1] + 1, 0.7))
    np.testing.assert_allclose(cold.coefficients, warm.coefficients, atol=1e-10)


def test_overlap_weights_balance_exactly_and_a_penalty_does_not():
    from sklearn.linear_model import LogisticRegression

    design, treated = confounded(3)
    model = fit_propensity(design, treated)
    weighted = standardised_differences(design, treated, overlap_weights(treated, model.probability))
    assert np.abs(standardised_differences(design, treated)).max() > 0.3
    assert np.abs(weighted).max() < 1e-8
    penalised = LogisticRegression().fit(design, treated).predict_proba(design)[:, 1]
    mutant = standardised_differences(design, treated, overlap_weights(treated, penalised))
    assert np.abs(mutant).max() > 1e-4
    swapped = standardised_differences(design, treated, overlap_weights(~treated, model.probability))
    assert np.abs(swapped).max() > 1e-4


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 100_000), n=st.integers(60, 200), p=st.integers(1, 6))
def test_balance_is_exact_whatever_the_cohort(seed, n, p):
    design, treated = confounded(seed, n, p)
    model = fit_propensity(design, treated)
    weights = overlap_weights(treated, model.probability)
    assert np.abs(standardised_differences(design, treated, weights)).max() < 1e-8
    assert np.isfinite(model.predict(design)).all()


def test_affine_change_of_a_confounder_changes_nothing():
    design, treated = confounded(4)
    moved = design * np.array([3.0, 0.2, -1.0, 1.0]) + np.array([1.0, -2.0, 0.5, 0.0])
    np.testing.assert_allclose(
        fit_propensity(design, treated).probability, fit_propensity(moved, treated).probability, atol=1e-10
    )


def test_collinear_and_constant_columns_are_left_out_yet_balanced():
    design, treated = confounded(5)
    wide = np.column_stack([design, design[:, 0] - 2 * design[:, 1] + 3, np.full(len(design), 7.0)])
    np.testing.assert_array_equal(independent_columns(wide), [True] * 4 + [False] * 2)
    model = fit_propensity(wide, treated)
    np.testing.assert_allclose(model.probability, fit_propensity(design, treated).probability, atol=1e-12)
    np.testing.assert_allclose(model.predict(wide), model.probability, atol=1e-12)
    weights = overlap_weights(treated, model.probability)
    assert np.abs(standardised_differences(wide, treated, weights)).max() < 1e-8


def test_patients_whose_covariates_determine_treatment_get_no_weight():
    design, treated = confounded(6)
    # Ten patients of a level that nobody outside the treated has.
    level = np.zeros(len(design))
    level[np.flatnonzero(treated)[:10]] = 1.0
    model = fit_propensity(np.column_stack([design, level]), treated)
    np.testing.assert_array_equal(model.comparable, level == 0)
    rest = fit_propensity(design[level == 0], treated[level == 0])
    np.testing.assert_allclose(model.probability[level == 0], rest.probability, atol=1e-9)
    weights = overlap_weights(treated, model.probability)
    assert (weights[level == 1] == 0).all()
    assert np.abs(standardised_differences(design, treated, weights)).max() < 1e-8
    new = model.predict(np.column_stack([design, level]))
    assert (new[level == 1] > 0.999).all()
    np.testing.assert_allclose(new[level == 0], rest.probability, atol=1e-6)


def test_complete_separation_and_a_single_arm_are_refused():
    design, treated = confounded(7)
    with pytest.raises(TreatmentError, match="determine the treatment completely"):
        fit_propensity(np.column_stack([design, np.where(treated, 1.0, -1.0)]), treated)
    with pytest.raises(TreatmentError, match="same treatment"):
        fit_propensity(design, np.ones(len(design), dtype=bool))


def test_no_confounder_gives_the_share_of_the_treated():
    treated = np.arange(50) < 20
    np.testing.assert_allclose(fit_propensity(np.zeros((50, 0)), treated).probability, 0.4, atol=1e-12)


def test_draw_without_a_level_equals_the_fit_without_its_column():
    design, treated = confounded(8)
    counts = np.where(design[:, -1] == 1, 0.0, 1.0)[None]
    fit = fit_logistic(with_ones(design), treated, counts)
    here = counts[0] > 0
    without = fit_logistic(with_ones(design[here][:, :-1]), treated[here], np.ones((1, int(here.sum()))))
    assert fit.settled.all()
    np.testing.assert_allclose(fit.probability[0, here], without.probability[0], atol=1e-8)


def test_effective_sample_size():
    assert effective_sample_size(np.ones(7)) == pytest.approx(7)
    assert effective_sample_size(np.array([1.0, 0.0, 0.0])) == 1.0
    assert effective_sample_size(np.array([1.0, 3.0])) == pytest.approx(16 / 10)
    assert effective_sample_size(np.zeros(3)) == 0.0


def test_standardised_differences_in_closed_form():
    design = np.array([[0.0, 1.0], [2.0, 1.0], [4.0, 1.0], [8.0, 1.0]])
    treated = np.array([False, False, True, True])
    np.testing.assert_allclose(standardised_differences(design, treated), [5 / np.sqrt((1 + 4) / 2), 0.0])
    weights = np.array([1.0, 3.0, 1.0, 1.0])
    np.testing.assert_allclose(standardised_differences(design, treated, weights)[0], (6 - 1.5) / np.sqrt(2.5))
