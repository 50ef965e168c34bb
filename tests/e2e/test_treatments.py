"""Several arms, start times, a negative control and profiles, from files to the report."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from conftest import as_read
from small import run, write_small

pytestmark = pytest.mark.e2e

CONFOUNDERS = ["age", "stage", "marker", "sex"]


@pytest.fixture(scope="module")
def results(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("treatments")
    data = folder / "data"
    data.mkdir()
    write_small(data)
    clinical = pl.read_csv(data / "clinical.tsv", separator="\t", null_values=["", "NA"])
    rng = np.random.default_rng(1)
    treated = pl.col("treatment") == 1
    begun = pl.Series(rng.uniform(0.0, 1.0, clinical.height)) * pl.Series(clinical["os_months"]).clip(0.0, 6.0)
    clinical = clinical.with_columns(
        begun=pl.when(treated).then(begun.round(2)),
        cause=pl.when(pl.Series(rng.random(clinical.height)) < 0.4).then(pl.lit("accident")).otherwise(pl.lit("other")),
    )
    clinical.write_csv(data / "clinical.tsv", separator="\t")
    accident = {"label": "death by accident", "event": "cause = 'accident' AND os_event = 1"}
    common = {"design": "observational", "confounders": CONFOUNDERS}
    treatments = {
        "choice": common
        | {
            "arms": {
                "old": "treatment = 1 AND age > 62",
                "young": "treatment = 1 AND age <= 62",
                "nothing": "treatment = 0",
            },
            "reference": "nothing",
            "confounders": ["stage", "marker", "sex"],
        },
        "late": common
        | {
            "column": "treatment",
            "start": "begun",
            "landmark": 3,
            "negative_control": accident,
            "profiles": {"older": {"age": 68, "stage": 3}},
        },
    }
    return run(folder, data, treatments=treatments)


def table(results: Path, name: str) -> pl.DataFrame:
    return pl.read_parquet(results / f"evaluation/{name}.parquet")


def test_each_arm_is_compared_with_the_reference(results):
    effects = table(results, "treatment_effects").filter(pl.col("subgroup") == 0)
    assert set(effects["treatment"]) == {"choice_old", "choice_young", "late"}
    arms = effects.filter(pl.col("treatment").str.starts_with("choice"), pl.col("weighting") == "overlap")
    assert arms.filter(pl.col("estimand") == "rmst_difference")["p_holm"].is_not_null().all()


def test_the_landmark_moves_everything_that_is_compared(results):
    averages = table(results, "treatment_averages").filter(pl.col("treatment") == "late")
    assert "clone-censor-weight" in averages["estimator"].to_list()
    flow = table(results, "treatment_flow").filter(pl.col("scope") == "late")
    assert "landmark" in " ".join(flow["step"]) + " ".join(flow["reason"])
    checks = table(results, "treatment_robustness").filter(pl.col("treatment") == "late")
    whole = checks.filter(pl.col("check") == "main analysis")["n"].max()
    control = checks.filter(pl.col("check") == "negative control")
    assert control.height > 0
    assert control["n"].max() <= whole


def test_the_report_tells_of_all(results):
    page = as_read((results / "report.html").read_text(encoding="utf-8"))
    for text in ("landmark", "against nothing", "death by accident", "Patients like this", "Whom to treat?"):
        assert text in page
