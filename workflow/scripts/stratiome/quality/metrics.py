"""Quality of each omic: one line a feature, one line a metric, nothing removed here."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl

from stratiome.omics import OmicKind
from stratiome.tables import QualityFeatures, QualitySummary, from_rows

MOSTLY_MISSING = 0.5
HEAVY_TAIL_SD = 12.0


def feature_quality(name: str, values: np.ndarray, features: tuple[str, ...], kind: OmicKind) -> pl.DataFrame:
    """Contract `QualityFeatures`.

    Parameters
    ----------
    name
        Name of the omic.
    values
        Shape `(n_patients, n_features)`, as read, NaN where missing.
    features
        Feature names.
    kind
        Kind of the omic.
    """
    finite = np.isfinite(values)
    n = finite.sum(axis=0)
    work = np.where(finite, values, np.nan).astype(np.float64)
    copies = _duplicate_of(values)
    rows = []
    for j, feature in enumerate(features):
        column = work[finite[:, j], j]
        mean, sd = (float(column.mean()), float(column.std(ddof=1))) if column.size > 1 else (None, None)
        rows.append(
            {
                "omic": name,
                "feature": feature,
                "n": int(n[j]),
                "missing": 1.0 - float(n[j]) / max(len(values), 1),
                "mean": mean,
                "sd": sd,
                "minimum": float(column.min()) if column.size else None,
                "maximum": float(column.max()) if column.size else None,
                "flag": _flag(column, float(n[j]) / max(len(values), 1), copies[j], features, kind),
            }
        )
    return from_rows(rows, QualityFeatures)


def _flag(column: np.ndarray, present: float, copy_of: int, features: tuple[str, ...], kind: OmicKind) -> str:
    if column.size == 0:
        return "no values"
    if 1 - present > MOSTLY_MISSING:
        return "mostly missing"
    if column.min() == column.max():
        return "never mutated" if kind.name == "mutation" and column.max() == 0 else "constant"
    if copy_of >= 0:
        return f"same values as {features[copy_of]}"
    if kind.continuous and kind.name != "counts":
        middle, spread = np.median(column), np.subtract(*np.percentile(column, [75, 25])) / 1.349
        if spread > 0 and np.abs(column - middle).max() > HEAVY_TAIL_SD * spread:
            return "heavy tail"
    return ""


def _duplicate_of(values: np.ndarray) -> list[int]:
    seen: dict[bytes, int] = {}
    found = []
    for j in range(values.shape[1]):
        column = np.ascontiguousarray(values[:, j])
        constant = not np.isfinite(column).any() or np.nanmin(column) == np.nanmax(column)
        key = column.tobytes()
        found.append(-1 if constant else seen.get(key, -1))
        seen.setdefault(key, j)
    return found


def omic_quality(
    name: str, values: np.ndarray, table: pl.DataFrame, kind: OmicKind, n_cohort: int
) -> list[dict[str, Any]]:
    """Rows of contract `QualitySummary` on one omic."""

    def row(metric: str, value: float | None, note: str = "") -> dict[str, Any]:
        return {"omic": name, "metric": metric, "value": value, "note": note}

    finite = np.isfinite(values)
    rows = [
        row("patients", float(len(values)), f"of {n_cohort} in the cohort"),
        row("features", float(values.shape[1]), f"unit: {kind.unit}"),
        row("missing values", float(1 - finite.mean()), "share of cells, among patients who have the omic"),
    ]
    flags = table.filter(pl.col("flag") != "")["flag"].str.replace(r"^same values as .*", "same values as another")
    for flag, count in flags.value_counts().sort("flag").iter_rows():
        rows.append(row(f"features: {flag}", float(count)))
    rows += [row(*r) for r in _kind_metrics(values, kind)]
    if len(np.unique(values[np.isfinite(values)])) > 10:  # with few levels, equal rows are no sign of a duplicate
        copies = len(values) - len(np.unique(np.nan_to_num(values, nan=-1e30), axis=0))
        note = "possible duplicate samples" if copies else ""
        rows.append(row("patients with the same values as another", float(copies), note))
    if kind.continuous:
        note = "median of the features beyond 6 robust SD of the cohort"
        rows.append(row("outlying patients", float(_outliers(kind.scale(values))), note))
    return rows


def _kind_metrics(values: np.ndarray, kind: OmicKind) -> list[tuple[str, float, str]]:
    if kind.name == "counts":
        import anndata
        import scanpy

        data = anndata.AnnData(np.array(values, dtype=np.float32))
        scanpy.pp.calculate_qc_metrics(data, percent_top=None, inplace=True)
        return [
            ("median library size", float(data.obs["total_counts"].median()), "reads per patient"),
            ("median genes detected", float(data.obs["n_genes_by_counts"].median()), "genes with at least one read"),
        ]
    if kind.name == "mutation":
        burden = np.nansum(values, axis=1)
        return [
            ("median mutated genes", float(np.median(burden)), "per patient"),
            ("patients without any mutation", float((burden == 0).sum()), "wild type, or not sequenced"),
        ]
    return [("median value", float(np.nanmedian(values)), kind.unit)]


def _outliers(values: np.ndarray) -> int:
    centre = np.nanmedian(values, axis=1)
    spread = np.median(np.abs(centre - np.median(centre))) * 1.4826
    return int((np.abs(centre - np.median(centre)) > 6 * spread).sum()) if spread > 0 else 0


def summary_table(rows: list[dict[str, Any]]) -> pl.DataFrame:
    """Contract `QualitySummary`."""
    return from_rows(rows, QualitySummary)
