"""The outcome: `(time, event)` with event True where the endpoint was observed, and the grid it is predicted on."""

from __future__ import annotations

import numpy as np

from stratiome.config import EndpointConfig

GRID_POINTS = 61


class OutcomeError(ValueError):
    """An outcome that cannot be analysed."""


def check_outcome(time: np.ndarray, event: np.ndarray, *, min_events: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Check a right-censored outcome.

    Parameters
    ----------
    time
        Shape `(n_patients,)`, follow-up in months, positive and finite.
    event
        Shape `(n_patients,)`, True or 1 = observed, False or 0 = censored.
    min_events
        Events below which the outcome is refused.

    Returns
    -------
    tuple of numpy.ndarray
        Time as float64 and event as bool.

    Raises
    ------
    OutcomeError
        If lengths differ, a time is not positive and finite, an event is not 0/1, or events are too few.
    """
    time = np.asarray(time, dtype=np.float64)
    event = np.asarray(event)
    if time.ndim != 1 or time.shape != event.shape:
        raise OutcomeError(f"time and event must be vectors of one length, not {time.shape} and {event.shape}")
    if not np.isfinite(time).all() or (time <= 0).any():
        bad = int((~np.isfinite(time) | (time <= 0)).sum())
        raise OutcomeError(f"{bad} follow-up times are not positive and finite. Suggestion: remove or correct them")
    if not np.isin(event, (0, 1)).all():
        raise OutcomeError("events must be 0 (censored) or 1 (observed). Suggestion: recode the event column")
    event = event.astype(bool)
    if event.sum() < min_events:
        raise OutcomeError(f"{int(event.sum())} events, at least {min_events} needed. Suggestion: a longer follow-up")
    return time, event


def at_one_time(time: np.ndarray, event: np.ndarray) -> bool:
    """Whether all events come at one time and everybody else is followed beyond it, as with a response.

    Partial likelihoods with all events tied and cumulative hazards at the time of an event tell nothing then.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, as `check_outcome` returns them.
    """
    at = time[event]
    return bool(at.size > 0 and (at == at[0]).all() and (time[~event] > at[0]).all())


def time_grid(endpoint: EndpointConfig) -> np.ndarray:
    """Times in months at which every curve is kept: 61 equally spaced points from 0 to tau, and the horizons."""
    upper = max(endpoint.tau_months, *endpoint.horizons_months)
    points = np.concatenate([np.linspace(0.0, upper, GRID_POINTS), endpoint.horizons_months, [endpoint.tau_months]])
    return np.unique(np.round(points, 6))
