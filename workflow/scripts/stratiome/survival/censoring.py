"""Kaplan-Meier curves of censoring and survival under many sets of patient weights at once.

Inverse-probability-of-censoring weights need G(t-), the probability of being uncensored just before t. An event that
ties a censoring is taken to come first, so the censoring curve counts only patients without an event at t as at risk
of being censored at t. Bootstrap draws enter as rows of weights, so that the censoring curve is estimated anew in
each draw without a loop.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

MIN_CENSORING_SURVIVAL = 0.05
"""Probabilities of being uncensored are raised to this value, so that no patient counts for more than 20."""


@dataclass(frozen=True)
class StepCurve:
    """Right-continuous step functions that start at 1, one per set of weights.

    Attributes
    ----------
    times
        Shape `(n_steps,)`, increasing, in months.
    values
        Shape `(n_draws, n_steps + 1)`; `values[:, k]` holds from step `k - 1` on, `values[:, 0]` before the first.
    """

    times: np.ndarray
    values: np.ndarray

    def at(self, times: np.ndarray | float, *, left: bool = False) -> np.ndarray:
        """Values at `times`, shape `(n_draws, n_times)`; with `left` those just before."""
        passed = np.searchsorted(self.times, np.atleast_1d(times), side="left" if left else "right")
        return self.values[:, passed]


def censoring_curve(time: np.ndarray, event: np.ndarray, weights: np.ndarray | None = None) -> StepCurve:
    """Kaplan-Meier estimate of G(t), the probability of being uncensored beyond t.

    `G(t) = prod_{s <= t} (1 - c_s / (Y_s - d_s))` with `c_s` censored, `d_s` events and `Y_s` at risk at s: events
    precede censorings at the same time (Robins & Rotnitzky 1992; Graf et al. 1999).

    Parameters
    ----------
    time
        Shape `(n_patients,)`, follow-up in months.
    event
        Shape `(n_patients,)`, True = observed.
    weights
        Shape `(n_draws, n_patients)` or `(n_patients,)`, not negative; default one draw of ones.
    """
    steps, at_risk, deaths, leaving = count_steps(time, event, weights)
    return _product(steps, at_risk - deaths, leaving - deaths)


def survival_curve(time: np.ndarray, event: np.ndarray, weights: np.ndarray | None = None) -> StepCurve:
    """Kaplan-Meier estimate of survival `S(t) = prod_{s <= t} (1 - d_s / Y_s)` (Kaplan & Meier 1958).

    Parameters as in `censoring_curve`.
    """
    steps, at_risk, deaths, _ = count_steps(time, event, weights)
    return _product(steps, at_risk, deaths)


def inverse_weights(
    time: np.ndarray, event: np.ndarray, horizon: float, min_survival: float = MIN_CENSORING_SURVIVAL
) -> tuple[np.ndarray, int]:
    """Weights that make patients whose status at a horizon is known stand for all.

    `W_i = d_i I(T_i <= t) / G(T_i-) + I(alive and under observation at t) / G(t-)` (Graf et al. 1999). A patient
    censored exactly at the horizon is known to be alive there and counts as such, which makes administrative censoring
    at the horizon harmless.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    horizon
        Time in months.
    min_survival
        Value to which smaller probabilities of being uncensored are raised.

    Returns
    -------
    tuple
        Weights of shape `(n_patients,)`, and the number of patients whose weight was truncated.
    """
    curve = censoring_curve(time, event)
    observed = event & (time <= horizon)
    alive = (time > horizon) | ((time == horizon) & ~event)
    uncensored = np.where(observed, curve.at(time, left=True)[0], curve.at(horizon, left=True)[0])
    known = observed | alive
    truncated = int((known & (uncensored < min_survival)).sum())
    weights = np.zeros(len(time))
    weights[known] = 1.0 / np.maximum(uncensored[known], min_survival)
    return weights, truncated


def count_steps(
    time: np.ndarray, event: np.ndarray, weights: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Distinct times `(n_steps,)`, and weights of those at risk, with an event and leaving at each.

    Parameters as in `censoring_curve`; the last three have shape `(n_draws, n_steps)`.
    """
    time = np.asarray(time, dtype=np.float64)
    weights = np.atleast_2d(np.ones(len(time)) if weights is None else np.asarray(weights, dtype=np.float64))
    if len(time) == 0:
        empty = np.zeros((len(weights), 0))
        return time, empty, empty, empty
    order = np.argsort(time, kind="stable")
    steps, starts = np.unique(time[order], return_index=True)
    leaving = np.add.reduceat(weights[:, order], starts, axis=1)
    deaths = np.add.reduceat(weights[:, order] * np.asarray(event, dtype=bool)[order], starts, axis=1)
    at_risk = np.cumsum(leaving[:, ::-1], axis=1)[:, ::-1]
    return steps, at_risk, deaths, leaving


def _product(steps: np.ndarray, at_risk: np.ndarray, leaving: np.ndarray) -> StepCurve:
    hazard = np.divide(leaving, at_risk, out=np.zeros_like(at_risk), where=(leaving > 0) & (at_risk > 0))
    values = np.cumprod(1.0 - np.clip(hazard, 0.0, 1.0), axis=1)
    return StepCurve(steps, np.concatenate([np.ones((len(values), 1)), values], axis=1))
