"""Figures on predicted risks: whether they come true, and how far they tell patients apart. Each returns an SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report import svg

Row = Mapping[str, Any]


def calibration(
    rows: Sequence[Row], curve: Sequence[Row], group: int, slug: str, description: str, width: float = 276
) -> str:
    """Observed against predicted risk: a smooth curve with its band, over groups of predicted risk with intervals.

    Parameters
    ----------
    rows
        Rows of `Calibration` of one model and horizon.
    curve
        Rows of `CalibrationCurves` of the same; the diagonal is perfect calibration.
    group
        Number of the colour and marker.
    """
    line = sorted(curve, key=lambda r: r["predicted"])
    with svg.canvas(width, width) as figure:
        ax = svg.axes(figure, 66, 46, 24, 12)  # the last label, `100 %`, stands half outside
        ax.plot([0, 1], [0, 1], color=svg.MUTED, linewidth=1, linestyle=svg.DASHES[1])
        known = [r for r in line if r["lower"] is not None and r["upper"] is not None]
        ax.fill_between(
            [r["predicted"] for r in known],
            [r["lower"] for r in known],
            [r["upper"] for r in known],
            color=svg.series(group),
            alpha=0.18,
            linewidth=0,
        )
        for r in rows:
            ax.plot([r["predicted"]] * 2, [r["lower"], r["upper"]], color=svg.series(group), linewidth=1.5, alpha=0.7)
        ax.plot(
            [r["predicted"] for r in rows],
            [r["observed"] for r in rows],
            svg.marker(group),
            color=svg.series(group),
            markersize=5.5,
            clip_on=False,
        )
        ax.plot([r["predicted"] for r in line], [r["observed"] for r in line], color=svg.INK, linewidth=1.6)
        top = largest(rows, line)
        ticks = [t / 10 for t in range(0, 11, 2 if top > 0.5 else 1) if t / 10 <= top]
        ax.set(
            xlim=(0, top), ylim=(0, top), xticks=ticks, yticks=ticks, xlabel="Predicted risk", ylabel="Observed risk"
        )
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
        return svg.finish(figure, slug, description, [*rows, *line])


def largest(rows: Sequence[Row], curve: Sequence[Row]) -> float:
    """Last risk of the axes of a calibration plot; parameters as of `calibration`."""
    risks = [r["upper"] for r in rows] + [max(r["predicted"], r["observed"]) for r in [*rows, *curve]]
    return min(1.0, 1.05 * max([0.2, *risks]))


STRIPS: dict[str, tuple[str, int]] = {
    "failed": ("Event by then", 2),
    "alive": ("Event-free then", 1),
    "censored before": ("Censored before", 0),
    "failed of another cause": ("Died of another cause", 4),
}
"""Heading and number of the colour of each outcome, from top to bottom."""


def risks(
    rows: Sequence[Row],
    slug: str,
    description: str,
    min_cell: int,
    names: Mapping[str, str] | None = None,
    width: float = 276,
) -> str:
    """Histograms of the predicted risk, one strip for each outcome, on one axis.

    Parameters
    ----------
    rows
        Rows of `RiskDistribution` of one model and horizon.
    min_cell
        Bins of fewer patients are drawn pale at half that height. The others are rounded to multiples of half of it, so
        that a pale one cannot be had from the total.
    names
        Outcome -> heading in the place of that of `STRIPS`.
    """
    step = max(1, min_cell // 2)
    shown = [o for o in STRIPS if any(r["outcome"] == o for r in rows)]
    height, strip = 46 + 92 * max(len(shown), 1), 62
    top = max(0.2, *(r["bin_upper"] for r in rows))
    with svg.canvas(width, height) as figure:
        for k, outcome in enumerate(shown):
            name, colour = STRIPS[outcome]
            name = (names or {}).get(outcome, name)
            above = 24 + 92 * k
            ax = svg.axes(figure, 40, height - above - strip, 24, above)
            own = [r for r in rows if r["outcome"] == outcome]
            heights = [min_cell / 2 if r["n"] < min_cell else step * round(r["n"] / step) for r in own]
            for r, drawn in zip(own, heights, strict=True):
                ax.bar(
                    r["bin_lower"],
                    drawn,
                    width=r["bin_upper"] - r["bin_lower"],
                    align="edge",
                    color=svg.series(colour),
                    alpha=0.35 if r["n"] < min_cell else 0.85,
                    edgecolor=svg.PAPER,
                    linewidth=0.8,
                )
            ax.set(xlim=(0, top), ylim=(0, 1.05 * max(min_cell, *heights)))
            ax.locator_params(axis="y", nbins=2, integer=True)
            ax.locator_params(axis="x", nbins=5)
            ax.xaxis.set_major_formatter(lambda v, _: f"{100 * v:.0f} %")
            if k < len(shown) - 1:
                ax.tick_params(axis="x", labelbottom=False)
            else:
                ax.set_xlabel("Predicted risk")
            at: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "fontsize": 11.5}
            ax.annotate(name, (0, 1), (0, 5), color=svg.INK, annotation_clip=False, **at)
        return svg.finish(figure, slug, description, rows)
