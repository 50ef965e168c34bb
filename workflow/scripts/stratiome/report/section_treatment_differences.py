"""Part of the section on treatment: whether the effect differs between patients, by contributions of held-out ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report import charts, verdicts, words
from stratiome.report.blocks import Cell, Figure, Heading, Note, Table, Text, numbered
from stratiome.report.disclosure import about, counts, is_small, part
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import interval, join, label, level, number, p_cell, p_value, readable, reason, term

Row = Mapping[str, Any]
KINDS = {
    "baseline risk": "By the risk without treatment",
    "covariate": "By clinical variable",
    "predicted effect": "By the effect that a model predicts",
}
COMBINED = "combined"
LEARNERS = {
    COMBINED: "combination of all learners",
    "cox": "Cox model of each arm",
    "interactions": "Cox model with interactions",
    "forest": "survival forest of each arm",
    "dr": "doubly robust lasso",
    "r": "causal forest",
}
"""What predicts the effect, by the variable of a row; claims rest on the first alone, the others stand beside it."""
OF_GAINS = ("linear trend", "rank-weighted average")
"""Tests whose value is a gain."""


def differences(inputs: ReportInputs, key: str) -> list[object]:
    """Effects in groups of held-out patients, with the tests that they are the same.

    Parameters
    ----------
    inputs
        The results.
    key
        Key of the treatment.
    """
    rows = inputs.rows("treatment_differences", treatment=key)
    tests = inputs.rows("treatment_difference_tests", treatment=key)
    heading = Heading("Does the effect differ between patients? Heterogeneity", f"treatment-differences-{key}")
    if not rows:
        if inputs.rows("treatment_effects", treatment=key, subgroup=0):
            return [heading, Note("Not asked: too few patients were held out with a comparison in training.")]
        return []
    return [
        heading,
        Text(
            "Each patient's contribution to the average effect comes from models that have not seen this patient. The"
            " order was fixed before: the risk without treatment, clinical variables, and last what a model predicts."
            " The more is looked at, the more differs by chance."
        ),
        *_verdict(inputs, key, tests),
        *_who_benefits(inputs, tests),
        _figure(inputs, key, rows),
        *_targeting(inputs, key),
        *_spread(inputs, key),
        _tests(inputs, tests),
        _table(inputs, key, rows),
    ]


def differs_with(inputs: ReportInputs, tests: Sequence[Row]) -> list[str]:
    """What the effect differs with beyond chance, each with its p-value, as `sex (p = 0.01)`.

    Predicted effects count only where those who were predicted to gain more do.

    Parameters
    ----------
    inputs
        The results.
    tests
        Rows of `TreatmentDifferenceTests` of one treatment.
    """
    said = []
    failed = {r["variable"] for r in tests if _backwards(inputs, r)}
    for r in tests:
        if not _claimed(inputs, r) or (r["kind"] == "predicted effect" and r["variable"] in failed):
            continue
        name = {"baseline risk": "the risk without treatment", "predicted effect": "the predicted effect"}.get(
            r["kind"], term(r["variable"])
        )
        said.append(f"{name} ({p_value(_p(r))})")
    return said


def _p(row: Row) -> float | None:
    p: float | None = row["p_holm"] if row["kind"] == "covariate" else row["p_value"]
    return p


def _claimed(inputs: ReportInputs, row: Row) -> bool:
    """Whether a test that may be claimed from says that the effect differs."""
    p = _p(row)
    beside = row["kind"] == "predicted effect" and row["variable"] in LEARNERS and row["variable"] != COMBINED
    return not beside and p is not None and p < inputs.settings.alpha and row["test"] != "calibration slope"


def _backwards(inputs: ReportInputs, row: Row) -> bool:
    """Whether a learner ranks patients the wrong way round, beyond chance."""
    return _claimed(inputs, row) and row["test"] == "rank-weighted average" and row["estimate"] < 0


def _verdict(inputs: ReportInputs, key: str, tests: Sequence[Row]) -> list[Note]:
    notes, said = [], differs_with(inputs, tests)
    if said:
        randomised = inputs.settings.treatments[key].design == "randomised"
        among = "among held-out patients" if randomised else "among held-out patients, as an association"
        notes.append(Note(f"The effect differs with {join(said)}: {among}."))
    else:
        notes.append(
            Note(
                "No evidence that the effect differs by risk, clinical variable or predicted effect; subgroups have a"
                " test of their own below. That is not proof that it does not: differences are much harder to see than"
                " averages."
            )
        )
    failed = [p_value(_p(r)) for r in tests if _backwards(inputs, r)]
    if failed:
        notes.append(
            Note(
                f"Predicted effects do not hold in held-out patients: those who were predicted to gain more gained less"
                f" ({join(failed)}). What predicts them has failed; that is no sign of who benefits.",
                "care",
            )
        )
    return notes


def _who_benefits(inputs: ReportInputs, tests: Sequence[Row]) -> list[Note]:
    """Said plainly where predicted effects do not tell who benefits more; nothing where no effect was predicted."""
    ranked = [r for r in tests if r["test"] == "rank-weighted average" and r["variable"] in LEARNERS]
    if not any(r["variable"] == COMBINED for r in ranked):
        return []
    where = {r["variable"]: verdicts.direction(r["lower"], r["upper"]) for r in ranked}
    sure, wrong, unclear, same = (
        [_learner(inputs, v) for v, side in where.items() if side == wanted]
        for wanted in ("above", "below", "covers", "unknown")
    )
    if not sure:
        said = [f"that of {join(wrong)} lies wholly below 0 (the wrong way round)"] if wrong else []
        said += (
            [f"the interval of {'each other learner' if wrong or same else 'each learner'} includes 0"]
            if unclear
            else []
        )
        said += [f"there is none for {join(same)}, by which all patients of a fold have the same effect"] * bool(same)
        return [
            Note(
                "No learner tells who benefits more: no interval of the rank-weighted average lies above 0;"
                f" {'; '.join(said)}."
            )
        ]
    if _learner(inputs, COMBINED) in sure:
        return []
    return [
        Note(
            "The combination of all learners does not tell who benefits more. Looked at beside it, without correction"
            f" for their number, the interval of {join(sure)} lies above 0: nothing is claimed from that."
        )
    ]


def _targeting(inputs: ReportInputs, key: str) -> list[Figure]:
    """The targeting operator characteristic of the combination."""
    rows = sorted(inputs.rows("treatment_targeting", treatment=key, learner=COMBINED), key=lambda r: r["share"])
    if not rows:
        return []
    least, first = inputs.settings.min_cell, rows[0]
    outcome = inputs.settings.words
    told = "; ".join(
        f"{100 * r['share']:.0f} % first: {outcome.gain(r)} {outcome.unit}" for r in rows if r["share"] in (0.2, 0.5)
    )
    eligible = inputs.row("treatment_effects", treatment=key, subgroup=0)
    size = part(first["n"], eligible["n"] if eligible else None, least)
    failed = part(first["events"], eligible["events"] if eligible else None, least)
    caption = (
        f"{'n' if size.startswith(('>', '<')) else 'n ='} {size}, {failed} events; held out."
        f" {words.sentence(readable(first['method']))}. A curve above zero on the"
        " left says that the patients put first gain more; one that lies about zero, that they do not."
    )
    said = f"{outcome.gained} more than by all: {told}."
    drawing = charts.targeting(rows, f"targeting-{key}", said, outcome.unit, outcome.scale)
    return [Figure(drawing, "TOC curve: do those put first gain more?", caption, 820, f"targeting-{key}")]


def alike(inputs: ReportInputs, key: str) -> bool:
    """Whether the combination of all learners gives every patient of a fold the same effect."""
    row = inputs.row("treatment_learners", treatment=key, learner=COMBINED)
    return row is not None and row["spread"] == 0


def _spread(inputs: ReportInputs, key: str) -> list[Note]:
    """How far predicted effects are apart, against the average."""
    row = inputs.row("treatment_learners", treatment=key, learner=COMBINED)
    if row is None or row["spread"] is None or row["average"] is None:
        return []
    if alike(inputs, key):
        return [Note("The combination of all learners gives every patient of a fold the same effect, the average.")]
    outcome = inputs.settings.words
    spread, average = (number(row[k] * outcome.scale, 1) for k in ("spread", "average"))
    return [
        Note(
            f"Effects predicted by the combination differ by {spread} {outcome.unit} (standard"
            f" deviation) about an average of {average} {outcome.unit} in the same patients."
        )
    ]


def _learner(inputs: ReportInputs, variable: str) -> str:
    return LEARNERS[variable].replace("survival forest", inputs.settings.words.say("survival forest", "random forest"))


def _name(inputs: ReportInputs, kind: str, variable: str) -> str:
    if kind == "predicted effect" and variable in LEARNERS:
        return f"{KINDS[kind]}: {_learner(inputs, variable)}"
    return KINDS[kind] if kind != "covariate" else words.sentence(term(variable))


def _figure(inputs: ReportInputs, key: str, rows: list[dict[str, Any]]) -> Figure:
    shown = [r for r in rows if r["estimand"] == "rmst_difference"]
    least, outcome = inputs.settings.min_cell, inputs.settings.words
    lines: list[charts.Line] = []
    for kind, variable in dict.fromkeys((r["kind"], r["variable"]) for r in shown):
        lines.append(charts.Line(_name(inputs, kind, variable), heading=True))
        for r in [r for r in shown if (r["kind"], r["variable"]) == (kind, variable)]:
            if r["estimate"] is None or _few(r, least):
                lines.append(charts.Line(level(label(r["group"])), text="too few", row=r))
                continue
            lines.append(charts.Line(level(label(r["group"])), *outcome.ends(r), outcome.gain(r), 1, row=r))
    told = "; ".join(f"{i.name} {i.text}" if not i.heading else f"{i.name}:" for i in lines)
    drawing = charts.forest(
        lines,
        f"differences-{key}",
        f"Difference in {outcome.mean('restricted ')} by group: {told}.",
        f"Difference in {outcome.mean()}{outcome.over(shown[0]['horizon_months'])}, {outcome.unit}",
        outcome.sides,
    )
    whole = [r for r in shown if r["kind"] == "baseline risk"]
    n, events = sum(r["n"] for r in whole), sum(r["events"] for r in whole)
    eligible = inputs.row("treatment_effects", treatment=key, subgroup=0)
    size = part(n, eligible["n"] if eligible else None, least)
    failed = part(events, eligible["events"] if eligible else None, least)
    caption = (
        f"{'n' if size.startswith(('>', '<')) else 'n ='} {size}, {failed} events; held out."
        f" {words.sentence(readable(shown[0]['method']))}, {inputs.settings.level}. Intervals are not corrected for the"
        " number of groups."
    )
    return Figure(drawing, "Effect by group of patients", caption, 820, f"groups-{key}")


def _few(row: Row, least: int) -> bool:
    return is_small(row["n_treated"], least) or is_small(row["n"] - row["n_treated"], least)


def _tests(inputs: ReportInputs, tests: list[dict[str, Any]]) -> Table:
    outcome = inputs.settings.words
    marks, notes = numbered([words.sentence(readable(r["method"])) for r in tests])
    body: list[list[Cell | str]] = []
    for r, mark in zip(tests, marks, strict=True):
        value = "–" if r["estimate"] is None else interval(r, 2, sign=True)
        if not outcome.timed and r["estimate"] is not None and r["test"] in OF_GAINS:
            value = outcome.gain(r)
        p = p_cell(r["p_value"]) if r["p_value"] is not None else reason(r)
        body.append(
            [_name(inputs, r["kind"], r["variable"]), words.sentence(r["test"]), value, p, p_cell(r["p_holm"]), mark]
        )
    return Table(
        "Is the effect the same? Tests on held-out patients.",
        ["Patients compared", "Test", "Value", "p", "p, Holm", "Method"],
        body,
        frozenset({2, 3, 4, 5}),
        "Holm's correction is over the clinical variables. A calibration slope of 1 says that predicted differences"
        " come true, 0 that they tell nothing.",
        notes,
    )


def _table(inputs: ReportInputs, key: str, rows: list[dict[str, Any]]) -> Table:
    least, outcome = inputs.settings.min_cell, inputs.settings.words
    eligible = inputs.row("treatment_effects", treatment=key, subgroup=0)
    body: list[list[Cell | str]] = []
    for kind, variable in dict.fromkeys((r["kind"], r["variable"]) for r in rows):
        own = [r for r in rows if (r["kind"], r["variable"]) == (kind, variable)]
        absolute = sorted((r for r in own if r["estimand"] == "rmst_difference"), key=lambda r: r["position"])
        relative = {r["position"]: r for r in own if r["estimand"] == "hazard_ratio"}
        sizes = counts([r["n"] for r in absolute], least)
        whole = sum(r["n"] for r in absolute)
        if eligible is not None and is_small(eligible["n"] - whole, least):  # the sum would tell who was left out
            sizes = [about(r["n"], least) if r["n"] >= least else s for r, s in zip(absolute, sizes, strict=True)]
        events = counts([r["events"] for r in absolute], least)
        for r, size, failed in zip(absolute, sizes, events, strict=True):
            ratio, few = relative.get(r["position"]), _few(r, least) or r["estimate"] is None
            body.append(
                [
                    _name(inputs, kind, variable),
                    level(label(r["group"])),
                    f"{size} / {part(r['n_treated'], r['n'], least)}",
                    failed,
                    "too few" if few else outcome.gain(r),
                    "–" if few or ratio is None or ratio["estimate"] is None else interval(ratio, 2),
                ]
            )
    randomised = inputs.settings.treatments[key].design == "randomised"
    how = "not weighted" if randomised else "with overlap weights of the held-out propensity"
    table = Table(
        outcome.say("Effect by group, absolute and relative.", "Effect by group."),
        ["Patients compared", "Group", "n / treated", "Events", outcome.gained, "Hazard ratio"],
        body,
        frozenset({2, 3, 4, 5}),
        outcome.say(
            f"Hazard ratios are of Cox models with treatment alone, {how}; months gained are means of doubly robust"
            " contributions. The two are made otherwise and may differ, even in sign: read months gained first.",
            f"Events: patients with {outcome.failure}.",
        ),
    )
    return table if outcome.timed else table.without(frozenset({"Hazard ratio"}))
