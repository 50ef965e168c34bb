"""Splits: nobody on both sides, everybody held out once, strata even."""

import numpy as np
import polars as pl
from hypothesis import given, settings
from hypothesis import strategies as st

from stratiome.config import ResampleConfig
from stratiome.resample.design import design_resamples, resample_names, site_groups


@settings(max_examples=25, deadline=None)
@given(n=st.integers(20, 120), folds=st.integers(2, 8), repeats=st.integers(1, 3), seed=st.integers(0, 10**6))
def test_every_patient_is_held_out_once_per_repeat(n, folds, repeats, seed):
    rng = np.random.default_rng(seed)
    strata = [rng.integers(0, 2, n), rng.integers(0, 3, n)]
    ids = [f"p{i}" for i in range(n)]
    table = design_resamples(ids, strata, ResampleConfig(folds=folds, repeats=repeats), None, {}, seed)
    assert table.height == n * (1 + folds * repeats)
    assert table.select("patient_id", "resample").is_duplicated().sum() == 0
    for repeat in range(1, repeats + 1):
        tested = table.filter(pl.col("resample").str.starts_with(f"cv-{repeat}-"), pl.col("role") == "test")
        assert sorted(tested["patient_id"]) == sorted(ids)
        sizes = tested.group_by("resample").len()["len"]
        assert sizes.max() - sizes.min() <= 1


def test_folds_are_stratified():
    rng = np.random.default_rng(0)
    event, site = rng.random(500) < 0.2, rng.integers(0, 5, 500)
    table = design_resamples([f"p{i:03d}" for i in range(500)], [event, site], ResampleConfig(), None, {}, 1)
    for fold in range(1, 6):
        role = table.filter(pl.col("resample") == f"cv-1-{fold}").sort("patient_id")["role"].to_numpy()
        assert abs(event[role == "test"].mean() - event.mean()) < 0.02
        for s in range(5):
            assert abs(((site == s) & (role == "test")).sum() - (site == s).sum() / 5) <= 2


def test_one_site_at_a_time():
    counts = {"a": 50, "b": 40, "c": 10, "d": 25}
    groups = site_groups(counts, 30)
    assert groups == {"site-a": ["a"], "site-b": ["b"], "site-other": ["c", "d"]}
    site = np.repeat(list(counts), list(counts.values()))
    table = design_resamples([f"p{i:03d}" for i in range(125)], [], ResampleConfig(folds=2), site, groups, 1)
    held = table.filter(pl.col("resample") == "site-other", pl.col("role") == "test")
    assert held.height == 35
    assert resample_names(ResampleConfig(folds=2), groups) == [
        "full",
        "cv-1-1",
        "cv-1-2",
        "site-a",
        "site-b",
        "site-other",
    ]


def test_odd_site_names_do_not_collide():
    assert len(site_groups({"A B": 40, "A-B": 40, "A_B": 40}, 30)) == 3
    assert site_groups({"only": 100}, 30) == {}


def test_deal_depends_on_the_seed_only():
    ids = [f"p{i}" for i in range(40)]
    deal = [design_resamples(ids, [np.arange(40) % 2], ResampleConfig(folds=4), None, {}, s) for s in (1, 1, 2)]
    assert deal[0].equals(deal[1])
    assert not deal[0].equals(deal[2])
