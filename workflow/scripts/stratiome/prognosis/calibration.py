"""Agreement of predicted and observed risk on held-out patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.survival.concordance import Sample

_CLIP = 1e-10  # survival probabilities are kept this far from 0 and 1 before taking logarithms
_STEPS = 50
_MAX_STEP = 1.0
_MAX_SLOPE = 50.0


@dataclass(frozen=True)
class CalibrationGroup:
    """Patients of similar predicted risk: mean predicted risk, one minus Kaplan-Meier with its interval, and size."""

    predicted: float
    observed: float
    lower: float
    upper: float
    n: int


def calibration_slope(sample: Sample, survival: np.ndarray, horizon: float) -> np.ndarray:
    """Slope of the outcome on the predicted risk, shape `(n_draws,)`; ideal 1, below 1 = predictions too extreme.

    The coefficient of `log(-log S_i(t))` in a Cox regression of the outcome followed to the horizon, with one
    baseline per fold and Breslow ties (van Houwelingen 2000; Royston & Altman 2013). NaN where predictions are the
    same for every patient of a fold or the likelihood has no maximum.

    Parameters
    ----------
    sample
        Held-out patients.
    survival
        Shape `(n_patients,)`, predicted probability of being event-free at the horizon.
    horizon
        Months.
    """
    x = np.log(-np.log(np.clip(survival, _CLIP, 1.0 - _CLIP)))
    event = sample.event & (sample.time <= horizon)
    time = np.minimum(sample.time, horizon)
    parts = [_Stratum.make(x[f], time[f], event[f], sample.weights[:, f]) for f in sample.folds]
    draws = len(sample.weights)
    slope, open_, failed = np.ones(draws), np.ones(draws, dtype=bool), np.zeros(draws, dtype=bool)
    for _ in range(_STEPS):
        rows = np.flatnonzero(open_)
        if rows.size == 0:
            break
        score, information = np.zeros(rows.size), np.zeros(rows.size)
        for part in parts:
            s, i = part.derivatives(slope[rows], rows)
            score, information = score + s, information + i
        flat = information <= 1e-10
        failed[rows[flat]] = True
        step = np.clip(score / np.where(flat, 1.0, information), -_MAX_STEP, _MAX_STEP)
        slope[rows] += np.where(flat, 0.0, step)
        open_[rows] = ~flat & (np.abs(step) > 1e-10) & (np.abs(slope[rows]) < _MAX_SLOPE)
    return np.where(failed | open_ | (np.abs(slope) >= _MAX_SLOPE), np.nan, slope)


@dataclass(frozen=True)
class _Stratum:
    """Patients of one fold by descending time."""

    x: np.ndarray
    cases: np.ndarray  # positions of events
    last: np.ndarray  # last position of the risk set of each of them
    weights: np.ndarray

    @classmethod
    def make(cls, x: np.ndarray, time: np.ndarray, event: np.ndarray, weights: np.ndarray) -> _Stratum:
        order = np.argsort(-time, kind="stable")
        time, cases = time[order], np.flatnonzero(event[order])
        last = len(time) - 1 - np.searchsorted(time[::-1], time[cases], side="left")
        # Any constant added to x leaves the slope as it is; the mean keeps the exponentials small.
        return cls(x[order] - x.mean(), cases, last, weights[:, order])

    def derivatives(self, slope: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First derivative and negative second derivative of the log partial likelihood of the draws `rows`."""
        weights = self.weights[rows]
        linear = slope[:, None] * self.x
        relative = weights * np.exp(linear - linear.max(axis=1, keepdims=True))
        total = np.cumsum(relative, axis=1)[:, self.last]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.cumsum(relative * self.x, axis=1)[:, self.last] / total
            square = np.cumsum(relative * self.x**2, axis=1)[:, self.last] / total
        own = weights[:, self.cases]
        drawn = (own > 0) & (total > 0)
        score = np.where(drawn, own * (self.x[self.cases] - mean), 0.0).sum(axis=1)
        information = np.where(drawn, own * np.maximum(square - mean**2, 0.0), 0.0).sum(axis=1)
        return score, information


def calibration_groups(
    time: np.ndarray, event: np.ndarray, risk: np.ndarray, horizon: float, groups: int, level: float
) -> tuple[CalibrationGroup, ...]:
    """Predicted against observed risk in groups of equal size by predicted risk, lowest first.

    Patients with the same risk stay together, so there may be fewer groups, and a group followed for less than the
    horizon has no observed risk, so groups are made fewer until all have one. Intervals are those of Kaplan-Meier on
    the log-log scale with Greenwood's variance; where nobody or everybody in a group fails, the exact one for the
    number still informative. None where no grouping has an observed risk.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    risk
        Shape `(n_patients,)`, predicted probability of the event by the horizon.
    horizon
        Months.
    groups
        Number of groups.
    level
        Level of intervals.
    """
    ordered = np.sort(risk)
    for count in range(groups if len(risk) else 0, 0, -1):
        edges = np.unique(ordered[[max(-(-len(risk) * k // count) - 1, 0) for k in range(1, count)]])
        code = np.searchsorted(edges, risk, side="left")
        made = []
        for k in np.unique(code):
            rows = code == k
            found = _observed(time[rows], event[rows], horizon, level)
            if found is not None:
                made.append(CalibrationGroup(float(risk[rows].mean()), *found, int(rows.sum())))
        if len(made) == len(np.unique(code)):
            return tuple(made)
    return ()


def _observed(time: np.ndarray, event: np.ndarray, horizon: float, level: float) -> tuple[float, float, float] | None:
    """Observed risk and its interval, or None where follow-up ends before the horizon."""
    from scipy.stats import norm

    steps = np.unique(time[event & (time <= horizon)])
    at_risk = (time[:, None] >= steps).sum(axis=0)
    deaths = ((time[:, None] == steps) & event[:, None]).sum(axis=0)
    survival = float(np.prod(1.0 - deaths / at_risk))
    reached = int((time >= horizon).sum())
    if survival == 0.0:
        return 1.0, float(((1.0 - level) / 2.0) ** (1.0 / len(time))), 1.0
    if reached == 0:
        return None
    if survival == 1.0:
        return 0.0, 0.0, 1.0 - float(((1.0 - level) / 2.0) ** (1.0 / reached))
    greenwood = float(np.sum(deaths / (at_risk * (at_risk - deaths))))
    half = float(norm.ppf(0.5 + level / 2.0)) * np.sqrt(greenwood) / abs(np.log(survival))
    lower, upper = survival ** np.exp(half), survival ** np.exp(-half)
    return 1.0 - survival, 1.0 - float(upper), 1.0 - float(lower)
