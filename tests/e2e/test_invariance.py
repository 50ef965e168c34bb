"""What is only a way of writing the same cohort changes no number: order of rows, columns and omics, names, units."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from small import ENDPOINT, run, small_config, write_small
from stratiome.config import DAYS_PER_MONTH

pytestmark = [pytest.mark.e2e]

FEATURES = {"adjust_scale": True, "protect": ["age"]}


def _write_otherwise(data: Path, folder: Path) -> dict:
    """The same cohort with rows and columns shuffled, omics in another order, sites renamed and time in days."""
    folder.mkdir()
    rng = np.random.default_rng(0)
    clinical = pl.read_csv(data / "clinical.tsv", separator="\t")
    sites = clinical["site"].unique().sort().to_list()
    renamed = dict(zip(sites, [f"hospital {c}" for c in "zyxwv"], strict=False))
    clinical = clinical.with_columns(
        pl.col("site").replace_strict(renamed), days=pl.col("os_months") * DAYS_PER_MONTH
    ).drop("os_months")
    _shuffled(clinical, rng).write_csv(folder / "clinical.tsv", separator="\t")
    config = small_config(folder)
    for name in config["data"]["omics"]:
        _shuffled(pl.read_parquet(data / f"{name}.parquet"), rng).write_parquet(folder / f"{name}.parquet")
    omics = config["data"]["omics"]
    horizons = [h * DAYS_PER_MONTH for h in ENDPOINT["horizons"]]
    return {
        "data": config["data"] | {"omics": {n: omics[n] for n in reversed(omics)}},
        "endpoint": ENDPOINT | {"time": "days", "unit": "days", "horizons": horizons},
    }


def _shuffled(table: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    columns = [table.columns[j] for j in rng.permutation(table.width)]
    return table.select(columns)[rng.permutation(table.height)]


def test_another_way_of_writing_the_cohort_changes_no_number(tmp_path):
    write_small(tmp_path / "data")
    first = run(tmp_path / "first", tmp_path / "data", features=FEATURES)
    changes = _write_otherwise(tmp_path / "data", tmp_path / "otherwise")
    second = run(tmp_path / "second", tmp_path / "otherwise", **changes, features=FEATURES)
    sites = {f"hospital {c}": f"site_{i}" for i, c in enumerate("zyxwv", 1)}
    names = sorted(p.name for p in (first / "evaluation").glob("*.parquet"))
    assert len(names) > 15
    for name in names:
        one, other = (pl.read_parquet(r / "evaluation" / name) for r in (first, second))
        if name == "prognosis_coverage.parquet":  # sites, whose names are others, come in another order
            one, other = (t.with_columns(group=pl.col("group").replace(sites)) for t in (one, other))
            one, other = (t.sort("model", "by", "group") for t in (one, other))
        words = [
            c for c in one.columns if one[c].dtype == pl.String and c not in ("site", "method", "target", "emulation")
        ]
        key = [c for c in one.columns if c in words or one[c].dtype.is_integer()]
        assert one.select(key).equals(other.select(key)), name
        for column in one.columns:
            if one[column].dtype.is_float():
                a, b = one[column].to_numpy(), other[column].to_numpy()
                np.testing.assert_allclose(a, b, rtol=1e-10, atol=1e-10, err_msg=f"{name}: {column}")
    patients = [pl.read_parquet(r / "cohort/resamples.parquet") for r in (first, second)]
    assert patients[0].equals(patients[1])
