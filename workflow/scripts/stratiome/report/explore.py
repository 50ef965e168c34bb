"""Charts that a reader opens in the place of a picture: to read values off, to zoom, to show and hide.

A picture stands in the page whether or not scripts run. Its chart is data beside it, `<script type="application/json"
class="chart">`, drawn by Plotly once somebody asks for it. Plotly stands in the page once, packed, and only scripts
whose digest the page names can run. Each number of a chart carries the cell it comes from.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

from stratiome.report.disclosure import HEIGHT, Rounded
from stratiome.report.template import TEMPLATES
from stratiome.report.traced import bare, origin

Row = Mapping[str, Any]
DECIMALS = 4
"""Decimals of the numbers of a chart."""
LOADER = "explore.js"
CHART = '<script type="application/json" class="chart">'
LIBRARY = '<script type="text/plain" id="library">'
POLICY = "img-src data:"
"""End of the policy of a page without charts."""
_CELL = re.compile(r"(?:near\()?(\w+)\[(\d+)\]\.(\w+)(?:, (\d+)\))?")


@dataclass(frozen=True)
class Series:
    """Points of one model or group.

    Attributes
    ----------
    name
        What it is called, and what it is shown and hidden by together with series of the same name.
    group
        Number of its colour, line and mark; 0 is grey.
    rows
        Rows of a table, of traced numbers, in the order of drawing.
    x, y
        Columns.
    lower, upper
        Columns of the interval, if there are any.
    beside
        Column -> what stands before its number in the text that is shown for a point, as `at risk`.
    form
        `steps`, `line`, `marks`, or `dots` of which only the name is told.
    decimals
        Of its numbers.
    """

    name: str
    group: int
    rows: Sequence[Row]
    x: str
    y: str
    lower: str = ""
    upper: str = ""
    beside: Mapping[str, str] = field(default_factory=dict)
    form: str = "line"
    decimals: int = DECIMALS


@dataclass(frozen=True)
class Chart:
    """A chart.

    Attributes
    ----------
    slug
        Unique in the page.
    title
        What it shows; it follows the words `Explore: `.
    x, y
        Titles of the axes.
    percent
        Axes whose numbers are shares, of `x` and `y`.
    guide
        Line drawn beneath: `diagonal`, `zero` or none.
    unit
        What follows the number of `x` above the values at it, as ` months`.
    span, height
        First and last value of the axes; chosen from the points where none are given.
    """

    slug: str
    title: str
    x: str
    y: str
    series: Sequence[Series]
    percent: str = "y"
    guide: str = ""
    unit: str = ""
    span: tuple[float, float] | None = None
    height: tuple[float, float] | None = None

    @property
    def heading(self) -> str:
        """Title without marks."""
        return bare(self.title)

    @property
    def json(self) -> str:
        """What the page holds of it."""
        told: dict[str, Any] = {n: getattr(self, n) for n in ("slug", "title", "x", "y", "percent", "guide", "unit")}
        told |= {n: [round(float(v), 3) for v in at] for n, at in (("span", self.span), ("height", self.height)) if at}
        written = ", ".join(_series(s) for s in self.series)
        return _safe(f'{json.dumps(told, ensure_ascii=False)[:-1]}, "series": [{written}]}}')


def _safe(text: str) -> str:
    """JSON that cannot end the element it stands in."""
    return bare(text).replace("<", "\\u003c").replace("&", "\\u0026")


def _series(series: Series) -> str:
    names = [series.x, series.y, *(c for c in (series.lower, series.upper) if c), *series.beside]
    told = {name: getattr(series, name) for name in ("name", "group", "x", "y", "lower", "upper", "form")}
    told |= {"beside": dict(series.beside), "table": _table(series)}
    columns = ", ".join(f"{json.dumps(name)}: {_column(series, name)}" for name in dict.fromkeys(names))
    return f'{json.dumps(told, ensure_ascii=False)[:-1]}, "columns": {{{columns}}}}}'


def _table(series: Series) -> str:
    return next((m[1] for r in series.rows if (m := _CELL.fullmatch(origin(r[series.y])))), "")


def _column(series: Series, name: str) -> str:
    """Values of a column and the rows of the table they stand in."""
    rows = ", ".join(str(_place(series, row, name)) for row in series.rows)
    steps = {m[4] for row in series.rows if (m := _CELL.fullmatch(origin(row[name]))) and m[4]}
    step = f', "near": {max(steps)}' if steps else ""
    values = ", ".join(_written(row[name], series.decimals) for row in series.rows)
    return f'{{"rows": [{rows}], "values": [{values}]{step}}}'


def _place(series: Series, row: Row, name: str) -> int:
    """Row of the table; times, which carry no origin, stand in the row of the count beside them."""
    known = [name, *series.beside, series.y]
    found = next((m for c in known if (m := _CELL.fullmatch(origin(row[c])))), None)
    return int(found[2]) if found else -1


def _written(value: float | None, decimals: int) -> str:
    if value is None or (isinstance(value, Rounded) and value.text):
        return "null"
    return str(int(value)) if isinstance(value, int) else f"{float(value):.{decimals}f}"


def steps(
    groups: Sequence[tuple[str, int, Sequence[Row]]], slug: str, title: str, y: str, min_cell: int, public: bool = False
) -> Chart:
    """Survival curves as they are drawn: a point where a curve takes a step, and its last.

    Parameters
    ----------
    groups
        As of `figures.curves`.
    slug, title
        As of `Chart`.
    y
        Title of the axis.
    min_cell
        A curve ends where fewer patients than this are at risk.
    public
        Whether the chart is to be shared: numbers at risk at single steps, which tell when patients left, are not told.
    """
    series = []
    for name, group, rows in groups:
        seen = [r for r in rows if r["at_risk"] >= min_cell]
        kept = [seen[0], *(b for a, b in pairwise(seen) if b["survival"] != a["survival"])] if seen else []
        kept += seen[-1:] if seen and kept[-1] is not seen[-1] else []
        if public:
            kept = [_untold(r) for r in kept]
        beside, decimals = ({}, HEIGHT) if public else ({"at_risk": "at risk"}, DECIMALS)
        columns = ("time_months", "survival", "lower", "upper")
        series.append(Series(name, group, kept, *columns, beside, "steps", decimals))
    shown = [s for s in series if s.rows]
    last = max((s.rows[-1]["time_months"] for s in shown), default=1.0)
    span, height = (0.0, float(last)), (0.0, 1.02)
    return Chart(slug, title, "Months from time zero", y, shown, unit=" months", span=span, height=height)


def _untold(row: Row) -> Row:
    """A row whose time knows its place in the table, so that it needs no count beside it."""
    from stratiome.report.traced import TracedFloat

    count = row["at_risk"]
    own = _CELL.fullmatch(origin(count))
    if own is None:
        return row
    time = TracedFloat(row["time_months"], f"{own[1]}[{own[2]}].time_months", count.ledger)
    return {**row, "time_months": time}


def points(text: str) -> tuple[list[tuple[str, str]], str]:
    """Numbers of a chart as they are written, each with the cell it comes from, and all else that it says.

    Parameters
    ----------
    text
        Content of its element.

    Raises
    ------
    ValueError
        If it is no chart.
    """
    try:
        chart = json.loads(text, parse_float=str, parse_int=str)
        found = []
        for series in chart["series"]:
            for name, column in series.pop("columns").items():
                for row, value in zip(column["rows"], column["values"], strict=True):
                    cell = f"{series['table']}[{row}].{name}"
                    cell = f"near({cell}, {int(column['near'])})" if "near" in column else cell
                    found += [] if value is None else [(value, cell)]
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no chart: {error!r}") from error
    return found, json.dumps(chart, ensure_ascii=False)


# --- the page ----------------------------------------------------------------------------------------------------


@cache
def plotly() -> str:
    """Source of Plotly, from its package."""
    return (files("plotly") / "package_data" / "plotly.min.js").read_text(encoding="utf-8")


@cache
def packed() -> str:
    """Plotly as it stands in a page: gzip, base64."""
    return base64.b64encode(gzip.compress(plotly().encode(), 9, mtime=0)).decode()


def loader(templates: Path = TEMPLATES) -> str:
    """The script that draws charts."""
    return (templates / LOADER).read_text(encoding="utf-8")


def digest(script: str) -> str:
    """Digest of a script as a content security policy names it."""
    return f"sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}"


def attach(page: str, templates: Path = TEMPLATES) -> str:
    """A page with what its charts need; a page without charts stays as it is, without any script that could run.

    Parameters
    ----------
    page
        HTML.
    templates
        Folder with `explore.js`.
    """
    if CHART not in page:
        return page
    script = loader(templates)
    allowed = f"{POLICY}; script-src '{digest(script)}' '{digest(plotly())}'"
    scripts = f"{LIBRARY}{packed()}</script>\n<script>{script}</script>\n"
    head, found, rest = page.rpartition("</body>")
    return head.replace(POLICY, allowed, 1) + scripts + found + rest
