"""Survival under both arms for patients like a profile: right answers, bands, and what is refused or hidden."""

import time

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from stratiome import tables
from stratiome.config import EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.survival.cox import fit_cox
from stratiome.treatment import profiles as module
from stratiome.treatment.averages import Settings
from stratiome.treatment.emulate import Sample, TreatmentError
from stratiome.treatment.profiles import profile_rows
from stratiome.treatment.standardise import arm_models, standardised
from treatment_cohort import planted

ENDPOINT = EndpointConfig(time="t", event="e", horizons=(30, 60))


def settings(bootstraps=100, types=None):
    return Settings(ENDPOINT, EvaluationConfig(bootstraps=bootstraps), types or {}, 1, None)


def drug(profiles, confounders=("severity", "age"), **more):
    return TreatmentConfig(column="drug", design="observational", confounders=confounders, profiles=profiles, **more)


def rows_of(sample, treatment, clinical=None, seed=1, **more):
    clinical = sample.clinical if clinical is None else clinical
    curves, effects = profile_rows("drug", treatment, sample, clinical, settings(**more), np.random.default_rng(seed))
    return tables.from_rows(curves, tables.TreatmentProfiles), tables.from_rows(effects, tables.TreatmentProfileEffects)


def truth(severity, age, log_ratio):
    """Survival at the horizons and restricted mean survival of the planted cohort."""
    rate = np.exp(0.7 * severity + 0.3 * age + log_ratio) / 70.0
    return np.append(-np.expm1(-rate * 60) / rate, np.exp(-rate * np.array([30.0, 60.0])))


@pytest.fixture(scope="module")
def cohort():
    return planted(40, 2000, log_hazard_ratios=(-0.9,))


@pytest.fixture(scope="module")
def found(cohort):
    return rows_of(cohort.sample, drug({"like": {"severity": 0.5, "age": -0.5}, "ill": {"severity": 1.0}}))


def test_curves_are_those_that_were_planted(cohort, found):
    curves, effects = found
    for arm, log_ratio in ((0, 0.0), (1, -0.9)):
        own = curves.filter(profile="like", arm=arm)
        exact = np.exp(-np.exp(0.7 * 0.5 - 0.3 * 0.5 + log_ratio) / 70 * own["time_months"].to_numpy())
        lower, upper = own["lower"].to_numpy(), own["upper"].to_numpy()
        inside = (lower <= exact + 1e-9) & (exact <= upper + 1e-9)
        assert inside.mean() > 0.9
        assert (own["upper"] - own["lower"]).max() < 0.15
    ours = effects.filter(profile="like")["estimate"].to_numpy()
    expected = truth(0.5, -0.5, -0.9) - truth(0.5, -0.5, 0.0)
    error = (effects.filter(profile="like")["upper"] - effects.filter(profile="like")["lower"]).to_numpy() / 3.92
    assert (np.abs(ours - expected) < 3.5 * error).all()
    assert effects["p_value"].is_not_null().all()
    assert not effects["held_out"].any()


def test_what_a_profile_leaves_open_is_averaged_over_the_patients(cohort, found):
    """Written out for one arm."""
    sample, age = cohort.sample, cohort.clinical["age"].to_numpy()
    x = cohort.design
    model = fit_cox(x[sample.treated], sample.time[sample.treated], sample.event[sample.treated])
    each = model.survival(np.column_stack([np.full(len(age), 1.0), age]), np.array([30.0, 60.0]))
    curves = found[0].filter(profile="ill", arm=1)
    ours = [curves.filter(pl.col("time_months") == t)["survival"].item() for t in (30.0, 60.0)]
    np.testing.assert_allclose(ours, each.mean(axis=0), rtol=1e-9)
    expected = np.mean([truth(1.0, a, -0.9) - truth(1.0, a, 0.0) for a in age[:500]], axis=0)
    effects = found[1].filter(profile="ill")
    error = (effects["upper"] - effects["lower"]).to_numpy() / 3.92
    assert (np.abs(effects["estimate"].to_numpy() - expected) < 3.5 * error).all()


def test_restricted_means_are_areas_under_the_curves():
    sample, x = planted(41, 300).sample, planted(41, 300).design
    for model in arm_models(x, sample):
        fine = np.linspace(0, 60, 60_001)
        for row in x[:3]:
            exact = np.trapezoid(model.survival(row[None], fine)[0], fine)
            assert model.restricted_mean(row[None], 60.0)[0] == pytest.approx(exact, abs=2e-3)
        whole = standardised(model, x, np.arange(300.0), fine, 60.0)
        assert whole.restricted == pytest.approx(np.trapezoid(whole.survival, fine), abs=2e-3)
        assert whole.restricted == pytest.approx(np.average(model.restricted_mean(x, 60.0), weights=np.arange(300)))


def test_weights_are_patients_who_count_more_often():
    sample, x = planted(42, 200).sample, planted(42, 200).design
    twice = arm_models(x, sample, np.full(200, 2.0))
    for a, b in zip(arm_models(x, sample), twice, strict=True):
        np.testing.assert_allclose(a.coefficients, b.coefficients, rtol=1e-8)
        np.testing.assert_allclose(a.cumulative_hazard, b.cumulative_hazard, rtol=1e-8)


def test_intervals_hold_the_truth_as_often_as_they_say():
    """30 cohorts; a mutant that keeps the models and draws only who is averaged over holds it hardly ever."""
    ages = np.random.default_rng(0).normal(size=1000)
    exact = np.mean([truth(0.3, a, -0.9) - truth(0.3, a, 0.0) for a in ages], axis=0)[0]
    held, mutant = [], []
    for seed in range(30):
        cohort = planted(1000 + seed, 300)
        sample, x, rng = cohort.sample, cohort.design.copy(), np.random.default_rng(seed)
        row = rows_of(sample, drug({"like": {"severity": 0.3}}), bootstraps=50)[1].row(0, named=True)
        held.append(row["lower"] <= exact <= row["upper"])
        untreated, treated = arm_models(x, sample)
        x[:, 0] = 0.3
        each = treated.restricted_mean(x, 60.0) - untreated.restricted_mean(x, 60.0)
        spread = np.std([each[rng.integers(0, 300, 300)].mean() for _ in range(50)])
        mutant.append(abs(row["estimate"] - exact) < 1.96 * spread)
    assert np.mean(held) >= 0.85
    assert np.mean(mutant) < 0.5


def test_a_profile_without_support_is_hidden_and_says_why():
    rng = np.random.default_rng(5)
    base = planted(43, 900, confounding=0.3)
    stage = rng.choice(["I", "II", "III"], 900)
    stage[:3] = "IV"
    clinical = base.clinical.with_columns(stage=pl.Series(stage))
    treated = base.sample.treated & (stage != "III") | ((stage == "III") & (rng.random(900) < 0.01))
    sample = Sample(clinical, treated, base.sample.time, base.sample.event)
    profiles = {
        "old": {"age": 9.0},
        "never treated": {"stage": "III"},
        "rare": {"stage": "IV"},
        "fine": {"stage": "II", "age": 0},
    }
    more = pl.concat([clinical, clinical.head(1).with_columns(stage=pl.lit("0"), patient_id=pl.lit("X"))])
    profiles["not eligible"] = {"stage": "0"}
    curves, effects = rows_of(sample, drug(profiles, ("severity", "age", "stage")), more, bootstraps=50)
    assert curves["profile"].unique().to_list() == ["fine"]
    reasons = {r["profile"]: r["method"] for r in effects.filter(pl.col("estimate").is_null()).to_dicts()}
    assert reasons == {
        "old": "not estimable: age 9 is outside the range of the eligible patients",
        "never treated": "not estimable: hardly any of such patients is treated, propensity outside 0.05 to 0.95",
        "rare": "not estimable: too few eligible patients have stage IV",
        "not eligible": "not estimable: too few eligible patients have stage 0",
    }
    fine = effects.filter(profile="fine")
    like = (stage == "II") & (np.abs(clinical["age"].to_numpy()) <= 0.5 * clinical["age"].to_numpy().std())
    assert (fine["n_like"] == like.sum()).all()
    assert fine["propensity"].is_between(0.05, 0.95).all()


def test_effects_beyond_the_follow_up_are_not_told():
    base = planted(44, 400).sample
    late = base.time > 50
    short = Sample(base.clinical, base.treated, np.where(late, 50.0, base.time), base.event & ~late)
    curves, effects = rows_of(short, drug({"like": {"age": 0.0}}), bootstraps=50)
    by = {(r["estimand"], r["horizon_months"]): r for r in effects.to_dicts()}
    assert by["survival_difference", 30.0]["estimate"] is not None
    assert by["survival_difference", 60.0]["method"] == "not estimable: follow-up of an arm ends before 60 months"
    assert by["rmst_difference", 60.0]["estimate"] is None
    assert curves.filter(pl.col("time_months") > 50)["at_risk"].max() == 0  # the report ends a curve where few are


def test_few_patients_give_no_profile(cohort):
    few = cohort.sample.take(np.arange(2000) < 45)
    curves, effects = rows_of(few, drug({"like": {"age": 0.0}}))
    assert curves.is_empty()
    assert effects["estimate"].is_null().all()
    assert effects["method"].str.contains("in an arm").all()


@pytest.mark.parametrize(
    ("profile", "said"),
    [
        ({"age": "old"}, "`treatments.drug.profiles.p.age`: 'old' is no number"),
        (
            {"stage": "V"},
            r"`treatments.drug.profiles.p.stage`: no patient has the class 'V'. Suggestion: one of 1.0, 2",
        ),
        ({"sex": "Female"}, "no patient has the class 'Female'. Suggestion: `female`\\?"),
    ],
)
def test_values_that_no_column_has_are_refused(profile, said):
    sample = classes()
    with pytest.raises(TreatmentError, match=said):
        rows_of(sample, drug({"p": profile}, ("age", "stage", "sex")), types={"stage": "categorical"}, bootstraps=50)


def classes():
    base, rng = planted(45, 300).sample, np.random.default_rng(0)
    clinical = base.clinical.with_columns(
        stage=pl.Series(rng.integers(1, 4, 300).astype(float)),
        sex=pl.Series(rng.choice(["female", "male"], 300)),
        smoker=pl.Series(rng.random(300) < 0.4),
    )
    return Sample(clinical, base.treated, base.time, base.event)


def test_classes_may_be_written_as_numbers_or_true():
    sample = classes()
    profile = {"stage": 2, "sex": "male", "smoker": True}
    treatment = drug({"p": profile}, ("age", "stage", "sex", "smoker"))
    curves, effects = rows_of(sample, treatment, types={"stage": "categorical"}, bootstraps=50)
    assert not curves.is_empty()
    c = sample.clinical
    like = (c["stage"] == 2) & (c["sex"] == "male") & c["smoker"]
    assert (effects["n_like"] == like.sum()).all()
    text = rows_of(sample, treatment, types={"stage": "categorical", "smoker": "categorical"}, bootstraps=50)[0]
    np.testing.assert_allclose(text["survival"], curves["survival"], rtol=1e-6)


def test_columns_of_a_profile_are_confounders():
    with pytest.raises(ValidationError, match=r"`profiles.p`: `sevrity` is not one of the `confounders`.*`severity`"):
        drug({"p": {"sevrity": 1.0}})
    with pytest.raises(ValidationError, match="a profile may name confounders only"):
        TreatmentConfig(column="drug", design="randomised", profiles={"p": {"age": 60}})
    with pytest.raises(ValidationError, match="has no values"):
        drug({"p": {}})


def test_without_profiles_nothing_is_made(cohort):
    assert profile_rows("drug", drug({}), cohort.sample, cohort.clinical, settings(), np.random.default_rng(0)) == (
        [],
        [],
    )


def test_the_default_number_of_draws_takes_seconds():
    sample = planted(46, 600).sample
    began = time.perf_counter()
    rows_of(sample, drug({"a": {"age": 1.0}, "b": {"severity": 0.2}}), bootstraps=EvaluationConfig().bootstraps)
    assert time.perf_counter() - began < 15  # about 2 s; a fit of 5 ms a draw would be noticed


def test_distinct_rows_stand_for_all_patients():
    x = np.array([[1.0, 2.0], [0.0, 1.0], [1.0, 2.0]])
    rows = module._Rows.of(x)
    assert np.array_equal(rows.x[rows.which], x)
    assert rows.weights(np.array([1.0, 2.0, 3.0])).tolist() == [2.0, 4.0]
