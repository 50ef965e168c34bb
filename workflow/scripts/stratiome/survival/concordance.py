"""Concordance of risk scores with survival, for many bootstrap draws at once.

Every function returns one value per draw, shape `(n_draws,)`, NaN where a draw cannot tell. Draws are rows of patient
weights, and each draw estimates the censoring distribution anew. Scores of different models do not compare, so
pairs of patients are formed within a fold only, their sums being added over folds.

Competing risks: a patient who failed of another cause never fails of the one of interest, is known not to, and stays
comparable with later events as if followed for ever (Wolbers et al. 2014). Censored is who failed of neither.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from stratiome.survival.censoring import MIN_CENSORING_SURVIVAL, StepCurve, censoring_curve
from stratiome.survival.competing import check_competing, observed_risk

_CELLS = 4_000_000  # elements of the largest temporary array of pairs


@dataclass(frozen=True)
class Sample:
    """Held-out patients, their folds, and bootstrap weights. Make it with `Sample.make`.

    Attributes
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    competing
        Shape `(n_patients,)`, True = failed of another cause, which ends follow-up and is no censoring.
    folds
        Row numbers of each fold.
    strata
        Row numbers within which one censoring distribution holds.
    weights
        Shape `(n_draws, n_patients)`.
    curves
        Censoring curve of each stratum.
    uncensored
        Shape `(n_draws, n_patients)`, probability of being uncensored just before a patient's own time, truncated.
    min_survival
        Value to which smaller probabilities of being uncensored are raised.
    """

    time: np.ndarray
    event: np.ndarray
    competing: np.ndarray
    folds: tuple[np.ndarray, ...]
    strata: tuple[np.ndarray, ...]
    weights: np.ndarray
    curves: tuple[StepCurve, ...]
    uncensored: np.ndarray
    min_survival: float

    @classmethod
    def make(
        cls,
        time: np.ndarray,
        event: np.ndarray,
        *,
        competing: np.ndarray | None = None,
        fold: np.ndarray | None = None,
        weights: np.ndarray | None = None,
        censoring_by_fold: bool = False,
        min_survival: float = MIN_CENSORING_SURVIVAL,
    ) -> Sample:
        """Estimate the censoring distribution of each draw.

        Parameters
        ----------
        time, event
            Shape `(n_patients,)`.
        competing
            Shape `(n_patients,)`, True = failed of another cause; default nobody.
        fold
            Shape `(n_patients,)`, which model predicted the patient; default one fold.
        weights
            Shape `(n_draws, n_patients)`, times each patient was drawn; default one draw of ones.
        censoring_by_fold
            Whether folds (sites) differ in follow-up, so that each has its own censoring distribution.
        min_survival
            Value to which smaller probabilities of being uncensored are raised.

        Raises
        ------
        OutcomeError
            If a patient failed of both causes, or lengths differ.
        """
        time, event = np.asarray(time, dtype=np.float64), np.asarray(event, dtype=bool)
        competing = check_competing(event, competing)
        failed = event | competing
        fold = np.zeros(len(time), dtype=np.int64) if fold is None else np.asarray(fold)
        weights = np.ones((1, len(time))) if weights is None else np.asarray(weights, dtype=np.float64)
        folds = tuple(np.flatnonzero(fold == k) for k in np.unique(fold))
        strata = folds if censoring_by_fold else (np.arange(len(time)),)
        curves = tuple(censoring_curve(time[s], failed[s], weights[:, s]) for s in strata)
        uncensored = np.ones_like(weights)
        for rows, curve in zip(strata, curves, strict=True):
            uncensored[:, rows] = np.maximum(curve.at(time[rows], left=True), min_survival)
        return cls(time, event, competing, folds, strata, weights, curves, uncensored, min_survival)

    def uncensored_at(self, horizon: float) -> np.ndarray:
        """Truncated `G(horizon-)` of each patient's stratum, shape `(n_draws, n_patients)`."""
        found = np.ones_like(self.weights)
        for rows, curve in zip(self.strata, self.curves, strict=True):
            found[:, rows] = np.maximum(curve.at(horizon, left=True), self.min_survival)
        return found

    @property
    def rivals(self) -> bool:
        """Whether anybody failed of another cause."""
        return bool(self.competing.any())

    def alive(self, horizon: float) -> np.ndarray:
        """Shape `(n_patients,)`, True where known to have failed of no cause by the horizon."""
        return (self.time > horizon) | ((self.time == horizon) & ~self.event & ~self.competing)

    def otherwise(self, horizon: float) -> np.ndarray:
        """Shape `(n_patients,)`, True where known to have failed of another cause by the horizon."""
        return self.competing & (self.time <= horizon)

    def risk_at(self, horizon: float) -> np.ndarray:
        """Observed risk of the event by the horizon, shape `(n_draws,)`.

        One minus Kaplan-Meier, or the Aalen-Johansen cumulative incidence where patients failed of other causes.
        """
        return observed_risk(self.time, self.event, self.competing, horizon, self.weights)

    def truncated(self, tau: float) -> int:
        """Patients who failed of any cause by `tau` with a truncated censoring weight, in the first draw."""
        count, failed = 0, self.event | self.competing
        for rows, curve in zip(self.strata, self.curves, strict=True):
            own = curve.at(self.time[rows], left=True)[0]
            count += int((failed[rows] & (self.time[rows] <= tau) & (own < self.min_survival)).sum())
        return count


def harrell_c(sample: Sample, risk: np.ndarray) -> np.ndarray:
    """Harrell's C: share of comparable pairs in which the patient who fails first has the higher risk.

    A pair is comparable where one fails before the other's follow-up ends; an event comes before a censoring at the
    same time. Ties in score count 1/2 (Harrell et al. 1982). Who failed of another cause is comparable with every event
    (Wolbers et al. 2009).

    Parameters
    ----------
    sample
        Held-out patients.
    risk
        Shape `(n_patients,)`, higher = worse.
    """
    ones = np.ones_like(sample.weights)
    if not sample.rivals:
        return pair_share(sample, risk, sample.event, ones, ones, later(sample))

    def comparable(cases: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return later(sample)(cases, rows) | gone_before(sample)(cases, rows)

    return pair_share(sample, risk, sample.event, ones, ones, comparable)


def uno_c(sample: Sample, risk: np.ndarray, tau: float) -> np.ndarray:
    """Uno's C truncated at tau, which does not depend on the censoring.

    `sum d_i G(T_i-)^-2 I(T_i < T_j, T_i < tau) I(r_i > r_j) / sum d_i G(T_i-)^-2 I(T_i < T_j, T_i < tau)`, an event
    coming before a censoring at the same time, ties in score counting 1/2 (Uno et al. 2011). A patient j who failed of
    another cause before T_i is comparable too, with the weight `1 / (G(T_i-) G(T_j-))` (Wolbers et al. 2014).

    Parameters
    ----------
    sample
        Held-out patients.
    risk
        Shape `(n_patients,)`, higher = worse.
    tau
        Months beyond which events do not count.
    """
    case = sample.event & (sample.time < tau)
    ones = np.ones_like(sample.weights)
    ordered, total = pair_sums(sample, risk, case, sample.uncensored**-2.0, ones, later(sample))
    if sample.rivals:
        inverse = 1.0 / sample.uncensored
        more = pair_sums(sample, risk, case, inverse, inverse, gone_before(sample))
        ordered, total = ordered + more[0], total + more[1]
    return ratio(ordered, total)


Comparable = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Row numbers of cases and others -> shape `(n_cases, n_others)`, whether they compare, or the weight of the pair."""


def later(sample: Sample) -> Comparable:
    """Pairs whose other patient is followed beyond the case's event."""

    def comparable(cases: np.ndarray, rows: np.ndarray) -> np.ndarray:
        first, other = sample.time[cases][:, None], sample.time[rows]
        return (first < other) | ((first == other) & ~sample.event[rows])

    return comparable


def gone_before(sample: Sample) -> Comparable:
    """Pairs whose other patient failed of another cause before the case's event; at the same time it is `later`."""

    def comparable(cases: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return sample.competing[rows] & (sample.time[rows] < sample.time[cases][:, None])

    return comparable


def pair_share(
    sample: Sample,
    risk: np.ndarray,
    case: np.ndarray,
    case_weight: np.ndarray,
    control_weight: np.ndarray,
    comparable: Comparable,
) -> np.ndarray:
    """Weighted share of comparable pairs ordered rightly, pairs within folds, sums over folds."""
    return ratio(*pair_sums(sample, risk, case, case_weight, control_weight, comparable))


def pair_sums(
    sample: Sample,
    risk: np.ndarray,
    case: np.ndarray,
    case_weight: np.ndarray,
    control_weight: np.ndarray,
    comparable: Comparable,
) -> tuple[np.ndarray, np.ndarray]:
    """Weights of comparable pairs ordered rightly, and of all, shape `(n_draws,)` each."""
    ordered, total = np.zeros(len(sample.weights)), np.zeros(len(sample.weights))
    for rows in sample.folds:
        cases = rows[case[rows]]
        other = sample.weights[:, rows] * control_weight[:, rows]
        for part in np.array_split(cases, max(1, -(-len(cases) * len(rows) // _CELLS))):
            pairs = comparable(part, rows).astype(np.float64)
            right = pairs * ((risk[part][:, None] > risk[rows]) + 0.5 * (risk[part][:, None] == risk[rows]))
            own = sample.weights[:, part] * case_weight[:, part]
            ordered += np.einsum("bc,bc->b", own, other @ right.T)
            total += np.einsum("bc,bc->b", own, other @ pairs.T)
    return ordered, total


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> np.ndarray:
    return np.divide(numerator, denominator, out=np.full(len(numerator), np.nan), where=denominator > 0)
