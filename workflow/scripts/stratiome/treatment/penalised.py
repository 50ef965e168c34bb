"""Cox models of many columns whose penalty is chosen among the training patients."""

from __future__ import annotations

import numpy as np

from stratiome.survival.cox import CoxError, CoxModel, with_baseline
from stratiome.survival.cox_path import event_terms, follow_path, largest_penalty, within_range

L1_RATIO = 0.5
"""Share of the lasso in the penalty."""
_PENALTIES, _SMALLEST, _SMALLEST_WIDE = 20, 0.01, 0.05  # of a path, as shares of its largest


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
        terms = event_terms(within_range(z, rest) @ found, time, event, ~rest).sum(axis=1)
        gain = gain[: len(terms)] + terms[: len(gain)]
    best = int(np.argmax(gain))
    path = follow_path(z, time, event, factor, L1_RATIO, penalties[: best + 1])
    coefficients = np.zeros(x.shape[1])
    coefficients[used] = path[:, -1] / scale[used]
    return with_baseline(x, time, event, coefficients)
