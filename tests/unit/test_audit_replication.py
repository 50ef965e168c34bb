"""Claims of one cohort looked for in another, with planted truth: found again, gone, turned round, not to be told."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from stratiome import tables
from stratiome.audit.questions import remark, same_start
from stratiome.audit.replication import Here, effect_rows, order_rows, verdict
from stratiome.bundle.claims import claims_table
from stratiome.bundle.counterfactuals import counterfactuals
from stratiome.config import EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.survival.outcome import time_grid
from stratiome.treatment.averages import Settings
from stratiome.treatment.evaluate import evaluate_treatments
from treatment_cohort import planted

ENDPOINT = EndpointConfig(time="t", event="e", horizons=(30.0, 60.0))
DRUG = TreatmentConfig(column="drug", design="observational", confounders=("severity", "age"))
LEVEL, DRAWS = 0.95, 60


def means(rows):
    """Contract `SubgroupSurvival` of subgroups with a mean and half the width of its interval."""
    base = {"model": "vae", "quantity": "rmst", "versus": None, "tau_months": 60.0, "held_out": True, "method": "how"}
    sizes = {"n": 200, "events": 80}
    made = [base | sizes | {"subgroup": g, "estimate": m, "lower": m - h, "upper": m + h} for g, (m, h) in rows.items()]
    return tables.from_rows(made, tables.SubgroupSurvival)


def claimed(seed, ratios=(-0.9,), n=800, treatments=None, least=10, survival=None):
    """Claims of a cohort with these log hazard ratios by subgroup."""
    cohort = planted(seed, n, ratios)
    treatments = treatments or {"drug": DRUG}
    groups = tuple(range(1, len(ratios) + 1))
    settings = Settings(ENDPOINT, EvaluationConfig(bootstraps=DRAWS, level=LEVEL), {}, seed)
    found = evaluate_treatments(cohort.clinical, cohort.outcome, cohort.labels, groups, treatments, settings)
    effects = tables.from_rows(found.effects, tables.TreatmentEffects)
    return claims_table(effects, means({}) if survival is None else survival, treatments, 60.0, LEVEL, least)


def here(seed, ratios=(-0.9,), n=800, treatments=None, **changes):
    cohort = planted(seed, n, ratios)
    given = {"clinical": cohort.clinical, "outcome": cohort.outcome, "labels": cohort.labels, "types": {}}
    given |= {"treatments": {"drug": DRUG} if treatments is None else treatments, "grid": time_grid(ENDPOINT)}
    return Here(**(given | {"bootstraps": DRAWS, "level": LEVEL, "seed": 1} | changes))


def looked_for(claims, other):
    rows = effect_rows(claims, other)
    tables.ExternalEffects.validate(tables.from_rows(rows, tables.ExternalEffects))
    return {(r["subgroup"], r["estimand"]): r for r in rows}


def test_claims_are_those_of_the_headline_with_their_errors():
    claims = claimed(1, (-1.4, 0.0))
    tables.BundleClaims.validate(claims)
    assert claims.select("subgroup", "estimand", "horizon_months").rows() == [
        (g, e, 60.0) for g in (0, 1, 2) for e in ("rmst_difference", "survival_difference")
    ]
    width = (claims["upper"] - claims["lower"]).to_numpy()
    np.testing.assert_allclose(claims["standard_error"].to_numpy(), width / (2 * 1.959964), rtol=1e-6)
    assert claims["held_out"].to_list() == [False] * 2 + [True] * 4


def test_small_cells_are_not_claimed():
    told = claimed(1, (-1.4, 0.0), least=10_000)
    assert told.is_empty()
    survival = means({1: (40.0, 3.0), 2: (30.0, 3.0)}).with_columns(n=pl.Series([200, 7]), events=pl.Series([80, 5]))
    claims = claims_table(tables.from_rows([], tables.TreatmentEffects), survival, {}, 60.0, LEVEL, 10)
    assert claims["subgroup"].to_list() == [1]


def test_an_effect_that_is_there_again_is_replicated():
    found = looked_for(claimed(2), here(12))
    row = found[0, "rmst_difference"]
    assert row["verdict"] == "replicated"
    assert row["difference"] == pytest.approx(row["estimate"] - row["claimed"])
    assert row["difference_lower"] < 0 < row["difference_upper"]
    assert row["p_holm"] >= row["p_value"] > 0.05


def test_an_effect_that_is_gone_or_turned_round_is_not():
    gone = looked_for(claimed(3, (-1.4,)), here(13, (0.0,)))
    assert gone[0, "rmst_difference"]["verdict"] == "not replicated"
    assert gone[0, "rmst_difference"]["p_holm"] < 0.05
    turned = looked_for(claimed(3, (-1.4,)), here(13, (0.9,)))
    assert turned[0, "rmst_difference"]["verdict"] == "not replicated"


def test_effects_are_looked_for_in_the_subgroups_of_the_bundle():
    found = looked_for(claimed(4, (-1.6, 0.0), n=1200), here(14, (-1.6, 0.0), n=1200))
    assert found[1, "rmst_difference"]["verdict"] == "replicated"
    assert found[2, "rmst_difference"]["verdict"] in ("nothing was claimed", "undecided")
    assert found[1, "rmst_difference"]["held_out"]
    swapped = here(14, (-1.6, 0.0), n=1200)
    other = looked_for(
        claimed(4, (-1.6, 0.0), n=1200),
        here(14, (-1.6, 0.0), n=1200, labels={p: 3 - s for p, s in swapped.labels.items()}),
    )
    assert other[1, "rmst_difference"]["verdict"] == "not replicated"


def test_what_cannot_be_looked_for_says_why():
    claims = claimed(5)

    def why(other):
        (row,) = {r["method"] for r in looked_for(claims, other).values()}
        assert {r["verdict"] for r in looked_for(claims, other).values()} == {"not estimable"}
        return row

    assert why(here(15, treatments={})) == "not estimable: the config of this cohort names no such treatment"
    assert why(here(15, n=30)) == "not estimable: fewer than 20 patients in an arm"
    later = DRUG.model_copy(update={"starts": "later"})
    assert "immortal time" in why(here(15, treatments={"drug": later}))
    nobody = DRUG.model_copy(update={"eligible": "age > 99"})
    assert "no patient is eligible" in why(here(15, treatments={"drug": nobody}))


DATED = DRUG.model_copy(update={"start": "start", "landmark": 6.0, "unit": "months"})


def with_starts(other, months=3.0):
    start = pl.when(pl.col("drug") == 1).then(pl.lit(months))
    return replace(other, clinical=other.clinical.with_columns(start=start))


def test_an_effect_from_another_time_on_is_shown_and_not_compared():
    other = with_starts(here(12, treatments={"drug": DATED}))
    row = looked_for(claimed(2), other)[0, "rmst_difference"]
    assert row["verdict"] == "another question"
    assert row["lower"] < row["estimate"] < row["upper"]
    assert row["n"] < 800  # those who live to the landmark
    assert {row[k] for k in ("difference", "difference_lower", "difference_upper", "p_value", "p_holm")} == {None}
    assert "there patients are compared from time zero on, here from 6 months on, if they live" in row["remark"]
    assert row["unknown_starts"] == "there"
    nobody = replace(other, treatments={"drug": DATED.model_copy(update={"eligible": "age > 99"})})
    assert {r["verdict"] for r in looked_for(claimed(2), nobody).values()} == {"not estimable"}


def test_a_landmark_is_the_same_in_other_units():
    claim = {"landmark_months": 6.0}
    days = DATED.model_copy(update={"landmark": 182.625, "unit": "days"})
    assert same_start(claim, days)
    assert same_start({"landmark_months": None}, DRUG)
    assert not same_start(claim, DATED.model_copy(update={"landmark": 180.0, "unit": "days"}))
    assert not same_start(claim, DRUG)
    assert not same_start({"landmark_months": None}, DATED)


def test_the_same_bias_in_both_cohorts_is_said():
    row = looked_for(claimed(2), here(12))[0, "rmst_difference"]
    assert row["unknown_starts"] == "both"
    assert row["remark"].endswith("so that agreement does not exclude this bias")
    known = DRUG.model_copy(update={"starts": "at time zero"})
    row = looked_for(claimed(2, treatments={"drug": known}), here(12, treatments={"drug": known}))
    assert {(r["unknown_starts"], r["remark"]) for r in row.values()} == {("", "")}


def inert(seed, n=1500):
    """Clinical table and outcome of a drug without effect that starts within two years, if one lives so long."""
    rng = np.random.default_rng(seed)
    death, wanted = rng.exponential(50.0, n), np.where(rng.random(n) < 0.6, rng.uniform(0.0, 24.0, n), np.inf)
    treated = wanted < death
    ids, noise = [f"P{i:05d}" for i in range(n)], rng.normal(size=(2, n))
    clinical = pl.DataFrame({"patient_id": ids, "drug": treated.astype(float), "severity": noise[0], "age": noise[1]})
    start = pl.Series("start", np.where(treated, wanted, np.nan)).fill_nan(None)
    outcome = pl.DataFrame({"patient_id": ids, "time_months": np.minimum(death, 90.0), "event": death < 90})
    return clinical.with_columns(start), outcome.with_columns(pl.col("event").cast(pl.Int64))


def inert_claims(seed, treatment):
    clinical, outcome = inert(seed)
    settings = Settings(ENDPOINT, EvaluationConfig(bootstraps=DRAWS, level=LEVEL), {}, seed)
    found = evaluate_treatments(clinical, outcome, {}, (), {"drug": treatment}, settings)
    effects = tables.from_rows(found.effects, tables.TreatmentEffects)
    return claims_table(effects, means({}), {"drug": treatment}, 60.0, LEVEL, 10)


def test_immortal_time_replicates_an_inert_drug_and_a_landmark_does_not():
    clinical, outcome = inert(31)
    verdicts = {}
    for name, treatment in (("unknown", DRUG), ("landmark", DATED.model_copy(update={"landmark": 24.0}))):
        other = here(1, clinical=clinical, outcome=outcome, labels={}, treatments={"drug": treatment})
        row = looked_for(inert_claims(21, treatment), other)[0, "rmst_difference"]
        verdicts[name] = (row["verdict"], row["unknown_starts"])
    assert verdicts == {"unknown": ("replicated", "both"), "landmark": ("nothing was claimed", "")}


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"confounders": ("severity",)}, "confounders are balanced for age only there"),
        ({"confounders": ("severity", "site")}, "confounders are balanced for age only there and site only here"),
        ({"eligible": "age > 0"}, "eligible there: everybody; here: age > 0"),
        ({"design": "randomised", "confounders": ()}, "treatment was given by chance here only"),
    ],
)
def test_what_was_asked_otherwise_is_said(changes, said):
    known = DRUG.model_copy(update={"starts": "at time zero"})
    claim = claimed(2, treatments={"drug": known}).to_dicts()[0]
    assert remark(claim, known) == ""
    assert said in remark(claim, known.model_copy(update=changes))


def test_follow_up_that_ends_before_the_claim_is_said():
    cohort = here(16)
    short = cohort.outcome.with_columns(
        event=pl.when(pl.col("time_months") > 40).then(0).otherwise("event"),
        time_months=pl.min_horizontal("time_months", pl.lit(40.0)),
    )
    found = looked_for(claimed(6), here(16, outcome=short))
    assert {r["method"] for r in found.values()} == {"not estimable: follow-up of an arm ends before 60 months"}


def row_of(claim, found, p=0.9):
    names = ("claimed", "claimed_lower", "claimed_upper", "estimate", "lower", "upper")
    ends = [v for e, h in (claim, found) for v in (e, None if h is None else e - h, None if h is None else e + h)]
    return dict(zip(names, ends, strict=True)) | {"p_holm": p}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (row_of((5, 2), (4, 2)), "replicated"),
        (row_of((5, 2), (1, 0.5), p=0.001), "replicated in direction, not in size"),
        (row_of((5, 2), (3, 4)), "undecided"),
        (row_of((5, 2), (-1, 1.5), p=0.001), "not replicated"),
        (row_of((-5, 2), (4, 2), p=0.2), "not replicated"),
        (row_of((1, 2), (2, 1)), "nothing was claimed"),
        (row_of((1, 2), (9, 1), p=0.001), "not replicated"),
        (row_of((5, 2), (4, None), p=None), "not estimable"),
    ],
)
def test_verdicts_follow_both_intervals_and_the_test(row, said):
    assert verdict(row, 0.05) == said


def test_the_same_truth_is_called_different_no_more_often_than_it_may():
    """60 pairs of cohorts, tested at 5 %: 3 expected; 9 or more have p = 0.004."""
    claims = [claimed(100 + s, n=300) for s in range(60)]
    p = [looked_for(c, here(300 + s, n=300))[0, "rmst_difference"]["p_value"] for s, c in enumerate(claims)]
    assert sum(v < 0.05 for v in p) <= 8


# ---- order of subgroups ----------------------------------------------------------------------------------------------


def people(rates, n=150, seed=0):
    rng = np.random.default_rng(seed)
    parts = []
    for g, rate in rates.items():
        death, end = rng.exponential(1 / rate, n), rng.uniform(40, 160, n)
        event = (death <= end).astype(int)
        parts.append(pl.DataFrame({"subgroup": [g] * n, "time_months": np.minimum(death, end), "event": event}))
    return pl.concat(parts)


def orders(survival, patients):
    claims = claims_table(tables.from_rows([], tables.TreatmentEffects), survival, {}, 60.0, LEVEL, 10)
    rows = order_rows(claims, patients, LEVEL)
    tables.ExternalOrder.validate(tables.from_rows(rows, tables.ExternalOrder))
    return {(r["subgroup"], r["versus"]): r for r in rows[:-1]}, rows[-1]


def test_pairs_that_were_sure_are_looked_at_and_no_others():
    pairs, whole = orders(means({1: (50.0, 2.0), 2: (40.0, 2.0), 3: (41.0, 2.0)}), people({1: 0.004, 2: 0.03, 3: 0.03}))
    assert set(pairs) == {(2, 1), (3, 1)}
    assert {r["verdict"] for r in pairs.values()} == {"same order"}
    assert pairs[2, 1]["claimed"] == pytest.approx(-10.0)
    assert pairs[2, 1]["claimed_upper"] == pytest.approx(-10 + np.hypot(2, 2))
    assert (whole["quantity"], whole["estimate"], whole["pairs"]) == ("concordance", 1.0, 2)


def test_an_order_that_is_turned_round_is_told_so():
    pairs, whole = orders(means({1: (50.0, 2.0), 2: (40.0, 2.0)}), people({1: 0.03, 2: 0.004}))
    assert pairs[2, 1]["verdict"] == "turned round"
    assert whole["estimate"] == -1.0
    alike, _ = orders(means({1: (50.0, 2.0), 2: (40.0, 2.0)}), people({1: 0.02, 2: 0.02}))
    assert alike[2, 1]["verdict"] == "undecided"


def test_orders_that_cannot_be_looked_at():
    pairs, whole = orders(means({1: (50.0, 2.0), 2: (40.0, 2.0)}), people({1: 0.03, 2: 0.03}, n=15))
    assert pairs[2, 1]["verdict"] == "not estimable"
    assert whole["method"].startswith("not estimable: no pair that differed")
    for survival in (means({}), means({1: (40.0, 2.0)}), means({1: (40.0, 2.0), 2: (41.0, 2.0)})):
        pairs, whole = orders(survival, people({1: 0.03, 2: 0.03}))
        assert pairs == {}
        assert whole["method"].startswith("not estimable: no two subgroups differed clearly")


# ---- curves for patients like this -----------------------------------------------------------------------------------


def test_curves_are_those_of_subgroups_that_are_here_and_in_distribution():
    curves = tables.from_rows(
        [
            {"resample": "full", "treatment": "drug", "subgroup": g, "arm": a, "time_months": t, "survival": s, "n": 40}
            for g in (0, 1, 2, 3)
            for a in ((0, 1) if g != 3 else (0,))
            for t, s in ((0.0, 1.0), (12.0, 0.9 - 0.1 * a))
        ],
        tables.CounterfactualCurves,
    )
    base = {"omics": "rna", "missing": 0.0, "outside": 0.0, "unusual": 0.5, "probability": 0.9}
    base |= {"covariates_missing": 0.0, "covariates_outside": 0.0}
    patients = tables.from_rows(
        [
            {"patient_id": p, "subgroup": g, "out_of_distribution": far} | base
            for p, g, far in (("a", 1, False), ("b", 1, True), ("c", 0, False), ("d", 2, True), ("e", 3, False))
        ],
        tables.ScoredPatients,
    )
    found = counterfactuals(curves, patients)
    tables.ScoredCounterfactuals.validate(found)
    assert found.select("subgroup", "arm", "time_months", "patients").rows() == [
        (1, 0, 0.0, 1),
        (1, 0, 12.0, 1),
        (1, 1, 0.0, 1),
        (1, 1, 12.0, 1),
    ]
