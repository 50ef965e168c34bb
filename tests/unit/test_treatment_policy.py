"""Rules whom to treat: what is learned, that held-out patients have no part in it, and what a rule is worth."""

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

import effect_gates as gates
from stratiome import tables
from stratiome.config import EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.survival.outcome import time_grid
from stratiome.treatment.averages import Settings
from stratiome.treatment.differences import HeldOut
from stratiome.treatment.doubly_robust import fit_nuisance, influence
from stratiome.treatment.effect import Question
from stratiome.treatment.fit import fit_treatment
from stratiome.treatment.policy import (
    Leaf,
    Split,
    Value,
    beats_both,
    decide,
    gains,
    learn_threshold,
    learn_tree,
    least,
    value,
)
from stratiome.treatment.policy_rows import fit_policies, policy_rows
from stratiome.treatment.standardise import arm_months
from stratiome.treatment.truth import TrueEffects
from treatment_cohort import planted

ENDPOINT = EndpointConfig(time="t", event="e", horizons=(30, 60))
QUESTION = Question(ENDPOINT.horizons_months, ENDPOINT.tau_months, time_grid(ENDPOINT))
DRUG = TreatmentConfig(column="drug", design="observational", confounders=("severity", "age"))


def leaves(node):
    return [node] if isinstance(node, Leaf) else leaves(node.below) + leaves(node.above)


def test_a_tree_decides_as_econml_does_and_asks_nothing_in_vain():
    from econml.policy import PolicyTree

    rng = np.random.default_rng(0)
    for _ in range(20):
        x = np.column_stack([rng.normal(size=(300, 3)), rng.random((300, 2)) < 0.4])
        contribution = rng.normal(size=300) * 20 + 6 * (x[:, 0] > 0)
        tree = learn_tree(x, contribution)
        theirs = PolicyTree(max_depth=2, min_samples_leaf=30, honest=False, random_state=0)
        theirs.fit(x, np.column_stack([np.zeros(300), contribution]))
        assert np.array_equal(decide(tree, x), theirs.predict(x) == 1)
        assert sum(leaf.n for leaf in leaves(tree)) == 300
        assert min(leaf.n for leaf in leaves(tree)) >= least(300)
        if isinstance(tree, Split):
            assert len({leaf.treat for leaf in leaves(tree)}) == 2
            assert (tree.below, tree.above) != (Leaf(True, tree.below.n), Leaf(True, tree.above.n))


def test_a_tree_finds_who_benefits():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(800, 4))
    contribution = np.where((x[:, 1] > 0.3) & (x[:, 2] < 0.5), 8.0, -8.0) + rng.normal(size=800) * 5
    right = (x[:, 1] > 0.3) & (x[:, 2] < 0.5)
    assert (decide(learn_tree(x, contribution), x) == right).mean() > 0.95
    assert learn_tree(x, np.abs(contribution)) == Leaf(True, 800)
    assert learn_tree(x[:30], contribution[:30]).n == 30  # too few to ask anything


def test_a_threshold_has_the_largest_gain_of_all():
    rng = np.random.default_rng(2)
    for i in range(30):
        predicted = rng.normal(size=120).round(1)  # ties
        contribution = rng.normal(size=120) * 10 + 5 * predicted + (i % 5 - 2)
        rule = learn_threshold(predicted, contribution)
        gain = (decide(rule, predicted[:, None]) * contribution).sum()
        cuts = [c for c in np.unique(predicted) if 20 <= (predicted > c).sum() <= 100]
        assert gain == pytest.approx(max([0.0, contribution.sum(), *(contribution[predicted > c].sum() for c in cuts)]))
    assert learn_threshold(np.zeros(100), np.ones(100)) == Leaf(True, 100)
    assert learn_threshold(np.zeros(100), -np.ones(100)) == Leaf(False, 100)


def test_gains_over_practice_are_right_if_one_model_is():
    """As with the average effect; treatment times contribution, a mutant, needs the model of survival."""
    truth = gates.covariates(np.random.default_rng(5), 400_000)
    rate = [gates.Confounded.rate(truth, a) for a in (0, 1)]
    months = [-np.expm1(-r * gates.TAU) / r for r in rate]
    propensity = 1 / (1 + np.exp(-(0.9 * truth[:, 0] - 0.3 * truth[:, 1])))
    expected = ((truth[:, 1] - propensity) * (months[1] - months[0])).mean()  # the rule treats where column 1 is 1
    horizons, off = np.array([gates.HORIZON]), {}
    for name, seeds in (("survival right", 10), ("treatment and censoring right", 40)):
        survival, treatment = gates.CELLS[name]
        ours, mutant = [], []
        for seed in range(seeds):
            train, test = (gates.Confounded.draw([seed, i], 1000) for i in (7, 8))
            pick = [slice(None) if right else slice(1, None) for right in (treatment, survival)]
            other = {"outcome": train.x[:, pick[1]], "censoring": train.x[:, pick[0]]}
            judged = {"outcome": test.x[:, pick[1]], "censoring": test.x[:, pick[0]]}
            models = fit_nuisance(train.x[:, pick[0]], train.sample, **other)
            scores = influence(models, test.x[:, pick[0]], test.sample, horizons, gates.TAU, **judged)
            rule, c = test.x[:, 1] == 1, scores.contrasts[:, 0]
            made = gains(rule, c, scores.predicted[:, 0], scores.propensity, test.sample.treated)
            ours.append(made["practice"][0].mean())
            mutant.append(((rule * 1.0 - test.sample.treated) * c).mean())
        assert abs(np.mean(ours) - expected) < 3.5 * np.std(ours, ddof=1) / np.sqrt(seeds), name
        off[name] = abs(np.mean(mutant) - expected) / (np.std(mutant, ddof=1) / np.sqrt(seeds))
    assert off["survival right"] < 3.5 < off["treatment and censoring right"]


def test_predicted_effects_of_the_scores_are_what_gains_over_practice_need():
    """`gains` takes them as the models of survival that are in the contributions."""
    cohort = planted(31, 600)
    ids = cohort.clinical["patient_id"].to_list()
    roles = {p: "test" if i % 3 == 0 else "train" for i, p in enumerate(ids)}
    rows = fit_treatment(cohort.clinical, cohort.outcome, roles, {}, {"drug": DRUG}, {}, QUESTION)[2]
    held = np.arange(600) % 3 == 0
    train, test = cohort.sample.take(~held), cohort.sample.take(held)
    models = fit_nuisance(cohort.design[~held], train)
    scores = influence(models, cohort.design[held], test, np.array(QUESTION.horizons), QUESTION.tau)
    # What was done less nothing, from the scores of each arm: the residual counts once, not over the propensity.
    arm, of_arm = test.treated * 1, np.where(test.treated, scores.propensity, 1 - scores.propensity)
    n = np.arange(len(test))
    plain, full = scores.predicted_restricted[arm, n], scores.restricted[arm, n]
    practice = plain + (full - plain) * of_arm - scores.restricted[0]
    c, m, e = (np.array([r[k] for r in rows]) for k in ("contribution", "predicted", "propensity"))
    made = gains(np.zeros(len(test)), c, m, e, test.treated)
    np.testing.assert_allclose(-made["practice"][0], practice, atol=1e-8)


def test_beating_one_of_both_is_not_enough():
    better, worse = Value(2.0, 0.5, 100), Value(-1.0, 0.5, 100)
    assert beats_both(better, Value(1.5, 0.5, 100)) == pytest.approx(0.0027, abs=1e-4)  # of the smaller gain
    assert beats_both(better, worse) == 1.0
    assert beats_both(better, Value(1.5, 0.5, 19)) == 1.0  # hardly anybody is treated otherwise
    assert beats_both(better, Value(0.0, 0.0, 0)) == 1.0


# --- rows of tables ---------------------------------------------------------------------------------------------------


def learned(cohort, clinical=None, outcome=None, folds=3, labels=True, covariates=()):
    """Rows of decisions and trees of each fold, and of contributions."""
    clinical = cohort.clinical if clinical is None else clinical
    outcome = cohort.outcome if outcome is None else outcome
    ids = cohort.clinical["patient_id"].to_list()
    decisions, trees, scores = [], [], []
    for k in range(folds):
        roles = {p: "test" if i % folds == k else "train" for i, p in enumerate(ids)}
        given = (clinical, outcome, roles, cohort.labels if labels else {}, {"drug": DRUG}, {}, QUESTION)
        for found, rows in zip(
            (decisions, trees, scores), (*fit_policies(*given, covariates, 1), fit_treatment(*given)[2]), strict=True
        ):
            found += [{"resample": f"cv-1-{k + 1}"} | r for r in rows]
    return (
        tables.from_rows(decisions, tables.TreatmentPolicies),
        tables.from_rows(trees, tables.TreatmentPolicyTrees),
        tables.from_rows(scores, tables.TreatmentScores),
    )


def judged(cohort, decisions, scores, truth=True):
    planted_truth = TrueEffects.of(cohort.truth) if truth else None
    settings = Settings(ENDPOINT, EvaluationConfig(), {}, 1, planted_truth)
    rows = policy_rows(HeldOut.of("drug", cohort.sample, scores, False), decisions, settings)
    return tables.from_rows(rows, tables.TreatmentPolicy)


@pytest.fixture(scope="module")
def two_groups():
    """Helps in subgroup 1, harms in subgroup 2."""
    return planted(20, 1500, log_hazard_ratios=(-1.2, 0.8))


def test_a_rule_that_is_right_is_found_and_recommended(two_groups):
    decisions, trees, scores = learned(two_groups)
    assert decisions.height == 2 * 1500
    first = trees.filter(rule="tree", node=0)
    assert (first["kind"] == "subgroup").all()
    treat = decisions.filter(rule="tree").sort("patient_id")["treat"].to_numpy()
    assert ((treat == 1) == (np.array(list(two_groups.labels.values())) == 1)).mean() > 0.8
    found = judged(two_groups, decisions, scores)
    tree = found.filter(rule="tree")
    assert tree["against"].to_list() == ["none", "all", "practice"]
    assert tree["recommended"].all()
    assert (tree["lower"] > 0).all()
    z = (tree["estimate"] - tree["truth"]) / ((tree["upper"] - tree["lower"]) / (2 * 1.959964))
    assert (z.abs() < 3.5).all()
    assert tree["n_treat"][0] / tree["n"][0] == pytest.approx(tree["share_treated"][0])
    assert (tree["p_holm"] >= tree["p_rule"]).all()


def test_the_threshold_asks_what_contributions_predict_where_other_causes_compete():
    """In a world with other causes; months of models of the event alone, a mutant, are others."""
    cohort = planted(26, 1500, log_hazard_ratios=(0.0,))
    age, treated = cohort.clinical["age"].to_numpy(), cohort.clinical["drug"].to_numpy() == 1
    time = cohort.outcome["time_months"].to_numpy() * np.where(treated, np.where(age > 0, 4.0, 0.25), 1.0)
    die = np.random.default_rng(9).exponential(60.0 / np.exp(0.8 * age))
    first = die < time
    event = np.where(first, 0, cohort.outcome["event"].to_numpy())
    columns = {"time_months": np.minimum(die, time), "event": event, "competing": first.astype(np.int64)}
    outcome = cohort.outcome.with_columns(pl.Series(k, v) for k, v in columns.items())
    decisions, trees, scores = learned(cohort, outcome=outcome)
    asked = decisions.filter(rule="threshold").join(scores, on=["resample", "patient_id"])
    assert asked.height == 1500
    sample = replace(cohort.sample, time=columns["time_months"], event=event == 1, other=first)
    ids = np.array(sample.patient_ids)
    for key, own in asked.group_by("resample"):
        root = trees.filter(resample=key[0], rule="threshold", node=0).row(0, named=True)
        assert root["kind"] == "predicted effect"
        assert (own["treat"] == (own["predicted"] > root["threshold"]).cast(pl.Int64)).all()
        held, own = np.isin(ids, own["patient_id"].to_list()), own.sort("patient_id")
        for which, same in ((sample, True), (replace(sample, other=None), False)):
            months = arm_months(cohort.design[~held], which.take(~held), cohort.design[held], QUESTION.tau)
            off = np.abs(months[1] - months[0] - own["predicted"].to_numpy())
            assert off.max() < 1e-9 if same else off.max() > 5


def test_where_all_benefit_alike_no_rule_is_recommended():
    cohort = planted(24, 900, log_hazard_ratios=(-0.8,))
    decisions, _, scores = learned(cohort)
    found = judged(cohort, decisions, scores)
    assert not found["recommended"].any()
    over_none = found.filter(against="none")
    assert (over_none["lower"] > 0).all()  # as treating everybody would


def test_rules_are_learned_from_training_patients_only(two_groups):
    ids = two_groups.clinical["patient_id"].to_list()
    roles = {p: "test" if i % 4 == 0 else "train" for i, p in enumerate(ids)}
    held = pl.col("patient_id").is_in([p for p in ids if roles[p] == "test"])
    rest = (two_groups.labels, {"drug": DRUG}, {}, QUESTION, (), 1)
    decisions, trees = fit_policies(two_groups.clinical, two_groups.outcome, roles, *rest)
    otherwise = two_groups.outcome.with_columns(
        time_months=pl.when(held).then(0.5).otherwise("time_months"), event=pl.when(held).then(1).otherwise("event")
    )
    moved = two_groups.clinical.with_columns(
        severity=pl.when(held).then(pl.col("severity") - 3).otherwise("severity"),
        drug=pl.when(held).then(1 - pl.col("drug")).otherwise("drug"),
    )
    assert fit_policies(two_groups.clinical, otherwise, roles, *rest) == (decisions, trees)  # outcomes: no part at all
    again, same = fit_policies(moved, otherwise, roles, *rest)
    assert same == trees
    assert {r["patient_id"] for r in again} == {p for p in ids if roles[p] == "test"}


def test_trees_are_told_in_the_units_of_their_columns():
    rng = np.random.default_rng(3)
    cohort = planted(33, 1200, log_hazard_ratios=(0.0,))
    years = rng.integers(40, 80, 1200).astype(float)
    kind = np.where(rng.random(1200) < 0.5, "ductal", "lobular")
    helped = years > 60
    time = cohort.outcome["time_months"].to_numpy().copy()
    treated = cohort.clinical["drug"].to_numpy() == 1
    time[treated & helped] *= 6.0
    time[treated & ~helped] /= 6.0
    clinical = cohort.clinical.with_columns(years=pl.Series(years), kind=pl.Series(kind))
    outcome = cohort.outcome.with_columns(time_months=pl.Series(time))
    _, trees, _ = learned(cohort, clinical, outcome, labels=False, covariates=("years", "kind", "drug"))
    first = trees.filter(rule="tree", node=0)
    assert first["variable"].to_list() == ["years"] * 3
    assert first["threshold"].is_between(56, 64).all()
    assert "drug" not in trees["variable"].to_list()  # a rule does not ask for what it decides
    ends = trees.filter(rule="tree", kind="end")
    whole = trees.filter(rule="tree", node=0)["n"].sum()
    assert ends["n"].sum() == whole
    assert set(trees.filter(rule="threshold")["kind"]) <= {"predicted effect", "end"}


def test_few_training_patients_give_no_rule():
    cohort = planted(22, 70)
    decisions, trees, scores = learned(cohort)
    assert decisions.is_empty()
    assert trees.is_empty()
    assert judged(cohort, decisions, scores).is_empty()


def test_a_rule_that_treats_everybody_gains_nothing_over_treating_everybody():
    cohort = planted(25, 600)
    decisions, _, scores = learned(cohort)
    everybody = decisions.with_columns(treat=pl.lit(1, dtype=pl.Int64))
    found = judged(cohort, everybody, scores, truth=False).filter(rule="tree")
    over = {r["against"]: r for r in found.to_dicts()}
    assert over["all"]["estimate"] == 0
    assert over["all"]["lower"] is None
    assert "treats everybody" in over["all"]["method"]
    assert over["none"]["lower"] is not None
    assert not found["recommended"].any()
    few = decisions.with_columns(treat=(pl.col("patient_id") == pl.col("patient_id").first()).cast(pl.Int64))
    found = judged(cohort, few, scores, truth=False).filter(rule="tree", against="none").row(0, named=True)
    assert found["estimate"] is None
    assert "fewer than 20 patients are treated differently" in found["method"]


def test_the_gain_is_the_mean_of_what_patients_contribute():
    made = gains(np.array([1, 0, 1]), np.array([4.0, 2.0, -1.0]), np.zeros(3), np.full(3, 0.5), np.array([1, 1, 0]))
    assert made["none"][0].tolist() == [4.0, 0.0, -1.0]
    assert made["all"][0].tolist() == [0.0, -2.0, 0.0]
    assert made["practice"][0].tolist() == [2.0, -1.0, -0.5]
    assert value(*made["none"]) == Value(1.0, pytest.approx(np.std([4, 0, -1], ddof=1) / 3**0.5), 2)
