"""The two rules of treatment on cohorts with planted truth: right answers, honest gaps, blindness to held-out rows."""

from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pytest

import evaluate_treatment
import fit_treatment
from stratiome import tables
from stratiome.config import DataConfig, EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.survival.outcome import time_grid
from stratiome.treatment import fit as fit_module
from stratiome.treatment.effect import Question
from stratiome.treatment.predict import Modifiers
from treatment_cohort import Planted, planted

ENDPOINT = EndpointConfig(time="t", event="e", horizons=(30, 60))
EVALUATION = EvaluationConfig(bootstraps=60)
DATA = DataConfig(example="transbig")
DRUG = TreatmentConfig(column="drug", design="observational", confounders=("severity", "age"))
OUTPUTS = {
    "trial": tables.TreatmentTrial,
    "flow": tables.PatientFlow,
    "balance": tables.TreatmentBalance,
    "overlap": tables.TreatmentOverlap,
    "curves": tables.TreatmentCurves,
    "effects": tables.TreatmentEffects,
    "averages": tables.TreatmentAverages,
    "differences": tables.TreatmentDifferences,
    "difference_tests": tables.TreatmentDifferenceTests,
    "policy": tables.TreatmentPolicy,
    "profiles": tables.TreatmentProfiles,
    "profile_effects": tables.TreatmentProfileEffects,
    "learners": tables.TreatmentLearners,
    "targeting": tables.TreatmentTargeting,
    "sensitivity": tables.TreatmentSensitivity,
    "robustness": tables.TreatmentRobustness,
    "interaction": tables.TreatmentInteraction,
    "sites": tables.TreatmentSites,
    "site_summary": tables.TreatmentSiteSummary,
}


def held_out_scores(cohort: Planted, treatments, folds=3):
    """Contributions and predictions of all patients by models of the other folds, and the roles of the folds."""
    question = Question(ENDPOINT.horizons_months, ENDPOINT.tau_months, time_grid(ENDPOINT))
    ids = cohort.clinical["patient_id"].to_list()
    rows, split, effects = [], [], []
    for k in range(folds):
        roles = {p: "test" if i % folds == k else "train" for i, p in enumerate(ids)}
        name = f"cv-1-{k + 1}"
        split += [{"patient_id": p, "resample": name, "role": r} for p, r in roles.items()]
        made = fit_module.fit_treatment(
            cohort.clinical, cohort.outcome, roles, {}, treatments, {}, question, Modifiers(seed=1)
        )
        rows += [r | {"resample": name} for r in made[2]]
        effects += [r | {"resample": name} for r in made[3]]
    return (
        tables.from_rows(rows, tables.TreatmentScores),
        tables.from_rows(split, tables.Resamples),
        tables.from_rows(effects, tables.TreatmentPredictions),
    )


def evaluate(
    folder: Path,
    cohort: Planted,
    treatments=None,
    seed=1,
    truth=True,
    shuffle=False,
    locked=(),
    scores=None,
    decisions=None,
):
    """Run the rule on files; tables by name."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = [
        {
            "patient_id": p,
            "model": m,
            "subgroup": k if m == "vae" else 1,
            "full_subgroup": max(k, 1),
            "probability": 0.9,
        }
        for p, k in cohort.labels.items()
        for m in ("vae", "pca")
    ]
    clinical = cohort.clinical.sample(fraction=1.0, shuffle=True, seed=3) if shuffle else cohort.clinical
    clinical.write_parquet(folder / "clinical.parquet")
    cohort.outcome.write_parquet(folder / "outcome.parquet")
    assignment = tables.from_rows(rows, tables.SubgroupAssignment)
    tables.write_table(assignment, folder / "assignment.parquet", tables.SubgroupAssignment)
    tables.write_table(cohort.truth, folder / "truth.parquet", tables.Truth)
    roles = clinical.select("patient_id", resample=pl.lit("full"), role=pl.lit("train"))
    if locked:
        roles = roles.with_columns(
            role=pl.when(pl.col("patient_id").is_in(locked)).then(pl.lit("out")).otherwise("role")
        )
    nothing = tables.from_rows([], tables.TreatmentScores), None, tables.from_rows([], tables.TreatmentPredictions)
    contributions, split, predictions = scores or nothing
    tables.write_table(predictions, folder / "predictions.parquet", tables.TreatmentPredictions)
    tables.write_table(contributions, folder / "scores.parquet", tables.TreatmentScores)
    decisions = tables.from_rows([], tables.TreatmentPolicies) if decisions is None else decisions
    tables.write_table(decisions, folder / "policies.parquet", tables.TreatmentPolicies)
    roles = roles if split is None else pl.concat([roles, split])
    tables.write_table(roles, folder / "resamples.parquet", tables.Resamples)
    tables.write_table(
        tables.from_rows([], tables.NegativeControls), folder / "controls.parquet", tables.NegativeControls
    )
    ids = clinical["patient_id"].sort().to_list()
    space = anndata.AnnData(np.zeros((len(ids), 1)), obs=pd.DataFrame(index=ids))
    space.obsm["vae"] = np.random.default_rng(0).normal(size=(len(ids), 2))
    space.write_h5ad(folder / "latents.h5ad")
    inputs = {n: str(folder / f"{n}.parquet") for n in ("clinical", "outcome", "resamples", "assignment", *OUTPUTS)}
    evaluate_treatment.main(
        **inputs,
        scores=[str(folder / "scores.parquet")],
        latents=str(folder / "latents.h5ad"),
        controls=str(folder / "controls.parquet"),
        policies=[str(folder / "policies.parquet")],
        predictions=[str(folder / "predictions.parquet")],
        covariates=tuple(c for c in ("severity", "age", "marker") if c in clinical.columns),
        treatments={"drug": DRUG} if treatments is None else treatments,
        data=DATA,
        endpoint=ENDPOINT,
        evaluation=EVALUATION,
        seed=seed,
        truth=[str(folder / "truth.parquet")] if truth else [],
    )
    return {n: tables.read_table(folder / f"{n}.parquet", model) for n, model in OUTPUTS.items()}


@pytest.fixture(scope="module")
def two_groups():
    """Helps in subgroup 1, harms in subgroup 2."""
    return planted(20, 1600, log_hazard_ratios=(-1.2, 0.8))


@pytest.fixture(scope="module")
def found(two_groups, tmp_path_factory):
    """Tables of the cohort above."""
    return evaluate(tmp_path_factory.mktemp("found"), two_groups)


def test_weighted_effects_find_the_truth_and_crude_ones_miss_it(found):
    effects = found["effects"].filter(pl.col("estimand") == "rmst_difference")
    z = (pl.col("estimate") - pl.col("truth")) / ((pl.col("upper") - pl.col("lower")) / (2 * 1.959964))
    effects = effects.with_columns(z=z)
    assert (effects.filter(pl.col("weighting") == "overlap")["z"].abs() < 3).all()
    assert (effects.filter(pl.col("weighting") == "none")["z"] < -3).all()  # treatment looks worse than it is
    truth = effects.filter(pl.col("weighting") == "overlap").sort("subgroup")["truth"].to_list()
    assert truth[1] > 0 > truth[2]
    assert effects.group_by("subgroup").agg(pl.col("truth").n_unique())["truth"].to_list() == [1, 1, 1]


def test_rows_of_effects_are_complete(found):
    effects = found["effects"]
    assert effects.height == 3 * 2 * 4  # groups x weightings x (two horizons, tau, hazard ratio)
    assert effects.select((pl.col("subgroup") > 0) == pl.col("held_out")).to_series().all()
    overall = effects.filter(pl.col("subgroup") == 0)
    assert overall["method"].str.contains("average effect in all eligible patients").all()
    assert overall["p_holm"].is_null().all()
    assert effects.filter(pl.col("subgroup") > 0)["p_holm"].is_not_null().all()
    ratios = effects.filter(pl.col("estimand") == "hazard_ratio")
    assert ratios["truth"].is_null().all()
    assert ratios["horizon_months"].is_null().all()
    assert ratios["method"].str.contains("not collapsible").all()
    crude = effects.filter(pl.col("weighting") == "none")
    assert (crude["effective_n"] == crude["n"]).all()
    weighted = effects.filter(pl.col("weighting") == "overlap")
    assert (weighted["effective_n"] < weighted["n"]).all()


def test_locked_patients_are_counted_and_not_looked_at(two_groups, found, tmp_path):
    ids = two_groups.clinical["patient_id"].sort()
    locked = ids.gather_every(5).to_list()
    other = evaluate(tmp_path, two_groups, locked=locked)
    first = other["flow"].row(0, named=True)
    assert first == {
        "step": "locked", "scope": "drug", "n_in": 1600, "n_out": 1280, "reason": "in the locked test set"
    }  # fmt: skip
    assert other["flow"]["n_in"][1] == 1280
    n = pl.col("subgroup") == 0
    assert other["effects"].filter(n)["n"].max() < found["effects"].filter(n)["n"].min()
    assert "locked" not in found["flow"]["step"].to_list()


def test_balance_is_exact_in_every_subgroup(found):
    balance = found["balance"]
    assert balance.select("subgroup", "covariate").rows() == [(k, c) for k in (0, 1, 2) for c in ("severity", "age")]
    assert balance["weighted"].abs().max() < 1e-8
    assert (balance.filter(pl.col("covariate") == "severity")["crude"] > 0.5).all()


def test_effects_that_differ_are_seen_and_equal_ones_are_not(found, tmp_path):
    tests = found["interaction"]
    assert tests.select("estimand", "horizon_months").rows() == [
        ("rmst_difference", 60.0),
        ("survival_difference", 30.0),
        ("survival_difference", 60.0),
    ]
    assert (tests["df"] == 1).all()
    assert tests["p_value"].max() < 1e-4
    same = evaluate(tmp_path, planted(21, 900, log_hazard_ratios=(-0.6, -0.6)))["interaction"]
    assert same["p_value"].min() > 0.01


def test_doubly_robust_and_inverse_probability_estimates_find_the_truth_too(found):
    averages = found["averages"]
    assert averages.height == 4 * 3  # estimators and populations x (two horizons, tau)
    assert averages["n"].min() < 1600 == averages["n"].max()
    z = (averages["estimate"] - averages["truth"]) / ((averages["upper"] - averages["lower"]) / (2 * 1.959964))
    assert (z.abs() < 3).all()
    crude = found["effects"].filter(subgroup=0, weighting="none", estimand="rmst_difference")["estimate"].item()
    months = averages.filter(estimand="rmst_difference")
    assert (months["estimate"] - crude > 3).all()
    whole = found["effects"].filter(subgroup=0, weighting="overlap", estimand="rmst_difference").row(0, named=True)
    same = months.filter(estimator="doubly robust", population="overlap").row(0, named=True)
    assert same["truth"] == whole["truth"]
    assert abs(same["estimate"] - whole["estimate"]) < 1.0
    assert averages["effective_n"].is_null().to_list() == [True] * 9 + [False] * 3


def test_the_e_value_is_that_of_the_weighted_hazard_ratio(found, two_groups, tmp_path):
    row = found["sensitivity"].row(0, named=True)
    ratio = found["effects"].filter(subgroup=0, weighting="overlap", estimand="hazard_ratio").row(0, named=True)
    assert row["hazard_ratio"] == ratio["estimate"]
    assert row["e_value"] > 1.0
    assert (row["e_value_limit"] == 1.0) == (ratio["lower"] <= 1.0 <= ratio["upper"])
    coin = two_groups.clinical.with_columns(drug=pl.int_range(pl.len()).mod(2).cast(pl.Float64))
    chance = TreatmentConfig(column="drug", design="randomised")
    assert evaluate(tmp_path, replace(two_groups, clinical=coin), {"drug": chance})["sensitivity"].is_empty()


def test_averages_that_cannot_be_made_say_why(tmp_path):
    cohort = planted(24, 300)
    apart = cohort.clinical.with_columns(severity=pl.col("drug") * 2 - 1)
    averages = evaluate(tmp_path, replace(cohort, clinical=apart))["averages"]
    assert averages["estimate"].is_null().all()
    assert averages["method"].str.contains("determine the treatment completely").all()


def test_differences_between_held_out_patients(two_groups, tmp_path):
    """Effects by group, PATH first; a covariate that decides who benefits is found, and one that does not is not."""
    rng = np.random.default_rng(1)
    helped = pl.Series([two_groups.labels[p] == 1 for p in two_groups.clinical["patient_id"]])
    marker = (helped & pl.Series(rng.random(len(helped)) < 0.95)).cast(pl.Int64)
    clinical = two_groups.clinical.with_columns(
        marker=pl.when(marker == 1).then(pl.lit("high")).otherwise(pl.lit("low")),
    )
    cohort = replace(two_groups, clinical=clinical)
    treatments = {"drug": DRUG.model_copy(update={"confounders": ("severity", "age", "marker")})}
    scores = held_out_scores(cohort, treatments)
    assert scores[0]["patient_id"].n_unique() == scores[0].height == 1600
    found = evaluate(tmp_path, cohort, treatments, scores=scores)
    rows, tests = found["differences"], found["difference_tests"]
    assert rows["held_out"].all()
    months = rows.filter(estimand="rmst_difference")
    z = (months["estimate"] - months["truth"]) / ((months["upper"] - months["lower"]) / (2 * 1.959964))
    assert (z.abs() < 3.5).all()
    assert months.filter(kind="baseline risk")["group"].to_list() == [
        "lowest quarter", "second quarter", "third quarter", "highest quarter"
    ]  # fmt: skip
    assert months.filter(kind="predicted effect").height == 5
    ratio = rows.filter(estimand="hazard_ratio", kind="predicted effect").sort("position")["estimate"]
    assert ratio[4] < 0.6 < 1.2 < ratio[0]
    by = {r["variable"]: r for r in tests.filter(kind="covariate").to_dicts()}
    assert {v: r["test"] for v, r in by.items()} == {
        "severity": "linear trend",
        "age": "linear trend",
        "marker": "equal effects",
    }
    assert by["marker"]["p_holm"] < 1e-4 < min(by["severity"]["p_value"], by["age"]["p_value"])
    high, low = (months.filter(variable="marker", group=g)["estimate"].item() for g in ("high", "low"))
    assert high > 3 > -1 > low
    combined = tests.filter(variable="combined")
    ranked = combined.filter(test="rank-weighted average").row(0, named=True)
    assert ranked["p_value"] < 1e-4 < ranked["lower"]
    slope = combined.filter(test="calibration slope").row(0, named=True)
    assert 0.7 < slope["estimate"] < 1.3
    assert tests.filter(kind="covariate")["p_holm"].is_not_null().all()
    assert tests.filter(kind="predicted effect").height == 2 * 6
    spread = {r["learner"]: r["spread"] for r in found["learners"].to_dicts()}
    assert spread["constant"] == 0.0 < 5.0 < spread["combined"]
    curve = found["targeting"].sort("share")
    assert curve["estimate"][0] > 5.0
    assert curve["estimate"][-1] == pytest.approx(0.0, abs=1e-9)
    assert ((curve["lower"] <= curve["estimate"]) & (curve["estimate"] <= curve["upper"])).all()


def test_few_held_out_patients_give_no_differences(tmp_path):
    cohort = planted(22, 70)
    found = evaluate(tmp_path, cohort, scores=held_out_scores(cohort, {"drug": DRUG}))
    assert found["differences"].is_empty()
    assert found["difference_tests"].is_empty()


def test_curves_and_overlap_are_consistent(found, two_groups):
    curves = found["curves"]
    assert (curves["lower"] <= curves["survival"]).all()
    assert (curves["survival"] <= curves["upper"]).all()
    start = curves.filter(pl.col("time_months") == 0)
    assert (start["survival"] == 1).all()
    assert start.filter(pl.col("weighting") == "none", pl.col("subgroup") == 0)["at_risk"].sum() == 1600
    at = {r["arm"]: r["survival"] for r in curves.filter(time_months=60, subgroup=0, weighting="overlap").to_dicts()}
    row = found["effects"].filter(subgroup=0, weighting="overlap", estimand="survival_difference", horizon_months=60)
    assert at[1] - at[0] == pytest.approx(row["estimate"].item(), abs=1e-12)
    bins = found["overlap"]
    assert bins.height == 40
    assert bins["n"].sum() == 1600
    assert bins.filter(arm=1)["n"].sum() == two_groups.clinical["drug"].sum()


def test_same_cohort_same_bytes_whatever_the_order_of_rows(found, two_groups, tmp_path):
    again = evaluate(tmp_path, two_groups, shuffle=True)
    for name, table in found.items():
        assert table.equals(again[name], null_equal=True), name
    other = evaluate(tmp_path / "seed", two_groups, seed=2)["effects"]
    assert other["estimate"].equals(found["effects"]["estimate"])
    assert not other["lower"].equals(found["effects"]["lower"])


def test_another_treatment_changes_no_number(found, two_groups, tmp_path):
    coin = np.random.default_rng(0).integers(0, 2, 1600).astype(float)
    clinical = two_groups.clinical.with_columns(coin=coin)
    both = {"coin": TreatmentConfig(column="coin", design="randomised"), "drug": DRUG}
    wider = evaluate(tmp_path, replace(two_groups, clinical=clinical), both)
    kept = wider["effects"].filter(treatment="drug")
    assert kept.equals(found["effects"], null_equal=True)
    toss = wider["effects"].filter(treatment="coin", estimand="rmst_difference", subgroup=0).sort("weighting")
    assert toss["estimate"][0] == pytest.approx(toss["estimate"][1], abs=1e-10)  # nothing to adjust for
    assert toss["method"].to_list()[0].startswith("Kaplan-Meier by arm, as randomised")
    assert "unweighted" in wider["interaction"].filter(treatment="coin")["method"][0]


def test_one_subgroup_leaves_nothing_to_compare(tmp_path):
    cohort = planted(22, 300)
    one = evaluate(tmp_path, cohort, truth=False)
    assert one["effects"]["subgroup"].unique().to_list() == [0]
    assert one["effects"]["truth"].is_null().all()
    assert set(one["interaction"]["method"]) == {"one subgroup: nothing to compare"}
    assert one["interaction"]["p_value"].is_null().all()


def test_small_subgroup_and_unassigned_patients(two_groups, tmp_path):
    labels = dict(two_groups.labels)
    for i, patient in enumerate(labels):
        labels[patient] = 3 if i < 25 else 0 if i < 100 else labels[patient]
    found = evaluate(tmp_path, replace(two_groups, labels=labels))
    small = found["effects"].filter(subgroup=3)
    assert small.height == 8
    assert small["estimate"].is_null().all()
    assert small["method"].str.starts_with("not estimable: fewer than 20 patients in an arm").all()
    assert 3 not in found["balance"]["subgroup"]
    assert 3 not in found["curves"]["subgroup"]
    assert found["interaction"]["df"].to_list() == [1, 1, 1]
    assert found["interaction"]["method"].str.contains("without subgroup 3", literal=True).all()
    step = found["flow"].filter(step="subgroups").row(0, named=True)
    assert (step["n_in"], step["n_out"]) == (1600, 1525)


def test_single_arm_is_said_not_invented(tmp_path):
    cohort = planted(23, 300)
    treated = replace(cohort, clinical=cohort.clinical.with_columns(drug=pl.lit(1.0)))
    found = evaluate(tmp_path, treated)
    assert found["effects"]["estimate"].is_null().all()
    assert found["effects"]["method"].str.starts_with("not estimable").all()
    assert found["balance"].is_empty()
    assert found["curves"].is_empty()


def test_separated_arms_leave_the_crude_comparison_only(tmp_path):
    cohort = planted(24, 300)
    apart = cohort.clinical.with_columns(severity=pl.col("drug") * 2 - 1)
    effects = evaluate(tmp_path, replace(cohort, clinical=apart))["effects"]
    weighted = effects.filter(weighting="overlap")
    assert weighted["estimate"].is_null().all()
    assert weighted["method"].str.contains("determine the treatment completely").all()
    assert effects.filter(weighting="none")["estimate"].is_not_null().all()


def test_missing_confounders_are_balanced_too(tmp_path):
    cohort = planted(25, 400)
    # Missing more often in the treated.
    gone = (pl.col("drug") == 1) & (pl.int_range(pl.len()) % 3 == 0)
    clinical = cohort.clinical.with_columns(
        age=pl.when(gone | (pl.int_range(pl.len()) % 11 == 0)).then(None).otherwise("age")
    )
    balance = evaluate(tmp_path, replace(cohort, clinical=clinical))["balance"]
    row = balance.filter(covariate="age: missing").row(0, named=True)
    assert row["crude"] > 0.3
    assert balance["weighted"].abs().max() < 1e-8


def fit(folder: Path, clinical: pl.DataFrame, outcome: pl.DataFrame, roles: list[str], labels: list[int], treatments):
    """Run the rule of one resample on files; propensities and curves."""
    folder.mkdir(parents=True)
    ids = [f"P{i:05d}" for i in range(len(roles))]
    split = [
        {"patient_id": p, "resample": r, "role": role if r == "cv-1-1" else "train"}
        for r in ("full", "cv-1-1")
        for p, role in zip(ids, roles, strict=True)
    ]
    groups = [
        {"patient_id": p, "resample": "cv-1-1", "role": r, "model": m, "subgroup": k, "probability": 0.9}
        for m in ("vae", "pca")
        for p, r, k in zip(ids, roles, labels, strict=True)
    ]
    tables.write_table(tables.from_rows(split, tables.Resamples), folder / "resamples.parquet", tables.Resamples)
    tables.write_table(tables.from_rows(groups, tables.Subgroups), folder / "assignment.parquet", tables.Subgroups)
    clinical.write_parquet(folder / "clinical.parquet")
    outcome.write_parquet(folder / "outcome.parquet")
    names = ("clinical", "outcome", "resamples", "assignment", "propensity", "curves", "scores")
    names += ("policies", "policy_trees", "effects")
    paths = {n: str(folder / f"{n}.parquet") for n in names}
    fit_treatment.main(**paths, treatments=treatments, data=DATA, endpoint=ENDPOINT, resample="cv-1-1", seed=1)
    return (
        tables.read_table(paths["propensity"], tables.Propensity),
        tables.read_table(paths["curves"], tables.CounterfactualCurves),
    )


def test_fit_learns_from_training_patients_only(tmp_path):
    cohort = planted(26, 500, log_hazard_ratios=(-1.0, 0.5))
    roles = ["test" if i % 5 == 0 else "out" if i % 7 == 0 else "train" for i in range(500)]
    labels = list(cohort.labels.values())
    propensity, curves = fit(tmp_path / "a", cohort.clinical, cohort.outcome, roles, labels, {"drug": DRUG})
    held = pl.Series(roles) != "train"
    rng = np.random.default_rng(0)
    noise = cohort.clinical.with_columns(
        severity=pl.when(held).then(pl.Series(rng.normal(50, 9, 500))).otherwise("severity"),
        drug=pl.when(held).then(1 - pl.col("drug")).otherwise("drug"),
    )
    wrong = cohort.outcome.with_columns(time_months=pl.when(held).then(0.5).otherwise("time_months"))
    relabelled = [3 if h else k for h, k in zip(held, labels, strict=True)]
    again, curves_again = fit(tmp_path / "b", noise, wrong, roles, relabelled, {"drug": DRUG})
    assert curves.equals(curves_again)
    assert propensity.filter(role="train").equals(again.filter(role="train"))
    assert not propensity.filter(role="test").equals(again.filter(role="test"))
    assert set(propensity["role"]) == {"train", "test"}
    assert propensity.height == roles.count("train") + roles.count("test")
    assert curves["subgroup"].unique().sort().to_list() == [0, 1, 2]
    assert curves.filter(subgroup=0, time_months=0)["n"].sum() == roles.count("train")
    train = propensity.filter(role="train")
    assert train["propensity"].mean() == pytest.approx(train["treated"].mean(), abs=1e-10)  # the score equation


def test_fit_without_treatments_or_with_one_arm_writes_empty_tables(tmp_path):
    cohort = planted(27, 100)
    roles, labels = ["train"] * 80 + ["test"] * 20, [1] * 100
    for name, clinical, treatments in (
        ("none", cohort.clinical, {}),
        ("arm", cohort.clinical.with_columns(drug=pl.lit(0.0)), {"drug": DRUG}),
    ):
        propensity, curves = fit(tmp_path / name, clinical, cohort.outcome, roles, labels, treatments)
        assert propensity.is_empty()
        assert curves.is_empty()


def test_evaluation_without_treatments_writes_empty_tables(tmp_path):
    assert all(t.is_empty() for t in evaluate(tmp_path, planted(28, 60), {}).values())
