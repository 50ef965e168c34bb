"""Part of the section on treatment on sites: is the effect the same everywhere, and what would one more site see?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report import charts
from stratiome.report.blocks import Cell, Figure, Heading, Note, Table
from stratiome.report.disclosure import count, part
from stratiome.report.inputs import ReportInputs
from stratiome.report.site_forest import HELD, ahead, resample_name, site_lines, told
from stratiome.report.words import interval, number, plural, readable, reason, sentence

Row = Mapping[str, Any]
RMST = "rmst_difference"


def sites(inputs: ReportInputs, key: str) -> list[object]:
    """Forest and table of the effect at each site; nothing where no site was held out."""
    rows = inputs.rows("treatment_sites", treatment=key)
    summary = inputs.row("treatment_site_summary", treatment=key, estimand=RMST)
    if not rows or summary is None:
        return []
    blocks: list[object] = [
        Heading("Is the effect the same at every site? Meta-analysis", anchor=f"treatment-sites-{key}")
    ]
    drawn = [r for r in rows if r["estimand"] == RMST]
    if summary["estimate"] is None:
        blocks.append(Note(f"Sites are not summarised: {reason(summary)}."))
    else:
        blocks.append(Note(_sentence(inputs, summary)))
    if any(r["estimate"] is not None for r in drawn):
        blocks.append(_forest(inputs, key, drawn, summary))
    return [*blocks, _table(inputs, key, rows)]


def _forest(inputs: ReportInputs, key: str, rows: Sequence[Row], summary: Row) -> Figure:
    outcome = inputs.settings.words
    lines = site_lines(inputs, "Sites", rows, summary, 1, decimals=1, scale=outcome.scale, sign=True)
    known = [r for r in rows if r["estimate"] is not None]
    gain = outcome.estimands[RMST][0]
    axis = f"{gain.removesuffix(f', {outcome.unit}')}, difference{outcome.over(rows[0]['horizon_months'])}"
    figure = charts.forest(
        lines,
        f"forest-sites-{key}",
        f"{axis}, by site: {told(lines)}.",
        f"{axis}, {outcome.unit}",
        outcome.sides,
    )
    least = inputs.settings.min_cell
    how = summary if summary["estimate"] is not None else known[0]
    caption = (
        f"{inputs.size(sum(r['n'] for r in known))}, {count(sum(r['events'] for r in known), least)} events of"
        f" {plural(len(known), 'site')}; not held out, as only weights are learned."
        f" {sentence(readable(how['method']))}. Diamond: the average site. Dashed: where the effect at one more site of"
        f" this kind would lie; {HELD}. Sites differ in who is treated there: where an effect differs between patients,"
        " it may differ between sites though it is the same in the same patients."
    )
    return Figure(figure, "The effect at each site", caption, 820, f"sites-{key}")


def _table(inputs: ReportInputs, key: str, rows: Sequence[Row]) -> Table:
    least, outcome = inputs.settings.min_cell, inputs.settings.words
    known = outcome.estimands
    places = list(dict.fromkeys((r["estimand"], r["horizon_months"]) for r in rows))
    body: list[list[Cell | str]] = []
    for site in dict.fromkeys(r["resample"] for r in rows):
        own = {(r["estimand"], r["horizon_months"]): r for r in rows if r["resample"] == site}
        first = own[places[0]]
        cells = [_cell(own[p], known[p[0]]) for p in places]
        why = next((reason(r) for r in own.values() if r["estimate"] is None), "")
        size = f"{count(first['n'], least)} / {part(first['n_treated'], first['n'], least)}"
        body.append([resample_name(inputs, site), size, *cells, why or "–"])
    summaries = {(r["estimand"], r["horizon_months"]): r for r in inputs.rows("treatment_site_summary", treatment=key)}
    if any(r["estimate"] is not None for r in summaries.values()):
        body.append(["Average site", "", *(_cell(summaries[p], known[p[0]]) for p in places), ""])
        body.append(["One more site", "", *(_ahead(summaries[p], known[p[0]]) for p in places), ""])
    head = ["Site", "n / treated", *(outcome.gained_at(*p) for p in places), "Why not"]
    note = (
        f"Treated minus untreated with {inputs.settings.level} interval, each site on its own; one more site:"
        " prediction interval."
    )
    return Table("The effect at each site.", head, body, frozenset(range(1, 2 + len(places))), note)


def _cell(row: Row, how: tuple[str, int, float]) -> str:
    return "not estimable" if row["estimate"] is None else interval(row, how[1], how[2], sign=True)


def _ahead(row: Row, how: tuple[str, int, float]) -> str:
    if row["estimate"] is None:
        return "not estimable"
    low, high = ahead(row, how[2])
    return f"{number(low, how[1], sign=True)} to {number(high, how[1], sign=True)}"


def _sentence(inputs: ReportInputs, summary: Row) -> str:
    outcome = inputs.settings.words
    low, high = ahead(summary, outcome.scale)
    lost = summary["of"] - summary["sites"]
    left = f" ({plural(lost, 'site')} more without an estimate)" if lost else ""
    if low > 0 or high < 0:
        meaning = "its sign is expected to be the same there"
    elif summary["lower"] > 0 or summary["upper"] < 0:
        meaning = "there may be none there, or the opposite, though there is one on average"
    else:
        meaning = "no effect is established, neither on average nor there"
    many = plural(summary["sites"], "site")
    return (
        f"The effect is {outcome.gain(summary)} {outcome.unit} at the average of {many}{left};"
        f" at one more, {number(low, 1, sign=True)} to {number(high, 1, sign=True)} ({inputs.settings.level} prediction"
        f" interval): {meaning}."
    )
