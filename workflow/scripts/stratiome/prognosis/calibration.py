"""Agreement of predicted and observed risk on held-out patients."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.survival.censoring import survival_curve
from stratiome.survival.competing import cause_of, check_competing, incidence_error, observed_risk
from stratiome.survival.concordance import Sample
from stratiome.survival.expected import complementary_log_log
from stratiome.survival.outcome import at_one_time

_STEPS = 50
_MAX_STEP = 1.0
_MAX_SLOPE = 50.0


@dataclass(frozen=True)
class CalibrationGroup:
    """Patients of similar predicted risk: mean predicted risk, the observed one with its interval, and size."""

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

    With competing risks the regression is that of Fine & Gray (1999): who failed of another cause stays at risk with
    the weight `G(s-) / G(T_i-)`, and `log(-log S_i)` is the complementary log-log of the predicted cumulative incidence
    (Austin, Putter, Giardiello & van Klaveren 2022, Diagn Progn Res 6:2). True risks have slope 1 where hazards of
    the subdistribution are proportional, and close to it elsewhere: 0.985 in `tests/benchmarks/prognosis_gates.py`.

    Without time (`at_one_time`) Breslow's approximation is far off, as all events are tied; the coefficient is that of
    a binomial regression with complementary log-log link then, one intercept per fold.

    Parameters
    ----------
    sample
        Held-out patients.
    survival
        Shape `(n_patients,)`, predicted probability of being event-free at the horizon.
    horizon
        Months.
    """
    x = complementary_log_log(survival)
    event = sample.event & (sample.time <= horizon)
    time = np.minimum(sample.time, horizon)
    gone = sample.otherwise(horizon)
    if at_one_time(sample.time, sample.event):
        return _binomial_slope(x, event, sample)
    parts = [
        _Stratum.make(x[f], time[f], event[f], sample.weights[:, f], gone[f], sample.uncensored[:, f])
        for f in sample.folds
    ]
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


def _binomial_slope(x: np.ndarray, event: np.ndarray, sample: Sample) -> np.ndarray:
    """Coefficient of `x` in a binomial regression with complementary log-log link, one intercept per fold.

    Fisher scoring, shape `(n_draws,)`; a fold where all patients of a draw have the same outcome tells nothing.
    """
    basis = np.zeros((len(x), len(sample.folds) + 1))
    for k, fold in enumerate(sample.folds):
        basis[fold, k] = 1.0
        basis[fold, -1] = x[fold] - x[fold].mean()
    found = np.zeros((len(sample.weights), basis.shape[1]))
    if np.ptp(basis[:, -1]) <= 1e-10:
        return np.full(len(found), np.nan)
    open_ = np.ones(len(found), dtype=bool)
    for _ in range(_STEPS):
        rows = np.flatnonzero(open_)
        if rows.size == 0:
            break
        hazard = np.exp(np.clip(found[rows] @ basis.T, -20.0, 3.5))
        odds = np.exp(-hazard) / -np.expm1(-hazard)  # of no event
        score = sample.weights[rows] * hazard * np.where(event, odds, -1.0)
        weight = sample.weights[rows] * hazard**2 * odds
        information = np.einsum("dn,ni,nj->dij", weight, basis, basis, optimize=True)
        information += 1e-8 * np.eye(basis.shape[1])
        step = np.linalg.solve(information, (score @ basis)[:, :, None])[:, :, 0]
        found[rows] += np.clip(step, -_MAX_STEP, _MAX_STEP)
        open_[rows] = (np.abs(step[:, -1]) > 1e-8) & (np.abs(found[rows, -1]) < _MAX_SLOPE)
    slope = found[:, -1]
    return np.where(open_ | (np.abs(slope) >= _MAX_SLOPE), np.nan, slope)


@dataclass(frozen=True)
class _Stratum:
    """Patients of one fold by descending time."""

    x: np.ndarray
    cases: np.ndarray  # positions of events
    last: np.ndarray  # last position of the risk set of each of them
    weights: np.ndarray
    staying: np.ndarray | None  # 1 / G(T-) of those who failed of another cause, else 0; None where nobody did
    uncensored: np.ndarray  # G(s-) at the time of each event

    @classmethod
    def make(
        cls,
        x: np.ndarray,
        time: np.ndarray,
        event: np.ndarray,
        weights: np.ndarray,
        gone: np.ndarray,
        uncensored: np.ndarray,
    ) -> _Stratum:
        order = np.argsort(-time, kind="stable")
        time, cases = time[order], np.flatnonzero(event[order])
        last = len(time) - 1 - np.searchsorted(time[::-1], time[cases], side="left")
        # Any constant added to x leaves the slope as it is; the mean keeps the exponentials small.
        staying = gone[order] / uncensored[:, order] if gone.any() else None
        return cls(x[order] - x.mean(), cases, last, weights[:, order], staying, uncensored[:, order[cases]])

    def derivatives(self, slope: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """First derivative and negative second derivative of the log partial likelihood of the draws `rows`."""
        weights = self.weights[rows]
        linear = slope[:, None] * self.x
        relative = weights * np.exp(linear - linear.max(axis=1, keepdims=True))
        total = self._at_risk(relative, rows)
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = self._at_risk(relative * self.x, rows) / total
            square = self._at_risk(relative * self.x**2, rows) / total
        own = weights[:, self.cases]
        drawn = (own > 0) & (total > 0)
        score = np.where(drawn, own * (self.x[self.cases] - mean), 0.0).sum(axis=1)
        information = np.where(drawn, own * np.maximum(square - mean**2, 0.0), 0.0).sum(axis=1)
        return score, information

    def _at_risk(self, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Sum of values over the risk set of each event, shape `(n_rows, n_cases)`."""
        found = np.cumsum(values, axis=1)[:, self.last]
        if self.staying is None:
            return found
        # Times descend, so those who left before an event are counted from the end.
        earlier = np.cumsum((values * self.staying[rows])[:, ::-1], axis=1)[:, ::-1]
        earlier = np.concatenate([earlier, np.zeros((len(rows), 1))], axis=1)[:, self.last + 1]
        return np.asarray(found + self.uncensored[rows] * earlier)


def calibration_groups(
    time: np.ndarray,
    event: np.ndarray,
    risk: np.ndarray,
    horizon: float,
    groups: int,
    level: float,
    competing: np.ndarray | None = None,
) -> tuple[CalibrationGroup, ...]:
    """Predicted against observed risk in groups of equal size by predicted risk, lowest first.

    Patients with the same risk stay together, so there may be fewer groups, and a group followed for less than the
    horizon has no observed risk, so groups are made fewer until all have one. Intervals are those of Kaplan-Meier on
    the log-log scale with Greenwood's variance; where nobody or everybody in a group fails, the exact one for the
    number still informative. With competing risks the observed risk is the Aalen-Johansen cumulative incidence, with
    intervals on the same scale by its standard error. None where no grouping has an observed risk.

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
    competing
        Shape `(n_patients,)`, True = failed of another cause; default nobody.
    """
    competing = check_competing(event, competing)
    ordered = np.sort(risk)
    for count in range(groups if len(risk) else 0, 0, -1):
        edges = np.unique(ordered[[max(-(-len(risk) * k // count) - 1, 0) for k in range(1, count)]])
        code = np.searchsorted(edges, risk, side="left")
        made = []
        for k in np.unique(code):
            rows = code == k
            if competing.any():
                found = _incidence(time[rows], event[rows], competing[rows], horizon, level)
            else:
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


def _incidence(
    time: np.ndarray, event: np.ndarray, competing: np.ndarray, horizon: float, level: float
) -> tuple[float, float, float] | None:
    """As `_observed`, by Aalen-Johansen."""
    from scipy.stats import norm

    if not competing.any():
        return _observed(time, event, horizon, level)
    reached, gone = time >= horizon, competing & (time <= horizon)
    if survival_curve(time, event | competing).at(horizon)[0, 0] > 0.0 and not reached.any():
        return None
    risk = float(observed_risk(time, event, competing, horizon)[0])
    if risk == 0.0:
        return 0.0, 0.0, 1.0 - float(((1.0 - level) / 2.0) ** (1.0 / int((reached | gone).sum())))
    error = float(incidence_error(time, cause_of(event, competing), np.array([horizon]), causes=2)[0, 0])
    half = float(norm.ppf(0.5 + level / 2.0)) * error / ((1.0 - risk) * abs(np.log1p(-risk)))
    lower, upper = (1.0 - risk) ** np.exp(half), (1.0 - risk) ** np.exp(-half)
    return risk, 1.0 - float(upper), 1.0 - float(lower)
