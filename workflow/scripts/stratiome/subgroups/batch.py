"""Is a subgroup a batch? Association of held-out subgroups with how and where patients were measured, and whether
patients of a site get the same subgroup from a model that has not seen the site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl
from scipy import stats
from scipy.optimize import brentq

from stratiome.config import EvaluationConfig
from stratiome.features.block import FeatureSet
from stratiome.quality.batch import association, contingency
from stratiome.quality.variables import Variable
from stratiome.resample.names import SITE
from stratiome.subgroups.agreement import agreement_claim, agreement_error
from stratiome.subgroups.agreement import contingency as cross_table
from stratiome.tables import SubgroupAssociations, SubgroupSites, from_rows

ROLES = ("batch", "covariate")


def measured_omics(features: FeatureSet, patients: Sequence[str]) -> list[Variable]:
    """Which omics were measured, one class for each set of them; no variable where all patients have the same.

    Parameters
    ----------
    features
        Features of some or all of the patients.
    patients
        Rows of the variable; those without features have no value.
    """
    found = {
        p: " + ".join(b.name for b, here in zip(features.blocks, row, strict=True) if here) or "none"
        for p, row in zip(features.patient_ids, np.transpose([b.present for b in features.blocks]), strict=True)
    }
    values = np.array([found.get(p) for p in patients], dtype=object)
    return [Variable("omics measured", "batch", values)] if len({v for v in values if v is not None}) > 1 else []


def association_table(
    held_out: pl.DataFrame,
    variables: Sequence[Variable],
    patients: Sequence[str],
    outcome: pl.DataFrame,
    limit: float,
    level: float,
) -> pl.DataFrame:
    """Association of held-out subgroups with batches and covariates (contract `SubgroupAssociations`).

    Cramer's V for classes and eta squared for quantities, each corrected for bias; unassigned patients are left out.

    Parameters
    ----------
    held_out
        Contract `SubgroupAssignment`.
    variables
        What is known of the patients; those that are neither batch nor covariate are not used.
    patients
        Rows of the variables.
    outcome
        Columns patient_id, event; for the number of events.
    limit
        Strength beyond which an association is called strong.
    level
        Level of intervals.
    """
    row = {p: i for i, p in enumerate(patients)}
    events = dict(outcome.select("patient_id", "event").iter_rows())
    died = np.array([events.get(p, 0) for p in patients])
    rows = []
    for model in held_out["model"].unique(maintain_order=True).to_list():
        own = held_out.filter((pl.col("model") == model) & (pl.col("subgroup") > 0))
        label = np.full(len(patients), None, dtype=object)
        for p, s in own.select("patient_id", "subgroup").iter_rows():
            if p in row:
                label[row[p]] = str(s)
        groups = Variable("subgroup", "subgroup", label)
        for variable in (v for v in variables if v.role in ROLES):
            both = groups.known & variable.known
            key = {"model": model, "variable": variable.name, "role": variable.role, "limit": limit, "held_out": True}
            counted = {"n": int(both.sum()), "events": int(died[both].sum())}
            rows.append(key | counted | _association(groups, variable, both, limit, level))
    return from_rows(rows, SubgroupAssociations)


def _association(a: Variable, b: Variable, both: np.ndarray, limit: float, level: float) -> dict[str, Any]:
    measure, value, _, _, note = association(a, b)
    found: dict[str, Any] = {"measure": measure, "estimate": None, "lower": None, "upper": None}
    if value is None:
        return found | {"strength": None, "beyond": False, "method": f"not estimable: {note or 'too few patients'}"}
    x, y = a.values[both], b.values[both]
    if b.numeric:
        lower, upper = eta_squared_interval(x, y, level)
        method = "eta squared corrected for bias (Kelley's epsilon squared), interval of the non-central F"
    else:
        lower, upper = cramers_v_interval(contingency(x, y), level)
        method = "Cramer's V corrected for bias (Bergsma 2013), interval of the non-central chi-squared"
    strength = float(np.sqrt(value)) if b.numeric else value
    return found | {
        "estimate": value,
        "lower": min(lower, value),
        "upper": max(upper, value),
        "strength": strength,
        "beyond": strength > limit,
        "method": f"{method} at {level:.0%}",
    }


def cramers_v_interval(table: np.ndarray, level: float) -> tuple[float, float]:
    """Interval of Cramer's V: that of the non-centrality of the chi-squared statistic, `V = sqrt(lambda / (n m))`.

    `m` is the least of rows and columns less one (Smithson 2003, Confidence Intervals, chapter 4).

    Parameters
    ----------
    table
        Shape `(n_rows, n_columns)`, counts; no empty row or column.
    level
        Level of the interval.
    """
    test = stats.chi2_contingency(table, correction=False)
    ends = _non_centrality(lambda size: float(stats.ncx2.cdf(test.statistic, test.dof, size)), test.statistic, level)
    least = min(table.shape) - 1
    low, high = (float(min(np.sqrt(size / (table.sum() * least)), 1.0)) for size in ends)
    return low, high


def eta_squared_interval(classes: np.ndarray, values: np.ndarray, level: float) -> tuple[float, float]:
    """Interval of eta squared: that of the non-centrality of the one-way F statistic, `lambda / (lambda + n)`.

    Steiger (2004), Psychological Methods 9:164.

    Parameters
    ----------
    classes
        Shape `(n_patients,)`, at least two classes.
    values
        Shape `(n_patients,)`, more patients than classes.
    level
        Level of the interval.
    """
    _, i = np.unique(classes.astype(str), return_inverse=True)
    n, k = len(values), int(i.max()) + 1
    means = np.bincount(i, values) / np.bincount(i)
    within = float(((values - means[i]) ** 2).sum())
    total = float(((values - values.mean()) ** 2).sum())
    if within <= 0:
        return (1.0, 1.0) if total > 0 else (0.0, 0.0)
    statistic = (total - within) / (k - 1) / (within / (n - k))
    ends = _non_centrality(lambda size: float(stats.ncf.cdf(statistic, k - 1, n - k, size)), statistic * (k - 1), level)
    low, high = (size / (size + n) for size in ends)
    return low, high


def _non_centrality(below: Any, size: float, level: float) -> tuple[float, float]:
    """Non-centralities at which the statistic is at the upper and at the lower tail; `below` falls with them."""

    def where(tail: float) -> float:
        if below(1e-9) <= tail:
            return 0.0
        top = max(2.0 * size, 10.0)
        while below(top) > tail:
            top *= 2.0
        return float(brentq(lambda s: below(s) - tail, 1e-9, top))

    rest = (1 - level) / 2
    return where(1 - rest), where(rest)


def sites_table(
    found: pl.DataFrame,
    counts: dict[tuple[str, str], int],
    outcome: pl.DataFrame,
    settings: EvaluationConfig,
    seed: int,
) -> pl.DataFrame:
    """Agreement, on the patients of each site, of a model that has not seen the site with `full`.

    Contract `SubgroupSites`. The adjusted Rand index needs no names to be matched.

    Parameters
    ----------
    found
        Contract `Subgroups`, all resamples.
    counts
        Number of subgroups by resample and model.
    outcome
        Columns patient_id, event; for the number of events.
    settings
        Bootstraps and level.
    seed
        Seed of the bootstrap.
    """
    events = dict(outcome.select("patient_id", "event").iter_rows())
    apart = found.filter(
        pl.col("resample").str.starts_with(SITE) & (pl.col("role") == "test") & (pl.col("subgroup") > 0)
    )
    rows = []
    for m, model in enumerate(found["model"].unique(maintain_order=True).to_list()):
        everyone = found.filter((pl.col("resample") == "full") & (pl.col("model") == model) & (pl.col("subgroup") > 0))
        full = dict(everyone.select("patient_id", "subgroup").iter_rows())
        own = apart.filter(pl.col("model") == model)
        for r, resample in enumerate(sorted(own["resample"].unique().to_list())):
            members = own.filter(pl.col("resample") == resample).select("patient_id", "subgroup").iter_rows()
            pairs = [(s, full[p], events.get(p, 0)) for p, s in members if p in full]
            table = cross_table(np.array([a for a, *_ in pairs]), np.array([b for _, b, _ in pairs]))
            rng = np.random.default_rng([seed, m, r])
            rows.append(
                {
                    "model": model,
                    "resample": resample,
                    "k": counts[resample, model],
                    "n": len(pairs),
                    "events": int(sum(e for *_, e in pairs)),
                    "held_out": True,
                    **agreement_claim(table, "adjusted_rand_index", settings, rng),
                    "standard_error": agreement_error(table, "adjusted_rand_index", settings, rng),
                }
            )
    return from_rows(rows, SubgroupSites)
