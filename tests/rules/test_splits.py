"""Every way of splitting at once, as the rule makes it, and the whole chain on given splits alone."""

from pathlib import Path

import polars as pl
import pytest

from conftest import as_read, snakemake, write_config, write_tiny
from stratiome.tables import Resamples, ResampleSummary, read_table


def _tiny(folder: Path, n: int = 60) -> dict:
    """The tiny cohort with a year, and a file of two splits that says nothing of three patients."""
    config = write_tiny(folder, n)
    row = pl.int_range(pl.len())
    clinical = pl.read_csv(folder / "clinical.tsv", separator="\t")
    year = pl.when(row == 7).then(None).otherwise(2000 + row % 10)
    clinical.with_columns(year=year).write_csv(folder / "clinical.tsv", separator="\t")
    halves = [pl.when(row % 2 == k).then(pl.lit("test")).otherwise(pl.lit("train")).alias(f"half {k}") for k in (0, 1)]
    clinical.select("patient_id", *halves).tail(n - 3).write_csv(folder / "splits.csv")
    return config


def test_all_designs_at_once(tmp_path):
    config = _tiny(tmp_path / "data")
    config["resamples"] = {
        "folds": 3,
        "repeats": 2,
        "leave_site_out": True,
        "min_site": 5,
        "temporal": {"column": "year", "train_until": 2005},
        "test_fraction": 0.25,
        "file": "splits.csv",
    }
    path = write_config(config, tmp_path / "c.yaml")
    done = snakemake("--cores", "1", "design_resamples", "--configfile", str(path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    table = read_table(tmp_path / "data/results/cohort/resamples.parquet", Resamples)
    summary = read_table(tmp_path / "data/results/cohort/resample_summary.parquet", ResampleSummary)
    assert summary["resample"].to_list() == [
        "full", *(f"cv-{r}-{f}" for r in (1, 2) for f in (1, 2, 3)), "site-north", "site-south", "temporal",
        "given-half_0", "given-half_1", "locked",
    ]  # fmt: skip
    assert table.height == 60 * 13
    assert not table.select("patient_id", "resample").is_duplicated().any()
    locked = table.filter((pl.col("resample") == "locked") & (pl.col("role") == "test"))["patient_id"].implode()
    others = table.filter(pl.col("patient_id").is_in(locked) & (pl.col("resample") != "locked"))
    assert others.height == 15 * 12
    assert set(others["role"]) == {"out"}
    assert "are locked and hence out" in done.stderr
    silent = summary.filter(pl.col("design") == "given splits")["n_unplaced"].to_list()
    assert silent[0] == silent[1] <= 3
    assert f"{silent[0]} patients are not in the file of splits" in done.stderr or silent[0] == 0


@pytest.mark.e2e
def test_whole_chain_without_folds(tmp_path):
    config = _tiny(tmp_path / "data", 120)
    temporal = {"column": "year", "train_until": 2005}
    config["resamples"] = {"folds": 0, "temporal": temporal, "test_fraction": 0.2, "file": "splits.csv"}
    path = write_config(config, tmp_path / "c.yaml")
    done = snakemake("--cores", "2", "--configfile", str(path), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    results = tmp_path / "data/results"
    page = as_read((results / "report.html").read_text())
    assert '"name": "splits"' in (results / "manifest.json").read_text()
    for title in ("On the given splits", "On later patients", "On the locked test set"):
        assert f"{title}: all models" in page
    roles = pl.read_parquet(results / "cohort/resamples.parquet")
    locked = roles.filter((pl.col("resample") == "locked") & (pl.col("role") == "test"))["patient_id"]
    pooled = pl.read_parquet(results / "evaluation/subgroup_assignment.parquet")["patient_id"]
    given = roles.filter(pl.col("resample").str.starts_with("given") & (pl.col("role") == "test"))["patient_id"]
    assert set(pooled) == set(given)
    assert not set(pooled) & set(locked)
    flow = pl.read_parquet(results / "evaluation/treatment_flow.parquet")
    assert flow.row(0) == ("locked", "drug", 120, 120 - len(locked), "in the locked test set")
    models = [pl.read_parquet(results / f"resamples/{r}/prognosis/coefficients.parquet") for r in ("full", "locked")]
    assert models[0].drop("resample").equals(models[1].drop("resample"))  # the model to publish is the one judged
