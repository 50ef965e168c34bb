"""Lower prediction bounds on survival time, calibrated under general right censoring.

The bound at level a is the time at which a patient's predicted survival falls to 1 - a. The level is the largest at
which the estimated share of patients who fail before their bound is small enough. Event times are known for some
patients only, and censoring times for the others only, so that share is estimated by augmented inverse probability of
censoring weighting, as do Farina, Tchetgen Tchetgen & Kuchibhotla (2025). Candes, Lei & Ren (2023) and Gui et al.
(2024) need the censoring time of everybody, which Sesia & Svetnik (2024) impute.

What is guaranteed. Without censoring, and with curves from one model that has seen neither calibration patients nor the
new one, a bound holds with at least the wanted probability in samples of any size: it is split conformal prediction.
With out-of-fold curves this is approximate. With censoring there is no guarantee in finite samples: as calibration
patients become many, coverage approaches the wanted one if censoring and survival are independent given the covariates,
patients can be followed up to their bound, and the model of censoring **or** the survival model is right (double
robustness). All this is about patients on average, not about the sickest among them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.survival.censoring import MIN_CENSORING_SURVIVAL, censoring_curve

QUARTERS = 4
_LEAST_SURVIVAL = 1e-9  # keeps 1 / S finite; it is always multiplied by a survival that is smaller still


class ConformalError(ValueError):
    """Curves or outcomes from which no bound can be learned."""


@dataclass(frozen=True)
class ConformalLevel:
    """The level of the lower bounds. Make it with `calibrate`.

    Attributes
    ----------
    level
        The bound is the time at which predicted survival falls to 1 - `level`; 0 = no bound but 0 can be given.
    limit
        Largest bound in months: nothing is claimed beyond what calibration patients were followed for.
    alpha
        Share of patients who may fail before their bound.
    missed
        Estimated share of calibration patients who fail before their bound, without the finite-sample correction.
    n, events
        Calibration patients and events among them.
    truncated
        Calibration patients whose probability of being uncensored was raised to the least one allowed.
    """

    level: float
    limit: float
    alpha: float
    missed: float
    n: int
    events: int
    truncated: int

    def lower_bounds(self, survival: np.ndarray, grid: np.ndarray) -> np.ndarray:
        """Lower bounds of patients with these curves, as `lower_bounds` at this level and limit."""
        return lower_bounds(survival, grid, self.level, self.limit)

    @property
    def note(self) -> str:
        """What the bounds can and cannot say, in words; "" if there is nothing to add."""
        if self.level == 0.0:
            return (
                f"no bound but 0 months: {self.n} calibration patients with {self.events} events do not show at any "
                f"time that at most {self.alpha:.0%} fail before it. Suggestion: more patients, or a larger share"
            )
        if self.level == 1.0:
            return f"at most {self.alpha:.0%} fail within {self.limit:g} months, so that no bound needs to be smaller"
        return ""


def calibrate(
    time: np.ndarray,
    event: np.ndarray,
    survival: np.ndarray,
    uncensored: np.ndarray,
    grid: np.ndarray,
    alpha: float = 0.1,
    min_survival: float = MIN_CENSORING_SURVIVAL,
) -> ConformalLevel:
    """Learn the level at which lower bounds hold for a share 1 - alpha of patients.

    The share missed at level a is the mean over patients of

    `I(T < L, event) / G(T-) + I(T < L, censored) m(T) / G(T-) - int_0^min(T, L) m(u) d(1 / G(u))`,

    with `L` the patient's bound at a and `m(u) = 1 - S(L) / S(u)` the predicted probability of failing before it given
    survival to u (Robins & Rotnitzky 1992; Farina et al. 2025). The first term alone is inverse probability of
    censoring weighting; the others, of mean zero where G is right, add what the survival model knows of patients
    who were censored, and correct the first where G is wrong and the survival model right.

    As in weighted conformal prediction (Tibshirani et al. 2019) a new patient counts as missed, with the largest weight
    w that it could have, `1 / G(L-)`, here averaged over patients so that one level serves everybody: it is the largest
    event's score up to which `(sum + w) / (n + w) <= alpha` throughout. Without censoring w = 1, and this is the split
    conformal quantile: the `floor(alpha (n + 1))`-th smallest predicted probability of failing by one's own event time.
    Where even the end of the grid, or of follow-up, is a valid bound, the level is 1.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed, of patients whom no model below has seen.
    survival
        Shape `(n_patients, n_times)`, predicted survival.
    uncensored
        Shape `(n_patients, n_times)`, predicted probability of not being censored before each time, `P(C >= t | x)`.
    grid
        Shape `(n_times,)`, increasing months from 0. Curves are linear between its points.
    alpha
        Share of patients who may fail before their bound.
    min_survival
        Value to which smaller probabilities of being uncensored are raised. Beyond the time at which the Kaplan-Meier
        curve of censoring falls below it there is no bound.

    Raises
    ------
    ConformalError
        If shapes do not fit, curves are not probabilities, or alpha is not between 0 and 1.
    """
    if not 0.0 < alpha < 1.0:
        raise ConformalError(f"alpha must be between 0 and 1, not {alpha}. Suggestion: 0.1 for 90 % bounds")
    patients = _Patients.make(time, event, survival, uncensored, grid, min_survival)
    scores = np.unique(patients.score[patients.event & np.isfinite(patients.score)])
    level, missed = 0.0, 0.0
    for candidate in np.append(scores[scores < 1.0], 1.0):
        share, weight = patients.missed(float(candidate))
        if (share * patients.n + weight) / (patients.n + weight) > alpha * (1.0 + 1e-12):
            break
        level, missed = float(candidate), share
    return ConformalLevel(
        level, patients.limit, alpha, missed, patients.n, int(patients.event.sum()), patients.truncated(level)
    )


def lower_bounds(survival: np.ndarray, grid: np.ndarray, level: float, limit: float = np.inf) -> np.ndarray:
    """First time at which each survival curve, linear between grid points, has fallen to 1 - level.

    A curve that stays above gives the end of the grid, and no bound is above the limit: making a lower bound smaller
    leaves it valid.

    Parameters
    ----------
    survival
        Shape `(n_patients, n_times)`, not increasing, 1 at time 0.
    grid
        Shape `(n_times,)`, increasing months from 0.
    level
        Between 0, where every bound is 0, and 1.
    limit
        Months.

    Returns
    -------
    numpy.ndarray
        Shape `(n_patients,)`, months.
    """
    grid = np.asarray(grid, dtype=np.float64)
    low = survival <= 1.0 - level
    after = np.where(low.any(axis=1), low.argmax(axis=1), len(grid) - 1)
    rows, before = np.arange(len(survival)), np.maximum(after - 1, 0)
    drop = survival[rows, before] - survival[rows, after]
    share = np.divide(survival[rows, before] - (1.0 - level), drop, out=np.ones(len(rows)), where=drop > 0)
    found = grid[before] + np.clip(share, 0.0, 1.0) * (grid[after] - grid[before])
    return np.minimum(found, limit)


def curve_at(curves: np.ndarray, grid: np.ndarray, times: np.ndarray) -> np.ndarray:
    """Value of each patient's own curve at the patient's own time, linear between grid points, flat after the last.

    Parameters
    ----------
    curves
        Shape `(n_patients, n_times)`.
    grid
        Shape `(n_times,)`, increasing months.
    times
        Shape `(n_patients,)`, months.
    """
    cell = _cell(grid, times)
    rows = np.arange(len(curves))
    share = np.clip((times - grid[cell]) / (grid[cell + 1] - grid[cell]), 0.0, 1.0)
    return curves[rows, cell] * (1.0 - share) + curves[rows, cell + 1] * share


def _cell(grid: np.ndarray, times: np.ndarray) -> np.ndarray:
    return np.clip(np.searchsorted(grid, times, side="right") - 1, 0, len(grid) - 2)


@dataclass(frozen=True)
class _Patients:
    """Calibration patients with what does not depend on the level.

    `score` is the smallest level above which the patient's follow-up ends before the bound, infinite where it reaches
    the limit; `gathered` is `int_0^t (1 / S) d(1 / G)` at grid points.
    """

    time: np.ndarray
    event: np.ndarray
    survival: np.ndarray
    uncensored: np.ndarray
    grid: np.ndarray
    limit: float
    score: np.ndarray
    gathered: np.ndarray
    min_survival: float

    @classmethod
    def make(
        cls,
        time: np.ndarray,
        event: np.ndarray,
        survival: np.ndarray,
        uncensored: np.ndarray,
        grid: np.ndarray,
        min_survival: float,
    ) -> _Patients:
        time, event = np.asarray(time, dtype=np.float64), np.asarray(event, dtype=bool)
        grid = np.asarray(grid, dtype=np.float64)
        survival = _curves(survival, len(time), grid, "survival")
        uncensored = _curves(uncensored, len(time), grid, "censoring")
        limit = min(float(grid[-1]), _followed(time, event, min_survival))
        score = np.where(time >= limit, np.inf, 1.0 - curve_at(survival, grid, time))
        inverse_survival = 1.0 / np.maximum(survival, _LEAST_SURVIVAL)
        mean = 0.5 * (inverse_survival[:, 1:] + inverse_survival[:, :-1])
        rise = np.diff(1.0 / np.maximum(uncensored, min_survival), axis=1)
        gathered = np.concatenate([np.zeros((len(time), 1)), np.cumsum(mean * rise, axis=1)], axis=1)
        return cls(time, event, survival, uncensored, grid, limit, score, gathered, min_survival)

    @property
    def n(self) -> int:
        return len(self.time)

    def missed(self, level: float) -> tuple[float, float]:
        """Estimated share of patients who fail before their bound at a level, and the mean weight of a new patient."""
        bound = lower_bounds(self.survival, self.grid, level, self.limit)
        left = self.score < level
        until = np.where(left, self.time, bound)
        weight = 1.0 / self._observed(until)
        at_bound = curve_at(self.survival, self.grid, bound)
        now = np.maximum(curve_at(self.survival, self.grid, until), _LEAST_SURVIVAL)
        later = np.where(left & ~self.event, 1.0 - at_bound / np.maximum(now, at_bound), 0.0)
        spent = (weight - 1.0 / self._observed(np.zeros(self.n))) - at_bound * self._gathered(until, now, weight)
        value = (left & self.event) * weight + later * weight - spent
        return float(value.mean()), float((1.0 / self._observed(bound)).mean())

    def truncated(self, level: float) -> int:
        """Patients whose weight at a level was truncated."""
        bound = lower_bounds(self.survival, self.grid, level, self.limit)
        until = np.where(self.score < level, self.time, bound)
        return int((curve_at(self.uncensored, self.grid, until) < self.min_survival).sum())

    def _observed(self, times: np.ndarray) -> np.ndarray:
        return np.maximum(curve_at(self.uncensored, self.grid, times), self.min_survival)

    def _gathered(self, times: np.ndarray, survival: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Integral of 1 / S against 1 / G up to each patient's own time, where these are `survival` and `weight`."""
        rows, cell = np.arange(self.n), _cell(self.grid, times)
        start = np.maximum(self.survival[rows, cell], _LEAST_SURVIVAL)
        begun = 1.0 / np.maximum(self.uncensored[rows, cell], self.min_survival)
        return self.gathered[rows, cell] + 0.5 * (1.0 / start + 1.0 / survival) * (weight - begun)


def _curves(curves: np.ndarray, n: int, grid: np.ndarray, name: str) -> np.ndarray:
    curves = np.asarray(curves, dtype=np.float64)
    if n == 0 or curves.shape != (n, len(grid)):
        raise ConformalError(f"{name} curves have shape {curves.shape}, not ({n}, {len(grid)}), or nobody is there")
    if len(grid) < 2 or grid[0] != 0.0 or (np.diff(grid) <= 0).any():
        raise ConformalError("the grid must increase from 0. Suggestion: use `survival.outcome.time_grid`")
    if not np.isfinite(curves).all() or (curves < 0).any() or (curves > 1).any():
        raise ConformalError(f"{name} curves are not probabilities. Suggestion: check the model that predicted them")
    return np.minimum.accumulate(curves, axis=1)


def _followed(time: np.ndarray, event: np.ndarray, min_survival: float) -> float:
    """Time up to which at least a share `min_survival` would be under observation if nobody failed."""
    curve = censoring_curve(time, event)
    gone = np.flatnonzero(curve.values[0, 1:] < min_survival)
    return float(curve.times[gone[0]]) if gone.size else np.inf


@dataclass(frozen=True)
class Coverage:
    """Share of held-out patients who outlive their lower bound.

    Attributes
    ----------
    by
        "all", "risk quarter", or the name of the grouping.
    group
        "" for all patients, else which group.
    covered
        Shape `(n_draws,)`, NaN where nobody's status at the bound is known.
    n, known
        Patients of the group, and those who are known to fail before their bound or to reach it.
    truncated
        Those of them whose probability of being uncensored, in the first draw, was raised to the least one allowed.
    """

    by: str
    group: str
    covered: np.ndarray
    n: int
    known: int
    truncated: int


def coverage(
    time: np.ndarray,
    event: np.ndarray,
    lower: np.ndarray,
    *,
    groupings: dict[str, np.ndarray] | None = None,
    weights: np.ndarray | None = None,
    uncensored: np.ndarray | None = None,
    min_survival: float = MIN_CENSORING_SURVIVAL,
) -> list[Coverage]:
    """Coverage of lower bounds on held-out patients: of all, and of every group.

    `sum W_i I(T_i >= L_i) / sum W_i` over patients whose status at their bound is known, those with an event before it
    or under observation at it, with `W_i = 1 / G(min(T_i, L_i)-)` (the weights of Graf et al. 1999 with each patient's
    bound as the horizon). It is right where G is; the survival model does not enter. Groups share one G.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    lower
        Shape `(n_patients,)`, bounds in months.
    groupings
        Name -> shape `(n_patients,)`, group of each patient, such as `{"risk quarter": risk_quarters(risk)}`.
    weights
        Shape `(n_draws, n_patients)`, times each patient was drawn; default one draw of ones.
    uncensored
        Shape `(n_patients,)`, probability of not being censored before `min(T_i, L_i)` by a model that has not seen
        the patient, kept fixed over draws (`curve_at` reads it from curves). Default: the Kaplan-Meier curve of
        censoring of these patients, estimated anew in each draw, which is wrong where censoring depends on covariates.
    min_survival
        Value to which smaller probabilities of being uncensored are raised.

    Returns
    -------
    list
        All patients first, then the groups of each grouping in order.
    """
    time, event, lower = np.asarray(time, np.float64), np.asarray(event, dtype=bool), np.asarray(lower, np.float64)
    weights = np.ones((1, len(time))) if weights is None else np.atleast_2d(np.asarray(weights, dtype=np.float64))
    until = np.minimum(time, lower)
    if uncensored is None:
        observed = censoring_curve(time, event, weights).at(until, left=True)
    else:
        observed = np.asarray(uncensored, dtype=np.float64)[None]
    known = event | (time >= lower)
    weighted = known * weights / np.maximum(observed, min_survival)
    small = known & (observed[0] < min_survival)
    found = []
    for by, group, rows in _groups(len(time), groupings or {}):
        total = weighted[:, rows].sum(axis=1)
        reached = weighted[:, rows] @ (time >= lower)[rows].astype(np.float64)
        share = np.divide(reached, total, out=np.full(len(weights), np.nan), where=total > 0)
        found.append(Coverage(by, group, share, int(rows.sum()), int(known[rows].sum()), int(small[rows].sum())))
    return found


def _groups(n: int, groupings: dict[str, np.ndarray]) -> list[tuple[str, str, np.ndarray]]:
    found = [("all", "", np.ones(n, dtype=bool))]
    for name, groups in groupings.items():
        groups = np.asarray(groups)
        found += [(name, str(group), groups == group) for group in np.unique(groups)]
    return found


def risk_quarters(risk: np.ndarray, fold: np.ndarray | None = None) -> np.ndarray:
    """Quarter of predicted risk within the fold, 1 = lowest to 4 = sickest, shape `(n_patients,)`.

    Patients of the same risk stay together, at their mean rank, so quarters may differ in size or be empty.

    Parameters
    ----------
    risk
        Shape `(n_patients,)`, higher = worse; comparable within a fold only.
    fold
        Shape `(n_patients,)`; default one fold.
    """
    from scipy.stats import rankdata

    fold = np.zeros(len(risk)) if fold is None else np.asarray(fold)
    quarter = np.zeros(len(risk), dtype=np.int64)
    for k in np.unique(fold):
        rows = fold == k
        quarter[rows] = np.ceil(QUARTERS * rankdata(risk[rows]) / rows.sum()).astype(np.int64)
    return quarter
