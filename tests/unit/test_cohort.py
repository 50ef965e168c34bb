"""Reading: what is kept, what is refused, and what is said."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conftest import write_tiny
from stratiome.cohort.clinical import read_clinical
from stratiome.cohort.errors import CohortError
from stratiome.cohort.ingest import read_cohort
from stratiome.cohort.read import open_matrix, read_table
from stratiome.config import ConfigError, load_config
from stratiome.plan import clinical_file, omic_files, plan


def _read(raw):
    config = load_config(raw)
    return read_cohort(config, clinical_file(config), omic_files(config))


def _edit(raw, change, name="clinical.tsv"):
    path = Path(raw["data"]["folder"]) / name
    table = pl.read_csv(path, separator="\t")
    change(table).write_csv(path, separator="\t")


def test_nobody_is_lost_in_silence(tiny):
    _edit(tiny, lambda t: t.head(40), "mrna.tsv")
    _edit(
        tiny,
        lambda t: t.with_columns(
            pl.when(pl.col("patient_id") == "P003").then(None).otherwise("os_months").alias("os_months")
        ),
    )
    _edit(
        tiny,
        lambda t: t.with_columns(
            pl.when(pl.col("patient_id") == "P004").then(0.0).otherwise("os_months").alias("os_months")
        ),
    )
    cohort = _read(tiny)
    assert cohort.clinical.covariates.height == 60
    assert cohort.clinical.outcome.height == 58
    assert cohort.clinical.without_outcome == {"no follow-up time": 1, "follow-up of zero, never at risk": 1}
    assert dict(cohort.overlap.iter_rows()) == {"mrna + protein": 40, "protein": 20}
    steps = cohort.flow.filter(pl.col("step") == "outcome")
    assert steps["n_in"].to_list()[0] == 60
    assert steps["n_out"].to_list()[-1] == 58


def test_outcome_is_kept_apart_from_the_clinical_columns(tiny):
    cohort = _read(tiny)
    assert not {"os_months", "os_event"} & set(cohort.clinical.covariates.columns)
    assert set(cohort.clinical.covariates.columns) == {"patient_id", "age", "grade", "hospital", "drug"}


def test_days_are_months(tiny):
    tiny["endpoint"] |= {"unit": "days"}
    _edit(tiny, lambda t: t.with_columns(pl.col("os_months") * 30.4375))
    tiny["endpoint"]["horizons"] = [730.5]
    days = _read(tiny).clinical.outcome["time_months"].to_numpy()
    months = read_clinical(clinical_file(load_config(tiny)), load_config(tiny)).outcome["time_months"].to_numpy()
    np.testing.assert_allclose(days, months)
    assert days.max() < 400


def test_row_order_of_the_files_does_not_matter(tiny, tmp_path):
    first = _read(tiny)
    other = write_tiny(tmp_path / "other")
    for name in ("clinical.tsv", "mrna.tsv"):
        _edit(other, lambda t: t.sample(fraction=1, shuffle=True, seed=3), name)
    second = _read(other)
    assert first.clinical.covariates.equals(second.clinical.covariates)
    np.testing.assert_array_equal(first.matrices["mrna"].values(), second.matrices["mrna"].values())


def test_identifiers_keep_leading_zeros(tmp_path):
    (tmp_path / "m.csv").write_text("patient_id,g1\n007,1.5\n010,2.5\n")
    assert open_matrix(tmp_path / "m.csv", "patient_id", True).patient_ids == ("007", "010")


def test_null_spellings(tmp_path):
    (tmp_path / "c.csv").write_text("patient_id,a,b\nx,NA,1\ny, null,2\nz,ok,NaN\n")
    table = read_table(tmp_path / "c.csv")
    assert table["a"].to_list() == [None, None, "ok"]
    assert table["b"].to_list() == [1.0, 2.0, None]


def test_ids_are_hidden_when_the_config_says_so(tiny):
    _edit(tiny, lambda t: pl.concat([t, t.head(1)]))
    with pytest.raises(CohortError, match="P000"):
        _read(tiny)
    with pytest.raises(CohortError) as caught:
        _read(tiny | {"audit": {"ids_in_messages": False}})
    assert "P000" not in str(caught.value)


def test_preflight_finds_everything_at_once(tiny):
    tiny["covariates"] = ["agee", "grade"]
    tiny["data"]["omics"]["mrna"]["path"] = "mrnaa.tsv"
    tiny["latent"]["dimz"] = 3
    tiny["treatments"]["drug"]["eligible"] = "stage IN (1, 2"
    with pytest.raises(ConfigError) as caught:
        plan(tiny, "tiny.yaml")
    text = str(caught.value)
    assert len(caught.value.problems) == 4
    for part in ("Did you mean `age`?", "Did you mean `mrna.tsv`?", "`latent.dimz`", "not a valid condition"):
        assert part in text


def test_sites_without_outcome_are_not_held_out(tiny):
    tiny["resamples"] |= {"leave_site_out": True, "min_site": 10}
    assert set(plan(tiny, "x")[1].sites) == {"site-north", "site-south"}
    lost = pl.when(pl.col("hospital") == "north").then(None)
    _edit(
        tiny,
        lambda t: t.with_columns(
            lost.otherwise("os_months").alias("os_months"), lost.otherwise("os_event").alias("os_event")
        ),
    )
    assert plan(tiny, "x")[1].sites == {}
