"""Whether an effect differs between patients, from doubly robust contributions of patients no model has seen.

Every function takes `contrast`: contributions to an average effect (`doubly_robust.Scores.contrasts`), one number per
patient, whose mean over any group of patients estimates the effect in that group.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from stratiome.treatment.interaction import equal_effects

FEWEST = 20
"""Patients of a group below which no effect is told."""
MOST_VALUES = 6
"""Values of a measured column up to which each is a group, where each has enough patients."""
MOST_DIGITS = 4
"""Significant digits of a cut-off."""
NEAR = 0.05
"""Share of patients who may change sides where a cut-off is rounded."""


@dataclass(frozen=True)
class GroupEffects:
    """Effects in disjoint groups, and the test that they are equal.

    Attributes
    ----------
    groups
        Labels, in order.
    estimate, error
        Shape `(n_groups,)`; NaN for groups of fewer than `FEWEST` patients.
    n
        Shape `(n_groups,)`, patients.
    statistic, df, p_value
        Wald test of equal effects; None, 0, None with fewer than two effects.
    """

    groups: tuple[int | str, ...]
    estimate: np.ndarray
    error: np.ndarray
    n: np.ndarray
    statistic: float | None
    df: int
    p_value: float | None


def group_effects(contrast: np.ndarray, group: np.ndarray) -> GroupEffects:
    """Mean contribution in each group, with the standard error of a mean.

    Parameters
    ----------
    contrast
        Shape `(n_patients,)`.
    group
        Shape `(n_patients,)`, labels; who has which must not have been learned from these patients.
    """
    labels = np.unique(group)
    n = np.array([int((group == g).sum()) for g in labels])
    estimate, error = np.full(len(labels), np.nan), np.full(len(labels), np.nan)
    for k, g in enumerate(labels):
        if n[k] >= FEWEST:
            own = contrast[group == g]
            estimate[k], error[k] = own.mean(), own.std(ddof=1) / np.sqrt(n[k])
    known = np.isfinite(estimate) & (error > 0)
    test: tuple[float | None, int, float | None] = (None, 0, None)
    if known.sum() > 1:
        test = equal_effects(estimate[known], error[known])
    return GroupEffects(tuple(labels.tolist()), estimate, error, n, *test)


def quarters(score: np.ndarray, within: np.ndarray | None = None, parts: int = 4) -> np.ndarray:
    """Groups of about equal size by rank, 1 the lowest, shape `(n_patients,)`.

    Parameters
    ----------
    score
        Shape `(n_patients,)`.
    within
        Shape `(n_patients,)`, fold: scores of different models do not compare, so ranks are made within each. Default
        one fold.
    parts
        Number of groups.
    """
    from scipy.stats import rankdata

    within = np.zeros(len(score), dtype=np.int64) if within is None else within
    found = np.empty(len(score), dtype=np.int64)
    for k in np.unique(within):
        rows = within == k
        share = (rankdata(score[rows]) - 0.5) / rows.sum()
        found[rows] = np.minimum((share * parts).astype(np.int64), parts - 1) + 1
    return found


def value_groups(values: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Groups of a measured column: each value where they are few, thirds between rounded cut-offs elsewhere.

    Parameters
    ----------
    values
        Shape `(n_patients,)`, finite, not all the same.

    Returns
    -------
    group, names
        Shape `(n_patients,)`, from 1 on; what each group is, as `up to 52`, `above 52, up to 61`, `above 61`. The
        rounded cut-offs decide who is in which group, so that groups are what their names say.
    """
    levels, group, n = np.unique(values, return_inverse=True, return_counts=True)
    if len(levels) <= MOST_VALUES and n.min() >= FEWEST:
        return group.ravel() + 1, tuple(map(_told, levels))
    thirds = np.quantile(values, (1 / 3, 2 / 3), method="inverted_cdf")
    cuts = np.unique([_cut_off(values, float(t)) for t in thirds])
    cuts = cuts[[min((values <= c).sum(), (values > c).sum()) >= FEWEST for c in cuts]]
    if not len(cuts):  # nearly all have the lowest value, or the highest
        cuts = levels[:1] if 2 * n[0] > len(values) else np.array([_cut_off(values, float(levels[-2]))])
    told = [_told(c) for c in cuts]
    between = [f"above {a}, up to {b}" for a, b in pairwise(told)]
    names = (f"up to {told[0]}", *between, f"above {told[-1]}")
    return np.searchsorted(cuts, values) + 1, names


def _cut_off(values: np.ndarray, at: float) -> float:
    """A cut-off with as few digits, from two on, as leave about as many below: no patient's exact value is told."""
    share, cut = (values <= at).mean(), at
    for digits in range(2, MOST_DIGITS + 1):
        cut = float(f"{at:.{digits}g}")
        if abs((values <= cut).mean() - share) <= NEAR:
            break
    return cut


def _told(value: float) -> str:
    return f"{value:.10g}"


@dataclass(frozen=True)
class Projection:
    """Best linear approximation of the effect in some columns.

    Attributes
    ----------
    coefficients, errors
        Shape `(1 + n_columns,)`, intercept first; the effect at the mean of all columns, and its change per unit.
    statistic, df, p_value
        Wald test that no column changes the effect.
    """

    coefficients: np.ndarray
    errors: np.ndarray
    statistic: float
    df: int
    p_value: float


def linear_projection(contrast: np.ndarray, x: np.ndarray) -> Projection:
    """Regress contributions on columns, with standard errors robust to unequal variances (HC3).

    Best linear projection of the conditional effect (Semenova & Chernozhukov 2021, Econom J 24:264).

    Parameters
    ----------
    contrast
        Shape `(n_patients,)`.
    x
        Shape `(n_patients, n_columns)`, no linear combinations of each other.
    """
    import statsmodels.api as sm

    fitted = sm.OLS(contrast, sm.add_constant(x - x.mean(axis=0), has_constant="add")).fit(cov_type="HC3")
    slopes = np.eye(1 + x.shape[1])[1:]
    test = fitted.wald_test(slopes, use_f=False, scalar=True)
    return Projection(
        np.asarray(fitted.params),
        np.asarray(fitted.bse),
        float(test.statistic),
        x.shape[1],
        float(test.pvalue),
    )


@dataclass(frozen=True)
class Calibration:
    """How predicted effects of patients compare with what is seen in them.

    Attributes
    ----------
    slope, error
        Of contributions on predictions; 1 if predictions are right, 0 if they tell nothing.
    p_value
        One-sided test that the slope is above 0: that predictions tell who benefits more.
    """

    slope: float
    error: float
    p_value: float


def effect_calibration(contrast: np.ndarray, predicted: np.ndarray, fold: np.ndarray) -> Calibration:
    """Slope of contributions on predicted effects, both centred within the fold, HC3 standard error.

    The second coefficient of the best linear predictor of Chernozhukov, Demirer, Duflo & Fernández-Val (2018,
    arXiv:1712.04802), for doubly robust contributions.

    The slope is too low, and its test finds too little, where few patients taught both the predictions and the models
    of the contributions: what the models of survival got wrong is in both, and weights from estimated probabilities
    are too large on average, which takes more than this out of the contributions
    (`tests/benchmarks/nuisance_bias.py --parts slope`).

    Parameters
    ----------
    contrast
        Shape `(n_patients,)`.
    predicted
        Shape `(n_patients,)`, effects predicted by models that have not seen the patients.
    fold
        Shape `(n_patients,)`, which model predicted.
    """
    import statsmodels.api as sm
    from scipy.stats import norm

    x, y = predicted.astype(np.float64).copy(), contrast.astype(np.float64).copy()
    for k in np.unique(fold):
        rows = fold == k
        x[rows] -= x[rows].mean()
        y[rows] -= y[rows].mean()
    if not x.std() > 1e-12:
        return Calibration(float("nan"), float("nan"), 1.0)
    fitted = sm.OLS(y, x[:, None]).fit(cov_type="HC3")
    slope, error = float(fitted.params[0]), float(fitted.bse[0])
    return Calibration(slope, error, float(norm.sf(slope / error)))
