"""Differences of an effect between patients: groups, projections, calibration of predicted effects."""

import numpy as np
import pytest

from stratiome.treatment.heterogeneity import (
    FEWEST,
    effect_calibration,
    group_effects,
    linear_projection,
    quarters,
    value_groups,
)


def test_group_effects_are_means_and_small_groups_tell_nothing():
    rng = np.random.default_rng(1)
    group = np.array([1] * 100 + [2] * 150 + [3] * (FEWEST - 1))
    contrast = rng.normal(size=len(group)) + 2.0 * (group == 2)
    found = group_effects(contrast, group)
    assert found.groups == (1, 2, 3)
    assert found.n.tolist() == [100, 150, FEWEST - 1]
    assert found.estimate[0] == pytest.approx(contrast[:100].mean())
    assert found.error[1] == pytest.approx(contrast[100:250].std(ddof=1) / np.sqrt(150))
    assert np.isnan(found.estimate[2])
    assert (found.df, found.p_value < 1e-6) == (1, True)
    alone = group_effects(contrast[:100], group[:100])
    assert (alone.statistic, alone.df, alone.p_value) == (None, 0, None)


def test_quarters_are_made_within_folds_and_ties_stay_together():
    score = np.concatenate([np.arange(40.0), 1000 + np.arange(40.0)])
    found = quarters(score, np.repeat([0, 1], 40))
    assert np.bincount(found).tolist() == [0, 20, 20, 20, 20]
    assert found[0] == found[40] == 1
    assert len(set(quarters(np.ones(10)).tolist())) == 1


def test_groups_of_a_measured_column_are_what_their_names_say():
    age = np.random.default_rng(1).normal(57, 10, 600)
    group, names = value_groups(age)
    low, high = (float(names[i].rpartition(" ")[2]) for i in (0, 2))
    assert names == (f"up to {low:g}", f"above {low:g}, up to {high:g}", f"above {high:g}")
    assert low == round(low)
    assert (group == 1 + (age > low) + (age > high)).all()
    assert np.bincount(group)[1:].min() > 160
    years = np.random.default_rng(2).integers(1998, 2012, 600).astype(float)
    group, names = value_groups(years)
    assert names == ("up to 2002", "above 2002, up to 2007", "above 2007")


def test_few_values_are_groups_where_each_has_enough_patients():
    few = np.repeat([0.0, 1.0, 2.5], [51, 105, 40])
    group, names = value_groups(few)
    assert names == ("0", "1", "2.5")
    assert np.bincount(group)[1:].tolist() == [51, 105, 40]
    group, names = value_groups(np.repeat([0.0, 1.0, 2.0, 3.0], [60, 60, 70, 7]))
    assert names == ("up to 1", "above 1")  # seven alone would tell nothing
    group, names = value_groups(np.repeat([0.0, 1.0], [15, 300]))
    assert names == ("up to 0", "above 0")
    assert np.bincount(group)[1:].tolist() == [15, 300]
    assert value_groups(np.repeat([0.0, 3.271, 4.112], [300, 4, 9]))[1] == ("up to 0", "above 0")


def test_a_projection_finds_what_changes_the_effect():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(3000, 2)) + 5.0
    contrast = 1.5 + 0.8 * (x[:, 0] - 5.0) + rng.normal(size=3000) * (1 + (x[:, 1] > 5))
    found = linear_projection(contrast, x)
    np.testing.assert_allclose(found.coefficients, [1.5, 0.8, 0.0], atol=4 * found.errors.max())
    assert found.p_value < 1e-10
    assert found.df == 2


def test_tests_have_their_size_where_the_effect_is_the_same_for_all():
    rng = np.random.default_rng(3)
    rejected = []
    for _ in range(600):
        contrast = 3.0 + rng.standard_t(4, size=200)
        x, fold = rng.normal(size=(200, 2)), rng.integers(0, 5, 200)
        rejected.append(
            [
                group_effects(contrast, quarters(x[:, 0])).p_value < 0.05,
                linear_projection(contrast, x).p_value < 0.05,
                effect_calibration(contrast, x[:, 0], fold).p_value < 0.05,
            ]
        )
    share = np.mean(rejected, axis=0)
    assert (share > 0.02).all()
    assert (share < 0.085).all()


def test_predicted_effects_that_are_right_have_slope_one_and_flat_ones_tell_nothing():
    rng = np.random.default_rng(4)
    effect, fold = rng.normal(size=4000), rng.integers(0, 5, 4000)
    contrast = effect + 2 * rng.normal(size=4000)
    right = effect_calibration(contrast, effect, fold)
    assert right.slope == pytest.approx(1.0, abs=4 * right.error)
    assert right.p_value < 1e-10
    exaggerated = effect_calibration(contrast, 2 * effect, fold)
    assert exaggerated.slope == pytest.approx(0.5, abs=4 * exaggerated.error)
    flat = effect_calibration(contrast, fold.astype(float), fold)
    assert np.isnan(flat.slope)
    assert flat.p_value == 1.0
