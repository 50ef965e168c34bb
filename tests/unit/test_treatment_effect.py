"""Differences in survival: closed forms, lifelines, coverage of the truth and a mutant that misses it."""

import numpy as np
import pytest

from stratiome.survival.curves import kaplan_meier
from stratiome.treatment import effect
from stratiome.treatment.effect import Question, compare_crude, compare_weighted, too_few
from stratiome.treatment.emulate import Sample
from stratiome.treatment.hazard import hazard_ratio, proportionality_p_value
from stratiome.treatment.interaction import equal_effects, holm
from stratiome.treatment.truth import TrueEffects
from stratiome.treatment.weight import fit_propensity
from treatment_cohort import planted

QUESTION = Question((30.0, 60.0), 60.0, np.linspace(0.0, 60.0, 13))


def crude(sample, seed=0, bootstraps=50):
    return compare_crude(sample, QUESTION, bootstraps, 0.95, np.random.default_rng(seed))


def overlap(sample, design, seed=0, bootstraps=50):
    model = fit_propensity(design, sample.treated)
    return compare_weighted(sample, design, model, QUESTION, bootstraps, 0.95, np.random.default_rng(seed))


def test_estimates_equal_lifelines():
    from lifelines import KaplanMeierFitter
    from lifelines.utils import restricted_mean_survival_time

    cohort = planted(0, 300)
    sample, found = cohort.sample, overlap(cohort.sample, cohort.design)
    arms = []
    for arm in (~sample.treated, sample.treated):
        fitted = KaplanMeierFitter().fit(sample.time[arm], sample.event[arm], weights=found.weights[arm])
        arms.append([restricted_mean_survival_time(fitted, 60.0), fitted.predict(30.0), fitted.predict(60.0)])
    np.testing.assert_allclose(found.estimate, np.subtract(arms[1], arms[0]), atol=1e-10)
    assert [e for e, _ in QUESTION.contrasts] == ["rmst_difference", "survival_difference", "survival_difference"]


def test_without_confounders_weighting_changes_nothing():
    sample = planted(1, 300).sample
    plain, weighted = crude(sample), overlap(sample, np.zeros((len(sample), 0)))
    np.testing.assert_allclose(weighted.estimate, plain.estimate, atol=1e-12)
    np.testing.assert_allclose(weighted.draws, plain.draws, atol=1e-12)
    np.testing.assert_allclose(weighted.lower, plain.lower, atol=1e-12)


def test_bootstrap_error_equals_greenwood():
    sample = planted(2, 500).sample
    variance = 0.0
    for arm in (~sample.treated, sample.treated):
        time, event = sample.time[arm], sample.event[arm]
        steps = [(np.sum(event & (time == t)), np.sum(time >= t)) for t in np.unique(time[event & (time <= 60)])]
        greenwood = sum(d / (y * (y - d)) for d, y in steps)
        variance += kaplan_meier(time, event, np.array([60.0]))[0] ** 2 * greenwood
    # 2,000 draws: the relative error of a standard deviation is about 1.6 %, so four of them.
    assert crude(sample, bootstraps=2000).error[2] == pytest.approx(np.sqrt(variance), rel=0.065)


def test_draws_are_fitted_anew():
    # In each draw the propensity of that draw balances it: drawing rows and starting again gives the same estimate.
    cohort = planted(3, 200)
    rng = np.random.default_rng(5)
    picked = np.random.default_rng(5).integers(0, 200, size=(3, 200))
    model = fit_propensity(cohort.design, cohort.sample.treated)
    found = compare_weighted(cohort.sample, cohort.design, model, QUESTION, 3, 0.95, rng)
    for row, draw in enumerate(np.sort(picked, axis=1)):
        s = cohort.sample
        again = Sample(s.clinical[draw.tolist()], s.treated[draw], s.time[draw], s.event[draw])
        np.testing.assert_allclose(
            found.draws[row], overlap(again, cohort.design[draw], bootstraps=2).estimate, atol=1e-9
        )


def test_batches_do_not_change_the_draws(monkeypatch):
    sample = planted(4, 200).sample
    whole = crude(sample)
    monkeypatch.setattr(effect, "_BATCH", 7 * 200)
    np.testing.assert_allclose(crude(sample).draws, whole.draws, atol=1e-12)


def test_unit_of_time_only_scales_the_restricted_mean():
    cohort = planted(5, 250)
    s = cohort.sample
    days = Sample(s.clinical, s.treated, s.time * 30.4375, s.event)
    asked = Question(tuple(h * 30.4375 for h in QUESTION.horizons), 60.0 * 30.4375, QUESTION.grid * 30.4375)
    model = fit_propensity(cohort.design, s.treated)
    scaled = compare_weighted(days, cohort.design, model, asked, 20, 0.95, np.random.default_rng(0))
    plain = overlap(s, cohort.design, bootstraps=20)
    np.testing.assert_allclose(scaled.estimate, plain.estimate * [30.4375, 1, 1], atol=1e-9)
    np.testing.assert_allclose(scaled.error, plain.error * [30.4375, 1, 1], atol=1e-9)


def test_follow_up_that_ends_early_is_said():
    s = planted(6, 200).sample
    cut = np.where(s.treated, 45.0, 400.0)
    short = Sample(s.clinical, s.treated, np.minimum(s.time, cut), s.event & (s.time <= cut))
    found = crude(short)
    assert np.isnan(found.estimate[[0, 2]]).all()
    assert np.isfinite(found.estimate[1])
    assert found.reasons == (
        "follow-up of an arm ends before 60 months",
        "",
        "follow-up of an arm ends before 60 months",
    )


def test_too_few_patients_or_events_in_an_arm():
    s = planted(7, 200).sample
    assert too_few(s) == ""
    first = np.cumsum(s.treated) <= 19
    assert too_few(s.take(~s.treated | first)) == "fewer than 20 patients in an arm"
    few = np.cumsum(s.event & s.treated) <= 4
    assert (
        too_few(Sample(s.clinical, s.treated, s.time, s.event & (~s.treated | few))) == "fewer than 5 events in an arm"
    )
    assert too_few(s.take(s.treated)) == "fewer than 20 patients in an arm"


def test_overlap_weighting_covers_the_truth_and_the_crude_comparison_does_not():
    covered = {"overlap": 0, "none": 0}
    errors = []
    for seed in range(60):
        cohort = planted(1000 + seed, 300)
        true = TrueEffects.of(cohort.truth).effect(cohort.sample.patient_ids, "rmst_difference", 60.0)
        for name, found in (
            ("overlap", overlap(cohort.sample, cohort.design, seed, bootstraps=100)),
            ("none", crude(cohort.sample, seed, bootstraps=100)),
        ):
            covered[name] += abs(found.estimate[0] - true) <= 1.959964 * found.error[0]
            errors += [found.estimate[0] - true] if name == "overlap" else []
    # A right 95 % interval covers fewer than 50 of 60 less than twice in 10,000 runs.
    assert covered["overlap"] >= 50
    assert covered["none"] <= 40
    # Unbiased: the mean error is within 3.5 of its standard errors.
    assert abs(np.mean(errors)) < 3.5 * np.std(errors, ddof=1) / np.sqrt(60)


def test_truth_in_closed_form():
    cohort = planted(8, 150, log_hazard_ratios=(0.0,))
    truth = TrueEffects.of(cohort.truth)
    assert truth.effect(cohort.sample.patient_ids, "rmst_difference", 60.0) == pytest.approx(0.0, abs=1e-12)
    one = TrueEffects.of(planted(9, 1).truth)
    row = planted(9, 1).truth.filter(planted(9, 1).truth["time_months"] == 60.0)
    s0, s1 = row["survival_untreated"][0], row["survival_treated"][0]
    assert one.effect(["P00000"], "survival_difference", 60.0) == pytest.approx(s1 - s0, abs=1e-12)
    means = [60.0 * (s - 1) / np.log(s) for s in (s0, s1)]  # area under an exponential curve up to 60 months
    assert one.effect(["P00000"], "rmst_difference", 60.0) == pytest.approx(means[1] - means[0], abs=1e-3)
    assert one.effect(["P00000"], "hazard_ratio", 60.0) is None
    assert one.effect(["P00000"], "rmst_difference", 500.0) is None
    assert one.effect(["nobody"], "rmst_difference", 60.0) is None


def test_truth_is_weighted_to_the_overlap_population():
    cohort = planted(10, 400, log_hazard_ratios=(-1.0, 1.0))
    found = TrueEffects.of(cohort.truth).effect(cohort.sample.patient_ids, "survival_difference", 60.0)
    at = cohort.truth.filter(cohort.truth["time_months"] == 60.0)
    e = at["propensity"].to_numpy()
    difference = (at["survival_treated"] - at["survival_untreated"]).to_numpy()
    assert found == pytest.approx(float((e * (1 - e) * difference).sum() / (e * (1 - e)).sum()), abs=1e-12)
    assert found != pytest.approx(float(difference.mean()), abs=1e-4)


def test_equal_effects_of_two_groups_is_the_squared_z():
    statistic, df, p = equal_effects(np.array([1.0, 3.0]), np.array([0.6, 0.8]))
    assert (statistic, df) == (pytest.approx(4.0), 1)
    assert p == pytest.approx(0.04550026389635842, abs=1e-12)


def test_equal_effects_is_the_wald_test_of_contrasts():
    effects, errors = np.array([0.2, 1.5, -0.4, 0.9]), np.array([0.5, 0.4, 0.8, 0.3])
    contrast = np.hstack([np.ones((3, 1)), -np.eye(3)])
    difference = contrast @ effects
    wald = difference @ np.linalg.solve(contrast @ np.diag(errors**2) @ contrast.T, difference)
    assert equal_effects(effects, errors)[0] == pytest.approx(wald, abs=1e-12)


def test_holm_equals_statsmodels_within_each_family():
    from statsmodels.stats.multitest import multipletests

    p = [0.04, 0.01, 0.03, 0.6]
    rows = [
        {"weighting": w, "estimand": "rmst_difference", "horizon_months": 60.0, "p_value": v, "p_holm": None}
        for w, values in (("none", [*p, None]), ("overlap", [0.2]))
        for v in values
    ]
    filled = [row["p_holm"] for row in holm(rows)]
    np.testing.assert_allclose(filled[:4], multipletests(p, method="holm")[1], atol=1e-12)
    assert filled[4:] == [None, 0.2]


def test_hazard_ratio_with_equal_weights_is_the_crude_one():
    s = planted(11, 300).sample
    plain, weighted = hazard_ratio(s, None, 0.95), hazard_ratio(s, np.full(len(s), 0.5), 0.95)
    assert weighted.estimate == pytest.approx(plain.estimate, rel=1e-6)
    assert plain.lower < plain.estimate < plain.upper


def _partial_likelihood(sample, beta, theta):
    """Breslow partial likelihood of the model with a treatment effect that changes with the pooled curve."""
    from stratiome.survival.censoring import survival_curve

    g = 1 - survival_curve(sample.time, sample.event).at(sample.time, left=True)[0]
    total = 0.0
    for i in np.flatnonzero(sample.event):
        effect_now = beta + theta * g[i]
        risk = sample.treated[sample.time >= sample.time[i]]
        total += sample.treated[i] * effect_now - np.log(np.exp(risk * effect_now).sum())
    return total


def test_proportionality_test_is_the_score_test():
    from scipy.optimize import minimize_scalar
    from scipy.stats import chi2

    s = planted(12, 120).sample
    s = Sample(s.clinical, s.treated, np.ceil(s.time / 4), s.event)  # ties
    best = minimize_scalar(lambda b: -_partial_likelihood(s, b, 0.0), bracket=(-1, 1), options={"xtol": 1e-12}).x
    h = 1e-4

    def at(i, j):
        return _partial_likelihood(s, best + i * h, j * h)

    score = (at(0, 1) - at(0, -1)) / (2 * h)
    bb, tt = (-(at(i, j) - 2 * at(0, 0) + at(-i, -j)) / h**2 for i, j in ((1, 0), (0, 1)))
    bt = -(at(1, 1) - at(1, -1) - at(-1, 1) + at(-1, -1)) / (4 * h**2)
    reference = chi2.sf(score**2 / (tt - bt**2 / bb), 1)
    assert proportionality_p_value(s) == pytest.approx(reference, rel=1e-3)


def test_proportionality_test_sees_crossing_hazards_and_keeps_its_level():
    rng = np.random.default_rng(0)
    clinical = planted(0, 400).clinical
    treated = np.arange(400) < 200
    event = np.ones(400, dtype=bool)
    crossing = Sample(clinical, treated, np.where(treated, rng.weibull(3.0, 400), rng.weibull(0.7, 400)) + 1e-9, event)
    assert proportionality_p_value(crossing) < 1e-6
    p = [proportionality_p_value(Sample(clinical, treated, rng.exponential(1.0, 400), event)) for _ in range(200)]
    # 5 % of 200: between 2 and 21 in more than 998 of 1,000 runs.
    assert 2 <= np.sum(np.array(p) < 0.05) <= 21
