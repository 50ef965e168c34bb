"""microRNA sequencing: counts or reads per million."""

from __future__ import annotations

import numpy as np

from stratiome.omics.kind import OmicKind, outside


def problem(values: np.ndarray) -> str:
    """Reads are never negative."""
    negative = outside(values, 0, np.inf)
    return (
        f"{negative} negative values. Suggestion: give counts or reads per million, or use kind `expression` "
        "for logarithms"
        if negative
        else ""
    )


def scale(values: np.ndarray) -> np.ndarray:
    """log2 of one plus reads per million, of the patient's total over the given miRNAs."""
    total = np.nansum(values, axis=1, keepdims=True)
    return np.log2(1.0 + values / np.where(total > 0, total, 1.0) * 1e6).astype(np.float32)


KIND = OmicKind("mirna", "reads", problem, scale, "log2(1 + reads per million)")
