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

RIDGE = 10.0
"""Ridge of a test of embeddings, in mean eigenvalues of the covariance. A smaller one finds more of a drift across the
main directions, and less of one along them; with this one the latter is found as often as without any whitening.
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
    counts of both. Two bins are left to `two_proportions`.

    Parameters
    ----------
    training, batch
        Shape `(n_bins,)`, classes without order, the rarest side by side.

    Returns
    -------
    float or None
        None where fewer than two bins are left.
    """
    from scipy.stats import chi2

    t, b = _together(training.astype(np.float64), batch.astype(np.float64))
    if len(t) < 3:
        return _few_bins(t, b)
    n = t.sum() + b.sum()
    statistic = 0.0
    for own in (t, b):
        expected = own.sum() * (t + b) / n
        statistic += float((own * ((own / expected) ** POWER - 1.0)).sum())
    return float(chi2.sf(2.0 / (POWER * (POWER + 1.0)) * statistic, len(t) - 1))


def components(training: np.ndarray, batch: np.ndarray) -> np.ndarray | None:
    """How far a batch lies from the training patients in ordered bins: place and spread, in standard errors.

    The first two components of the smooth test of Neyman (Rayner & Best 1989, Smooth tests of goodness of fit) for two
    samples: mean of the midranks, as in Wilcoxon's test with ties, and of their squares, orthogonal to them. Variances
    are those of patients who change samples at random. Drift mostly moves or widens a feature; all four degrees of
    freedom of five bins would spend half of the power on other changes. It holds for bins that were fixed beforehand,
    and for bins between quantiles of the training patients: shares of a later batch vary just as the counts would.

    Parameters
    ----------
    training, batch
        Shape `(n_bins,)`, in order.

    Returns
    -------
    numpy.ndarray or None
        Shape `(2,)`, positive where the batch has larger values, and where it is more spread. None where fewer than
        three bins are left when small ones have been put together, as in `homogeneity`.
    """
    t, b = _together(training.astype(np.float64), batch.astype(np.float64))
    if len(t) < 3:
        return None
    both, n = t + b, t.sum() + b.sum()
    share = both / n
    place = np.cumsum(both) - both / 2.0
    place = place - share @ place
    place = place / np.sqrt(share @ place**2)
    spread = place**2 - 1.0 - (share @ place**3) * place
    spread = spread / np.sqrt(share @ spread**2)
    return np.array([b @ place, b @ spread]) / np.sqrt(t.sum() * b.sum() / (n - 1.0))


def same_order(training: np.ndarray, batch: np.ndarray) -> float | None:
    """P-value that two rows of counts in ordered bins have the same place and spread; see `components`.

    Returns
    -------
    float or None
        None where fewer than two bins are left.
    """
    from scipy.stats import chi2

    found = components(training, batch)
    if found is not None:
        return float(chi2.sf(float((found**2).sum()), 2))
    return _few_bins(*_together(training.astype(np.float64), batch.astype(np.float64)))


def beyond_both(first: np.ndarray, second: np.ndarray) -> float:
    """P-value that a batch lies between two references, in place and in spread.

    Of each component the smaller deviation counts where both have the same direction, and none where they have not.
    Given which count, their squares add up to no more than a chi-squared variable with as many degrees of freedom, so
    that the conditional test holds (Wollan & Dykstra 1986, in Advances in Order Restricted Statistical Inference).

    Parameters
    ----------
    first, second
        `components` of the batch against either, shape `(2,)` each.
    """
    from scipy.stats import chi2

    same = first * second > 0
    if not same.any():
        return 1.0
    least = np.minimum(np.abs(first), np.abs(second))[same]
    return float(chi2.sf(float((least**2).sum()), len(least)))


def _few_bins(t: np.ndarray, b: np.ndarray) -> float | None:
    return two_proportions(int(t[0]), int(t.sum()), int(b[0]), int(b.sum())) if len(t) == 2 else None


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
    """Mid-p of Fisher's exact test that two shares are the same, two-sided; 1 where both are 0 or both are 1.

    The table itself counts half. Fisher's own p-value is exact but too careful where events are few; the size of the
    mid-p is about right (Lydersen, Fagerland & Laake 2009, Stat Med 28:1159).
    """
    from scipy.stats import fisher_exact, hypergeom

    if first + second in (0, of_first + of_second):
        return 1.0
    table = [[first, of_first - first], [second, of_second - second]]
    own = float(hypergeom.pmf(first, of_first + of_second, first + second, of_first))
    return float(np.clip(fisher_exact(table).pvalue - own / 2.0, 0.0, 1.0))


def discrepancy(
    means: tuple[np.ndarray, np.ndarray], covariances: tuple[np.ndarray, np.ndarray], n: tuple[int, int]
) -> tuple[float, float]:
    r"""Squared maximum mean discrepancy of two embeddings, and the p-value of a regularised test of their means.

    The test is that of the kernel Fisher discriminant (Harchaoui, Bach & Moulines 2008, NeurIPS 20), so that directions
    in which patients differ little count as well: with pooled covariance `S` of `N` degrees of freedom and
    :math:`\lambda` = `RIDGE` times the mean of its `p` eigenvalues,

    .. math:: T = \frac{n_1 n_2}{n_1 + n_2} d' (S + \lambda I)^{-1} d

    Mean :math:`p \Theta_1` and variance :math:`2 p \Theta_2` of `T` allow for the error of `S` (Chen, Paul, Prentice &
    Wang 2011, J Am Stat Assoc 106:1345); the tail is that of the scaled chi-squared variable that has both.

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

    away = means[1] - means[0]
    freedom = n[0] + n[1] - 2
    values, vectors = np.linalg.eigh(((n[0] - 1) * covariances[0] + (n[1] - 1) * covariances[1]) / freedom)
    values = np.clip(values, 0.0, None)
    ridge, p = RIDGE * float(values.mean()), len(values)
    if ridge <= 0:
        return float(away @ away), 1.0
    kept = 1.0 / (values + ridge)
    statistic = n[0] * n[1] / (n[0] + n[1]) * float(kept @ (vectors.T @ away) ** 2)
    first, second = float(kept.mean()), float((kept**2).mean())
    used = 1.0 - ridge * first
    rest = 1.0 - p / freedom * used
    mean = p * used / rest
    variance = 2.0 * p * (used / rest**3 - ridge * (first - ridge * second) / rest**4)
    return float(away @ away), float(chi2.sf(2.0 * mean / variance * statistic, 2.0 * mean**2 / variance))


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
