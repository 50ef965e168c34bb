"""Tests of a batch against training patients of whom counts, means and covariances are known, but no rows.

All of them allow for the training patients being a sample, too: a thousand new patients against three hundred old ones
tell no more than the three hundred allow.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

FEWEST_EXPECTED = 5.0
"""Patients expected in the smaller sample below which neighbouring bins are put together."""
POWER = 1.0 / 3.0
"""Power of the divergence. With training quantiles as edges and five bins, 1e-4 is exceeded in 0.8 to 1.2 per 10,000 at
batches of 50 to 5,000 against 300; by 0.6 to 1.8 with Pearson's (power 1), by 1.6 at 50 with the likelihood ratio (0).
"""


def stability_index(training: np.ndarray, batch: np.ndarray) -> float:
    """Population stability index of counts in the same bins, half a patient added to each.

    `sum (b - t) log(b / t)` of the shares. Near 0 = alike; it grows with chance as well, about
    `(n_bins - 1) (1 / n_batch + 1 / n_training)` where nothing has changed.
    """
    shares = [(c + 0.5) / (c.sum() + 0.5 * len(c)) for c in (training, batch)]
    return float(((shares[1] - shares[0]) * np.log(shares[1] / shares[0])).sum())


def homogeneity(training: np.ndarray, batch: np.ndarray) -> float | None:
    """P-value that two rows of counts come from the same shares (Cressie & Read 1984, JRSS B 46:440).

    Neighbours are put together while fewer than `FEWEST_EXPECTED` would be expected in the smaller sample, by the
    counts of both. Two bins are left to Fisher's exact test. It holds for bins that were fixed beforehand, and for bins
    between quantiles of the training patients, whose shares of a later batch vary just as the counts would.

    Parameters
    ----------
    training, batch
        Shape `(n_bins,)`; classes without order come with the rarest side by side.

    Returns
    -------
    float or None
        None where fewer than two bins are left.
    """
    from scipy.stats import chi2

    t, b = _together(training.astype(np.float64), batch.astype(np.float64))
    if len(t) < 2:
        return None
    if len(t) == 2:
        return two_proportions(int(t[0]), int(t.sum()), int(b[0]), int(b.sum()))
    n = t.sum() + b.sum()
    statistic = 0.0
    for own in (t, b):
        expected = own.sum() * (t + b) / n
        statistic += float((own * ((own / expected) ** POWER - 1.0)).sum())
    return float(chi2.sf(2.0 / (POWER * (POWER + 1.0)) * statistic, len(t) - 1))


def _together(training: np.ndarray, batch: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    least = FEWEST_EXPECTED * (training.sum() + batch.sum()) / max(min(training.sum(), batch.sum()), 1.0)
    groups: list[list[int]] = [[]]
    for i in range(len(training)):
        groups[-1].append(i)
        if (training + batch)[groups[-1]].sum() >= least:
            groups.append([])
    rest = groups.pop()
    if rest and groups:
        groups[-1] += rest
    return np.array([training[g].sum() for g in groups]), np.array([batch[g].sum() for g in groups])


@lru_cache(maxsize=2**16)
def two_proportions(first: int, of_first: int, second: int, of_second: int) -> float:
    """P-value of Fisher's exact test that two shares are the same, two-sided."""
    from scipy.stats import fisher_exact

    table = [[first, of_first - first], [second, of_second - second]]
    return min(float(fisher_exact(table).pvalue), 1.0)


def discrepancy(
    means: tuple[np.ndarray, np.ndarray], covariances: tuple[np.ndarray, np.ndarray], n: tuple[int, int]
) -> tuple[float, float]:
    """Squared maximum mean discrepancy of two embeddings, and its p-value.

    Were both samples of one population, `n1 n2 / (n1 + n2)` times the squared distance would be a sum of squared normal
    variables weighted with the eigenvalues of the covariance (Gretton et al. 2012, JMLR 13:723), here the pooled one.
    Its tail is that of the chi-squared variable with the same first three moments (Imhof 1961, Biometrika 48:419).

    Parameters
    ----------
    means
        Of both samples, shape `(n_dimensions,)` each.
    covariances
        Shape `(n_dimensions, n_dimensions)` each.
    n
        Patients.
    """
    from scipy.stats import chi2

    squared = float(((means[0] - means[1]) ** 2).sum())
    pooled = ((n[0] - 1) * covariances[0] + (n[1] - 1) * covariances[1]) / (n[0] + n[1] - 2)
    weights = np.clip(np.linalg.eigvalsh(pooled), 0.0, None)
    c1, c2, c3 = (float((weights**k).sum()) for k in (1, 2, 3))
    if c3 <= 0:
        return squared, 1.0
    freedom = c2**3 / c3**2
    scaled = n[0] * n[1] / (n[0] + n[1]) * squared
    return squared, float(chi2.sf(freedom + (scaled - c1) * c2 / c3, freedom))


def same_mean(mean: np.ndarray, covariance: np.ndarray, n: int, batch: np.ndarray) -> tuple[float, float]:
    """Mahalanobis distance of two means, and the p-value of Hotelling's test with pooled covariance.

    Parameters
    ----------
    mean, covariance, n
        Of the training patients, shape `(n_dimensions,)` and `(n_dimensions, n_dimensions)`.
    batch
        Shape `(n_batch, n_dimensions)`, more patients than dimensions.
    """
    from scipy.stats import f

    m, d = batch.shape
    pooled = ((n - 1) * covariance + (m - 1) * np.cov(batch.T).reshape(d, d)) / (n + m - 2)
    pooled = pooled + 1e-9 * max(float(np.trace(pooled)) / d, 1e-300) * np.eye(d)
    away = batch.mean(axis=0) - mean
    squared = max(float(away @ np.linalg.solve(pooled, away)), 0.0)
    statistic = n * m / (n + m) * squared * (n + m - d - 1) / ((n + m - 2) * d)
    return float(np.sqrt(squared)), float(f.sf(statistic, d, n + m - d - 1))


def same_rate(
    observed: np.ndarray, expected: np.ndarray, reference: np.ndarray, reference_expected: np.ndarray
) -> tuple[float, float]:
    """Observed over expected of the reference where the batch was followed, and the p-value of the batch being alike.

    How well a model knows the hazard of a stretch of follow-up depends on the events that it has seen in it: a batch
    followed for six months rests on those of the first six months alone. So the reference is weighted with the expected
    events of the batch, as in direct standardisation, and counts as many events as have the variance of the weighted
    ratio. Given all events, those of the batch are binomial with its share of the expected ones (Przyborowski &
    Wilenski 1940, Biometrika 31:313).

    Parameters
    ----------
    observed, expected
        Shape `(n_stretches,)`, events of the batch.
    reference, reference_expected
        The same of the reference, at least one event in each.
    """
    from scipy.stats import binomtest

    expected = np.maximum(expected, 1e-12)
    weights = expected / expected.sum()
    ratio = float((weights * reference / reference_expected).sum())
    variance = float((weights**2 * reference / reference_expected**2).sum())
    events = max(round(ratio**2 / variance), 1)
    share = float(expected.sum()) / (float(expected.sum()) + events / ratio)
    return ratio, float(binomtest(int(observed.sum()), int(observed.sum()) + events, share).pvalue)


def same_slope(slope: float, error: float, reference: float, reference_error: float) -> float:
    """P-value that two slopes with these standard errors are the same, two-sided."""
    from scipy.stats import norm

    return float(2.0 * norm.sf(abs(slope - reference) / np.hypot(error, reference_error)))


def adjusted(p: np.ndarray) -> np.ndarray:
    """P-values adjusted for the false-discovery rate (Benjamini & Hochberg 1995, JRSS B 57:289)."""
    from scipy.stats import false_discovery_control

    return np.asarray(false_discovery_control(p)) if len(p) else p
