"""Rule apply_bundle: the models of a bundle applied to the patients of this cohort."""

import logging
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.bundle.align import align
from stratiome.bundle.counterfactuals import counterfactuals as averages_for
from stratiome.bundle.files import open_bundle
from stratiome.bundle.score import Scores, check_scale, score, summary_rows
from stratiome.bundle.scorer import Scorer
from stratiome.cohort.store import read_stored
from stratiome.config import BundleConfig

logger = logging.getLogger("stratiome.apply_bundle")


def main(
    *,
    card: str,
    cohort_file: str,
    clinical: str,
    names: list[str],
    patients: str,
    memberships: str,
    risks: str,
    curves: str,
    matched: str,
    latents: str,
    counterfactuals: str,
    bundle: BundleConfig,
) -> None:
    """Score some thousands of patients at a time; what is written of them is all that stays."""
    import anndata
    import pandas as pd

    opened = open_bundle(Path(card).parent)
    scorer = Scorer.load(opened)
    logger.info("bundle %s of %s, %d training patients", opened.digest[:16], opened.card.cohort, opened.card.n)
    sources = {omic.name: omic for omic in read_stored(cohort_file)[1]}
    aligned = align(scorer, sources, dict(zip(bundle.features, names, strict=True)), dict(bundle.align))
    check_scale(scorer, sources, aligned)
    for name, match in aligned.items():
        said = f"; not used: {match.reason}" if match.reason else f"; {match.remark}" if match.remark else ""
        logger.info("%s: %d of %d features found%s", name, match.found, match.asked, said)
    used: list[tuple[str, ...]] = []
    ids: list[str] = []
    places: list[np.ndarray] = []
    made = {
        patients: (tables.ScoredPatients, _patients),
        memberships: (tables.ScoredMemberships, _memberships),
        risks: (tables.ScoredRisks, _risks),
        curves: (tables.ScoredCurves, partial(_curves, grid=scorer.prognosis.grid)),
    }
    with ExitStack() as stack:
        write = {path: stack.enter_context(tables.in_pieces(path, contract)) for path, (contract, _) in made.items()}
        for scores in score(scorer, pl.read_parquet(clinical), sources, aligned):
            for path, (_, rows) in made.items():
                write[path](rows(scores))
            used.append(scores.sets)
            ids += scores.patient_ids
            places.append(scores.latents)
    like = averages_for(scorer.curves, tables.read_table(patients, tables.ScoredPatients))
    tables.write_table(like, counterfactuals, tables.ScoredCounterfactuals)
    obs = pd.DataFrame(index=pd.Index(ids, dtype=object))
    anndata.AnnData(obs=obs, obsm={"vae": np.concatenate(places)}).write_h5ad(latents)
    tables.write_table(tables.from_rows(summary_rows(aligned, used), tables.ScoredOmics), matched, tables.ScoredOmics)


def _patients(scores: Scores) -> pl.DataFrame:
    return pl.DataFrame(
        {
            "patient_id": pl.Series(scores.patient_ids, dtype=pl.String),
            "omics": pl.Series(scores.sets, dtype=pl.String),
            "missing": scores.missing,
            "outside": pl.Series(scores.outside).fill_nan(None),
            "covariates_missing": scores.covariates_missing,
            "covariates_outside": pl.Series(scores.covariates_outside).fill_nan(None),
            "unusual": pl.Series(scores.unusual).fill_nan(None),
            "out_of_distribution": scores.out_of_distribution,
            "subgroup": scores.subgroup,
            "probability": np.clip(scores.probabilities.max(axis=1), 0.0, 1.0),
        }
    )


def _memberships(scores: Scores) -> pl.DataFrame:
    k = scores.probabilities.shape[1]
    return pl.DataFrame(
        {
            "patient_id": pl.Series(np.repeat(np.asarray(scores.patient_ids, dtype=object), k), dtype=pl.String),
            "subgroup": np.tile(np.arange(1, k + 1), len(scores.patient_ids)),
            "probability": np.clip(scores.probabilities, 0.0, 1.0).ravel(),
        }
    )


def _risks(scores: Scores) -> pl.DataFrame:
    n = len(scores.patient_ids)
    return pl.concat(
        [
            pl.DataFrame(
                {
                    "patient_id": pl.Series(scores.patient_ids, dtype=pl.String),
                    "model": pl.Series([model], dtype=pl.String).new_from_index(0, n),
                    "risk": made.risk,
                    "lower_months": pl.Series([None] * n if made.lower is None else made.lower, dtype=pl.Float64),
                }
            )
            for model, made in scores.predictions.items()
        ]
    )


def _curves(scores: Scores, grid: np.ndarray) -> pl.DataFrame:
    ids = np.repeat(np.asarray(scores.patient_ids, dtype=object), len(grid))
    return pl.concat(
        [
            pl.DataFrame(
                {
                    "patient_id": pl.Series(ids, dtype=pl.String),
                    "model": pl.Series([model], dtype=pl.String).new_from_index(0, len(ids)),
                    "time_months": np.tile(grid, len(scores.patient_ids)),
                    "survival": made.survival.ravel(),
                }
            )
            for model, made in scores.predictions.items()
        ]
    )


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
