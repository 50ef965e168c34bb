"""Figure of an omic at a glance: values, patients and missingness side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report import svg

Row = Mapping[str, Any]
LETTERS = 12.0
"""Size of the names of axes, pixels."""
HEIGHT, LEFT, BESIDE = 236.0, 74.0, 14.0
"""Height of the figure, and pixels left and right of the bars of a panel."""


def at_a_glance(rows: Sequence[Row], slug: str, description: str, width: float = 820) -> str:
    """Bars of each panel of an omic, in their order.

    Parameters
    ----------
    rows
        Rows of `QualityBars` of one omic.
    """
    panels = list(dict.fromkeys(r["panel"] for r in rows))
    step = width / len(panels)
    with svg.canvas(width, HEIGHT) as figure:
        for i, panel in enumerate(panels):
            bars = [r for r in rows if r["panel"] == panel]
            ax = svg.axes(figure, i * step + LEFT, 60, width - (i + 1) * step + BESIDE, 26)
            at = [r["lower"] for r in bars]
            wide = [r["upper"] - r["lower"] for r in bars]
            ax.bar(at, [r["height"] for r in bars], width=wide, align="edge", color=svg.series(1), linewidth=0)
            first = bars[0]
            ax.locator_params(axis="both", nbins=4)
            ax.set_xlabel(svg.wrapped(first["x"], step - BESIDE, LETTERS), fontsize=LETTERS)
            ax.set_ylabel(first["y"].capitalize(), fontsize=LETTERS)
            ax.yaxis.set_major_formatter(lambda v, _: f"{v:,.10g}")
            if panel == "patients":
                ax.set_yticks([])
            if panel == "genes":
                ax.set_xticks([])
            if first["note"]:
                ax.set_title(first["note"], fontsize=svg.NOTE, color=svg.MUTED, loc="right", pad=8)
        return svg.finish(figure, slug, description, rows)
