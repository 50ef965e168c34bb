"""Discrimination and accuracy of survival predictions on held-out patients, for many bootstrap draws at once.

As in `survival.concordance`: one value per draw, and pairs of patients within a fold; accuracy pools patients.
"""

from __future__ import annotations

import numpy as np

from stratiome.survival.censoring import survival_curve
from stratiome.survival.concordance import Sample, pair_share, ratio


def auc(sample: Sample, risk: np.ndarray, horizon: float) -> np.ndarray:
    """Cumulative/dynamic area under the ROC curve at a horizon.

    Cases fail by the horizon, weighted by 1 / G(T_i-); controls are alive at it, weighted by 1 / G(t-) (Uno et al.
    2007; Hung & Chiang 2010). Ties in score count 1/2.

    Parameters
    ----------
    sample
        Held-out patients.
    risk
        Shape `(n_patients,)`, higher = worse.
    horizon
        Months.
    """
    case = sample.event & (sample.time <= horizon)
    control = sample.alive(horizon)

    def comparable(cases: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.broadcast_to(control[rows], (len(cases), len(rows)))

    return pair_share(sample, risk, case, 1.0 / sample.uncensored, 1.0 / sample.uncensored_at(horizon), comparable)


def brier(sample: Sample, survival: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Brier score with censoring weights, shape `(n_draws, n_times)`; lower = better.

    `BS(t) = mean( d_i I(T_i <= t) S_i(t)^2 / G(T_i-) + I(alive at t) (1 - S_i(t))^2 / G(t-) )` (Graf et al. 1999).

    Parameters
    ----------
    sample
        Held-out patients.
    survival
        Shape `(n_patients, n_times)`, predicted probability of being event-free.
    times
        Shape `(n_times,)`, months.
    """
    failed = sample.event[:, None] & (sample.time[:, None] <= times)
    alive = (sample.time[:, None] > times) | ((sample.time[:, None] == times) & ~sample.event[:, None])
    total = (sample.weights / sample.uncensored) @ (failed * survival**2)
    for rows, curve in zip(sample.strata, sample.curves, strict=True):
        missed = sample.weights[:, rows] @ (alive[rows] * (1.0 - survival[rows]) ** 2)
        total += missed / np.maximum(curve.at(times, left=True), sample.min_survival)
    return total / sample.weights.sum(axis=1, keepdims=True)


def integrated(scores: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Mean of a score over time by the trapezoidal rule.

    Parameters
    ----------
    scores
        Shape `(n_draws, n_times)`.
    times
        Shape `(n_times,)`, increasing months.
    """
    return np.trapezoid(scores, times, axis=1) / (times[-1] - times[0])


def observed_expected(sample: Sample, survival: np.ndarray, horizon: float) -> np.ndarray:
    """Observed over expected risk at a horizon: one minus Kaplan-Meier over the mean predicted risk; ideal 1.

    Parameters
    ----------
    sample
        Held-out patients.
    survival
        Shape `(n_patients,)`, predicted probability of being event-free at the horizon.
    horizon
        Months.
    """
    observed = 1.0 - survival_curve(sample.time, sample.event, sample.weights).at(horizon)[:, 0]
    expected = sample.weights @ (1.0 - survival) / sample.weights.sum(axis=1)
    return ratio(observed, expected)
