"""DNA methylation beta values."""

from __future__ import annotations

import numpy as np

from stratiome.omics.kind import OmicKind, outside

OFFSET = 1e-3


def problem(values: np.ndarray) -> str:
    """Beta values lie between 0 and 1."""
    bad = outside(values, 0, 1)
    return (
        f"{bad} values outside 0 to 1. Suggestion: give beta values, or use kind `features` for M-values" if bad else ""
    )


def scale(values: np.ndarray) -> np.ndarray:
    """M-values, log2(beta / (1 - beta)) with beta kept 0.001 away from 0 and 1 (Du et al. 2010)."""
    beta = np.clip(values, OFFSET, 1 - OFFSET)
    return np.log2(beta / (1 - beta)).astype(np.float32)


KIND = OmicKind("methylation", "beta value", problem, scale, "M-value")
