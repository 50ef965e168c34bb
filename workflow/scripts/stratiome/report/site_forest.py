"""Lines of a forest of sites: each site, the average site, and one more of its kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from stratiome.report import charts
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import interval, number

Row = Mapping[str, Any]

HELD = "with 3 to 20 sites such an interval for 95 % holds it in 93 % of cases or more (simulated)"
"""What is known of prediction intervals over sites."""


def resample_name(inputs: ReportInputs, resample: str) -> str:
    """Readable name of a resample; small sites that are held out together are all named."""
    members = inputs.settings.sites.get(resample, [])
    return f"Sites {' + '.join(members)}" if len(members) > 1 else charts.resample_name(resample)


def site_lines(
    inputs: ReportInputs,
    title: str,
    rows: Iterable[Row],
    summary: Row,
    colour: int,
    *,
    decimals: int = 2,
    scale: float = 1.0,
    sign: bool = False,
) -> list[charts.Line]:
    """A heading, a line for each site, and, where sites are summarised, the average site and one more.

    Parameters
    ----------
    title
        Of the lines.
    rows
        Claims with `resample`.
    summary
        Row of a `SiteSummary`.
    colour
        Number of the colour.
    decimals, scale, sign
        How numbers are written, and the factor to what is drawn.
    """
    made = [charts.Line(title, heading=True)]
    for row in rows:
        name = resample_name(inputs, row["resample"])
        if row["estimate"] is None:
            made.append(charts.Line(name, text="not estimable", row=row))
            continue
        made.append(charts.Line(name, *_ends(row, scale), interval(row, decimals, scale, sign=sign), colour, row=row))
    if summary["estimate"] is None:
        return made
    text = interval(summary, decimals, scale, sign=sign)
    made.append(charts.Line("Average site", *_ends(summary, scale), text, colour, summary=True, row=summary))
    low, high = ahead(summary, scale)
    text = f"{number(low, decimals)} to {number(high, decimals)}"
    return [*made, charts.Line("One more site", None, low, high, text, colour, ahead=True)]


def ahead(summary: Row, scale: float = 1.0) -> tuple[float, float]:
    """Ends of the prediction interval of a summary that has one."""
    return scale * summary["prediction_lower"], scale * summary["prediction_upper"]


def told(lines: Iterable[charts.Line]) -> str:
    """What a forest of sites shows, for those who cannot see it."""
    return "; ".join(f"{i.name}:" if i.heading else f"{i.name} {i.text}" for i in lines)


def _ends(row: Row, scale: float) -> tuple[float | None, float | None, float | None]:
    estimate, lower, upper = (None if row[k] is None else row[k] * scale for k in ("estimate", "lower", "upper"))
    return estimate, lower, upper
