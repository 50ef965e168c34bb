"""Random survival forest on the time grid of the analysis."""

from __future__ import annotations

import numpy as np

from stratiome.survival.cox import CoxError

MIN_LEAF = 15
"""Training patients in each leaf, at least."""


def fit_forest(
    x: np.ndarray, time: np.ndarray, event: np.ndarray, train: np.ndarray, grid: np.ndarray, *, trees: int, seed: int
) -> np.ndarray:
    """Survival of every patient by a random survival forest learned on the training patients.

    Log-rank splits of bootstrap samples, each leaf's Nelson-Aalen estimate turned into survival and averaged over trees
    (Ishwaran et al. 2008, Ann Appl Stat 2:841), by scikit-survival. Follow-up is rounded to the grid, an event up to
    the next point and a censoring down to the last one, and ends with it: trees take time by the number of event times.

    Parameters
    ----------
    x
        Shape `(n_patients, n_columns)`, finite.
    time, event
        Shape `(n_patients,)`, follow-up in months and True = observed; read in training rows only.
    train
        Shape `(n_patients,)`, rows to learn from.
    grid
        Shape `(n_times,)`, increasing months from 0.
    trees
        Number of trees.
    seed
        Seed of the forest.

    Returns
    -------
    numpy.ndarray
        Shape `(n_patients, n_times)`, not increasing, 1 at 0.

    Raises
    ------
    CoxError
        If no event falls within the grid.
    """
    from sksurv.ensemble import RandomSurvivalForest
    from sksurv.util import Surv

    rounded, observed = on_grid(time[train], event[train], grid)
    followed = rounded > 0
    if not observed[followed].any():
        raise CoxError("no training event by the end of the time grid")
    forest = RandomSurvivalForest(n_estimators=trees, min_samples_leaf=MIN_LEAF, random_state=seed, n_jobs=1)
    forest.fit(x[train][followed], Surv.from_arrays(observed[followed], rounded[followed]))
    steps = forest.predict_survival_function(x, return_array=True)
    padded = np.column_stack([np.ones(len(x)), steps])
    return padded[:, np.searchsorted(forest.unique_times_, grid, side="right")]


def on_grid(time: np.ndarray, event: np.ndarray, grid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Follow-up on a grid: events at the next grid point, censorings at the last one, both no later than its end.

    Parameters
    ----------
    time, event
        Shape `(n_patients,)`.
    grid
        Shape `(n_times,)`, increasing, from 0.

    Returns
    -------
    tuple of numpy.ndarray
        Time and event on the grid, shape `(n_patients,)` each.
    """
    observed = event & (time <= grid[-1])
    up = np.minimum(np.searchsorted(grid, time, side="left"), len(grid) - 1)
    down = np.searchsorted(grid, time, side="right") - 1
    return grid[np.where(observed, up, down)], observed
