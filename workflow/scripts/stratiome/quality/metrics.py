"""Quality of each omic: one line a feature, one line a metric, nothing removed here."""

from __future__ import annotations

import hashlib
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from stratiome.cohort.store import OmicValues
from stratiome.omics import OmicKind
from stratiome.tables import QualityFeatures, QualitySummary, from_rows

MOSTLY_MISSING = 0.5
HEAVY_TAIL_SD = 12.0


def feature_quality(omic: OmicValues, kind: OmicKind) -> pl.DataFrame:
    """Contract `QualityFeatures`; the features are read a piece at a time."""
    rows: list[dict[str, Any]] = []
    seen: dict[bytes, str] = {}
    n = max(len(omic.patient_ids), 1)
    for part, values in omic.columns():
        for j, feature in enumerate(omic.features[part]):
            column = values[:, j]
            copy_of = _copy_of(column, feature, seen)
            column = column[np.isfinite(column)].astype(np.float64)
            mean, sd = (float(column.mean()), float(column.std(ddof=1))) if column.size > 1 else (None, None)
            rows.append(
                {
                    "omic": omic.name,
                    "feature": feature,
                    "n": column.size,
                    "missing": 1.0 - column.size / n,
                    "mean": mean,
                    "sd": sd,
                    "minimum": float(column.min()) if column.size else None,
                    "maximum": float(column.max()) if column.size else None,
                    "flag": _flag(column, column.size / n, copy_of, kind),
                }
            )
    return from_rows(rows, QualityFeatures)


def _flag(column: np.ndarray, present: float, copy_of: str | None, kind: OmicKind) -> str:
    if column.size == 0:
        return "no values"
    if 1 - present > MOSTLY_MISSING:
        return "mostly missing"
    if column.min() == column.max():
        return "never mutated" if kind.name == "mutation" and column.max() == 0 else "constant"
    if copy_of is not None:
        return f"same values as {copy_of}"
    if kind.continuous and kind.name != "counts":
        middle, spread = np.median(column), np.subtract(*np.percentile(column, [75, 25])) / 1.349
        if spread > 0 and np.abs(column - middle).max() > HEAVY_TAIL_SD * spread:
            return "heavy tail"
    return ""


def _copy_of(column: np.ndarray, feature: str, seen: dict[bytes, str]) -> str | None:
    """Earlier feature with the very same values; constant ones are not counted."""
    if not np.isfinite(column).any() or np.nanmin(column) == np.nanmax(column):
        return None
    key = hashlib.blake2b(np.ascontiguousarray(column).tobytes(), digest_size=16).digest()
    first = seen.setdefault(key, feature)
    return first if first != feature else None


def omic_quality(omic: OmicValues, table: pl.DataFrame, kind: OmicKind, n_cohort: int) -> list[dict[str, Any]]:
    """Rows of contract `QualitySummary` on one omic; the patients are read a piece at a time.

    Parameters
    ----------
    omic
        The values.
    table
        Contract `QualityFeatures` of the same omic.
    kind
        Kind of the omic.
    n_cohort
        Patients of the cohort.
    """

    def row(metric: str, value: float | None, note: str = "") -> dict[str, Any]:
        return {"omic": omic.name, "metric": metric, "value": value, "note": note}

    patients = _patients(omic, kind)
    missing = float(table["missing"].mean()) if table.height else 0.0  # type: ignore[arg-type]
    rows = [
        row("patients", float(len(omic.patient_ids)), f"of {n_cohort} in the cohort"),
        row("features", float(len(omic.features)), f"unit: {kind.unit}"),
        row("missing values", missing, "share of cells, among patients who have the omic"),
    ]
    flags = table.filter(pl.col("flag") != "")["flag"].str.replace(r"^same values as .*", "same values as another")
    for flag, count in flags.value_counts().sort("flag").iter_rows():
        rows.append(row(f"features: {flag}", float(count)))
    rows += [row(*r) for r in _kind_metrics(patients, kind)]
    if patients.levels > 10:  # with few levels, equal rows are no sign of a duplicate
        note = "possible duplicate samples" if patients.copies else ""
        rows.append(row("patients with the same values as another", float(patients.copies), note))
    if kind.continuous:
        note = "median of the features beyond 6 robust SD of the cohort"
        rows.append(row("outlying patients", float(_outliers(patients.centre)), note))
    return rows


@dataclass
class _Patients:
    """Summaries of each patient of one omic.

    `centre` is the median of the scaled features, `total` the sum and `positive` the number above zero of the values as
    read; `copies` counts patients with the same values as an earlier one, `levels` different values (up to 11).
    """

    centre: np.ndarray
    total: np.ndarray
    positive: np.ndarray
    middle: np.ndarray
    copies: int
    levels: int


def _patients(omic: OmicValues, kind: OmicKind) -> _Patients:
    n = len(omic.patient_ids)
    centre, total, positive, middle = np.full((4, n), np.nan)
    found = _Patients(centre, total, positive, middle, copies=0, levels=0)
    seen: set[bytes] = set()
    levels: set[float] = set()
    for part, values in omic.rows():
        found.total[part] = np.nansum(values, axis=1, dtype=np.float64)
        found.positive[part] = (values > 0).sum(axis=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # a patient without any value has no median
            found.middle[part] = np.nanmedian(values, axis=1)
            found.centre[part] = np.nanmedian(kind.scale(values), axis=1) if kind.continuous else np.nan
        for patient in values:
            key = hashlib.blake2b(np.ascontiguousarray(patient).tobytes(), digest_size=16).digest()
            found.copies += key in seen
            seen.add(key)
            if len(levels) <= 10:
                levels.update(np.unique(patient[np.isfinite(patient)]).tolist())
    found.levels = len(levels)
    return found


def _kind_metrics(patients: _Patients, kind: OmicKind) -> list[tuple[str, float, str]]:
    if kind.name == "counts":
        return [
            ("median library size", float(np.median(patients.total)), "reads per patient"),
            ("median genes detected", float(np.median(patients.positive)), "genes with at least one read"),
        ]
    if kind.name == "mutation":
        return [
            ("median mutated genes", float(np.median(patients.total)), "per patient"),
            ("patients without any mutation", float((patients.total == 0).sum()), "wild type, or not sequenced"),
        ]
    return [("median value", float(np.nanmedian(patients.middle)), f"of the patients' medians, {kind.unit}")]


def _outliers(centre: np.ndarray) -> int:
    centre = centre[np.isfinite(centre)]
    spread = np.median(np.abs(centre - np.median(centre))) * 1.4826
    return int((np.abs(centre - np.median(centre)) > 6 * spread).sum()) if spread > 0 else 0


def summary_table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Contract `QualitySummary`."""
    return from_rows(rows, QualitySummary)
