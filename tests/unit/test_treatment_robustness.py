"""The effect with one thing changed at a time, and outcomes that a treatment cannot change."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from scipy.special import expit

from stratiome.config import EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.tables import NegativeControls, TreatmentRobustness, from_rows
from stratiome.treatment.averages import Settings
from stratiome.treatment.emulate import Sample
from stratiome.treatment.evaluate import evaluate_treatments
from stratiome.treatment.robustness import robustness_rows
from treatment_cohort import planted

SETTINGS = Settings(
    EndpointConfig(time="t", event="e", horizons=(12.0, 36.0)), EvaluationConfig(bootstraps=100), {}, seed=1
)


def cohort(seed: int, n: int = 1200) -> tuple[Sample, np.ndarray, pl.DataFrame, pl.DataFrame]:
    """Frailty, measured only by the second latent dimension, drives treatment and death of anything; no effect at all.

    Returns sample, the one measured confounder, latents, and the negative control (death by accident).
    """
    rng = np.random.default_rng(seed)
    x, frail = rng.normal(size=(2, n))
    treated = rng.random(n) < expit(0.9 * x - 1.2 * frail)
    death = rng.exponential(40 / np.exp(0.5 * x + 0.8 * frail))
    accident = rng.exponential(60 / np.exp(0.8 * frail))
    leave = rng.uniform(20, 90, n)
    ids = [f"P{i:04d}" for i in range(n)]
    watched = np.minimum(death, leave)
    sample = Sample(pl.DataFrame({"patient_id": ids}), treated, watched, death <= leave)
    latent = pl.DataFrame({"patient_id": ids, "latent_1": rng.normal(size=n), "latent_2": frail})
    control = pl.DataFrame(
        {"patient_id": ids, "time_months": np.minimum(accident, watched), "event": (accident < watched).astype(int)}
    )
    return sample, x[:, None], latent, control


def rows_of(rows: list[dict[str, Any]], check: str) -> list[dict[str, Any]]:
    return [r for r in rows if r["check"] == check and r["estimand"] == "rmst_difference"]


@pytest.fixture(scope="module")
def found() -> list[dict[str, Any]]:
    sample, design, latent, control = cohort(3)
    rng = np.random.default_rng(1)
    return robustness_rows("drug", sample, design, False, SETTINGS, rng, latent, ("accident", control))


def test_rows_fit_the_contract(found):
    TreatmentRobustness.validate(from_rows(found, TreatmentRobustness))
    checks = [r["check"] for r in found if r["estimand"] == "rmst_difference"]
    assert checks == [
        "main analysis",
        "trimmed",
        "trimmed",
        "trimmed",
        "restriction time",
        "restriction time",
        "omics in propensity",
        "negative control",
    ]
    assert [r["horizon_months"] for r in rows_of(found, "restriction time")] == [18.0, 27.0]
    kept = [r["n"] for r in rows_of(found, "trimmed")]
    assert kept == sorted(kept, reverse=True)
    assert kept[-1] < rows_of(found, "main analysis")[0]["n"]


def test_a_negative_control_shows_what_was_not_measured(found):
    """The inert drug seems to help, and it seems to keep patients from accidents as well."""
    main, control = rows_of(found, "main analysis")[0], rows_of(found, "negative control")[0]
    assert main["lower"] > 0
    assert control["lower"] > 0


def test_omics_in_the_propensity_take_the_confounding_away(found):
    main, omics = rows_of(found, "main analysis")[0], rows_of(found, "omics in propensity")[0]
    assert omics["lower"] < 0 < omics["upper"]
    assert abs(omics["estimate"]) < 0.4 * main["estimate"]


def test_with_all_confounders_measured_the_negative_control_is_silent():
    estimates = []
    for seed in range(8):
        sample, design, latent, control = cohort(50 + seed)
        both = np.column_stack([design, latent["latent_2"].to_numpy()])
        rows = robustness_rows(
            "drug", sample, both, False, SETTINGS, np.random.default_rng(1), None, ("accident", control)
        )
        row = rows_of(rows, "negative control")[0]
        estimates.append(row["estimate"] / ((row["upper"] - row["lower"]) / 3.92))
    assert abs(np.mean(estimates)) < 3 / np.sqrt(len(estimates))
    assert np.mean(np.abs(estimates) > 1.96) <= 0.25


def test_a_control_of_few_patients_is_not_estimated():
    sample, design, _, control = cohort(4, 200)
    some = control.head(25)
    rows = robustness_rows("drug", sample, design, False, SETTINGS, np.random.default_rng(1), None, ("accident", some))
    row = rows_of(rows, "negative control")[0]
    assert row["estimate"] is None
    assert row["method"].startswith("not estimable: fewer than")


def test_randomised_designs_are_not_weighted():
    sample, design, latent, _ = cohort(5, 400)
    rows = robustness_rows("drug", sample, design, True, SETTINGS, np.random.default_rng(1), latent)
    assert {r["check"] for r in rows} == {"main analysis", "restriction time"}
    assert all(r["effective_n"] is None for r in rows)


def test_no_control_gives_an_empty_table():
    assert from_rows([], NegativeControls).is_empty()


@pytest.mark.parametrize(("design", "weighting"), [("observational", "overlap"), ("randomised", "none")])
def test_the_first_rows_are_the_reported_effect(design, weighting):
    """Same estimate, interval and patients, also where some of them cannot be compared."""
    found = planted(6, 250)
    clinical = found.clinical.with_columns(never=((pl.int_range(pl.len()) < 9) & (pl.col("drug") == 0)).cast(pl.Int64))
    drug = TreatmentConfig(column="drug", design=design, confounders=("severity", "never"))
    settings = Settings(EndpointConfig(time="t", event="e", horizons=(24.0,)), EvaluationConfig(bootstraps=50), {}, 1)
    made = evaluate_treatments(clinical, found.outcome, {}, (), {"drug": drug}, settings)
    keys = ("estimand", "horizon_months", "estimate", "lower", "upper", "p_value", "n", "events", "n_treated")
    reported = [r for r in made.effects if r["weighting"] == weighting and r["estimand"] != "hazard_ratio"]
    again = [r for r in made.robustness if r["check"] == "main analysis"]
    assert [[r[k] for k in keys] for r in again] == [[r[k] for k in keys] for r in reported]
    assert all(r["lower"] is not None for r in again)
    if design == "observational":
        assert again[0]["n"] < 250
