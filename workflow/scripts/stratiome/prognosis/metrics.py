"""Discrimination and accuracy of survival predictions on held-out patients, for many bootstrap draws at once.

As in `survival.concordance`: one value per draw, and pairs of patients within a fold; accuracy pools patients. With
competing risks "survival" is the probability of not having failed of the cause of interest, one minus its cumulative
incidence, and patients who failed of another cause are known not to have failed of it.
"""

from __future__ import annotations

import numpy as np

from stratiome.survival.concordance import Sample, pair_share, ratio


def auc(sample: Sample, risk: np.ndarray, horizon: float) -> np.ndarray:
    """Cumulative/dynamic area under the ROC curve at a horizon.

    Cases fail by the horizon, weighted by 1 / G(T_i-); controls are alive at it, weighted by 1 / G(t-) (Uno et al.
    2007; Hung & Chiang 2010). Ties in score count 1/2. Controls are those who have not failed of the cause of interest:
    who failed of another cause by the horizon is one, weighted by 1 / G(T_i-) (Blanche, Dartigues & Jacqmin-Gadda 2013,
    second definition).

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
    gone = sample.otherwise(horizon)
    control = sample.alive(horizon) | gone
    weight = 1.0 / np.where(gone, sample.uncensored, sample.uncensored_at(horizon))

    def comparable(cases: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.broadcast_to(control[rows], (len(cases), len(rows)))

    return pair_share(sample, risk, case, 1.0 / sample.uncensored, weight, comparable)


def brier(sample: Sample, survival: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Brier score with censoring weights, shape `(n_draws, n_times)`; lower = better.

    `BS(t) = mean( d_i I(T_i <= t) S_i(t)^2 / G(T_i-) + I(alive at t) (1 - S_i(t))^2 / G(t-) )` (Graf et al. 1999).
    Who failed of another cause by t adds `(1 - S_i(t))^2 / G(T_i-)` (Schoop et al. 2011).

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
    ended = (sample.event | sample.competing)[:, None]
    alive = (sample.time[:, None] > times) | ((sample.time[:, None] == times) & ~ended)
    total = (sample.weights / sample.uncensored) @ (failed * survival**2)
    if sample.rivals:
        gone = sample.competing[:, None] & (sample.time[:, None] <= times)
        total += (sample.weights / sample.uncensored) @ (gone * (1.0 - survival) ** 2)
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

    With competing risks the observed risk is the Aalen-Johansen cumulative incidence.

    Parameters
    ----------
    sample
        Held-out patients.
    survival
        Shape `(n_patients,)`, predicted probability of being event-free at the horizon.
    horizon
        Months.
    """
    observed = sample.risk_at(horizon)
    expected = sample.weights @ (1.0 - survival) / sample.weights.sum(axis=1)
    return ratio(observed, expected)
