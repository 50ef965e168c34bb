"""Make a bundle of the models of all patients: what scoring others needs, and nothing of any one patient."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

import stratiome
from stratiome import omics, tables
from stratiome.bundle.files import Bundle, write_card
from stratiome.bundle.reference import Reference, classes_of, clinical_part, omic_part, places_of, subgroups_of
from stratiome.bundle.reference import to_json as reference_to_json
from stratiome.bundle.scored import Curves, scored, trained_curves
from stratiome.bundle.training import Column, Places, column, patterns, to_json
from stratiome.cohort.manifest import write_json
from stratiome.cohort.store import StoredOmic
from stratiome.config import (
    AuditConfig,
    BundleConfig,
    DataConfig,
    EndpointConfig,
    FeatureConfig,
    SubgroupConfig,
)
from stratiome.features.block import FeatureSet
from stratiome.features.build import load_transforms
from stratiome.prognosis.stored import load_prognosis

MODEL, FACTORS = "vae", "mofa"
"""The latent model whose subgroups are applied, and the one whose factors models of survival may use."""


@dataclass(frozen=True)
class About:
    """The parts of a config that a bundle repeats; a change of others makes no new bundle."""

    cohort: str
    title: str | None
    bundle: BundleConfig
    endpoint: EndpointConfig
    covariates: tuple[str, ...]
    data: DataConfig
    site: str | None
    features: FeatureConfig
    subgroups: SubgroupConfig
    audit: AuditConfig


def save_bundle(
    folder: Path,
    config: About,
    features: FeatureSet,
    latents: dict[str, np.ndarray],
    stored: tuple[StoredOmic, ...],
    clinical: pl.DataFrame,
    outcome: pl.DataFrame,
    held_out: dict[str, Curves],
    parts: dict[str, str],
    claims: pl.DataFrame,
) -> Bundle:
    """Write a bundle; a folder that is there already is replaced.

    Parameters
    ----------
    folder
        Where to.
    config
        What the config says of the analysis.
    features
        Features of the resample `full`.
    latents
        Shape `(n_patients, n_latent)`, of its latent model and, where it ran, MOFA+, rows as `features`.
    stored
        Omics of the cohort file.
    clinical, outcome
        Clinical columns, and contract `Outcome`.
    held_out
        Curves of held-out patients by model.
    parts
        Paths of what the stages wrote: `transforms`, `weights`, `description`, `mixture`, `information`, `assignment`,
        `models`, `models_description`, `curves` (of treatments, "" where there are none).
    claims
        Contract `BundleClaims`.
    """
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    copies = {
        "transforms": "transforms.safetensors",
        "weights": "latent.safetensors",
        "description": "latent.json",
        "models": "prognosis.safetensors",
        "models_description": "prognosis.json",
    }
    for part, name in copies.items():
        shutil.copyfile(parts[part], folder / name)
    write_json(_subgroups(parts), folder / "subgroups.json")
    write_json(_training(config, features, latents[MODEL], stored, clinical, parts), folder / "training.json")
    reference = _reference(config, features, latents, stored, clinical, outcome, held_out, parts)
    write_json(reference_to_json(reference), folder / "reference.json")
    _curves(parts["curves"], config.audit.min_cell).write_parquet(folder / "treatment_curves.parquet")
    tables.write_table(claims, folder / "claims.parquet", tables.BundleClaims)
    trained = outcome.filter(pl.col("patient_id").is_in(_training_ids(features)))
    units = {name: transform.unit for name, transform in load_transforms(parts["transforms"]).items()}
    kinds = {omic.name: omic.kind for omic in stored}
    card: dict[str, Any] = {
        "stratiome": stratiome.__version__,
        "cohort": config.cohort,
        "title": config.title or config.cohort,
        "intended_use": config.bundle.intended_use,
        "out_of_scope": config.bundle.out_of_scope,
        "endpoint": config.endpoint.model_dump(mode="json"),
        "covariates": list(config.covariates),
        "types": config.data.types,
        "site": config.site if config.features.adjust_site else None,
        "omics": {name: {"kind": kind, "unit": units.get(name, "")} for name, kind in kinds.items()},
        "min_probability": config.subgroups.min_probability,
        "min_cell": config.audit.min_cell,
        "n": trained.height,
        "events": int(trained["event"].sum()),
    }
    return write_card(folder, card)


def _subgroups(parts: dict[str, str]) -> dict[str, Any]:
    """The mixture, and what the sets of omics of training patients tell; how many had each is not kept."""
    mixture = json.loads(Path(parts["mixture"]).read_text(encoding="utf-8"))[MODEL]
    told = tables.read_table(parts["information"], tables.SubgroupInformation).filter(pl.col("model") == MODEL)
    sets = [{"omics": r["omics"], "share": r["share"], "used": r["used"]} for r in told.iter_rows(named=True)]
    return {"mixture": mixture, "sets": sets}


def _training(
    config: About,
    features: FeatureSet,
    latents: np.ndarray,
    stored: tuple[StoredOmic, ...],
    clinical: pl.DataFrame,
    parts: dict[str, str],
) -> dict[str, Any]:
    train = set(_training_ids(features))
    least = config.audit.min_cell
    by_omic: dict[str, dict[str, Column]] = {}
    transforms = load_transforms(parts["transforms"])
    for omic in stored:
        values = _scaled(omic, train)
        place = {name: j for j, name in enumerate(omic.features)}
        kept = transforms[omic.name].features
        by_omic[omic.name] = {name: column(values[:, place[name]].astype(np.float64), least) for name in kept}
    rows_of = clinical.filter(pl.col("patient_id").is_in(sorted(train)))
    numeric = _numeric(config, rows_of)
    columns = {c: column(rows_of[c].cast(pl.Float64).fill_null(float("nan")).to_numpy(), least) for c in numeric}
    measured = features.train & np.any([b.present for b in features.blocks], axis=0)
    summary = to_json(by_omic, columns, Places.of(latents[measured]))
    classes = {c: _levels(rows_of[c], config.audit.min_cell) for c in config.covariates if c not in numeric}
    site = {config.site: _levels(rows_of[config.site], config.audit.min_cell)} if config.site else {}
    return summary | {"patterns": patterns(features, config.audit.min_cell), "classes": classes | site}


def _scaled(omic: StoredOmic, train: set[str]) -> np.ndarray:
    """Values of the training patients who have an omic."""
    rows = np.flatnonzero([p in train for p in omic.patient_ids])
    return omics.get(omic.kind, omic.unit).scale(omic.take(rows))


def _numeric(config: About, clinical: pl.DataFrame) -> list[str]:
    """Covariates that are numbers."""
    types = config.data.types
    return [c for c in config.covariates if clinical[c].dtype.is_numeric() and types.get(c) != "categorical"]


def _reference(
    config: About,
    features: FeatureSet,
    latents: dict[str, np.ndarray],
    stored: tuple[StoredOmic, ...],
    clinical: pl.DataFrame,
    outcome: pl.DataFrame,
    held_out: dict[str, Curves],
    parts: dict[str, str],
) -> Reference:
    """What later batches are compared with."""
    ids, least = _training_ids(features), config.audit.min_cell
    blocks = {b.name: b.values[features.train & b.present] for b in features.blocks}
    by_omic = {}
    for name, transform in load_transforms(parts["transforms"]).items():
        omic = next(o for o in stored if o.name == name)
        values, place = _scaled(omic, set(ids)), {feature: j for j, feature in enumerate(omic.features)}
        own = values[:, [place[feature] for feature in transform.features]]
        seen = blocks.get(name, np.zeros((0, 0)))
        by_omic[name] = omic_part(own, seen, transform.features, len(ids) - len(own), least)
    rows = clinical.filter(pl.col("patient_id").is_in(ids))
    numeric = {c: rows[c].cast(pl.Float64).fill_null(float("nan")).to_numpy() for c in _numeric(config, rows)}
    levels = {c: rows[c].cast(pl.String).to_list() for c in config.covariates if c not in numeric}
    models = load_prognosis(parts["models"], parts["models_description"])
    trained = trained_curves(models, features, clinical, latents[MODEL], latents.get(FACTORS))
    measured = features.train & np.any([b.present for b in features.blocks], axis=0)
    assigned = tables.read_table(parts["assignment"], tables.Subgroups).filter(
        pl.col("model") == MODEL, pl.col("patient_id").is_in(ids)
    )
    return Reference(
        omics=by_omic,
        clinical=clinical_part(numeric, levels, least),
        places=places_of(latents[MODEL][measured]),
        models={
            name: scored(own, held_out.get(name), outcome, models.grid, config.endpoint, least)
            for name, own in trained.items()
        },
        subgroups=classes_of(subgroups_of(assigned["subgroup"].to_numpy()), least),
    )


def _training_ids(features: FeatureSet) -> list[str]:
    return [p for p, here in zip(features.patient_ids, features.train, strict=True) if here]


def _levels(series: pl.Series, least: int) -> dict[str, int]:
    """Patients by class, those of at least so many."""
    counts = series.drop_nulls().cast(pl.String).alias("level").value_counts().sort("level")
    return {str(level): int(n) for level, n in counts.iter_rows() if n >= least}


def _curves(path: str, least: int) -> pl.DataFrame:
    """Survival under each arm, of groups of at least so many patients."""
    if not path:
        return tables.from_rows([], tables.CounterfactualCurves)
    return tables.read_table(path, tables.CounterfactualCurves).filter(pl.col("n") >= least)
