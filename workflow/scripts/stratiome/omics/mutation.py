"""Mutated genes: 0 = wild type, 1 = mutated, empty = not sequenced."""

from __future__ import annotations

import numpy as np

from stratiome.omics.kind import OmicKind


def problem(values: np.ndarray) -> str:
    """Mutations are 0 or 1."""
    bad = int((np.isfinite(values) & (values != 0) & (values != 1)).sum())
    return (
        f"{bad} values that are not 0 or 1. Suggestion: 1 = mutated, 0 = wild type, empty = not sequenced"
        if bad
        else ""
    )


KIND = OmicKind("mutation", "mutated (0/1)", problem, scaled_unit="0/1", likelihood="bernoulli", continuous=False)
