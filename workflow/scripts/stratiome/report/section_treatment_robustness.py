"""Does the effect hold when the analysis is changed, and is there one where there can be none?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report import charts, verdicts
from stratiome.report.blocks import Cell, Figure, Heading, Note, Table, numbered
from stratiome.report.disclosure import count, part
from stratiome.report.inputs import ReportInputs
from stratiome.report.section_treatment_doubts import WHO, bias
from stratiome.report.words import interval, months, readable, reason, sentence

Row = Mapping[str, Any]
CHECKS = {
    "main analysis": "main analysis",
    "trimmed": "patients kept",
    "restriction time": "mean over a shorter time",
    "omics in propensity": "propensity",
    "negative control": "negative control",
}
"""What each check is called."""


def robustness(inputs: ReportInputs, key: str, weighting: str) -> list[object]:
    """The effect with one thing changed at a time; nothing where it was not worked out.

    Parameters
    ----------
    inputs
        The results.
    key
        Key of the treatment.
    weighting
        That of the headline.
    """
    rows = [r for r in inputs.rows("treatment_robustness", treatment=key) if r["estimand"] == "rmst_difference"]
    if not rows:
        return []
    least, outcome = inputs.settings.min_cell, inputs.settings.words
    whole = max(rows, key=lambda r: r["n"])
    changed = [r for r in rows if r["check"] != "negative control"]
    main = next((r for r in rows if r["check"] == "main analysis"), whole)
    lines: list[charts.Line] = []
    body: list[list[Cell | str]] = []
    marks, notes = numbered([sentence(readable(r["method"])) for r in rows])
    for row, mark in zip(rows, marks, strict=True):
        text = outcome.gain(row) if row["estimate"] is not None else "not estimable"
        name = f"{CHECKS[row['check']]}: {readable(row['variant'])}"
        if row["check"] == "main analysis":
            name = "as reported above"
        # How many were left out by a trimming would be told by the difference to all.
        size = f"{part(row['n'], whole['n'], least)} / {part(row['n_treated'], whole['n_treated'], least)}"
        body.append([sentence(name), size, months(row["horizon_months"]), text, mark])
        if row in changed and row["estimate"] is not None:
            heading = sentence(CHECKS[row["check"]])
            if all(i.name != heading for i in lines):
                lines.append(charts.Line(heading, heading=True))
            variant = sentence(readable(row["variant"]))
            lines.append(charts.Line(variant, *outcome.ends(row), text, row=row))
    blocks: list[object] = [
        Heading("Does it hold when the analysis is changed? Sensitivity analyses", f"treatment-changed-{key}"),
        *_control(inputs, key, weighting),
    ]
    if len(lines) > 2:
        told = "; ".join(f"{i.name}:" if i.heading else f"{i.name} {i.text}" for i in lines)
        blocks.append(
            Figure(
                charts.forest(
                    lines,
                    f"robustness-{key}",
                    f"Difference in {outcome.unit} gained by analysis: {told}.",
                    outcome.gained,
                    ("fewer with treatment", "more with treatment"),
                ),
                "One thing changed at a time",
                f"n = {count(main['n'], least)}, {count(main['events'], least)} events in the main analysis; treated"
                f" minus untreated with {inputs.settings.level} interval; not held out, as only weights are learned."
                f" {sentence(readable(main['method']))}."
                + outcome.say(
                    " A mean over a shorter time is a smaller number of months by its nature, and another question.", ""
                ),
                820,
                f"changed-{key}",
            )
        )
    blocks += _changed(compared(inputs, key), changed)
    table = Table(
        "The effect with one thing changed at a time"
        + ("; the last line is an outcome that treatment is taken not to change." if len(changed) < len(rows) else "."),
        ["Analysis", "n / treated", "Up to, months", outcome.gained, "Method"],
        body,
        frozenset({1, 2, 3, 4}),
        notes=notes,
    )
    return [*blocks, outcome.untimed(table)]


def turned(rows: Sequence[Row]) -> list[str]:
    """What a change of the analysis would do to what is concluded, one sentence each.

    Parameters
    ----------
    rows
        Estimates of one estimand, the main analysis first, as of `compared`.
    """
    if not rows:
        return []
    main = rows[0]
    said = verdicts.direction(main["lower"], main["upper"])
    kinds: dict[str, list[str]] = {}
    for row in rows[1:]:
        other = verdicts.direction(row["lower"], row["upper"])
        text = _turn(said, other, row["estimate"], main["estimate"])
        if text:
            kinds.setdefault(text, []).append(f"{CHECKS.get(row['check'], row['check'])}: {readable(row['variant'])}")
    return [text.format("; ".join(names)) for text, names in kinds.items()]


def _turn(said: str, other: str, changed: float | None, main: float | None) -> str:
    """Sentence, with a place for the name, on a direction other than that of the main analysis; "" if it says the same.

    Signs count only where one of the intervals excludes zero: two that hold zero say the same.
    """
    if "unknown" in (said, other) or changed is None or main is None or said == other:
        return ""
    if said == "covers":
        return "An effect is seen only when one thing is changed ({}), not in the main analysis."
    if changed * main < 0:
        return "The effect turns round with {}."
    return "The effect is no longer clear with {}."


SAME_QUESTION = ("main analysis", "trimmed", "omics in propensity")
"""Checks of the mean up to the same time: a mean over a shorter time is another, and smaller, number."""


def compared(inputs: ReportInputs, key: str) -> list[Row]:
    """Estimates of the same question as the main analysis, which comes first: changed analyses, other estimators."""
    where = {"treatment": key, "estimand": "rmst_difference"}
    rows = [r for r in inputs.rows("treatment_robustness", **where) if r["check"] in SAME_QUESTION]
    if not rows or rows[0]["check"] != "main analysis":
        return []
    until = rows[0]["horizon_months"]
    averages = [
        r | {"check": r["estimator"], "variant": WHO[r["population"]]}
        for r in inputs.rows("treatment_averages", **where)
        if r["horizon_months"] == until and r["estimator"] != "clone-censor-weight"
    ]
    return [*rows, *averages]


def sensitive(inputs: ReportInputs, key: str) -> str:
    """What changes of the analysis and other estimators add to the answer, or ""."""
    return " ".join(turned(compared(inputs, key)))


def _changed(compared: Sequence[Row], rows: Sequence[Row]) -> list[object]:
    """A warning where a change of the analysis turns the answer, makes one or takes it away."""
    gone = [r for r in rows[1:] if r["estimate"] is None]
    return [
        *(Note(text, "care") for text in turned(compared)),
        *(Note(f"{sentence(CHECKS[r['check']])}, {readable(r['variant'])}, not estimable: {reason(r)}.") for r in gone),
    ]


def _control(inputs: ReportInputs, key: str, weighting: str) -> list[object]:
    found = [r for r in inputs.rows("treatment_robustness", treatment=key) if r["check"] == "negative control"]
    row = next((r for r in found if r["estimand"] == "rmst_difference"), None)
    if row is None:
        return []
    name = readable(row["variant"])
    if row["estimate"] is None:
        return [Note(f"Negative control, {name}: not estimable: {reason(row)}.")]
    text = f"{interval(row, 1, sign=True)} months without it over {months(row['horizon_months'])} months"
    if verdicts.direction(row["lower"], row["upper"]) in ("above", "below"):
        return [
            Note(
                f"Treated and untreated differ in {name}, which the treatment is taken not to change ({text}). Unless"
                " that is chance, they differed in more than what was balanced: do not read the difference above as an"
                f" effect. {bias(inputs, key, weighting)}",
                "care",
            )
        ]
    return [
        Note(
            f"Negative control: no difference is seen in {name} ({text}), which the treatment is taken not to change."
            " That is no proof that nothing was missed."
        )
    ]
