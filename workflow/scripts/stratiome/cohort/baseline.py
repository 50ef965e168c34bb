"""Who the patients are: the clinical columns of the analysis, and how long they were followed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import polars as pl

FEW_VALUES = 6
"""Distinct whole numbers up to which a number is described by the share of each, as a grade."""
PER_VALUE = 5
"""Patients for each of them on average, without which it is no such number but has few patients."""
SKEWED = 0.25
"""Distance of mean and median, in standard deviations, from which the median stands for a number."""


def baseline_rows(
    clinical: pl.DataFrame,
    outcome: pl.DataFrame,
    columns: Sequence[str],
    numeric: dict[str, bool],
    level: float,
    treatments: Mapping[str, str] | None = None,
) -> list[dict[str, Any]]:
    """Rows of contract `CohortBaseline`: one a number, one a class, and one on follow-up; the same by arm.

    Parameters
    ----------
    clinical
        One row per patient.
    outcome
        Contract `Outcome`.
    columns
        Columns to describe, in this order.
    numeric
        Column -> whether it is a number (else it is described by shares of its classes).
    level
        Level of the interval of the median follow-up.
    treatments
        Treatment -> its column of 0 and 1; patients without a record are in neither arm.
    """
    kinds = {c: _kind(clinical[c], numeric[c]) for c in columns}
    rows = _rows(clinical, outcome, kinds, level)
    for treatment, column in (treatments or {}).items():
        for arm in (0, 1):
            here = clinical.filter(pl.col(column) == arm)
            others = {c: k for c, k in kinds.items() if c != column}
            of_arm = outcome.join(here.select("patient_id"), on="patient_id", how="semi")
            rows += [r | {"treatment": treatment, "arm": arm} for r in _rows(here, of_arm, others, level)]
    return rows


def _rows(
    clinical: pl.DataFrame, outcome: pl.DataFrame, kinds: Mapping[str, str], level: float
) -> list[dict[str, Any]]:
    rows = [row for column, kind in kinds.items() for row in _column(clinical[column], kind)]
    return [*rows, follow_up(outcome, level)]


def _kind(values: pl.Series, as_number: bool) -> str:
    """How a column is described, the same in all patients and in each arm."""
    if not as_number:
        return "share"
    known = values.drop_nulls().cast(pl.Float64)
    few = known.n_unique() <= min(FEW_VALUES, len(known) / PER_VALUE)
    if few and bool((known == known.round()).all()):
        return "share"
    mean, median, sd = known.mean(), known.median(), known.std()
    if not isinstance(mean, float) or not isinstance(median, float) or not isinstance(sd, float):
        return "mean"
    return "median" if abs(mean - median) > SKEWED * sd else "mean"


def _column(values: pl.Series, kind: str) -> list[dict[str, Any]]:
    known = values.drop_nulls()
    base = _blank(values.name) | {"kind": kind, "n": len(known), "missing": values.null_count()}
    if kind == "share":
        return _shares(known, base)
    numbers = known.cast(pl.Float64)
    if kind == "mean":
        return [base | {"value": numbers.mean(), "sd": numbers.std()}]
    low, high = (numbers.quantile(q, "linear") for q in (0.25, 0.75))
    return [base | {"value": numbers.median(), "lower": low, "upper": high}]


def _shares(known: pl.Series, base: dict[str, Any]) -> list[dict[str, Any]]:
    whole = known.dtype.is_float() and bool((known == known.round()).all())
    counts = (known.cast(pl.Int64) if whole else known).alias("level").value_counts().sort("level")
    return [
        base | {"level": level, "value": count / len(known), "count": count}
        for level, count in counts.with_columns(pl.col("level").cast(pl.String)).iter_rows()
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
    empty = dict.fromkeys(("treatment", "arm", "level", "value", "sd", "count", "lower", "upper"))
    return {"variable": variable, "kind": "mean", "n": 0, "missing": 0, **empty}
