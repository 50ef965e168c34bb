"""Trials and cohorts with published answers (METHODS 6); skipped where the real cohorts are absent."""

from pathlib import Path

import polars as pl
import pytest
import yaml

from stratiome.cohort.clinical import read_clinical
from stratiome.config import EndpointConfig, EvaluationConfig, TreatmentConfig, load_config
from stratiome.treatment.evaluate import Settings, evaluate_treatments

ROOT = Path(__file__).resolve().parents[2]
pytestmark = pytest.mark.real


def evaluate(path, treatment, endpoint="os", keep=None, horizon=60.0):
    """Rows of effects by (weighting, estimand), the largest weighted difference, and doubly robust months gained."""
    table = pl.read_csv(path, separator="\t", infer_schema_length=None, null_values=["", "NA"])
    table = table.filter(keep) if keep is not None else table
    time, event = f"{endpoint}_time_months", f"{endpoint}_event"
    outcome = table.select("patient_id", time_months=pl.col(time).cast(float), event=pl.col(event).cast(int))
    outcome = outcome.drop_nulls().filter(pl.col("time_months") > 0)
    clinical = table.filter(pl.col("patient_id").is_in(outcome["patient_id"].to_list()))
    settings = Settings(
        EndpointConfig(time=time, event=event, horizons=(horizon,)), EvaluationConfig(bootstraps=200), {}, 1
    )
    labels = dict.fromkeys(clinical["patient_id"], 1)
    found = evaluate_treatments(clinical, outcome, labels, (1,), {"drug": treatment}, settings)
    worst = max((abs(r["weighted"]) for r in found.balance), default=0.0)
    robust = {
        r["population"]: r
        for r in found.averages
        if (r["estimator"], r["estimand"]) == ("doubly robust", "rmst_difference")
    }
    return {(r["weighting"], r["estimand"]): r for r in found.effects}, worst, robust


def test_metabric_chemotherapy_is_confounded_and_balanced_exactly(shared_data):
    names = ("age", "tumor_size_mm", "grade", "lymph_nodes_positive", "er_status", "her2_status")
    chemotherapy = TreatmentConfig(column="chemotherapy", design="observational", confounders=names)
    path = shared_data / "metabric" / "clinical.tsv"
    effects, worst, robust = evaluate(path, chemotherapy, keep=pl.col("has_mrna") == 1)
    assert effects["none", "hazard_ratio"]["estimate"] == pytest.approx(1.23, abs=0.005)
    assert worst < 1e-8
    crude, weighted = effects["none", "rmst_difference"], effects["overlap", "rmst_difference"]
    assert crude["upper"] < 0  # looks harmful
    assert weighted["lower"] < 0 < weighted["upper"]
    assert abs(weighted["estimate"]) < abs(crude["estimate"]) / 2
    for population in ("trimmed", "overlap"):
        assert robust[population]["lower"] < 0 < robust[population]["upper"]


def test_rotterdam_hormone_therapy_turns_from_harm_to_benefit(shared_data):
    names = ("age", "postmenopausal", "tumor_size_cat", "grade", "lymph_nodes_positive", "pgr", "er", "year_of_surgery")
    hormone = TreatmentConfig(column="hormone_therapy", design="observational", confounders=names)
    effects, worst, robust = evaluate(shared_data / "trials" / "rotterdam.tsv", hormone, "rfs")
    assert effects["none", "hazard_ratio"]["estimate"] == pytest.approx(1.31, abs=0.005)
    assert effects["overlap", "hazard_ratio"]["estimate"] == pytest.approx(0.90, abs=0.05)
    assert effects["none", "rmst_difference"]["upper"] < 0 < effects["overlap", "rmst_difference"]["estimate"]
    assert robust["overlap"]["estimate"] == pytest.approx(effects["overlap", "rmst_difference"]["estimate"], abs=1.0)
    assert worst < 1e-8


def test_colon_trial(shared_data):
    names = ("age", "sex", "nodes", "differ", "obstruct", "adhere", "extent")
    fluorouracil = TreatmentConfig(
        column="trt_5fu", design="randomised", eligible="arm IN ('Obs', 'Lev+5FU')", confounders=names
    )
    effects, worst, robust = evaluate(shared_data / "trials" / "colon.tsv", fluorouracil)
    ratio = effects["none", "hazard_ratio"]
    assert [round(ratio[k], 2) for k in ("estimate", "lower", "upper")] == [0.69, 0.55, 0.87]
    assert worst < 1e-8
    plain, adjusted = effects["none", "rmst_difference"], effects["overlap", "rmst_difference"]
    assert plain["lower"] > 0
    for other in (adjusted, *robust.values()):
        assert abs(plain["estimate"] - other["estimate"]) < (plain["upper"] - plain["lower"]) / 4
        assert other["lower"] > 0


def test_pbc_trial_has_no_effect(shared_data):
    drug = TreatmentConfig(column="trt_dpenicillamine", design="randomised", confounders=("age", "bili", "albumin"))
    effects, _, robust = evaluate(shared_data / "trials" / "pbc.tsv", drug)
    assert effects["none", "hazard_ratio"]["estimate"] == pytest.approx(1.06, abs=0.005)
    for weighting in ("none", "overlap"):
        row = effects[weighting, "rmst_difference"]
        assert row["lower"] < 0 < row["upper"]
    for row in robust.values():
        assert row["lower"] < 0 < row["upper"]


def test_glioma_chemotherapy_is_compared_from_a_landmark(shared_data):
    """Crude, ever treated against never, the hazard ratio is 0.18: the untreated died before it could start."""
    config = load_config(yaml.safe_load((ROOT / "config/cohorts/tcga_gbmlgg.yaml").read_text(encoding="utf-8")))
    read = read_clinical(shared_data / "tcga_gbmlgg" / "clinical.tsv", config)
    settings = Settings(config.endpoint, EvaluationConfig(bootstraps=50), config.data.types, 1)
    plain = {"chemotherapy": config.treatments["chemotherapy"].model_copy(update={"start": None, "landmark": None})}
    ratios = []
    for treatments in (plain, config.treatments):
        found = evaluate_treatments(read.covariates, read.outcome, {}, (), treatments, settings)
        key = ("overlap", "hazard_ratio")
        ratios.append(next(r for r in found.effects if (r["weighting"], r["estimand"]) == key)["estimate"])
    assert ratios[0] < 0.5
    assert ratios[1] == pytest.approx(0.94, abs=0.01)
    months = {r["population"]: r for r in found.averages if r["estimator"] == "clone-censor-weight"}["all"]
    assert months["lower"] is not None
    flow = {r["step"]: r for r in found.flow}
    assert flow["landmark"]["n_in"] > flow["landmark"]["n_out"]
