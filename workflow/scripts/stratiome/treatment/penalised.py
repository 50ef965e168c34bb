"""Cox models of many columns whose penalty is chosen among the training patients, and the months they promise."""

from __future__ import annotations

import numpy as np

from stratiome.survival.cox import CoxError, CoxModel, with_baseline
from stratiome.survival.cox_path import event_terms, follow_path, largest_penalty

L1_RATIO = 0.5
"""Share of the lasso in the penalty."""
_PENALTIES, _SMALLEST, _SMALLEST_WIDE = 20, 0.01, 0.05  # of a path, as shares of its largest
_FOLDS = 5
_MAX_LINEAR = 50.0


def fit_penalised(
    x: np.ndarray, time: np.ndarray, event: np.ndarray, fold: np.ndarray, free: np.ndarray | None = None
) -> CoxModel:
    """Elastic net of Cox's partial likelihood, its penalty chosen by cross-validated partial likelihood.

    Along a path (Simon et al. 2011, J Stat Softw 39(5), by scikit-survival) the penalty with the largest
    `sum_k l(b_-k) - l_-k(b_-k)` (Verweij & van Houwelingen 1993, Stat Med 12:2305); the largest penalty of all, with
    no column but the free ones, is among them. Columns of patients left out are held within the range of the others.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, finite.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    fold
        Shape `(n_patients,)`, inner folds from 0 on.
    free
        Shape `(n_columns,)`, True for columns without penalty; default none.

    Raises
    ------
    CoxError
        If there are fewer than two events, no column varies, or the path breaks down at its largest penalty.
    """
    if event.sum() < 2:
        raise CoxError("fewer than two events")
    free = np.zeros(x.shape[1], dtype=bool) if free is None else free
    scale = x.std(axis=0)
    used = np.flatnonzero(scale > 1e-9 * np.maximum(1.0, np.abs(x).max(axis=0, initial=0.0)))
    if used.size == 0:
        raise CoxError("all covariates are constant in training")
    z = (x[:, used] - x[:, used].mean(axis=0)) / scale[used]
    factor = np.where(free[used], 0.0, 1.0)
    if not factor.any():
        raise CoxError("no column has a penalty. Suggestion: fit without one")
    largest = largest_penalty(z, time, event, factor, L1_RATIO)
    penalties = largest * np.geomspace(1.0, _SMALLEST if len(x) > x.shape[1] else _SMALLEST_WIDE, _PENALTIES)
    gain = np.zeros(len(penalties))
    for k in np.unique(fold):
        rest = fold != k
        found = follow_path(z[rest], time[rest], event[rest], factor, L1_RATIO, penalties)
        inside = np.clip(z, z[rest].min(axis=0), z[rest].max(axis=0))
        terms = event_terms(inside @ found, time, event, ~rest).sum(axis=1)
        gain = gain[: len(terms)] + terms[: len(gain)]
    best = int(np.argmax(gain))
    path = follow_path(z, time, event, factor, L1_RATIO, penalties[: best + 1])
    coefficients = np.zeros(x.shape[1])
    coefficients[used] = path[:, -1] / scale[used]
    return with_baseline(x, time, event, coefficients)


def inner_folds(event: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Inner folds of patients, shape `(n_patients,)`, events spread evenly; fewer folds than `_FOLDS` with few events.

    Parameters
    ----------
    event
        Shape `(n_patients,)`, True = observed.
    rng
        Source of the folds.

    Raises
    ------
    CoxError
        If there are fewer than two events.
    """
    folds = min(_FOLDS, int(event.sum()))
    if folds < 2:
        raise CoxError("fewer than two events")
    fold = np.empty(len(event), dtype=np.int64)
    order = rng.permutation(len(event))
    order = order[np.argsort(~event[order], kind="stable")]
    fold[order] = np.arange(len(event)) % folds
    return fold


def restricted_mean(model: CoxModel, x: np.ndarray, tau: float) -> np.ndarray:
    """Area under each patient's predicted survival up to tau, months, shape `(n_patients,)`.

    Parameters
    ----------
    model
        Survival by steps at the event times of training.
    x
        Shape `(n_patients, n_columns)`.
    tau
        Months.
    """
    inner = model.times < tau
    width = np.diff(np.concatenate([[0.0], model.times[inner], [tau]]))
    hazard = np.concatenate([[0.0], model.cumulative_hazard[inner]])
    relative = np.exp(np.clip(model.risk(x), -_MAX_LINEAR, _MAX_LINEAR))
    return np.exp(-np.outer(relative, hazard)) @ width
