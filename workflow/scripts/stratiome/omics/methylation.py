"""DNA methylation beta values."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stratiome.omics.kind import Metric, OmicKind, median_value, outside

OFFSET = 1e-3


def problem(values: np.ndarray) -> str:
    """Beta values lie between 0 and 1."""
    bad = outside(values, 0, 1)
    if bad and not outside(values, 0, 100) and np.nanmax(values) > 10:
        return f"{bad} values outside 0 to 1, none beyond 100: percentages. Suggestion: divide by 100"
    return (
        f"{bad} values outside 0 to 1. Suggestion: give beta values, or use kind `features` for M-values" if bad else ""
    )


def scale(values: np.ndarray) -> np.ndarray:
    """M-values, log2(beta / (1 - beta)) with beta kept 0.001 away from 0 and 1 (Du et al. 2010)."""
    beta = np.clip(values, OFFSET, 1 - OFFSET)
    return np.log2(beta / (1 - beta)).astype(np.float32)


def measure(values: np.ndarray, features: Sequence[str]) -> dict[str, np.ndarray]:
    """Values of each patient, and those of exactly 0 or 1."""
    return {
        "values": np.isfinite(values).sum(axis=1).astype(np.float64),
        "ends": ((values == 0) | (values == 1)).sum(axis=1).astype(np.float64),
    }


def metrics(patients: dict[str, np.ndarray], unit: str) -> list[Metric]:
    """Median, and values without a finite M-value."""
    ends = float(patients["ends"].sum())
    share = ends / max(float(patients["values"].sum()), 1.0)
    note = f"of {share:.2%} of the cells; kept {OFFSET:g} away from 0 and 1, where the M-value is infinite"
    return [*median_value(patients, unit), ("values of exactly 0 or 1", ends, note)]


KIND = OmicKind("methylation", "beta value", problem, scale, "M-value", measure=measure, metrics=metrics)
