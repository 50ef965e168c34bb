"""Do batches go with what matters? Association of batch variables with outcome, treatments, known labels.

A correction of batches that protects the outcome, where both are associated, writes the outcome into the features: on
a null outcome it gives an AUROC far above 0.5 (Nygaard et al. 2016). So it is refused. Correction within training
patients that knows no outcome is allowed, and a strong association is said.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
from scipy import stats

from stratiome.cohort.errors import CohortError
from stratiome.quality.variables import Variable

logger = logging.getLogger(__name__)

MIN_N = 10


def batch_associations(variables: Sequence[Variable], limit: float) -> list[dict[str, Any]]:
    """Rows of contract `QualityBatch`: each batch with everything but covariates, and batches with one another."""
    batches = [v for v in variables if v.role == "batch"]
    others = [v for v in variables if v.role in ("outcome", "treatment", "known label")]
    pairs = [(b, v) for b in batches for v in others] + list(combinations(batches, 2))
    rows = []
    for batch, other in pairs:
        measure, value, p_value, n, note = association(batch, other)
        strength = None if value is None else (value if measure == "Cramer's V" else float(np.sqrt(value)))
        beyond = strength is not None and strength > limit
        if beyond and other.role != "batch":
            note = f"{other.role} and batch cannot be told apart well: read results by site"
            logger.warning(
                "batch `%s` is associated with %s `%s` (%s %.2f, limit %.2f)",
                batch.name,
                other.role,
                other.name,
                "Cramer's V" if measure == "Cramer's V" else "correlation ratio",
                strength,
                limit,
            )
        rows.append(
            {
                "batch": batch.name,
                "role": other.role,
                "variable": other.name,
                "measure": measure,
                "value": value,
                "strength": strength,
                "limit": limit,
                "p_value": p_value,
                "n": n,
                "beyond": beyond,
                "note": note,
            }
        )
    return rows


def refuse_protection(rows: list[dict[str, Any]], site: str | None, protect: Sequence[str]) -> None:
    """Refuse a correction that protects columns, where the batch is associated with outcome or treatment.

    Parameters
    ----------
    rows
        Of contract `QualityBatch`.
    site
        The batch whose differences are removed.
    protect
        Columns whose effect would be kept.

    Raises
    ------
    CohortError
        Naming batch, variable, value and limit of each association.
    """
    if not protect or site is None:
        return
    bad = [r for r in rows if r["batch"] == site and r["role"] in ("outcome", "treatment") and r["beyond"]]
    problems = [
        f"`features.protect`: batch `{site}` is associated with {r['role']} `{r['variable']}` ({r['measure']} "
        f"{r['value']:.2f}, strength {r['strength']:.2f}, limit {r['limit']:.2f}, n = {r['n']}). A correction that "
        f"protects {', '.join(f'`{p}`' for p in protect)} would carry the {r['role']} into the features. "
        "Suggestion: remove `features.protect`; site differences are then removed within training patients without "
        "knowing the outcome. Or set `features.adjust_site: false`, and compare with leave-site-out results"
        for r in bad
    ]
    if problems:
        raise CohortError(problems)


def association(a: Variable, b: Variable) -> tuple[str, float | None, float | None, int, str]:
    """Measure, value, p-value, number of patients and note of the association of two variables.

    Two classes: Cramer's V corrected for bias (Bergsma 2013) and the chi-squared test. A class and a quantity: eta
    squared corrected for bias (Kelley's epsilon squared) and the one-way F test. Two quantities: r squared, adjusted.
    """
    both = a.known & b.known
    n = int(both.sum())
    measure = (
        ("r squared" if b.numeric else "eta squared") if a.numeric else "eta squared" if b.numeric else "Cramer's V"
    )
    x, y = a.values[both], b.values[both]
    if n < MIN_N:
        return measure, None, None, n, f"fewer than {MIN_N} patients have both"
    if len(set(x.tolist())) < 2 or len(set(y.tolist())) < 2:
        return measure, None, None, n, "one of both does not vary"
    if a.numeric and b.numeric:
        r = stats.pearsonr(x, y)
        adjusted = 1 - (1 - float(r.statistic) ** 2) * (n - 1) / max(n - 2, 1)
        return measure, max(adjusted, 0.0), float(r.pvalue), n, ""
    if a.numeric or b.numeric:
        return (measure, *eta_squared(*((y, x) if a.numeric else (x, y))), n, "")
    value, p_value = cramers_v(contingency(x, y))
    return measure, value, p_value, n, ""


def contingency(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Counts of patients, shape `(n_levels_of_x, n_levels_of_y)`, levels sorted."""
    rows, i = np.unique(x.astype(str), return_inverse=True)
    columns, j = np.unique(y.astype(str), return_inverse=True)
    table = np.zeros((len(rows), len(columns)))
    np.add.at(table, (i, j), 1)
    return table


def cramers_v(table: np.ndarray) -> tuple[float, float]:
    """Cramer's V corrected for bias, and p-value of the chi-squared test without continuity correction.

    Bergsma (2013): phi^2 less its expectation under independence, over the least of the corrected numbers of rows and
    columns less one.
    """
    n, (r, k) = table.sum(), table.shape
    test = stats.chi2_contingency(table, correction=False)
    phi = max(0.0, test.statistic / n - (r - 1) * (k - 1) / (n - 1))
    least = min(r - (r - 1) ** 2 / (n - 1), k - (k - 1) ** 2 / (n - 1)) - 1
    return (float(min(np.sqrt(phi / least), 1.0)) if least > 0 else 0.0), float(test.pvalue)


def eta_squared(classes: np.ndarray, values: np.ndarray) -> tuple[float | None, float | None]:
    """Share of the variance between classes corrected for bias (epsilon squared), and p-value of the F test."""
    _, i = np.unique(classes.astype(str), return_inverse=True)
    n, k = len(values), int(i.max()) + 1
    if n <= k:
        return None, None
    means = np.bincount(i, values) / np.bincount(i)
    within = float(((values - means[i]) ** 2).sum())
    total = float(((values - values.mean()) ** 2).sum())
    if total == 0:
        return 0.0, 1.0
    epsilon = 1 - within / (n - k) / (total / (n - 1))
    statistic = (total - within) / (k - 1) / (within / (n - k)) if within > 0 else np.inf
    return max(0.0, float(epsilon)), float(stats.f.sf(statistic, k - 1, n - k))
