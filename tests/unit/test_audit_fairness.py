"""Predictions judged in groups of patients: by hand, on known truth, and where nothing can be said."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest

import audit_fairness
import group_gates as gates
from stratiome import tables
from stratiome.audit import fairness, recalibration
from stratiome.audit.group_tests import DIFFERS, FEW, HOLDS, Followed, differs, expected, holds, holm, judge_groups
from stratiome.cohort.errors import CohortError
from stratiome.cohort.groups import check_groups, groupings, in_order, labels
from stratiome.config import EndpointConfig, EvaluationConfig, load_config
from stratiome.prognosis.evaluate import Design, evaluate_design
from stratiome.survival.cox import fit_cox
from stratiome.survival.outcome import time_grid

DRAWS = fairness.Draws(60, 0.95, 1)


# ---- groups --------------------------------------------------------------------------------------------------------


def test_classes_and_bands():
    assert list(labels(pl.Series("sex", ["f", None, "m"]))) == ["f", "", "m"]
    assert list(labels(pl.Series("grade", [1.0, 2.0, None]))) == ["1", "2", ""]
    bands = labels(pl.Series("age", [49.9, 50.0, 65.0, None, float("nan")]), (50, 65))
    assert list(bands) == ["below 50", "50 to below 65", "65 and above", "", ""]


def test_pairs_of_columns_are_crossed_and_the_unknown_is_in_no_group():
    table = pl.DataFrame({"sex": ["f", "m", None], "age": [40.0, 70.0, 70.0], "stage": ["1", "2", "1"]})
    found = groupings(table, ["sex", "age", "stage"], {"age": [50.0]}, True)
    assert list(found) == ["sex", "age", "stage", "sex × age", "sex × stage", "age × stage"]
    assert list(found["sex × age"]) == ["f, below 50", "m, 50 and above", ""]
    assert list(groupings(table, ["sex", "age"], {"age": [50.0]}, False)) == ["sex", "age"]


def test_groups_come_in_the_order_in_which_they_are_read():
    bands = ["65 and above", "below 5", "10 to below 65", "5 to below 10"]
    assert in_order(bands) == ["below 5", "5 to below 10", "10 to below 65", "65 and above"]
    assert in_order(["10", "2", "unknown"]) == ["2", "10", "unknown"]
    assert in_order(["m, below 50", "f, 50 and above", "f, below 50"]) == [
        "f, below 50",
        "f, 50 and above",
        "m, below 50",
    ]


@pytest.mark.parametrize(
    ("values", "cuts", "said"),
    [
        ([float(i) for i in range(40)], (), "holds numbers. Suggestion: cut it"),
        (["f", "m"] * 20, (50.0,), "holds no numbers, but `audit.cuts.x` cuts it"),
        ([str(i) for i in range(40)], (), "has 40 classes, at most 12"),
        (["f"] * 40, (), "all patients into one group"),
        ([float(i) for i in range(40)], (100.0,), "all patients into one group"),
    ],
)
def test_columns_that_make_no_groups_are_refused(values, cuts, said):
    with pytest.raises(CohortError, match=said):
        groupings(pl.DataFrame({"x": values}), ["x"], {"x": cuts} if cuts else {}, True)


def test_an_absent_column_is_refused():
    with pytest.raises(CohortError, match="no clinical column `sex`"):
        groupings(pl.DataFrame({"age": [1.0, 2.0]}), ["sex"], {}, True)


CONFIG = {
    "cohort": "x",
    "data": {"clinical": "c.tsv", "omics": {"rna": {"path": "r.tsv", "kind": "expression"}}},
    "endpoint": {"time": "t", "event": "e", "horizons": [12]},
}


@pytest.mark.parametrize(
    ("audit", "said"),
    [
        ({"groups": ["sex", "sex"]}, "stand there twice"),
        ({"groups": ["sex"], "cuts": {"age": [50]}}, "which `groups` does not"),
        ({"groups": ["age"], "cuts": {"age": [65, 50]}}, "must increase"),
        ({"groups": ["age"], "cuts": {"age": []}}, "`audit.cuts.age`: is empty"),
        ({"groups": ["e"]}, "`audit.groups` uses the outcome"),
    ],
)
def test_groups_of_the_config_are_checked(audit, said):
    with pytest.raises(ValueError, match=said):
        load_config(CONFIG | {"audit": audit})


def test_groups_are_read_and_a_wrong_column_is_found_before_the_run():
    config = load_config(CONFIG | {"audit": {"groups": ["age", "sex"], "cuts": {"age": [50]}}})
    assert config.clinical_columns()["sex"] == "audit.groups"
    assert {"age", "sex"} <= set(config.for_reading().clinical_columns())
    used = load_config(CONFIG | {"covariates": ["age"], "audit": {"groups": ["age"], "cuts": {"age": [50]}}})
    assert used.for_reading() == load_config(CONFIG | {"covariates": ["age"]}).for_reading()
    frame = pl.DataFrame({"age": [40.0, 60.0], "sex": ["f", "f"]})
    assert check_groups(Path("c.tsv"), frame, config) == [
        "`audit.groups`: c.tsv, column `sex` puts all patients into one group. Suggestion: remove it there, or change "
        "the cuts"
    ]


# ---- tests ---------------------------------------------------------------------------------------------------------


def _followed(found, model="stacked"):
    return Followed.make(found.problem, found.given, model, gates.HORIZON)


def test_holds_is_the_likelihood_ratio_of_a_poisson_regression():
    from scipy.optimize import minimize

    given = _followed(gates.cohort(1, (150, 150)))
    x = given.x - given.x.mean()

    def loss(b):
        mean = given.hazard * np.exp(b[0] + b[1] * x)
        return -(given.event * np.log(mean) - mean).sum()

    best = minimize(loss, np.zeros(2), method="BFGS", options={"gtol": 1e-8})
    assert holds(given) == (pytest.approx(2 * (loss(np.zeros(2)) - best.fun), abs=1e-5), 2)


def test_differs_is_the_likelihood_ratio_of_a_stratified_cox_model():
    found = gates.cohort(2, (150, 150))
    given, one = _followed(found), found.groupings["one"]
    b = (one == "b").astype(float)
    fits = [
        fit_cox(x, given.time, given.event, strata=given.fold)
        for x in (given.x[:, None], np.column_stack([given.x, b, b * given.x]))
    ]
    assert differs(given, one) == (pytest.approx(2 * (fits[1].log_likelihood - fits[0].log_likelihood), abs=1e-6), 2)


def test_what_is_wrong_for_all_alike_is_no_difference():
    found = gates.cohort(3, (400, 400), everywhere=0.6)
    tests = [t for t in gates.tested(found) if t.model == "stacked"]
    assert all(t.p_holm > 0.05 for t in tests if t.kind == DIFFERS)
    assert all(t.p_holm < 0.05 for t in tests if t.kind == HOLDS and t.grouping == "one")


def test_a_level_that_is_off_in_one_group_is_found():
    found = gates.cohort(4, (300, 300))
    stacked = found.given.survival["stacked"].copy()
    stacked[found.groupings["one"] == "b"] **= 2.0  # twice the hazard
    given = replace(found.given, survival=found.given.survival | {"stacked": stacked})
    tests = judge_groups(found.problem, given, found.groupings, ["stacked"], gates.HORIZON)
    flagged = {(t.kind, t.group) for t in tests if t.grouping == "one" and t.p_holm <= 0.05}
    assert flagged == {(DIFFERS, None), (HOLDS, "b")}


def test_groups_of_few_events_are_not_tested():
    found = gates.cohort(5, (200, 12))
    tests = judge_groups(found.problem, found.given, found.groupings, ["stacked"], gates.HORIZON)
    few = next(t for t in tests if t.group == "b")
    assert (few.reason, few.p_value, few.n) == (FEW, None, 12)
    alone = next(t for t in tests if t.kind == DIFFERS and t.grouping == "one")
    assert alone.p_value is None
    assert "fewer than two groups" in alone.reason


def test_predictions_that_do_not_differ_have_a_level_alone():
    found = gates.cohort(6, (200, 200))
    flat = np.tile(found.given.survival["stacked"].mean(axis=0), (400, 1))
    given = replace(found.given, survival={"stacked": flat}, risk={"stacked": np.zeros(400)})
    tests = judge_groups(found.problem, given, found.groupings, ["stacked"], gates.HORIZON)
    assert {t.df for t in tests if t.kind == HOLDS} == {1}
    assert all("do not differ" in t.reason for t in tests if t.kind == DIFFERS)


def test_who_has_a_stand_in_is_not_judged():
    found = gates.cohort(7, (200, 200))
    gone = np.arange(400) % 2 == 0
    given = replace(found.given, stand_in={"stacked": gone})
    tests = judge_groups(found.problem, given, found.groupings, gates.MODELS, gates.HORIZON)
    sizes = {t.model: t.n for t in tests if t.kind == DIFFERS and t.grouping == "one"}
    assert sizes == {"clinical": 400, "stacked": 200}


def test_expected_events_with_other_causes_by_hand():
    grid = np.array([0.0, 10.0, 20.0])
    cumulative = np.tile([0.0, 0.2, 0.6], (4, 1))
    time, event = np.array([5.0, 10.0, 15.0, 20.0]), np.array([True, False, False, False])
    other = np.array([False, True, False, False])  # the third is censored, half of the two who are left
    given = Followed(time, event, other, np.zeros(4), np.array([0.1, 0.2, 0.4, 0.6]), np.zeros(4), True, 20.0, grid,
                     cumulative)  # fmt: skip
    assert expected(given, np.array(["a"] * 4)) == pytest.approx([0.1, 0.2 + 0.4 * 1.0, 0.4, 0.6])
    earlier = replace(given, time=np.array([5.0, 8.0, 12.0, 20.0]))  # before the middle of the second step
    late = expected(earlier, np.array(["a"] * 4))
    assert late[1] == pytest.approx(0.2 + 0.2 * 0.2 + 0.4 * 0.5)


def test_holm_by_hand():
    base = gates.tested(gates.cohort(8, (60, 60)))[0]
    tests = [replace(base, p_value=p, p_holm=None) for p in (0.01, None, 0.04, 0.03)]
    assert [t.p_holm for t in holm(tests)] == [pytest.approx(0.03), None, pytest.approx(0.06), pytest.approx(0.06)]


def test_gates_in_short():
    """Of 25 families of about twenty tests, six false flags have a probability of 0.001; each at 5 % has more."""
    tests = [gates.tested(gates.cohort(s, (120, 120))) for s in range(25)]
    known = [[t for t in family if t.p_value is not None] for family in tests]
    assert sum(any(t.p_holm <= 0.05 for t in family) for family in known) < 6
    assert sum(any(t.p_value <= 0.05 for t in family) for family in known) >= 6


@pytest.mark.parametrize("how", [{}, {"rivals": True}, {"response": True}])
def test_a_large_slope_is_found_whatever_the_outcome(how):
    assert gates.found_slope(gates.cohort(100, (500, 500), slope=0.4, **how))["flagged"]
    false = [gates.tested(gates.cohort(s, (120, 120), **how)) for s in range(5)]
    assert not any(t.p_holm <= 0.001 for family in false for t in family if t.p_holm is not None)


# ---- measures ------------------------------------------------------------------------------------------------------


def _one(rows, **keys):
    own = [r for r in rows if all(getattr(r, k) == v for k, v in keys.items())]
    assert len(own) == 1, keys
    return own[0]


def test_a_group_is_judged_as_if_it_were_alone():
    found = gates.cohort(9, (150, 150))
    rows = fairness.judge(found.problem, found.given, found.groupings, DRAWS)
    part = found.given.at(found.groupings["one"] == "a")
    rng = np.random.default_rng(DRAWS.seed)
    alone = evaluate_design(found.problem, Design("cross-validation", (part,)), bootstraps=60, level=0.95, rng=rng)
    for e in [e for e in alone if e.metric in fairness.MEASURED and e.versus is None]:
        row = _one(rows, grouping="one", group="a", model=e.model, metric=e.metric, horizon=e.horizon)
        assert row.estimate == pytest.approx(e.estimate)
        assert row.n == 150
    everyone = _one(rows, grouping="", group="", model="stacked", metric="uno_c")
    assert everyone.n == 300


def test_share_censored_before_the_horizon_by_hand():
    found = gates.cohort(10, (100, 100))
    here = found.groupings["one"] == "b"
    row = _one(fairness.judge(found.problem, found.given, found.groupings, DRAWS), group="b", metric="censored")
    lost = (~found.problem.event & (found.problem.time < gates.HORIZON))[here]
    assert row.estimate == pytest.approx(lost.mean())
    assert row.lower < row.estimate < row.upper


def test_few_events_are_said_and_not_estimated():
    found = gates.cohort(11, (150, 30))
    small = [r for r in fairness.judge(found.problem, found.given, found.groupings, DRAWS) if r.group == "b"]
    assert {r.metric for r in small if r.estimate is not None} == {"censored"}
    assert all("fewer than 20 events" in r.method for r in small if r.metric != "censored")


def _bounds(found):
    """A tenth of the patients of average risk have the event before their bound."""
    return {m: np.full(len(found.given.rows), 9.0) for m in gates.MODELS}


def test_coverage_of_bounds_by_group():
    found = gates.cohort(12, (300, 300))
    given = replace(found.given, uncensored=np.ones((600, len(gates.GRID))))
    rows = fairness.covered(found.problem, given, found.groupings, _bounds(found), DRAWS)
    whole, own = (_one(rows, group=g, model="stacked") for g in ("", "a"))
    here = found.groupings["one"] == "a"
    known = found.problem.event | (found.problem.time >= 9.0)
    assert own.estimate == pytest.approx((found.problem.time >= 9.0)[here & known].mean())
    assert whole.n == 600


@pytest.mark.parametrize(
    ("how", "said"), [({"rivals": True}, "with competing risks no bound"), ({"response": True}, "has no time")]
)
def test_other_outcomes_have_measures_and_no_bounds(how, said):
    found = gates.cohort(13, (150, 150), **how)
    given = replace(found.given, uncensored=np.ones((300, len(gates.GRID))))
    rows = fairness.covered(found.problem, given, found.groupings, _bounds(found), DRAWS)
    assert all(r.estimate is None and said in r.method for r in rows)
    judged = fairness.judge(found.problem, found.given, found.groupings, DRAWS)
    assert all(r.estimate is not None for r in judged if r.group in ("a", "b"))
    gains = recalibration.recalibrate(found.problem, found.given, found.groupings, gates.HORIZON, DRAWS)
    assert all(r.measured.estimate is None and r.measured.method.startswith("not estimable") for r in gains)


# ---- recalibration -------------------------------------------------------------------------------------------------


def test_an_update_of_the_group_mends_its_slope_and_gains():
    found = gates.cohort(14, (800, 400))
    stacked = found.given.survival["stacked"].copy()
    here = found.groupings["one"] == "a"
    stacked[here] **= 3.0  # three times the hazard
    given = replace(found.given, survival={"stacked": stacked}, risk={"stacked": found.given.risk["stacked"]})
    rows = recalibration.recalibrate(found.problem, given, {"one": found.groupings["one"]}, gates.HORIZON, DRAWS)

    def of(state, metric, threshold=None):
        own = [r.measured for r in rows if r.state == state and r.measured.group == "a"]
        return _one(own, metric=metric, threshold=threshold)

    assert of("before", "observed_expected").estimate < 0.75
    assert of("after", "observed_expected").estimate == pytest.approx(1.0, abs=0.08)
    gain = of("after less before", "net_benefit", 0.5)
    assert gain.lower > 0
    assert gain.estimate == pytest.approx(
        of("after", "net_benefit", 0.5).estimate - of("before", "net_benefit", 0.5).estimate
    )


# ---- the rule ------------------------------------------------------------------------------------------------------

ENDPOINT = EndpointConfig(time="t", event="e", horizons=(30.0, 60.0))
N = 240


def _files(folder: Path, seed: int = 3) -> dict:
    """Tables of a cohort of two folds."""
    found = gates.cohort(seed, (N // 2, N // 2))
    grid = time_grid(ENDPOINT)
    hazard = gates.RATE * np.exp(found.given.risk["stacked"])
    ids = [f"p{i:03d}" for i in range(N)]
    paths = {n: str(folder / f"{n}.parquet") for n in ("clinical", "outcome", "resamples")}
    pl.DataFrame({"patient_id": ids, "one": found.groupings["one"], "two": found.groupings["two"]}).write_parquet(
        paths["clinical"]
    )
    outcome = [
        {"patient_id": p, "time_months": float(t), "event": int(e), "competing": 0}
        for p, t, e in zip(ids, found.problem.time, found.problem.event, strict=True)
    ]
    tables.write_table(tables.from_rows(outcome, tables.Outcome), paths["outcome"], tables.Outcome)
    roles = [
        {"patient_id": p, "resample": f"cv-1-{k + 1}", "role": "test" if i % 2 == k else "train"}
        for k in (0, 1)
        for i, p in enumerate(ids)
    ]
    roles += [r | {"resample": "site-x"} for r in roles[:N]]
    tables.write_table(tables.from_rows(roles, tables.Resamples), paths["resamples"], tables.Resamples)
    made: dict[str, list] = {n: [] for n in ("curves", "risks", "models", "bounds", "censoring")}
    for k in (0, 1):
        for name in made:
            (folder / f"cv-1-{k + 1}").mkdir(exist_ok=True)
            made[name].append(str(folder / f"cv-1-{k + 1}" / f"{name}.parquet"))
        own = [(i, p) for i, p in enumerate(ids) if i % 2 == k]
        base = {"resample": f"cv-1-{k + 1}"}
        each = [base | {"patient_id": p, "model": m} for m in ("clinical", "stacked") for _, p in own]
        risk = [r | {"risk": float(found.given.risk["stacked"][int(r["patient_id"][1:])])} for r in each]
        tables.write_table(tables.from_rows(risk, tables.PrognosisRisks), made["risks"][k], tables.PrognosisRisks)
        low = [r | {"lower_months": 9.0} for r in each]
        tables.write_table(tables.from_rows(low, tables.PrognosisBounds), made["bounds"][k], tables.PrognosisBounds)
        curve = [
            r | {"time_months": float(t), "survival": float(np.exp(-hazard[int(r["patient_id"][1:])] * t))}
            for r in each
            for t in grid
        ]
        tables.write_table(tables.from_rows(curve, tables.PrognosisCurves), made["curves"][k], tables.PrognosisCurves)
        seen = [base | {"patient_id": p, "time_months": float(t), "uncensored": 1.0} for _, p in own for t in grid]
        tables.write_table(
            tables.from_rows(seen, tables.PrognosisCensoring), made["censoring"][k], tables.PrognosisCensoring
        )
        tables.write_table(tables.from_rows([], tables.PrognosisModels), made["models"][k], tables.PrognosisModels)
    return paths | made


OUTPUTS = {
    "fairness_groups": tables.Fairness,
    "fairness_tests": tables.FairnessTests,
    "fairness_recalibration": tables.FairnessRecalibration,
}


def _run(folder: Path, files: dict, **changes) -> dict[str, pl.DataFrame]:
    outputs = {n: str(folder / f"{n}.parquet") for n in OUTPUTS}
    settings = {"groups": ["one", "two"], "cuts": {}, "intersections": True, "endpoint": ENDPOINT, "seed": 1}
    settings["evaluation"] = EvaluationConfig(bootstraps=60)
    audit_fairness.main(**files, **outputs, **(settings | changes))
    return {n: tables.read_table(outputs[n], contract) for n, contract in OUTPUTS.items()}


def test_the_rule_writes_every_group_of_the_first_design(tmp_path):
    found = _run(tmp_path, _files(tmp_path))
    told = found["fairness_groups"]
    assert set(told["grouping"]) == {"", "one", "two", "one × two"}
    assert set(told["metric"]) == set(tables.FAIRNESS_METRICS)
    assert set(told["design"]) == {"cross-validation"}
    assert set(told.filter(pl.col("metric") != "censored")["model"]) == {"clinical", "stacked"}
    tests = found["fairness_tests"]
    assert tests.filter(pl.col("kind") == "differs").height == 6
    assert tests.filter(pl.col("kind") == "holds").height == 2 * (2 + 2 + 4)
    assert set(found["fairness_recalibration"]["state"]) == set(recalibration.STATES)
    again = _run(tmp_path, _files(tmp_path))
    assert all(found[n].equals(again[n]) for n in OUTPUTS)


def test_without_groups_the_tables_are_empty(tmp_path):
    found = _run(tmp_path, _files(tmp_path), groups=[])
    assert all(frame.is_empty() for frame in found.values())


def _overfit_files(folder: Path, both: dict[str, gates.Cohort]) -> dict:
    """Tables of five folds whose files hold predictions of held-out patients, and of a fifth of the training patients.

    `swapped` are resamples in which these are the held-out ones.
    """
    problem, given, grid = both["held out"].problem, both["held out"].given, time_grid(ENDPOINT)
    n, fold = len(given.rows), given.fold
    ids = np.array([f"p{i:04d}" for i in range(n)])
    paths = {name: str(folder / f"{name}.parquet") for name in ("clinical", "outcome", "resamples", "swapped")}
    pl.DataFrame({"patient_id": ids, "one": both["held out"].groupings["one"]}).write_parquet(paths["clinical"])
    outcome = pl.DataFrame({"patient_id": ids, "time_months": problem.time, "event": problem.event, "competing": 0})
    tables.write_table(outcome.cast({"event": pl.Int64}), paths["outcome"], tables.Outcome)
    made: dict[str, list] = {name: [] for name in ("curves", "risks", "models", "bounds", "censoring")}
    roles: dict[str, list] = {"resamples": [], "swapped": []}
    for k, resample in enumerate(given.resamples):
        test, seen = fold == k, (fold + 1) % gates.FOLDS == k
        for name, held in (("resamples", test), ("swapped", seen)):
            role = np.where(held, "test", "train")
            roles[name].append(pl.DataFrame({"patient_id": ids, "resample": resample, "role": role}))
        rows = np.flatnonzero(test | seen)
        base = pl.DataFrame({"patient_id": ids[rows], "resample": resample})
        many = base.with_columns(time_months=pl.lit(grid.tolist())).explode("time_months")
        parts: dict[str, list] = {"risks": [], "curves": [], "bounds": []}
        for model in gates.MODELS:
            risk, curves = (
                np.where(test[rows].reshape((-1,) + (1,) * (a.ndim - 1)), a[rows], b[rows])
                for a, b in (
                    (both["held out"].given.risk[model], both["training"].given.risk[model]),
                    (both["held out"].given.survival[model], both["training"].given.survival[model]),
                )
            )
            finer = np.concatenate([np.interp(grid, gates.GRID, own) for own in curves])
            named = {"model": pl.lit(model)}
            parts["risks"].append(base.with_columns(**named, risk=risk))
            parts["curves"].append(many.with_columns(**named, survival=finer))
            parts["bounds"].append(base.with_columns(**named, lower_months=pl.lit(9.0)))
        whole = {name: pl.concat(own) for name, own in parts.items()}
        whole["censoring"] = many.with_columns(uncensored=pl.lit(1.0))
        whole["models"] = tables.from_rows([], tables.PrognosisModels)
        for name, contract in CONTRACTS.items():
            made[name].append(str(folder / f"{resample}-{name}.parquet"))
            tables.write_table(tables.from_rows(whole[name].to_dicts(), contract), made[name][-1], contract)
    for name, own in roles.items():
        tables.write_table(pl.concat(own), paths[name], tables.Resamples)
    return paths | made


CONTRACTS = {
    "curves": tables.PrognosisCurves,
    "risks": tables.PrognosisRisks,
    "models": tables.PrognosisModels,
    "bounds": tables.PrognosisBounds,
    "censoring": tables.PrognosisCensoring,
}


def test_groups_are_judged_on_held_out_patients_alone(tmp_path):
    """A model that has learned noise looks right in the patients it was trained on, whose predictions lie beside."""
    files = _overfit_files(tmp_path, gates.overfit(1, 600))
    swapped = files.pop("swapped")
    slopes, flags = [], []
    for given in (files, files | {"resamples": swapped}):
        found = _run(tmp_path, given, groups=["one"])
        own = found["fairness_groups"].filter(grouping="one", model="stacked", metric="calibration_slope")
        slopes.append(own["estimate"])
        flags.append(found["fairness_tests"].filter(model="stacked")["flagged"].sum())
        assert own["n"].sum() == 600 * own["horizon_months"].n_unique()
    assert slopes[0].max() < 0.75
    assert slopes[1].min() > 0.75
    assert flags[0] > 0 == flags[1]
