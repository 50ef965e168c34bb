"""Copies of patients in two strategies: by hand, where nothing is to adjust for, and what evaluation makes of them."""

import numpy as np
import polars as pl
import pytest

from stratiome.config import EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.survival.curves import kaplan_meier
from stratiome.treatment.averages import Settings
from stratiome.treatment.clones import Cohort, compare_strategies, strategy_curves
from stratiome.treatment.effect import Question
from stratiome.treatment.evaluate import evaluate_treatments
from treatment_cohort import planted

QUESTION = Question((30.0, 60.0), 60.0, np.array([0.0]))


def cohort(n=400, seed=3):
    rng = np.random.default_rng(seed)
    time, start = rng.exponential(20.0, n), rng.exponential(6.0, n)
    return Cohort(np.zeros((n, 0)), time, rng.random(n) < 0.8, np.where(start < time, start, np.inf), 4.0)


def test_without_confounders_curves_are_those_of_copies_censored_by_chance():
    """Then all weights of a strategy are alike, and the curve is the Kaplan-Meier curve of its copies."""
    made = cohort()
    (untreated, treated), _, note = strategy_curves(made)
    assert "Kaplan-Meier" in note
    at = np.array([1.0, 3.9, 4.1, 10.0, 30.0])
    forbidden = made.started
    alone = kaplan_meier(np.where(forbidden, made.start, made.time), made.event & ~forbidden, at)
    np.testing.assert_allclose(untreated.at(at)[0], alone, atol=1e-12)
    left = ~made.started & made.beyond
    wanted = kaplan_meier(np.where(left, made.grace, made.time), made.event & ~left, at)
    np.testing.assert_allclose(treated.at(at)[0], wanted, atol=1e-12)


def test_starts_at_the_very_end_of_the_grace_period_do_not_empty_the_other_strategy():
    made = cohort()
    tied = Cohort(made.design, made.time, made.event, np.where(made.start <= 4.0, np.ceil(made.start), made.start), 4.0)
    (untreated, _), effective, _ = strategy_curves(tied)
    forbidden = tied.started
    alone = kaplan_meier(np.where(forbidden, tied.start, tied.time), tied.event & ~forbidden, np.array([10.0]))
    np.testing.assert_allclose(untreated.at(10.0)[0], alone, atol=1e-12)
    assert effective == pytest.approx(tied.beyond.sum())


def test_probabilities_that_are_raised_are_counted():
    rng = np.random.default_rng(4)
    x = rng.choice(2, size=2000, p=[0.95, 0.05]).astype(float)
    time, start = rng.exponential(20.0, 2000), rng.exponential(np.where(x == 1, 1.0, 6.0))
    made = Cohort(x[:, None], time, np.ones(2000, dtype=bool), np.where(start < time, start, np.inf), 4.0)
    sure = int((made.beyond & ~made.started & (x == 1)).sum())
    assert sure > 0
    _, _, note = strategy_curves(made)
    assert f"of {sure} copies" in note
    assert strategy_curves(Cohort(x[:, None], time, made.event, rng.permutation(made.start), 4.0))[2] == ""


def test_bootstrap_error_is_the_spread_of_estimates():
    spread = np.array(
        [compare_strategies(cohort(seed=s), QUESTION, 0, np.random.default_rng(1)).estimate for s in range(400)]
    )
    found = [compare_strategies(cohort(seed=s), QUESTION, 60, np.random.default_rng(1)) for s in range(20)]
    ratio = np.mean([f.error for f in found], axis=0) / spread.std(axis=0, ddof=1)
    assert (np.abs(ratio - 1) < 0.2).all()
    assert {f.draws for f in found} == {60}


def started_cohort(n=500):
    made = planted(31, n)
    rng = np.random.default_rng(5)
    time = made.outcome["time_months"].to_numpy()
    start = np.where(made.clinical["drug"].to_numpy() == 1, rng.uniform(0.0, 8.0, n), np.inf)
    given = start < time
    clinical = made.clinical.with_columns(
        drug=pl.Series(given.astype(float)),
        begun=pl.Series([float(s) if g else None for s, g in zip(start, given, strict=True)]),
    )
    return clinical, made.outcome


def evaluate(clinical, outcome, treatments, truth=None):
    endpoint = EndpointConfig(time="t", event="e", horizons=(30, 60))
    settings = Settings(endpoint, EvaluationConfig(bootstraps=50), {}, 1, truth)
    return evaluate_treatments(clinical, outcome, {}, (), treatments, settings)


def test_both_analyses_stand_side_by_side():
    clinical, outcome = started_cohort()
    drug = TreatmentConfig(
        column="drug", design="observational", confounders=("severity", "age"), start="begun", landmark=6.0
    )
    found = evaluate(clinical, outcome, {"drug": drug})
    rows = [r for r in found.averages if r["estimator"] == "clone-censor-weight"]
    assert [(r["estimand"], r["population"]) for r in rows] == [
        ("rmst_difference", "all"), ("survival_difference", "all"), ("survival_difference", "all")
    ]  # fmt: skip
    assert all(r["lower"] < r["estimate"] < r["upper"] for r in rows)
    assert {r["n"] for r in rows} == {500}
    followed = int((outcome["time_months"] > 6.0).sum())
    everybody = [r for r in found.averages if (r["estimator"], r["population"]) == ("doubly robust", "all")]
    assert {r["n"] for r in everybody} == {followed}
    late = TreatmentConfig.model_validate(drug.model_dump() | {"measured": {"age": "when"}})
    changed = clinical.with_columns(when=pl.when(pl.col("drug") == 1).then(0.0).otherwise(1.0))
    refused = evaluate(changed, outcome, {"drug": late}).averages
    why = {r["method"] for r in refused if r["estimator"] == "clone-censor-weight"}
    assert why == {"not estimable: a confounder is measured after time zero"}


def test_a_treatment_known_to_start_later_is_not_compared():
    clinical, outcome = started_cohort(300)
    drug = TreatmentConfig(column="drug", design="observational", confounders=("severity",), starts="later")
    found = evaluate(clinical, outcome, {"drug": drug})
    assert {r["estimate"] for r in found.effects + found.averages} == {None}
    assert all("immortal time" in r["method"] for r in found.effects + found.averages)
    assert not found.curves
    assert not found.robustness


def test_a_confounder_that_tells_the_treatment_is_remarked_on():
    clinical, outcome = started_cohort(300)
    noise = pl.Series(np.random.default_rng(0).normal(scale=0.1, size=300))
    told = clinical.with_columns(response=pl.col("drug") + noise)
    given = TreatmentConfig(column="drug", design="observational", confounders=("severity", "response"))
    text = next(
        r["emulation"] for r in evaluate(told, outcome, {"drug": given}).trial if r["component"] == "assignment"
    )
    assert "Response: it alone nearly determines the treatment" in text
    plain = TreatmentConfig(column="drug", design="observational", confounders=("severity", "age"))
    text = next(
        r["emulation"] for r in evaluate(told, outcome, {"drug": plain}).trial if r["component"] == "assignment"
    )
    assert "determines" not in text


def test_arms_are_corrected_for_their_number():
    made = planted(33, 600)
    third = pl.Series(np.random.default_rng(2).integers(0, 3, 600))
    clinical = made.clinical.with_columns(arm=third)
    several = TreatmentConfig(
        arms={"a": "arm = 0", "b": "arm = 1", "c": "arm = 2"}, reference="c", design="randomised", confounders=("age",)
    )
    effects = evaluate(clinical, made.outcome, several.pairs("drug")).effects
    own = {r["treatment"]: r for r in effects if (r["weighting"], r["estimand"]) == ("none", "rmst_difference")}
    assert set(own) == {"drug_a", "drug_b"}
    small, large = sorted(own.values(), key=lambda r: r["p_value"])
    assert small["p_holm"] == pytest.approx(min(1.0, 2 * small["p_value"]))
    assert large["p_holm"] == pytest.approx(max(small["p_holm"], large["p_value"]))
