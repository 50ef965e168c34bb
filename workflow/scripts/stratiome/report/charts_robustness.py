"""Figure of robustness: how a metric moves with the dose of a stress."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report import svg
from stratiome.report.words import label

Row = Mapping[str, Any]
LEFT, ROW = 68.0, 18.0
"""Pixels left of the axes, and of a further row of the legend."""


def dose_response(
    rows: Sequence[Row],
    models: Mapping[str, int],
    slug: str,
    description: str,
    measure: str,
    *,
    share: bool,
    width: float = 250,
) -> str:
    """Difference to no stress against the dose, with its band, a line for each model from 0 at dose 0.

    Parameters
    ----------
    rows
        Rows of `Robustness` of one stress and metric.
    models
        Models drawn, each with the number of its colour.
    measure
        Short name of the metric.
    share
        Whether doses are shares, not standard deviations.
    """
    columns = svg.key_columns([label(model) for model in models], width, 2)
    more = ROW * (-(-len(models) // columns) - 1)
    with svg.canvas(width, 210 + more) as figure:
        ax = svg.axes(figure, LEFT, 44, 10, 40 + more)
        ax.axhline(0, color=svg.MUTED, linewidth=1)
        for model, i in models.items():
            own = sorted((r for r in rows if r["model"] == model), key=lambda r: float(r["dose"]))
            ax.plot(
                [0.0, *(r["dose"] for r in own)],
                [0.0, *(r["difference"] for r in own)],
                color=svg.series(i),
                linestyle=svg.dash(i),
                linewidth=2,
                label=label(model),
            )
            known = [r for r in own if r["difference_lower"] is not None and r["difference_upper"] is not None]
            ax.fill_between(
                [0.0, *(r["dose"] for r in known)],
                [0.0, *(r["difference_lower"] for r in known)],
                [0.0, *(r["difference_upper"] for r in known)],
                color=svg.series(i),
                alpha=0.2,
                linewidth=0,
            )
        low, high = ax.get_ylim()
        ax.set(
            ylim=(min(low, -0.03), max(high, 0.03)), xlabel="Share" if share else "SD", ylabel=f"Change of {measure}"
        )
        ax.set_xlim(left=0)
        ax.locator_params(axis="both", nbins=5)
        if share:
            ax.xaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
        start = -LEFT / (width - LEFT - 10)
        ax.legend(loc="lower left", bbox_to_anchor=(start, 1.0), ncols=columns, **svg.KEY)
        return svg.finish(figure, slug, description, rows)
