"""Part of the section on prognosis on sites: how well models do where they have not been, and at one more site."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from stratiome.report import charts
from stratiome.report.blocks import Figure, Note
from stratiome.report.disclosure import count
from stratiome.report.fitted import unfitted
from stratiome.report.inputs import SITES, ReportInputs
from stratiome.report.site_forest import HELD, site_lines, told
from stratiome.report.words import interval, label, number, plural, readable, reason, sentence, within
from stratiome.tables import PROGNOSIS_MODELS

Row = Mapping[str, Any]

DRAWN = ("clinical", "stacked")
"""The yardstick and the model to apply."""


def sites(inputs: ReportInputs) -> list[object]:
    """Forest of sites with the average site and one more site; nothing where no site was left out."""
    lines: list[charts.Line] = []
    said: list[str] = []
    drawn: list[Row] = []
    for model in DRAWN:
        rows = inputs.rows("prognosis_resamples", design=SITES, model=model)
        summary = inputs.row("site_summary", model=model)
        if summary is None or unfitted(inputs, model, SITES):
            continue
        if summary["estimate"] is None:
            said.append(f"Sites are not summarised for the {within(model)} model: {reason(summary)}.")
            continue
        drawn.append(summary)
        lines += _lines(inputs, model, rows, summary)
        said.append(_sentence(inputs, model, summary))
    notes: list[object] = [Note(" ".join(said))] if said else []
    if not lines:
        return notes
    shown = told(lines)
    c, measure = inputs.settings.words.c, inputs.settings.words.metrics["uno_c"][0]
    figure = charts.forest(
        lines, "forest-sites", f"{measure} at left-out sites: {shown}.", f"{measure} (0.5 = chance)", null=0.5
    )
    first = drawn[0]
    caption = (
        f"{inputs.size(first['n'])}, {count(first['events'], inputs.settings.min_cell)} events of"
        f" {plural(first['sites'], 'site')}; each site held out in turn. {sentence(readable(first['method']))}."
        f" Diamond: the average site. Dashed: where {c} of one more site of this kind would lie; {HELD}. Sites differ"
        f" in who is treated there, so that {c} may differ though the model is equally right."
    )
    return [Figure(figure, "How well models do at left-out sites", caption, 820, "sites"), *notes]


def _lines(inputs: ReportInputs, model: str, rows: list[dict[str, Any]], summary: Row) -> list[charts.Line]:
    claims = [r | {"estimate": r["uno_c"]} for r in rows]
    lines = site_lines(inputs, label(model), claims, summary, PROGNOSIS_MODELS.index(model))
    drawn = iter(rows)  # as they stand in their table
    return [replace(i, row=next(drawn)) if i.row is not None and i.row is not summary else i for i in lines]


def _sentence(inputs: ReportInputs, model: str, summary: Row) -> str:
    low, high = summary["prediction_lower"], summary["prediction_upper"]
    c = inputs.settings.words.c
    if low <= 0.5:
        meaning = ", so that it may rank no better than chance there"
    elif high - low > 0.2:
        meaning = ", which leaves much open"
    else:
        meaning = ""
    lost = summary["of"] - summary["sites"]
    left = f" ({plural(lost, 'site')} more without an estimate)" if lost else ""
    return (
        f"The {within(model)} model has {c} {interval(summary)} at the average of"
        f" {plural(summary['sites'], 'site')}{left};"
        f" at one more site of this kind {c} is expected between {number(low)} and {number(high)}"
        f" ({inputs.settings.level} prediction interval){meaning}."
    )
