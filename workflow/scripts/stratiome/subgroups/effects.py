"""Standardised differences between a subgroup and all others."""

from __future__ import annotations

import numpy as np


def standardised_difference(inside: np.ndarray, outside: np.ndarray) -> np.ndarray:
    """Difference of means over the root of the mean of both variances, by column; NaN where it is not defined.

    Parameters
    ----------
    inside, outside
        Shape `(n_patients, n_features)` of either side, NaN where missing.
    """
    means, variances = [], []
    for values in (inside, outside):
        seen = np.isfinite(values)
        n = seen.sum(axis=0)
        mean = np.where(seen, values, 0.0).sum(axis=0) / np.maximum(n, 1)
        square = (np.where(seen, values - mean, 0.0) ** 2).sum(axis=0) / np.maximum(n - 1, 1)
        means.append(np.where(n >= 2, mean, np.nan))
        variances.append(square)
    spread = np.sqrt((variances[0] + variances[1]) / 2)
    return np.where(spread > 0, (means[0] - means[1]) / np.where(spread > 0, spread, 1.0), np.nan)


def difference(inside: np.ndarray, outside: np.ndarray) -> float | None:
    """Standardised mean difference of one variable, None where nothing varies or a side has fewer than two."""
    value = float(standardised_difference(inside[:, None], outside[:, None])[0])
    return value if np.isfinite(value) else None
