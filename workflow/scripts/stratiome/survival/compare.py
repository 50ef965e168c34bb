"""Do groups of patients live differently? Stratified log-rank test, restricted means with errors, nested Cox models."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np

from stratiome.survival.censoring import survival_curve
from stratiome.survival.cox import independent_columns, within_strata
from stratiome.survival.curves import at_risk, is_determined, restricted_mean
from stratiome.survival.outcome import OutcomeError


@dataclass(frozen=True)
class ChiSquared:
    """A chi-squared test of the hypothesis that nothing differs.

    Attributes
    ----------
    statistic
        Chi-squared, None where the test could not be done.
    df
        Degrees of freedom.
    p_value
        None where the test could not be done.
    reason
        Why it could not be done, or "".
    """

    statistic: float | None
    df: int
    p_value: float | None
    reason: str = ""


def log_rank(time: np.ndarray, event: np.ndarray, groups: np.ndarray, strata: np.ndarray | None = None) -> ChiSquared:
    """Log-rank test that the hazards of all groups are the same within each stratum.

    Observed less expected events and their hypergeometric covariance are summed over event times and strata; the
    statistic is their quadratic form (Mantel 1966; Peto & Peto 1972; Kalbfleisch & Prentice 2002, section 1.5).

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    groups
        Shape `(n_patients,)`, labels.
    strata
        Shape `(n_patients,)`, patients are compared within a stratum only; default one stratum.
    """
    from scipy.stats import chi2

    levels, group = np.unique(groups, return_inverse=True)
    df = len(levels) - 1
    if df < 1:
        return ChiSquared(None, 0, None, "fewer than two groups")
    if not np.any(event):
        return ChiSquared(None, df, None, "no events")
    excess, covariance = np.zeros(len(levels)), np.zeros((len(levels), len(levels)))
    strata = np.zeros(len(time), dtype=np.int64) if strata is None else strata
    for stratum in np.unique(strata):
        here = strata == stratum
        more, spread = _excess(time[here], np.asarray(event, dtype=bool)[here], group[here], len(levels))
        excess += more
        covariance += spread
    # Groups that never share a stratum with others cannot be compared with them: the rank says what can.
    rank = int(np.linalg.matrix_rank(covariance, tol=1e-9 * max(1.0, float(np.trace(covariance)))))
    if rank == 0:
        return ChiSquared(None, df, None, "no two groups are at risk together within a stratum")
    statistic = float(excess @ np.linalg.pinv(covariance, rcond=1e-9, hermitian=True) @ excess)
    return ChiSquared(statistic, rank, float(chi2.sf(statistic, rank)))


def _excess(time: np.ndarray, event: np.ndarray, group: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """Observed less expected events of each group, and their covariance, in one stratum."""
    times = np.unique(time[event])
    risk = np.stack([at_risk(time[group == j], times) for j in range(k)], axis=1).astype(np.float64)
    deaths = np.zeros((len(times), k))
    np.add.at(deaths, (np.searchsorted(times, time[event]), group[event]), 1.0)
    n, d = risk.sum(axis=1), deaths.sum(axis=1)
    share = risk / n[:, None]
    factor = np.where(n > 1, d * (n - d) / np.maximum(n - 1, 1), 0.0)
    covariance = np.diag(factor @ share) - (share * factor[:, None]).T @ share
    return (deaths - d[:, None] * share).sum(axis=0), covariance


def restricted_mean_error(time: np.ndarray, event: np.ndarray, tau: float) -> tuple[float, float]:
    """Restricted mean survival time and its standard error, in months.

    `var = sum_{t_i <= tau} (int_{t_i}^tau S(t) dt)^2 d_i / (Y_i (Y_i - d_i))`, Greenwood's terms carried through the
    area (Klein & Moeschberger 2003, section 4.5). Without censoring it is the variance of `min(T, tau)` over n.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed; not empty.
    tau
        Upper limit in months.
    """
    time, event = np.asarray(time, dtype=np.float64), np.asarray(event, dtype=bool)
    mean = restricted_mean(time, event, tau)
    curve = survival_curve(time, event)
    edges = np.append(np.minimum(curve.times, tau), tau)
    after = np.cumsum((np.diff(edges) * curve.values[0, 1:])[::-1])[::-1]
    deaths = np.zeros(len(curve.times))
    np.add.at(deaths, np.searchsorted(curve.times, time[event]), 1.0)
    risk = at_risk(time, curve.times).astype(np.float64)
    counts = (deaths > 0) & (risk > deaths) & (curve.times <= tau)
    terms = after[counts] ** 2 * deaths[counts] / (risk[counts] * (risk[counts] - deaths[counts]))
    return mean, float(np.sqrt(terms.sum()))


@dataclass(frozen=True)
class Difference:
    """Difference of two arms, arm 1 less arm 0, in months; the p-value is that of no difference.

    `error`, `lower`, `upper` and `p_value` rest on the normal distribution.
    """

    estimate: float
    error: float
    lower: float
    upper: float
    p_value: float


def restricted_mean_difference(
    time: np.ndarray, event: np.ndarray, arm: np.ndarray, tau: float, level: float = 0.95
) -> Difference:
    """Difference in restricted mean survival time between two arms, not adjusted for covariates.

    Areas under the arms' Kaplan-Meier curves up to tau, variances added (Royston & Parmar 2013; Uno et al. 2014).
    An arm without a death by tau has no variance; where neither has one, the p-value is NaN.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    arm
        Shape `(n_patients,)`, 0 or 1, or False or True.
    tau
        Upper limit in months.
    level
        Confidence level.

    Raises
    ------
    OutcomeError
        If there are not two arms, or the follow-up of an arm ends before tau with somebody alive.
    """
    from scipy.stats import norm

    time, event, arm = np.asarray(time, dtype=np.float64), np.asarray(event, dtype=bool), np.asarray(arm)
    if set(np.unique(arm).tolist()) != {0, 1}:
        raise OutcomeError("arms must be 0 and 1, both present. Suggestion: recode the arms")
    found = []
    for one in (0, 1):
        here = arm == one
        if not is_determined(time[here], event[here], tau):
            raise OutcomeError(f"follow-up of arm {one} ends before {tau:g} months. Suggestion: a smaller tau")
        found.append(restricted_mean_error(time[here], event[here], tau))
    estimate, error = found[1][0] - found[0][0], float(np.hypot(found[0][1], found[1][1]))
    half = float(norm.ppf(0.5 + level / 2)) * error
    p_value = float(2.0 * norm.sf(abs(estimate) / error)) if error > 0 else np.nan
    return Difference(estimate, error, estimate - half, estimate + half, p_value)


def likelihood_ratio(
    x: np.ndarray, extra: np.ndarray, time: np.ndarray, event: np.ndarray, strata: np.ndarray | None = None
) -> ChiSquared:
    """Likelihood-ratio test of columns added to a Cox model, baseline hazards differing between strata.

    `2 (l(x, extra) - l(x))`, maximised partial log-likelihoods with Efron ties by lifelines. Columns that do not vary
    within a stratum, or are linear combinations of columns before them, are left out and do not count. A group without
    events has an infinite coefficient, but the likelihood has a supremum, which is what is compared.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, what the model holds already; may have no columns.
    extra
        Shape `(n_patients, n_added)`.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed.
    strata
        Shape `(n_patients,)`, default one stratum.
    """
    from scipy.stats import chi2

    strata = np.zeros(len(time), dtype=np.int64) if strata is None else np.unique(strata, return_inverse=True)[1]
    both = np.hstack([x, extra]).astype(np.float64)
    kept = independent_columns(within_strata(both, strata)) if len(time) else np.zeros(0, dtype=np.int64)
    df = int((kept >= x.shape[1]).sum())
    if df == 0:
        return ChiSquared(None, 0, None, "fewer than two groups")
    if not np.any(event):
        return ChiSquared(None, df, None, "no events")
    if int(np.sum(event)) <= len(kept):
        return ChiSquared(None, df, None, f"{int(np.sum(event))} events are too few for {len(kept)} coefficients")
    scaled = both[:, kept] / both[:, kept].std(axis=0)
    smaller = _log_likelihood(scaled[:, kept < x.shape[1]], time, event, strata)
    larger = _log_likelihood(scaled, time, event, strata)
    if smaller is None or larger is None:
        return ChiSquared(None, df, None, "the likelihood did not converge")
    statistic = max(0.0, 2.0 * (larger - smaller))
    return ChiSquared(statistic, df, float(chi2.sf(statistic, df)))


def _log_likelihood(x: np.ndarray, time: np.ndarray, event: np.ndarray, strata: np.ndarray) -> float | None:
    import pandas as pd
    from lifelines import CoxPHFitter
    from lifelines.exceptions import ConvergenceError, ConvergenceWarning

    if x.shape[1] == 0:
        return _empty_log_likelihood(time, event, strata)
    frame = pd.DataFrame(x, columns=[f"x{j}" for j in range(x.shape[1])])
    frame["time"], frame["event"], frame["stratum"] = time, np.asarray(event, dtype=int), strata
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.filterwarnings("error", ".*failed to converge", ConvergenceWarning)
        try:
            fitter = CoxPHFitter().fit(frame, duration_col="time", event_col="event", strata=["stratum"])
        except (ConvergenceError, ConvergenceWarning, np.linalg.LinAlgError, ValueError):
            return None
    return float(fitter.log_likelihood_)


def _empty_log_likelihood(time: np.ndarray, event: np.ndarray, strata: np.ndarray) -> float:
    """Partial log-likelihood of no columns with Efron ties: `-sum_t sum_{l < d_t} log(Y_t - l)`."""
    total = 0.0
    event = np.asarray(event, dtype=bool)
    for stratum in np.unique(strata):
        here = strata == stratum
        times, deaths = np.unique(time[here][event[here]], return_counts=True)
        for risk, d in zip(at_risk(time[here], times), deaths, strict=True):
            total -= float(np.log(risk - np.arange(d)).sum())
    return total
