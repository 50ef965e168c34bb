"""Held-out subgroups against survival: right size on null cohorts, mutants that fail, and what a table says."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.stats import binom
from threadpoolctl import threadpool_limits

from stratiome.config import EvaluationConfig
from stratiome.subgroups.match import pool_held_out
from stratiome.subgroups.survival import (
    Compared,
    added_concordance,
    compared,
    predict,
    restricted_means,
    survival_table,
)
from stratiome.subgroups.survival import (
    tests_table as comparisons,
)
from stratiome.survival.curves import restricted_mean
from stratiome.tables import Subgroups, from_rows
from subgroup_null import (
    clusters,
    held_out,
    null_cohort,
    p_best_of_many,
    p_confounded,
    p_held_out,
    p_screened,
)

SETTINGS = EvaluationConfig(bootstraps=200)


@pytest.fixture(autouse=True)
def one_thread():
    """Hundreds of small matrices: threads of the linear algebra would only wait for each other."""
    with threadpool_limits(1):
        yield


def _share(p, seeds):
    return float(np.mean([p(seed) < 0.05 for seed in seeds]))


def test_the_held_out_test_keeps_its_size():
    rejected = sum(p_held_out(seed) < 0.05 for seed in range(300))
    assert binom.ppf(0.0005, 300, 0.05) <= rejected <= binom.ppf(0.9995, 300, 0.05)


@pytest.mark.parametrize("mutant", [p_best_of_many, p_screened])
def test_tests_in_the_patients_who_were_clustered_by_choice_or_by_survival_do_not(mutant):
    assert _share(mutant, range(60)) > 0.2


def test_sites_that_differ_in_survival_and_omics_are_no_subgroups():
    stratified = sum(p_confounded(seed, True) < 0.05 for seed in range(100))
    assert stratified <= binom.ppf(0.9995, 100, 0.05)
    assert _share(lambda seed: p_confounded(seed, False), range(40)) > 0.3


def _planted(n=400, seed=1, effect=1.0):
    """Two subgroups that everybody sees alike, age and subgroup in the hazard."""
    rng = np.random.default_rng(seed)
    group, age = 1 + (rng.random(n) < 0.4), rng.normal(size=n)
    time = rng.exponential(20 * np.exp(-0.6 * age - effect * (group == 2)))
    censored = rng.uniform(15, 60, size=n)
    ids = [f"P{i:03d}" for i in range(n)]
    outcome = pl.DataFrame(
        {"patient_id": ids, "time_months": np.minimum(time, censored) + 0.01, "event": (time <= censored).astype(int)}
    )
    fold = rng.integers(4, size=n)
    rows = [
        {"patient_id": p, "resample": name, "role": "test" if name == f"cv-1-{f}" else "train", "model": "pca"}
        | {"subgroup": int(g), "probability": 1.0}
        for name in ("full", *(f"cv-1-{i}" for i in range(4)))
        for p, f, g in zip(ids, fold, group, strict=True)
    ]
    found = from_rows(rows, Subgroups)
    pooled = pool_held_out(found, {(r, "pca"): 2 for r in found["resample"].unique()})
    return found, pooled, outcome, pl.DataFrame({"patient_id": ids, "age": age})


def test_a_real_difference_is_found_and_adds_to_the_clinical_model():
    found, pooled, outcome, clinical = _planted()
    tests = {
        r["test"]: r for r in comparisons(pooled, found, outcome, clinical, ("age",), {}, {}).iter_rows(named=True)
    }
    assert set(tests) == {"log-rank", "stratified log-rank", "likelihood ratio"}
    assert all(r["p_value"] < 1e-6 and r["df"] == 1 and r["held_out"] for r in tests.values())
    assert "stratified by fold" in tests["stratified log-rank"]["method"]
    table = survival_table(pooled, found, outcome, clinical, ("age",), {}, {}, 36.0, SETTINGS, 1)
    rows = {(r["quantity"], r["subgroup"]): r for r in table.iter_rows(named=True)}
    assert rows["rmst_difference", 2]["upper"] < 0  # group 2 lives less long than the larger group 1
    assert rows["rmst_difference", 2]["versus"] == 1
    assert rows["uno_c_difference", None]["lower"] > 0
    gain = rows["uno_c_with_subgroups", None]["estimate"] - rows["uno_c_clinical", None]["estimate"]
    assert rows["uno_c_difference", None]["estimate"] == pytest.approx(gain)


def test_restricted_means_are_those_of_the_curves_and_end_with_the_follow_up():
    found, pooled, outcome, _ = _planted()
    people = compared(pooled, found, outcome, {})
    rows = {(r["quantity"], r["subgroup"]): r for r in restricted_means(people, 24.0, 0.95)}
    for g in (1, 2):
        here = people.group == g
        assert rows["rmst", g]["estimate"] == restricted_mean(people.time[here], people.event[here], 24.0)
    hardly = replace(people, event=people.event & (np.arange(len(people.time)) == np.argmin(people.time)))
    ends = [r for r in restricted_means(hardly, 24.0, 0.95) if r["quantity"] == "rmst" and r["estimate"] < 24.0]
    assert [r["upper"] for r in ends] == [24.0]  # a mean up to a limit is not beyond it
    short = Compared(people.patients, np.minimum(people.time, 12.0), people.event & (people.time < 12), people.group,
                     people.stratum, "fold")  # fmt: skip
    cut = restricted_means(short, 24.0, 0.95)
    assert [r["estimate"] for r in cut] == [None] * 3
    assert all("follow-up" in r["method"] for r in cut)


def test_no_outcome_of_a_held_out_patient_reaches_a_prediction():
    found, _, outcome, clinical = _planted()
    held = found.filter((pl.col("resample") == "cv-1-0") & (pl.col("role") == "test"))["patient_id"]
    only = found.filter(pl.col("resample").is_in(["full", "cv-1-0"]))
    changed = outcome.with_columns(
        pl.when(pl.col("patient_id").is_in(held.implode()))
        .then(99.0)
        .otherwise(pl.col("time_months"))
        .alias("time_months")
    )
    before, after = (predict(only, o, clinical, ("age",), {}) for o in (outcome, changed))
    assert (before.time != after.time).all()
    np.testing.assert_array_equal(before.clinical, after.clinical)
    np.testing.assert_array_equal(before.both, after.both)


def test_labels_without_survival_add_nothing_and_too_few_events_say_so():
    rng = np.random.default_rng(0)
    covered = []
    for seed in range(15):
        found, _, outcome, clinical = _planted(seed=seed, effect=0.0)
        rows = added_concordance(predict(found, outcome, clinical, ("age",), {}), 36.0, SETTINGS, rng)
        covered.append(rows[2]["lower"] <= 0.005)  # the truth is at most zero
    assert np.mean(covered) >= 0.8
    few = outcome.with_columns(pl.Series("event", [1] * 8 + [0] * (outcome.height - 8)))
    rows = added_concordance(predict(found, few, clinical, ("age",), {}), 36.0, SETTINGS, rng)
    assert "fewer than 10 events" in rows[2]["method"]
    assert rows[2]["estimate"] is None


def test_without_covariates_subgroups_are_compared_with_chance():
    found, _, outcome, clinical = _planted()
    rows = added_concordance(predict(found, outcome, clinical, (), {}), 36.0, SETTINGS, np.random.default_rng(0))
    assert rows[0]["estimate"] == 0.5
    assert rows[2]["lower"] > 0


def test_nobody_held_out_gives_no_row_but_a_reason():
    cohort = null_cohort(1, n=60)
    found, _ = held_out(cohort, 1)
    none = found.filter(pl.col("resample") == "full")
    assert "no patient is held out" in predict(none, cohort.outcome, cohort.clinical, ("age",), {}).problem
    assert set(clusters(cohort.features, cohort.features, 3, 1)) == {1, 2, 3}
