"""Fast hard clustering of many subsamples at once, in numpy.

The criterion is the determinant of the pooled within-group scatter, |W| (Friedman & Rubin 1967, J Am Stat Assoc
62:1159): the hard form of a Gaussian mixture with equal weights and one shared covariance. Unlike k-means it does not
depend on the scale or correlation of the coordinates: groups along a latent direction of small variance are found.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

FLOOR = 1e-4
"""Variance added to every direction, as a share of the mean variance; keeps empty directions out of the metric."""


class Partition(NamedTuple):
    """Clusterings of a batch of point sets.

    Attributes
    ----------
    centres
        Shape `(n_sets, k, n_latent)`.
    metric
        Shape `(n_sets, n_latent, n_latent)`, inverse of the pooled within-group covariance.
    """

    centres: np.ndarray
    metric: np.ndarray

    def labels(self, points: np.ndarray) -> np.ndarray:
        """Nearest group of the same points in every clustering, shape `(n_sets, n_points)`, from 0.

        Parameters
        ----------
        points
            Shape `(n_points, n_latent)`.
        """
        one = np.ascontiguousarray(points.T, dtype=np.float32)[None]
        return _nearest(one, self.centres[:, None], self.metric[:, None])[:, 0]


def partition(
    points: np.ndarray, k: int, rng: np.random.Generator, *, starts: int = 5, iterations: int = 20
) -> Partition:
    """Cluster each point set from several random starts and keep the start with the smallest |W|.

    Alternates assignment to the nearest centre in the metric of W and re-estimation of centres and W, from k-means++
    seeds (Arthur & Vassilvitskii 2007, SODA) in the metric of the total covariance.

    Parameters
    ----------
    points
        Shape `(n_sets, n_points, n_latent)`.
    k
        Number of groups, at least 2 and at most `n_points`.
    rng
        Source of the seeds.
    starts
        Random starts per set.
    iterations
        Most re-estimations.
    """
    sets, n, dims = points.shape
    x = np.ascontiguousarray(points, dtype=np.float32)
    columns = np.ascontiguousarray(x.transpose(0, 2, 1))
    square = (columns @ x).astype(np.float64)
    mean = x.mean(axis=1, dtype=np.float64)
    covariance = square / n - mean[:, :, None] * mean[:, None, :]
    size = np.maximum(np.trace(covariance, axis1=1, axis2=2) / dims, 1e-30)
    floor = FLOOR * size[:, None, None] * np.eye(dims)
    metric = np.repeat(np.linalg.inv(covariance + floor)[:, None], starts, axis=1)
    centres = _seed(x, columns, k, metric, rng)
    for _ in range(iterations):
        labels = _nearest(columns, centres, metric)
        member = (labels[:, :, None] == np.arange(k, dtype=labels.dtype)[:, None]).astype(np.float32)
        counts = member.sum(axis=-1).astype(np.float64)
        sums = (member.reshape(sets, starts * k, n) @ x).reshape(sets, starts, k, dims)
        moved = np.where(counts[..., None] > 0, sums / np.maximum(counts, 1.0)[..., None], centres)
        # The scatter within groups is the total scatter less that of the centres: no second pass over the points.
        within = (square[:, None] - (moved * counts[..., None]).swapaxes(-1, -2) @ moved) / n + floor[:, None]
        metric = np.linalg.inv(within)
        settled = np.array_equal(moved, centres)
        centres = moved
        if settled:
            break
    best = np.linalg.slogdet(within)[1].argmin(axis=1)
    rows = np.arange(sets)
    return Partition(centres[rows, best], metric[rows, best])


def _nearest(columns: np.ndarray, centres: np.ndarray, metric: np.ndarray) -> np.ndarray:
    """Group of smallest Mahalanobis distance, `(n_sets, n_starts, n_points)`; `x' A x` is common to all groups."""
    sets, starts, k, dims = centres.shape
    direction = centres @ metric
    offset = -0.5 * (direction * centres).sum(axis=-1)
    score = direction.reshape(sets, starts * k, dims).astype(np.float32) @ columns
    score = score.reshape(sets, starts, k, -1) + offset[..., None].astype(np.float32)
    best, labels = score[:, :, 0].copy(), np.zeros((sets, starts, score.shape[-1]), dtype=np.int8)
    for j in range(1, k):
        labels[score[:, :, j] > best] = j
        np.maximum(best, score[:, :, j], out=best)
    return labels


def _seed(x: np.ndarray, columns: np.ndarray, k: int, metric: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Centres by k-means++: each next one is drawn in proportion to its squared distance to the others."""
    sets, n, _ = x.shape
    starts = metric.shape[1]
    root = np.linalg.cholesky(metric[:, 0]).astype(np.float32)
    white, white_columns = x @ root, root.swapaxes(-1, -2) @ columns
    norm = (white**2).sum(axis=-1)[:, None]
    rows = np.arange(sets)[:, None]
    chosen = np.empty((sets, starts, k), dtype=np.int64)
    chosen[..., 0] = rng.integers(0, n, (sets, starts))
    nearest = np.full((sets, starts, n), np.inf, dtype=np.float32)
    for j in range(1, k):
        last = white[rows, chosen[..., j - 1]]
        distance = norm + (last**2).sum(axis=-1, keepdims=True) - 2 * last @ white_columns
        nearest = np.minimum(nearest, np.maximum(distance, 0.0))
        cumulative = np.cumsum(nearest, axis=-1, dtype=np.float64)
        target = rng.random((sets, starts, 1)) * cumulative[..., -1:]
        chosen[..., j] = np.minimum((cumulative < target).sum(axis=-1), n - 1)
    return x[rows[:, :, None], chosen].astype(np.float64)
