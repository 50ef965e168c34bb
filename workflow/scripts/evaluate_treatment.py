"""Estimate the effect of each treatment, in all eligible patients and in held-out subgroups."""

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.config import DataConfig, EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.resample.names import SITE, first_design
from stratiome.treatment.averages import Settings
from stratiome.treatment.evaluate import evaluate_treatments
from stratiome.treatment.truth import TrueEffects

MODEL = "vae"


def main(
    *,
    clinical: str,
    outcome: str,
    resamples: str,
    assignment: str,
    latents: str,
    controls: str,
    scores: list[str],
    policies: list[str],
    predictions: list[str],
    trial: str,
    flow: str,
    balance: str,
    overlap: str,
    curves: str,
    effects: str,
    averages: str,
    differences: str,
    difference_tests: str,
    policy: str,
    profiles: str,
    profile_effects: str,
    learners: str,
    targeting: str,
    sensitivity: str,
    robustness: str,
    interaction: str,
    sites: str,
    site_summary: str,
    treatments: dict[str, TreatmentConfig],
    data: DataConfig,
    endpoint: EndpointConfig,
    evaluation: EvaluationConfig,
    seed: int,
    covariates: tuple[str, ...] = (),
    truth: list[str] | None = None,
) -> None:
    """Read cohort, labels and, for a simulated cohort, the truth; write the tables."""
    split = tables.read_table(resamples, tables.Resamples)
    roles = split.filter(pl.col("resample") == "full")
    first = first_design(split["resample"].unique(maintain_order=True).to_list(), tables.DESIGNS)
    contributions = pl.concat([tables.read_table(p, tables.TreatmentScores) for p in scores])
    decisions = pl.concat([tables.read_table(p, tables.TreatmentPolicies) for p in policies])
    predicted = pl.concat([tables.read_table(p, tables.TreatmentPredictions) for p in predictions])
    labels = tables.read_table(assignment, tables.SubgroupAssignment).filter(pl.col("model") == MODEL)
    known = pl.concat([labels["subgroup"], labels["full_subgroup"]]).unique().sort()
    # The truth of a simulated cohort is of survival, which is not what is compared where other causes compete.
    known_truth = truth if endpoint.competing is None else None
    planted = TrueEffects.of(tables.read_table(known_truth[0], tables.Truth)) if known_truth else None
    found = evaluate_treatments(
        pl.read_parquet(clinical),
        tables.read_table(outcome, tables.Outcome),
        dict(zip(labels["patient_id"], labels["subgroup"], strict=True)),
        tuple(int(k) for k in known if k > 0),
        treatments,
        Settings(endpoint, evaluation, data.types, seed, planted),
        frozenset(roles.filter(pl.col("role") == "out")["patient_id"]),
        contributions.filter(pl.col("resample").is_in(first)),
        covariates,
        _dimensions(latents),
        tables.read_table(controls, tables.NegativeControls),
        decisions.filter(pl.col("resample").is_in(first)),
        predictions=predicted.filter(pl.col("resample").is_in(first)),
        sites=_sites(split),
    )
    for rows, path, model in (
        (found.trial, trial, tables.TreatmentTrial),
        (found.flow, flow, tables.PatientFlow),
        (found.balance, balance, tables.TreatmentBalance),
        (found.overlap, overlap, tables.TreatmentOverlap),
        (found.curves, curves, tables.TreatmentCurves),
        (found.effects, effects, tables.TreatmentEffects),
        (found.averages, averages, tables.TreatmentAverages),
        (found.differences, differences, tables.TreatmentDifferences),
        (found.difference_tests, difference_tests, tables.TreatmentDifferenceTests),
        (found.policy, policy, tables.TreatmentPolicy),
        (found.profiles, profiles, tables.TreatmentProfiles),
        (found.profile_effects, profile_effects, tables.TreatmentProfileEffects),
        (found.learners, learners, tables.TreatmentLearners),
        (found.targeting, targeting, tables.TreatmentTargeting),
        (found.sensitivity, sensitivity, tables.TreatmentSensitivity),
        (found.robustness, robustness, tables.TreatmentRobustness),
        (found.interaction, interaction, tables.TreatmentInteraction),
        (found.sites, sites, tables.TreatmentSites),
        (found.site_summary, site_summary, tables.TreatmentSiteSummary),
    ):
        tables.write_table(tables.from_rows(rows, model), path, model)


def _sites(split: pl.DataFrame) -> dict[str, str]:
    """Patient -> resample that holds out the patient's site."""
    rows = split.filter(pl.col("resample").str.starts_with(SITE), pl.col("role") == "test")
    return dict(rows.select("patient_id", "resample").iter_rows())


def _dimensions(path: str) -> pl.DataFrame:
    """What the latent model of all training patients says of each patient."""
    import anndata

    space = anndata.read_h5ad(path)
    values = np.asarray(space.obsm[MODEL], dtype=np.float64)
    table = pl.DataFrame(values, schema=[f"latent_{k + 1}" for k in range(values.shape[1])])
    return table.insert_column(0, pl.Series("patient_id", space.obs_names.to_list(), dtype=pl.String))


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
