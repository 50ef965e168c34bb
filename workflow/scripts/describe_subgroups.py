"""Rule describe_subgroups: pictures of the subgroups, and what is altered or active in them."""

from pathlib import Path

import numpy as np
import polars as pl

from stratiome.cohort.store import read_stored
from stratiome.config import FeatureConfig, SubgroupConfig
from stratiome.subgroups.alterations import alterations_table
from stratiome.subgroups.gene_sets import gene_set_tables
from stratiome.subgroups.gmt import read_gmt
from stratiome.subgroups.picture import consensus_table, map_table
from stratiome.tables import (
    GeneSetCoverage,
    LatentMap,
    Resamples,
    SubgroupAlterations,
    SubgroupConsensus,
    SubgroupGeneSets,
    Subgroups,
    Truth,
    read_table,
    write_table,
)


def main(
    *,
    cohort_file: str,
    clinical: str,
    resamples: str,
    latents: str,
    assignments: list[str],
    map: str,
    consensus: str,
    alterations: str,
    scores: str,
    coverage: str,
    subgroups: SubgroupConfig,
    features: FeatureConfig,
    site: str | None,
    seed: int,
    gene_sets: list[str] | None = None,
    truth: list[str] | None = None,
) -> None:
    """Draw and describe the subgroups of `full`, on the patients who defined them: descriptive, no tests."""
    import anndata

    # Locked patients take no part in any of this.
    roles = read_table(resamples, Resamples).filter(pl.col("resample") == "full", pl.col("role") == "train")
    table = pl.read_parquet(clinical).join(roles, on="patient_id", how="semi", maintain_order="left")
    where: dict[str, str] = {}
    if site:
        where = dict(table.select("patient_id", pl.col(site).cast(pl.String)).drop_nulls().iter_rows())
    found = pl.concat([read_table(p, Subgroups) for p in assignments])
    found = found.join(roles, on="patient_id", how="semi", maintain_order="left")
    full = found.filter(pl.col("resample") == "full", pl.col("role") == "train")
    planted = {
        p: s
        for path in truth or []
        for p, s in read_table(path, Truth).select("patient_id", "subgroup").unique().iter_rows()
    }
    _, stored = read_stored(cohort_file)
    sets = [s for path in gene_sets or [] for s in read_gmt(Path(path))]
    adjusted = where if site and features.adjust_site else None
    scored, covered = gene_set_tables(sets, stored, full, adjusted, features, subgroups.min_genes)
    space = anndata.read_h5ad(latents)
    models = full["model"].unique(maintain_order=True).to_list()
    points = {name: np.asarray(space.obsm[name]) for name in models if name in space.obsm}
    for made, path, contract in (
        (map_table(list(space.obs_names), points, full, planted, where, seed), map, LatentMap),
        (consensus_table(found, seed), consensus, SubgroupConsensus),
        (alterations_table(stored, full), alterations, SubgroupAlterations),
        (scored, scores, SubgroupGeneSets),
        (covered, coverage, GeneSetCoverage),
    ):
        write_table(made, path, contract)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
