"""Does an order of patients tell who benefits more? Rank-weighted average effects on patients who did not make it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

_CELLS = 2_000_000  # elements of the largest temporary array of draws


@dataclass(frozen=True)
class Rate:
    """A rank-weighted average treatment effect.

    Attributes
    ----------
    estimate, error
        In units of the effect; 0 where the order tells nothing.
    p_value
        Two-sided test that it is 0.
    """

    estimate: float
    error: float
    p_value: float


def autoc(contrast: np.ndarray, priority: np.ndarray, weights: np.ndarray | None = None) -> np.ndarray:
    """Area under the targeting operator characteristic, one value per draw of patients.

    `TOC(q)` is the mean effect in the share q of patients with the highest priority, less that in all, and the area is
    its integral over q from 0 to 1 (Yadlowsky, Fleming, Shah, Brunskill & Wager 2025, J Am Stat Assoc 120:38). With
    effects in order of priority it is `mean_j (mean_{i <= j} contrast_i) - mean contrast`. Patients who tie share the
    mean of their contrasts, as over every order among them.

    Parameters
    ----------
    contrast
        Shape `(n_patients,)`, doubly robust contributions to the effect, by models that have not seen the patient.
    priority
        Shape `(n_patients,)`, higher = first; learned without these patients.
    weights
        Shape `(n_draws, n_patients)`, times each patient was drawn; default one draw of ones.
    """
    weights = np.ones((1, len(contrast))) if weights is None else weights
    _, tied = np.unique(-priority, return_inverse=True)
    order = np.argsort(tied, kind="stable")
    starts = np.searchsorted(tied[order], np.arange(tied.max(initial=0) + 1))
    drawn = weights[:, order]
    size = np.add.reduceat(drawn, starts, axis=1)
    total = np.add.reduceat(drawn * contrast[order], starts, axis=1)
    mean = np.divide(total, size, out=np.zeros_like(total), where=size > 0)
    before = np.cumsum(size, axis=1) - size
    summed = np.cumsum(total, axis=1) - total
    n = weights.sum(axis=1)
    # Within a group of m ties after b patients, sum over k = 1..m of (S + k mean) / (b + k).
    logs = _harmonic(before + size) - _harmonic(before)
    area = mean * size + (summed - mean * before) * logs
    return area.sum(axis=1) / n - total.sum(axis=1) / n


def _harmonic(n: np.ndarray) -> np.ndarray:
    """Sum of 1 / k for k up to n."""
    from scipy.special import digamma

    return np.where(n > 0, digamma(n + 1.0) + np.euler_gamma, 0.0)


def rate(contrast: np.ndarray, priority: np.ndarray, *, draws: int, rng: np.random.Generator) -> Rate:
    """AUTOC with a test by half-sampling.

    The standard error is that of the estimate in halves of the patients drawn without replacement, which varies as the
    estimate itself does about its mean (Yadlowsky et al. 2025; Præstgaard & Wellner 1993).

    Parameters
    ----------
    contrast, priority
        As in `autoc`.
    draws
        Number of halves.
    rng
        Source of the halves.
    """
    from scipy.stats import norm

    estimate = float(autoc(contrast, priority)[0])
    drawn = np.concatenate([autoc(contrast, priority, w) for w in _halves(len(contrast), draws, rng)])
    error = float(np.std(drawn, ddof=1))
    p = float(2 * norm.sf(abs(estimate) / error)) if error > 0 else 1.0
    return Rate(estimate, error, p)


def _halves(n: int, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    size = max(1, _CELLS // max(n, 1))
    for begin in range(0, draws, size):
        order = rng.random((min(size, draws - begin), n)).argsort(axis=1)
        yield (order < n // 2).astype(np.float64)


def toc(contrast: np.ndarray, priority: np.ndarray, shares: np.ndarray) -> np.ndarray:
    """Mean effect among the patients of highest priority less that in all, at each share; shape `(n_shares,)`.

    Parameters
    ----------
    contrast, priority
        As in `autoc`.
    shares
        Shape `(n_shares,)`, in (0, 1].
    """
    _, tied = np.unique(-priority, return_inverse=True)
    means = np.bincount(tied, contrast) / np.bincount(tied)
    ordered = means[tied][np.argsort(tied, kind="stable")]
    upto = np.cumsum(ordered) / np.arange(1, len(contrast) + 1)
    first = np.clip(np.ceil(shares * len(contrast) - 1e-9).astype(np.int64), 1, len(contrast)) - 1
    return upto[first] - contrast.mean()


def toc_with_errors(
    contrast: np.ndarray, priority: np.ndarray, shares: np.ndarray, *, draws: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """The curve of `toc` with a standard error at each share, by half-sampling as in `rate`.

    Parameters
    ----------
    contrast, priority, shares
        As in `toc`.
    draws
        Number of halves.
    rng
        Source of the halves.
    """
    drawn = [toc(contrast[w > 0], priority[w > 0], shares) for part in _halves(len(contrast), draws, rng) for w in part]
    return toc(contrast, priority, shares), np.std(drawn, axis=0, ddof=1)
