"""Survival of subgroups at sites that the model has not seen: differences at each site, and at one more.

Labels of the patients of a site come from the model that was learned without it, and carry the names of `full` by the
training patients that both share (`stratiome.subgroups.match`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from stratiome.config import EvaluationConfig
from stratiome.resample.names import SITE
from stratiome.subgroups.cluster import UNASSIGNED
from stratiome.subgroups.match import match_labels
from stratiome.survival.compare import restricted_mean_error
from stratiome.survival.curves import is_determined
from stratiome.survival.sites import summarise
from stratiome.tables import SubgroupSiteSummary, SubgroupSiteSurvival, from_rows

Row = dict[str, Any]
LEAST, LEAST_EVENTS = 20, 5
"""Patients, and events among them, of a subgroup at a site below which nothing is estimated, as of arms."""


def site_labels(found: pl.DataFrame, counts: Mapping[tuple[str, str], int]) -> pl.DataFrame:
    """Subgroup of each patient of a left-out site by the model that has not seen it, under the names of `full`.

    Parameters
    ----------
    found
        Contract `Subgroups`, all resamples.
    counts
        Number of subgroups by resample and model.

    Returns
    -------
    polars.DataFrame
        Columns model, resample, patient_id, subgroup (0 = unassigned), sorted by the first three; models in the order
        of `full`.
    """
    full = found.filter(pl.col("resample") == "full", pl.col("role") == "train")
    sites = sorted(found.filter(pl.col("resample").str.starts_with(SITE))["resample"].unique().to_list())
    rows = []
    for model in full["model"].unique(maintain_order=True).to_list():
        reference = dict(full.filter(pl.col("model") == model).select("patient_id", "subgroup").iter_rows())
        for site in sites:
            part = found.filter(pl.col("resample") == site, pl.col("model") == model)
            if (site, model) not in counts or part.is_empty():
                continue
            learned = part.filter(pl.col("role") == "train")
            shared = np.array([reference.get(p, UNASSIGNED) for p in learned["patient_id"]], dtype=np.int64)
            names = match_labels(shared, learned["subgroup"].to_numpy(), counts["full", model], counts[site, model])
            tested = part.filter(pl.col("role") == "test").sort("patient_id")
            rows += [(model, site, p, names[s]) for p, s in tested.select("patient_id", "subgroup").iter_rows()]
    schema = {"model": pl.String, "resample": pl.String, "patient_id": pl.String, "subgroup": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")


def site_survival_table(
    labels: pl.DataFrame, outcome: pl.DataFrame, counts: Mapping[tuple[str, str], int], tau: float, level: float
) -> pl.DataFrame:
    """Difference in restricted mean survival of each subgroup to the largest, at every site (`SubgroupSiteSurvival`).

    The largest is that of most patients of all sites, so that the same two are compared everywhere.

    Parameters
    ----------
    labels
        From `site_labels`.
    outcome
        Columns patient_id, time_months, event.
    counts
        Number of subgroups by resample and model.
    tau
        Upper limit of restricted means, in months.
    level
        Level of intervals.
    """
    known = labels.filter(pl.col("subgroup") > 0).join(outcome, on="patient_id", how="inner", maintain_order="left")
    rows: list[Row] = []
    for model in labels["model"].unique(maintain_order=True).to_list():
        own, k = known.filter(pl.col("model") == model), counts["full", model]
        if k < 2 or own.is_empty():
            continue
        sizes = own["subgroup"].value_counts().sort("count", "subgroup", descending=[True, False])
        largest = int(sizes["subgroup"][0])
        for site in labels.filter(pl.col("model") == model)["resample"].unique(maintain_order=True).to_list():
            here = own.filter(pl.col("resample") == site)
            other = here.filter(pl.col("subgroup") == largest)
            rows += [
                {"model": model, "resample": site, "subgroup": g, "versus": largest, "tau_months": tau}
                | restricted_difference(here.filter(pl.col("subgroup") == g), other, tau, level)
                for g in range(1, k + 1)
                if g != largest
            ]
    return from_rows(rows, SubgroupSiteSurvival)


def restricted_difference(group: pl.DataFrame, other: pl.DataFrame, tau: float, level: float) -> Row:
    """Columns of a claim on the difference in restricted means of two groups of patients, and its `standard_error`.

    Parameters
    ----------
    group, other
        Columns time_months, event; `other` is subtracted.
    tau
        Upper limit of restricted means, in months.
    level
        Level of the interval.
    """
    from scipy.stats import norm

    row: Row = {
        "n": group.height + other.height,
        "events": int(group["event"].sum()) + int(other["event"].sum()),
        "held_out": True,
        **dict.fromkeys(("estimate", "lower", "upper", "standard_error")),
    }
    pairs = [(p["time_months"].to_numpy(), p["event"].to_numpy().astype(bool)) for p in (group, other)]
    why = ""
    if min(len(time) for time, _ in pairs) < LEAST:
        why = f"fewer than {LEAST} patients in one of both"
    elif min(int(event.sum()) for _, event in pairs) < LEAST_EVENTS:
        why = f"fewer than {LEAST_EVENTS} events in one of both"
    elif not all(is_determined(time, event, tau) for time, event in pairs):
        why = f"follow-up of one of both ends before {tau:g} months"
    if why:
        return row | {"method": f"not estimable: {why}"}
    (mean, error), (mean_other, error_other) = (restricted_mean_error(*p, tau) for p in pairs)
    both, z = float(np.hypot(error, error_other)), float(norm.ppf(0.5 + level / 2))
    gap = mean - mean_other
    method = (
        f"difference in area under the Kaplan-Meier curve up to {tau:g} months, {level:.0%} normal interval with"
        " Greenwood's variance, subgroups by a model that has not seen these patients"
    )
    ends = {"estimate": gap, "lower": gap - z * both, "upper": gap + z * both, "standard_error": both}
    return row | ends | {"method": method}


def site_summary_table(agreement: pl.DataFrame, survival: pl.DataFrame, settings: EvaluationConfig) -> pl.DataFrame:
    """Random-effects summaries over left-out sites (contract `SubgroupSiteSummary`).

    Parameters
    ----------
    agreement
        Contract `SubgroupSites`.
    survival
        Contract `SubgroupSiteSurvival`.
    settings
        Level.
    """
    rows: list[Row] = []
    blank: Row = {"subgroup": None, "versus": None, "tau_months": None, "held_out": True}
    for model in agreement["model"].unique(maintain_order=True).to_list():
        own = agreement.filter(pl.col("model") == model).to_dicts()
        text = "adjusted Rand index over left-out sites, errors by bootstraps of the patients of a site"
        found = summarise(own, text, settings.level, (-1.0, 1.0))
        rows.append(blank | {"model": model, "quantity": "adjusted_rand_index"} | found)
    keys = ("model", "subgroup", "versus", "tau_months")
    for key, part in survival.group_by(keys, maintain_order=True):
        tau = float(part["tau_months"][0])
        text = (
            f"difference in area under the Kaplan-Meier curve up to {tau:g} months over left-out sites, errors within"
            " sites with Greenwood's variance"
        )
        found = summarise(part.to_dicts(), text, settings.level, (-tau, tau))
        rows.append(blank | dict(zip(keys, key, strict=True)) | {"quantity": "rmst_difference"} | found)
    return from_rows(rows, SubgroupSiteSummary)
