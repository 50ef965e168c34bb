"""Concordance and Brier score where censoring may depend on covariates: weights by a model of the censoring time.

A Kaplan-Meier curve of censoring gives everybody the same weights, and is wrong where those likely to fail are censored
earlier or later than others. The model has not seen the patients whom it weights, and is kept fixed over bootstrap
draws. As in `prognosis.metrics`: one value per draw.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.prognosis.conformal import curve_at
from stratiome.survival.concordance import Sample, gone_before, later, pair_share


@dataclass(frozen=True)
class Observed:
    """Probabilities of being under observation by a model.

    Attributes
    ----------
    curves
        Shape `(n_patients, n_times)`, `G(t- | x) = P(C >= t | x)`.
    grid
        Shape `(n_times,)`, increasing months from 0. Curves are linear between its points.
    """

    curves: np.ndarray
    grid: np.ndarray

    def own(self, sample: Sample) -> np.ndarray:
        """`G(T_i- | x_i)`, truncated, shape `(n_patients,)`."""
        return np.maximum(curve_at(self.curves, self.grid, sample.time), sample.min_survival)

    def of_at(self, rows: np.ndarray, times: np.ndarray, least: float) -> np.ndarray:
        """`G(t- | x_j)` of each of the rows at each of the times, truncated, shape `(n_times, n_rows)`."""
        after = np.clip(np.searchsorted(self.grid, times, side="right"), 1, len(self.grid) - 1)
        share = np.clip((times - self.grid[after - 1]) / (self.grid[after] - self.grid[after - 1]), 0.0, 1.0)[:, None]
        curves = self.curves[rows].T
        return np.maximum(curves[after - 1] * (1.0 - share) + curves[after] * share, least)

    def truncated(self, sample: Sample, tau: float) -> int:
        """Patients who failed of any cause by `tau` and whose own probability was truncated."""
        failed = (sample.event | sample.competing) & (sample.time <= tau)
        return int((failed & (curve_at(self.curves, self.grid, sample.time) < sample.min_survival)).sum())


def uno_c_given(sample: Sample, risk: np.ndarray, tau: float, observed: Observed) -> np.ndarray:
    """Concordance truncated at tau with the weight `1 / (G(T_i- | x_i) G(T_i- | x_j))` of a pair, i failing first.

    Gerds, Kattan, Schumacher & Yu (2013, Stat Med 32:2173). Pairs and ties as in `uno_c`, which this is where G does
    not depend on x. A patient j who failed of another cause before T_i has `G(T_j- | x_j)` (Wolbers et al. 2014).

    Parameters
    ----------
    sample
        Held-out patients.
    risk
        Shape `(n_patients,)`, higher = worse.
    tau
        Months beyond which events do not count.
    observed
        Probabilities of being under observation of the same patients.
    """
    own = observed.own(sample)
    follows, gone = later(sample), gone_before(sample)

    def weighted(cases: np.ndarray, rows: np.ndarray) -> np.ndarray:
        pairs = follows(cases, rows) / observed.of_at(rows, sample.time[cases], sample.min_survival)
        if sample.rivals:
            pairs = pairs + gone(cases, rows) / own[rows]
        return np.asarray(pairs)

    case = sample.event & (sample.time < tau)
    ones = np.ones_like(sample.weights)
    return pair_share(sample, risk, case, ones / own, ones, weighted)


def brier_given(sample: Sample, survival: np.ndarray, times: np.ndarray, observed: Observed) -> np.ndarray:
    """Brier score as `brier`, with `G(T_i- | x_i)` and `G(t- | x_i)` (Gerds & Schumacher 2006, Biom J 48:1029).

    Parameters
    ----------
    sample
        Held-out patients.
    survival
        Shape `(n_patients, n_times)`, predicted probability of being event-free.
    times
        Shape `(n_times,)`, months.
    observed
        Probabilities of being under observation of the same patients.
    """
    passed = sample.time[:, None] <= times
    failed, gone = sample.event[:, None] & passed, sample.competing[:, None] & passed
    alive = np.stack([sample.alive(t) for t in times], axis=1)
    everyone = np.arange(len(sample.time))
    there = observed.of_at(everyone, np.asarray(times, dtype=np.float64), sample.min_survival).T
    lost = (failed * survival**2 + gone * (1.0 - survival) ** 2) / observed.own(sample)[:, None]
    lost += alive * (1.0 - survival) ** 2 / there
    return np.asarray(sample.weights @ lost / sample.weights.sum(axis=1, keepdims=True))
