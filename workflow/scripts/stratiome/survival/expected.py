"""Events that predicted curves lead one to expect in the follow-up that each patient had, and the slope of the outcome.

Both hold however short follow-up is: a patient who was followed for six months counts six months of predicted hazard.
A share of patients with an event, against the risk predicted at a horizon, does not: the others have not got there yet.
"""

from __future__ import annotations

import numpy as np

from stratiome.survival.cox import CoxError, fit_cox

_CLIP = 1e-10  # survival probabilities are kept this far from 0 and 1 before taking logarithms


def complementary_log_log(survival: np.ndarray) -> np.ndarray:
    """`log(-log S)`, finite for every survival probability."""
    return np.asarray(np.log(-np.log(np.clip(survival, _CLIP, 1.0 - _CLIP))))


def event_counts(time: np.ndarray, event: np.ndarray, survival: np.ndarray, grid: np.ndarray) -> tuple[int, float]:
    """Observed and expected events up to the end of the grid (Crowson et al. 2016, Stat Methods Med 25:1692).

    Expected is the cumulative hazard that the curves give each patient up to the end of follow-up or of the grid.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    survival
        Shape `(n_patients, n_times)`, predicted curves.
    grid
        Shape `(n_times,)`, months; the last one is the horizon. Hazards are constant between its points.
    """
    observed, expected = events_between(time, event, survival, grid, grid[-1:])
    return int(observed[0]), float(expected[0])


def events_between(
    time: np.ndarray, event: np.ndarray, survival: np.ndarray, grid: np.ndarray, until: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Observed and expected events of each stretch of follow-up, shape `(n_stretches,)` each; see `event_counts`.

    Parameters
    ----------
    until
        Shape `(n_stretches,)`, months at which they end, rising; the first one begins at 0.
    """
    hazard = -np.log(np.clip(survival, _CLIP, 1.0))
    ends = np.minimum(time[:, None], until[None, :])
    reached = np.zeros(len(until))
    for own, curve in zip(ends, hazard, strict=True):
        reached += np.interp(own, grid, curve)
    stretch = np.searchsorted(until, time[event], side="left")
    observed = np.bincount(stretch, minlength=len(until) + 1)[: len(until)]
    return observed, np.diff(reached, prepend=0.0)


def outcome_slope(
    time: np.ndarray, event: np.ndarray, survival: np.ndarray, horizon: float, strata: np.ndarray | None = None
) -> tuple[float, float] | None:
    """Coefficient of `log(-log S(horizon))` in a Cox regression followed to the horizon, and its standard error.

    Ideal is 1; below 1, predictions are too extreme (van Houwelingen 2000, Stat Med 19:3401). None where predictions
    are all the same or the likelihood has no maximum.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    survival
        Shape `(n_patients,)`, predicted probability of being event-free at the horizon.
    horizon
        Months.
    strata
        Shape `(n_patients,)`, whose predictions come from which model; each has a baseline of its own.
    """
    observed = event & (time <= horizon)
    if not observed.any():
        return None
    try:
        x = complementary_log_log(survival)[:, None]
        model = fit_cox(x, np.minimum(time, horizon), observed, strata=strata)
    except CoxError:
        return None
    if model.standard_errors is None or not np.isfinite(model.standard_errors).all():
        return None
    return float(model.coefficients[0]), float(model.standard_errors[0])
