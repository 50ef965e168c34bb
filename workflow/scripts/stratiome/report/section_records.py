"""Treatments as they are recorded: who has a record, who gets them, and signs of immortal time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report.blocks import Cell, Heading, Items, Note, Table, Text
from stratiome.report.disclosure import counts, is_small
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import join, label, months, number, p_value, sentence

Row = Mapping[str, Any]

RATIOS = ("Hazard ratio", "At first", "Later")
"""Columns on ratios of hazards."""

FEWEST = 20
"""Patients of an arm below which nobody is there to compare with."""

STRONG = 0.3
"""Strength from which a covariate is named as going with a treatment."""

OFTEN_MISSING = 0.05
"""Share without a record from which it is said."""


def treatment_records(inputs: ReportInputs) -> list[object]:
    """Warnings, and one line a treatment; nothing where the config names no treatment."""
    rows = inputs.rows("treatment_records")
    keys = list(dict.fromkeys(r["treatment"] for r in rows))
    if not keys:
        return []
    careful: list[str] = []
    told: list[str] = []
    body: list[list[Cell | str]] = []
    for key in keys:
        here = [r for r in rows if r["treatment"] == key]
        name = _name(inputs, key)
        careful += _warnings(inputs, key, name, here)
        told += _different(inputs, key, name, here)
        body.append(_line(inputs, name, here))
    told = _unrecorded(inputs, keys, rows) + told
    notes: list[object] = [Note(text, "care") for text in careful]
    notes += [Items(told)] if len(told) > 1 else [Text(text) for text in told]
    head = ["Treatment", "Treated", "Untreated", "No record", *RATIOS, "Goes with"]
    goes = (
        "Goes with: columns of the config that differ most between treated and untreated, with Cramer's V or the"
        " correlation ratio (0 to 1)."
    )
    note = (
        "Crude: nothing here is adjusted; these ratios warn, and are no effects. Below 1, treated patients have fewer"
        " events. At first: until a tenth of all events has occurred, at most a year; a ratio that is much lower then"
        f" than later is a sign of immortal time. {goes}"
    )
    if not inputs.settings.words.timed:
        note = f"Responses by treatment, as observed and adjusted, stand in the section on treatment. {goes}"
    elif any(t.design == "observational" and t.start is None for t in inputs.settings.treatments.values()):
        note += (
            " When a treatment started is not part of the analysis, so immortal time can never be excluded where it was"
            " not assigned by chance."
        )
    table = Table("Records of each treatment.", head, body, frozenset({1, 2, 3, 4, 5, 6}), note)
    return [
        Heading("Treatments as recorded", "checks-treatments"),
        *notes,
        table if inputs.settings.words.timed else table.without(frozenset(RATIOS)),
    ]


def _name(inputs: ReportInputs, key: str) -> str:
    treatment = inputs.settings.treatments.get(key)
    return sentence((treatment.label if treatment else None) or label(key))


def _line(inputs: ReportInputs, name: str, rows: Sequence[Row]) -> list[Cell | str]:
    least = inputs.settings.min_cell
    recorded = _one(rows, "recorded")
    cells = counts([recorded["n_treated"], recorded["n_untreated"], recorded["n_missing"]], least)
    ratios = [_ratio(_one(rows, f), least) for f in ("crude", "early", "later")]
    strongest = [r for r in rows if r["finding"] == "goes with"][:3]
    return [
        name,
        *cells,
        *ratios,
        ", ".join(f"{label(r['variable'])} {number(r['estimate'])}" for r in strongest) or "–",
    ]


def _one(rows: Sequence[Row], finding: str) -> Row:
    empty = {"estimate": None, "lower": None, "upper": None, "p_value": None, "until_months": None}
    return next(
        (r for r in rows if r["finding"] == finding), empty | {"n_treated": 0, "n_untreated": 0, "n_missing": 0}
    )


def _ratio(row: Row, min_cell: int) -> Cell:
    if row["estimate"] is None or min(row["n_treated"], row["n_untreated"]) < min_cell:
        return Cell("–")
    return Cell(number(row["estimate"]), below=f"{number(row['lower'])} to {number(row['upper'])}")


def _unrecorded(inputs: ReportInputs, keys: Sequence[str], rows: Sequence[Row]) -> list[str]:
    """Who has no record of a treatment, one sentence for treatments that lack as many."""
    least = inputs.settings.min_cell
    names: dict[str, list[str]] = {}
    for key in keys:
        recorded = _one([r for r in rows if r["treatment"] == key], "recorded")
        cells = [recorded["n_treated"], recorded["n_untreated"], recorded["n_missing"]]
        if cells[2] >= OFTEN_MISSING * sum(cells) and not is_small(cells[2], least):
            names.setdefault(f"{counts(cells, least)[2]} of {sum(cells):,}", []).append(_name(inputs, key))
    return [
        f"{join(who)}: {text} patients have no record of it, which is not the same as untreated."
        for text, who in names.items()
    ]


def _is_early(inputs: ReportInputs, early: Row) -> bool:
    """Whether the crude hazard ratio is lower at first than later, beyond chance, and may be shown."""
    p = early["p_value"]
    return p is not None and p < inputs.settings.alpha and bool(_ratio(early, inputs.settings.min_cell).below)


def early_ratio(inputs: ReportInputs, key: str) -> str:
    """A sign of immortal time in the crude hazard ratios of a treatment, in a sentence; or ""."""
    rows = inputs.rows("treatment_records", treatment=key)
    early, later = _one(rows, "early"), _one(rows, "later")
    if not _is_early(inputs, early) or later["estimate"] is None:
        return ""
    return (
        f"A sign of immortal time: the crude hazard ratio is {number(early['estimate'])} in the first"
        f" {months(early['until_months'])} months and {number(later['estimate'])} later."
    )


def _warnings(inputs: ReportInputs, key: str, name: str, rows: Sequence[Row]) -> list[str]:
    least = inputs.settings.min_cell
    recorded, early, later = (_one(rows, f) for f in ("recorded", "early", "later"))
    treated, untreated, missing = recorded["n_treated"], recorded["n_untreated"], recorded["n_missing"]
    cells = counts([treated, untreated, missing], least)
    said = []
    if min(treated, untreated) < FEWEST:
        few, many = (cells[0], cells[1]) if treated < untreated else (cells[1], cells[0])
        what = "treated" if treated < untreated else "untreated"
        said.append(
            f"{name}: only {few} patients are recorded as {what}, against {many}: there is hardly anybody to compare"
            " with."
        )
    if _is_early(inputs, early):
        said.append(
            f"{name}: in the first {months(early['until_months'])} months the hazard ratio is"
            f" {number(early['estimate'])}, later {number(later['estimate'])} ({p_value(early['p_value'])} for the"
            " difference). Either patients had to live long enough to be treated (immortal time), and a comparison from"
            " time zero flatters the treatment; or the treated have a disease that kills later."
        )
    return said


def _different(inputs: ReportInputs, key: str, name: str, rows: Sequence[Row]) -> list[str]:
    """That a treatment not given by chance goes with covariates, where it does."""
    observational = getattr(inputs.settings.treatments.get(key), "design", "") == "observational"
    strong = [r for r in rows if r["finding"] == "goes with" and r["estimate"] >= STRONG]
    if not (strong and observational):
        return []
    names = join([f"{label(r['variable'])} ({number(r['estimate'])})" for r in strong[:3]])
    return [f"{name} goes with {names}: treated and untreated patients are different patients."]
