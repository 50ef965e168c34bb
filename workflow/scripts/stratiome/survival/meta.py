"""Random-effects summary of an estimate over sites: mean, its interval, and where the next site would lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.survival.next_site import prediction_interval

FEWEST = 3
"""Estimates below which nothing is summarised: two tell next to nothing of the variance between sites."""
_STEPS = 400
_SETTLED = 1e-12


class MetaError(ValueError):
    """Estimates that cannot be summarised."""


@dataclass(frozen=True)
class Summary:
    """Mean over sites, on the scale of the estimates.

    Attributes
    ----------
    estimate, error
        Mean of the distribution of sites, and its standard error (Hartung-Knapp).
    lower, upper
        Interval of the mean.
    low, high
        Prediction interval: where the true value of one more site from the same distribution would lie.
    tau2
        Variance between sites.
    i2
        Share of the variation of estimates that is between sites, 0 to 1.
    k
        Number of estimates.
    """

    estimate: float
    error: float
    lower: float
    upper: float
    low: float
    high: float
    tau2: float
    i2: float
    k: int


def random_effects(estimates: np.ndarray, errors: np.ndarray, level: float = 0.95, *, modified: bool = True) -> Summary:
    r"""Random-effects meta-analysis by restricted maximum likelihood.

    With :math:`w_i = 1 / (s_i^2 + \tau^2)` the mean is :math:`\mu = \sum w_i y_i / \sum w_i`. Its standard error is
    that of Hartung & Knapp (2001) and Sidik & Jonkman (2002),
    :math:`\sqrt{q / \sum w_i}` with :math:`q = \sum w_i (y_i - \mu)^2 / (k - 1)`; the modified one takes
    :math:`\max(1, q)`, since the plain one is far too narrow where estimates happen to agree (Röver et al. 2015). The
    interval uses t with `k - 1` degrees of freedom, as `rma(test = "adhoc")` or `"knha"` of R's metafor.

    The prediction interval is that of Nagashima et al. (2019; `next_site.prediction_interval`), but never narrower than
    that of the mean. The usual one, :math:`\mu \pm t_{k-2} \sqrt{\tau^2 + s_\mu^2}` (Higgins et al. 2009), takes the
    estimated variance between sites for the true one, which is often estimated as none where sites differ half as much
    as their estimates err; both are compared in `tests/benchmarks/meta_coverage.py`.

    Parameters
    ----------
    estimates, errors
        Shape `(k,)`, finite, errors positive; on a scale on which sites may be taken for normal.
    level
        Level of both intervals.
    modified
        Whether the standard error may not be smaller than that without Hartung & Knapp's factor.

    Raises
    ------
    MetaError
        If there are fewer than three estimates, a number is not finite, or an error is not positive.
    """
    from scipy.stats import t

    y, variance = np.asarray(estimates, dtype=np.float64), np.asarray(errors, dtype=np.float64) ** 2
    if y.ndim != 1 or y.shape != variance.shape or len(y) < FEWEST:
        raise MetaError(f"{len(y)} estimates, at least {FEWEST} needed")
    if not (np.isfinite(y).all() and np.isfinite(variance).all() and (np.asarray(errors) > 0).all()):
        raise MetaError("estimates must be finite and their standard errors positive")
    k = len(y)
    tau2 = _between(y, variance)
    weight = 1.0 / (variance + tau2)
    mean = float((weight * y).sum() / weight.sum())
    q = float((weight * (y - mean) ** 2).sum() / (k - 1))
    error = float(np.sqrt((max(q, 1.0) if modified else q) / weight.sum()))
    half = float(t.ppf(0.5 + level / 2, k - 1)) * error
    low, high = prediction_interval(y, np.sqrt(variance), level)
    low, high = min(low, mean - half), max(high, mean + half)
    own = 1.0 / variance
    typical = (k - 1) * own.sum() / (own.sum() ** 2 - (own**2).sum())
    i2 = tau2 / (tau2 + typical)
    return Summary(mean, error, mean - half, mean + half, low, high, tau2, float(i2), k)


def _between(y: np.ndarray, variance: np.ndarray) -> float:
    """Variance between sites that maximises the restricted likelihood, 0 where it has its maximum below."""
    from scipy.optimize import brentq, minimize_scalar

    def score(tau2: float) -> float:
        weight = 1.0 / (variance + tau2)
        mean = (weight * y).sum() / weight.sum()
        return float((weight**2 * (y - mean) ** 2).sum() - weight.sum() + (weight**2).sum() / weight.sum())

    def deviance(tau2: np.ndarray) -> np.ndarray:
        weight = 1.0 / (variance + np.asarray(tau2)[..., None])
        total = weight.sum(axis=-1, keepdims=True)
        away = y - (weight * y).sum(axis=-1, keepdims=True) / total
        return (-np.log(weight) + weight * away**2).sum(axis=-1) + np.log(total[..., 0])

    # The likelihood may have more than one maximum: the best point of a fine grid, then the root beside it.
    most = 10.0 * float(np.var(y, ddof=1) + variance.max())
    grid = np.concatenate([[0.0], np.geomspace(1e-8 * most, most, _STEPS)])
    best = int(np.argmin(deviance(grid)))
    if best == 0:
        return 0.0
    low, high = float(grid[best - 1]), float(grid[min(best + 1, len(grid) - 1)])
    if score(low) > 0 > score(high):
        return float(brentq(score, low, high, xtol=_SETTLED * most, rtol=1e-14))
    return float(minimize_scalar(deviance, bounds=(low, high), method="bounded", options={"xatol": 1e-14}).x)
