"""Stored survival models: they predict as they did when fitted, one patient as many, and refuse what is torn."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import polars as pl
import pytest

from stratiome.config import PrognosisConfig
from stratiome.prognosis.bounds import learn_bounds
from stratiome.prognosis.models import Inputs, Omic, fit_models
from stratiome.prognosis.predictor import PredictorError, from_state
from stratiome.prognosis.stored import load_prognosis, save_prognosis
from stratiome.survival.design import ClinicalDesign, Term

GRID = np.linspace(0.0, 60.0, 31)
SETTINGS = PrognosisConfig(
    models=("clinical_omics", "clinical_latent", "clinical_factors", "clinical_forest", "forest", "deep", "stacked"),
    trees=20,
    inner_folds=2,
    deep_min_events=10,
)


def _inputs(competing: bool = False, n: int = 240) -> Inputs:
    rng = np.random.default_rng(7)
    clinical = rng.normal(size=(n, 3))
    rna = rng.normal(size=(n, 30))
    rna[rng.random(n) < 0.15] = np.nan
    gene = np.nan_to_num(rna[:, 0])
    failed = rng.exponential(40 * np.exp(-0.7 * clinical[:, 0] - 0.9 * gene))
    censored = rng.exponential(120, n)
    other = rng.exponential(150, n) if competing else np.full(n, np.inf)
    time = np.minimum(np.minimum(failed, other), censored)
    latents = np.column_stack([gene + 0.3 * rng.normal(size=n), rng.normal(size=n)])
    latents[np.isnan(rna[:, 0])] = np.nan
    inputs = Inputs(
        np.arange(n) < 180,
        time,
        (failed <= censored) & (failed <= other),
        clinical,
        ("age", "size", "grade"),
        (Omic("rna", rna, tuple(f"g{j}" for j in range(30))),),
        latents,
        np.isfinite(rna).any(axis=1).astype(np.int64),
        latents[:, :1] * 2 + 1,
    )
    return replace(inputs, competing=other == time) if competing else inputs


@pytest.fixture(scope="module", params=[False, True], ids=["one cause", "competing causes"])
def fitted(request):
    inputs = _inputs(request.param)
    return inputs, fit_models(inputs, GRID, SETTINGS, tau=60.0, rng=np.random.default_rng(1))


def _stored(fits):
    models = {}
    for fit in fits:
        tensors, description = fit.predictor.state()
        models[fit.model] = from_state(tensors, description, models)
    return models


def test_stored_models_predict_as_they_did(fitted):
    inputs, fits = fitted
    models = _stored(fits)
    assert {f.model for f in fits} >= {"kaplan_meier", "clinical", *SETTINGS.models}
    assert not [f.model for f in fits if f.stand_in]
    for fit in fits:
        risk, survival = models[fit.model].predict(inputs, GRID)
        np.testing.assert_array_equal(survival, fit.survival, fit.model)
        np.testing.assert_array_equal(risk, fit.risk, fit.model)


def test_one_patient_alone_has_the_curve_that_it_has_among_others(fitted):
    inputs, fits = fitted
    for fit in fits:
        alone = [fit.predictor.predict(inputs.take(np.array([i])), GRID)[1][0] for i in (0, 100, 239)]
        np.testing.assert_allclose(alone, fit.survival[[0, 100, 239]], atol=1e-6, err_msg=fit.model)


def test_models_do_not_look_at_outcomes(fitted):
    inputs, fits = fitted
    blind = replace(inputs, time=np.zeros_like(inputs.time), event=np.zeros_like(inputs.event), competing=None)
    for fit in fits:
        np.testing.assert_array_equal(fit.predictor.predict(blind, GRID)[1], fit.survival, fit.model)


@pytest.mark.parametrize("change", ["missing array", "shorter array", "unknown kind", "unknown source", "loop"])
def test_torn_models_are_refused(fitted, change):
    inputs, fits = fitted
    if inputs.competing is not None:
        pytest.skip("the same parts, one level down")
    fit = next(f for f in fits if f.model == ("forest" if change == "loop" else "clinical_latent"))
    tensors, description = fit.predictor.state()
    if change == "missing array":
        del tensors["times"]
    elif change == "shorter array":
        tensors["coefficients"] = tensors["coefficients"][:-1]
    elif change == "unknown kind":
        description["kind"] = "magic"
    elif change == "unknown source":
        description["parts"][0]["source"] = "__class__"
    else:
        tensors["left"] = np.zeros_like(tensors["left"])
    with pytest.raises(PredictorError):
        from_state(tensors, description, {})


def test_models_survive_the_disk(fitted, tmp_path):
    inputs, fits = fitted
    design = ClinicalDesign((Term("age", "numeric"), Term("size", "numeric"), Term("grade", "numeric")))
    lower, _ = learn_bounds(inputs, fits, GRID, share=0.9, folds=2, rng=np.random.default_rng(1))
    paths = str(tmp_path / "models.safetensors"), str(tmp_path / "models.json")
    save_prognosis(fits, lower, design, inputs.omics, GRID, *paths)
    table = pl.DataFrame(dict(zip(inputs.clinical_names, inputs.clinical.T, strict=True)))
    stored = load_prognosis(*paths)
    found = stored.predict(table, inputs.omics, inputs.latents, inputs.factors)
    assert list(found) == [f.model for f in fits]
    for fit in fits:
        np.testing.assert_array_equal(found[fit.model].survival, fit.survival, fit.model)
    for bound in lower:
        np.testing.assert_array_equal(found[bound.model].lower, bound.lower)
    other = (replace(inputs.omics[0], features=inputs.omics[0].features[::-1]),)
    with pytest.raises(PredictorError, match="not those of the models"):
        stored.predict(table, other, inputs.latents, inputs.factors)
