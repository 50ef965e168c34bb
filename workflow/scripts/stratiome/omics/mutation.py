"""Mutated genes: 0 = wild type, 1 = mutated, empty = not sequenced."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from stratiome.omics.kind import Metric, OmicKind

MANY = 10.0
"""Multiple of the median burden above which a patient is called hypermutated."""


def problem(values: np.ndarray) -> str:
    """Mutations are 0 or 1."""
    bad = int((np.isfinite(values) & (values != 0) & (values != 1)).sum())
    return (
        f"{bad} values that are not 0 or 1. Suggestion: 1 = mutated, 0 = wild type, empty = not sequenced"
        if bad
        else ""
    )


def measure(values: np.ndarray, features: Sequence[str]) -> dict[str, np.ndarray]:
    """Sequenced and mutated genes of each patient."""
    return {
        "sequenced": np.isfinite(values).sum(axis=1).astype(np.float64),
        "burden": np.nansum(values, axis=1, dtype=np.float64),
    }


def metrics(patients: dict[str, np.ndarray], unit: str) -> list[Metric]:
    """Mutation burden, and patients who may not have been sequenced."""
    burden = patients["burden"][patients["sequenced"] > 0]
    if not burden.size:
        return []
    median = float(np.median(burden))
    many = float((burden > MANY * max(median, 1.0)).sum())
    return [
        ("median mutated genes", median, "per patient who was sequenced"),
        ("most mutated genes", float(burden.max()), "in one patient"),
        ("patients with very many mutations", many, f"more than {MANY:g} times the median"),
        ("patients without any mutation", float((burden == 0).sum()), "wild type, or not sequenced"),
    ]


KIND = OmicKind(
    "mutation",
    "mutated (0/1)",
    problem,
    scaled_unit="0/1",
    likelihood="bernoulli",
    continuous=False,
    all_zero="never mutated",
    measure=measure,
    metrics=metrics,
)
