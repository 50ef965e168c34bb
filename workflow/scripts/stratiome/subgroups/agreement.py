"""Agreement of two labellings from their contingency table, many tables at once."""

from __future__ import annotations

from typing import Any

import numpy as np

from stratiome.config import EvaluationConfig
from stratiome.survival.interval import percentile_ends


def adjusted_rand(tables: np.ndarray) -> np.ndarray:
    """Adjusted Rand index (Hubert & Arabie 1985, J Classif 2:193).

    Parameters
    ----------
    tables
        Shape `(..., n_a, n_b)`, counts of patients by both labels.

    Returns
    -------
    numpy.ndarray
        Shape `(...)`; 1 = the same groups, 0 = as by chance. 1 where both labellings have a single group.
    """
    tables = np.asarray(tables, dtype=np.float64)
    both = _pairs(tables).sum(axis=(-2, -1))
    rows = _pairs(tables.sum(axis=-1)).sum(axis=-1)
    columns = _pairs(tables.sum(axis=-2)).sum(axis=-1)
    total = np.maximum(_pairs(tables.sum(axis=(-2, -1))), 1.0)
    expected = rows * columns / total
    span = (rows + columns) / 2 - expected
    return np.where(span > 0, (both - expected) / np.where(span > 0, span, 1.0), 1.0)


def normalised_mutual_information(tables: np.ndarray) -> np.ndarray:
    """Mutual information over the mean of both entropies (Strehl & Ghosh 2002, J Mach Learn Res 3:583).

    Parameters
    ----------
    tables
        Shape `(..., n_a, n_b)`, counts of patients by both labels.

    Returns
    -------
    numpy.ndarray
        Shape `(...)`, from 0 to 1. 1 where both labellings have a single group.
    """
    tables = np.asarray(tables, dtype=np.float64)
    share = tables / np.maximum(tables.sum(axis=(-2, -1), keepdims=True), 1.0)
    row, column = _entropy(share.sum(axis=-1)), _entropy(share.sum(axis=-2))
    joint = _entropy(share.reshape(*share.shape[:-2], -1))
    mean = (row + column) / 2
    value = np.where(mean > 1e-15, (row + column - joint) / np.where(mean > 1e-15, mean, 1.0), 1.0)
    return np.clip(value, 0.0, 1.0)


def contingency(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Counts by two labellings, shape `(n_a, n_b)`, labels sorted."""
    _, a = np.unique(first, return_inverse=True)
    _, b = np.unique(second, return_inverse=True)
    table = np.zeros((a.max(initial=-1) + 1, b.max(initial=-1) + 1))
    np.add.at(table, (a, b), 1)
    return table


METRICS = {
    "adjusted_rand_index": adjusted_rand,
    "normalised_mutual_information": normalised_mutual_information,
}


def agreement_claim(
    table: np.ndarray, metric: str, settings: EvaluationConfig, rng: np.random.Generator
) -> dict[str, Any]:
    """Columns estimate, lower, upper and method of a claim of agreement, with percentiles of bootstrapped patients.

    Parameters
    ----------
    table
        Shape `(n_a, n_b)`, counts.
    metric
        Key of `METRICS`.
    settings
        Bootstraps and level.
    rng
        Source of the draws, which are multinomial tables.
    """
    if min(table.shape) < 2:
        return {
            "estimate": None,
            "lower": None,
            "upper": None,
            "method": "not estimable: fewer than two groups on one side",
        }
    drawn = _drawn(table, table / table.sum(), metric, settings, rng)
    lower, upper = percentile_ends(drawn, settings.level)
    return {
        "estimate": float(METRICS[metric](table)),
        "lower": float(lower),
        "upper": float(upper),
        "method": f"{metric.replace('_', ' ')}, {settings.level:.0%} percentile interval, "
        f"{settings.bootstraps} bootstraps of patients",
    }


def agreement_error(
    table: np.ndarray, metric: str, settings: EvaluationConfig, rng: np.random.Generator
) -> float | None:
    """Bootstrap standard error of an agreement, None with fewer than two groups on one side. Parameters as above.

    Drawn from the table with one patient more, spread evenly over its cells: groups that agree completely in a few
    patients would otherwise have no error at all.
    """
    if min(table.shape) < 2:
        return None
    spread = table + 1.0 / table.size
    return float(_drawn(table, spread / spread.sum(), metric, settings, rng).std(ddof=1))


def _drawn(
    table: np.ndarray, share: np.ndarray, metric: str, settings: EvaluationConfig, rng: np.random.Generator
) -> np.ndarray:
    """Metric of tables drawn with given shares of the cells, shape `(n_bootstraps,)`."""
    drawn = rng.multinomial(int(table.sum()), share.ravel(), size=settings.bootstraps)
    return METRICS[metric](drawn.reshape(-1, *table.shape))


def _pairs(counts: np.ndarray) -> np.ndarray:
    return counts * (counts - 1) / 2


def _entropy(share: np.ndarray) -> np.ndarray:
    return -(share * np.log(np.where(share > 0, share, 1.0))).sum(axis=-1)
