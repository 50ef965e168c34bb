"""Propensities and survival under each arm of one resample, learned from its training patients only."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
import polars as pl

from stratiome.config import TreatmentConfig
from stratiome.survival.design import ClinicalDesign, ColumnType
from stratiome.treatment.doubly_robust import fit_nuisance, influence
from stratiome.treatment.effect import Question, event_free, too_few
from stratiome.treatment.emulate import Sample, TreatmentError, assigned, emulate, with_role
from stratiome.treatment.predict import Modifiers, predicted_rows
from stratiome.treatment.timing import not_compared
from stratiome.treatment.weight import fit_propensity, overlap_weights

logger = logging.getLogger(__name__)


def fit_treatment(
    clinical: pl.DataFrame,
    outcome: pl.DataFrame,
    roles: dict[str, str],
    labels: dict[str, int],
    treatments: dict[str, TreatmentConfig],
    types: dict[str, ColumnType],
    question: Question,
    modifiers: Modifiers | None = None,
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]], list[dict[str, Any]]]:
    """Fit on training patients and apply to held-out ones.

    Parameters
    ----------
    clinical, outcome
        As `stratiome.treatment.emulate.emulate`.
    roles
        Patient -> train, test or out.
    labels
        Patient -> subgroup in this resample, 0 = unassigned.
    treatments
        Settings by name.
    types
        Declared types of clinical columns.
    question
        Horizons, tau and grid in months.
    modifiers
        What effects may differ by; None asks for no predicted effects.

    Returns
    -------
    tuple of list
        Rows of `Propensity`, `CounterfactualCurves`, `TreatmentScores` and `TreatmentPredictions`, without `resample`.
        A treatment that cannot be compared in these training patients has none; the log says why.
    """
    propensities: list[dict[str, Any]] = []
    curves: list[dict[str, Any]] = []
    scores: list[dict[str, Any]] = []
    predictions: list[dict[str, Any]] = []
    for name, treatment in treatments.items():
        train = with_role(clinical, roles, "train")
        if why := not_compared(treatment):
            logger.warning("%s: no propensity or curve: %s", name, why)
            continue
        try:
            sample, _ = emulate(train, outcome, name, treatment)
            design = ClinicalDesign.fit(sample.clinical, treatment.confounders, types, np.ones(len(sample), dtype=bool))
            model = fit_propensity(design.transform(sample.clinical), sample.treated)
        except TreatmentError as error:
            logger.warning("%s: no propensity or curve: %s", name, error)
            continue
        given, treated, _ = assigned(with_role(clinical, roles, "train", "test"), name, treatment)
        predicted = model.predict(design.transform(given))
        rows = zip(given["patient_id"], treated, predicted, strict=True)
        propensities += [
            {"patient_id": p, "treatment": name, "role": roles[p], "treated": int(a), "propensity": float(e)}
            for p, a, e in rows
        ]
        curves += _curves(name, treatment, sample, design, labels, question.grid)
        held_out = with_role(clinical, roles, "test")
        if held_out.height and not too_few(sample):
            made = _scores(name, treatment, sample, design, held_out, outcome, question)
            scores += made
            if made and modifiers is not None:
                judged, _ = emulate(held_out, outcome, name, treatment)
                predictions += predicted_rows(
                    name, treatment, treatments.values(), sample, design, judged, types, modifiers, question.tau
                )
    return propensities, curves, scores, predictions


def _scores(
    name: str,
    treatment: TreatmentConfig,
    sample: Sample,
    design: ClinicalDesign,
    held_out: pl.DataFrame,
    outcome: pl.DataFrame,
    question: Question,
) -> list[dict[str, Any]]:
    """What held-out patients contribute to the effect; none where nobody of them is eligible."""
    try:
        judged, _ = emulate(held_out, outcome, name, treatment)
        nuisance = fit_nuisance(design.transform(sample.clinical), sample)
    except TreatmentError as error:
        logger.warning("%s: no contributions of held-out patients: %s", name, error)
        return []
    horizons = np.asarray(question.horizons)
    found = influence(nuisance, design.transform(judged.clinical), judged, horizons, question.tau)
    columns = (
        found.contrasts[:, 0],
        found.predicted[:, 0],
        np.clip(1.0 - found.predicted_survival[0][:, -1], 0.0, 1.0),
        found.propensity,
    )
    return [
        {
            "patient_id": p,
            "treatment": name,
            "contribution": float(c),
            "predicted": float(d),
            "untreated_risk": float(r),
            "propensity": float(e),
        }
        for p, c, d, r, e in zip(judged.patient_ids, *columns, strict=True)
    ]


def _curves(
    name: str,
    treatment: TreatmentConfig,
    sample: Sample,
    design: ClinicalDesign,
    labels: dict[str, int],
    grid: np.ndarray,
) -> list[dict[str, Any]]:
    mine = np.array([labels.get(p, 0) for p in sample.patient_ids])
    rows = []
    for group in (0, *sorted(set(mine[mine > 0].tolist()))):
        part = sample.take(mine == group) if group else sample
        try:
            weights = _weights(part, treatment, design)
        except TreatmentError as error:
            logger.warning("%s, subgroup %d: no curve: %s", name, group, error)
            continue
        for arm in (0, 1):
            here = (part.treated == bool(arm)) & (weights > 0)
            survival = event_free(part, here, weights[here]).at(grid)[0]
            keys = {"treatment": name, "subgroup": group, "arm": arm, "n": int(here.sum())}
            rows += [
                {**keys, "time_months": float(t), "survival": float(s)} for t, s in zip(grid, survival, strict=True)
            ]
    return rows


def _weights(sample: Sample, treatment: TreatmentConfig, design: ClinicalDesign) -> np.ndarray:
    reason = too_few(sample)
    if reason:
        raise TreatmentError(reason)
    if treatment.design == "randomised":
        return np.ones(len(sample))
    model = fit_propensity(design.transform(sample.clinical), sample.treated)
    return overlap_weights(sample.treated, model.probability)
