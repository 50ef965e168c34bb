"""What kinds that count reads share: library sizes and how evenly they spread over patients."""

from __future__ import annotations

import numpy as np

from stratiome.omics.kind import Metric

TINY_LIBRARY = 0.1
"""Share of the median library below which a library is called tiny."""
WIDE_SPREAD = 10.0
SAME_TOTAL = 1.001
LOGARITHM_MAX = 30.0
"""Largest logarithm of a number of reads (2 to the power of 30 is a billion)."""


def looks_logged(values: np.ndarray) -> bool:
    """Whether most patients hold small fractional numbers only, as logarithms of reads are."""
    some = (values > 0).any(axis=1)
    with np.errstate(invalid="ignore"):
        small = np.where(np.isfinite(values), values, 0).max(axis=1) <= LOGARITHM_MAX
        whole = ((values == np.round(values)) | ~np.isfinite(values)).all(axis=1)
    return bool(some.any() and (small & ~whole)[some].mean() > 0.5)


def library_metrics(total: np.ndarray, detected: np.ndarray, unit: str, feature: str) -> list[Metric]:
    """Size of the libraries, their spread, and features detected.

    Parameters
    ----------
    total, detected
        Shape `(n_patients,)`: sum of the values, and number of features above zero.
    unit, feature
        What is summed, and what is detected, in words.
    """
    read = total[total > 0]
    if not read.size:
        return [("patients without any reads", float(len(total)), "not sequenced, or failed")]
    spread = float(read.max() / read.min())
    said = "as given, before they are divided by the library size"
    if spread > WIDE_SPREAD:
        said = "the largest library is many times the smallest; values are divided by the library size"
    elif spread < SAME_TOTAL and read.size > 1:
        said = "all patients have the same total: normalised before this analysis"
    tiny = int((total < TINY_LIBRARY * np.median(read)).sum())
    return [
        ("median library size", float(np.median(read)), f"{unit} per patient"),
        ("library size, largest over smallest", spread, said),
        (
            "patients with a tiny library",
            float(tiny),
            f"less than {TINY_LIBRARY:.0%} of the median library; their values are noisy",
        ),
        (f"median {feature} detected", float(np.median(detected)), f"{feature} above zero, per patient"),
    ]
