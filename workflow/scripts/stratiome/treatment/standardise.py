"""Survival under one arm as a Cox model of that arm predicts it, averaged over patients.

Nothing here knows tables or configs: a model and patients in, arrays out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stratiome.survival.cox import CoxModel, fit_or_marginal
from stratiome.treatment.emulate import Sample
from stratiome.treatment.incidence import mean_free

_MOST_RISK = 50.0  # log partial hazards beyond which a survival probability is 0 or 1 to the last digit


def arm_models(design: np.ndarray, sample: Sample, weights: np.ndarray | None = None) -> tuple[CoxModel, CoxModel]:
    """Cox models of survival of the untreated and of the treated; marginal where nothing can be estimated.

    Parameters
    ----------
    design
        Shape `(n_patients, n_columns)`.
    sample
        Patients; both arms present.
    weights
        Shape `(n_patients,)`, how often each patient counts, as drawn; default once.
    """
    found = []
    for arm in (~sample.treated, sample.treated):
        here = arm if weights is None else arm & (weights > 0)
        x, time, event = design[here], sample.time[here], sample.event[here]
        case = None if weights is None else weights[here]
        found.append(fit_or_marginal(x, time, event, weights=case))
    return found[0], found[1]


def arm_months(design: np.ndarray, sample: Sample, new: np.ndarray, tau: float) -> np.ndarray:
    """Mean time free of the event up to tau under each arm, months, shape `(2, n_new)`; untreated first.

    By `arm_models`, where other causes compete by cause-specific ones of the event and of other causes.

    Parameters
    ----------
    design, sample
        As in `arm_models`.
    new
        Shape `(n_new, n_columns)`, patients to predict for.
    tau
        Months.
    """
    events = arm_models(design, sample)
    rivals = (None, None) if sample.other is None else arm_models(design, replace(sample, event=sample.other))
    return np.stack([mean_free(event, other, new, tau) for event, other in zip(events, rivals, strict=True)])


@dataclass(frozen=True)
class Standardised:
    """Mean survival of patients under one arm.

    Attributes
    ----------
    survival
        Shape `(n_times,)`, on the grid that was asked for.
    restricted
        Area up to tau, months.
    """

    survival: np.ndarray
    restricted: float


def standardised(model: CoxModel, x: np.ndarray, weights: np.ndarray, grid: np.ndarray, tau: float) -> Standardised:
    """Weighted mean of the predicted curves of patients (g-formula; Robins 1986, Math Modelling 7:1393).

    Parameters
    ----------
    model
        Model of one arm.
    x
        Shape `(n_patients, n_columns)`, the patients averaged over.
    weights
        Shape `(n_patients,)`, not negative.
    grid
        Shape `(n_times,)`, months.
    tau
        Months.
    """
    survival, width = _steps(model, x, tau)
    mean = weights @ survival / weights.sum()
    return Standardised(mean[np.searchsorted(model.times, grid, side="right")], float(mean @ width))


def _steps(model: CoxModel, x: np.ndarray, tau: float) -> tuple[np.ndarray, np.ndarray]:
    """Survival from each step on (column 0 before the first), and how long each lasts within tau."""
    relative = np.exp(np.clip(model.risk(x), -_MOST_RISK, _MOST_RISK))
    survival = np.exp(-np.outer(relative, np.concatenate([[0.0], model.cumulative_hazard])))
    return survival, np.diff(np.concatenate([[0.0], np.minimum(model.times, tau), [tau]]))
