"""Fit the survival models of one resample and predict its held-out patients."""

import logging
from dataclasses import replace

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.config import DataConfig, EndpointConfig, PrognosisConfig
from stratiome.features.block import FeatureSet, read_features
from stratiome.latent.model import load_models
from stratiome.latent.space import LatentSpace
from stratiome.prognosis.bounds import Bounds, learn_bounds
from stratiome.prognosis.models import Fit, Inputs, Omic, fit_models
from stratiome.prognosis.permute import Latents, Permuted, permute
from stratiome.prognosis.read import read_inputs, read_roles
from stratiome.prognosis.stored import save_prognosis
from stratiome.survival.outcome import time_grid

logger = logging.getLogger("stratiome.prognosis")


def main(
    *,
    clinical: str,
    outcome: str,
    resamples: str,
    features: str,
    latents: str,
    curves: str,
    risks: str,
    coefficients: str,
    models: str,
    bounds: str,
    censoring: str,
    weights: str,
    description: str,
    permuted: str,
    stored: str,
    stored_description: str,
    data: DataConfig,
    endpoint: EndpointConfig,
    covariates: tuple[str, ...],
    prognosis: PrognosisConfig,
    seed: int,
    resample: str,
    explained: bool = True,
) -> None:
    """Read what the stages above wrote, fit, and write the tables."""
    measured = read_features(features)
    roles = read_roles(resamples, resample, measured.patient_ids)
    omics = tuple(Omic(b.name, b.values, b.features) for b in measured.blocks)
    read = read_inputs(
        measured.patient_ids,
        omics,
        roles,
        clinical,
        outcome,
        latents,
        data,
        covariates,
        competing=endpoint.competing is not None,
    )
    inputs, design = read.inputs, read.design
    grid = time_grid(endpoint)
    test = roles == "test"
    exchanged = permute(
        inputs,
        np.flatnonzero(test & (inputs.time > 0)),
        _latents_of(measured, weights, description, factors=inputs.factors is not None),
        draws=prognosis.permutations if explained else 0,
        rng=np.random.default_rng([seed, 2]),
    )
    every = fit_models(exchanged.inputs, grid, prognosis, tau=endpoint.tau_months, rng=np.random.default_rng(seed))
    fits = tuple(replace(f, risk=f.risk[: len(roles)], survival=f.survival[: len(roles)]) for f in every)
    if remarks := design.remarks:
        fits = tuple(replace(f, note=f"{f.note}; {remarks}") if f.model == "clinical" else f for f in fits)
    for fit in fits:
        logger.info("%s: %s", fit.model, fit.note)
    lower, uncensored = learn_bounds(
        inputs,
        fits,
        grid,
        share=prognosis.bound,
        folds=prognosis.inner_folds,
        rng=np.random.default_rng([seed, 1]),
    )
    for bound in lower:
        logger.info("lower bounds of %s: %s", bound.model, bound.note)
    save_prognosis(fits, lower, design, omics, grid, stored, stored_description)
    horizon = int(np.argmin(np.abs(grid - endpoint.horizons_months[-1])))
    ids = np.asarray(measured.patient_ids, dtype=object)[test]
    tables.write_table(_curves(fits, ids, test, resample, grid), curves, tables.PrognosisCurves)
    tables.write_table(_risks(fits, ids, test, resample, horizon), risks, tables.PrognosisRisks)
    tables.write_table(_coefficients(fits, resample, design.references), coefficients, tables.PrognosisCoefficients)
    tables.write_table(_models(fits, inputs, resample), models, tables.PrognosisModels)
    tables.write_table(_bounds(lower, ids, test, resample), bounds, tables.PrognosisBounds)
    tables.write_table(_censoring(uncensored[test], ids, resample, grid), censoring, tables.PrognosisCensoring)
    at = int(np.searchsorted(grid, endpoint.horizons_months[-1]))
    made = _permuted(every, exchanged, measured.patient_ids, resample, at)
    tables.write_table(made, permuted, tables.PrognosisPermuted)


def _latents_of(measured: FeatureSet, weights: str, description: str, *, factors: bool) -> Latents:
    """Latents, and MOFA+ factors if they are there, of patients some of whose omics are those of others."""
    models: dict[str, LatentSpace] = {}

    def latents(rows: np.ndarray, others: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray | None]:
        if not models:
            models.update(load_models(weights, description))
        own = measured.take(rows)
        blocks = tuple(w.take(others.get(w.name, rows)) for w in measured.blocks)
        exchanged = FeatureSet(own.patient_ids, own.roles, blocks)
        return models["vae"].transform(exchanged), models["mofa"].transform(exchanged) if factors else None

    return latents


def _permuted(
    fits: tuple[Fit, ...], exchanged: Permuted, patients: tuple[str, ...], resample: str, horizon: int
) -> pl.DataFrame:
    """Risk and survival at a horizon of the copies of held-out patients."""
    n = len(exchanged.patient)
    ids = [patients[i] for i in exchanged.patient]
    parts = [
        pl.DataFrame(
            {
                "patient_id": pl.Series(ids, dtype=pl.String),
                "resample": pl.Series([resample] * n, dtype=pl.String),
                "model": pl.Series([fit.model] * n, dtype=pl.String),
                "block": pl.Series(exchanged.block.tolist(), dtype=pl.String),
                "draw": exchanged.draw.astype(np.int64),
                "risk": fit.risk[len(patients) :],
                "survival": fit.survival[len(patients) :, horizon],
            }
        )
        for fit in fits
        if fit.model != "kaplan_meier" and fit.stand_in is None
    ]
    return pl.concat(parts) if parts else tables.from_rows([], tables.PrognosisPermuted)


def _curves(fits: tuple[Fit, ...], ids: np.ndarray, test: np.ndarray, resample: str, grid: np.ndarray) -> pl.DataFrame:
    parts = [
        pl.DataFrame(
            {
                "patient_id": pl.Series(np.repeat(ids, len(grid)), dtype=pl.String),
                "resample": pl.Series([resample], dtype=pl.String).new_from_index(0, len(ids) * len(grid)),
                "model": pl.Series([fit.model], dtype=pl.String).new_from_index(0, len(ids) * len(grid)),
                "time_months": np.tile(grid, len(ids)),
                "survival": fit.survival[test].ravel(),
            }
        )
        for fit in fits
    ]
    return pl.concat(parts)


def _risks(fits: tuple[Fit, ...], ids: np.ndarray, test: np.ndarray, resample: str, horizon: int) -> pl.DataFrame:
    rows = [
        {
            "patient_id": str(p),
            "resample": resample,
            "model": fit.model,
            "risk": float(fit.risk[i]),
            "spread": None if fit.spread is None else float(fit.spread[i, horizon]),
        }
        for fit in fits
        for p, i in zip(ids, np.flatnonzero(test), strict=True)
    ]
    return tables.from_rows(rows, tables.PrognosisRisks)


def _bounds(bounds: tuple[Bounds, ...], ids: np.ndarray, test: np.ndarray, resample: str) -> pl.DataFrame:
    rows = [
        {"patient_id": str(p), "resample": resample, "model": b.model, "lower_months": float(v)}
        for b in bounds
        for p, v in zip(ids, b.lower[test], strict=True)
    ]
    return tables.from_rows(rows, tables.PrognosisBounds)


def _censoring(uncensored: np.ndarray, ids: np.ndarray, resample: str, grid: np.ndarray) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "patient_id": pl.Series(np.repeat(ids, len(grid)), dtype=pl.String),
            "resample": pl.Series([resample], dtype=pl.String).new_from_index(0, len(ids) * len(grid)),
            "time_months": np.tile(grid, len(ids)),
            "uncensored": uncensored.ravel(),
        }
    )


def _coefficients(fits: tuple[Fit, ...], resample: str, references: dict[str, str]) -> pl.DataFrame:
    rows = [
        {
            "resample": resample,
            "model": fit.model,
            "feature": c.feature,
            "coefficient": c.value,
            "lower": c.lower,
            "upper": c.upper,
            "reference": references.get(c.feature),
        }
        for fit in fits
        for c in fit.coefficients
    ]
    return tables.from_rows(rows, tables.PrognosisCoefficients)


def _models(fits: tuple[Fit, ...], inputs: Inputs, resample: str) -> pl.DataFrame:
    n, events = int(inputs.train.sum()), int(inputs.event[inputs.train].sum())
    rows = [
        {
            "resample": resample,
            "model": f.model,
            "n": n,
            "events": events,
            "parameters": f.parameters,
            "note": f.note,
            "stand_in": f.stand_in,
        }
        for f in fits
    ]
    return tables.from_rows(rows, tables.PrognosisModels)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
