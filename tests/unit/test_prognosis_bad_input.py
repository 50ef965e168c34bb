"""Awkward cohorts through fitting and evaluation: each ends in a reason or a sound result, never in NaN."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from stratiome import tables
from stratiome.config import PrognosisConfig
from stratiome.prognosis import deep
from stratiome.prognosis.models import MODELS
from test_prognosis_scripts import ENDPOINT, N, _cohort, _evaluate, _fit, _roles

PROGNOSIS = PrognosisConfig(trees=10, inner_folds=3, deep_min_events=2)
FOLDS = ("cv-1-1", "cv-1-2")


@pytest.fixture(scope="module", autouse=True)
def few_epochs():
    """The deep model is trained for a few epochs, for time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deep, "EPOCHS", 10)
        yield


def _run(folder: Path, cohort: dict, **changes) -> tuple[dict[str, pl.DataFrame], pl.DataFrame]:
    """Evaluation tables, and notes of the fits."""
    roles = _roles(cohort)
    roles = roles.filter(pl.col("resample").is_in(FOLDS))
    settings = {"prognosis": PROGNOSIS} | changes
    fitted = [_fit(folder, cohort, roles, r, **settings) for r in FOLDS]
    for paths in fitted:
        for name in ("curves", "risks", "coefficients", "models", "bounds", "censoring", "permuted"):
            _no_gap(pl.read_parquet(paths[name]))
    settings.pop("covariates", None)
    found = _evaluate(folder, fitted, **settings)
    for name, table in found.items():
        _no_gap(table)
        if "method" in table.columns:
            unknown = table.filter(pl.col("estimate").is_null())
            assert unknown["method"].str.starts_with("not estimable: ").all(), name
            assert table.filter(pl.col("estimate").is_null() & pl.col("lower").is_not_null()).is_empty()
    return found, pl.concat([tables.read_table(p["models"], tables.PrognosisModels) for p in fitted])


def _no_gap(table: pl.DataFrame) -> None:
    for column in table.select(pl.selectors.float()):
        assert column.drop_nulls().is_finite().all(), column.name


def _estimates(found: dict[str, pl.DataFrame], model: str, metric: str) -> pl.DataFrame:
    rows = found["metrics"].filter(pl.col("model") == model, pl.col("metric") == metric, pl.col("versus").is_null())
    assert rows.height
    return rows


def test_all_censored(tmp_path):
    cohort = _cohort() | {"event": np.zeros(N, dtype=np.int64)}
    found, models = _run(tmp_path, cohort)
    assert found["metrics"]["estimate"].null_count() == found["metrics"].height
    fitted = models.filter(pl.col("model") != "kaplan_meier")
    assert fitted["note"].str.contains("fewer than 20 training events").all()


def test_all_events(tmp_path):
    cohort = _cohort() | {"event": np.ones(N, dtype=np.int64)}
    found, models = _run(tmp_path, cohort)
    assert models["stand_in"].null_count() == models.height
    assert _estimates(found, "clinical", "uno_c")["estimate"][0] > 0.6
    assert _estimates(found, "stacked", "ibs")["estimate"].null_count() == 0


def test_one_event_per_fold(tmp_path):
    cohort = _cohort()
    roles = _roles(cohort)
    event = np.zeros(N, dtype=np.int64)
    for fold in FOLDS:
        test = roles.filter((pl.col("resample") == fold) & (pl.col("role") == "test"))["patient_id"].to_list()
        event[next(i for i, p in enumerate(cohort["ids"]) if p in test and i % 29)] = 1
    found, models = _run(tmp_path, cohort | {"event": event}, prognosis=PROGNOSIS.model_copy(update={"min_events": 1}))
    assert found["metrics"]["estimate"].null_count() == found["metrics"].height
    assert "fewer than 10 patients or 5 events" in found["metrics"]["method"][0]
    assert (models["note"].str.len_chars() > 0).all()


def test_a_constant_covariate(tmp_path):
    cohort = _cohort() | {"age": np.full(N, 60.0)}
    found, models = _run(tmp_path, cohort)
    notes = models.filter(pl.col("model") == "clinical")["note"]
    assert notes.str.contains("age").all()  # the column that was left out is named
    assert _estimates(found, "clinical", "uno_c")["estimate"].null_count() == 0


def test_only_constant_covariates(tmp_path):
    cohort = _cohort() | {"age": np.full(N, 60.0)}
    found, models = _run(tmp_path, cohort, covariates=("age",))
    notes = models.filter(pl.col("model") == "clinical")["note"]
    assert notes.str.contains("no covariates vary in training").all()
    assert _estimates(found, "clinical_omics", "uno_c")["estimate"][0] > 0.5


def test_perfect_separation(tmp_path):
    cohort = _cohort()
    cohort |= {"er": np.where(cohort["event"] == 1, "neg", "pos").astype(object)}
    found, models = _run(tmp_path, cohort)
    notes = models.filter(pl.col("model") == "clinical")["note"]
    assert notes.str.contains("ridge").all()
    assert 0.5 < _estimates(found, "clinical", "uno_c")["estimate"][0] <= 1.0


def test_tau_beyond_follow_up(tmp_path):
    endpoint = ENDPOINT.model_copy(update={"horizons": (30.0, 2000.0)})
    found, _ = _run(tmp_path, _cohort(), endpoint=endpoint)
    late = found["metrics"].filter(pl.col("horizon_months") == 2000.0, pl.col("metric") == "brier")
    assert late["estimate"].null_count() == late.height
    assert late["method"].str.contains("no held-out patient is followed to 2000 months").all()
    early = found["metrics"].filter(pl.col("horizon_months") == 30.0, pl.col("metric") == "brier")
    assert early["estimate"].null_count() == 0


def test_twenty_thousand_columns_for_ninety_two_patients(shared_data):
    """The outcome and covariates of a small real cohort beside columns that say nothing."""
    from stratiome.prognosis.models import Inputs, Omic, fit_models

    path = shared_data / "tcga_acc_mini" / "clinical.tsv"
    clinical = pl.read_csv(path, separator="\t", infer_schema_length=None)
    clinical = clinical.filter(pl.col("os_time_months").is_not_null() & (pl.col("os_time_months") > 0))
    n = clinical.height
    rng = np.random.default_rng(1)
    age = clinical["age"].fill_null(clinical["age"].mean()).to_numpy().astype(float)
    noise = rng.normal(size=(n, 20_000)).astype(np.float32)
    inputs = Inputs(
        train=np.arange(n) % 4 > 0,
        time=clinical["os_time_months"].to_numpy().astype(float),
        event=clinical["os_event"].to_numpy() == 1,
        clinical=(age - age.mean())[:, None] / age.std(),
        clinical_names=("age",),
        omics=(Omic("wide", noise, tuple(f"g{j}" for j in range(20_000))),),
        latents=noise[:, :16].astype(float),
        n_omics=np.ones(n, dtype=np.int64),
    )
    settings = PROGNOSIS.model_copy(update={"min_events": 10})
    fits = fit_models(inputs, np.linspace(0, 36, 13), settings, tau=36.0, rng=np.random.default_rng(1))
    assert {f.model for f in fits} == set(MODELS) - {"clinical_factors"}
    for fit in fits:
        assert np.isfinite(fit.risk).all()
        assert np.isfinite(fit.survival).all()
        assert fit.note
    few = next(f for f in fits if f.model == "clinical_latent")
    assert "events per coefficient" in few.note or not few.plain
