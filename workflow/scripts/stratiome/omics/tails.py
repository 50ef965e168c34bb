"""Heavy tails: features whose extremes would decide everything that is computed from means and squares."""

from __future__ import annotations

import numpy as np

from stratiome.omics.kind import sorted_quantiles

HEAVY_SD = 12.0
"""Robust standard deviations from the median beyond which a value makes a tail heavy. Of Gaussian values none is beyond
7 even among a billion; log intensities of real cohorts seldom pass 10."""

FEW_LEVELS = 10


def spread_of(ordered: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Robust standard deviation of each row of sorted values.

    The interquartile range over 1.349; where most values are equal (a gene silent in most patients) the range from the
    5th to the 95th percentile over 3.29, and the standard deviation where even that is 0.

    Parameters
    ----------
    ordered
        Shape `(n_features, n_patients)`, each row sorted with missing values last.
    n
        Shape `(n_features,)`, finite values of each row.

    Returns
    -------
    numpy.ndarray
        Shape `(n_features,)`; 0 for a constant, NaN without values.
    """
    low, lower, upper, high = sorted_quantiles(ordered, n, (0.05, 0.25, 0.75, 0.95))
    spread = (upper - lower) / 1.349
    spread = np.where(spread > 0, spread, (high - low) / 3.29)
    for j in np.flatnonzero(spread == 0):
        spread[j] = ordered[j, : n[j]].std(dtype=np.float64)
    return np.asarray(spread)


def tail_of(ordered: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Largest distance of a value from the median of its row, in robust standard deviations.

    Arguments as `spread_of`; shape `(n_features,)`, 0 for rows with few levels, as calls have. A tail is heavy beyond
    `HEAVY_SD`.
    """
    middle = sorted_quantiles(ordered, n, (0.5,))[0]
    spread = spread_of(ordered, n)
    most = ordered[np.arange(len(n)), np.maximum(n - 1, 0)]
    with np.errstate(invalid="ignore", divide="ignore"):
        farthest = np.maximum(most - middle, middle - ordered[:, 0]) / spread
    levels = (ordered[:, 1:] > ordered[:, :-1]).sum(axis=1) + 1  # comparisons with missing values are false
    return np.where((spread > 0) & (levels > FEW_LEVELS), farthest, 0.0)
