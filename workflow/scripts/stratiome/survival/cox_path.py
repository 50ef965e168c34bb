"""Elastic-net paths of a Cox model by scikit-survival, and how well they predict patients left out."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from stratiome.survival.cox import CoxError

# At the first tolerance the optimality conditions hold to 2e-4, which is enough to choose a penalty, at the second to
# 1e-5, which takes ten times as long.
COARSE, FINE = 1e-7, 1e-9


def largest_penalty(x: np.ndarray, time: np.ndarray, event: np.ndarray, factor: np.ndarray, l1_ratio: float) -> float:
    """Smallest penalty at which no penalised column is chosen."""
    step = 0.9  # scikit-survival tells it only by the ratio of the next one
    penalties, _ = _coxnet(x, time, event, factor, l1_ratio, COARSE, {"n_alphas": 2, "alpha_min_ratio": step})
    return float(penalties[1] / step)


def follow_path(
    x: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    factor: np.ndarray,
    l1_ratio: float,
    penalties: np.ndarray,
    tolerance: float = COARSE,
) -> np.ndarray:
    """Coefficients `(n_columns, n_reached)`; the end of the path that breaks down is cut off."""
    while True:
        try:
            return _coxnet(x, time, event, factor, l1_ratio, tolerance, {"alphas": penalties})[1]
        except CoxError:
            if len(penalties) == 1:
                raise
            penalties = penalties[: 3 * len(penalties) // 4]


def _coxnet(
    x: np.ndarray,
    time: np.ndarray,
    event: np.ndarray,
    factor: np.ndarray,
    l1_ratio: float,
    tolerance: float,
    asked: dict[str, Any],
) -> tuple[np.ndarray, np.ndarray]:
    """Penalties of a column of factor 1 and coefficients; scikit-survival rescales the factors to mean 1."""
    from sklearn.exceptions import ConvergenceWarning
    from sksurv.linear_model import CoxnetSurvivalAnalysis
    from sksurv.util import Surv

    unit = factor.mean()
    if "alphas" in asked:
        asked = {"alphas": asked["alphas"] * unit}
    fitter = CoxnetSurvivalAnalysis(l1_ratio=l1_ratio, penalty_factor=factor, tol=tolerance, **asked)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", ConvergenceWarning)
            fitter.fit(x, Surv.from_arrays(event, time))
    except (ArithmeticError, AssertionError, ConvergenceWarning) as error:
        raise CoxError("the elastic-net path did not converge at its largest penalty") from error
    return fitter.alphas_ / unit, fitter.coef_


def event_terms(risk: np.ndarray, time: np.ndarray, event: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Cross-validated partial likelihood `l(b) - l_rest(b)` with Breslow ties, by event; it is the sum of these terms.

    With `S_i` the sum of `exp(risk)` over those at risk at event i, it is `risk_i - log S_i` where i is left out and
    `log S_i(rest) - log S_i` else.

    Parameters
    ----------
    risk
        Shape `(n_patients, n_scores)`, log partial hazards learned without the patients left out.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    held
        Shape `(n_patients,)`, True for patients left out.

    Returns
    -------
    numpy.ndarray
        Shape `(n_scores, n_events)`, events by falling time.
    """
    order = np.argsort(-time, kind="stable")
    risk, time, event, held = risk[order], time[order], event[order], held[order]
    # With descending times the risk set of a time ends at the last patient who has it.
    last = (len(time) - 1 - np.searchsorted(time[::-1], time, side="left"))[event]
    everyone = np.logaddexp.accumulate(risk, axis=0)[last]
    rest = np.logaddexp.accumulate(np.where(held[:, None], -np.inf, risk), axis=0)[last]
    terms: np.ndarray = np.where(held[event, None], risk[event], rest) - everyone
    return terms.T


def within_range(x: np.ndarray, train: np.ndarray) -> np.ndarray:
    """Columns held within their range in the training rows.

    A column that hardly varies there may be a hundred of its standard deviations away in another patient.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, finite.
    train
        Shape `(n_patients,)`, True for training patients.
    """
    return np.clip(x, x[train].min(axis=0), x[train].max(axis=0))


def stratified_folds(event: np.ndarray, folds: int, rng: np.random.Generator) -> np.ndarray:
    """Fold of each patient, shape `(n_patients,)`, events spread evenly.

    Raises
    ------
    CoxError
        If there are fewer than two events.
    """
    folds = min(folds, int(event.sum()))
    if folds < 2:
        raise CoxError("fewer than two events to split into inner folds")
    fold = np.empty(len(event), dtype=np.int64)
    start = 0
    for group in (event, ~event):
        members = rng.permutation(np.flatnonzero(group))
        fold[members] = (start + np.arange(len(members))) % folds
        start += len(members)
    return fold
