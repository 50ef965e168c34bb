"""microRNA sequencing: counts or reads per million."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stratiome.omics.kind import Metric, OmicKind, outside
from stratiome.omics.reads import LOGARITHM_MAX, library_metrics, looks_logged


def problem(values: np.ndarray) -> str:
    """Reads are never negative, and not logarithms of reads."""
    negative = outside(values, 0, np.inf)
    if negative:
        return (
            f"{negative} negative values. Suggestion: give counts or reads per million, or use kind `expression` "
            "for logarithms"
        )
    if looks_logged(values):
        return (
            f"most patients hold fractions that never exceed {LOGARITHM_MAX:g}: these are logarithms. "
            "Suggestion: give counts or reads per million, or use kind `expression`"
        )
    return ""


def scale(values: np.ndarray) -> np.ndarray:
    """log2 of one plus reads per million, of the patient's total over the given miRNAs."""
    total = np.nansum(values, axis=1, keepdims=True)
    return np.log2(1.0 + values / np.where(total > 0, total, 1.0) * 1e6).astype(np.float32)


def measure(values: np.ndarray, features: Sequence[str]) -> dict[str, np.ndarray]:
    """Reads and miRNAs detected of each patient."""
    return {
        "total": np.nansum(values, axis=1, dtype=np.float64),
        "detected": (values > 0).sum(axis=1).astype(np.float64),
    }


def metrics(patients: dict[str, np.ndarray], unit: str) -> list[Metric]:
    """Library sizes and miRNAs detected."""
    return library_metrics(patients["total"], patients["detected"], unit, "miRNAs")


KIND = OmicKind(
    "mirna",
    "reads",
    problem,
    scale,
    "log2(1 + reads per million)",
    reads=True,
    all_zero="never detected",
    measure=measure,
    metrics=metrics,
)
