"""Whether an effect differs between subgroups: one omnibus test, and correction for looking at each."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from stratiome.treatment.effect import Comparison

Row = dict[str, Any]


def equal_effects(estimates: np.ndarray, errors: np.ndarray) -> tuple[float, int, float]:
    """Wald test that independent effects are all equal.

    `Q = sum_k w_k (d_k - d)^2`, `w_k = 1 / se_k^2`, `d` the `w`-weighted mean: the Wald statistic of all differences
    between disjoint groups, chi-squared on `K - 1` degrees of freedom (Cochran 1954).

    Parameters
    ----------
    estimates, errors
        Shape `(n_groups,)`, at least two groups, standard errors positive.

    Returns
    -------
    tuple
        Statistic, degrees of freedom and p-value.
    """
    from scipy.stats import chi2

    precision = 1.0 / np.square(errors)
    mean = np.average(estimates, weights=precision)
    statistic = float((precision * np.square(estimates - mean)).sum())
    return statistic, len(estimates) - 1, float(chi2.sf(statistic, len(estimates) - 1))


def interaction_rows(
    treatment: str,
    subgroups: Sequence[int],
    compared: Sequence[Comparison | None],
    contrasts: Sequence[tuple[str, float]],
    weighting: str,
) -> list[Row]:
    """Rows of `TreatmentInteraction`, one per estimand and time.

    Parameters
    ----------
    treatment
        Key of the treatment.
    subgroups
        Held-out subgroups; fewer than two means that there is nothing to compare.
    compared
        Comparison in each subgroup, None where not estimable.
    contrasts
        Estimand and time, in the order of the estimates.
    weighting
        Weighting of the comparisons.
    """
    rows = []
    for j, (estimand, time) in enumerate(contrasts):
        row: Row = {"treatment": treatment, "estimand": estimand, "horizon_months": time}
        row |= {"statistic": None, "df": 0, "p_value": None}
        known = [(k, c) for k, c in zip(subgroups, compared, strict=True) if c is not None and c.error[j] > 0]
        known = [(k, c) for k, c in known if np.isfinite(c.estimate[j])]
        if len(subgroups) < 2:
            row["method"] = "one subgroup: nothing to compare"
        elif len(known) < 2:
            row["method"] = "not estimable: fewer than two subgroups with an estimate"
        else:
            effects, errors = np.array([[c.estimate[j], c.error[j]] for _, c in known]).T
            row["statistic"], row["df"], row["p_value"] = equal_effects(effects, errors)
            left_out = [str(k) for k in subgroups if k not in {known_k for known_k, _ in known}]
            without = f", without subgroup {', '.join(left_out)} (not estimable)" if left_out else ""
            how = "overlap weights within each subgroup" if weighting == "overlap" else "unweighted"
            row["method"] = (
                f"Wald test of equal effects in {len(known)} held-out subgroups{without}; {how}; bootstrap variances"
            )
        rows.append(row)
    return rows


def holm(rows: list[Row]) -> list[Row]:
    """Fill `p_holm` over the subgroups that were tested, apart for each weighting, estimand and horizon (Holm 1979)."""
    families: dict[tuple[Any, ...], list[int]] = {}
    for i, row in enumerate(rows):
        if row["p_value"] is not None:
            families.setdefault((row["weighting"], row["estimand"], row["horizon_months"]), []).append(i)
    filled = [dict(row) for row in rows]
    for members in families.values():
        ordered = sorted(members, key=lambda i: rows[i]["p_value"])
        largest = 0.0
        for rank, i in enumerate(ordered):
            largest = max(largest, min(1.0, (len(ordered) - rank) * rows[i]["p_value"]))
            filled[i]["p_holm"] = largest
    return filled
