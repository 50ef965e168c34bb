"""Kaplan-Meier curves on a grid, restricted means and intervals, for one sample or for many sets of weights at once.

All curves are right-continuous step functions: an event at `t` is part of the survival at `t`. Beyond the longest
follow-up a curve is held at its last value; `is_determined` says whether that is needed. Times are in months.
"""

from __future__ import annotations

import numpy as np

from stratiome.survival.censoring import StepCurve, survival_curve

_BATCH = 4_000_000  # elements of the weight matrix handled at once: bounds memory, changes no number


def kaplan_meier(
    time: np.ndarray, event: np.ndarray, grid: np.ndarray, weights: np.ndarray | None = None
) -> np.ndarray:
    """Kaplan-Meier survival on a grid, `S(t) = prod_{s <= t} (1 - d_s / Y_s)` (Kaplan & Meier 1958).

    With weights, `d_s` and `Y_s` are sums of weights of events and of patients at risk (Xie & Liu 2005).

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    grid
        Shape `(n_times,)`, months, any order.
    weights
        Shape `(n_patients,)`, not negative; default ones.

    Returns
    -------
    numpy.ndarray
        Shape `(n_times,)`, between 0 and 1.
    """
    return survival_curve(time, event, weights).at(np.asarray(grid, dtype=np.float64))[0]


def kaplan_meier_many(time: np.ndarray, event: np.ndarray, weights: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Kaplan-Meier survival on a grid under many sets of weights, as `kaplan_meier` for each row of `weights`.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    weights
        Shape `(n_draws, n_patients)`, not negative. A draw of nothing but zeros gives a curve of ones.
    grid
        Shape `(n_times,)`, months.

    Returns
    -------
    numpy.ndarray
        Shape `(n_draws, n_times)`.
    """
    grid = np.asarray(grid, dtype=np.float64)
    parts = [survival_curve(time, event, part).at(grid) for part in _batches(weights)]
    return np.concatenate(parts) if parts else np.zeros((0, len(grid)))


def survival_at(grid: np.ndarray, survival: np.ndarray, times: np.ndarray | float) -> np.ndarray:
    """Value at `times` of step curves known on a grid: the last grid point not later than the time, 1 before the first.

    Parameters
    ----------
    grid
        Shape `(n_times,)`, increasing, in months.
    survival
        Shape `(..., n_times)`.
    times
        Shape `(n_at,)` or a number, in months.

    Returns
    -------
    numpy.ndarray
        Shape `(..., n_at)`.
    """
    survival = np.asarray(survival, dtype=np.float64)
    start = np.ones((*survival.shape[:-1], 1))
    return np.concatenate([start, survival], axis=-1)[..., np.searchsorted(grid, np.atleast_1d(times), side="right")]


def rmst(grid: np.ndarray, survival: np.ndarray, tau: float) -> np.ndarray:
    """Area up to `tau` under step curves that change at grid points only and are 1 before the first.

    `RMST(tau) = int_0^tau S(t) dt` (Royston & Parmar 2013), in months. On a grid that is coarser than the curve's own
    steps this is an approximation; `restricted_mean` is exact.

    Parameters
    ----------
    grid
        Shape `(n_times,)`, increasing and not negative, in months.
    survival
        Shape `(..., n_times)`.
    tau
        Upper limit in months.

    Returns
    -------
    numpy.ndarray
        Shape `(...)`.
    """
    survival = np.asarray(survival, dtype=np.float64)
    start = np.ones((*survival.shape[:-1], 1))
    return np.concatenate([start, survival], axis=-1) @ _widths(np.asarray(grid, dtype=np.float64), tau)


def area(curve: StepCurve, tau: float) -> np.ndarray:
    """Exact area up to `tau` under each step curve, shape `(n_draws,)`, in months."""
    return curve.values @ _widths(curve.times, tau)


def restricted_mean(time: np.ndarray, event: np.ndarray, tau: float, weights: np.ndarray | None = None) -> float:
    """Restricted mean survival time: exact area up to `tau` under the Kaplan-Meier curve, in months.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    tau
        Upper limit in months.
    weights
        Shape `(n_patients,)`, not negative; default ones.
    """
    return float(area(survival_curve(time, event, weights), tau)[0])


def restricted_mean_many(time: np.ndarray, event: np.ndarray, tau: float, weights: np.ndarray) -> np.ndarray:
    """Restricted mean survival time under many sets of weights `(n_draws, n_patients)`; shape `(n_draws,)`, months."""
    parts = [area(survival_curve(time, event, part), tau) for part in _batches(weights)]
    return np.concatenate(parts) if parts else np.zeros(0)


def kaplan_meier_interval(
    time: np.ndarray, event: np.ndarray, grid: np.ndarray, level: float = 0.95
) -> tuple[np.ndarray, np.ndarray]:
    """Pointwise log-log interval of the unweighted Kaplan-Meier curve.

    `S(t)^exp(-+ z se / log S(t))` with Greenwood's `se^2 = sum_{s <= t} d_s / (Y_s (Y_s - d_s))` (Kalbfleisch &
    Prentice 1980). Before the first event both ends are 1. Once nobody is left the variance is not defined: the lower
    end is then 0 and the upper end keeps its last value.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    grid
        Shape `(n_times,)`, months, any order.
    level
        Confidence level.

    Returns
    -------
    tuple of numpy.ndarray
        Lower and upper ends, each of shape `(n_times,)`.
    """
    from scipy.stats import norm

    time, event = np.asarray(time, dtype=np.float64), np.asarray(event, dtype=bool)
    curve = survival_curve(time, event)
    survival = curve.values[0]
    deaths = np.array([event[time == t].sum() for t in curve.times], dtype=np.float64)
    left = at_risk(time, curve.times) - deaths
    terms = np.divide(deaths, left * (left + deaths), out=np.zeros_like(deaths), where=(deaths > 0) & (left > 0))
    error = np.sqrt(np.concatenate([[0.0], np.cumsum(terms)]))
    inner = (survival > 0) & (survival < 1)
    scaled = np.divide(error, np.log(survival, where=inner, out=np.full_like(survival, -1.0)))
    z = float(norm.ppf(0.5 + level / 2))
    lower = np.where(inner, survival ** np.exp(-z * scaled), survival)
    upper = np.where(inner, survival ** np.exp(z * scaled), survival)
    gone = survival <= 0
    if gone.any():
        first = int(gone.argmax())
        upper[first:] = upper[first - 1]
    index = np.searchsorted(curve.times, np.asarray(grid, dtype=np.float64), side="right")
    return lower[index], upper[index]


def at_risk(time: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Patients still under observation just before each time (`T >= t`), shape `(n_times,)`, int64."""
    ordered = np.sort(np.asarray(time, dtype=np.float64))
    return (len(ordered) - np.searchsorted(ordered, np.asarray(grid, dtype=np.float64), side="left")).astype(np.int64)


def events_by(time: np.ndarray, event: np.ndarray, grid: np.ndarray) -> np.ndarray:
    """Events up to and including each time, shape `(n_times,)`, int64."""
    ordered = np.sort(np.asarray(time, dtype=np.float64)[np.asarray(event, dtype=bool)])
    return np.searchsorted(ordered, np.asarray(grid, dtype=np.float64), side="right").astype(np.int64)


def is_determined(time: np.ndarray, event: np.ndarray, until: float) -> bool:
    """Whether the curve is known up to a time: somebody was followed that long, or all who were followed longest died.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    until
        Time in months.
    """
    if len(time) == 0:
        return False
    longest = float(np.max(time))
    return longest >= until or bool(np.all(np.asarray(event, dtype=bool)[np.asarray(time) == longest]))


def _widths(times: np.ndarray, tau: float) -> np.ndarray:
    if not tau > 0:
        raise ValueError(f"tau must be positive, not {tau}. Suggestion: give it in months")
    edges = np.concatenate([[0.0], np.minimum(times, tau), [tau]])
    return np.diff(edges)


def _batches(weights: np.ndarray) -> list[np.ndarray]:
    weights = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    size = max(1, _BATCH // max(1, weights.shape[1]))
    return [weights[i : i + size] for i in range(0, len(weights), size)]
