"""One figure per omic: what its values look like and where they are missing."""

from __future__ import annotations

import numpy as np
import polars as pl

from stratiome.cohort.store import OmicValues
from stratiome.numbers import rounded
from stratiome.omics import OmicKind
from stratiome.omics.kind import quantiles

MOST_PATIENTS = 2000
BULK = (0.001, 0.999)
FAR = 1.0
"""Widths of the bulk beyond which extremes are not drawn to scale but counted."""


def write_figure(omic: OmicValues, table: pl.DataFrame, kind: OmicKind, path: str) -> None:
    """Histogram of the values, spread of the features and missingness, as SVG with fixed bytes.

    Where extremes lie far from the bulk of the values (99.8 % of them), the histogram shows the bulk and says how many
    lie beyond. Reads show the size of the libraries instead of medians, which are often zero. Values are those of at
    most `MOST_PATIENTS` patients, evenly spaced among all; missingness is that of everybody.

    Parameters
    ----------
    omic
        The values.
    table
        Contract `QualityFeatures` of the same omic.
    kind
        Kind of the omic.
    path
        SVG file to write.
    """
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    settings = {
        "svg.hashsalt": f"stratiome-{omic.name}",
        "svg.fonttype": "none",
        "font.family": "sans-serif",
        "font.size": 9,
    }
    with matplotlib.rc_context(settings):
        figure, axes = plt.subplots(1, 3, figsize=(9, 2.4), constrained_layout=True)
        n = len(omic.patient_ids)
        values = omic.take(np.unique(np.linspace(0, n - 1, min(n, MOST_PATIENTS)).round().astype(int)))
        scaled = kind.scale(values)
        if kind.name == "mutation":
            _bars(
                axes[0], np.sort(np.nanmean(scaled, axis=0))[::-1][:30], "genes, most frequent first", "share mutated"
            )
            _histogram(axes[1], np.nansum(scaled, axis=1), "mutated genes per patient", "patients")
        else:
            _bulk(axes[0], scaled[np.isfinite(scaled)], kind.scaled_unit, "values")
            if kind.reads:
                totals = np.log10(np.maximum(np.nansum(values, axis=1, dtype=np.float64), 1.0))
                _histogram(axes[1], totals, f"{kind.unit} per patient, log10", "patients")
            else:
                middle = quantiles(scaled, (0.5,))[0]
                _bulk(axes[1], middle[np.isfinite(middle)], f"median per patient, {kind.scaled_unit}", "patients")
        missing = table["missing"].to_numpy()
        _histogram(
            axes[2], missing, "share of patients missing", "features", limits=(0, max(0.05, float(missing.max())))
        )
        figure.savefig(path, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
        plt.close(figure)


def _bulk(axis, values: np.ndarray, x: str, y: str) -> None:  # type: ignore[no-untyped-def]
    low, high = np.quantile(values, BULK) if values.size else (0.0, 0.0)
    width = high - low
    far = (values < low - FAR * width) | (values > high + FAR * width)
    if width <= 0 or not far.any():
        _histogram(axis, values, x, y)
        return
    inside = (low - 0.05 * width, high + 0.05 * width)
    _histogram(axis, values[(values >= inside[0]) & (values <= inside[1])], x, y, inside)
    beyond = int(((values < inside[0]) | (values > inside[1])).sum())
    text = f"{beyond:,} beyond, from {rounded(values.min())} to {rounded(values.max())}"
    if y == "patients":
        text = "others beyond"  # their number and extremes could tell of single patients
    axis.set_title(text, fontsize=8, loc="right")  # above the bars, which it must not cover


def _histogram(axis, values: np.ndarray, x: str, y: str, limits: tuple[float, float] | None = None) -> None:  # type: ignore[no-untyped-def]
    axis.hist(values, bins=30, range=limits, color="#4477AA")
    _label(axis, x, y)
    if y == "patients":
        axis.set_yticks([])  # a scale of counts would tell how many patients stand in the small bars


def _bars(axis, heights: np.ndarray, x: str, y: str) -> None:  # type: ignore[no-untyped-def]
    axis.bar(np.arange(len(heights)), heights, color="#4477AA", width=0.9)
    axis.set_xticks([])
    _label(axis, x, y)


def _label(axis, x: str, y: str) -> None:  # type: ignore[no-untyped-def]
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.spines[["top", "right"]].set_visible(False)
