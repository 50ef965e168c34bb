"""The two rules end to end on small files: contracts, designs, repeats, blindness and reasons."""

import shutil
from dataclasses import replace
from pathlib import Path

import anndata
import numpy as np
import pandas as pd
import polars as pl
import pytest

import evaluate_prognosis
import fit_prognosis
from stratiome import tables
from stratiome.config import DataConfig, EndpointConfig, EvaluationConfig, OmicConfig, PrognosisConfig
from stratiome.features.block import Block, FeatureSet, write_features
from stratiome.prognosis import deep, use
from stratiome.prognosis.decision import net_benefit
from stratiome.prognosis.evaluate import (
    Design,
    Predictions,
    Problem,
    evaluate_calibration,
    evaluate_design,
    evaluate_resamples,
)
from stratiome.prognosis.metrics import brier, observed_expected
from stratiome.prognosis.models import MODELS
from stratiome.survival.competing import aalen_johansen
from stratiome.survival.concordance import Sample, uno_c
from stratiome.survival.outcome import time_grid


@pytest.fixture(scope="module", autouse=True)
def few_epochs():
    """The deep model is trained for a few epochs, for time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep, "EPOCHS", 25)
        yield


ENDPOINT = EndpointConfig(time="t", event="e", horizons=(30.0, 60.0))
DATA = DataConfig(clinical="c.tsv", omics={"rna": OmicConfig(path="r.tsv", kind="expression")})
EVALUATION = EvaluationConfig(bootstraps=60)
CONTRACTS = {
    "metrics": tables.PrognosisMetrics,
    "by_resample": tables.PrognosisResamples,
    "calibration": tables.Calibration,
    "decisions": tables.PrognosisDecisions,
    "coverage": tables.PrognosisCoverage,
    "calibration_curves": tables.CalibrationCurves,
    "calibration_measures": tables.CalibrationSummary,
    "risks_by_outcome": tables.RiskDistribution,
}
PROGNOSIS = PrognosisConfig(trees=20, deep_min_events=20)
SITES = ("a", "b")
N = 150


def _cohort() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(7)
    x = rng.normal(size=N)
    rna = rng.normal(size=(N, 6))
    rna[::11] = np.nan
    failed = rng.exponential(40 * np.exp(-0.8 * x - 0.5 * np.nan_to_num(rna[:, 0])))
    censored = rng.exponential(90, N)
    return {
        "ids": np.array([f"p{i:03d}" for i in range(N)], dtype=object),
        "age": 60 + 10 * x,
        "er": np.where(rng.random(N) < 0.3, "neg", "pos").astype(object),
        "rna": rna.astype(np.float32),
        "latent": np.nan_to_num(rna[:, :2]),
        "time": np.minimum(failed, censored),
        "event": (failed <= censored).astype(np.int64),
    }


def _roles(cohort: dict[str, np.ndarray], repeats: int = 1) -> pl.DataFrame:
    rng = np.random.default_rng(3)
    roles = {"full": np.full(N, "train")}
    for repeat in range(1, repeats + 1):
        fold = rng.permutation(N) % 2
        roles |= {f"cv-{repeat}-{k + 1}": np.where(fold == k, "test", "train") for k in (0, 1)}
    site = np.arange(N) % 2
    late = np.arange(N) % 5 < 2
    roles |= {"temporal": np.where(np.arange(N) % 17 == 0, "out", np.where(late, "test", "train"))}
    roles |= {f"given-{k}": np.where(np.arange(N) % 3 == k, "test", "train") for k in (0, 1)}
    roles |= {
        "given-again": np.where(np.arange(N) % 4 == 0, "test", "train"),
        "locked": np.where(late, "test", "train"),
    }
    roles |= {f"site-{s}": np.where(site == k, "test", "train") for k, s in enumerate(SITES)}
    rows = [
        {"patient_id": str(p), "resample": name, "role": str(role)}
        for name, values in roles.items()
        for p, role in zip(cohort["ids"], values, strict=True)
    ]
    return tables.from_rows(rows, tables.Resamples)


def _write(folder: Path, cohort: dict[str, np.ndarray], roles: pl.DataFrame, resample: str) -> dict[str, str]:
    folder.mkdir(parents=True, exist_ok=True)
    paths = {n: str(folder / f"{n}.parquet") for n in ("clinical", "outcome", "resamples")}
    paths |= {"features": str(folder / "features.h5mu"), "latents": str(folder / "latents.h5ad")}
    ids = pl.Series("patient_id", cohort["ids"], dtype=pl.String)
    pl.DataFrame(
        [ids, pl.Series("age", cohort["age"]), pl.Series("er", cohort["er"], dtype=pl.String)]
    ).reverse().write_parquet(paths["clinical"])
    known = np.arange(N) % 29 != 0  # some patients have no usable outcome
    outcome = pl.DataFrame([ids, pl.Series("time_months", cohort["time"]), pl.Series("event", cohort["event"])])
    competing = pl.Series(cohort.get("competing", np.zeros(N)))
    outcome = outcome.with_columns(pl.col("event").cast(pl.Int64), competing=competing.cast(pl.Int64))
    outcome.filter(pl.Series(known)).write_parquet(paths["outcome"])
    tables.write_table(roles, paths["resamples"], tables.Resamples)
    own = roles.filter(pl.col("resample") == resample)["role"].to_numpy().astype(str)
    block = Block("rna", cohort["rna"], "gaussian", tuple(f"g{j}" for j in range(6)))
    write_features(FeatureSet(tuple(cohort["ids"]), own, (block,)), paths["features"])
    present = np.isfinite(cohort["rna"]).any(axis=1).astype(int)
    obs = pd.DataFrame({"n_omics": present}, index=list(cohort["ids"]))
    anndata.AnnData(np.zeros((N, 1)), obs=obs, obsm={"vae": cohort["latent"], "mofa": cohort["latent"] + 1}).write_h5ad(
        paths["latents"]
    )
    return paths


def _fit(folder: Path, cohort: dict[str, np.ndarray], roles: pl.DataFrame, resample: str, **changes) -> dict[str, str]:
    inputs = _write(folder, cohort, roles, resample)
    outputs = {
        n: str(folder / resample / f"{n}.parquet")
        for n in (
            "curves",
            "risks",
            "coefficients",
            "models",
            "bounds",
            "censoring",
            "permuted",
            "stored",
            "stored_description",
        )
    }
    inputs |= {"weights": "", "description": ""}  # read only where models are explained
    settings = {
        "data": DATA,
        "endpoint": ENDPOINT,
        "covariates": ("age", "er"),
        "prognosis": PROGNOSIS,
        "seed": 1,
        "explained": False,
    }
    fit_prognosis.main(**inputs, **outputs, **(settings | changes), resample=resample)
    return inputs | outputs


def _evaluate(folder: Path, fitted: list[dict[str, str]], **changes) -> dict[str, pl.DataFrame]:
    outputs = {n: str(folder / f"{n}.parquet") for n in CONTRACTS}
    settings = {"endpoint": ENDPOINT, "prognosis": PROGNOSIS, "evaluation": EVALUATION, "seed": 1}
    settings |= {"covariates": ("age", "er")}
    inputs = {"clinical": fitted[0]["clinical"], "outcome": fitted[0]["outcome"], "resamples": fitted[0]["resamples"]}
    inputs |= {n: [f[n] for f in fitted] for n in ("curves", "risks", "models", "bounds", "censoring")}
    evaluate_prognosis.main(**inputs, **outputs, **(settings | changes))
    return {n: tables.read_table(outputs[n], c) for n, c in CONTRACTS.items()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prognosis")
    cohort = _cohort()
    roles = _roles(cohort, repeats=2)
    fitted = {r: _fit(folder, cohort, roles, r) for r in roles["resample"].unique(maintain_order=True)}
    return cohort, roles, fitted, _evaluate(folder, list(fitted.values())), folder


def test_fit_writes_the_contracts(run):
    _, roles, fitted, _, _ = run
    grid = time_grid(ENDPOINT)
    for resample, paths in fitted.items():
        test = roles.filter((pl.col("resample") == resample) & (pl.col("role") == "test"))["patient_id"]
        curves = tables.read_table(paths["curves"], tables.PrognosisCurves)
        risks = tables.read_table(paths["risks"], tables.PrognosisRisks)
        assert curves.height == len(test) * len(MODELS) * len(grid)
        assert risks.height == len(test) * len(MODELS)
        for model in MODELS if len(test) else ():
            assert risks.filter(pl.col("model") == model)["patient_id"].to_list() == test.sort().to_list()
        starts = curves.filter(pl.col("time_months") == 0)["survival"]
        assert (starts == 1).all()
        models = tables.read_table(paths["models"], tables.PrognosisModels)
        assert models["model"].to_list() == list(MODELS)
        assert (models["note"].str.len_chars() > 0).all()
        coefficients = tables.read_table(paths["coefficients"], tables.PrognosisCoefficients)
        assert {"age", "er: neg"} == set(coefficients.filter(pl.col("model") == "clinical")["feature"])
        assert coefficients.filter(pl.col("model") == "clinical")["lower"].is_not_null().all()
        assert dict(coefficients.select("feature", "reference").iter_rows())["er: neg"] == "pos"
        assert dict(coefficients.select("feature", "reference").iter_rows())["age"] is None
        assert models["stand_in"].null_count() == models.height


def test_full_has_no_held_out_patients(run):
    paths = run[2]["full"]
    assert pl.read_parquet(paths["curves"]).is_empty()
    assert pl.read_parquet(paths["models"])["n"].to_list() == [N - len(range(0, N, 29))] * len(MODELS)


def test_corrupted_held_out_rows_change_no_fitted_number_by_a_bit(run, tmp_path):
    cohort, roles, fitted, _, _ = run
    test = roles.filter(pl.col("resample") == "cv-1-1")["role"].to_numpy() == "test"
    rng = np.random.default_rng(11)
    noisy = {k: v.copy() for k, v in cohort.items()}
    noisy["age"][test] = rng.normal(0, 1e5, test.sum())
    noisy["er"][test] = "noise"
    noisy["rna"][test] = rng.normal(0, 1e5, (test.sum(), 6))
    noisy["latent"][test] = rng.normal(0, 1e5, (test.sum(), 2))
    noisy["time"][test] = rng.exponential(3, test.sum()) + 0.01
    noisy["event"][test] = 1 - noisy["event"][test]
    other = _fit(tmp_path, noisy, roles, "cv-1-1")
    for name in ("coefficients", "models"):
        assert Path(other[name]).read_bytes() == Path(fitted["cv-1-1"][name]).read_bytes()
    assert not pl.read_parquet(other["risks"]).equals(pl.read_parquet(fitted["cv-1-1"]["risks"]))


def test_the_same_files_give_the_same_bytes(run, tmp_path):
    cohort, roles, fitted, _, folder = run
    again = _fit(tmp_path, cohort, roles, "cv-1-2")
    for name in ("curves", "risks", "coefficients", "models"):
        assert Path(again[name]).read_bytes() == Path(fitted["cv-1-2"][name]).read_bytes()
    before = {n: (folder / f"{n}.parquet").read_bytes() for n in CONTRACTS}
    _evaluate(tmp_path, list(fitted.values()))
    for name, content in before.items():
        assert (tmp_path / f"{name}.parquet").read_bytes() == content


def test_every_metric_of_every_design_is_reported(run):
    metrics = run[3]["metrics"]
    assert metrics["held_out"].all()
    for design in tables.DESIGNS:
        for model in MODELS:
            rows = metrics.filter(
                (pl.col("design") == design) & (pl.col("model") == model) & pl.col("versus").is_null()
            )
            found = set(rows.select("metric", "horizon_months").iter_rows())
            plain = {(m, None) for m in ("uno_c", "uno_c_cox", "harrell_c", "ibs", "ibs_cox", "ipa")}
            timed = ("auc", "brier", "ipa", "calibration_slope", "observed_expected")
            assert found == plain | {(m, h) for m in timed for h in (30.0, 60.0)}
        versus = metrics.filter((pl.col("design") == design) & (pl.col("versus") == "clinical"))
        assert set(versus["metric"]) == {"uno_c", "ibs", "auc", "brier"}
        assert "clinical" not in set(versus["model"])
    known = metrics.filter(pl.col("estimate").is_not_null())
    assert ((known["lower"] <= known["estimate"] + 1e-12) & (known["estimate"] <= known["upper"] + 1e-12)).mean() > 0.95
    assert metrics["method"].str.contains("95 % percentile interval of 60 bootstraps").all()
    uno = metrics.filter((pl.col("metric") == "uno_c") & (pl.col("design") == "cross-validation"))["method"]
    assert uno.str.contains("Uno's C, tau 60 months").all()
    assert uno.str.contains("mean of 2 repeats").all()
    assert uno.str.contains("ties in score count 1/2").all()


def test_the_null_model_gains_nothing_and_has_no_slope(run):
    null = run[3]["metrics"].filter((pl.col("model") == "kaplan_meier") & pl.col("versus").is_null())
    assert null.filter(pl.col("metric") == "ipa")["estimate"].to_list() == [0.0] * 15
    assert null.filter(pl.col("metric") == "uno_c")["estimate"].to_list() == [0.5] * 5
    slope = null.filter(pl.col("metric") == "calibration_slope")
    assert slope["estimate"].is_null().all()
    assert slope["method"].str.contains("not estimable: predictions do not differ").all()


def test_pooled_uno_c_is_the_mean_over_repeats_of_pairs_within_folds(run):
    _, _, fitted, found, _ = run
    outcome = pl.read_parquet(fitted["full"]["outcome"])
    values = []
    for repeat in (1, 2):
        parts = []
        for fold in (1, 2):
            risks = pl.read_parquet(fitted[f"cv-{repeat}-{fold}"]["risks"]).filter(pl.col("model") == "clinical")
            parts.append(risks.join(outcome, on="patient_id").with_columns(fold=pl.lit(fold)))
        table = pl.concat(parts)
        sample = Sample.make(table["time_months"], table["event"].to_numpy(), fold=table["fold"].to_numpy())
        values.append(uno_c(sample, table["risk"].to_numpy(), 60.0)[0])
    row = found["metrics"].filter(
        (pl.col("design") == "cross-validation") & (pl.col("model") == "clinical") & (pl.col("metric") == "uno_c")
    )
    assert row["estimate"][0] == pytest.approx(np.mean(values), abs=1e-12)
    assert row["n"][0] == outcome.height
    assert row["events"][0] == outcome["event"].sum()


def test_differences_are_paired(run):
    metrics = run[3]["metrics"].filter((pl.col("design") == "cross-validation") & (pl.col("metric") == "ibs"))
    value = {(m, v): e for m, v, e in metrics.select("model", "versus", "estimate").iter_rows()}
    width = {(m, v): u - lo for m, v, lo, u in metrics.select("model", "versus", "lower", "upper").iter_rows()}
    for model in ("kaplan_meier", "clinical_omics", "clinical_latent"):
        expected = value[model, None] - value["clinical", None]
        assert value[model, "clinical"] == pytest.approx(expected, abs=1e-12)
    for model in ("clinical_omics", "clinical_latent"):
        unpaired = np.hypot(width[model, None], width["clinical", None])
        assert width[model, "clinical"] < unpaired


def test_a_model_does_not_differ_from_itself_in_any_draw():
    rng = np.random.default_rng(3)
    problem, design = _problem(rng.random(80) < 0.7, rng.exponential(50, 80))
    same = design.repeats[0]
    twin = {"clinical_omics": same.risk["clinical"]}, {"clinical_omics": same.survival["clinical"]}
    both = replace(same, risk=same.risk | twin[0], survival=same.survival | twin[1])
    design = Design("cross-validation", (both,))
    found = evaluate_design(problem, design, bootstraps=50, level=0.95, rng=np.random.default_rng(1))
    rows = [e for e in found if e.model == "clinical_omics" and e.versus == "clinical"]
    assert len(rows) == 6
    assert all((e.estimate, e.lower, e.upper) == (0.0, 0.0, 0.0) for e in rows)


def test_flexible_models_are_compared_with_the_flexible_one_without_omics_on_the_same_draws():
    rng = np.random.default_rng(4)
    problem, design = _problem(rng.random(120) < 0.7, rng.exponential(50, 120))
    same = design.repeats[0]
    risk = {m: rng.normal(size=120) for m in ("clinical_forest", "forest", "deep")} | {"stacked": same.risk["clinical"]}
    survival = {m: np.exp(-np.outer(np.exp(r), problem.grid / 100)) for m, r in risk.items()}
    whole = replace(same, risk=same.risk | risk, survival=same.survival | survival)

    def judge(predictions):
        made = Design("cross-validation", (predictions,))
        rows = evaluate_design(problem, made, bootstraps=50, level=0.95, rng=np.random.default_rng(1))
        return {(e.model, e.metric, e.horizon, e.versus): e for e in rows}

    found = judge(whole)
    beside = {m for m, _, _, versus in found if versus == "clinical_forest"}
    assert beside == {"forest", "deep", "stacked"}
    assert {k for m, k, _, v in found if (m, v) == ("forest", "clinical_forest")} == {"uno_c", "ibs", "auc", "brier"}
    for metric, horizon in (("uno_c", None), ("auc", problem.horizons[0])):
        estimate = {v: found["forest", metric, horizon, v].estimate for v in (None, "clinical", "clinical_forest")}
        base = {m: found[m, metric, horizon, None].estimate for m in ("clinical", "clinical_forest")}
        assert estimate["clinical_forest"] == pytest.approx(estimate[None] - base["clinical_forest"], abs=1e-12)
        assert estimate["clinical"] == pytest.approx(estimate[None] - base["clinical"], abs=1e-12)
    assert "difference to clinical_forest" in found["forest", "uno_c", None, "clinical_forest"].method
    # A model that ranks as the clinical one differs from the forest by just as much as the clinical one, in every draw.
    turned = found["clinical_forest", "uno_c", None, "clinical"]
    twin = found["stacked", "uno_c", None, "clinical_forest"]
    assert (twin.estimate, twin.lower, twin.upper) == pytest.approx((-turned.estimate, -turned.upper, -turned.lower))
    without = judge(replace(whole, risk={m: r for m, r in whole.risk.items() if m != "clinical_forest"}))
    assert without == {k: e for k, e in found.items() if "clinical_forest" not in (k[0], k[3])}
    gone = judge(replace(whole, stand_in={"clinical_forest": np.arange(120) < 60}))
    assert gone["forest", "uno_c", None, "clinical_forest"].n == 60
    assert gone["forest", "uno_c", None, "clinical"].n == 120


def test_resamples_and_calibration_are_complete(run):
    _, roles, _, found, _ = run
    by_resample = found["by_resample"]
    assert set(by_resample["resample"]) == set(roles["resample"]) - {"full"}
    assert by_resample.height == 11 * len(MODELS)
    sums = (
        found["calibration"].group_by("model", "horizon_months", maintain_order=True).agg(pl.col("n").sum(), pl.len())
    )
    assert (sums["n"] == N - len(range(0, N, 29))).all()
    assert sums.filter(pl.col("model") == "kaplan_meier")["len"].to_list() == [1, 1]
    assert sums.filter(pl.col("model") != "kaplan_meier")["len"].is_between(3, 5).all()
    assert sums.filter(pl.col("horizon_months") == 30)["len"].to_list() == [1, *[5] * (len(MODELS) - 1)]


def test_only_full_gives_empty_tables(run, tmp_path):
    fitted = run[2]["full"]
    roles = run[1].filter(pl.col("resample") == "full")
    tables.write_table(roles, tmp_path / "resamples.parquet", tables.Resamples)
    found = _evaluate(tmp_path, [fitted | {"resamples": str(tmp_path / "resamples.parquet")}])
    assert all(t.is_empty() for t in found.values())


def test_missing_predictions_are_named(run, tmp_path):
    fitted = [paths for resample, paths in run[2].items() if resample != "cv-2-1"]
    with pytest.raises(tables.TableError, match=r"cv-2-1.*Suggestion"):
        _evaluate(tmp_path, fitted)


def test_curves_of_another_grid_are_refused(run, tmp_path):
    other = EndpointConfig(time="t", event="e", horizons=(24.5, 60.0))
    with pytest.raises(tables.TableError, match=r"time grid.*Suggestion"):
        _evaluate(tmp_path, list(run[2].values()), endpoint=other)


def test_months_as_days_change_no_concordance(run, tmp_path):
    cohort, _, fitted, found, _ = run
    roles = run[1]
    days = 30.4375
    scaled = cohort | {"time": cohort["time"] * days}
    endpoint = EndpointConfig(time="t", event="e", horizons=(30.0 * days, 60.0 * days))
    again = []
    for resample in fitted:
        shutil.rmtree(tmp_path / resample, ignore_errors=True)
        again.append(_fit(tmp_path, scaled, roles, resample, endpoint=endpoint))
    other = _evaluate(tmp_path, again, endpoint=endpoint)
    for metric in ("uno_c", "harrell_c", "auc", "ibs", "brier"):
        first, second = (t["metrics"].filter(pl.col("metric") == metric)["estimate"].to_numpy() for t in (found, other))
        np.testing.assert_allclose(first, second, atol=1e-6)


def _problem(event: np.ndarray, time: np.ndarray) -> tuple[Problem, Design]:
    n = len(time)
    grid = time_grid(ENDPOINT)
    rng = np.random.default_rng(1)
    risk = {"kaplan_meier": np.zeros(n), "clinical": rng.normal(size=n)}
    survival = {m: np.exp(-np.outer(np.exp(r), grid / 100)) for m, r in risk.items()}
    predictions = Predictions(np.arange(n), np.zeros(n, dtype=int), ("cv-1-1",), risk, survival)
    return Problem(time, event, grid, ENDPOINT.horizons_months, 60.0), Design("cross-validation", (predictions,))


@pytest.mark.parametrize("events", [0, 1, 5])
def test_without_events_everything_is_a_number_or_a_reason(events):
    time = np.linspace(1, 90, 40)
    problem, design = _problem(np.arange(40) < events, time)
    found = evaluate_design(problem, design, bootstraps=50, level=0.95, rng=np.random.default_rng(1))
    for e in found:
        assert (e.estimate is None) == e.method.startswith("not estimable: ")
        for value in (e.estimate, e.lower, e.upper):
            assert value is None or np.isfinite(value)
    assert bool(evaluate_calibration(problem, design.repeats[0], 0.95)) == (events >= 5)
    assert (next(e for e in found if e.metric == "observed_expected").estimate is not None) == (events >= 5)
    slope = next(e for e in found if e.metric == "calibration_slope" and e.model == "kaplan_meier")
    assert slope.estimate is None


def _alone(problem, design, **changes):
    settings = {"bootstraps": 40, "level": 0.95, "rng": np.random.default_rng(1)}
    return evaluate_resamples(problem, design, **(settings | changes))


@pytest.mark.parametrize(("n", "events"), [(2, 2), (9, 9), (40, 4)])
def test_a_handful_of_patients_or_events_gives_no_number(n, events):
    rng = np.random.default_rng(4)
    problem, design = _problem(np.arange(n) < events, rng.exponential(50, n))
    found = evaluate_design(problem, design, bootstraps=50, level=0.95, rng=np.random.default_rng(1))
    assert len(found) == 2 * 14 + 6
    for e in found:
        assert (e.estimate, e.lower, e.upper, e.n, e.events) == (None, None, None, n, events)
        assert e.method.startswith("not estimable: fewer than 10 patients or 5 events are held out; ")
    assert [e.uno_c for e in _alone(problem, design)] == [None, None]
    assert evaluate_calibration(problem, design.repeats[0], 0.95) == []


def test_a_repeat_of_a_handful_is_left_out():
    rng = np.random.default_rng(4)
    problem, design = _problem(rng.random(80) < 0.7, rng.exponential(50, 80))
    whole = design.repeats[0]
    kept = np.arange(80) < 3
    tiny = replace(
        whole,
        rows=whole.rows[kept],
        fold=whole.fold[kept],
        risk={m: v[kept] for m, v in whole.risk.items()},
        survival={m: v[kept] for m, v in whole.survival.items()},
    )
    both = Design("given splits", (whole, tiny))
    found, alone = (
        evaluate_design(problem, d, bootstraps=20, level=0.95, rng=np.random.default_rng(1))
        for d in (both, Design("given splits", (whole,)))
    )
    assert found == alone


def test_patients_of_a_stand_in_count_in_no_claim_about_the_model():
    rng = np.random.default_rng(5)
    problem, design = _problem(rng.random(90) < 0.7, rng.exponential(50, 90))
    fold = np.repeat([0, 1, 2], 30)
    first = replace(design.repeats[0], fold=fold, resamples=("site-a", "site-b", "site-c"))
    risk, survival = first.risk | {"clinical_omics": rng.normal(size=90)}, dict(first.survival)
    survival["clinical_omics"] = np.exp(-np.outer(np.exp(risk["clinical_omics"]), problem.grid / 100))
    stand_in = {"clinical": fold == 1, "clinical_omics": fold == 2}
    whole = replace(first, risk=risk, survival=survival, stand_in=stand_in)
    corrupt = {m: np.where(stand_in[m], 1e3 * np.arange(90), v) if m in stand_in else v for m, v in risk.items()}

    def judge(predictions):
        made = Design("leave-site-out", (predictions,))
        rows = evaluate_design(problem, made, bootstraps=20, level=0.95, rng=np.random.default_rng(1))
        return {(e.model, e.metric, e.horizon, e.versus): e for e in rows}

    found = judge(whole)
    assert found == judge(replace(whole, risk=corrupt))
    n = {(m, v): e.n for (m, _, _, v), e in found.items()}
    assert n["kaplan_meier", None] == 90
    assert n["clinical", None] == n["clinical_omics", None] == n["kaplan_meier", "clinical"] == 60
    assert n["clinical_omics", "clinical"] == 30
    plain = judge(replace(whole.fitted("clinical"), stand_in={}))
    assert found["clinical", "uno_c", None, None].estimate == plain["clinical", "uno_c", None, None].estimate
    missing = {(e.resample, e.model) for e in _alone(problem, Design("leave-site-out", (whole,))) if e.uno_c is None}
    assert missing == {("site-b", "clinical"), ("site-c", "clinical_omics")}
    never = judge(replace(whole, stand_in={"clinical": np.ones(90, dtype=bool)}))
    for (model, _, _, versus), e in never.items():
        gone = "clinical" in (model, versus)
        assert not gone or e.estimate is None
        assert not gone or e.method.startswith("not estimable: the model was fitted in no training set")
    assert never["clinical_omics", "uno_c", None, None].estimate is not None


def test_short_follow_up_is_not_estimable_beyond_its_end():
    rng = np.random.default_rng(2)
    time = rng.uniform(5, 45, 80)
    problem, design = _problem(rng.random(80) < 0.5, time)
    found = evaluate_design(problem, design, bootstraps=50, level=0.95, rng=np.random.default_rng(1))
    value = {(e.model, e.metric, e.horizon): e for e in found if e.versus is None}
    for key in (("clinical", "brier", 60.0), ("clinical", "ibs", None), ("clinical", "observed_expected", 60.0)):
        assert value[key].estimate is None
        assert "no held-out patient is followed to 60 months" in value[key].method
    assert value["clinical", "brier", 30.0].estimate is not None


def test_sites_without_a_pair_are_told_from_those_that_count():
    rng = np.random.default_rng(6)
    n = 120
    site = np.arange(n) % 3
    event = (rng.random(n) < 0.7) & (site != 2)
    problem, design = _problem(event, rng.exponential(50, n))
    by_site = Design("leave-site-out", (replace(design.repeats[0], fold=site, resamples=("a", "b", "c")),))
    found = evaluate_design(problem, by_site, bootstraps=20, level=0.95, rng=np.random.default_rng(1))
    for e in found:
        said = "1 of 3 sites have no pair that compares and add nothing, though n counts them" in e.method
        assert said == (e.metric in ("uno_c", "harrell_c"))
    whole = evaluate_design(problem, design, bootstraps=20, level=0.95, rng=np.random.default_rng(1))
    assert not any("no pair that compares and add" in e.method for e in whole)


def test_no_signal_gives_half_and_the_interval_covers_it():
    rng = np.random.default_rng(5)
    time, event = rng.exponential(50, 600), rng.random(600) < 0.7
    problem, design = _problem(event, time)
    found = evaluate_design(problem, design, bootstraps=100, level=0.95, rng=np.random.default_rng(1))
    uno = next(e for e in found if e.metric == "uno_c" and e.model == "clinical" and e.versus is None)
    assert uno.lower < 0.5 < uno.upper
    assert uno.upper - uno.lower < 0.15


def test_designs_hold_out_whom_they_say(run):
    _, roles, fitted, found, _ = run
    known = pl.read_parquet(fitted["full"]["outcome"])["patient_id"].implode()
    test = roles.filter((pl.col("role") == "test") & pl.col("patient_id").is_in(known))
    metrics = found["metrics"].filter((pl.col("model") == "clinical") & (pl.col("metric") == "uno_c"))
    for design, names in (("temporal", ["temporal"]), ("locked", ["locked"])):
        row = metrics.filter(pl.col("design") == design).row(0, named=True)
        assert row["n"] == test.filter(pl.col("resample").is_in(names)).height
    given = metrics.filter(pl.col("design") == "given splits").row(0, named=True)
    assert given["n"] == test.filter(pl.col("resample").str.starts_with("given-"))["patient_id"].n_unique()
    assert "mean of 2 repeats" in given["method"]  # 0 and 1 are disjoint, `again` overlaps with both
    uno = found["by_resample"].filter((pl.col("model") == "clinical") & (pl.col("design") == "temporal"))
    assert metrics.filter(pl.col("design") == "temporal")["estimate"][0] == pytest.approx(uno["uno_c"][0])


def test_calibration_is_of_the_first_design(run, tmp_path):
    _, roles, fitted, found, _ = run
    for resample, n in (("given-1", 50), ("locked", 60)):
        kept = roles.filter(pl.col("resample").is_in(["full", resample]))
        tables.write_table(kept, tmp_path / "resamples.parquet", tables.Resamples)
        paths = [fitted[r] | {"resamples": str(tmp_path / "resamples.parquet")} for r in ("full", resample)]
        alone = _evaluate(tmp_path, paths)
        assert set(alone["metrics"]["design"]) == {"given splits" if resample != "locked" else "locked"}
        sizes = alone["calibration"].group_by("model", "horizon_months").agg(pl.col("n").sum())["n"]
        assert sizes.max() <= n
        assert alone["calibration"].height < found["calibration"].height + 1


# --- what predictions are good for ---------------------------------------------------------------------------------


def test_decision_curves_are_those_of_the_pooled_predictions(run):
    _, _, fitted, found, _ = run
    rows = found["decisions"]
    assert set(rows["design"]) == {"cross-validation"}
    assert set(rows.filter(pl.col("versus").is_null())["model"]) == {*use.DECIDED, use.TREAT_ALL}
    outcome = pl.read_parquet(fitted["full"]["outcome"]).sort("patient_id")
    curves = pl.concat([pl.read_parquet(fitted[f"cv-1-{k}"]["curves"]) for k in (1, 2)])
    at = curves.filter(pl.col("model") == "stacked", pl.col("time_months") == 60.0)
    one = outcome.join(at, on="patient_id", how="inner", maintain_order="left")
    sample = Sample.make(one["time_months"].to_numpy(), one["event"].to_numpy().astype(bool))
    own = rows.filter(pl.col("model") == "stacked", pl.col("versus").is_null(), pl.col("horizon_months") == 60.0).sort(
        "threshold"
    )
    expected = net_benefit(sample, 1 - one["survival"].to_numpy(), 60.0, own["threshold"].to_numpy())[0]
    np.testing.assert_allclose(own["estimate"].to_numpy(), expected, atol=1e-12)
    assert own.filter(pl.col("lower") > pl.col("estimate")).is_empty()
    base = rows.filter(pl.col("model") == "clinical", pl.col("horizon_months") == 60.0).sort("threshold")
    delta = rows.filter(pl.col("model") == "stacked", pl.col("versus") == "clinical", pl.col("horizon_months") == 60.0)
    gained = own["estimate"] - base["estimate"]
    np.testing.assert_allclose(delta.sort("threshold")["estimate"].to_numpy(), gained.to_numpy(), atol=1e-12)


def test_lower_bounds_are_judged_by_quarter_of_risk(run):
    _, roles, fitted, found, _ = run
    rows = found["coverage"]
    assert set(rows["model"]) == {"clinical", "stacked"}
    assert rows["nominal"].unique().to_list() == [0.9]
    for model in ("clinical", "stacked"):
        own = rows.filter(pl.col("model") == model)
        whole = own.row(by_predicate=pl.col("by") == "all", named=True)
        parts = own.filter(pl.col("by") == "risk quarter")
        assert parts["group"].to_list() == ["1", "2", "3", "4"]
        assert parts["n"].sum() == whole["n"] == N - len(range(0, N, 29))
        assert parts["median_months"].is_sorted(descending=True)
        classes = own.filter(pl.col("by") == "er")
        assert classes["group"].to_list() == ["neg", "pos"]
        assert classes["n"].sum() == whole["n"]
        assert set(own["by"]) == {"all", "risk quarter", "er"}  # age has too many values
        assert 0.7 < whole["estimate"] <= 1  # 75 calibration patients in each of two folds
    bounds = tables.read_table(fitted["cv-1-1"]["bounds"], tables.PrognosisBounds)
    held_out = roles.filter((pl.col("resample") == "cv-1-1") & (pl.col("role") == "test")).height
    assert bounds.height == 2 * held_out


def test_without_stacking_there_are_no_bounds(run, tmp_path):
    cohort, roles, _, _, _ = run
    roles = roles.filter(pl.col("resample").is_in(["cv-1-1", "cv-1-2"]))
    settings = PrognosisConfig(models=("clinical_latent",))
    fitted = [_fit(tmp_path, cohort, roles, r, prognosis=settings) for r in ("cv-1-1", "cv-1-2")]
    found = _evaluate(tmp_path, fitted)
    assert found["coverage"].is_empty()
    assert set(found["metrics"]["model"]) == {"kaplan_meier", "clinical", "clinical_latent"}
    assert set(found["decisions"]["model"]) == {"clinical", "clinical_latent", use.TREAT_ALL}


@pytest.fixture(scope="module")
def rivals(tmp_path_factory):
    """The cohort with deaths of other causes among the censored, told by the config and not."""
    cohort = _cohort()
    cohort["competing"] = (cohort["event"] == 0) & (np.random.default_rng(9).random(N) < 0.6)
    roles = _roles(cohort).filter(pl.col("resample").is_in(["full", "cv-1-1", "cv-1-2"]))
    told = ENDPOINT.model_copy(update={"competing": "cause = 'other'"})
    found = {}
    for name, endpoint in (("told", told), ("not told", ENDPOINT)):
        folder = tmp_path_factory.mktemp("rivals")
        settings = {
            "endpoint": endpoint,
            "prognosis": PrognosisConfig(models=("clinical_latent", "stacked"), inner_folds=3),
        }
        fitted = {r: _fit(folder, cohort, roles, r, **settings) for r in ("full", "cv-1-1", "cv-1-2")}
        found[name] = fitted, _evaluate(folder, list(fitted.values()), **settings)
    return found


def test_deaths_of_other_causes_make_absolute_risks(rivals):
    found = rivals
    curves = {name: pl.read_parquet(fitted["cv-1-1"]["curves"]) for name, (fitted, _) in found.items()}
    assert (
        (curves["told"]["survival"] >= curves["not told"]["survival"] - 1e-12)
        .filter(curves["told"]["model"] != "stacked")
        .all()
    )
    fitted, results = found["told"]
    null = curves["told"].filter((pl.col("model") == "kaplan_meier") & (pl.col("time_months") == 60.0))["survival"]
    roles = pl.read_parquet(fitted["cv-1-1"]["resamples"]).filter(pl.col("resample") == "cv-1-1")
    outcome = roles.join(pl.read_parquet(fitted["cv-1-1"]["outcome"]), on="patient_id").filter(
        pl.col("role") == "train"
    )
    cause = (outcome["event"] + 2 * outcome["competing"]).to_numpy()
    exact = aalen_johansen(outcome["time_months"].to_numpy(), cause).at(60.0)[0, 0, 0]
    np.testing.assert_allclose(1.0 - null.to_numpy(), exact, atol=1e-12)
    models = pl.read_parquet(fitted["cv-1-1"]["models"])
    notes = dict(models.select("model", "note").iter_rows())
    assert "Aalen-Johansen" in notes["kaplan_meier"]
    assert "other causes of failure" in notes["clinical"]
    assert pl.read_parquet(fitted["cv-1-1"]["bounds"]).is_empty()
    assert not pl.read_parquet(found["not told"][0]["cv-1-1"]["bounds"]).is_empty()
    assert results["coverage"].is_empty()


def test_metrics_know_of_deaths_of_other_causes_and_say_so(rivals):
    found = rivals
    fitted, results = found["told"]
    metrics = results["metrics"].filter((pl.col("design") == "cross-validation") & pl.col("versus").is_null())
    said = {
        "uno_c": "Wolbers et al. 2014",
        "auc": "controls have not failed of the event by then, failures of other causes among them",
        "brier": "Schoop et al. 2011",
        "ipa": "the training Aalen-Johansen curve",
        "calibration_slope": "Fine-Gray regression",
        "observed_expected": "Aalen-Johansen cumulative incidence over mean predicted risk",
    }
    for metric, text in said.items():
        own = metrics.filter(pl.col("metric") == metric)["method"]
        assert own.str.contains(text, literal=True).all()
        other = found["not told"][1]["metrics"].filter(pl.col("metric") == metric)["method"]
        assert not other.str.contains(text, literal=True).any()
    assert results["decisions"]["method"].str.contains("Aalen-Johansen").all()
    curves = pl.concat([pl.read_parquet(fitted[r]["curves"]) for r in ("cv-1-1", "cv-1-2")])
    at = curves.filter((pl.col("model") == "clinical") & (pl.col("time_months") == 60.0))
    table = pl.read_parquet(fitted["full"]["outcome"]).join(at, on="patient_id").sort("patient_id")
    sample = Sample.make(
        table["time_months"].to_numpy(), table["event"].to_numpy() == 1, competing=table["competing"].to_numpy() == 1
    )
    survival = table["survival"].to_numpy()
    clinical = metrics.filter((pl.col("model") == "clinical") & (pl.col("horizon_months") == 60.0))
    estimate = dict(clinical.select("metric", "estimate").iter_rows())
    assert estimate["brier"] == pytest.approx(brier(sample, survival[:, None], np.array([60.0]))[0, 0], abs=1e-12)
    assert estimate["observed_expected"] == pytest.approx(observed_expected(sample, survival, 60.0)[0], abs=1e-12)
    groups = results["calibration"].filter((pl.col("model") == "clinical") & (pl.col("horizon_months") == 60.0))
    mean = (groups["observed"] * groups["n"]).sum() / groups["n"].sum()
    assert abs(mean - sample.risk_at(60.0)[0]) < 0.02
    wrong = Sample.make(sample.time, sample.event)
    assert wrong.risk_at(60.0)[0] - sample.risk_at(60.0)[0] > 0.05
