"""Gene-set scores of a GMT file that the user gives: a patient's score is the mean of the standardised genes of a set.

`score_i = (1 / |G_i|) sum_{g in G_i} z_ig`, with `z` the features as models see them (scaled, sites adjusted,
standardised on the training patients) but without a limit on their number, and `G_i` the genes of the set that are
measured in patient i. No gene is weighted, nothing is learned of outcomes or subgroups.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from stratiome.subgroups.effects import standardised_difference
from stratiome.subgroups.gmt import GeneSet
from stratiome.tables import GeneSetCoverage, SubgroupGeneSets, from_rows

if TYPE_CHECKING:
    from stratiome.cohort.store import StoredOmic
    from stratiome.config import FeatureConfig

logger = logging.getLogger(__name__)

LEAST_MEASURED = 0.5
"""Share of the scored genes that a patient must have measured for a score."""


def gene_set_tables(
    sets: Sequence[GeneSet],
    omics: Sequence[StoredOmic],
    full: pl.DataFrame,
    site: dict[str, str] | None,
    settings: FeatureConfig,
    min_genes: int,
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Scores of the subgroups of `full`, and which sets could be scored.

    Parameters
    ----------
    sets
        Gene sets.
    omics
        Those of the cohort; 0/1 omics are not scored.
    full
        Contract `Subgroups`, of `full`; training patients teach the standardisation and are compared.
    site
        Patient -> site where site differences are removed, else None.
    settings
        How features are made.
    min_genes
        Shared genes below which a set is not scored.

    Returns
    -------
    tuple of polars.DataFrame
        Contracts `SubgroupGeneSets` and `GeneSetCoverage`.
    """
    rows: list[dict[str, Any]] = []
    coverage: list[dict[str, Any]] = []
    for omic in omics:
        scored = _standardised(omic, sets, full, site, settings)
        if scored is None:
            continue
        patients, genes, values = scored
        column = {g: j for j, g in enumerate(genes)}
        for gene_set in sets:
            shared = [column[g] for g in gene_set.genes if g in column]
            enough = len(shared) >= min_genes
            note = "" if enough else f"fewer than {min_genes} genes measured"
            coverage.append(
                {
                    "omic": omic.name,
                    "gene_set": gene_set.name,
                    "source": gene_set.source,
                    "n_genes": len(gene_set.genes),
                    "n_shared": len(shared),
                    "scored": enough,
                    "note": note,
                }
            )
            if enough:
                key = {"omic": omic.name, "gene_set": gene_set.name, "n_genes": len(shared)}
                rows += [key | row for row in _compare(score(values[:, shared]), patients, full)]
        logger.info("%s: %d of %d gene sets scored", omic.name, sum(c["scored"] for c in coverage), len(sets))
    return from_rows(rows, SubgroupGeneSets), from_rows(coverage, GeneSetCoverage)


def score(values: np.ndarray) -> np.ndarray:
    """Mean of the measured genes of a set, shape `(n_patients,)`; NaN where fewer than half are measured.

    Parameters
    ----------
    values
        Shape `(n_patients, n_genes)`, standardised, NaN where missing.
    """
    seen = np.isfinite(values)
    n = seen.sum(axis=1)
    total = np.where(seen, values, 0.0).sum(axis=1, dtype=np.float64)
    return np.where(n >= LEAST_MEASURED * values.shape[1], total / np.maximum(n, 1), np.nan)


def _standardised(
    omic: StoredOmic,
    sets: Sequence[GeneSet],
    full: pl.DataFrame,
    site: dict[str, str] | None,
    settings: FeatureConfig,
) -> tuple[list[str], tuple[str, ...], np.ndarray] | None:
    """Training patients, genes and standardised values of the genes of any set; None where nothing can be scored."""
    from stratiome import omics as kinds
    from stratiome.features.build import fit_transform

    kind = kinds.get(omic.kind, omic.unit)
    asked = {g for s in sets for g in s.genes}
    wanted = np.array([j for j, f in enumerate(omic.features) if f in asked], dtype=np.int64)
    if not kind.continuous or not len(wanted):
        return None
    trained = set(full.filter(pl.col("role") == "train")["patient_id"].to_list())
    here = np.array([p in trained for p in omic.patient_ids])
    values = np.concatenate([kind.scale(read)[here[part]][:, wanted] for part, read in omic.rows()])
    patients = [p for p, kept in zip(omic.patient_ids, here, strict=True) if kept]
    at = None if site is None else np.array([site.get(p, "") for p in patients], dtype=str)
    every = settings.model_copy(update={"max_features": max(len(wanted), 2)})
    transform = fit_transform(values, np.ones(len(patients), dtype=bool), every, continuous=True, site=at)
    return patients, tuple(omic.features[j] for j in wanted[transform.keep]), transform.apply(values, at)


def _compare(scores: np.ndarray, patients: list[str], full: pl.DataFrame) -> list[dict[str, Any]]:
    rows = []
    for model in full["model"].unique(maintain_order=True).to_list():
        own = full.filter((pl.col("model") == model) & (pl.col("role") == "train"))
        of = dict(own.select("patient_id", "subgroup").iter_rows())
        label = np.array([of.get(p, 0) for p in patients])
        for subgroup in sorted(set(label[label > 0].tolist())):
            inside, outside = scores[label == subgroup], scores[(label > 0) & (label != subgroup)]
            known = inside[np.isfinite(inside)]
            effect = float(standardised_difference(inside[:, None], outside[:, None])[0])
            rows.append(
                {
                    "model": model,
                    "subgroup": subgroup,
                    "n": len(known),
                    "mean": float(known.mean()) if len(known) else None,
                    "effect": effect if np.isfinite(effect) else None,
                }
            )
    return rows
