"""Treatments that cannot be compared: what is said, and that the rest of the run goes on."""

from __future__ import annotations

import logging

import numpy as np
import polars as pl
import pytest

from stratiome.config import EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.survival.outcome import time_grid
from stratiome.treatment.averages import Settings
from stratiome.treatment.effect import Question
from stratiome.treatment.evaluate import Evaluation, evaluate_treatments
from stratiome.treatment.fit import fit_treatment
from treatment_cohort import planted

ENDPOINT = EndpointConfig(time="months", event="event", horizons=(24.0, 48.0))
SETTINGS = Settings(ENDPOINT, EvaluationConfig(bootstraps=50), {}, seed=1)
DRUG = TreatmentConfig(column="drug", design="observational", confounders=("severity", "age"))


def evaluated(clinical: pl.DataFrame, outcome: pl.DataFrame, drug: TreatmentConfig = DRUG) -> Evaluation:
    return evaluate_treatments(clinical, outcome, {}, (), {"drug": drug}, SETTINGS)


def reasons(found: Evaluation, weighting: str) -> set[str]:
    return {r["method"] for r in found.effects if r["weighting"] == weighting and r["estimate"] is None}


def test_no_overlap_is_said_and_nothing_weighted_is_told():
    """As trastuzumab and HER2: who has the one gets the other."""
    cohort = planted(1, 300)
    clinical = cohort.clinical.with_columns(her2=pl.col("drug"))
    drug = DRUG.model_copy(update={"confounders": ("severity", "her2")})
    found = evaluated(clinical, cohort.outcome, drug)
    (why,) = reasons(found, "overlap")
    assert "confounders determine the treatment completely" in why
    assert all(r["estimate"] is None for r in [*found.averages, *found.robustness] if r["treatment"] == "drug")
    assert any("check that it is not measured after treatment" in r["emulation"] for r in found.trial)


def test_an_arm_of_few_patients_is_not_compared():
    cohort = planted(2, 300)
    first = pl.col("drug").cum_sum() <= 15
    clinical = cohort.clinical.filter((pl.col("drug") == 0) | first)
    kept = cohort.outcome.filter(pl.col("patient_id").is_in(clinical["patient_id"].to_list()))
    found = evaluated(clinical, kept)
    for weighting in ("none", "overlap"):
        assert reasons(found, weighting) == {"not estimable: fewer than 20 patients in an arm"}
    assert all(r["estimate"] is None and "fewer than 20" in r["method"] for r in [*found.averages, *found.robustness])


def test_a_treatment_that_is_constant_in_a_fold_is_left_out_there(caplog):
    cohort = planted(3, 300)
    roles = {p: "train" if a == 0 else "test" for p, a in cohort.clinical.select("patient_id", "drug").iter_rows()}
    question = Question(ENDPOINT.horizons_months, ENDPOINT.tau_months, time_grid(ENDPOINT))
    with caplog.at_level(logging.WARNING):
        made = fit_treatment(cohort.clinical, cohort.outcome, roles, {}, {"drug": DRUG}, {}, question)
    assert not any(made)
    assert "drug: no propensity or curve: all patients have the same treatment" in caplog.text


def test_missing_treatment_is_not_untreated():
    cohort = planted(4, 400)
    lost = pl.int_range(pl.len()) % 10 == 0
    clinical = cohort.clinical.with_columns(drug=pl.when(lost).then(None).otherwise("drug"))
    found = evaluated(clinical, cohort.outcome)
    step = next(r for r in found.flow if r["step"] == "treatment")
    assert (step["n_in"], step["n_out"], step["reason"]) == (400, 360, "treatment not recorded")
    row = next(r for r in found.effects if r["weighting"] == "none")
    assert row["n"] == 360
    assert row["n_treated"] == int(np.nansum(clinical["drug"].cast(float).fill_null(0).to_numpy()))


def test_a_confounder_measured_after_treatment_is_refused():
    cohort = planted(5, 300)
    clinical = cohort.clinical.with_columns(age_months=pl.lit(6.0), begun=pl.when(pl.col("drug") == 1).then(1.0))
    drug = DRUG.model_copy(update={"start": "begun", "landmark": 3.0, "measured": {"age": "age_months"}})
    with pytest.raises(ValueError, match="age") as caught:
        evaluated(clinical, cohort.outcome, drug)
    assert "Suggestion" in str(caught.value)
    assert not any(p in str(caught.value) for p in clinical["patient_id"].to_list())
