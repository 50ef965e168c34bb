"""Site differences in location and spread: learned on training patients, frozen, applied to patients never seen.

Nothing here needs to know a new patient's outcome or protected columns: what is applied depends on the site alone. A
site without training patients is left as it is.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

MIN_SPREAD = 5
"""Training patients of a site from which its spread is judged."""


def protected_design(obs: Any, columns: Sequence[str], train: np.ndarray) -> np.ndarray | None:
    """Columns to protect as numbers, shape `(n_patients, n_columns)`; None without any.

    Quantities are standardised on training patients and set to their mean where missing; classes become 0/1 columns of
    the levels seen in training.

    Parameters
    ----------
    obs
        Clinical columns (pandas), rows as patients.
    columns
        Names of the columns.
    train
        Shape `(n_patients,)`, True for training patients.
    """
    import pandas as pd

    parts = []
    for name in columns:
        column = obs[name]
        if pd.api.types.is_numeric_dtype(column):  # whole numbers are stored as such, and as Int64 if some are missing
            values = column.to_numpy(dtype=np.float64, na_value=np.nan)
            mean, sd = np.nanmean(values[train]), np.nanstd(values[train])
            parts.append(np.nan_to_num((values - mean) / (sd if sd > 0 else 1.0))[:, None])
        else:
            text = column.astype(object).fillna("").astype(str).to_numpy()
            levels = sorted(set(text[train]))[1:]  # the first one is the reference
            parts.append(np.equal.outer(text, levels) if levels else np.zeros((len(text), 0)))
    return np.hstack(parts).astype(np.float64) if parts else None


def site_shifts(
    work: np.ndarray, site: np.ndarray, protected: np.ndarray | None = None
) -> tuple[tuple[str, ...], np.ndarray]:
    """Best linear unbiased prediction of site effects, one-way random effects by moments (Searle et al. 1992).

    The ratio of the variance between sites to that within them is one for all features, as the prior of ComBat (Johnson
    et al. 2007): two sites tell little of the variance between sites in a single feature, and a prediction shrunk too
    far in many features leaves the site, and an outcome confounded with it, in their sum.

    Parameters
    ----------
    work
        Shape `(n_patients, n_features)`, NaN where missing.
    site
        Shape `(n_patients,)`, "" where unknown.
    protected
        Shape `(n_patients, n_columns)`. Their effect, as seen within sites, is taken out before sites are compared, so
        that a site with more patients of one class does not lose the difference that the class makes.

    Returns
    -------
    tuple
        Sites, and shape `(n_sites, n_features)`, location of each against the others, shrunk.
    """
    # In order of first appearance, so that renaming sites changes no sum.
    names = tuple(s for s in dict.fromkeys(site.tolist()) if s != "")
    if len(names) < 2:
        return (), np.zeros((0, work.shape[1]))
    if protected is not None and protected.shape[1]:
        work = work - _within_sites(work, site, names, protected)
    n = np.array([np.isfinite(work[site == s]).sum(axis=0) for s in names], dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.array([np.where(np.isfinite(work[site == s]), work[site == s], 0.0).sum(axis=0) for s in names]) / n
        squares = np.array([np.nansum((work[site == s] - m) ** 2, axis=0) for s, m in zip(names, means, strict=True)])
        known = n > 0
        total, groups = n.sum(axis=0), known.sum(axis=0)
        within = squares.sum(axis=0) / np.maximum(total - groups, 1)
        means = np.where(known, means, 0.0)
        grand = (n * means).sum(axis=0) / total
        between_ss = (n * (means - grand) ** 2 * known).sum(axis=0)
        effective = total - (n**2).sum(axis=0) / total
        usable = (within > 0) & (groups > 1)
        excess = (between_ss / within - (groups - 1))[usable].sum()
        ratio = max(float(excess), 0.0) / max(float(effective[usable].sum()), 1.0)
        # A feature that never varies within sites has the site difference and nothing else.
        shrink = np.where(within > 0, n * ratio / (n * ratio + 1), 1.0)
    return names, np.nan_to_num(shrink * (means - grand) * known)


def site_scales(work: np.ndarray, site: np.ndarray, names: tuple[str, ...]) -> np.ndarray:
    """SD of each site against all, shape `(n_sites, n_features)`, shrunk in the logarithm.

    A log variance of n patients has variance 2 / (n - 1); features of a site share a normal prior, whose mean and
    variance come from all its features by moments, as in ComBat (Johnson et al. 2007).

    Parameters
    ----------
    work
        Shape `(n_patients, n_features)`, site shifts removed, NaN where missing.
    site
        Shape `(n_patients,)`.
    names
        Sites to judge.
    """
    spreads = np.ones((len(names), work.shape[1]))
    centre = np.nanmean(work, axis=0) if len(work) else np.zeros(work.shape[1])
    whole = np.nanmean((work - centre) ** 2, axis=0)
    for row, name in enumerate(names):
        part = work[site == name]
        known = np.isfinite(part)
        n = known.sum(axis=0)
        mean = np.where(known, part, 0.0).sum(axis=0) / np.maximum(n, 1)
        squares = (np.where(known, part - mean, 0.0) ** 2).sum(axis=0)
        able = (n >= MIN_SPREAD) & (squares > 0) & (whole > 0)
        if not able.any():
            continue
        ratio = np.log(squares[able] / (n[able] - 1) / whole[able])
        error = 2.0 / (n[able] - 1)
        prior = float(ratio.mean())
        between = max(float(((ratio - prior) ** 2).mean() - error.mean()), 0.0)
        spreads[row, able] = np.exp((between * ratio + error * prior) / (between + error) / 2)
    return spreads


def _within_sites(work: np.ndarray, site: np.ndarray, names: tuple[str, ...], protected: np.ndarray) -> np.ndarray:
    """Effect of protected columns on each feature by least squares within sites, shape as `work`, mean zero."""
    effect = np.zeros(work.shape)
    known = np.isfinite(work)
    patterns, which = np.unique(known, axis=1, return_inverse=True)
    for pattern in range(patterns.shape[1]):
        columns = np.flatnonzero(which.ravel() == pattern)
        rows = patterns[:, pattern]
        y, x, at = work[np.ix_(rows, columns)].copy(), protected[rows].copy(), site[rows]
        for name in names:
            here = at == name
            if here.any():
                y[here] -= y[here].mean(axis=0)
                x[here] -= x[here].mean(axis=0)
        inside = np.isin(at, names)
        slopes = np.linalg.lstsq(x[inside], y[inside], rcond=None)[0]
        effect[:, columns] = (protected - protected[rows].mean(axis=0)) @ slopes
    return effect
