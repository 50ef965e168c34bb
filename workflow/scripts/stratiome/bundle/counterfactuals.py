"""Survival under each arm for the patients of another cohort: the average for patients like this."""

from __future__ import annotations

import polars as pl

from stratiome.tables import ScoredCounterfactuals, order


def counterfactuals(curves: pl.DataFrame, patients: pl.DataFrame) -> pl.DataFrame:
    """Curves under both arms of the subgroups that the patients fall into (contract `ScoredCounterfactuals`).

    Curves are averages of a subgroup. For patients without a subgroup, and for those who are out of distribution, none
    is given: whether patients like them could have had either treatment is not known. Nor is one where training
    patients of an arm were too few to be told, since a curve without its other arm compares nothing.

    Parameters
    ----------
    curves
        Contract `CounterfactualCurves`, of a bundle.
    patients
        Contract `ScoredPatients`.
    """
    like = patients.filter(pl.col("subgroup") > 0, ~pl.col("out_of_distribution"))
    sizes = like.group_by("subgroup").agg(patients=pl.len())
    both = pl.col("arm").n_unique().over("treatment", "subgroup") == 2
    found = curves.filter(both).join(sizes, on="subgroup", how="inner", maintain_order="left")
    keys = ("treatment", "subgroup", "arm", "time_months")
    return order(found.drop("resample").sort(keys), ScoredCounterfactuals)
