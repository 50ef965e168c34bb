"""Features that follow another one closely, as several probes of one gene do: they count twice in every model."""

from __future__ import annotations

import numpy as np

from stratiome.cohort.store import OmicValues

CLOSE = 0.9
"""Rank correlation from which one feature follows another."""

MOST_FEATURES = 5000
"""Features of an omic up to which all pairs are compared."""

MOST_PATIENTS = 2000
"""Patients compared, spread evenly over all."""

EQUAL = 1 - 1e-6
"""Rank correlation of what is one measurement twice."""

ROWS = 512
"""Features compared with all others at a time."""


def followers(omic: OmicValues) -> int | None:
    """Number of features whose rank correlation with an earlier feature is at least `CLOSE`.

    Missing values take the middle rank. Constant features and copies follow nothing here: both have flags of their own.

    Parameters
    ----------
    omic
        The values; null is returned where it has more than `MOST_FEATURES` features or fewer than two.
    """
    if not 2 <= len(omic.features) <= MOST_FEATURES:
        return None
    step = -(-len(omic.patient_ids) // MOST_PATIENTS)
    scaled = np.concatenate([ranks(values[::step]) for _, values in omic.columns()], axis=1)
    n, width = scaled.shape
    follows = np.zeros(width, dtype=bool)
    for start in range(0, width, ROWS):
        here = scaled[:, start : start + ROWS]
        correlation = here.T @ scaled / n
        earlier = np.arange(width)[None, :] < np.arange(start, start + here.shape[1])[:, None]
        follows[start : start + ROWS] = ((correlation >= CLOSE) & (correlation < EQUAL) & earlier).any(axis=1)
    return int(follows.sum())


def ranks(values: np.ndarray) -> np.ndarray:
    """Ranks of each column, standardised to mean 0 and SD 1; constant columns are 0.

    Parameters
    ----------
    values
        Shape `(n_patients, n_features)`; missing values are NaN and take the mean rank.
    """
    from scipy.stats import rankdata

    ranked = rankdata(values, axis=0, nan_policy="omit").astype(np.float32)
    ranked -= np.nanmean(ranked, axis=0, where=np.isfinite(ranked)) if len(values) else 0
    ranked = np.nan_to_num(ranked)
    spread = ranked.std(axis=0)
    return ranked / np.where(spread > 0, spread, 1)
