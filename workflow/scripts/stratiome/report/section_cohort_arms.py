"""Part of the section on the cohort: treated beside untreated patients, as recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from stratiome.report.blocks import Cell, Fold, Heading, Table
from stratiome.report.disclosure import MISSING, count, exact, is_small, share
from stratiome.report.inputs import ReportInputs
from stratiome.report.words import label, level, number, sentence

Row = Mapping[str, Any]

GIVEN_OR_NOT = {"0": "not given", "1": "given"}

FEW = 200
"""Patients of an arm below which shares are told to the nearest 5 %: a whole per cent would be a count."""


def by_arm(inputs: ReportInputs) -> list[object]:
    """Characteristics, missing values and follow-up of the arms of each treatment, folded."""
    tables = [t for key in inputs.settings.treatments if (t := _table(inputs, key)) is not None]
    if not tables:
        return []
    head = Heading("Treated and untreated, as recorded", "cohort-arms")
    return [head, *(Fold(t.caption.removesuffix("."), [t]) for t in tables)]


def _table(inputs: ReportInputs, key: str) -> Table | None:
    arms = [inputs.rows("baseline", treatment=key, arm=arm) for arm in (0, 1)]
    sizes = [_size(rows) for rows in arms]
    least = inputs.settings.min_cell
    if any(n < least for n in sizes):
        return None
    found: dict[tuple[str, str | None], list[Row | None]] = {}
    for arm, rows in enumerate(arms):
        for r in rows:
            found.setdefault((r["variable"], r["level"]), [None, None])[arm] = r
    known = [{r["variable"]: r["n"] for r in rows} for rows in arms]
    given = {t.column for t in inputs.settings.treatments.values()}
    body: list[list[Cell | str]] = []
    told: set[str] = set()
    for variable in dict.fromkeys(v for v, _ in found):
        here = {lev: pair for (v, lev), pair in found.items() if v == variable}
        missing = _missing(list(here.values()), least)
        for lev, pair in here.items():
            lacks = [MISSING] * 2 if variable in told else missing
            told.add(variable)
            values = _values(pair, [n.get(variable, 0) for n in known], least)
            name = GIVEN_OR_NOT.get(lev, lev) if lev is not None and variable in given else lev
            body.append([_name(variable, name, pair), *values, *lacks])
    name = inputs.settings.treatments[key].label or label(key)
    head = ["", f"Untreated, n = {count(sizes[0], least)}", f"Treated, n = {count(sizes[1], least)}"]
    note = (
        "As recorded, before any eligibility or weighting; patients without a record of the treatment are in neither"
        f" column. Shares of patients with a value; to the nearest 5 % (≈) in arms of fewer than {FEW} and beside a"
        " share that is suppressed."
    )
    if inputs.settings.words.timed:
        note += " Follow-up: of patients with a usable outcome, median by reverse Kaplan–Meier."
    caption = f"{sentence(name)}: treated beside untreated patients."
    return Table(caption, [*head, "Missing, untreated", "Missing, treated"], body, frozenset({1, 2, 3, 4}), note)


def _size(rows: Sequence[Row]) -> int:
    return max((r["n"] + r["missing"] for r in rows if r["kind"] != "months"), default=0)


def _name(variable: str, lev: str | None, pair: Sequence[Row | None]) -> str:
    name = sentence(label(variable))
    if lev is not None:
        return f"{name}: {level(lev)}"
    kind = next(r["kind"] for r in pair if r is not None)
    return f"{name}, {({'mean': 'mean (SD)', 'median': 'median (IQR)', 'months': 'months, median'})[kind]}"


def _values(pair: Sequence[Row | None], known: Sequence[int], least: int) -> list[str]:
    if any(r is not None and r["kind"] == "share" for r in pair):
        return _shares([(r["count"] if r else 0, n) for r, n in zip(pair, known, strict=True)], least)
    return [MISSING if r is None or r["value"] is None or r["n"] < least else _number(r) for r in pair]


def _number(row: Row) -> str:
    if row["kind"] == "mean":
        spread = f" ({number(row['sd'], 1)})" if row["sd"] is not None else ""
    else:
        ends = row["lower"], row["upper"]
        spread = "" if None in ends else f" ({number(ends[0], 1)} to {number(ends[1], 1)})"
    return f"{number(row['value'], 1)}{spread}"


def _missing(pairs: Sequence[Sequence[Row | None]], least: int) -> list[str]:
    """Shares without a value in both arms."""
    lacking = []
    for arm in (0, 1):
        row = next((pair[arm] for pair in pairs if pair[arm] is not None), None)
        lacking.append((row["missing"], row["n"] + row["missing"]) if row and row["kind"] != "months" else (0, 0))
    return _shares(lacking, least) if any(whole for _, whole in lacking) else [MISSING] * 2


def _shares(cells: Sequence[tuple[int, int]], least: int) -> list[str]:
    """Shares beside each other: none tells a suppressed one by way of the count in all patients."""
    small = any(is_small(n, least) or is_small(whole - n, least) for n, whole in cells)
    printed = []
    for n, whole in ((exact(n), exact(whole)) for n, whole in cells):
        hidden = is_small(n, least) or is_small(whole - n, least)
        if whole and not hidden and n and n != whole and (small or whole < FEW):
            printed.append(f"≈{min(95, max(5, 5 * round(20 * n / whole)))} %")
        else:
            printed.append(share(n, whole, least))
    return printed
