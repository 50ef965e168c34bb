"""Normal scores of ranks for heavy-tailed features, learned on training patients and frozen."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from scipy.special import ndtri

from stratiome.omics.kind import sorted_quantiles

MOST_QUANTILES = 1000


@dataclass(frozen=True)
class RankScores:
    """A frozen rank-based inverse normal transform of some features.

    The distribution function of the training values, read off their quantiles by linear interpolation (the mean of both
    ends where values are tied), and then the Gaussian quantile, as scikit-learn's `QuantileTransformer` with normal
    output has it. Other than there, values tied at the smallest or largest one get the middle of the ranks they share,
    as all ties do, not -5.2 or 5.2 (a gene silent in most patients would put them all there), and the share is kept
    between 1/2n and 1 - 1/2n (n training values), so that the first and the last patient are no outliers of their own
    making; new values beyond the training range get these ends.

    Attributes
    ----------
    columns
        Positions of the features among the kept ones.
    quantiles
        Shape `(n_quantiles, n_columns)`, of the training values, evenly spaced from the smallest to the largest.
    n
        Shape `(n_columns,)`, training values.
    """

    columns: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    quantiles: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)))
    n: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))

    def apply(self, kept: np.ndarray) -> None:
        """Replace the columns of the kept features `(n_patients, n_kept)` in place; missing values stay missing."""
        share = np.linspace(0.0, 1.0, len(self.quantiles))
        for column, quantiles, n in zip(self.columns, self.quantiles.T, self.n, strict=True):
            kept[:, column] = _scores(kept[:, column], quantiles, share, int(n))


def _scores(values: np.ndarray, quantiles: np.ndarray, share: np.ndarray, n: int) -> np.ndarray:
    rising = np.interp(values, quantiles, share)
    falling = -np.interp(-values, -quantiles[::-1], -share[::-1])
    level = np.clip(0.5 * (rising + falling), 0.5 / n, 1 - 0.5 / n)
    return np.where(np.isfinite(values), ndtri(level), np.nan)


def fit_rank_scores(work: np.ndarray, columns: np.ndarray) -> RankScores:
    """Learn the quantiles of some columns.

    Parameters
    ----------
    work
        Shape `(n_training_patients, n_kept)`, NaN where missing.
    columns
        Positions of the features to transform.
    """
    if not len(columns):
        return RankScores()
    ordered = np.sort(work[:, columns].T, axis=1)
    n = np.isfinite(ordered).sum(axis=1)
    levels = np.linspace(0.0, 1.0, min(MOST_QUANTILES, len(work)))
    quantiles = np.maximum.accumulate(sorted_quantiles(ordered, n, tuple(levels)), axis=0)
    return RankScores(np.asarray(columns, dtype=np.int64), quantiles, n.astype(np.int64))
