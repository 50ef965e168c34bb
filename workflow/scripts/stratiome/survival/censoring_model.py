"""Probability of being under observation given covariates: proportional hazards of censoring.

Where censoring depends on what drives survival, the Kaplan-Meier curve of censoring weights patients wrongly (Robins &
Rotnitzky 1992), and a model of the censoring time given the covariates takes its place.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from stratiome.survival.censoring import StepCurve, censoring_curve
from stratiome.survival.cox import CoxError, CoxModel, fit_cox


@dataclass(frozen=True)
class CensoringModel:
    """A model of the censoring time. Make it with `fit_censoring`.

    Attributes
    ----------
    marginal
        Kaplan-Meier curve of censoring, used where there is no model.
    cox
        Proportional hazards model of censoring, None where none could be fitted.
    note
        Why there is none, or how it deviates from plain maximum likelihood; "" if neither.
    """

    marginal: StepCurve
    cox: CoxModel | None
    note: str = ""

    def uncensored(self, x: np.ndarray, times: np.ndarray) -> np.ndarray:
        """`G(t- | x) = P(C >= t | x)`, the probability of not being censored before t.

        Parameters
        ----------
        x
            Shape `(n_patients, n_columns)`, as in the fit.
        times
            Shape `(n_times,)`, months.

        Returns
        -------
        numpy.ndarray
            Shape `(n_patients, n_times)`, 1 at time 0, not increasing.
        """
        if self.cox is None:
            return np.repeat(self.marginal.at(times, left=True), len(x), axis=0)
        return self.cox.survival(x, np.nextafter(np.asarray(times, dtype=np.float64), -np.inf))


def fit_censoring(x: np.ndarray, time: np.ndarray, event: np.ndarray) -> CensoringModel:
    """Cox model of the censoring time with Efron ties, or its Kaplan-Meier curve where there is no such model.

    A patient with an event at t is not at risk of being censored at t, as in `censoring_curve`. The partial likelihood
    knows the order of times alone, so the model is fitted to ranks in which events precede censorings.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, finite; no column gives the Kaplan-Meier curve.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    """
    time, event = np.asarray(time, dtype=np.float64), np.asarray(event, dtype=bool)
    marginal = censoring_curve(time, event)
    if event.all():
        return CensoringModel(marginal, None, "nobody is censored")
    if time[~event].min() >= time.max():
        return CensoringModel(marginal, None, "nobody is censored before the end of follow-up")
    steps, rank = np.unique(time, return_inverse=True)
    try:
        ranked = fit_cox(x, 2.0 * rank + np.where(event, 1.0, 2.0), ~event)
    except CoxError as error:
        return CensoringModel(marginal, None, f"Kaplan-Meier curve of censoring, since {error}")
    own = steps[(np.round(ranked.times).astype(np.int64) - 2) // 2]
    return CensoringModel(marginal, replace(ranked, times=own), ranked.note)
