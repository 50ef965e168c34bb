"""Splits: nobody on both sides, everybody held out once, strata even, whatever the rows are called or how they lie."""

import time
from datetime import date
from itertools import accumulate

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import design_resamples as design_script
from stratiome.cohort.errors import CohortError
from stratiome.config import ResampleConfig, TemporalConfig
from stratiome.resample import names
from stratiome.resample.design import (
    check_summary,
    design_resamples,
    patients_to_split,
    summarise_resamples,
)
from stratiome.resample.given import GivenSplits, check_given, read_given
from stratiome.resample.names import design_of, pooled, repeats_of, resample_names, site_groups
from stratiome.resample.temporal import DateError, check_sides, is_later
from stratiome.tables import Outcome, Resamples, ResampleSummary, write_table

DRUG = ["drug"]


def cohort(n: int, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Clinical table and outcome of a random cohort; some values are missing, some outcomes too."""
    rng = np.random.default_rng(seed)
    ids = [f"p{i:04d}" for i in rng.permutation(10 * n)[:n]]
    clinical = pl.DataFrame(
        {
            "patient_id": ids,
            "drug": [None if m else float(v) for v, m in zip(rng.integers(0, 2, n), rng.random(n) < 0.1, strict=True)],
            "site": [None if m else f"s{v}" for v, m in zip(rng.integers(0, 4, n), rng.random(n) < 0.1, strict=True)],
            "year": [
                None if m else float(v) for v, m in zip(rng.integers(2000, 2010, n), rng.random(n) < 0.1, strict=True)
            ],
        },
        schema_overrides={"drug": pl.Float64, "site": pl.String, "year": pl.Float64},
    )
    outcome = pl.DataFrame({"patient_id": ids, "time_months": 1.0, "event": rng.integers(0, 2, n)})
    return clinical, outcome.filter(pl.Series(rng.random(n) < 0.9))


def given_splits(clinical: pl.DataFrame, seed: int) -> GivenSplits:
    """Two splits that say nothing of some patients."""
    rng = np.random.default_rng(seed)
    ids = clinical["patient_id"].sort()
    roles = pl.DataFrame({"patient_id": ids.shuffle(seed).head(max(len(ids) - 3, 1))})
    drawn = {
        f"given-{s}": rng.choice(["train", "test", "out", None], roles.height, p=[0.5, 0.3, 0.1, 0.1]) for s in "ab"
    }
    return GivenSplits(
        {n: n[6:] for n in drawn},
        roles.with_columns(**{n: pl.Series(v.tolist(), dtype=pl.String) for n, v in drawn.items()}),
    )


def everything(clinical, outcome, config, seed, splits=None):
    """The patients and the roles of a cohort, as the rule makes them."""
    patients = patients_to_split(clinical, outcome, config, DRUG, "site", seed)
    counts = dict(patients["site"].drop_nulls().value_counts().iter_rows())
    return patients, design_resamples(patients, config, site_groups(counts, config.min_site), splits, seed)


def violations(patients: pl.DataFrame, table: pl.DataFrame, config: ResampleConfig) -> list[str]:
    """What is wrong with splits. `patients` has one row per patient, with the strata and who is locked."""
    free = patients.filter(~pl.col("locked"))
    found = []
    resamples = table["resample"].unique(maintain_order=True).to_list()
    if table.select("patient_id", "resample").is_duplicated().any() or table.height != patients.height * len(resamples):
        found.append("not one role per patient and resample")
    sides = table.filter(pl.col("role") != "out").group_by("patient_id", "resample").agg(pl.col("role").n_unique())
    if (sides["role"] > 1).any():
        found.append("a patient on both sides")
    used = table.filter((pl.col("role") != "out") & (pl.col("resample") != "locked"))
    if used.join(patients.filter("locked"), on="patient_id", how="semi").height:
        found.append("a locked patient is used")
    strata = [c for c in patients.columns if c.startswith("stratum_")]
    for keys in accumulate(([s] for s in strata), lambda a, b: a + b):
        share = patients.group_by(keys).agg(m=pl.len(), taken=pl.col("locked").sum())
        if ((share["taken"] - config.test_fraction * share["m"]).abs() > 1 + 1e-9).any():
            found.append(f"locked set uneven over {keys}")
    for repeat in range(1, config.repeats + 1) if config.folds else ():
        tested = table.filter(pl.col("resample").str.starts_with(f"cv-{repeat}-") & (pl.col("role") == "test"))
        if tested["patient_id"].sort().to_list() != free["patient_id"].sort().to_list():
            found.append("not everyone is held out once per repeat")
        for keys in accumulate(([s] for s in strata), lambda a, b: a + b):
            cells = free.group_by(keys).agg(m=pl.len())
            folds = pl.DataFrame({"resample": [f"cv-{repeat}-{f}" for f in range(1, config.folds + 1)]})
            counted = tested.join(free, on="patient_id").group_by("resample", *keys).agg(here=pl.len())
            grid = cells.join(folds, how="cross").join(counted, on=["resample", *keys], how="left")
            if ((grid["here"].fill_null(0) - grid["m"] / config.folds).abs() > 1 + 1e-9).any():
                found.append(f"folds uneven over {keys}")
    return found


configs = st.builds(
    ResampleConfig,
    folds=st.sampled_from([0, 2, 3, 5, 8]),
    repeats=st.integers(1, 3),
    leave_site_out=st.just(True),
    min_site=st.integers(1, 20),
    test_fraction=st.sampled_from([0.0, 0.1, 0.25, 0.5]),
    temporal=st.sampled_from([None, TemporalConfig(column="year", train_until=2004)]),
)


@settings(max_examples=60, deadline=None)
@given(n=st.integers(20, 120), config=configs, seed=st.integers(0, 10**6), with_file=st.booleans())
def test_no_split_ever_breaks_the_rules(n, config, seed, with_file):
    clinical, outcome = cohort(n, seed)
    splits = given_splits(clinical, seed) if with_file else None
    patients, table = everything(clinical, outcome, config, seed, splits)
    assert violations(patients, table, config) == []
    Resamples.validate(table)
    summary = summarise_resamples(table, patients, splits)
    ResampleSummary.validate(summary)
    assert (summary["n_train"] + summary["n_test"] + summary["n_out"] == n).all()

    # Shuffled rows change nothing at all, other names of sites change nothing but the names of their resamples.
    renamed = clinical.with_columns(pl.col("site").replace({f"s{i}": f"z{9 - i}" for i in range(4)}))
    again = everything(renamed.sample(fraction=1.0, shuffle=True, seed=1), outcome.reverse(), config, seed, splits)[1]
    for part in (table, again):
        assert part["patient_id"].head(n).is_sorted()
    keep = ~pl.col("resample").str.starts_with("site-")
    assert again.filter(keep).equals(table.filter(keep))
    swap = {f"site-s{i}": f"site-z{9 - i}" for i in range(4)}
    by = ["resample", "patient_id"]
    assert again.sort(by).equals(table.with_columns(pl.col("resample").replace(swap)).sort(by))


def dealt_by_row(clinical, outcome, config, seed):
    """Mutant: samples are split, not patients, of a table with two samples for some."""
    twice = pl.concat([clinical, clinical.head(15).with_columns(pl.col("patient_id") + "-b")])
    patients, table = everything(twice, outcome, config, seed)
    one = patients.filter(~pl.col("patient_id").str.ends_with("-b"))
    return one, table.with_columns(pl.col("patient_id").str.strip_suffix("-b"))


def locked_after_dealing(clinical, outcome, config, seed):
    """Mutant: folds are dealt to everyone, and the locked patients are taken out of them afterwards."""
    patients, right = everything(clinical, outcome, config, seed)
    everyone = patients.with_columns(locked=False)
    table = design_resamples(everyone, config.model_copy(update={"test_fraction": 0.0}), {}, None, seed)
    taken = pl.col("patient_id").is_in(patients.filter("locked")["patient_id"].implode())
    table = table.with_columns(role=pl.when(taken).then(pl.lit("out")).otherwise("role"))
    return patients, pl.concat([table, right.filter(pl.col("resample") == "locked")])


def never_stratified(clinical, outcome, config, seed):
    """Mutant: folds are dealt at random."""
    patients, _ = everything(clinical, outcome, config, seed)
    bare = patients.drop([c for c in patients.columns if c.startswith("stratum_")])
    return patients, design_resamples(bare, config, {}, None, seed)


def still_trained_on(clinical, outcome, config, seed):
    """Mutant: the model to publish is trained on the locked patients too."""
    patients, table = everything(clinical, outcome, config, seed)
    full = pl.col("resample") == "full"
    return patients, table.with_columns(role=pl.when(full).then(pl.lit("train")).otherwise("role"))


MUTANTS = {
    dealt_by_row: "not one role per patient and resample",
    locked_after_dealing: "folds uneven",
    never_stratified: "folds uneven",
    still_trained_on: "a locked patient is used",
}


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda f: f.__name__)
def test_mutants_are_caught(mutant):
    config = ResampleConfig(folds=4, test_fraction=0.25)
    found = []
    for seed in range(10):
        clinical, outcome = cohort(100, seed)
        assert violations(*everything(clinical, outcome, config, seed), config) == []
        found.append(violations(*mutant(clinical, outcome, config, seed), config))
    assert all(any(f.startswith(MUTANTS[mutant]) for f in each) for each in found)
    if mutant is dealt_by_row:
        assert any("a patient on both sides" in each for each in found)


def test_rows_that_share_a_patient_are_refused():
    clinical, outcome = cohort(30, 1)
    with pytest.raises(CohortError, match="4 rows of the clinical table share"):
        patients_to_split(pl.concat([clinical, clinical.head(2)]), outcome, ResampleConfig(), DRUG, "site", 1)


def test_repeats_differ_even_where_every_stratum_is_one_patient():
    clinical = pl.DataFrame({"patient_id": [f"p{i:02d}" for i in range(40)], "site": [f"s{i}" for i in range(40)]})
    outcome = pl.DataFrame({"patient_id": clinical["patient_id"], "time_months": 1.0, "event": 1})
    config = ResampleConfig(folds=4, repeats=2)
    table = design_resamples(patients_to_split(clinical, outcome, config, [], "site", 1), config, {}, None, 1)
    sets = [
        {frozenset(table.filter((pl.col("resample") == f"cv-{r}-{f}") & (pl.col("role") == "test"))["patient_id"])
         for f in range(1, 5)}
        for r in (1, 2)
    ]  # fmt: skip
    assert not sets[0] & sets[1]


def test_deal_depends_on_the_seed_only():
    clinical, outcome = cohort(60, 3)
    config = ResampleConfig(folds=4, test_fraction=0.2)
    deal = [everything(clinical, outcome, config, s)[1] for s in (1, 1, 2)]
    assert deal[0].equals(deal[1])
    assert not deal[0].equals(deal[2])


def test_what_is_locked_does_not_depend_on_other_designs():
    clinical, outcome = cohort(80, 5)
    more = {"folds": 3, "repeats": 2, "temporal": TemporalConfig(column="year", train_until=2004)}
    locked = [
        everything(clinical, outcome, ResampleConfig(test_fraction=0.2, **extra), 7)[0].filter("locked")["patient_id"]
        for extra in ({}, more)
    ]
    assert locked[0].equals(locked[1])
    assert len(locked[0]) == 16


def test_summary_counts_who_is_where():
    clinical, outcome = cohort(100, 2)
    config = ResampleConfig(
        folds=2, test_fraction=0.2, temporal=TemporalConfig(column="year", train_until=2004), leave_site_out=True
    )
    splits = given_splits(clinical, 2)
    patients, table = everything(clinical, outcome, config.model_copy(update={"min_site": 5}), 2, splits)
    summary = summarise_resamples(table, patients, splits)
    rows = {r["resample"]: r for r in summary.to_dicts()}
    assert list(rows)[:3] == ["full", "cv-1-1", "cv-1-2"]
    assert list(rows)[-4:] == ["temporal", "given-a", "given-b", "locked"]
    assert rows["full"]["n_out"] == rows["full"]["n_locked"] == rows["locked"]["n_test"] == 20
    assert rows["full"]["n_train"] == rows["locked"]["n_train"] == 80
    free = patients.filter(~pl.col("locked"))
    assert rows["temporal"]["n_unplaced"] == free["later"].null_count() > 0
    assert rows["temporal"]["n_test"] == free["later"].sum()
    silent = free.join(splits.roles.drop_nulls("given-a"), on="patient_id", how="anti").height
    assert rows["given-a"]["n_unplaced"] == silent > 0
    assert rows["given-a"]["n_out"] > silent + rows["given-a"]["n_locked"]  # some are `out` in the file
    died = set(outcome.filter(pl.col("event") == 1)["patient_id"])
    tested = table.filter((pl.col("resample") == "temporal") & (pl.col("role") == "test"))["patient_id"]
    assert rows["temporal"]["events_test"] == len(died & set(tested))
    assert check_summary(summary) == []
    nobody = summary.with_columns(n_test=pl.when(pl.col("resample") == "given-a").then(0).otherwise("n_test"))
    assert "resample given-a has no held-out patient" in check_summary(nobody)[0]
    alive = summary.with_columns(events_train=pl.lit(0))
    assert check_summary(alive) == [
        "resample temporal has no training patient with an event. Suggestion: take another split, or a smaller "
        "`resamples.test_fraction`"
    ]


def test_large_cohorts_are_split_in_about_a_second():
    clinical, outcome = cohort(100_000, 0)
    config = ResampleConfig(folds=5, repeats=3, test_fraction=0.2, min_site=30)
    started = time.perf_counter()
    _, table = everything(clinical, outcome, config, 1)
    assert time.perf_counter() - started < 10  # 0.3 s where nothing else runs
    assert table.height == 100_000 * 21


# --- sites and names ------------------------------------------------------------------------------------------------


def test_one_site_at_a_time():
    counts = {"a": 50, "b": 40, "c": 10, "d": 25}
    groups = site_groups(counts, 30)
    assert groups == {"site-a": ["a"], "site-b": ["b"], "site-other": ["c", "d"]}
    site = np.repeat(list(counts), list(counts.values()))
    clinical = pl.DataFrame({"patient_id": [f"p{i:03d}" for i in range(125)], "site": site})
    outcome = pl.DataFrame({"patient_id": clinical["patient_id"], "time_months": 1.0, "event": 1})
    config = ResampleConfig(folds=2)
    table = design_resamples(patients_to_split(clinical, outcome, config, [], "site", 1), config, groups, None, 1)
    held = table.filter(pl.col("resample") == "site-other", pl.col("role") == "test")
    assert held.height == 35
    made = ["full", "cv-1-1", "cv-1-2", "site-a", "site-b", "site-other"]
    assert resample_names(config, groups, {}) == made
    assert table["resample"].unique(maintain_order=True).to_list() == made


def test_names_are_those_of_the_table():
    clinical, outcome = cohort(60, 1)
    config = ResampleConfig(folds=3, test_fraction=0.2, temporal=TemporalConfig(column="year", train_until=2004))
    splits = given_splits(clinical, 1)
    patients = patients_to_split(clinical, outcome, config, DRUG, "site", 1)
    sites = {"site-s0": ["s0"], "site-other": ["s1", "s2"]}
    table = design_resamples(patients, config, sites, splits, 1)
    assert table["resample"].unique(maintain_order=True).to_list() == resample_names(config, sites, splits.names)
    designs = [design_of(n) for n in resample_names(config, sites, splits.names)]
    assert designs == ["full"] + ["cross-validation"] * 3 + ["leave-site-out"] * 2 + [
        "temporal", "given splits", "given splits", "locked"
    ]  # fmt: skip


def test_odd_site_names_do_not_collide():
    assert len(site_groups({"A B": 40, "A-B": 40, "A_B": 40}, 30)) == 3
    assert site_groups({"only": 100}, 30) == {}


def held_out(**test: str) -> pl.DataFrame:
    rows = [{"patient_id": p, "resample": n.replace("_", "-")} for n, ps in test.items() for p in ps]
    return pl.DataFrame(rows, schema={"patient_id": pl.String, "resample": pl.String})


def test_resamples_that_hold_each_patient_out_once_come_together():
    folds = held_out(cv_1_1="ab", cv_1_2="cd", cv_2_1="ac", cv_2_2="bd", site_x="ab", locked="e")
    assert repeats_of(folds) == {
        "cross-validation": [["cv-1-1", "cv-1-2"], ["cv-2-1", "cv-2-2"]],
        "leave-site-out": [["site-x"]],
        "locked": [["locked"]],
    }
    assert pooled(folds) == ["cv-1-1", "cv-1-2"]
    published = held_out(given_1="ab", given_10="ac", given_2="cd")
    assert repeats_of(published) == {"given splits": [["given-1", "given-2"], ["given-10"]]}
    assert pooled(published) == []
    assert pooled(held_out(given_1="ab", given_2="c")) == ["given-1", "given-2"]
    assert pooled(held_out(temporal="ab")) == []


def test_more_than_nine_repeats_stay_apart():
    table = held_out(**{f"cv_{r}_{f}": p for r in range(1, 12) for f, p in ((1, "a"), (2, "b"))})
    assert repeats_of(table)["cross-validation"] == [[f"cv-{r}-1", f"cv-{r}-2"] for r in range(1, 12)]
    assert names.natural(["x10", "x9", "b"]) == ["b", "x9", "x10"]


# --- by time --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("values", "until", "later"),
    [
        ([2004, 2005, 2006, None], 2005, [False, False, True, None]),
        ([2005.4, 2005.6], 2005.5, [False, True]),
        (["2005-12-31", "2006-01-01", None], 2005, [False, True, None]),
        (["2005-06-30", "2005-07-01T08:00", None], "2005-06-30", [False, True, None]),
        ([date(2005, 6, 30), date(2005, 7, 1)], "2005-06-30", [False, True]),
    ],
)
def test_later_is_after_the_limit(values, until, later):
    config = TemporalConfig(column="when", train_until=until)
    assert is_later(pl.Series("when", values), config).to_list() == later


@pytest.mark.parametrize(
    ("values", "until", "message"),
    [
        (["30.06.2005", "2005-07-01"], 2005, "1 values that are neither a year nor an ISO date"),
        (["2005-02-30", "2005-07-01"], 2005, "1 values that are neither"),
        (["before 2000"], 2005, "1 values that are neither"),
        (["2004", "2005", "unknown"], 2005, "1 values that are neither"),
        ([2004, 2006], "2005-06-30", "holds numbers, but `train_until` is a date"),
        (["2005-06-30"], 2005.5, "give a whole year"),
    ],
)
def test_what_is_no_date_is_said(values, until, message):
    with pytest.raises(DateError, match=message) as caught:
        is_later(pl.Series("when", values), TemporalConfig(column="when", train_until=until))
    assert "Suggestion" in str(caught.value)


def test_both_sides_need_patients_and_events():
    config = TemporalConfig(column="year", train_until=2005)
    event = pl.Series([1, 0, 1, None])
    assert check_sides(pl.Series([False, False, True, None]), event, config) == []
    assert "no patient later than 2005" in check_sides(pl.Series([False, False, None, None]), event, config)[0]
    assert (
        "no event in a patient later than 2005" in check_sides(pl.Series([False, True, False, True]), event, config)[0]
    )
    assert len(check_sides(pl.Series([None] * 4, dtype=pl.Boolean), event, config)) == 2


# --- given in a file ------------------------------------------------------------------------------------------------


def _file(folder, rows: list[str], name: str = "splits.csv"):
    path = folder / name
    path.write_text("\n".join(rows) + "\n")
    return path


def test_long_and_wide_files_say_the_same(tmp_path):
    long = ["patient_id,resample,role", "007,fold 2,test", "008,fold 2,Train", "007,fold 10,train", "009,fold 10,out"]
    wide = ["patient_id,fold 10,fold 2", "007, train ,test", "008,,train", "009,out,"]
    one, two = (read_given(_file(tmp_path, rows), "patient_id", True) for rows in (long, wide))
    assert one.names == two.names == {"given-fold_2": "fold 2", "given-fold_10": "fold 10"}
    assert one.roles.sort("patient_id").equals(two.roles.sort("patient_id"))
    assert one.roles.sort("patient_id").rows() == [
        ("007", "test", "train"), ("008", "train", None), ("009", None, "out")
    ]  # fmt: skip
    table = pl.DataFrame({"patient_id": ["007"], "a": ["test"]})
    table.write_parquet(tmp_path / "splits.parquet")
    assert read_given(tmp_path / "splits.parquet", "patient_id", True).names == {"given-a": "a"}


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["patient_id,a", "p1,train", "p1,test"], r"lists 1 patients on more than one row \(p1\)"),
        (["patient_id,resample,role", "p1,a,train", "p1,a,test"], "more than once in the same split"),
        (["patient_id,a", "p1,validation", "p2,test"], "1 values other than train, test and out, as 'validation'"),
        (["patient_id,resample,role", "p1,a,", "p2,a,test"], "column `role` is empty in 1 rows"),
        (["patient_id,a", ",train", "p2,test"], "column `patient_id` is empty in 1 rows"),
        (["id,a", "p1,train"], "no column `patient_id`"),
        (["patient_id,cv-1-1", "p1,train"], "`cv-1-1` is kept for splits that are drawn here"),
        (["patient_id,Locked", "p1,train"], "`Locked` is kept"),
        (["patient_id,a b,A_B", "p1,train,test"], "are too much alike"),
        (["patient_id,a,a", "p1,train,test"], "columns listed more than once: a"),
        (["patient_id,**", "p1,train"], "cannot name a split"),
        (["patient_id,a"], "no rows"),
    ],
)
def test_files_that_are_no_splits_are_refused(tmp_path, rows, message):
    with pytest.raises(CohortError, match=message) as caught:
        read_given(_file(tmp_path, rows), "patient_id", True)
    assert "Suggestion" in str(caught.value) or "Did you mean" in str(caught.value)


def test_given_splits_must_fit_the_cohort(tmp_path):
    path = _file(tmp_path, ["patient_id,a,b", "p1,train,out", "p2,test,test", "p3,out,"])
    found = read_given(path, "patient_id", True)
    ids = pl.Series(["p1", "p2", "p3", "p4"])
    assert [t.split("split ")[1][:28] for t in check_given(found, ids, path, True)] == ["`b` has no training patient."]
    stranger = check_given(found, ids.head(2), path, True)
    assert "1 patients who are not in the clinical table (p3)" in stranger[0]
    assert "p3" not in check_given(found, ids.head(2), path, False)[0]


@pytest.mark.parametrize(
    ("sites", "said"),
    [
        ({}, "no site is held out, as there are not two groups of at least 30 patients with an outcome among 3 sites"),
        ({"site-a": ["a"], "site-b": ["b"]}, "1 sites are together smaller than `resamples.min_site` and never held"),
        ({"site-a": ["a"], "site-other": ["b", "c"]}, None),
    ],
)
def test_sites_that_are_never_held_out_are_said(tmp_path, caplog, sites, said):
    clinical, outcome = cohort(90, 1)
    clinical = clinical.with_columns(site=pl.Series(["a", "b", "c"] * 30))
    paths = {n: str(tmp_path / f"{n}.parquet") for n in ("clinical", "outcome", "resample_table", "resample_summary")}
    clinical.write_parquet(paths["clinical"])
    write_table(outcome.with_columns(competing=pl.lit(0)), paths["outcome"], Outcome)
    design_script.main(
        **paths, resamples=ResampleConfig(leave_site_out=True), site="site", strata=[], seed=1, sites=sites,
        patient_id="patient_id", show_ids=True,
    )  # fmt: skip
    warnings = [r.getMessage() for r in caplog.records if "leave_site_out" in r.getMessage()]
    assert len(warnings) == (said is not None)
    assert said is None or said in warnings[0]
