"""Average effects by other estimators and in other populations, beside the weighted curves: rows of a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from stratiome.config import EndpointConfig, EvaluationConfig, TreatmentConfig
from stratiome.strategies import known_at_time_zero
from stratiome.survival.design import ClinicalDesign, ColumnType
from stratiome.survival.outcome import time_grid
from stratiome.treatment.clones import Cohort, compare_strategies
from stratiome.treatment.doubly_robust import (
    MIN_PROPENSITY,
    MIN_UNCENSORED,
    POPULATIONS,
    average,
    cross_fit,
    over_splits,
)
from stratiome.treatment.effect import Question, compare_weighted, curve_name, normal_claim, too_few, undetermined
from stratiome.treatment.emulate import FromTimeZero, Sample, TreatmentError
from stratiome.treatment.timing import landmark_text
from stratiome.treatment.truth import TrueEffects
from stratiome.treatment.weight import TRIM, PropensityModel, effective_sample_size, trimmed_weights

Row = dict[str, Any]
FOLDS, SPLITS = 5, 5
"""Folds of the cross-fitting, and splits into them, of which the median counts."""
AVERAGED = {
    "all": "all eligible patients",
    "trimmed": f"patients with a propensity of {TRIM:g} to {1 - TRIM:g}",
    "overlap": "patients in proportion to e (1 - e), e the propensity",
}


@dataclass(frozen=True)
class Settings:
    """What all comparisons of an analysis share."""

    endpoint: EndpointConfig
    evaluation: EvaluationConfig
    types: dict[str, ColumnType]
    seed: int
    truth: TrueEffects | None = None

    @property
    def question(self) -> Question:
        """Horizons, tau and grid in months."""
        return Question(self.endpoint.horizons_months, self.endpoint.tau_months, time_grid(self.endpoint))


def average_rows(
    name: str,
    sample: Sample,
    design: np.ndarray,
    model: PropensityModel | None,
    refused: str,
    question: Question,
    settings: Settings,
    rng: np.random.Generator,
) -> list[Row]:
    """Rows of `TreatmentAverages` of one treatment.

    Parameters
    ----------
    name
        Key of the treatment.
    sample, design
        All eligible patients and their confounders.
    model
        Propensity fitted on them, None where there is none.
    refused
        Why nothing is compared with weights, or "".
    question, settings
        What is asked, and what all comparisons share.
    rng
        Source of folds and draws.
    """
    asked = [("doubly robust", p) for p in POPULATIONS] + [("inverse probability", "trimmed")]
    if refused or model is None:
        return [r for e, p in asked for r in _nothing(name, e, p, sample, refused, settings)]
    found: list[Row] = []
    try:
        times = np.asarray(question.horizons)
        splits = [cross_fit(design, sample, times, question.tau, folds=FOLDS, rng=rng) for _ in range(SPLITS)]
    except TreatmentError as error:
        why = f"in a training set of the cross-fitting, {str(error).split(' Suggestion')[0].rstrip('.')}"
        found += [r for p in POPULATIONS for r in _nothing(name, "doubly robust", p, sample, why, settings)]
    else:
        models = "Cox models of survival and of censoring"
        if sample.other is not None:
            models = "cause-specific Cox models of the event and of other causes, and a Cox model of censoring,"
        chance = (
            "share treated as the propensity (randomised)" if sample.randomised else "unpenalised logistic propensity"
        )
        method = (
            f"cross-fitted augmented inverse probability weighting, {FOLDS} folds, median of {SPLITS} splits:"
            f" {chance}, {models} in each arm;"
            f" probabilities of the arm below {MIN_PROPENSITY:g} and of being uncensored below {MIN_UNCENSORED:g}"
            " raised to these; interval from influence functions"
        )
        for population in POPULATIONS:
            effect = over_splits([average(s, sample.treated, population) for s in splits])
            inside = _inside(splits[0].propensity, population)
            found += _rows(
                name, "doubly robust", population, sample, inside, None, effect.estimate, effect.error, method, settings
            )
    compared = compare_weighted(
        sample, design, model, question, settings.evaluation.bootstraps, settings.evaluation.level, rng, trimmed_weights
    )
    inside = compared.weights > 0
    if few := too_few(sample.take(inside)):
        return found + _nothing(name, "inverse probability", "trimmed", sample, few, settings)
    size = sum(effective_sample_size(compared.weights[a]) for a in (sample.treated, ~sample.treated))
    method = (
        f"{curve_name(sample)} by arm, stabilised inverse probability weights (unpenalised logistic propensity); normal"
        f" interval from {len(compared.draws)} bootstrap samples of patients with the propensity estimated anew"
    )
    return found + _rows(
        name,
        "inverse probability",
        "trimmed",
        sample,
        inside,
        size,
        compared.estimate,
        compared.error,
        method,
        settings,
    )


def strategy_rows(
    name: str, found: FromTimeZero, treatment: TreatmentConfig, settings: Settings, rng: np.random.Generator
) -> list[Row]:
    """Rows of `TreatmentAverages` of starting within the grace period against not starting, from time zero on.

    Parameters
    ----------
    name, treatment
        Key and settings of a treatment with start times; the landmark is the grace period.
    found
        Patients from time zero on.
    settings
        What all comparisons share.
    rng
        Source of the draws.
    """
    kind, sample, question = "clone-censor-weight", found.sample, settings.question
    rows = np.ones(len(sample), dtype=bool)
    design = ClinicalDesign.fit(sample.clinical, treatment.confounders, settings.types, rows)
    cohort = Cohort.of(sample, found.start, design.transform(sample.clinical), float(treatment.landmark_months or 0.0))
    apart = Sample(sample.clinical, cohort.started, sample.time, sample.event)
    beyond = apart.take(cohort.beyond)
    why = "" if known_at_time_zero(sample.clinical, treatment) else "a confounder is measured after time zero"
    if sample.other is not None:
        why = "failures of another cause compete, which copies of patients do not allow for"
    if why := why or too_few(beyond):
        return _nothing(name, kind, "all", apart, why, settings)
    compared = compare_strategies(cohort, question, settings.evaluation.bootstraps, rng)
    method = (
        f"copies of patients in both strategies, start within {landmark_text(treatment)} or not, from the time zero of"
        " the endpoint (months count from it, not from the landmark), censored where they deviate; weighted"
        " Kaplan-Meier, weights from an unpenalised logistic regression of starting and a Cox model of the time to"
        f" start; normal interval from {compared.draws} bootstrap samples of patients with all models fitted anew"
    ) + (f"; {compared.note}" if compared.note else "")
    made = []
    for (estimand, time), value, spread in zip(question.contrasts, compared.estimate, compared.error, strict=True):
        row = _base(name, kind, "all", apart, rows, compared.effective, settings, estimand, time)
        row["method"] = f"{method}; averaged over {AVERAGED['all']}"
        reason = undetermined(beyond, time) or ("" if np.isfinite(value) else compared.note or "no estimate")
        if reason:
            row["method"] = f"not estimable: {reason}; {row['method']}"
        else:
            row |= normal_claim(value, spread, settings.evaluation.level)
        made.append(row)
    return made


def _inside(propensity: np.ndarray, population: str) -> np.ndarray:
    if population == "trimmed":
        return (propensity >= TRIM) & (propensity <= 1.0 - TRIM)
    return np.ones(len(propensity), dtype=bool)


def _rows(
    name: str,
    estimator: str,
    population: str,
    sample: Sample,
    inside: np.ndarray,
    effective: float | None,
    estimate: np.ndarray,
    error: np.ndarray,
    method: str,
    settings: Settings,
) -> list[Row]:
    rows = []
    for (estimand, time), value, spread in zip(settings.question.contrasts, estimate, error, strict=True):
        row = _base(name, estimator, population, sample, inside, effective, settings, estimand, time)
        row["method"] = f"{method}; averaged over {AVERAGED[population]}"
        limit = time if estimand == "rmst_difference" else 1.0
        why = undetermined(sample.take(inside), time) if inside.any() else "nobody is compared"
        if not why and abs(value) > limit:
            why = "a few patients with large weights carry it to a difference that cannot be"
        if why:
            row["method"] = f"not estimable: {why}; {row['method']}"
        else:
            row |= _possible(normal_claim(value, spread, settings.evaluation.level), limit)
        rows.append(row)
    return rows


def _possible(claim: dict[str, float | None], limit: float) -> dict[str, float | None]:
    """A claim whose interval ends where differences do."""
    ends = {k: v for k in ("lower", "upper") if (v := claim[k]) is not None}
    return claim | {k: float(np.clip(v, -limit, limit)) for k, v in ends.items()}


def _nothing(name: str, estimator: str, population: str, sample: Sample, why: str, settings: Settings) -> list[Row]:
    whole = np.ones(len(sample), dtype=bool)
    return [
        _base(name, estimator, population, sample, whole, None, settings, estimand, time)
        | {"method": f"not estimable: {why}"}
        for estimand, time in settings.question.contrasts
    ]


def _base(
    name: str,
    estimator: str,
    population: str,
    sample: Sample,
    inside: np.ndarray,
    effective: float | None,
    settings: Settings,
    estimand: str,
    time: float,
) -> Row:
    truth = settings.truth
    return {
        "treatment": name,
        "estimator": estimator,
        "population": population,
        "estimand": estimand,
        "horizon_months": time,
        "estimate": None,
        "lower": None,
        "upper": None,
        "p_value": None,
        "n": int(inside.sum()),
        "events": int(sample.event[inside].sum()),
        "n_treated": int(sample.treated[inside].sum()),
        "effective_n": effective,
        "held_out": False,
        "truth": None if truth is None else truth.effect(sample.patient_ids, estimand, time, population),
    }
