"""Bars of each omic: what its values look like, how patients differ, and where values are missing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import polars as pl

from stratiome.cohort.store import OmicValues
from stratiome.numbers import rounded
from stratiome.omics import OmicKind
from stratiome.omics.kind import quantiles

MOST_PATIENTS = 2000
MOST_GENES = 30
BINS = 30
BULK = (0.001, 0.999)
FAR = 1.0
"""Widths of the bulk beyond which extremes are counted and have no bar."""

Row = dict[str, Any]


def quality_bars(omic: OmicValues, table: pl.DataFrame, kind: OmicKind) -> list[Row]:
    """Rows of `QualityBars`: histograms of the values, of a summary of each patient, and of missingness by feature.

    Where extremes lie far from the bulk of the values (99.8 % of them), the bars are of the bulk and a note says how
    many lie beyond. Reads show the size of the libraries instead of medians, which are often zero. Values are those of
    at most `MOST_PATIENTS` patients, evenly spaced among all; missingness is that of everybody.

    Parameters
    ----------
    omic
        The values.
    table
        Contract `QualityFeatures` of the same omic.
    kind
        Kind of the omic.
    """
    missing = table["missing"].to_numpy()
    made = [
        *_of_values(omic, kind),
        *_histogram(
            "missing", missing, "share of patients missing", "features", (0, max(0.05, float(missing.max(initial=0))))
        ),
    ]
    return [{"omic": omic.name, **row} for row in made]


def _of_values(omic: OmicValues, kind: OmicKind) -> Iterator[Row]:
    n = len(omic.patient_ids)
    values = omic.take(np.unique(np.linspace(0, n - 1, min(n, MOST_PATIENTS)).round().astype(int)))
    scaled = kind.scale(values)
    if kind.name == "mutation":
        yield from _genes(np.nanmean(scaled, axis=0))
        yield from _histogram("patients", np.nansum(scaled, axis=1), "mutated genes per patient", "patients")
        return
    yield from _bulk("values", scaled[np.isfinite(scaled)], kind.scaled_unit, "values")
    if kind.reads:
        totals = np.log10(np.maximum(np.nansum(values, axis=1, dtype=np.float64), 1.0))
        yield from _histogram("patients", totals, f"{kind.unit} per patient, log10", "patients")
    else:
        middle = quantiles(scaled, (0.5,))[0]
        said = f"median per patient, {kind.scaled_unit}"
        yield from _bulk("patients", middle[np.isfinite(middle)], said, "patients")


def _bulk(panel: str, values: np.ndarray, x: str, y: str) -> Iterator[Row]:
    low, high = np.quantile(values, BULK) if values.size else (0.0, 0.0)
    width = high - low
    far = (values < low - FAR * width) | (values > high + FAR * width)
    if width <= 0 or not far.any():
        yield from _histogram(panel, values, x, y)
        return
    inside = (low - 0.05 * width, high + 0.05 * width)
    beyond = int(((values < inside[0]) | (values > inside[1])).sum())
    note = f"{beyond:,} beyond, from {rounded(values.min())} to {rounded(values.max())}"
    if y == "patients":
        note = "others beyond"  # their number and extremes could tell of single patients
    yield from _histogram(panel, values[(values >= inside[0]) & (values <= inside[1])], x, y, inside, note)


def _histogram(
    panel: str,
    values: np.ndarray,
    x: str,
    y: str,
    limits: tuple[float, float] | None = None,
    note: str = "",
) -> Iterator[Row]:
    heights, edges = np.histogram(values, bins=BINS, range=limits)
    if y == "patients":  # counts would tell how many patients stand in the small bars
        heights = heights / max(heights.max(), 1)
    for height, lower, upper in zip(heights, edges, edges[1:], strict=False):
        yield _bar(panel, float(lower), float(upper), float(height), x, y, note)


def _genes(shares: np.ndarray) -> Iterator[Row]:
    for i, share in enumerate(np.sort(shares)[::-1][:MOST_GENES]):
        yield _bar("genes", float(i), i + 1.0, float(share), "genes, most frequent first", "share mutated", "")


def _bar(panel: str, lower: float, upper: float, height: float, x: str, y: str, note: str) -> Row:
    return {"panel": panel, "lower": lower, "upper": upper, "height": height, "x": x, "y": y, "note": note}
