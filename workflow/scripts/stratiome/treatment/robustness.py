"""Does the answer hold when the analysis is changed? The same effect by other choices, and on what cannot change."""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from stratiome.treatment.averages import Settings
from stratiome.treatment.effect import (
    Comparison,
    Question,
    compare_headline,
    curve_name,
    normal_claim,
)
from stratiome.treatment.emulate import Sample, TreatmentError
from stratiome.treatment.weight import effective_sample_size, fit_propensity

Row = dict[str, Any]
MAIN, TRIMMED, TIME, OMICS, CONTROL = (
    "main analysis",
    "trimmed",
    "restriction time",
    "omics in propensity",
    "negative control",
)
TRIMS = (0.05, 0.1, 0.15)
"""Propensities within which patients are kept."""
FRACTIONS = (0.5, 0.75)
"""Shares of tau up to which survival is averaged instead."""


@dataclass(frozen=True)
class Changed:
    """One way to analyse.

    Attributes
    ----------
    check, variant
        What is changed, and to what, to be printed.
    sample, design
        Patients and confounders, shape `(n_patients, n_columns)`.
    question
        What is asked.
    """

    check: str
    variant: str
    sample: Sample
    design: np.ndarray
    question: Question


def robustness_rows(
    name: str,
    sample: Sample,
    design: np.ndarray,
    randomised: bool,
    settings: Settings,
    rng: np.random.Generator,
    latent: pl.DataFrame | None = None,
    control: tuple[str, pl.DataFrame] | None = None,
) -> list[Row]:
    """Rows of `TreatmentRobustness` of one treatment, the main analysis first.

    Each is the comparison of the headline (overlap weights, or none where assignment was by chance) with one thing
    changed. With a negative control the other cause is censored (a cause-specific comparison), since a treatment that
    keeps patients alive lets more of them live to anything else.

    Parameters
    ----------
    name
        Key of the treatment.
    sample, design
        All eligible patients and their confounders.
    randomised
        Whether assignment was by chance.
    settings
        What all comparisons share.
    rng
        Source of bootstrap draws; in the state in which the headline had it, the first rows are the headline's.
    latent
        `patient_id` and one column per dimension learned from the omics, without looking at outcome or treatment.
    control
        Name of an outcome that the treatment cannot change, and rows of `NegativeControls` of this treatment.
    """
    rows: list[Row] = []
    for changed in _changes(sample, design, randomised, settings.question, latent, control):
        # The same draws for all, so that two lines differ by what was changed and not by chance.
        rows += _claims(name, changed, randomised, settings, deepcopy(rng))
    return rows


def _changes(
    sample: Sample,
    design: np.ndarray,
    randomised: bool,
    question: Question,
    latent: pl.DataFrame | None,
    control: tuple[str, pl.DataFrame] | None,
) -> list[Changed]:
    found = [Changed(MAIN, "as reported above", sample, design, question)]
    if not randomised:
        found += _trimmed(sample, design, question)
    for share in FRACTIONS:
        tau = round(share * question.tau, 6)
        asked = Question((tau,), tau, question.grid)
        found.append(Changed(TIME, f"up to {tau:g} months", sample, design, asked))
    if latent is not None and not randomised:
        joined = pl.DataFrame({"patient_id": sample.patient_ids}).join(
            latent, on="patient_id", how="left", maintain_order="left"
        )
        columns = joined.drop("patient_id").to_numpy()
        known = np.isfinite(columns).all(axis=1)
        wide = np.column_stack([design, _standardised(columns, known)])[known]
        text = f"with {columns.shape[1]} latent dimensions"
        found.append(Changed(OMICS, text, sample.take(known), wide, question))
    if control is not None:
        label, table = control
        joined = pl.DataFrame({"patient_id": sample.patient_ids}).join(
            table, on="patient_id", how="left", maintain_order="left"
        )
        known = joined["time_months"].is_not_null().to_numpy()
        time, event = joined["time_months"].to_numpy()[known], joined["event"].to_numpy()[known] == 1
        other = replace(sample.take(known), time=time.astype(np.float64), event=event, other=None)
        found.append(Changed(CONTROL, label, other, design[known], question))
    return found


def _trimmed(sample: Sample, design: np.ndarray, question: Question) -> list[Changed]:
    try:
        model = fit_propensity(design, sample.treated)
    except TreatmentError:
        return []
    found = []
    for trim in TRIMS:
        inside = (model.probability >= trim) & (model.probability <= 1.0 - trim)
        text = f"propensity {trim:g} to {1.0 - trim:g}"
        found.append(Changed(TRIMMED, text, sample.take(inside), design[inside], question))
    return found


def _standardised(columns: np.ndarray, known: np.ndarray) -> np.ndarray:
    scale = columns[known].std(axis=0) if known.any() else np.ones(columns.shape[1])
    return (columns - columns[known].mean(axis=0)) / np.where(scale > 0, scale, 1.0)


def _claims(name: str, changed: Changed, randomised: bool, settings: Settings, rng: np.random.Generator) -> list[Row]:
    sample, asked = changed.sample, changed.question.contrasts
    draws, level = settings.evaluation.bootstraps, settings.evaluation.level
    compared, reason = compare_headline(sample, changed.design, randomised, changed.question, draws, level, rng)
    rows = []
    for j, (estimand, time) in enumerate(asked):
        why = reason or (compared.reasons[j] if compared is not None else "")
        row = _base(name, changed, compared) | {"estimand": estimand, "horizon_months": time}
        if compared is None or why:
            row["method"] = f"not estimable: {why}"
        else:
            row |= normal_claim(compared.estimate[j], compared.error[j], level)
        rows.append(row)
    return rows


def _base(name: str, changed: Changed, compared: Comparison | None) -> Row:
    sample, size = changed.sample, None
    how = "unweighted"
    if compared is not None and (compared.weights != 1.0).any():
        counted = compared.weights > 0
        size = sum(effective_sample_size(compared.weights[a]) for a in (sample.treated, ~sample.treated))
        sample, how = sample.take(counted), "overlap weights, propensity estimated anew among these patients"
    return {
        "treatment": name,
        "check": changed.check,
        "variant": changed.variant,
        "estimate": None,
        "lower": None,
        "upper": None,
        "p_value": None,
        "n": len(sample),
        "events": int(sample.event.sum()),
        "n_treated": int(sample.treated.sum()),
        "effective_n": size,
        "held_out": False,
        "method": f"{curve_name(sample)} by arm, {how}; bootstrap of patients"
        + ("; everything else ends follow-up, as if unrelated to it" if changed.check == CONTROL else ""),
    }
