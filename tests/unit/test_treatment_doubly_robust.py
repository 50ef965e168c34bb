"""Doubly robust effects: identities of the scores, and what they do where a model is wrong."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from stratiome.survival.cox import with_baseline
from stratiome.treatment.doubly_robust import average, cross_fit, fit_nuisance, influence, over_splits
from stratiome.treatment.emulate import Sample, TreatmentError

HORIZONS = np.array([6.0, 20.0, 36.0])
TAU = 30.0


def simulated(seed: int, n: int = 300, censored: bool = True) -> tuple[np.ndarray, Sample]:
    rng = np.random.default_rng(seed)
    x = np.column_stack([rng.normal(size=n), rng.random(n) < 0.4]).astype(np.float64)
    treated = rng.random(n) < expit(0.8 * x[:, 0] - 0.3)
    death = rng.exponential(30 / np.exp(0.7 * x[:, 0] - 0.5 * treated))
    leave = rng.exponential(40 / np.exp(0.5 * x[:, 0])) if censored else np.full(n, np.inf)
    ids = pl.DataFrame({"patient_id": [f"P{i:04d}" for i in range(n)]})
    return x, Sample(ids, treated, np.minimum(death, leave), death <= leave)


def test_without_censoring_scores_are_those_of_a_binary_outcome():
    """`S + 1{A = a} / p (1{Y > t} - S)`, exactly: the martingale integral is an identity then."""
    x, sample = simulated(1, censored=False)
    nuisance = fit_nuisance(x, sample)
    other, held = simulated(2, 150, censored=False)
    found = influence(nuisance, other, held, HORIZONS, TAU)
    p = nuisance.propensity(other)
    for arm in (0, 1):
        survival = nuisance.survival[arm].survival(other, HORIZONS)
        weight = (held.treated == bool(arm)) / (p if arm else 1 - p)
        binary = survival + weight[:, None] * ((held.time[:, None] > HORIZONS) - survival)
        np.testing.assert_allclose(found.survival[arm], binary, atol=1e-9)
        mean = nuisance.survival[arm].survival(other, np.linspace(0, TAU, 200_001)).mean(axis=1) * TAU
        np.testing.assert_allclose(found.predicted_restricted[arm], mean, atol=1e-2)
        months = found.predicted_restricted[arm]
        known = months + weight * (np.minimum(held.time, TAU) - months)
        np.testing.assert_allclose(found.restricted[arm], known, atol=1e-9)


def test_restricted_means_are_integrals_of_the_survival_scores():
    x, sample = simulated(3)
    nuisance = fit_nuisance(x, sample)
    other, held = simulated(4, 40)
    grid = np.linspace(0, TAU, 60_001)
    found = influence(nuisance, other, held, grid, TAU)
    np.testing.assert_allclose(found.restricted, found.survival[..., :-1].mean(axis=-1) * TAU, atol=0.02)


def test_scores_are_the_formula_written_out():
    x, sample = simulated(5, 200)
    nuisance = fit_nuisance(x, sample)
    other, held = simulated(6, 25)
    found = influence(nuisance, other, held, HORIZONS, TAU)
    p = nuisance.propensity(other)
    for arm in (0, 1):
        model, observed = nuisance.survival[arm], nuisance.censoring[arm]
        for i in range(len(held)):
            row = other[i : i + 1]
            for j, t in enumerate(HORIZONS):
                inside = 0.0
                for u in model.times[model.times <= min(t, held.time[i])]:
                    before = model.survival(row, np.array([np.nextafter(u, 0.0)]))[0, 0]
                    after = model.survival(row, np.array([u]))[0, 0]
                    inside -= (1 - after / before) / after / max(observed.uncensored(row, np.array([u]))[0, 0], 0.05)
                if held.event[i] and held.time[i] <= t:
                    end = model.survival(row, held.time[i : i + 1])[0, 0]
                    inside += 1 / end / max(observed.uncensored(row, held.time[i : i + 1])[0, 0], 0.05)
                share = p[i] if arm else 1 - p[i]
                weight = (held.treated[i] == bool(arm)) / share
                expected = model.survival(row, np.array([t]))[0, 0] * (1 - weight * inside)
                assert found.survival[arm, i, j] == pytest.approx(expected, abs=1e-10)


def test_randomised_arms_without_confounders_give_the_kaplan_meier_difference_nearly():
    from stratiome.survival.curves import kaplan_meier

    _, sample = simulated(7, 1200)
    treated = np.random.default_rng(1).random(len(sample)) < 0.5
    sample = Sample(sample.clinical, treated, sample.time, sample.event)
    nothing = np.zeros((len(sample), 0))
    scores = cross_fit(nothing, sample, HORIZONS, TAU, folds=5, rng=np.random.default_rng(2))
    found = average(scores, treated, "all")
    curves = [kaplan_meier(sample.time[a], sample.event[a], HORIZONS, np.ones(a.sum())) for a in (~treated, treated)]
    np.testing.assert_allclose(found.estimate[1:], curves[1] - curves[0], atol=3e-3)
    for population in ("trimmed", "overlap"):
        np.testing.assert_allclose(average(scores, treated, population).estimate, found.estimate, atol=2e-3)


def test_confounding_goes_and_intervals_hold_the_truth():
    x, sample = simulated(8, 4000)
    scores = cross_fit(x, sample, HORIZONS, TAU, folds=5, rng=np.random.default_rng(3))
    rate = [np.exp(0.7 * x[:, [0]] - 0.5 * a) / 30 for a in (0, 1)]
    truth = (np.exp(-rate[1] * HORIZONS) - np.exp(-rate[0] * HORIZONS)).mean(axis=0)
    for population in ("all", "trimmed", "overlap"):
        found = average(scores, sample.treated, population)
        assert (found.error > 0).all()
        assert (np.abs(found.estimate[1:] - truth) < 4 * found.error[1:]).all()


def test_folds_do_not_depend_on_other_patients_and_seeds_repeat():
    x, sample = simulated(9)
    once, again = (
        cross_fit(x, sample, HORIZONS, TAU, folds=4, rng=np.random.default_rng(5)).contrasts for _ in range(2)
    )
    np.testing.assert_array_equal(once, again)
    other = cross_fit(x, sample, HORIZONS, TAU, folds=4, rng=np.random.default_rng(6)).contrasts
    assert not np.array_equal(once, other)


def test_one_odd_split_does_not_decide():
    x, sample = simulated(12)
    split = [cross_fit(x, sample, HORIZONS, TAU, folds=4, rng=np.random.default_rng(k)) for k in range(5)]
    effects = [average(s, sample.treated, "all") for s in split]
    whole = over_splits(effects)
    odd = dataclasses.replace(effects[0], estimate=effects[0].estimate + 50, error=effects[0].error * 9)
    found = over_splits([odd, *effects[1:]])
    spread = np.ptp([e.estimate for e in effects], axis=0)
    assert (np.abs(found.estimate - whole.estimate) <= spread).all()
    assert (found.error < 1.5 * whole.error).all()
    assert (whole.error >= np.min([e.error for e in effects], axis=0)).all()


def test_confounders_that_determine_the_treatment_are_refused():
    x, sample = simulated(10)
    copied = np.column_stack([x, sample.treated])
    with pytest.raises(TreatmentError, match="determine the treatment completely"):
        cross_fit(copied, sample, HORIZONS, TAU, folds=3, rng=np.random.default_rng(0))


def test_scores_stay_finite_for_extreme_risks():
    x, sample = simulated(11)
    nuisance = fit_nuisance(x, sample)
    arms = []
    for arm in (~sample.treated, sample.treated):
        arms.append(with_baseline(x[arm], sample.time[arm], sample.event[arm], np.array([40.0, 0.0])))
    wild = type(nuisance)(nuisance.propensity, (arms[0], arms[1]), nuisance.censoring)
    found = influence(wild, x, sample, HORIZONS, TAU)
    assert np.isfinite(found.survival).all()
    assert np.isfinite(found.restricted).all()


def test_a_column_that_tells_the_arms_apart_by_chance_does_no_harm_in_a_trial():
    """Four of the treated lack a value: as an observational study their weights are large, as a trial all are alike."""
    x, sample = simulated(3, 240)
    flag = np.zeros(len(sample))
    flag[np.flatnonzero(sample.treated)[:4]] = 1.0
    wide = np.column_stack([x, flag])
    drawn = {"folds": 5, "rng": np.random.default_rng(1)}
    trial = cross_fit(wide, dataclasses.replace(sample, randomised=True), HORIZONS, TAU, **drawn)
    study = cross_fit(wide, sample, HORIZONS, TAU, **drawn)
    assert np.ptp(trial.propensity) < 0.1
    assert np.ptp(study.propensity) > 0.5
    assert dataclasses.replace(sample, randomised=True).take(flag == 0).randomised


@pytest.mark.parametrize(("value", "told"), [(0.9, True), (1.5, False), (-30.0, False)])
def test_differences_that_cannot_be_are_not_told(value, told):
    from stratiome.config import EndpointConfig, EvaluationConfig
    from stratiome.treatment.averages import Settings, _rows

    endpoint = EndpointConfig(time="t", event="e", horizons=(20,))
    _, sample = simulated(3, 240)
    settings = Settings(endpoint, EvaluationConfig(), {}, 1, None)
    inside = np.ones(len(sample), dtype=bool)
    estimate, error = np.array([1.0, value]), np.array([30.0, 0.2])
    months, survival = _rows("drug", "doubly robust", "all", sample, inside, None, estimate, error, "how", settings)
    assert (months["lower"], months["upper"]) == (-20.0, 20.0)
    assert (survival["estimate"] == value) is told
    if not told:
        assert survival["method"].startswith("not estimable: a few patients with large weights")
