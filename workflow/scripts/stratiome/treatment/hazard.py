"""Hazard ratio of treated against untreated, second to the differences in survival."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from stratiome.survival.censoring import survival_curve
from stratiome.treatment.emulate import Sample


@dataclass(frozen=True)
class HazardRatio:
    """A hazard ratio with its interval; below 1 the treated die at a lower rate."""

    estimate: float
    lower: float
    upper: float
    p_value: float


def hazard_ratio(sample: Sample, weights: np.ndarray | None, level: float) -> HazardRatio | None:
    """Cox model with treatment alone, Efron ties; None if it does not converge.

    Without weights the interval is Wald's. With weights the variance is the robust one (Lin & Wei 1989), which takes
    the weights as known and is therefore, for estimated propensities, mostly too wide (Austin 2016). A hazard ratio is
    not collapsible: it changes with the covariates conditioned on even without confounding.

    Parameters
    ----------
    sample
        Patients.
    weights
        Shape `(n_patients,)`, or None for none; patients of weight zero do not enter.
    level
        Level of the interval.
    """
    import pandas as pd
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError

    table = pd.DataFrame(
        {"time": sample.time, "event": sample.event.astype(int), "treated": sample.treated.astype(float)}
    )
    extra = {}
    if weights is not None:
        table["weight"] = weights
        table = table[table["weight"] > 0]
        extra = {"weights_col": "weight", "robust": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            fitted = CoxPHFitter(alpha=1.0 - level).fit(table, "time", "event", **extra).summary.loc["treated"]
        except ConvergenceError:
            return None
    names = [n for n in fitted.index if n.startswith("exp(coef) ")]
    found = [float(fitted[n]) for n in ("exp(coef)", *names, "p")]
    return HazardRatio(*found) if np.isfinite(found).all() else None


def proportionality_p_value(sample: Sample) -> float:
    """Test that the hazard ratio of treatment does not change over time, unweighted; NaN if not estimable.

    Score test of `theta = 0` in `h(t | a) = h_0(t) exp(a (beta + theta g(t)))` with `g(t) = 1 - S(t-)` of the pooled
    Kaplan-Meier curve (Grambsch & Therneau 1994, the transform "km"), Breslow ties: with
    `p(t)` the treated share of the hazard at risk, `U = sum g (a - p)` and
    `chi^2 = U^2 / (I_gg - I_g^2 / I_1)`, `I_f = sum f p (1 - p)` for `f = 1, g, g^2`, on one degree of freedom.
    """
    from scipy.stats import chi2

    treated = sample.treated[sample.event].astype(np.float64)
    times = sample.time[sample.event]
    risk = [_at_risk(sample.time[arm], times) for arm in (~sample.treated, sample.treated)]
    share = _treated_share(treated, risk[0], risk[1])
    if share is None:
        return float("nan")
    g = 1.0 - survival_curve(sample.time, sample.event).at(times, left=True)[0]
    variance = share * (1.0 - share)
    left = float((g**2 * variance).sum() - (g * variance).sum() ** 2 / variance.sum())
    if left <= 1e-12:
        return float("nan")
    return float(chi2.sf(float((g * (treated - share)).sum()) ** 2 / left, 1))


def _at_risk(time: np.ndarray, at: np.ndarray) -> np.ndarray:
    ordered = np.sort(time)
    return (len(ordered) - np.searchsorted(ordered, at, side="left")).astype(np.float64)


def _treated_share(treated: np.ndarray, untreated_risk: np.ndarray, treated_risk: np.ndarray) -> np.ndarray | None:
    """Probability under the Cox model that the patient who dies is a treated one, at each event."""
    beta = 0.0
    for _ in range(50):
        hazard = treated_risk * np.exp(beta)
        share = hazard / (hazard + untreated_risk)
        information = float((share * (1.0 - share)).sum())
        if information < 1e-10:
            return None
        step = float((treated - share).sum()) / information
        beta += float(np.clip(step, -1.0, 1.0))
        if abs(step) < 1e-12:
            return share
    return None
