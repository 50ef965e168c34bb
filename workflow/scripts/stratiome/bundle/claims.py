"""What was found in the bundle's cohort and may be looked for again: treatment effects, and how long subgroups live.

Averages of groups of patients with their standard errors, of groups of at least `min_cell` patients; nothing of any one
patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from stratiome.config import TreatmentConfig
from stratiome.tables import BundleClaims, from_rows

Row = dict[str, Any]
MODEL = "vae"
"""The latent model whose subgroups are applied."""
QUESTION = ("landmark_months", "timing", "eligible", "confounders")
"""Columns of what was asked."""


def claims_table(
    effects: pl.DataFrame,
    survival: pl.DataFrame,
    treatments: Mapping[str, TreatmentConfig],
    horizon: float,
    level: float,
    least: int,
) -> pl.DataFrame:
    """Contract `BundleClaims`: effects by the headline, of all and of held-out subgroups, and means of these.

    Parameters
    ----------
    effects, survival
        Contracts `TreatmentEffects` and `SubgroupSurvival`.
    treatments
        Settings by name.
    horizon
        Months at which survival under both arms is compared: the last horizon.
    level
        Level of the intervals.
    least
        Smallest number of patients, in each arm where there are arms, and of events, that is told.
    """
    rows: list[Row] = []
    for row in survival.filter(pl.col("model") == MODEL, pl.col("quantity") == "rmst").iter_rows(named=True):
        if row["estimate"] is not None and min(row["n"], row["events"]) >= least:
            key = {"treatment": None, "estimand": "rmst", "horizon_months": row["tau_months"], "n_treated": None}
            rows.append(_claim(row, level) | key | dict.fromkeys(QUESTION))
    for name, treatment in treatments.items():
        weighting = "none" if treatment.design == "randomised" else "overlap"
        own = effects.filter(pl.col("treatment") == name, pl.col("weighting") == weighting)
        for row in own.sort("subgroup", maintain_order=True).iter_rows(named=True):
            told = min(row["n_treated"], row["n"] - row["n_treated"], row["events"]) >= least
            place = row["estimand"] == "rmst_difference" or row["horizon_months"] == horizon
            if told and place and row["estimate"] is not None and row["estimand"] != "hazard_ratio":
                key = {k: row[k] for k in ("treatment", "estimand", "horizon_months", "n_treated")}
                rows.append(_claim(row, level) | key | _question(treatment))
    return from_rows(rows, BundleClaims)


def _question(treatment: TreatmentConfig) -> Row:
    """What was asked, for those who ask again."""
    asked = (treatment.landmark_months, treatment.timing, treatment.eligible, ", ".join(treatment.confounders))
    return dict(zip(QUESTION, asked, strict=True))


def _claim(row: Mapping[str, Any], level: float) -> Row:
    """Columns of a claim with its subgroup and standard error, that of its normal interval."""
    from scipy.stats import norm

    error = None
    if row["lower"] is not None and row["upper"] is not None:
        error = (row["upper"] - row["lower"]) / (2 * float(norm.ppf(0.5 + level / 2)))
    names = ("estimate", "lower", "upper", "n", "events", "method", "held_out", "subgroup")
    return {name: row[name] for name in names} | {"standard_error": error}
