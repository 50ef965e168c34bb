"""Fit propensities and survival under each arm of one resample on its training patients."""

import polars as pl

from stratiome import tables
from stratiome.config import DataConfig, EndpointConfig, TreatmentConfig
from stratiome.survival.outcome import time_grid
from stratiome.treatment.effect import Question
from stratiome.treatment.fit import fit_treatment
from stratiome.treatment.policy_rows import fit_policies

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
    treatments: dict[str, TreatmentConfig],
    data: DataConfig,
    endpoint: EndpointConfig,
    resample: str,
    seed: int,
    covariates: tuple[str, ...] = (),
) -> None:
    """Read what the stages above wrote, fit, and write the tables."""
    roles = tables.read_table(resamples, tables.Resamples).filter(pl.col("resample") == resample)
    labels = tables.read_table(assignment, tables.Subgroups).filter(pl.col("model") == MODEL)
    given = (
        pl.read_parquet(clinical),
        tables.read_table(outcome, tables.Outcome),
        dict(zip(roles["patient_id"], roles["role"], strict=True)),
        dict(zip(labels["patient_id"], labels["subgroup"], strict=True)),
        treatments,
        data.types,
        Question(endpoint.horizons_months, endpoint.tau_months, time_grid(endpoint)),
    )
    propensities, survival, contributions = fit_treatment(*given)
    decisions, trees = fit_policies(*given, covariates, seed)
    for rows, path, model in (
        (propensities, propensity, tables.Propensity),
        (survival, curves, tables.CounterfactualCurves),
        (contributions, scores, tables.TreatmentScores),
        (decisions, policies, tables.TreatmentPolicies),
        (trees, policy_trees, tables.TreatmentPolicyTrees),
    ):
        tables.write_table(tables.from_rows([{"resample": resample, **row} for row in rows], model), path, model)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
