"""RNA sequencing counts."""

from __future__ import annotations

import numpy as np

from stratiome.omics.kind import OmicKind, outside

TARGET_SUM = 1e4


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


KIND = OmicKind("counts", "reads", problem, scale, "log(1 + counts per 10,000)")
