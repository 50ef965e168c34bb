"""RNA sequencing counts."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stratiome.omics.kind import Metric, OmicKind, outside
from stratiome.omics.reads import library_metrics

TARGET_SUM = 1e4
TOP_GENES = 50
MITOCHONDRIAL = ("MT-", "mt-", "Mt-")
HIGH_MITOCHONDRIAL = 20.0
"""Percentage of the reads above which a sample is likely degraded (Luecken and Theis 2019 discuss such limits)."""


def problem(values: np.ndarray) -> str:
    """Counts are whole, non-negative and never missing."""
    if not np.isfinite(values).all():
        return "missing values. Suggestion: a gene without reads has count 0; use kind `expression` for normalised data"
    negative = outside(values, 0, np.inf)
    if negative:
        return f"{negative} negative values. Suggestion: give raw counts, or use kind `expression` for normalised data"
    fractional = float((values != np.round(values)).mean())
    if fractional > 0.5:
        return f"{fractional:.0%} of the values are not whole. Suggestion: use kind `expression` for normalised data"
    empty = int((values.sum(axis=1) == 0).sum())
    if empty:
        return f"{empty} patients have no reads at all. Suggestion: leave out patients who were not sequenced"
    return ""


def scale(values: np.ndarray) -> np.ndarray:
    """Logarithm of one plus counts per ten thousand (scanpy `normalize_total` with a fixed target, `log1p`)."""
    import anndata
    import scanpy

    data = anndata.AnnData(np.array(values, dtype=np.float32))
    scanpy.pp.normalize_total(data, target_sum=TARGET_SUM)
    scanpy.pp.log1p(data)
    return np.asarray(data.X, dtype=np.float32)


def measure(values: np.ndarray, features: Sequence[str]) -> dict[str, np.ndarray]:
    """Quality of each patient as scanpy's `calculate_qc_metrics` has it: reads, genes, top genes, mitochondrial."""
    import anndata
    import pandas as pd
    import scanpy

    mitochondrial = np.array([f.startswith(MITOCHONDRIAL) for f in features])
    data = anndata.AnnData(
        np.asarray(values, dtype=np.float64),
        var=pd.DataFrame({"mitochondrial": mitochondrial}, index=pd.Index(features, dtype=object)),
    )
    top = min(TOP_GENES, len(features))
    found = scanpy.pp.calculate_qc_metrics(data, qc_vars=["mitochondrial"], percent_top=[top], log1p=False)[0]
    measures = {
        "total": found["total_counts"].to_numpy(np.float64),
        "detected": found["n_genes_by_counts"].to_numpy(np.float64),
        "top": found[f"pct_counts_in_top_{top}_genes"].to_numpy(np.float64),
        "fractional": (values != np.round(values)).mean(axis=1),
    }
    if mitochondrial.any():
        measures["mitochondrial"] = found["pct_counts_mitochondrial"].to_numpy(np.float64)
    return measures


def metrics(patients: dict[str, np.ndarray], unit: str) -> list[Metric]:
    """Library sizes, genes detected, share of the top genes and of mitochondrial genes."""
    found = library_metrics(patients["total"], patients["detected"], unit, "genes")
    top = float(np.median(patients["top"])) / 100
    found.append(("reads in the most abundant genes", top, f"share of a patient's reads in its {TOP_GENES} top genes"))
    if "mitochondrial" in patients:
        percent = patients["mitochondrial"]
        found.append(("mitochondrial reads", float(np.median(percent)) / 100, "share of a patient's reads, median"))
        high = float((percent > HIGH_MITOCHONDRIAL).sum())
        found.append(
            ("patients with many mitochondrial reads", high, f"more than {HIGH_MITOCHONDRIAL:.0f} %: degraded samples")
        )
    fractional = float(patients["fractional"].mean())
    if fractional > 0:
        found.append(("values that are not whole", fractional, "share of cells: estimated counts, or normalised ones"))
    return found


KIND = OmicKind(
    "counts",
    "reads",
    problem,
    scale,
    "log(1 + counts per 10,000)",
    reads=True,
    all_zero="never detected",
    measure=measure,
    metrics=metrics,
)
