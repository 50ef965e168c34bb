"""Fit the survival models of one resample and predict its held-out patients."""

import logging
from dataclasses import replace

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.config import DataConfig, EndpointConfig, PrognosisConfig
from stratiome.features.block import FeatureSet, read_features
from stratiome.prognosis.bounds import Bounds, learn_bounds
from stratiome.prognosis.models import Fit, Inputs, Omic, fit_models
from stratiome.survival.design import ClinicalDesign
from stratiome.survival.outcome import check_outcome, time_grid

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
    data: DataConfig,
    endpoint: EndpointConfig,
    covariates: tuple[str, ...],
    prognosis: PrognosisConfig,
    seed: int,
    resample: str,
) -> None:
    """Read what the stages above wrote, fit, and write the four tables."""
    measured = read_features(features)
    roles = _roles(resamples, resample, measured.patient_ids)
    inputs, design = _inputs(measured, roles, clinical, outcome, latents, data, covariates)
    grid = time_grid(endpoint)
    fits = fit_models(inputs, grid, prognosis, tau=endpoint.tau_months, rng=np.random.default_rng(seed))
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
    test = roles == "test"
    ids = np.asarray(measured.patient_ids, dtype=object)[test]
    tables.write_table(_curves(fits, ids, test, resample, grid), curves, tables.PrognosisCurves)
    tables.write_table(_risks(fits, ids, test, resample), risks, tables.PrognosisRisks)
    tables.write_table(_coefficients(fits, resample, design.references), coefficients, tables.PrognosisCoefficients)
    tables.write_table(_models(fits, inputs, resample), models, tables.PrognosisModels)
    tables.write_table(_bounds(lower, ids, test, resample), bounds, tables.PrognosisBounds)
    tables.write_table(_censoring(uncensored[test], ids, resample, grid), censoring, tables.PrognosisCensoring)


def _roles(path: str, resample: str, patients: tuple[str, ...]) -> np.ndarray:
    table = tables.read_table(path, tables.Resamples).filter(pl.col("resample") == resample)
    known = dict(zip(table["patient_id"], table["role"], strict=True))
    return np.array([known.get(p, "out") for p in patients], dtype=str)


def _inputs(
    measured: FeatureSet,
    roles: np.ndarray,
    clinical: str,
    outcome: str,
    latents: str,
    data: DataConfig,
    covariates: tuple[str, ...],
) -> tuple[Inputs, ClinicalDesign]:
    """Inputs of the models, and how the clinical columns became numbers."""
    patients = pl.DataFrame({"patient_id": list(measured.patient_ids)}, schema={"patient_id": pl.String})
    table = patients.join(pl.read_parquet(clinical), on="patient_id", how="left", maintain_order="left")
    times = patients.join(
        tables.read_table(outcome, tables.Outcome), on="patient_id", how="left", maintain_order="left"
    )
    usable = times["time_months"].is_not_null().to_numpy()
    train = usable & (roles == "train")
    time, event = np.zeros(len(roles)), np.zeros(len(roles), dtype=bool)
    known = times.filter(pl.Series(usable))
    time[usable], event[usable] = check_outcome(known["time_months"].to_numpy(), known["event"].to_numpy())
    counts = (int((roles == "train").sum()), int(train.sum()), int(event[train].sum()))
    logger.info("%d training patients, %d with an outcome, %d events", *counts)
    design = ClinicalDesign.fit(table, covariates, data.types, train)
    scores, factors, n_omics = _latents(latents, measured.patient_ids)
    omics = tuple(Omic(b.name, b.values, b.features) for b in measured.blocks)
    made = Inputs(train, time, event, design.transform(table), tuple(design.names), omics, scores, n_omics, factors)
    return made, design


def _latents(path: str, patients: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
    """Latents, MOFA+ factors (None where it did not run), and the number of omics of every patient."""
    import anndata

    stored = anndata.read_h5ad(path)
    row = {str(p): i for i, p in enumerate(stored.obs_names)}
    here = [i for i, p in enumerate(patients) if p in row]
    there = [row[patients[i]] for i in here]

    def of(name: str) -> np.ndarray:
        # A patient without any omic has no latent: kept as missing here, at the training mean in the model.
        values = np.asarray(stored.obsm[name], dtype=np.float64)
        scores = np.full((len(patients), values.shape[1]), np.nan)
        scores[here] = values[there]
        return scores

    n_omics = np.zeros(len(patients), dtype=np.int64)
    n_omics[here] = stored.obs["n_omics"].to_numpy()[there]
    return of("vae"), of("mofa") if "mofa" in stored.obsm else None, n_omics


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


def _risks(fits: tuple[Fit, ...], ids: np.ndarray, test: np.ndarray, resample: str) -> pl.DataFrame:
    rows = [
        {"patient_id": str(p), "resample": resample, "model": fit.model, "risk": float(r)}
        for fit in fits
        for p, r in zip(ids, fit.risk[test], strict=True)
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
