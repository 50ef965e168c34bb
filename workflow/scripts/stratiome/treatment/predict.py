"""Predicted effects of the held-out patients of one resample: covariates, latents, learners, rows of a table."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from stratiome.config import TreatmentConfig
from stratiome.survival.design import ClinicalDesign, ColumnType
from stratiome.treatment.emulate import Sample, TreatmentError, modifier_columns
from stratiome.treatment.learners import Training, learn_effects

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Modifiers:
    """What effects may differ by, beside the confounders.

    Attributes
    ----------
    covariates
        Clinical columns.
    latents
        Patient -> latent representation by a model that has not seen held-out patients, all of one length; patients
        without one are given the mean of the training patients.
    seed
        Seed of the learners.
    subgroups
        Patient -> subgroup, 0 = none, by a model that has not seen held-out patients or any outcome.
    """

    covariates: tuple[str, ...] = ()
    latents: Mapping[str, np.ndarray] = field(default_factory=dict)
    seed: int = 0
    subgroups: Mapping[str, int] = field(default_factory=dict)


def predicted_rows(
    name: str,
    treatment: TreatmentConfig,
    treatments: Iterable[TreatmentConfig],
    sample: Sample,
    confounders: ClinicalDesign,
    held_out: Sample,
    types: dict[str, ColumnType],
    modifiers: Modifiers,
    tau: float,
) -> list[dict[str, Any]]:
    """Rows of `TreatmentPredictions` without `resample`; none where nothing could be learned, and the log says why.

    Parameters
    ----------
    name, treatment
        Key and settings of the treatment.
    treatments
        All treatments.
    sample
        Training patients.
    confounders
        Design of the confounders, fitted on them.
    held_out
        Patients to predict for; of them only covariates are used.
    types
        Declared types of clinical columns.
    modifiers
        What effects may differ by.
    tau
        Months.
    """
    columns = modifier_columns(treatment, treatments, modifiers.covariates, sample.clinical.columns)
    design = ClinicalDesign.fit(sample.clinical, columns, types, np.ones(len(sample), dtype=bool))
    seen, unseen = (
        np.column_stack([design.transform(s.clinical), values, _members(s, sample, modifiers)])
        for s, values in zip((sample, held_out), _latents(sample, held_out, modifiers), strict=True)
    )
    if not seen.shape[1]:
        logger.warning("%s: no predicted effects: no covariate varies in the training patients", name)
        return []
    training = Training(confounders.transform(sample.clinical), seen, sample)
    try:
        found = learn_effects(training, unseen, tau, seed=modifiers.seed)
    except TreatmentError as error:
        logger.warning("%s: no predicted effects: %s", name, error)
        return []
    for learner, why in found.reasons.items():
        logger.warning("%s: no effects predicted by `%s`: %s", name, learner, why)
    logger.info("%s: %s", name, found.remark)
    return [
        {"patient_id": p, "treatment": name, "learner": learner, "predicted": float(value)}
        for learner, values in found.predicted.items()
        for p, value in zip(held_out.patient_ids, values, strict=True)
    ]


def _members(of: Sample, sample: Sample, modifiers: Modifiers) -> np.ndarray:
    """Indicators of the subgroups that training patients have, without the first."""
    have = sorted({modifiers.subgroups.get(p, 0) for p in sample.patient_ids})
    mine = np.array([modifiers.subgroups.get(p, 0) for p in of.patient_ids])
    return np.column_stack([np.zeros((len(of), 0)), *((mine == k).astype(np.float64) for k in have[1:])])


def _latents(sample: Sample, held_out: Sample, modifiers: Modifiers) -> tuple[np.ndarray, np.ndarray]:
    width = len(next(iter(modifiers.latents.values()), ()))
    nothing = np.full(width, np.nan)
    seen, unseen = (
        np.array([modifiers.latents.get(p, nothing) for p in s.patient_ids], dtype=np.float64).reshape(len(s), width)
        for s in (sample, held_out)
    )
    known = np.isfinite(seen).all(axis=1)
    centre = seen[known].mean(axis=0) if known.any() else np.zeros(width)
    return tuple(np.where(np.isfinite(v), v, centre) for v in (seen, unseen))  # type: ignore[return-value]
