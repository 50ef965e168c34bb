"""Where the true value of one more site would lie, with the uncertainty of the variance between sites."""

from __future__ import annotations

from functools import cache

import numpy as np

_NODES = 32  # of the contour; the error of the distribution function is below 1e-9
_LEVELS = 80  # quantiles of the variance between sites, and of t
_POINTS = 200
_WIDEST = 1e12  # of a weight, in units of the sum, beyond which the sum is larger for certain
_CERTAIN = 1.0 - 1e-9  # share of no variance from which there is nothing else
_EXTREME = 1e-7  # of the distribution of a new site, where the search for its quantiles begins


def prediction_interval(estimates: np.ndarray, errors: np.ndarray, level: float = 0.95) -> tuple[float, float]:
    r"""Prediction interval of Nagashima, Noma & Furukawa (2019, Stat Methods Med Res 28:1689).

    The variance between sites is drawn from its confidence distribution: that of Cochran's Q for a given
    :math:`\tau^2` is a sum of weighted chi-squared variables, and :math:`H(\tau^2) = P(Q_{\tau^2} > q)` at the observed
    `q` rises with :math:`\tau^2` from the p-value of homogeneity to 1. With it

    .. math:: \theta = \mu(\tau^2) + z\tau - t_{k-1} \sqrt{V(\tau^2)}

    where :math:`\mu` and :math:`V` are mean and squared Hartung-Knapp error with weights
    :math:`1 / (s_i^2 + \tau^2)`, `z` is standard normal and :math:`t` Student's. The authors draw; here it is
    integrated, over :math:`\tau^2` and `t` by Gauss and Legendre, so that the same estimates always give the same ends.

    Parameters
    ----------
    estimates, errors
        Shape `(k,)`, three at least; standard errors positive.
    level
        Level of the interval.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr, stdtr
    from scipy.stats import t

    y, variance = np.asarray(estimates, dtype=np.float64), np.asarray(errors, dtype=np.float64) ** 2
    k = len(y)
    nodes, by = _gauss(0.0, 1.0)
    tau2, mass = _variances(y, variance)
    weight = 1.0 / (variance + tau2[:, None])
    total = weight.sum(axis=1)
    mean = (weight * y).sum(axis=1) / total
    error = np.sqrt((weight * (y - mean[:, None]) ** 2).sum(axis=1) / (k - 1) / total)
    error = np.maximum(error, 1e-12 * np.sqrt(variance.max()))
    around = mean[1:, None] - t.ppf(nodes, k - 1) * error[1:, None]
    tau = np.sqrt(tau2[1:])[:, None]

    def below(x: float) -> float:
        moving = mass[1:] @ ndtr((x - around) / tau) @ by
        return float(moving + mass[0] * stdtr(k - 1, (x - mean[0]) / error[0]))

    reach = float(t.isf(_EXTREME, k - 1)) * error + 6.0 * np.sqrt(tau2)
    ends, tail = (float((mean - reach).min()), float((mean + reach).max())), (1.0 - level) / 2.0
    low, high = (brentq(lambda x, share=share: below(x) - share, *ends) for share in (tail, 1.0 - tail))
    return float(low), float(high)


@cache
def _legendre() -> tuple[np.ndarray, np.ndarray]:
    return np.polynomial.legendre.leggauss(_LEVELS)


def _gauss(low: float, high: float) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights of an integral, shape `(_LEVELS,)` each."""
    nodes, weights = _legendre()
    return low + (high - low) * (nodes + 1.0) / 2.0, (high - low) * weights / 2.0


def _variances(y: np.ndarray, variance: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Confidence distribution of the variance between sites: values, the first 0, and their mass."""
    from scipy.interpolate import PchipInterpolator

    weight = 1.0 / variance
    mean = (weight * y).sum() / weight.sum()
    q = float((weight * (y - mean) ** 2).sum())
    root = np.sqrt(weight)
    inner = np.eye(len(y)) - np.outer(root, root) / weight.sum()

    def above(tau2: np.ndarray) -> np.ndarray:
        """`H` of variances, shape `(n,)`."""
        spread = np.sqrt(1.0 + tau2[:, None] * weight)
        lambdas = np.linalg.eigvalsh(spread[:, :, None] * inner * spread[:, None, :])[:, 1:]
        return 1.0 - weighted_chi_squared(q, lambdas)

    none = float(above(np.zeros(1))[0])
    if none > _CERTAIN:
        return np.zeros(1), np.ones(1)
    levels, mass = _gauss(none, 1.0)
    most = float(np.var(y) + variance.max())
    while above(np.array([most]))[0] < levels[-1]:
        most *= 4.0
    grid = np.concatenate([[0.0], np.geomspace(1e-8 * most, most, _POINTS)])
    share = np.maximum.accumulate(above(grid))
    rising = np.concatenate([[True], np.diff(share) > 0.0])
    tau = PchipInterpolator(share[rising], np.sqrt(grid[rising]))(levels)
    return np.concatenate([[0.0], tau**2]), np.concatenate([[none], mass])


def weighted_chi_squared(x: float, lambdas: np.ndarray) -> np.ndarray:
    """P(sum of `lambda_i` chi-squared variables of one degree of freedom <= x).

    The Laplace transform `prod (1 + 2 lambda_i p)^(-1/2) / p` is inverted along a Talbot contour (Weideman 2006, SIAM J
    Numer Anal 44:2342), which has all of its singularities, on the negative real axis, within.

    Parameters
    ----------
    x
        Positive.
    lambdas
        Shape `(n, m)`, positive; one sum per row.
    """
    if x <= 0.0:
        return np.zeros(len(lambdas))
    angle = (2.0 * np.arange(_NODES) + 1.0) * np.pi / _NODES - np.pi
    slope = 0.6407 * angle
    path = _NODES * (0.5017 * angle / np.tan(slope) - 0.6122 + 0.2645j * angle)  # p times x
    step = 0.5017 / np.tan(slope) - 0.5017 * slope / np.sin(slope) ** 2 + 0.2645j
    ratio = np.minimum(lambdas / x, _WIDEST)
    logs = np.log(1.0 + 2.0 * ratio[:, :, None] * path).sum(axis=1)
    found = (np.exp(path - logs / 2.0) / path * step).sum(axis=1) / 1j
    return np.clip(found.real, 0.0, 1.0)
