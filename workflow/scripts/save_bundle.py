"""Rule save_bundle: the models of all patients as a folder to give away."""

import logging
from pathlib import Path

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.bundle.save import MODEL, save_bundle
from stratiome.cohort.store import read_stored
from stratiome.config import Config
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
    models: str,
    models_description: str,
    curves: list[str],
    card: str,
    analysis: Config,
) -> None:
    """Collect what the stages wrote."""
    import anndata

    parts = {
        "transforms": transforms,
        "weights": weights,
        "description": description,
        "mixture": mixture,
        "information": information,
        "models": models,
        "models_description": models_description,
        "curves": curves[0] if curves else "",
    }
    data = read_features(features)
    places = np.asarray(anndata.read_h5ad(latents).obsm[MODEL], dtype=np.float64)
    _, stored = read_stored(cohort_file)
    table = pl.read_parquet(clinical)
    known = tables.read_table(outcome, tables.Outcome)
    bundle = save_bundle(Path(card).parent, analysis, data, places, stored, table, known, parts)
    logger.info("bundle %s: %d files", bundle.digest[:16], len(bundle.card.files))


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
