"""The rule on trust from files to tables: contracts, empty cases, no identifiers, and what it must not read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

import describe_prognosis
from stratiome import tables
from stratiome.config import PrognosisConfig
from test_prognosis_scripts import DATA, ENDPOINT, EVALUATION, N, _cohort, _roles, _write

CONTRACTS = {
    "sample_size": tables.PrognosisSampleSize,
    "instability": tables.PrognosisInstability,
    "bands": tables.PrognosisBands,
    "optimism": tables.PrognosisOptimism,
    "proportional": tables.ProportionalHazards,
    "contrasts": tables.PrognosisContrasts,
    "spread": tables.PrognosisSpread,
    "sites": tables.PrognosisSites,
}
PROGNOSIS = PrognosisConfig(instability=4)
COHORT = _cohort()


def describe(folder: Path, cohort: dict = COHORT, roles: pl.DataFrame | None = None, sites: int = 4, **changes):
    """Tables by name; risks and left-out sites are written, not fitted."""
    roles = _roles(cohort) if roles is None else roles
    inputs = _write(folder, cohort, roles, "full")
    rng = np.random.default_rng(5)
    risks = [
        {"patient_id": p, "resample": r, "model": m, "risk": 0.0, "spread": rng.uniform(0, 0.1) if deep else None}
        for p, r, role in roles.iter_rows()
        if role == "test"
        for m, deep in (("clinical", False), ("deep", True))
    ]
    by_site = [
        {
            "design": "leave-site-out",
            "resample": f"site-{k}",
            "model": m,
            "uno_c": 0.6 + 0.03 * k,
            "standard_error": 0.05,
            "lower": 0.5,
            "upper": 0.8,
            "n": 40,
            "events": 20,
        }
        for k in range(sites)
        for m in ("kaplan_meier", "clinical")
    ]
    tables.write_table(tables.from_rows(risks, tables.PrognosisRisks), folder / "risks.parquet", tables.PrognosisRisks)
    held = tables.from_rows(by_site, tables.PrognosisResamples)
    tables.write_table(held, folder / "held.parquet", tables.PrognosisResamples)
    outputs = {name: str(folder / f"out_{name}.parquet") for name in CONTRACTS}
    settings = {
        "data": DATA,
        "endpoint": ENDPOINT,
        "covariates": ("age", "er"),
        "prognosis": PROGNOSIS,
        "evaluation": EVALUATION,
        "seed": 1,
    }
    describe_prognosis.main(
        **inputs,
        risks=[str(folder / "risks.parquet")],
        by_resample=str(folder / "held.parquet"),
        **outputs,
        **(settings | changes),
    )
    return {name: tables.read_table(path, CONTRACTS[name]) for name, path in outputs.items()}


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    return describe(tmp_path_factory.mktemp("describe"))


def test_every_table_is_filled_and_says_how(found):
    known = N - len(range(0, N, 29))
    assert found["sample_size"]["model"].to_list() == [
        "clinical",
        "clinical_latent",
        "clinical_factors",
        "clinical_omics",
    ]
    assert found["sample_size"]["n"].unique().to_list() == [known]
    assert found["instability"].height == 2 * 2 * 8
    assert found["bands"].group_by("model", "horizon_months").agg(pl.col("n").sum())["n"].unique().to_list() == [known]
    assert (found["bands"]["n"] >= 20).all()
    assert found["optimism"].height == 2 * 3
    latent = found["optimism"].filter(pl.col("model") == "clinical_latent")["method"].unique().to_list()
    assert latent == [
        "Harrell's bootstrap (Harrell et al. 1996); 4 of 4 bootstrap samples of the training patients, latents kept as"
        " they were"
    ]
    overall = found["proportional"].filter(pl.col("feature").is_null())
    assert overall["model"].to_list() == ["clinical", "clinical_latent"]
    assert (overall["p_holm"] >= overall["p_value"]).all()


def test_spread_is_that_of_patients_held_out_once(found):
    row = found["spread"].row(0, named=True)
    assert (row["model"], row["design"], row["members"], row["n"]) == ("deep", "cross-validation", 8, N)
    assert 0.04 < row["mean"] < 0.06
    assert 0.085 < row["p90"] < 0.095


def test_sites_are_summarised_without_the_model_of_no_predictors(found):
    row = found["sites"].row(0, named=True)
    assert found["sites"].height == 1
    assert (row["model"], row["sites"], row["n"], row["held_out"]) == ("clinical", 4, 160, True)
    assert row["prediction_lower"] <= row["lower"] < row["estimate"] < row["upper"] <= row["prediction_upper"]


def test_tables_name_no_patient(found):
    for table in found.values():
        assert "patient_id" not in table.columns
        text = table.write_csv()
        assert not any(str(p) in text for p in COHORT["ids"])


def test_held_out_patients_change_nothing(tmp_path, found):
    """Patients outside `full` are overwritten with noise: sample size, instability and tests stay to the bit."""
    roles = _roles(COHORT)
    out = np.arange(N) % 10 == 0
    ids = COHORT["ids"][out].tolist()
    locked = roles.with_columns(
        role=pl.when((pl.col("resample") == "full") & pl.col("patient_id").is_in(ids))
        .then(pl.lit("out"))
        .otherwise("role")
    )
    rng = np.random.default_rng(0)
    noise = {name: COHORT[name].copy() for name in ("age", "rna", "latent", "time")}
    for values in noise.values():
        values[out] = rng.uniform(1, 200, values[out].shape)
    first, second = (
        describe(tmp_path / name, cohort, locked) for name, cohort in (("a", COHORT), ("b", COHORT | noise))
    )
    for name, table in first.items():
        assert table.equals(second[name]), name
    assert not first["sample_size"].equals(found["sample_size"])


def test_nothing_to_say_gives_empty_tables(tmp_path):
    roles = _roles(COHORT).filter(pl.col("resample") == "full")
    off = describe(tmp_path / "off", roles=roles, sites=0, prognosis=PrognosisConfig(instability=0))
    for name in ("instability", "bands", "optimism", "spread", "sites"):
        assert off[name].is_empty(), name
    few = describe(tmp_path / "few", prognosis=PrognosisConfig(instability=4, min_events=120))
    assert set(few["sample_size"]["events"]) == {int(COHORT["event"][np.arange(N) % 29 != 0].sum())}
    for name in ("instability", "bands", "optimism", "proportional", "contrasts"):
        assert few[name].is_empty(), name


def test_without_covariates_the_clinical_model_is_not_asked(tmp_path):
    found = describe(tmp_path, covariates=(), sites=2)
    clinical = found["sample_size"].row(by_predicate=pl.col("model") == "clinical", named=True)
    assert (clinical["parameters"], clinical["met"]) == (0, None)
    assert clinical["method"] == "not estimable: no column varies in training"
    for name in ("instability", "optimism", "proportional"):
        assert found[name]["model"].unique().to_list() == ["clinical_latent"]
    why = found["sites"]["method"][0]
    assert why.startswith("not estimable: 2 of 2 sites have an estimate, 3 are needed; Uno's C")


def test_deaths_of_other_causes_are_said(tmp_path):
    cohort = COHORT | {"age": np.where(np.arange(N) % 2, 40.0, 60.0)}
    late = cohort["time"] > np.median(cohort["time"])
    # Early, those of 60 fail; late, those of 40: hazards cross.
    event = np.where(late, cohort["age"] == 40, cohort["age"] == 60).astype(np.int64)
    endpoint = ENDPOINT.model_copy(update={"competing": "other"})
    horizon = endpoint.model_copy(update={"horizons": (5.0, 20.0)})
    found = describe(tmp_path, cohort | {"event": event}, endpoint=horizon, covariates=("age",))
    assert found["proportional"].filter(pl.col("feature").is_null())["p_holm"][0] < 0.001
    row = found["contrasts"].row(0, named=True)
    assert (row["feature"], row["sides"]) == ("age", "with it against without")
    assert "deaths of other causes count as censored" in row["method"]
    assert row["estimate"] is not None
