"""Decision curves on held-out patients: what is gained by treating those above a threshold of risk.

As in `prognosis.metrics`: one value per draw, NaN where a draw cannot tell. Net benefit is a share of patients:
true positives less false positives, a false positive counting `p / (1 - p)` at threshold p.
"""

from __future__ import annotations

import numpy as np

from stratiome.survival.censoring import survival_curve
from stratiome.survival.competing import observed_risk
from stratiome.survival.concordance import Sample


def net_benefit(sample: Sample, risk: np.ndarray, horizon: float, thresholds: np.ndarray) -> np.ndarray:
    """Net benefit of treating patients whose predicted risk reaches a threshold, shape `(n_draws, n_thresholds)`.

    `P(r >= p) (1 - S(t | r >= p)) - P(r >= p) S(t | r >= p) p / (1 - p)` with S the Kaplan-Meier survival of those
    treated, which is right for censoring that does not depend on survival among them (Vickers et al. 2008). Nobody
    treated is worth 0. NaN where the follow-up of those treated ends before the horizon with somebody alive. With
    competing risks `1 - S` is the Aalen-Johansen cumulative incidence: who fails of another cause is no true positive.

    Parameters
    ----------
    sample
        Held-out patients.
    risk
        Shape `(n_patients,)`, predicted probability of the event by the horizon.
    horizon
        Months.
    thresholds
        Shape `(n_thresholds,)`, risks from 0 to below 1.

    Raises
    ------
    ValueError
        If a threshold or a risk is out of its bounds.
    """
    risk, thresholds = np.asarray(risk, dtype=np.float64), np.asarray(thresholds, dtype=np.float64)
    _check(thresholds)
    if not ((risk >= 0) & (risk <= 1)).all():
        raise ValueError("risks must be probabilities. Suggestion: one minus the predicted survival at the horizon")
    columns = [_treating(sample, risk >= p, horizon, np.array([p])) for p in thresholds]
    return np.concatenate(columns, axis=1) if columns else np.zeros((len(sample.weights), 0))


def treat_all(sample: Sample, horizon: float, thresholds: np.ndarray) -> np.ndarray:
    """Net benefit of treating everybody, shape `(n_draws, n_thresholds)`. Parameters as in `net_benefit`."""
    thresholds = np.asarray(thresholds, dtype=np.float64)
    _check(thresholds)
    return _treating(sample, np.ones(len(sample.time), dtype=bool), horizon, thresholds)


def treat_none(sample: Sample, thresholds: np.ndarray) -> np.ndarray:
    """Net benefit of treating nobody: 0, shape `(n_draws, n_thresholds)`."""
    return np.zeros((len(sample.weights), len(thresholds)))


def _check(thresholds: np.ndarray) -> None:
    if not ((thresholds >= 0) & (thresholds < 1)).all():
        raise ValueError("thresholds must be from 0 to below 1. Suggestion: probabilities, not percentages")


def _treating(sample: Sample, treated: np.ndarray, horizon: float, thresholds: np.ndarray) -> np.ndarray:
    """Net benefit of treating the same patients at each threshold."""
    weights = sample.weights[:, treated]
    share = weights.sum(axis=1) / sample.weights.sum(axis=1)
    time, event, competing = sample.time[treated], sample.event[treated], sample.competing[treated]
    alive = survival_curve(time, event | competing, weights).at(horizon)[:, 0]
    survival = 1.0 - observed_risk(time, event, competing, horizon, weights) if competing.any() else alive
    followed = weights[:, time >= horizon].sum(axis=1) > 0
    known = followed | (alive <= 0) | (share == 0)
    survival = np.where(known, survival, np.nan)[:, None]
    return share[:, None] * (1.0 - survival - survival * thresholds / (1.0 - thresholds))
