"""Survival curves of held-out subgroups."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class KaplanMeier(NamedTuple):
    """Kaplan-Meier estimate on a grid.

    Attributes
    ----------
    survival, lower, upper
        Shape `(n_times,)`, estimate and pointwise interval; NaN after the last follow-up.
    at_risk
        Shape `(n_times,)`, patients under observation just before each time.
    """

    survival: np.ndarray
    lower: np.ndarray
    upper: np.ndarray
    at_risk: np.ndarray


def kaplan_meier(time: np.ndarray, event: np.ndarray, at: np.ndarray, level: float) -> KaplanMeier:
    """Survival with pointwise log(-log) interval (Kalbfleisch & Prentice 2002, section 1.4), by lifelines.

    Where survival is 1 the interval is a point; where it is 0 the lower end is 0 and the upper end the last known one.

    Parameters
    ----------
    time
        Shape `(n_patients,)`, months; not empty.
    event
        Shape `(n_patients,)`, True = observed.
    at
        Shape `(n_times,)`, months at which to estimate.
    level
        Level of the interval.
    """
    from lifelines import KaplanMeierFitter

    fitter = KaplanMeierFitter(alpha=1 - level).fit(time, event)
    timeline = fitter.survival_function_.index.to_numpy(dtype=np.float64)
    survival = fitter.survival_function_.iloc[:, 0].to_numpy(dtype=np.float64)
    interval = fitter.confidence_interval_survival_function_.to_numpy(dtype=np.float64)
    interval[survival >= 1] = 1.0
    gone = survival <= 0
    if gone.any():
        before = interval[~gone, 1][-1] if (~gone).any() else 1.0
        interval[gone] = (0.0, before)
    step = np.searchsorted(timeline, at, side="right") - 1
    known = at <= time.max()

    def on_grid(values: np.ndarray) -> np.ndarray:
        return np.where(known, np.clip(values[step], 0.0, 1.0), np.nan)

    at_risk = (time[None, :] >= at[:, None]).sum(axis=1)
    return KaplanMeier(on_grid(survival), on_grid(interval[:, 0]), on_grid(interval[:, 1]), at_risk)
