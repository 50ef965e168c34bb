"""Rule save_bundle: the models of all patients as a folder to give away."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.bundle.claims import claims_table
from stratiome.bundle.save import FACTORS, MODEL, About, save_bundle
from stratiome.bundle.scored import read_held_out
from stratiome.cohort.store import read_stored
from stratiome.config import (
    AuditConfig,
    BundleConfig,
    DataConfig,
    EndpointConfig,
    EvaluationConfig,
    FeatureConfig,
    SubgroupConfig,
    TreatmentConfig,
)
from stratiome.features.block import read_features

logger = logging.getLogger("stratiome.save_bundle")


def main(
    *,
    cohort_file: str,
    clinical: str,
    outcome: str,
    features: str,
    transforms: str,
    latents: str,
    weights: str,
    description: str,
    mixture: str,
    information: str,
    assignment: str,
    models: str,
    models_description: str,
    held_out: list[str],
    held_out_models: list[str],
    curves: list[str],
    survival: str,
    effects: list[str],
    card: str,
    cohort: str,
    title: str | None,
    bundle: BundleConfig,
    endpoint: EndpointConfig,
    covariates: tuple[str, ...],
    data: DataConfig,
    site: str | None,
    # `features` is the file here; the section of the config comes as `made`.
    made: dict[str, Any],
    subgroups: SubgroupConfig,
    audit: AuditConfig,
    treatments: dict[str, TreatmentConfig],
    evaluation: EvaluationConfig,
) -> None:
    """Collect what the stages wrote."""
    import anndata

    parts = {
        "transforms": transforms,
        "weights": weights,
        "description": description,
        "mixture": mixture,
        "information": information,
        "assignment": assignment,
        "models": models,
        "models_description": models_description,
        "curves": curves[0] if curves else "",
    }
    about = About(
        cohort, title, bundle, endpoint, covariates, data, site, FeatureConfig.model_validate(made), subgroups, audit
    )
    measured = read_features(features)
    read = anndata.read_h5ad(latents).obsm
    places = {name: np.asarray(read[name], dtype=np.float64) for name in (MODEL, FACTORS) if name in read}
    _, stored = read_stored(cohort_file)
    table = pl.read_parquet(clinical)
    known = tables.read_table(outcome, tables.Outcome)
    others = read_held_out(held_out, held_out_models)
    claims = claims_table(
        pl.concat([tables.from_rows([], tables.TreatmentEffects)] + [_read(p) for p in effects]),
        tables.read_table(survival, tables.SubgroupSurvival),
        treatments,
        endpoint.horizons_months[-1],
        evaluation.level,
        audit.min_cell,
    )
    saved = save_bundle(Path(card).parent, about, measured, places, stored, table, known, others, parts, claims)
    logger.info("bundle %s: %d files", saved.digest[:16], len(saved.card.files))


def _read(path: str) -> pl.DataFrame:
    return tables.read_table(path, tables.TreatmentEffects)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
