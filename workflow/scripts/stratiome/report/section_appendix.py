"""Sections near the end: the planted truth where there is one, and methods ready to paste."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from stratiome.report import charts, methods, multiplicity
from stratiome.report.abbreviations import ABBREVIATIONS
from stratiome.report.blocks import Cell, Figure, Heading, Section, Table, Text
from stratiome.report.comparison import MODELS
from stratiome.report.inputs import ReportInputs
from stratiome.report.section_subgroups import group_name
from stratiome.report.section_treatment import name_of
from stratiome.report.words import interval, label, number, readable, sentence


def planted(inputs: ReportInputs) -> Section | None:
    """What was planted beside what was found; none where the cohort is real."""
    simulate = inputs.settings.data.simulate
    if simulate is None:
        return None
    rows: list[list[Cell | str]] = []
    for model in MODELS:
        k = inputs.found(model)
        if k is None:
            continue
        hit = k == simulate.subgroups
        rows.append(
            [
                f"Number of subgroups, {label(model)}",
                str(simulate.subgroups),
                str(k),
                Cell("found" if hit else "missed", "yes" if hit else "harm"),
            ]
        )
        ari = inputs.row("subgroup_agreement", model=model, label="planted", metric="adjusted_rand_index")
        if ari is not None and simulate.subgroups > 1:
            rows.append(
                [
                    f"Held-out subgroup against planted (ARI), {label(model)}",
                    "1.00",
                    interval(ari, 2),
                    Cell("held out" if ari["held_out"] else "not held out"),
                ]
            )
    blocks: list[object] = (
        [Table("Planted beside found.", ["What", "Planted", "Found", ""], rows, frozenset({1, 2}))] if rows else []
    )
    for key, settings in inputs.settings.treatments.items():
        blocks += _effects(inputs, key, name_of(key, settings))
    lede = (
        "This cohort is simulated, so the answers are known. Here they stand beside what the workflow found without"
        " knowing them."
    )
    return Section("truth", "Planted truth", lede, blocks)


def _effects(inputs: ReportInputs, key: str, name: str) -> list[object]:
    rows = [
        r for r in inputs.rows("treatment_effects", treatment=key, estimand="rmst_difference") if r["truth"] is not None
    ]
    if not rows:
        return []
    lines: list[charts.Line] = []
    body: list[list[Cell | str]] = []
    for group in sorted({r["subgroup"] for r in rows}):
        who = group_name(group) if group else "All eligible"
        for weighting, how in (("overlap", "weighted"), ("none", "as observed")):
            row = next((r for r in rows if r["subgroup"] == group and r["weighting"] == weighting), None)
            if row is None:
                continue
            lines.append(
                charts.Line(
                    f"{who}, {how}",
                    row["estimate"],
                    row["lower"],
                    row["upper"],
                    interval(row, 1, sign=True),
                    group if weighting == "overlap" else 0,
                    weighting == "none",
                    row["truth"],
                    row=row,
                )
            )
            body.append([who, how, number(row["truth"], 1, sign=True), interval(row, 1, sign=True), _covered(row)])
    told = "; ".join(f"{i.name}: {i.text}, truth {number(i.truth, 1)}" for i in lines)
    drawing = charts.forest(
        lines,
        f"truth-{key}",
        f"Estimates beside the truth. {told}.",
        "Difference in mean survival, months",
        ("shorter with treatment", "longer with treatment"),
    )
    caption = (
        f"{inputs.sample(max(rows, key=lambda r: int(r['n'])))}."
        f" {sentence(readable(rows[0]['method'].partition('; ')[0]))}."
        " Diamonds: true effect in the same patients, known to the simulator only. Dots: estimates with"
        f" {inputs.settings.level} intervals, weighted (filled) and as observed (hollow)."
        " Some intervals miss by chance."
    )
    if inputs.settings.treatments[key].design == "observational":
        caption += " Treatment was not given at random, so the comparison as observed is expected to miss."
    table = Table(
        f"Effect of {name}: truth and estimate, months.",
        ["Patients", "Comparison", "Truth", "Estimate", "Interval covers the truth"],
        body,
        frozenset({2, 3}),
    )
    title = f"Effect of {name}: truth beside estimate"
    figure = Figure(drawing, title, caption, 820, f"effect-{key}")
    return [Heading(f"Effect of {name}", f"truth-{key}-effect"), figure, table]


def _covered(row: dict[str, Any]) -> Cell:
    if row["lower"] is None or row["upper"] is None:
        return Cell("no interval", "unknown")
    return Cell("yes", "yes") if row["lower"] <= row["truth"] <= row["upper"] else Cell("no", "harm")


def how(inputs: ReportInputs) -> Section:
    """Methods text ready to paste, with references."""
    blocks: list[object] = []
    for anchor, title, text in methods.paragraphs(inputs):
        blocks += [Heading(title, anchor), Text(text)]
        if anchor == "methods-multiplicity":
            blocks += multiplicity.table(inputs)
    blocks += [Heading("References", "methods-references"), *(Text(r) for r in methods.write(inputs)[1])]
    return Section(
        "methods", "Methods", "Ready to paste; it states what this analysis did, from its own settings.", blocks
    )


def abbreviated(names: Sequence[str], timed: bool = True) -> list[object]:
    """List of the abbreviations of a page; without those of survival where the outcome has no time."""
    told = [name for name in names if timed or "survival" not in ABBREVIATIONS[name]]
    rows = [[name, sentence(ABBREVIATIONS[name])] for name in told]
    table = Table("Abbreviations on this page.", ["Abbreviation", "Stands for"], rows)
    return [Heading("Abbreviations", "methods-abbreviations"), table] if rows else []
