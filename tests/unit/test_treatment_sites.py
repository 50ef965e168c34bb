"""The effect by site on cohorts with planted effects: variance between sites, none, and sites that are too small."""

import numpy as np
import polars as pl
import pytest

import evaluate_treatment
from stratiome import tables
from stratiome.config import EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.treatment.averages import Settings
from stratiome.treatment.emulate import Sample
from stratiome.treatment.evaluate import evaluate_treatments
from stratiome.treatment.sites import site_rows
from treatment_cohort import Planted, planted

ENDPOINT = EndpointConfig(time="t", event="e", horizons=(30.0, 60.0))


def settings(seed=1):
    return Settings(ENDPOINT, EvaluationConfig(bootstraps=60), {}, seed)


def at_sites(effects, n, seed):
    """A cohort whose sites have log hazard ratios of their own: sample, confounders, patient -> site."""
    cohorts = [planted(100 * seed + k, n, (effect,)) for k, effect in enumerate(effects)]
    clinical = pl.concat(
        [c.clinical.with_columns(patient_id=pl.lit(f"S{k}-") + pl.col("patient_id")) for k, c in enumerate(cohorts)]
    )
    parts = [c.sample for c in cohorts]
    joined = {a: np.concatenate([getattr(p, a) for p in parts]) for a in ("treated", "time", "event")}
    design = np.concatenate([c.design for c in cohorts])
    where = {p: f"site-{p.split('-')[0]}" for p in clinical["patient_id"]}
    return Sample(clinical, **joined), design, where


def of(rows, estimand="rmst_difference", horizon=60.0):
    return [r for r in rows if (r["estimand"], r["horizon_months"]) == (estimand, horizon)]


def test_effects_that_differ_between_sites_are_found_to():
    """Log hazard ratios from -1.8 to 0.6: months gained differ by some ten between sites."""
    sample, design, where = at_sites((-1.8, -1.2, -0.6, 0.0, 0.6), 500, 1)
    rows, summary = site_rows("drug", sample, design, where, settings())
    tables.TreatmentSites.validate(tables.from_rows(rows, tables.TreatmentSites))
    tables.TreatmentSiteSummary.validate(tables.from_rows(summary, tables.TreatmentSiteSummary))
    found = [r["estimate"] for r in of(rows)]
    assert len(found) == 5
    assert np.corrcoef(found, [-1.8, -1.2, -0.6, 0.0, 0.6])[0, 1] < -0.9
    (whole,) = of(summary)
    assert whole["spread"] > 3.0
    assert whole["i2"] > 0.5
    assert whole["prediction_lower"] < 0 < whole["prediction_upper"]
    assert (whole["sites"], whole["of"], whole["n"]) == (5, 5, 2500)


def test_the_same_effect_everywhere_is_the_average_of_its_sites():
    sample, design, where = at_sites((-0.9,) * 6, 300, 2)
    rows, summary = site_rows("drug", sample, design, where, settings())
    (whole,) = of(summary)
    assert whole["lower"] > 0
    assert whole["spread"] < 3.0
    estimates, errors = (np.array([r[k] for r in of(rows)]) for k in ("estimate", "standard_error"))
    weights = 1 / (errors**2 + whole["spread"] ** 2)
    assert whole["estimate"] == pytest.approx((weights * estimates).sum() / weights.sum())
    assert {r["estimand"] for r in summary} == {"rmst_difference", "survival_difference"}


def test_each_site_is_weighted_on_its_own():
    sample, design, where = at_sites((-0.9, -0.9, -0.9), 300, 3)
    both, _ = site_rows("drug", sample, design, where, settings())
    inside = np.array([where[p] == "site-S1" for p in sample.patient_ids])
    own = {p: s for p, s in where.items() if s == "site-S1"}
    alone, _ = site_rows("drug", sample.take(inside), design[inside], own, settings())
    assert [r for r in both if r["resample"] == "site-S1"] == alone


def test_small_sites_are_told_and_too_few_are_not_summarised():
    sample, design, where = at_sites((-0.9, -0.9, -0.9, -0.9), 200, 4)
    kept = np.array([where[p] != "site-S0" or int(p[-5:]) < 30 for p in sample.patient_ids])
    rows, summary = site_rows("drug", sample.take(kept), design[kept], where, settings())
    (small,) = [r for r in of(rows) if r["resample"] == "site-S0"]
    assert small["estimate"] is None
    assert small["method"] == "not estimable: fewer than 20 patients in an arm"
    assert (of(summary)[0]["sites"], of(summary)[0]["of"]) == (3, 4)
    two = np.array([where[p] in ("site-S1", "site-S2") for p in sample.patient_ids])
    _, summary = site_rows("drug", sample.take(two), design[two], where, settings())
    assert of(summary)[0]["estimate"] is None
    assert of(summary)[0]["method"].startswith("not estimable: 2 of 4 sites have an estimate, 3 are needed")


def test_without_sites_there_are_no_rows():
    sample, design, _ = at_sites((-0.9,), 60, 5)
    assert site_rows("drug", sample, design, {}, settings()) == ([], [])


def test_randomised_sites_are_compared_as_they_are():
    sample, design, where = at_sites((-0.9,) * 3, 200, 6)
    randomised = Sample(sample.clinical, sample.treated, sample.time, sample.event, None, True)
    rows, summary = site_rows("drug", randomised, design, where, settings())
    assert all(r["effective_n"] is None for r in rows)
    assert "as randomised" in of(summary)[0]["method"]


def test_the_whole_evaluation_has_rows_of_sites():
    cohort: Planted = planted(7, 300)
    where = {p: f"site-{i % 3}" for i, p in enumerate(cohort.clinical["patient_id"])}
    drug = TreatmentConfig(column="drug", design="observational", confounders=("severity", "age"))
    made = evaluate_treatments(cohort.clinical, cohort.outcome, {}, (), {"drug": drug}, settings(), sites=where)
    assert {r["resample"] for r in made.sites} == {"site-0", "site-1", "site-2"}
    assert len(made.site_summary) == 3
    later = drug.model_copy(update={"starts": "later"})
    made = evaluate_treatments(cohort.clinical, cohort.outcome, {}, (), {"drug": later}, settings(), sites=where)
    assert made.sites == made.site_summary == []


def test_patients_are_of_the_site_that_is_held_out():
    roles = [
        {"patient_id": p, "resample": r, "role": role}
        for r, held in (("full", ""), ("cv-1-1", "a"), ("site-x", "a"), ("site-y", "b"))
        for p in ("a", "b", "c")
        for role in ["test" if p == held else "out" if p == "c" else "train"]
    ]
    assert evaluate_treatment._sites(tables.from_rows(roles, tables.Resamples)) == {"a": "site-x", "b": "site-y"}
