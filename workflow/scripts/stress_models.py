"""Score the held-out patients of one resample by its frozen models, their data changed step by step."""

import logging

import numpy as np
import polars as pl

from stratiome import tables
from stratiome.audit.adversary import DOSES, attacked, feature_weights, slopes
from stratiome.audit.frozen import Frozen, Patients, Score
from stratiome.audit.stresses import ADVERSARY, Scale, stresses
from stratiome.config import EndpointConfig
from stratiome.features.block import FeatureSet, read_features
from stratiome.latent.model import load_models
from stratiome.prognosis.read import read_roles
from stratiome.prognosis.stored import load_prognosis

logger = logging.getLogger("stratiome.audit")

STRESSED = ("clinical", "clinical_omics", "clinical_latent", "stacked")
"""Models that are stressed, where they were fitted; without stress all are scored."""
MOST_PATIENTS = 400
"""Held-out patients who are scored; of more, so many at random."""
DRAWS = 3
"""Times that a random change is drawn."""
ATTACK = "worst of the directions tried"


def main(
    *,
    clinical: str,
    outcome: str,
    resamples: str,
    features: str,
    weights: str,
    description: str,
    models: str,
    models_description: str,
    stressed: str,
    endpoint: EndpointConfig,
    seed: int,
    resample: str,
) -> None:
    """Read models and patients, score every change, and write the table."""
    measured = read_features(features)
    roles = read_roles(resamples, resample, measured.patient_ids)
    known = set(tables.read_table(outcome, tables.Outcome)["patient_id"])
    usable = np.array([p in known for p in measured.patient_ids])
    rng = np.random.default_rng([seed, 6])
    held_out = np.flatnonzero((roles == "test") & usable)
    if len(held_out) > MOST_PATIENTS:
        logger.info("%d of %d held-out patients, drawn at random", MOST_PATIENTS, len(held_out))
        held_out = np.sort(rng.choice(held_out, MOST_PATIENTS, replace=False))
    table = pl.DataFrame({"patient_id": list(measured.patient_ids)}, schema={"patient_id": pl.String})
    table = table.join(pl.read_parquet(clinical), on="patient_id", how="left", maintain_order="left")
    patients = _patients(measured, table, held_out)
    prognosis, latents = load_prognosis(models, models_description), load_models(weights, description)
    frozen = Frozen(prognosis, latents["vae"], latents.get("mofa"), endpoint.horizons_months[-1])
    numeric = {t.column: t.scale for t in prognosis.design.terms if t.type == "numeric"}
    scale = Scale.of(_patients(measured, table, np.flatnonzero(roles == "train")), numeric)
    covariates = tuple(t.column for t in prognosis.design.terms)
    rows: list[pl.DataFrame] = []
    if len(held_out):
        ids = [measured.patient_ids[i] for i in held_out]
        rows = [
            _rows(ids, resample, *key, scores) for key, scores in _stressed(frozen, patients, scale, covariates, rng)
        ]
    made = pl.concat(rows) if rows else tables.from_rows([], tables.PrognosisStressed)
    logger.info(
        "%d predictions under %d changes", made.height, made.select("stress", "part", "dose", "draw").n_unique()
    )
    tables.write_table(made, stressed, tables.PrognosisStressed)


Key = tuple[str, str, str, float, int]
"""Concept, stress, part, dose and draw."""


def _stressed(
    frozen: Frozen, patients: Patients, scale: Scale, covariates: tuple[str, ...], rng: np.random.Generator
) -> list[tuple[Key, dict[str, Score]]]:
    every = [m for m in frozen.prognosis.models if m != "kaplan_meier"]
    found: list[tuple[Key, dict[str, Score]]] = [
        ((tables.UNSTRESSED, tables.UNSTRESSED, "", 0.0, 1), frozen.only(every).score([patients])[0])
    ]
    few = frozen.only(STRESSED)
    slope = slopes(few, patients)
    planned = [
        (one, draw)
        for one in stresses(patients, scale, covariates, feature_weights(slope, patients, scale))
        for draw in range(1, DRAWS + 1 if one.random else 2)
    ]
    scores = few.score(one.change(patients, rng) for one, _ in planned)
    keys: list[Key] = [(one.concept, one.name, one.part, one.dose, draw) for one, draw in planned]
    found += zip(keys, scores, strict=True)
    plain = few.score([patients])[0]
    for dose in DOSES:
        found.append(((ADVERSARY, ATTACK, "", dose, 1), attacked(few, patients, plain, slope, scale, dose, rng)))
    return found


def _patients(measured: FeatureSet, table: pl.DataFrame, rows: np.ndarray) -> Patients:
    return Patients(table[rows], measured.take(rows).blocks)


def _rows(
    ids: list[str],
    resample: str,
    concept: str,
    stress: str,
    part: str,
    dose: float,
    draw: int,
    scores: dict[str, Score],
) -> pl.DataFrame:
    parts = [
        pl.DataFrame({"patient_id": pl.Series(ids, dtype=pl.String), "risk": s.risk, "survival": s.survival}).select(
            "patient_id",
            pl.lit(resample).alias("resample"),
            pl.lit(concept).alias("concept"),
            pl.lit(stress).alias("stress"),
            pl.lit(part).alias("part"),
            pl.lit(dose).alias("dose"),
            pl.lit(draw, dtype=pl.Int64).alias("draw"),
            pl.lit(model).alias("model"),
            "risk",
            "survival",
        )
        for model, s in scores.items()
        if model != "kaplan_meier"
    ]
    return pl.concat(parts)


if "snakemake" in globals():
    from stratiome import job

    job.run(main, snakemake)  # noqa: F821
