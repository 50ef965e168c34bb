"""Models under stress: doses are what they say, metrics move as they must, and no model learns again."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import polars as pl
import pytest
from scipy.stats import spearmanr

import evaluate_robustness
import stress_models
from stratiome import tables
from stratiome.audit import adversary, stresses
from stratiome.audit.frozen import Frozen, Patients
from stratiome.audit.robustness import HeldOut, agreement, responses
from stratiome.config import EndpointConfig, EvaluationConfig, LatentConfig, PrognosisConfig
from stratiome.features.block import Block, FeatureSet, write_features
from stratiome.latent.model import LatentModel, save_models
from stratiome.prognosis.expected import expected_part
from stratiome.prognosis.models import Inputs, Omic, fit_models
from stratiome.prognosis.predictor import CoxPredictor, from_state
from stratiome.prognosis.stored import load_prognosis, save_prognosis
from stratiome.survival.concordance import Sample, uno_c
from stratiome.survival.design import ClinicalDesign
from stratiome.survival.outcome import time_grid

N, TRAIN = 260, 180
ENDPOINT = EndpointConfig(time="t", event="e", horizons=(30.0,))
GRID = time_grid(ENDPOINT)
MODELS = ("clinical_omics", "clinical_latent", "stacked")


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Two omics that tell the same, their models as files, and the paths of these."""
    rng = np.random.default_rng(5)
    factor = rng.normal(size=N)
    rna = (0.9 * factor[:, None] + 0.6 * rng.normal(size=(N, 8))).astype(np.float32)
    protein = (0.6 * factor[:, None] + rng.normal(size=(N, 6))).astype(np.float32)
    rna[:24], protein[24:40] = np.nan, np.nan
    mutation = (rng.random((N, 4)) < 0.3).astype(np.float32)
    ids = tuple(f"p{i:03d}" for i in range(N))
    clinical = pl.DataFrame({"patient_id": ids, "age": rng.normal(60, 10, N), "er": rng.choice(["neg", "pos"], N)})
    age = clinical["age"].to_numpy() / 10 - 6
    failed = rng.exponential(30 * np.exp(-1.2 * factor - 0.4 * age))
    censored = rng.exponential(60, N)
    time, event = np.minimum(failed, censored) + 0.01, failed <= censored
    train = np.arange(N) < TRAIN
    blocks = tuple(
        Block(name, values, kind, tuple(f"{name}{j}" for j in range(values.shape[1])))
        for name, values, kind in (
            ("mutation", mutation, "bernoulli"),
            ("protein", protein, "gaussian"),
            ("rna", rna, "gaussian"),
        )
    )
    features = FeatureSet(ids, np.where(train, "train", "test"), blocks)
    latent = LatentModel.fit(features, LatentConfig(dims=2, hidden=8, members=1, epochs=30, device="cpu"), 1)
    present = np.stack([b.present for b in blocks])
    design = ClinicalDesign.fit(clinical, ("age", "er"), {}, train)
    omics = tuple(Omic(b.name, b.values, b.features) for b in blocks)
    inputs = Inputs(
        train, time, event, design.transform(clinical), tuple(design.names), omics,
        np.where(present.any(axis=0)[:, None], latent.transform(features), np.nan), present.sum(axis=0),
    )  # fmt: skip
    settings = PrognosisConfig(models=MODELS, inner_folds=2, trees=20)
    fits = fit_models(inputs, GRID, settings, tau=30.0, rng=np.random.default_rng(1))
    folder = tmp_path_factory.mktemp("study")
    paths = {n: str(folder / f) for n, f in (
        ("clinical", "clinical.parquet"), ("outcome", "outcome.parquet"), ("resamples", "resamples.parquet"),
        ("features", "features.h5mu"), ("weights", "latent.safetensors"), ("description", "latent.json"),
        ("models", "models.safetensors"), ("models_description", "models.json"),
    )}  # fmt: skip
    clinical.write_parquet(paths["clinical"])
    outcome = pl.DataFrame({"patient_id": ids, "time_months": time, "event": event.astype(np.int64)})
    outcome = outcome.with_columns(competing=pl.lit(0, dtype=pl.Int64)).filter(pl.col("patient_id") != ids[-1])
    tables.write_table(outcome, paths["outcome"], tables.Outcome)
    roles = [{"patient_id": p, "resample": "cv-1-1", "role": r} for p, r in zip(ids, features.roles, strict=True)]
    tables.write_table(tables.from_rows(roles, tables.Resamples), paths["resamples"], tables.Resamples)
    write_features(features, paths["features"])
    save_models({"vae": latent}, paths["weights"], paths["description"])
    save_prognosis(fits, (), design, omics, GRID, paths["models"], paths["models_description"])
    rows = np.flatnonzero(~train)
    patients = Patients(clinical[rows], features.take(rows).blocks)
    learned = Patients(clinical[:TRAIN], features.take(np.arange(TRAIN)).blocks)
    numeric = {t.column: t.scale for t in design.terms if t.type == "numeric"}
    frozen = Frozen(load_prognosis(paths["models"], paths["models_description"]), latent, None, 30.0)
    return {
        "paths": paths, "fits": fits, "inputs": inputs, "patients": patients, "frozen": frozen,
        "scale": stresses.Scale.of(learned, numeric), "folder": folder,
    }  # fmt: skip


def _values(patients, name):
    return next(b.values for b in patients.blocks if b.name == name)


# --- omics that are lacking -------------------------------------------------------------------------------------------


def test_expected_part_is_the_regression_on_the_other_columns():
    rng = np.random.default_rng(0)
    other = rng.normal(size=(400, 3))
    own = other @ np.array([[1.0, 0.0], [0.0, 2.0], [0.0, 0.0]]) + 0.01 * rng.normal(size=(400, 2))
    x, mask = np.column_stack([other, own]), np.array([False] * 3 + [True] * 2)
    weights, constant = expected_part(x, mask, np.array([9.0, 9.0, 9.0, 0.5, 1.0]))
    np.testing.assert_allclose(weights, [0.5, 2.0, 0.0, 0.0, 0.0], atol=0.03)
    assert abs(constant) < 0.01
    assert expected_part(x, mask, np.array([1.0, 1.0, 1.0, 0.0, 0.0])) is None
    assert expected_part(x[:1], mask, np.ones(5)) is None


def test_who_lacks_an_omic_is_not_taken_for_the_average_patient(study):
    net = next(f.predictor for f in study["fits"] if f.model == "clinical_omics")
    assert isinstance(net, CoxPredictor)
    assert "rna" in {e.omic for e in net.expected}
    own = study["inputs"]
    rows = np.flatnonzero(~own.train)
    gone = tuple(
        Omic(o.name, np.full_like(o.values, np.nan) if o.name == "rna" else o.values, o.features) for o in own.omics
    )
    whole = net.predict(own, GRID)[0][rows]
    filled = net.predict(replace(own, omics=gone), GRID)[0][rows]
    bare = CoxPredictor(net.parts, replace(net.model, **{
        k: getattr(net.model, k)[:-1] for k in ("coefficients", "centre")
    }))  # fmt: skip
    average = bare.predict(replace(own, omics=gone), GRID)[0][rows]
    assert spearmanr(whole, filled).statistic > spearmanr(whole, average).statistic + 0.1
    complete = own.n_omics[rows] == 3
    shift = whole[complete] - bare.predict(own, GRID)[0][rows][complete]
    np.testing.assert_allclose(shift, shift[0], atol=1e-9)  # who lacks nothing keeps the place among others


def test_expected_scores_survive_the_state(study):
    net = next(f.predictor for f in study["fits"] if f.model == "clinical_omics")
    tensors, description = net.state()
    again = from_state(tensors, json.loads(json.dumps(description)), {})
    for made, kept in zip(again.predict(study["inputs"], GRID), net.predict(study["inputs"], GRID), strict=True):
        np.testing.assert_array_equal(made, kept)


# --- changes of patients ----------------------------------------------------------------------------------------------


def test_noise_has_its_dose_and_leaves_classes(study):
    patients, scale = study["patients"], study["scale"]
    many = Patients(
        pl.concat([patients.clinical] * 40),
        tuple(Block(b.name, np.tile(b.values, (40, 1)), b.likelihood, b.features) for b in patients.blocks),
    )
    found = stresses.noise(0.5, scale)(many, np.random.default_rng(1))
    away = _values(found, "rna") - _values(many, "rna")
    np.testing.assert_allclose(np.nanstd(away, axis=0) / scale.spread["rna"], 0.5, rtol=0.05)
    moved = (found.clinical["age"] - many.clinical["age"]).to_numpy()
    assert moved.std() / scale.covariates["age"] == pytest.approx(0.5, rel=0.05)
    assert found.clinical["er"].equals(many.clinical["er"])
    before, after = _values(many, "mutation"), _values(found, "mutation")
    assert set(np.unique(after)) == {0.0, 1.0}
    together = [np.corrcoef(before[:, j], after[:, j])[0, 1] for j in range(4)]
    np.testing.assert_allclose(together, 1 / np.sqrt(1.25), atol=0.05)


def test_features_go_missing_by_the_cell_or_by_the_column(study):
    patients, rng = study["patients"], np.random.default_rng(2)
    cells = np.isnan(_values(stresses.lacking(0.5)(patients, rng), "rna"))
    assert 0.4 < cells.mean() < 0.6
    assert 0 < cells.mean(axis=0).min() < cells.mean(axis=0).max() < 1
    columns = np.isnan(_values(stresses.smaller_panel(0.5)(patients, rng), "rna"))
    assert set(columns.mean(axis=0)) <= {0.0, 1.0}
    weight = np.zeros(18)
    weight[[4, 17]] = 2.0, 1.0  # first protein, last RNA
    gone = stresses.without_strongest(0.1, weight)(patients, rng)
    assert np.isnan(_values(gone, "protein")[:, 0]).all()
    assert np.isnan(_values(gone, "rna")[:, 7]).all()
    assert np.isfinite(_values(gone, "rna")[:, :7]).all()


def test_a_batch_shifts_whole_omics(study):
    patients, scale, rng = study["patients"], study["scale"], np.random.default_rng(3)
    away = _values(stresses.shifted("rna", 1.0, scale)(patients, rng), "rna") - _values(patients, "rna")
    np.testing.assert_allclose(away, np.tile(scale.spread["rna"], (len(away), 1)), rtol=1e-4)
    half = _values(stresses.shifted("rna", 1.0, scale, half=True)(patients, rng), "rna") - _values(patients, "rna")
    assert (half[1::2] == 0).all()
    wide = _values(stresses.widened("rna", 0.5, scale)(patients, rng), "rna") - scale.mean["rna"]
    np.testing.assert_allclose(wide, 1.5 * (_values(patients, "rna") - scale.mean["rna"]), rtol=1e-4, atol=1e-5)


def test_covariates_and_omics_can_be_gone(study):
    patients, rng = study["patients"], np.random.default_rng(4)
    assert stresses.without_covariate("er")(patients, rng).clinical["er"].null_count() == len(patients)
    none = stresses.without_omics(("rna", "protein", "mutation"))(patients, rng)
    scores = study["frozen"].score([patients, none])
    for model in ("clinical", *MODELS):
        assert np.isfinite(scores[1][model].survival).all()
    np.testing.assert_array_equal(scores[0]["clinical"].risk, scores[1]["clinical"].risk)


def test_frozen_models_score_as_when_fitted_whoever_is_beside(study):
    frozen, patients = study["frozen"], study["patients"]
    alone = frozen.score([patients])[0]
    beside = frozen.only(("stacked", "clinical")).score([patients, patients])[1]
    rows = np.flatnonzero(~study["inputs"].train)
    for fit in study["fits"]:
        np.testing.assert_allclose(alone[fit.model].risk, fit.risk[rows], atol=1e-9, err_msg=fit.model)
    np.testing.assert_allclose(beside["stacked"].risk, alone["stacked"].risk, atol=1e-9)


# --- adversary --------------------------------------------------------------------------------------------------------


def test_slopes_are_those_of_finite_differences(study):
    frozen, patients, scale = study["frozen"], study["patients"], study["scale"]
    found = adversary.slopes(frozen, patients)
    assert set(found) == {"clinical", "clinical_omics", "clinical_latent"}
    step = 1e-2
    for j, omic in ((0, "rna"), (3, "protein")):
        up, down = ({omic: np.zeros(_values(patients, omic).shape)} for _ in range(2))
        up[omic][:, j], down[omic][:, j] = step, -step
        scores = frozen.score([stresses.moved(patients, scale, one, {}) for one in (up, down)])
        slope = (scores[0]["clinical_latent"].risk - scores[1]["clinical_latent"].risk) / (2 * step)
        expected = found["clinical_latent"].features[omic][:, j] * scale.spread[omic][j]
        np.testing.assert_allclose(slope, expected, rtol=0.02, atol=1e-3)


def test_slopes_of_who_lacks_an_omic_hold_what_the_others_say_of_it(study):
    frozen, scale = study["frozen"], study["scale"]
    patients = stresses.without_omics(("rna",))(study["patients"], np.random.default_rng(0))
    found = adversary.slopes(frozen, patients)["clinical_omics"].features["protein"]
    inside = np.abs(_values(patients, "protein")[:, 0]) < 0.5  # beyond the range of training, columns are held
    up, down = (np.zeros(found.shape) for _ in range(2))
    up[:, 0], down[:, 0] = 1e-2, -1e-2
    scores = frozen.score([stresses.moved(patients, scale, {"protein": one}, {}) for one in (up, down)])
    slope = (scores[0]["clinical_omics"].risk - scores[1]["clinical_omics"].risk) / 2e-2
    expected = found[:, 0] * scale.spread["protein"][0]
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(slope[inside], expected[inside], rtol=0.01, atol=1e-4)


def test_the_attack_on_a_linear_model_is_the_worst_there_is(study):
    frozen, patients, scale = study["frozen"], study["patients"], study["scale"]
    plain, found = frozen.score([patients])[0], adversary.slopes(frozen, patients)
    dose = 0.1
    made = adversary.attacked(frozen, patients, plain, found, scale, dose, np.random.default_rng(6))
    own = plain["clinical"].risk
    towards = np.where(own > np.median(own), -1.0, 1.0)
    slope = found["clinical"].covariates["age"][0]
    np.testing.assert_allclose(made["clinical"].risk - own, towards * dose * abs(slope), atol=1e-6)
    for model, score in made.items():
        own = plain[model].risk
        towards = np.where(own > np.median(own), -1.0, 1.0)
        assert (towards * (score.risk - own) >= 0).all(), model


# --- metrics ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def held_out():
    rng = np.random.default_rng(8)
    risk = rng.normal(size=300)
    time = rng.exponential(30 * np.exp(-risk))
    return risk, HeldOut.drawn(
        np.minimum(time, 50.0), time < 50.0, None, np.zeros(300, dtype=np.int64),
        by_site=False, tau=40.0, horizon=30.0, bootstraps=100, rng=rng,
    )  # fmt: skip


def test_values_are_the_metrics_and_no_stress_is_no_difference(held_out):
    risk, sample = held_out
    survival = 1 / (1 + np.exp(risk))
    values = sample.values(risk, survival)
    assert values["uno_c"][0] == uno_c(Sample.make(sample.time, sample.event), risk, 40.0)[0]
    for found in responses(values, [values, values], 0.95):
        assert found.difference == pytest.approx(0.0, abs=1e-12)
        assert found.lower < found.estimate < found.upper
    worse = sample.values(-risk, survival)
    c = responses(values, [worse], 0.95)[0]
    assert c.difference == pytest.approx(1 - 2 * values["uno_c"][0])
    assert c.difference_upper < 0


def test_wrong_labels_turn_their_share_and_spare_deaths_of_other_causes(held_out):
    risk, sample = held_out
    competing = ~sample.event & (np.arange(300) % 2 == 0)
    changed = replace(sample, competing=competing).with_wrong_labels(0.2, np.random.default_rng(1))
    turned = changed.event != sample.event
    assert not (turned & competing).any()
    assert 0.12 < turned[~competing].mean() < 0.28
    survival = 1 / (1 + np.exp(risk))
    noisy = sample.with_wrong_labels(0.4, np.random.default_rng(2)).values(risk, survival)
    assert noisy["uno_c"][0] < sample.values(risk, survival)["uno_c"][0]


def test_fewer_events_lower_what_is_observed(held_out):
    risk, sample = held_out
    survival = np.full(300, 0.5)
    fewer = sample.with_fewer_events(0.5, np.random.default_rng(3))
    before, after = (s.values(risk, survival)["observed_expected"] for s in (sample, fewer))
    dead = (sample.time < 30.0).mean()  # nobody is censored before the horizon
    assert before[0] == pytest.approx(dead / 0.5)
    all_events, rest = sample.event.mean(), (~sample.event).mean()
    assert after[0] == pytest.approx(0.5 * dead / (0.5 * all_events + rest) / 0.5)
    assert after[1:].std() > before[1:].std()  # intervals are those of fewer patients
    assert (fewer.weights[1:] <= sample.weights[1:]).all()


def test_agreement_is_spearmans_correlation(held_out):
    risk, sample = held_out
    other = risk + np.random.default_rng(4).normal(size=300)
    found = agreement(sample, (risk, other), (np.full(300, 0.4), np.full(300, 0.6)))
    assert found["rank_correlation"][0] == pytest.approx(spearmanr(risk, other).statistic)
    assert found["risk_change"] == pytest.approx(0.2)


# --- the rules --------------------------------------------------------------------------------------------------------


def test_the_rules_end_to_end(study, monkeypatch):
    folder, paths = study["folder"], study["paths"]
    stressed, robustness = str(folder / "stressed.parquet"), str(folder / "robustness.parquet")
    stress_models.main(**paths, stressed=stressed, endpoint=ENDPOINT, seed=1, resample="cv-1-1")
    table = tables.read_table(stressed, tables.PrognosisStressed)
    assert set(table["model"]) == {"clinical", *MODELS}
    assert table["patient_id"].n_unique() == N - TRAIN - 1  # one has no outcome
    metrics = str(folder / "metrics.parquet")
    empty = {"estimate": 0.7, "lower": 0.6, "upper": 0.8, "n": 79, "events": 50, "method": "Uno's C", "held_out": True}
    keys = {"model": "clinical", "metric": "uno_c", "horizon_months": None, "versus": None}
    rows = [
        empty | keys | {"design": d, "estimate": c} for d, c in (("cross-validation", 0.7), ("leave-site-out", 0.66))
    ]
    tables.write_table(tables.from_rows(rows, tables.PrognosisMetrics), metrics, tables.PrognosisMetrics)
    evaluate_robustness.main(
        outcome=paths["outcome"], resamples=paths["resamples"], metrics=metrics, stressed=[stressed],
        robustness=robustness, endpoint=ENDPOINT, evaluation=EvaluationConfig(bootstraps=50), seed=1,
    )  # fmt: skip
    found = tables.read_table(robustness, tables.Robustness)
    assert set(found["concept"]) == set(tables.ROBUSTNESS_CONCEPTS)
    assert found["estimate"].null_count() == 0
    omics = found.filter(
        pl.col("stress") == "without an omic", pl.col("model") == "clinical", pl.col("metric") == "uno_c"
    )
    np.testing.assert_allclose(omics["difference"], 0.0, atol=1e-12)
    elsewhere = found.filter(pl.col("stress") == "patients of sites that were left out")
    assert elsewhere["difference"].to_list() == [pytest.approx(-0.04)]
    assert elsewhere["difference_lower"].to_list() == [None]
    monkeypatch.setattr(evaluate_robustness, "FEWEST_EVENTS", 1000)
    evaluate_robustness.main(
        outcome=paths["outcome"], resamples=paths["resamples"], metrics=metrics, stressed=[stressed],
        robustness=robustness, endpoint=ENDPOINT, evaluation=EvaluationConfig(bootstraps=50), seed=1,
    )  # fmt: skip
    few = tables.read_table(robustness, tables.Robustness).filter(pl.col("concept") == "adversarial")
    assert few["estimate"].null_count() == few.height
    assert few["method"].str.starts_with("not estimable: fewer than").all()


def test_models_see_no_outcome_of_held_out_patients(study):
    folder, paths = study["folder"], dict(study["paths"])
    outcome = tables.read_table(paths["outcome"], tables.Outcome)
    other = outcome.with_columns(pl.col("time_months").reverse(), pl.col("event").reverse())
    paths["outcome"] = str(folder / "other.parquet")
    tables.write_table(other, paths["outcome"], tables.Outcome)
    made = []
    for one in (study["paths"], paths):
        target = str(folder / "blind.parquet")
        stress_models.main(**one, stressed=target, endpoint=ENDPOINT, seed=1, resample="cv-1-1")
        made.append(tables.read_table(target, tables.PrognosisStressed))
    assert made[0].equals(made[1])
