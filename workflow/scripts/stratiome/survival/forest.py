"""Random survival forest on the time grid of the analysis."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from stratiome.survival.cox import CoxError

MIN_LEAF = 15
"""Training patients in each leaf, at least."""


@dataclass(frozen=True)
class Forest:
    """A grown forest as plain arrays: the nodes of all trees one after the other.

    Attributes
    ----------
    roots
        Shape `(n_trees,)`, node of each root.
    feature, threshold
        Shape `(n_nodes,)`, a patient goes left where the column, in single precision, is at most the threshold; -2 in
        leaves.
    left, right
        Shape `(n_nodes,)`, next nodes; in leaves the node itself.
    leaf
        Shape `(n_nodes,)`, row of `curves`; -1 where the node is no leaf.
    curves
        Shape `(n_leaves, n_times)`, survival on the grid, single precision.
    """

    roots: np.ndarray
    feature: np.ndarray
    threshold: np.ndarray
    left: np.ndarray
    right: np.ndarray
    leaf: np.ndarray
    curves: np.ndarray

    def survival(self, x: np.ndarray) -> np.ndarray:
        """Mean over trees of the curve of each patient's leaf, shape `(n_patients, n_times)`; x as in `grow_forest`."""
        x = np.asarray(x, dtype=np.float32)
        rows = np.arange(len(x))
        total = np.zeros((len(x), self.curves.shape[1]))
        for root in self.roots:
            node = np.full(len(x), root)
            while (inner := self.leaf[node] < 0).any():
                at = node[inner]
                goes_left = x[rows[inner], self.feature[at]] <= self.threshold[at]
                node[inner] = np.where(goes_left, self.left[at], self.right[at])
            total += self.curves[self.leaf[node]]
        return np.minimum.accumulate(np.clip(total / len(self.roots), 0.0, 1.0), axis=1)


def fit_forest(
    x: np.ndarray, time: np.ndarray, event: np.ndarray, train: np.ndarray, grid: np.ndarray, *, trees: int, seed: int
) -> np.ndarray:
    """Survival of every patient, shape `(n_patients, n_times)`, by `grow_forest` with the same parameters."""
    return grow_forest(x, time, event, train, grid, trees=trees, seed=seed).survival(x)


def grow_forest(
    x: np.ndarray, time: np.ndarray, event: np.ndarray, train: np.ndarray, grid: np.ndarray, *, trees: int, seed: int
) -> Forest:
    """A random survival forest learned on the training patients.

    Log-rank splits of bootstrap samples, each leaf's Kaplan-Meier curve averaged over trees (Ishwaran et al. 2008, Ann
    Appl Stat 2:841), by scikit-survival. Follow-up is rounded to the grid, an event up to the next point and a
    censoring down to the last one, and ends with it: trees take time by the number of event times.

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
    at = np.searchsorted(forest.unique_times_, grid, side="right")
    roots, parts, curves, nodes, leaves = [], [], [], 0, 0
    for tree in (estimator.tree_ for estimator in forest.estimators_):
        ends = tree.children_left < 0
        own = np.arange(tree.node_count)
        leaf = np.where(ends, leaves + np.cumsum(ends) - 1, -1)
        step = [nodes + np.where(ends, own, children) for children in (tree.children_left, tree.children_right)]
        parts.append((tree.feature, tree.threshold, *step, leaf))
        survival = np.column_stack([np.ones(int(ends.sum())), tree.value[ends][..., 1]])
        curves.append(survival[:, at].astype(np.float32))
        roots.append(nodes)
        nodes, leaves = nodes + tree.node_count, leaves + int(ends.sum())
    feature, threshold, left, right, leaf = (np.concatenate(part) for part in zip(*parts, strict=True))
    return Forest(np.array(roots), feature, threshold, left, right, leaf, np.concatenate(curves))


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
