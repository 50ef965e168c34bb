"""Fit propensities, survival under each arm and effects of one resample on its training patients."""

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.config import DataConfig, EndpointConfig, TreatmentConfig
from stratiome.survival.outcome import time_grid
from stratiome.treatment.effect import Question
from stratiome.treatment.fit import fit_treatment
from stratiome.treatment.policy_rows import fit_policies
from stratiome.treatment.predict import Modifiers

MODEL = "vae"


def main(
    *,
    clinical: str,
    outcome: str,
    resamples: str,
    assignment: str,
    propensity: str,
    curves: str,
    scores: str,
    policies: str,
    policy_trees: str,
    effects: str,
    treatments: dict[str, TreatmentConfig],
    data: DataConfig,
    endpoint: EndpointConfig,
    resample: str,
    seed: int,
    covariates: tuple[str, ...] = (),
    latents: str | None = None,
    learned: bool = True,
) -> None:
    """Read what the stages above wrote, fit, and write the tables."""
    roles = tables.read_table(resamples, tables.Resamples).filter(pl.col("resample") == resample)
    labels = tables.read_table(assignment, tables.Subgroups).filter(pl.col("model") == MODEL)
    subgroup_of = dict(zip(labels["patient_id"], labels["subgroup"], strict=True))
    given = (
        pl.read_parquet(clinical),
        tables.read_table(outcome, tables.Outcome),
        dict(zip(roles["patient_id"], roles["role"], strict=True)),
        subgroup_of,
        treatments,
        data.types,
        Question(endpoint.horizons_months, endpoint.tau_months, time_grid(endpoint)),
    )
    modifiers = Modifiers(covariates, _latents(latents) if latents else {}, seed, subgroup_of)
    propensities, survival, contributions, predictions = fit_treatment(*given, modifiers if learned else None)
    decisions, trees = fit_policies(*given, covariates, seed)
    for rows, path, model in (
        (propensities, propensity, tables.Propensity),
        (survival, curves, tables.CounterfactualCurves),
        (contributions, scores, tables.TreatmentScores),
        (decisions, policies, tables.TreatmentPolicies),
        (trees, policy_trees, tables.TreatmentPolicyTrees),
        (predictions, effects, tables.TreatmentPredictions),
    ):
        tables.write_table(tables.from_rows([{"resample": resample, **row} for row in rows], model), path, model)


def _latents(path: str) -> dict[str, np.ndarray]:
    """Latents of the model of this resample by patient, each dimension as it is."""
    import anndata

    stored = anndata.read_h5ad(path)
    values = np.asarray(stored.obsm[MODEL], dtype=np.float64)
    return {str(p): v for p, v in zip(stored.obs_names, values, strict=True)}


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
