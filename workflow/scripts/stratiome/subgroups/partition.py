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

COARSE = 350
"""Points of a larger set on which starts are compared."""

SCREENING = 12
"""Steps after which only the best starts go on."""


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
    points: np.ndarray,
    k: int,
    rng: np.random.Generator,
    *,
    starts: int = 30,
    finalists: int = 3,
    iterations: int = 30,
) -> Partition:
    """Cluster each point set from several random starts and keep the one with the smallest |W|.

    Alternates assignment to the nearest centre in the metric of W and re-estimation of centres and W, from k-means++
    seeds (Arthur & Vassilvitskii 2007, SODA) in the metric of the total covariance. All starts take some steps, on a
    sample of the points where there are many; the best go on with all points. Few starts would do for clear groups, but
    a poor optimum here would pass for instability of the subgroups.

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
    finalists
        Starts that go on after `SCREENING` steps.
    iterations
        Most re-estimations of a finalist.
    """
    sets, n, _ = points.shape
    data = _Points.of(points)
    few = data if n <= COARSE else _Points.of(points[:, np.sort(rng.permutation(n)[:COARSE])])
    metric = np.repeat(np.linalg.inv(few.covariance + few.floor)[:, None], starts, axis=1)
    centres, metric, size = _refine(few, _seed(few, k, metric, rng), metric, SCREENING)
    order = np.argsort(size, axis=1, kind="stable")[:, :finalists]
    rows = np.arange(sets)
    centres, metric, size = _refine(data, centres[rows[:, None], order], metric[rows[:, None], order], iterations)
    best = size.argmin(axis=1)
    return Partition(centres[rows, best], metric[rows, best])


class _Points(NamedTuple):
    """A batch of point sets and what is computed of it once."""

    rows: np.ndarray  # (n_sets, n_points, n_latent), float32
    columns: np.ndarray  # the same, transposed
    square: np.ndarray  # (n_sets, n_latent, n_latent), sum of outer products
    covariance: np.ndarray
    floor: np.ndarray  # the least variance, as a matrix

    @classmethod
    def of(cls, points: np.ndarray) -> _Points:
        dims = points.shape[2]
        rows = np.ascontiguousarray(points, dtype=np.float32)
        columns = np.ascontiguousarray(rows.transpose(0, 2, 1))
        square = symmetric((columns @ rows).astype(np.float64))
        mean = rows.mean(axis=1, dtype=np.float64)
        covariance = square / points.shape[1] - mean[:, :, None] * mean[:, None, :]
        size = np.maximum(np.trace(covariance, axis1=1, axis2=2) / dims, 1e-30)
        return cls(rows, columns, square, covariance, FLOOR * size[:, None, None] * np.eye(dims))


def symmetric(matrices: np.ndarray) -> np.ndarray:
    """The symmetric part of the last two axes.

    Products and inverses are symmetric up to rounding only, which differs between processors, and in single precision
    by enough to be refused as a precision.
    """
    return 0.5 * (matrices + matrices.swapaxes(-1, -2))


def _refine(
    data: _Points, centres: np.ndarray, metric: np.ndarray, iterations: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centres, metric and log |W| of every start after some steps."""
    sets, n, dims = data.rows.shape
    starts, k = centres.shape[1:3]
    for _ in range(iterations):
        labels = _nearest(data.columns, centres, metric)
        member = (labels[:, :, None] == np.arange(k, dtype=labels.dtype)[:, None]).astype(np.float32)
        counts = member.sum(axis=-1).astype(np.float64)
        sums = (member.reshape(sets, starts * k, n) @ data.rows).reshape(sets, starts, k, dims)
        moved = np.where(counts[..., None] > 0, sums / np.maximum(counts, 1.0)[..., None], centres)
        # The scatter within groups is the total scatter less that of the centres: no second pass over the points.
        between = (moved * counts[..., None]).swapaxes(-1, -2) @ moved
        within = symmetric((data.square[:, None] - between) / n + data.floor[:, None])
        metric = np.linalg.inv(within)
        settled = np.array_equal(moved, centres)
        centres = moved
        if settled:
            break
    return centres, metric, np.linalg.slogdet(within)[1]


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


def _seed(data: _Points, k: int, metric: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Centres by k-means++: each next one is drawn in proportion to its squared distance to the others."""
    x = data.rows
    sets, n, _ = x.shape
    starts = metric.shape[1]
    root = np.linalg.cholesky(metric[:, 0]).astype(np.float32)
    white, white_columns = x @ root, root.swapaxes(-1, -2) @ data.columns
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
