"""Answers of several analyses in one table, corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
from statsmodels.stats.multitest import multipletests

from stratiome import tables


def across(parts: Sequence[tuple[str, str, pl.DataFrame]]) -> pl.DataFrame:
    """Table `SweepAnswers`, with p-values corrected over all answers to the same question.

    The correction is Holm's (Holm 1979), which holds whatever the tests share; analyses of one cohort with several
    endpoints share patients, and the test for subgroups even its data. False discovery rates would ask for more.

    Parameters
    ----------
    parts
        Cohort, endpoint and `Answers` of each analysis.
    """
    rows = [
        row | {"cohort": cohort, "endpoint": endpoint, "p_holm": None}
        for cohort, endpoint, frame in parts
        for row in frame.iter_rows(named=True)
    ]
    families: dict[str, list[int]] = {}
    for i, row in enumerate(rows):
        if row["p_value"] is not None:
            families.setdefault(row["question"], []).append(i)
    for members in families.values():
        corrected = multipletests([rows[i]["p_value"] for i in members], method="holm")[1]
        for i, p in zip(members, corrected, strict=True):
            rows[i]["p_holm"] = float(p)
    return tables.from_rows(rows, tables.SweepAnswers)
