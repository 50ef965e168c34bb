"""Who the patients are: the clinical columns of the analysis, and how long they were followed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl


def baseline_rows(
    clinical: pl.DataFrame,
    outcome: pl.DataFrame,
    columns: Sequence[str],
    numeric: dict[str, bool],
    level: float,
) -> list[dict[str, Any]]:
    """Rows of contract `CohortBaseline`: one a number, one a class, and one on follow-up.

    Parameters
    ----------
    clinical
        One row per patient.
    outcome
        Contract `Outcome`.
    columns
        Columns to describe, in this order.
    numeric
        Column -> whether it is described by mean and standard deviation (else by shares of its classes).
    level
        Level of the interval of the median follow-up.
    """
    rows = [row for column in columns for row in _column(clinical[column], numeric[column])]
    return [*rows, follow_up(outcome, level)]


def _column(values: pl.Series, as_number: bool) -> list[dict[str, Any]]:
    known = values.drop_nulls()
    base = _blank(values.name) | {"n": len(known), "missing": values.null_count()}
    if as_number:
        numbers = known.cast(pl.Float64)
        return [base | {"kind": "mean", "value": numbers.mean(), "sd": numbers.std()}]
    counts = known.cast(pl.String).alias("level").value_counts().sort("level")
    return [
        base | {"level": level, "kind": "share", "value": count / len(known), "count": count}
        for level, count in counts.iter_rows()
    ]


def follow_up(outcome: pl.DataFrame, level: float) -> dict[str, Any]:
    """Median follow-up by the reverse Kaplan-Meier method (Schemper & Smith 1996, Control Clin Trials 17:343).

    Deaths of any cause are taken as censored and censored patients as events, so that early deaths do not shorten it;
    in months, with the interval of the curve's log(-log) limits. Null where the curve never reaches one half.

    Parameters
    ----------
    outcome
        Contract `Outcome`.
    level
        Level of the interval.
    """
    from lifelines import KaplanMeierFitter
    from lifelines.utils import median_survival_times

    row = _blank("follow-up") | {"kind": "months", "n": outcome.height}
    if not outcome.height:
        return row
    lost = (outcome["event"] + outcome["competing"]).to_numpy() == 0
    curve = KaplanMeierFitter(alpha=1 - level).fit(outcome["time_months"].to_numpy(), lost)
    limits = np.sort(np.ravel(median_survival_times(curve.confidence_interval_)))
    numbers = {"value": curve.median_survival_time_, "lower": limits[0], "upper": limits[-1]}
    return row | {name: float(v) if np.isfinite(v) else None for name, v in numbers.items()}


def _blank(variable: str) -> dict[str, Any]:
    empty = dict.fromkeys(("level", "value", "sd", "count", "lower", "upper"))
    return {"variable": variable, "kind": "mean", "n": 0, "missing": 0, **empty}
