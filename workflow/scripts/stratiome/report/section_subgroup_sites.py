"""Part of the section on subgroups on sites: do they come back, and live as differently, where the model was not?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report import charts
from stratiome.report.blocks import Figure, Note, Table, Text
from stratiome.report.disclosure import count, is_small
from stratiome.report.inputs import ReportInputs
from stratiome.report.section_subgroup_cards import group_name
from stratiome.report.site_forest import HELD, ahead, resample_name, site_lines, told
from stratiome.report.words import interval, months, number, plural, readable, reason, sentence

Row = Mapping[str, Any]


def sites(inputs: ReportInputs) -> list[object]:
    """Agreement at each left-out site, and a forest of differences between subgroups there."""
    rows = inputs.rows("subgroup_sites", model="vae")
    if not rows:
        why = "Whether the subgroups come back at a site that the model has not seen was not asked (`leave_site_out`)."
        return [Text(why)] if inputs.settings.site else []
    return [_agreement(inputs, rows), *_survival(inputs)]


def _agreement(inputs: ReportInputs, rows: Sequence[Row]) -> Table:
    least = inputs.settings.min_cell
    body = []
    for r in rows:
        shown = (
            "–" if is_small(r["n"], least) else "no agreement: one group" if r["estimate"] is None else interval(r, 2)
        )
        body.append([resample_name(inputs, r["resample"]), str(r["k"]), shown, count(r["n"], least)])
    note = (
        "Subgroups of the patients of a site by a model that has not seen the site, beside those of the model of"
        f" {inputs.everyone}. 1 = the same; 0 = as by chance."
    )
    summary = inputs.row("subgroup_site_summary", model="vae", quantity="adjusted_rand_index")
    if summary is not None and summary["estimate"] is not None:
        low, high = ahead(summary)
        body.append(["Average site", "", interval(summary), inputs.people(summary["n"])])
        body.append(["One more site", "", f"{number(low)} to {number(high)}", ""])
        note += f" Random effects over sites. One more site of this kind: prediction interval; {HELD}."
    elif summary is not None:
        note += f" Sites are not summarised: {reason(summary)}."
    head = ["Site left out", "Subgroups found", f"Agreement with {inputs.everyone} (ARI)", "n"]
    return Table("Do they come back at a site never seen?", head, body, frozenset({1, 2, 3}), note)


def _survival(inputs: ReportInputs) -> list[object]:
    """Forest of differences to the largest subgroup at sites that the model has not seen."""
    summaries = inputs.rows("subgroup_site_summary", model="vae", quantity="rmst_difference")
    outcome, lines, said, drawn = inputs.settings.words, [], [], []
    for summary in summaries:
        group = summary["subgroup"]
        rows = inputs.rows("subgroup_site_survival", model="vae", subgroup=group)
        name = f"{group_name(group)} against {group_name(summary['versus']).lower()}"
        if summary["estimate"] is None:
            said.append(f"{name}: sites are not summarised, {reason(summary)}.")
        else:
            said.append(_sentence(inputs, name, summary))
        if any(r["estimate"] is not None for r in rows):
            drawn += [r for r in rows if r["estimate"] is not None]
            lines += site_lines(inputs, name, rows, summary, group, decimals=1, scale=outcome.scale, sign=True)
    notes: list[object] = [Note(" ".join(said))] if said else []
    if not lines:
        return notes
    gain = outcome.estimands["rmst_difference"][0]
    axis = f"{gain.removesuffix(f', {outcome.unit}')}, difference{outcome.over(summaries[0]['tau_months'])}"
    how = next((r["method"] for r in summaries if r["estimate"] is not None), drawn[0]["method"])
    samples = {f"{group_name(s['subgroup'])}: {inputs.sample(s)}": None for s in summaries if s["estimate"] is not None}
    caption = (
        f"{'; '.join(samples)}{'. ' * bool(samples)}Patients of each left-out site, in subgroups by a model that"
        " has not seen the site."
        f" {sentence(readable(how))}."
        f" Diamond: the average site. Dashed: where the difference at one more site of this kind would lie; {HELD}. Not"
        " adjusted for covariates: sites differ in who is treated there."
    )
    figure = charts.forest(
        lines,
        "forest-subgroup-sites",
        f"{axis}, by left-out site: {told(lines)}.",
        f"{axis}, {outcome.unit}",
        _sides(inputs),
    )
    return [Figure(figure, "Do they live as differently at a site never seen?", caption, 820, "sites"), *notes]


def _sides(inputs: ReportInputs) -> tuple[str, str]:
    outcome = inputs.settings.words
    if not outcome.timed:
        return "fewer responses", "more responses"
    return ("shorter", "longer") if outcome.event is None else ("sooner", "later")


def _sentence(inputs: ReportInputs, name: str, summary: Row) -> str:
    outcome = inputs.settings.words
    low, high = ahead(summary, outcome.scale)
    lost = summary["of"] - summary["sites"]
    left = f" ({plural(lost, 'site')} more without an estimate)" if lost else ""
    over = outcome.say(f" within {months(summary['tau_months'])} months", "")
    if low > 0 or high < 0:
        meaning = "the same order is expected there"
    elif summary["lower"] > 0 or summary["upper"] < 0:
        meaning = "the order of both may be another there, though it holds on average"
    else:
        meaning = "no order of both is established"
    return (
        f"{name}: {outcome.gain(summary)} {outcome.unit}{over} at the average of"
        f" {plural(summary['sites'], 'site')}{left}; at one more, {number(low, 1, sign=True)} to"
        f" {number(high, 1, sign=True)} ({inputs.settings.level} prediction interval): {meaning}."
    )
