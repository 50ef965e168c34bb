"""Read the rows beneath the figures of a finished run and compare every drawn number with its table.

A row names its table and its place there. In `figures/` numbers are those of the table, to the last digit. In
`figures_public/` they have three digits, counts are rounded or bounds, and points of a survival curve stand at the
height of the last step of several events, in hundredths: such a point must be that of one row of its curve, at its time
or before.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from stratiome.report.check import NUMBER, SLACK, Artefacts, Fault
from stratiome.report.disclosure import EFFECTIVE, HEIGHT, HEIGHTS, nearest
from stratiome.report.figure_files import PLACE, TABLE, counts
from stratiome.report.inputs import CURVES

HELD = (*HEIGHTS, "events")
"""Columns of a curve that stay what they were until its next step."""
DIGITS = 3
"""Digits of a number in a file to share."""


@dataclass
class Compared:
    """What was compared in a folder of figures.

    Attributes
    ----------
    values
        Numbers that were compared with the cell that they come from.
    merged
        Numbers that were compared with an earlier step of their curve.
    withheld
        Cells of a file to share that are empty where the table has a number.
    elsewhere
        Rows that name no table of the run, as those of a figure of the quality stage.
    faults
        What does not agree.
    """

    values: int = 0
    merged: int = 0
    withheld: int = 0
    elsewhere: int = 0
    faults: list[Fault] = field(default_factory=list)


def compare_rows(folder: Path, tables: Artefacts, min_cell: int | None = None) -> Compared:
    """Compare the rows of all figures of a folder with their tables.

    Parameters
    ----------
    folder
        `figures` or `figures_public`.
    tables
        Of the run.
    min_cell
        Where the folder is to be shared, what its counts are rounded to multiples of.
    """
    found = Compared()
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            for number, row in enumerate(csv.DictReader(file), 2):
                true = _row(tables, row)
                if true is None:
                    found.elsewhere += 1
                    continue
                at = f"{folder.name}/{path.name}, line {number}"
                held = _held(tables, row, true, min_cell) if min_cell is not None and row[TABLE] in CURVES else []
                found.merged += len(held)
                for column, value in row.items():
                    if column not in (TABLE, PLACE, *held) and column in true:
                        _cell(found, at, row, column, value, true[column], min_cell)
    return found


def _row(tables: Artefacts, row: Mapping[str, str]) -> Mapping[str, Any] | None:
    """The row of the table that a row names, if it names one."""
    if row[TABLE] not in tables.files or not row[PLACE].isdigit():
        return None
    frame = tables.table(row[TABLE])
    place = int(row[PLACE])
    return frame.row(place, named=True) if place < frame.height else {}


def _cell(
    found: Compared, at: str, row: Mapping[str, str], column: str, value: str, true: Any, min_cell: int | None
) -> None:
    if isinstance(true, str):
        return  # words
    if not value and true is not None and min_cell is not None:
        found.withheld += 1
        return
    found.values += value != ""
    if not _agrees(row[TABLE], value, true, column, min_cell):
        origin = f"{row[TABLE]}[{row[PLACE]}].{column}"
        said = "nothing" if true is None else f"{true:.6g}" if isinstance(true, float) else str(true)
        found.faults.append(Fault(value or "(nothing)", origin, f"{at}, column {column}", f"the table says {said}"))


def _agrees(table: str, value: str, true: Any, column: str, min_cell: int | None) -> bool:
    """`same`, and for a curve to share that its height is rounded to `HEIGHT` decimals."""
    if min_cell is not None and table in CURVES and column in HEIGHTS and isinstance(true, float):
        return bool(NUMBER.fullmatch(value)) and abs(float(value) - true) <= 0.5 * 10**-HEIGHT + SLACK
    return same(value, true, column, min_cell)


def same(value: str, true: Any, column: str, min_cell: int | None) -> bool:
    """Whether a number as it is written is that of the table.

    Parameters
    ----------
    value
        As written; "" for none.
    true
        Of the table.
    column
        Its column, which tells whether it counts people.
    min_cell
        Where the file is to be shared, what counts are rounded to multiples of.
    """
    if true is None or isinstance(true, bool):
        return value == ("" if true is None else str(true).lower())
    if min_cell is not None and ((counts(column) and isinstance(true, int)) or column == EFFECTIVE):
        return _same_count(value, int(true), min_cell)
    try:
        written = float(value)
    except ValueError:
        return False
    if min_cell is not None and isinstance(true, float):
        return written == float(f"{true:.{DIGITS}g}") or written == true
    return math.isclose(written, true, rel_tol=1e-12) or (math.isnan(written) and math.isnan(true))


def _same_count(value: str, true: int, min_cell: int) -> bool:
    if value.startswith("<"):
        return value == f"<{min_cell}" and true < min_cell
    if value.startswith(">"):
        return value[1:].isdigit() and true > int(value[1:]) - min_cell // 2
    return value.isdigit() and int(value) == nearest(true, min_cell)


def _held(tables: Artefacts, row: Mapping[str, str], true: Mapping[str, Any], min_cell: int) -> Sequence[str]:
    """Columns of a point that are those of an earlier row of its curve, all of them of the same row; [] if of none."""
    columns = [c for c in HELD if c in row and c in true]
    if all(_agrees(row[TABLE], row[c], true[c], c, min_cell) for c in columns):
        return []
    for earlier in _before(tables, row, true):
        if all(_agrees(row[TABLE], row[c], earlier[c], c, min_cell) for c in columns):
            return columns
    return []


def _before(tables: Artefacts, row: Mapping[str, str], true: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Earlier rows of the same curve, the last first."""
    frame, keys = tables.table(row[TABLE]), CURVES[row[TABLE]]
    for place in range(int(row[PLACE]) - 1, -1, -1):
        earlier = frame.row(place, named=True)
        if any(earlier[k] != true[k] for k in keys):
            return
        yield earlier
