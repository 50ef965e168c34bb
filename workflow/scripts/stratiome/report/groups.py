"""In which groups of patients predictions do not hold, and which could not be judged."""

from __future__ import annotations

from stratiome.report.inputs import ReportInputs
from stratiome.report.words import label, level

BESIDE = " × "
"""Between the columns of a pair."""


def named(grouping: str, group: str | None = None) -> str:
    """A grouping, or one of its groups, as in tables."""
    columns = BESIDE.join(label(part) for part in grouping.split(BESIDE))
    return columns if group is None else f"{columns}: {', '.join(level(part) for part in group.split(', '))}"


def failing(inputs: ReportInputs) -> dict[str, list[str]]:
    """Model -> groups in which its predictions do not hold, after correction; models without any are left out."""
    found: dict[str, list[str]] = {}
    for row in inputs.rows("fairness_tests"):
        if row["flagged"] and row["kind"] == "holds":
            found.setdefault(row["model"], []).append(named(row["grouping"], row["group"]))
    return found


def differing(inputs: ReportInputs) -> dict[str, list[str]]:
    """Model -> groupings between whose groups its calibration differs, after correction."""
    found: dict[str, list[str]] = {}
    for row in inputs.rows("fairness_tests"):
        if row["flagged"] and row["kind"] == "differs":
            found.setdefault(row["model"], []).append(named(row["grouping"]))
    return found


def not_judged(inputs: ReportInputs) -> list[str]:
    """Groups for which no model could be tested."""
    rows = [r for r in inputs.rows("fairness_tests") if r["kind"] == "holds"]
    known = {(r["grouping"], r["group"]) for r in rows if r["p_holm"] is not None}
    lost = dict.fromkeys((r["grouping"], r["group"]) for r in rows)
    return [named(*pair) for pair in lost if pair not in known]
