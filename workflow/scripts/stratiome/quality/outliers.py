"""Patients who lie far from all others, by a robust distance in a few principal components."""

from __future__ import annotations

import numpy as np

MOST_FEATURES = 200
N_COMPONENTS = 5
CLIP = 10.0
LIMIT = 4.0
"""Robust standard deviations of the logarithm of the distance."""


class OutlierScan:
    """Distances of patients, from a subsample of the features that is read a piece at a time.

    Each feature is centred at its median, divided by its median absolute deviation and clipped, so that no feature
    decides alone; a missing value counts as the median. Principal components of these are again divided by their median
    absolute deviation, and the distance is the root of the sum of their squares: a Mahalanobis distance whose scale the
    outliers cannot stretch. Logarithms of distances are compared, as distances themselves are skewed.

    Parameters
    ----------
    usable
        Shape `(n_features,)`, True for features that vary and are mostly measured.
    n_patients
        Patients of the matrix.
    """

    def __init__(self, usable: np.ndarray, n_patients: int) -> None:
        candidates = np.flatnonzero(usable)
        n = len(candidates)
        self.features = candidates[np.unique(np.linspace(0, n - 1, min(n, MOST_FEATURES)).round().astype(np.int64))]
        self._values = np.full((n_patients, len(self.features)), np.nan, dtype=np.float32)

    def add(self, place: slice, values: np.ndarray) -> None:
        """Take in the scaled values of `features` of the patients at `place`."""
        self._values[place] = values

    def distances(self) -> np.ndarray:
        """Shape `(n_patients,)`: robust distance, NaN where it cannot be told."""
        here = np.isfinite(self._values).any(axis=1)
        found = np.full(len(self._values), np.nan)
        if here.sum() < 2 * N_COMPONENTS:
            return found
        centred = np.nan_to_num(_robust(self._values[here].astype(np.float64)))
        values, vectors = np.linalg.eigh(centred.T @ centred)
        if not len(values) or values[-1] <= 0:
            return found
        keep = np.flatnonzero(values > 1e-8 * values[-1])[-N_COMPONENTS:]
        found[here] = np.sqrt((_robust(centred @ vectors[:, keep], clip=np.inf) ** 2).sum(axis=1))
        return found

    def beyond(self, distance: np.ndarray) -> np.ndarray:
        """Shape `(n_patients,)`, True for outliers."""
        known = np.isfinite(distance) & (distance > 0)
        logs = np.log(distance[known])
        found = np.zeros(len(distance), dtype=bool)
        if logs.size:
            middle = np.median(logs)
            found[known] = logs - middle > LIMIT * 1.4826 * np.median(np.abs(logs - middle))
        return found


def _robust(values: np.ndarray, clip: float = CLIP) -> np.ndarray:
    """Columns centred at the median and divided by their median absolute deviation; columns without one become 0."""
    middle = np.nanmedian(values, axis=0)
    spread = 1.4826 * np.nanmedian(np.abs(values - middle), axis=0)
    return np.clip(np.where(spread > 0, (values - middle) / np.where(spread > 0, spread, 1.0), 0.0), -clip, clip)
